//! The names that occur in a script's text, in code, comments and texts alike.
//!
//! Owns: [`Words`]. Never knows: Lua's grammar.

use std::collections::BTreeSet;

/// Every run of letters, digits and underscores. A global can only be used by a text in which its name
/// is one of these.
#[derive(Debug)]
pub(super) struct Words<'a> {
    words: BTreeSet<&'a str>,
    text: &'a [u8],
}

impl<'a> Words<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let runs = text.split(|byte| !is_part(byte)).filter(|run| !run.is_empty());
        let words = runs.filter_map(|run| std::str::from_utf8(run).ok());
        let words = words.filter(|word| !word.starts_with(|c: char| c.is_ascii_digit())).collect();
        Self { words, text }
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.words.iter().copied()
    }

    /// Whether the text may change how `cjson` works, which would change it for every script of the
    /// server: it does more with it than to call `encode` and `decode` and to compare with `null`.
    pub(super) fn configures_json(&self) -> bool {
        const NAME: &[u8] = b"cjson";
        memchr::memmem::find_iter(self.text, NAME).any(|at| {
            let behind = self.text.get(at + NAME.len()..).unwrap_or_default();
            let harmless = [&b".encode"[..], b".decode", b".null"].into_iter().any(|member| {
                let next = behind.strip_prefix(member).map(|rest| rest.first().copied());
                next.is_some_and(|next| {
                    next.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'_')
                })
            });
            !harmless
        })
    }
}

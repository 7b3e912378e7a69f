//! The names of keys or of channels that were seen, as patterns.
//!
//! Owns: [`Names`]. Never knows: commands, values, whole keys where a prefix is enough.

use std::collections::BTreeMap;

use super::super::pattern::{escape, literal_prefix};
use crate::base::limits;
use crate::command::Access;

/// Names end their prefix at the first of these.
const SEPARATORS: &[u8] = b":/|.";

/// How often the names of one prefix were used, and for what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Use {
    count: u64,
    access: Access,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    /// Text before `*`.
    pub prefixes: BTreeMap<Vec<u8>, Use>,
    /// Patterns of whole names.
    pub literals: BTreeMap<Vec<u8>, Use>,
}

impl Names {
    pub(crate) fn note(&mut self, name: &[u8], access: Access) {
        match name.iter().position(|byte| SEPARATORS.contains(byte)) {
            Some(at) => self.note_prefix(name.get(..=at).unwrap_or_default(), access),
            None if name.len() > limits::LEARN_LITERAL_BYTES_MAX => self.note_prefix(b"", access),
            None => self.note_literal(&escape(name), access),
        }
    }

    /// Only what comes before the first special character is certain.
    pub(crate) fn note_pattern(&mut self, pattern: &[u8], access: Access) {
        self.note_prefix(certain(pattern), access);
    }

    pub(crate) fn note_prefix(&mut self, prefix: &[u8], access: Access) {
        // What cannot be in a word of the ACL language ends the prefix.
        let fits = |byte: &u8| byte.is_ascii_graphic() && !b"()\"'".contains(byte);
        let end = prefix.iter().position(|byte| !fits(byte)).unwrap_or(prefix.len());
        let mut prefix = prefix.get(..end).unwrap_or_default();
        if self.prefixes.len() >= limits::LEARN_PREFIXES_MAX && !self.prefixes.contains_key(prefix)
        {
            prefix = b"";
        }
        add(&mut self.prefixes, prefix, access);
    }

    /// A pattern to be compared letter by letter.
    pub(crate) fn note_literal(&mut self, name: &[u8], access: Access) {
        let fits = |byte: &u8| byte.is_ascii_graphic() && !b"()\"'".contains(byte);
        let full =
            self.literals.len() >= limits::LEARN_LITERALS_MAX && !self.literals.contains_key(name);
        if full || name.is_empty() || !name.iter().all(fits) {
            return self.note_prefix(b"", access);
        }
        add(&mut self.literals, name, access);
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = String> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let prefixes =
            self.prefixes.iter().map(move |(name, use_)| format!("{}* {}", text(name), use_.count));
        prefixes.chain(
            self.literals.iter().map(move |(name, use_)| format!("{} {}", text(name), use_.count)),
        )
    }

    /// One word for each name; those that `*` covers are left out.
    pub(crate) fn write_words(&self, sign: &str, with_access: bool, words: &mut Vec<String>) {
        let everything = |use_: &&Use| !with_access || (use_.access.read && use_.access.write);
        if self.prefixes.get(b"".as_slice()).filter(everything).is_some() {
            return words.push(format!("{sign}*"));
        }
        let word = |pattern: Vec<u8>, access: Access| {
            let access = match (access.read, access.write) {
                (_, false) if with_access => "%R",
                (false, true) if with_access => "%W",
                _ => "",
            };
            format!("{access}{sign}{}", String::from_utf8_lossy(&pattern))
        };
        for (prefix, use_) in &self.prefixes {
            words.push(word([escape(prefix), b"*".to_vec()].concat(), use_.access));
        }
        for (name, use_) in &self.literals {
            words.push(word(name.clone(), use_.access));
        }
    }
}

fn add(names: &mut BTreeMap<Vec<u8>, Use>, name: &[u8], access: Access) {
    if !names.contains_key(name) {
        names.insert(name.to_vec(), Use::default());
    }
    if let Some(known) = names.get_mut(name) {
        known.count += 1;
        known.access.read |= access.read;
        known.access.write |= access.write;
    }
}

/// What every name that fits the pattern begins with, up to its first separator.
pub(super) fn certain(pattern: &[u8]) -> &[u8] {
    let literal = literal_prefix(pattern);
    let end = literal.iter().position(|byte| SEPARATORS.contains(byte));
    literal.get(..end.map_or(literal.len(), |at| at + 1)).unwrap_or_default()
}

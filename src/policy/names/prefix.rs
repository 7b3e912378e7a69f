//! The text before every name of one application, and where it is in a channel's name.
//!
//! Owns: [`Prefix`], the forms of the server's own channels. Never knows: requests, replies.

use std::ops::Range;

/// The text before every key and channel of one application.
#[derive(Debug, PartialEq, Eq)]
pub struct Prefix {
    text: Box<[u8]>,
    /// A glob that fits nothing but the text.
    glob: Box<[u8]>,
}

/// Where the prefix goes in the name of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before this byte.
    At(usize),
    /// Nowhere: the channel reports keys of every application, and its messages are filtered.
    Nowhere,
    /// The pattern may fit the server's own channels in a way that cannot be sorted out.
    Refused,
}

/// One of the server's own channels about keys (Redis: `notifyKeyspaceEvent`, notify.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// `__keyspace@<db>__:<key>`: the key begins here, the message is the event.
    Keyspace(usize),
    /// `__keyevent@<db>__:<event>`: the message is the key.
    Keyevent,
}

/// What the server's own channels begin with; no prefix begins with `_`.
const RESERVED: [&[u8]; 5] =
    [b"__keyspace@", b"__keyevent@", b"__subkey", b"__redis__:", b"__sentinel__:"];

impl Prefix {
    /// `text` is not empty, does not begin with `_` and holds no control characters: the
    /// configuration has seen to that.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut glob = Vec::with_capacity(text.len());
        for byte in text {
            if b"*?[]\\^".contains(byte) {
                glob.push(b'\\');
            }
            glob.push(*byte);
        }
        Self { text: text.into(), glob: glob.into() }
    }

    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn glob(&self) -> &[u8] {
        &self.glob
    }

    /// Where the prefix is in a channel's name; nothing of a keyevent channel. `None`: the
    /// channel is not this application's.
    pub(super) fn in_channel(&self, name: &[u8]) -> Option<Range<usize>> {
        if name.starts_with(&self.text) {
            return Some(0..self.text.len());
        }
        match own(name)? {
            Own::Keyevent => Some(0..0),
            Own::Keyspace(key) => range_at(name, key, &self.text),
        }
    }

    /// Where the prefix is in a pattern of channels.
    pub(super) fn in_pattern(&self, name: &[u8]) -> Option<Range<usize>> {
        if name.starts_with(&self.glob) {
            return Some(0..self.glob.len());
        }
        match of_pattern(name) {
            Place::At(0) | Place::Refused => None,
            Place::At(key) => range_at(name, key, &self.glob),
            Place::Nowhere => Some(0..0),
        }
    }

    /// How much of a channel's name [`Self::in_channel`] must see.
    pub(super) fn channel_head(&self) -> usize {
        self.text.len() + b"__keyspace@__:".len() + DATABASE_DIGITS_MAX
    }
}

fn range_at(name: &[u8], at: usize, text: &[u8]) -> Option<Range<usize>> {
    name.get(at..)?.starts_with(text).then(|| at..at + text.len())
}

/// A number of a database has at most ten digits.
const DATABASE_DIGITS_MAX: usize = 10;

/// The kind of the server's own channel, if it is one that reports keys.
pub(super) fn own(name: &[u8]) -> Option<Own> {
    let is_number = |text: &[u8]| {
        (1..=DATABASE_DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
    };
    if let Some(begin) = head(name, b"__keyspace@", is_number) {
        return Some(Own::Keyspace(begin));
    }
    head(name, b"__keyevent@", is_number).map(|_| Own::Keyevent)
}

/// Where a subscription to a channel puts the prefix.
pub(super) fn of_channel(name: &[u8]) -> Place {
    match own(name) {
        Some(Own::Keyspace(key)) => Place::At(key),
        Some(Own::Keyevent) => Place::Nowhere,
        None => Place::At(0),
    }
}

/// Where a subscription to a pattern puts the prefix.
pub(super) fn of_pattern(name: &[u8]) -> Place {
    let is_number = |text: &[u8]| {
        !text.is_empty()
            && text.iter().all(|byte| byte.is_ascii_digit() || b"*?[]^-".contains(byte))
    };
    if let Some(key) = head(name, b"__keyspace@", is_number) {
        return Place::At(key);
    }
    if head(name, b"__keyevent@", is_number).is_some() || reports_every_key(name) {
        return Place::Nowhere;
    }
    let end = name.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(name.len());
    let literal = name.get(..end).unwrap_or(name);
    let may_be = |reserved: &&[u8]| {
        literal.starts_with(reserved)
            || (literal.starts_with(b"__") && end < name.len() && reserved.starts_with(literal))
    };
    if RESERVED.iter().any(may_be) { Place::Refused } else { Place::At(0) }
}

/// `__key*__:*` and its like: every key and every event fit what is behind `__:`, so that the
/// pattern means the same with and without prefixes.
fn reports_every_key(name: &[u8]) -> bool {
    let middle = name.strip_prefix(b"__key").and_then(|rest| rest.strip_suffix(b"__:*"));
    middle.is_some_and(|middle| {
        middle.iter().all(|byte| byte.is_ascii_alphanumeric() || b"*?[]^-@".contains(byte))
    })
}

/// The length of `word`, a fitting text and `__:` at the beginning of a name.
fn head(name: &[u8], word: &[u8], fits: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let rest = name.strip_prefix(word)?;
    let end = rest.windows(3).position(|window| window == b"__:")?;
    fits(rest.get(..end)?).then_some(word.len() + end + 3)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::policy::pattern::matches;

    #[test]
    fn channels_of_the_server() {
        for (name, expected) in [
            ("news", Place::At(0)),
            ("", Place::At(0)),
            ("__keyspace@0__:k", Place::At(15)),
            ("__keyspace@12__:", Place::At(16)),
            ("__keyspace@0__", Place::At(0)),
            ("__keyspace@x__:k", Place::At(0)),
            ("__keyspace@__:k", Place::At(0)),
            ("__keyspace@*__:k", Place::At(0)),
            ("__keyevent@0__:set", Place::Nowhere),
            ("__redis__:invalidate", Place::At(0)),
        ] {
            assert_eq!(of_channel(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn patterns_over_channels_of_the_server() {
        for (name, expected) in [
            ("*", Place::At(0)),
            ("", Place::At(0)),
            ("n?ws*", Place::At(0)),
            ("_*", Place::At(0)),
            ("_x*", Place::At(0)),
            ("__x*", Place::At(0)),
            ("__key", Place::At(0)),
            ("__keyspace@0__:k*", Place::At(15)),
            ("__keyspace@*__:*", Place::At(15)),
            ("__keyspace@[0-3]__:k", Place::At(19)),
            ("__keyspace@0*", Place::Refused),
            ("__keyspace@*k", Place::Refused),
            ("__keyspace@*x__:k", Place::Refused),
            ("__keyevent@*__:expired", Place::Nowhere),
            ("__keyevent@0__:*", Place::Nowhere),
            ("__keyevent@*", Place::Refused),
            ("__key*__:*", Place::Nowhere),
            ("__key*@0__:*", Place::Nowhere),
            ("__key*__:k*", Place::Refused),
            ("__key*", Place::Refused),
            ("__*", Place::Refused),
            ("__redis__:*", Place::Refused),
            ("__sentinel__:hello", Place::Refused),
            ("\\__keyspace@0__:k", Place::At(0)),
            ("[_]_key*", Place::At(0)),
        ] {
            assert_eq!(of_pattern(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn prefix_is_found_in_names_and_patterns() {
        let prefix = Prefix::new(b"a*:");
        assert_eq!(prefix.glob(), b"a\\*:");
        assert_eq!(prefix.in_channel(b"a*:news"), Some(0..3));
        assert_eq!(prefix.in_channel(b"a*:"), Some(0..3));
        assert_eq!(prefix.in_channel(b"__keyspace@0__:a*:k"), Some(15..18));
        assert_eq!(prefix.in_channel(b"__keyspace@0__:b:x__:a*:k"), None);
        assert_eq!(prefix.in_channel(b"__keyevent@0__:set"), Some(0..0));
        assert_eq!(prefix.in_channel(b"b:news"), None);
        assert_eq!(prefix.in_channel(b""), None);
        assert_eq!(prefix.in_pattern(b"a\\*:n*"), Some(0..4));
        assert_eq!(prefix.in_pattern(b"__keyspace@*__:a\\*:k"), Some(15..19));
        assert_eq!(prefix.in_pattern(b"__key*__:*"), Some(0..0));
        assert_eq!(prefix.in_pattern(b"*"), None);
    }

    proptest::proptest! {
        /// A glob behind the prefix fits a name behind it exactly when it fits the name.
        #[test]
        fn globs_mean_the_same(
            prefix in "[ab*?\\[\\]^\\\\-]{1,6}",
            pattern in "[ab*?\\[\\]^\\\\-]{0,6}",
            name in "[ab*?\\[\\]^\\\\-]{1,6}",
        ) {
            let own = Prefix::new(prefix.as_bytes());
            let (glob, whole) =
                ([own.glob(), pattern.as_bytes()].concat(), [&prefix, &name[..]].concat());
            assert_eq!(
                matches(&glob, whole.as_bytes()),
                matches(pattern.as_bytes(), name.as_bytes())
            );
        }

        /// What a subscription puts in, an acknowledgement takes out.
        #[test]
        fn prefix_of_a_subscription_is_removed_from_its_acknowledgement(name in "(__keyspace@[0-9*]{1,2}__:|__keyevent@0__:|__key)?[a:_*]{0,4}") {
            let own = Prefix::new(b"a*:");
            let insert = |at: usize, text: &[u8]| {
                let (head, tail) = name.as_bytes().split_at(at);
                [head, text, tail].concat()
            };
            if let Place::At(at) = of_channel(name.as_bytes()) {
                assert_eq!(own.in_channel(&insert(at, own.text())), Some(at..at + 3));
            }
            if let Place::At(at) = of_pattern(name.as_bytes()) {
                assert_eq!(own.in_pattern(&insert(at, own.glob())), Some(at..at + 4));
            }
        }
    }
}

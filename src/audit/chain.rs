//! The chain of hashes that ties every entry to the one before.
//!
//! Owns: [`Chain`], the form of a line. Never knows: the content of an entry, where it is written.
//!
//! A line is a JSON object whose last member is `"chain"`: the SHA-256 over the chain value before and the
//! text of the line up to that member. With a key it is HMAC-SHA-256, so that only the owner of the key can
//! write a chain anew.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::base::hex::hex;
use crate::base::secret::Secret;

/// The separator between the text of an entry and its chain value.
const MEMBER: &str = ",\"chain\":\"";
const END: &str = "\"}";
const DIGITS: usize = 64;

/// The chain value of one line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value([u8; 32]);

/// The value after the last entry.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    value: [u8; 32],
    key: Option<Secret>,
}

impl Chain {
    /// Before the first entry of all.
    #[must_use]
    pub(crate) const fn new(key: Option<Secret>) -> Self {
        Self { value: [0; 32], key }
    }

    /// Goes on behind an entry with this chain value; `false`: it is none.
    pub(crate) fn resume(&mut self, value: &str) -> bool {
        let parsed = parse(value);
        if let Some(parsed) = parsed {
            self.value = parsed;
        }
        parsed.is_some()
    }

    /// The value in hexadecimal.
    #[must_use]
    pub(crate) fn value(&self) -> String {
        hex(&self.value)
    }

    /// Completes `text`, an object without its closing brace, to a line with its end of line; returns
    /// the value with which [`Self::advance`] goes on behind it.
    #[must_use]
    pub(crate) fn seal(&self, mut text: String) -> (String, Value) {
        let value = self.next(text.as_bytes());
        text.push_str(MEMBER);
        text.push_str(&hex(&value));
        text.push_str(END);
        text.push('\n');
        (text, Value(value))
    }

    /// Goes on behind a sealed line.
    pub(crate) const fn advance(&mut self, value: Value) {
        self.value = value.0;
    }

    /// Whether the line, without its end of line, is the one that follows; goes on behind it either way
    /// if it has a chain value.
    pub(crate) fn follow(&mut self, line: &str) -> bool {
        let Some((text, value)) = split(line) else { return false };
        let fits = self.next(text.as_bytes()) == value;
        self.value = value;
        fits
    }

    fn next(&self, text: &[u8]) -> [u8; 32] {
        match &self.key {
            None => Sha256::new().chain_update(self.value).chain_update(text).finalize().into(),
            Some(key) => {
                // HMAC takes a key of any length.
                Hmac::<Sha256>::new_from_slice(key.expose()).map_or([0; 32], |hmac| {
                    hmac.chain_update(self.value).chain_update(text).finalize().into_bytes().into()
                })
            }
        }
    }
}

/// The text of a line and its chain value.
fn split(line: &str) -> Option<(&str, [u8; 32])> {
    let (text, value) = line.strip_suffix(END)?.rsplit_once(MEMBER)?;
    Some((text, parse(value)?))
}

/// The chain value of a line, in hexadecimal.
#[must_use]
pub(crate) fn value_of(line: &str) -> Option<String> {
    split(line).map(|(_, value)| hex(&value))
}

fn parse(text: &str) -> Option<[u8; 32]> {
    if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut value = [0; 32];
    for (at, byte) in value.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    fn lines(key: Option<&[u8]>) -> Vec<String> {
        let mut chain = Chain::new(key.map(|key| Secret::new(key.to_vec())));
        let entries = ["{\"seq\":1", "{\"seq\":2,\"chain\":\"x\"", "{\"seq\":3"];
        let seal = |text: &str| {
            let (line, value) = chain.seal(text.to_owned());
            chain.advance(value);
            line
        };
        entries.map(seal).to_vec()
    }

    fn broken(lines: &[String], key: Option<&[u8]>) -> Vec<usize> {
        let mut chain = Chain::new(key.map(|key| Secret::new(key.to_vec())));
        let follows = |(at, line): (usize, &String)| (!chain.follow(line.trim_end())).then_some(at);
        lines.iter().enumerate().filter_map(follows).collect()
    }

    #[test]
    fn every_change_of_a_line_breaks_the_chain_there() {
        for key in [None, Some(&b"a key"[..])] {
            let good = lines(key);
            assert!(broken(&good, key).is_empty());
            for at in 0..good.len() {
                for place in 0..good[at].trim_end().len() {
                    let mut bad = good.clone();
                    let mut bytes = bad[at].clone().into_bytes();
                    bytes[place] ^= 1;
                    bad[at] = String::from_utf8(bytes).unwrap();
                    assert_eq!(broken(&bad, key).first(), Some(&at), "byte {place} of {at}");
                }
            }
        }
    }

    #[test]
    fn line_that_is_missing_or_moved_breaks_the_chain() {
        let good = lines(None);
        assert_eq!(broken(&[good[0].clone(), good[2].clone()], None), [1]);
        assert_eq!(broken(&[good[1].clone(), good[0].clone()], None), [0, 1]);
        assert_eq!(broken(&good, Some(b"k")), [0, 1, 2], "a key that did not seal it");
    }
}

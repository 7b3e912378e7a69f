//! Keys as logs may show them.
//!
//! Owns: [`KeyMask`]. Never knows: sinks, policy. There is no function for values: they
//! are never shown, and of `AUTH` and `HELLO` only the name is.

use std::fmt;

use sha2::{Digest, Sha256};

/// Turns keys into marks: the same key gives the same mark for as long as the process lives, and
/// trying keys against a mark takes the salt.
#[derive(Clone)]
pub(crate) struct KeyMask {
    salt: [u8; 32],
}

impl KeyMask {
    /// The salt must be unpredictable and must not be kept.
    #[must_use]
    pub(crate) const fn new(salt: [u8; 32]) -> Self {
        Self { salt }
    }

    /// `key:` and 8 hexadecimal digits.
    pub(crate) fn mark(&self, key: &[u8]) -> impl fmt::Display + use<> {
        let digest = Sha256::new().chain_update(self.salt).chain_update(key).finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(digest);
        fmt::from_fn(move |f| write!(f, "key:{:08x}", u32::from_be_bytes([a, b, c, d])))
    }
}

impl fmt::Debug for KeyMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMask(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_distinguish_keys_and_show_nothing_more() {
        let (mask, other) = (KeyMask::new([7; 32]), KeyMask::new([8; 32]));
        let mark = mask.mark(b"user:alice").to_string();
        assert_eq!(mark, mask.mark(b"user:alice").to_string());
        assert_eq!((mark.len(), &mark[..4]), (12, "key:"));
        assert_ne!(mark, mask.mark(b"user:bob").to_string());
        assert_ne!(mark, other.mark(b"user:alice").to_string());
        assert_eq!(format!("{mask:?}"), "KeyMask(..)");
    }
}

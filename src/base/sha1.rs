//! SHA-1, the name under which Redis knows a script.
//!
//! Owns: [`Sha1`]. Never knows: scripts.

use std::fmt;

use data_encoding::HEXLOWER;
use sha1::Digest;

use crate::base::hex::unhex;

/// The digest of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha1([u8; 20]);

impl Sha1 {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha1::Sha1::digest(bytes).into())
    }

    /// Reads 40 hexadecimal digits of either case, as `EVALSHA` takes them (redis script.c,
    /// `evalGenericCommand`).
    #[must_use]
    pub fn parse(digits: &[u8]) -> Option<Self> {
        unhex(digits).map(Self)
    }
}

impl fmt::Display for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 40];
        HEXLOWER.encode_mut(&self.0, &mut digits);
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_known_ones() {
        for (bytes, digits) in [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("return 1", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
        ] {
            assert_eq!(Sha1::of(bytes.as_bytes()).to_string(), digits);
            let upper = digits.to_uppercase();
            assert_eq!(Sha1::parse(upper.as_bytes()), Some(Sha1::of(bytes.as_bytes())));
        }
    }

    #[test]
    fn invalid_digests_are_refused() {
        let digits = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        for text in ["", &digits[1..], &format!("{digits}0"), &digits.replace('d', "g")] {
            assert_eq!(Sha1::parse(text.as_bytes()), None, "{text}");
        }
    }
}

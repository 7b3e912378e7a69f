//! SHA-1, the name under which Redis knows a script.
//!
//! Owns: [`Sha1`]. Never knows: scripts.

use std::fmt;

use sha1::Digest;

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
        let mut digest = [0; 20];
        if digits.len() != 2 * digest.len() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16)?;
                *byte = *byte << 4 | u8::try_from(value).ok()?;
            }
        }
        Some(Self(digest))
    }
}

impl fmt::Display for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
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
    fn what_is_no_digest() {
        let digits = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        for text in ["", &digits[1..], &format!("{digits}0"), &digits.replace('d', "g")] {
            assert_eq!(Sha1::parse(text.as_bytes()), None, "{text}");
        }
    }
}

//! A secret that does not print itself, is wiped when dropped and compares in constant time.
//!
//! Owns: [`Secret`]. Never knows: where the bytes came from.

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A password or token.
#[derive(Clone, Default)]
pub struct Secret(Vec<u8>);

impl Secret {
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be written to the wire; never for logs or errors.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `other` is the same secret. The time taken depends on the lengths alone.
    #[must_use]
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_never_printed_and_compared_whole() {
        let s = Secret::new(b"hunter2".to_vec());
        assert_eq!(format!("{s:?}"), "Secret(..)");
        assert!(s.matches(b"hunter2"));
        for other in [&b"hunter"[..], b"hunter22", b"", b"Hunter2", b"hunter2hunter2"] {
            assert!(!s.matches(other), "{other:?}");
        }
        assert!(Secret::default().matches(b""));
        assert!(!Secret::default().matches(b"x"));
    }
}

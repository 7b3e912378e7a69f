//! A number that two processes with the same configuration share.
//!
//! Owns: [`hash`]. Never knows: secrets; where the configuration came from.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use super::Config;

/// Bits of the hash that a floating-point number holds exactly.
const BITS: u32 = 53;

/// 53 bits of a hash of every setting in effect, defaults included. Secrets take no part in it, so that
/// nothing can be tried against the number. It is the same in processes of the same version alone.
#[must_use]
pub fn hash(config: &Config) -> u64 {
    let mut digest = Digester(Sha256::new());
    // A hash takes any text.
    let _ = write!(digest, "{config:?}");
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(digest.0.finalize());
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> (u64::BITS - BITS)
}

struct Digester(Sha256);

impl Write for Digester {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[listener]]\naddress = \"127.0.0.1:6379\"\n[upstream]\naddress = \"db:6380\"\n\
                        insecure_plaintext = true\n[policy]\nacl = \"+@all\"\n";

    fn of(text: &str) -> u64 {
        let document = super::super::parse(text, "test", []).unwrap();
        hash(&document)
    }

    #[test]
    fn hash_differs_with_a_setting_and_not_with_its_spelling() {
        assert_eq!(of(TEXT), of(&format!("# a comment\n{TEXT}")));
        assert_eq!(of(TEXT), of(&format!("{TEXT}\n[drain]\nmax = \"20s\"\n")), "a default");
        assert_ne!(of(TEXT), of(&TEXT.replace("+@all", "+@read")));
        assert_ne!(of(TEXT), of(&format!("{TEXT}\n[drain]\nmax = \"21s\"\n")));
        assert!(of(TEXT) < 1 << BITS);
    }
}

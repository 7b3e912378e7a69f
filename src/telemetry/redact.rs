//! Decides what of a command may leave the process through logs.
//!
//! Owns: [`describe`], [`KeyMask`]. Never knows: sinks, policy. There is no function for values: they
//! never leave, and of `AUTH` and `HELLO` nothing but the name does.

use std::fmt;

use sha2::{Digest, Sha256};

/// A command as it may be printed: its name in the command table and how many arguments it has. What
/// the table does not have may be anything, a password typed in the wrong place included, and stays
/// unnamed.
pub fn describe(command: Option<&'static str>, arguments: usize) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let s = if arguments == 1 { "" } else { "s" };
        write!(f, "{} ({arguments} argument{s})", command.unwrap_or("unknown command"))
    })
}

/// Turns keys into marks: the same key gives the same mark for as long as the process lives, and
/// trying keys against a mark takes the salt.
#[derive(Clone)]
pub struct KeyMask {
    salt: [u8; 32],
}

impl KeyMask {
    /// The salt must be unpredictable and must not be kept.
    #[must_use]
    pub const fn new(salt: [u8; 32]) -> Self {
        Self { salt }
    }

    /// `key:` and 8 hexadecimal digits.
    pub fn mark(&self, key: &[u8]) -> impl fmt::Display + use<> {
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
    fn a_command_is_its_name_and_size() {
        assert_eq!(describe(Some("SET"), 2).to_string(), "SET (2 arguments)");
        assert_eq!(describe(Some("AUTH"), 1).to_string(), "AUTH (1 argument)");
        assert_eq!(describe(None, 0).to_string(), "unknown command (0 arguments)");
    }

    #[test]
    fn marks_tell_keys_apart_and_nothing_more() {
        let (mask, other) = (KeyMask::new([7; 32]), KeyMask::new([8; 32]));
        let mark = mask.mark(b"user:alice").to_string();
        assert_eq!(mark, mask.mark(b"user:alice").to_string());
        assert_eq!((mark.len(), &mark[..4]), (12, "key:"));
        assert_ne!(mark, mask.mark(b"user:bob").to_string());
        assert_ne!(mark, other.mark(b"user:alice").to_string());
        assert_eq!(format!("{mask:?}"), "KeyMask(..)");
    }
}

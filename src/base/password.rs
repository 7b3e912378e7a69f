//! Passwords as Redis's ACL keeps them: by their SHA-256, compared in constant time.
//!
//! Owns: [`PasswordHash`], [`Passwords`]. Never knows: users, where a hash was written.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::base::hex::unhex;
use crate::base::limits;

/// The SHA-256 of a password. It is never printed: passwords can be tried against it offline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordHash([u8; 32]);

impl PasswordHash {
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// From 64 lower-case hexadecimal digits (Redis acl.c `ACLCheckPasswordHash`).
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        let lower = !digits.bytes().any(|digit| digit.is_ascii_uppercase());
        lower.then(|| unhex(digits.as_bytes()))?.map(Self)
    }

    /// In constant time.
    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// The passwords that a user may log in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passwords {
    /// Any password is right, as after Redis's `nopass`.
    Any,
    /// One of these; with none of them every login fails.
    OneOf(Vec<PasswordHash>),
}

impl Default for Passwords {
    /// The passwords of a user that Redis has just made.
    fn default() -> Self {
        Self::OneOf(Vec::new())
    }
}

impl Passwords {
    /// Whether the password of this hash is right. All hashes are looked at.
    #[must_use]
    pub fn admit(&self, hash: &PasswordHash) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(known) => known.iter().fold(false, |found, own| found | own.is(hash)),
        }
    }

    /// Whether there are as many as one user may have.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::OneOf(known) if known.len() >= limits::PASSWORDS_MAX)
    }

    /// Adds one; from here on not any password is right.
    pub fn add(&mut self, hash: PasswordHash) {
        match self {
            Self::OneOf(known) if known.contains(&hash) => {}
            Self::OneOf(known) => known.push(hash),
            Self::Any => *self = Self::OneOf(vec![hash]),
        }
    }

    /// Takes one away; `false` when it was not there.
    pub fn remove(&mut self, hash: &PasswordHash) -> bool {
        let Self::OneOf(known) = self else { return false };
        let before = known.len();
        known.retain(|own| own != hash);
        known.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf foobar | sha256sum`
    const FOOBAR: &str = "c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2";

    #[test]
    fn digits() {
        assert_eq!(PasswordHash::parse(FOOBAR), Some(PasswordHash::of(b"foobar")));
        let upper = FOOBAR.to_uppercase();
        let long = format!("{FOOBAR}0");
        for wrong in ["", &FOOBAR[1..], &FOOBAR[2..], &upper, &long, &FOOBAR.replace('c', "é")] {
            assert_eq!(PasswordHash::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn passwords_that_are_right() {
        let (one, two) = (PasswordHash::of(b"one"), PasswordHash::of(b"two"));
        let mut passwords = Passwords::default();
        let expect = |passwords: &Passwords, right: [bool; 2]| {
            assert_eq!([&one, &two].map(|hash| passwords.admit(hash)), right, "{passwords:?}");
        };
        expect(&passwords, [false, false]);
        passwords.add(one);
        expect(&passwords, [true, false]);
        passwords.add(two);
        passwords.add(two);
        expect(&passwords, [true, true]);
        assert!(passwords.remove(&two));
        assert!(!passwords.remove(&two));
        expect(&passwords, [true, false]);
        passwords = Passwords::Any;
        expect(&passwords, [true, true]);
        assert!(!passwords.remove(&one));
        passwords.add(two);
        expect(&passwords, [false, true]);
    }

    #[test]
    fn single_bit_counts() {
        let hash = PasswordHash::of(b"x");
        for at in 0..32 {
            let mut other = hash;
            other.0[at] ^= 1;
            assert!(!hash.is(&other), "{at}");
        }
    }

    #[test]
    fn password_is_never_printed() {
        let text = format!("{:?}", Passwords::OneOf(vec![PasswordHash::of(b"x")]));
        assert_eq!(text, "OneOf([PasswordHash(..)])");
    }
}

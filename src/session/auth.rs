//! What an application must say before it is served.
//!
//! Owns: [`Auth`]. Never knows: AUTH and HELLO, passwords of the upstream.

use crate::base::secret::Secret;

/// What an application must say before it is served.
#[derive(Debug, Default)]
pub enum Auth {
    /// As a Redis whose default user has no password.
    #[default]
    Off,
    /// Any AUTH is welcome and changes nothing.
    Ignore,
    /// As a Redis with `requirepass`.
    Password(Secret),
}

impl Auth {
    /// Whether a client must authenticate at all.
    #[must_use]
    pub const fn required(&self) -> bool {
        matches!(self, Self::Password(_))
    }

    /// Redis acl.c `ACLAuthenticateUser` for a server with the user `default` alone.
    pub(super) fn admits(&self, user: &[u8], password: &[u8]) -> bool {
        match self {
            Self::Ignore => true,
            Self::Off => user == b"default",
            Self::Password(secret) => secret.matches(password) && user == b"default",
        }
    }
}

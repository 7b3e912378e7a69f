//! The login that an application must send before it is served, and which policy then applies to it.
//!
//! Owns: [`Auth`], [`ListenerAccess`], [`Login`]. Never knows: AUTH and HELLO, passwords of the upstream.

use std::sync::Arc;

use super::peer::PeerIdentity;
use super::users::{Name, Users};
use crate::base::secret::Secret;
use crate::policy::Policy;

/// The login that an application must send before it is served.
#[derive(Debug, Default)]
pub enum Auth {
    /// Clients need no login, as at a Redis whose default user has no password.
    #[default]
    Off,
    /// Any AUTH is welcome and changes nothing.
    Ignore,
    /// Clients log in with one password, as at a Redis with `requirepass`.
    Password(Secret),
    /// Clients log in as one of these users.
    Users(Arc<Users>),
}

/// What came of an attempt to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Right,
    /// The user that was named, if there is one.
    Wrong(Option<Name>),
    /// The server has decided it: the login was sent there, for the listener needs no password.
    WrongAtServer,
}

/// One listener's rules of one moment.
#[derive(Debug)]
pub struct ListenerAccess {
    pub auth: Auth,
    /// The policy of users without one of their own.
    pub policy: Arc<Policy>,
}

impl Auth {
    /// Whether respgate needs no login, so that AUTH is the server's to answer.
    pub const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Whether a password may be wrong.
    pub(super) const fn compares(&self) -> bool {
        !matches!(self, Self::Off | Self::Ignore)
    }

    /// The user of this name, if there is one.
    pub(super) fn known(&self, name: &[u8]) -> Option<Name> {
        match self {
            Self::Off | Self::Ignore | Self::Password(_) => {
                (name == b"default").then(Name::default)
            }
            Self::Users(users) => users.known(name),
        }
    }

    /// The first user of a client, and whether it is served without AUTH.
    pub(super) fn enter(&self, peer: &PeerIdentity) -> (Name, bool) {
        match self {
            Self::Off | Self::Ignore => (Name::default(), true),
            Self::Password(_) => (Name::default(), false),
            Self::Users(users) => users.enter(peer),
        }
    }

    /// Whether `AUTH password` is a mistake, because no password was ever set.
    pub(super) fn has_no_password(&self) -> bool {
        match self {
            Self::Off => true,
            Self::Ignore | Self::Password(_) => false,
            Self::Users(users) => users.default_has_no_password(),
        }
    }

    /// Whether there is such a user.
    pub(super) fn has_user(&self, name: &[u8]) -> bool {
        self.known(name).is_some()
    }

    /// The user of a client that has sent this login; `None`: it is wrong (Redis acl.c
    /// `ACLAuthenticateUser`, for [`Self::Off`] and [`Self::Password`] with the user `default` alone).
    pub(super) fn admit(&self, user: &[u8], password: &[u8]) -> Option<Name> {
        let right = match self {
            Self::Ignore => true,
            Self::Off => user == b"default",
            Self::Password(secret) => secret.matches(password) && user == b"default",
            Self::Users(users) => return users.admit(user, password),
        };
        right.then(Name::default)
    }
}

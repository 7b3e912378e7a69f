//! What is taken off one reply.
//!
//! Owns: [`Strip`]. Never knows: bytes of replies, requests.

use std::sync::Arc;

use super::hidden::Hidden;
use super::prefix::Prefix;
use crate::command::ReplyNames;
use crate::policy::guard::Digests;

/// Where the names are in one reply, and what to take off them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    pub(super) prefix: Arc<Prefix>,
    /// Arguments of the request with the prefix before them: bit `n` is argument `n`.
    pub(super) echoed: u64,
    /// Bytes of the key that an error ends with, as the client wrote it, up to a NUL.
    pub(super) key_bytes: u32,
    pub(super) names: ReplyNames,
    /// Names that a list does not show.
    pub(super) hidden: Option<Arc<Hidden>>,
    /// The name by which the server knows a guarded script, and the client's.
    pub(super) digests: Option<Arc<Digests>>,
    /// The reply is that name itself.
    pub(super) loaded: bool,
}

impl Strip {
    /// Names in errors alone.
    #[must_use]
    pub const fn of_errors(prefix: Arc<Prefix>) -> Self {
        Self {
            prefix,
            echoed: 0,
            key_bytes: 0,
            names: ReplyNames::Errors,
            hidden: None,
            digests: None,
            loaded: false,
        }
    }

    /// A report about the server, and names in errors.
    #[must_use]
    pub const fn of_report(prefix: Arc<Prefix>) -> Self {
        Self {
            prefix,
            echoed: 0,
            key_bytes: 0,
            names: ReplyNames::Report,
            hidden: None,
            digests: None,
            loaded: false,
        }
    }

    /// This shape without some names of the list.
    #[must_use]
    pub(in super::super) fn hiding(self, names: ReplyNames, hidden: Arc<Hidden>) -> Self {
        Self { names, hidden: Some(hidden), ..self }
    }

    /// This shape for a reply about a guarded script; `loaded`: it is the script's name.
    #[must_use]
    pub fn with_digests(self, digests: Arc<Digests>, loaded: bool) -> Self {
        Self { digests: Some(digests), loaded, ..self }
    }

    /// The prefix that was in force when the request was made.
    #[must_use]
    pub const fn prefix(&self) -> &Arc<Prefix> {
        &self.prefix
    }

    /// Whether nothing but an error has to be looked into.
    #[must_use]
    pub const fn is_for_errors(&self) -> bool {
        matches!(self.names, ReplyNames::Errors | ReplyNames::Acknowledged)
            && self.digests.is_none()
    }

    /// Whether a reply that begins with this byte has to be looked into.
    #[must_use]
    pub const fn concerns(&self, kind: u8) -> bool {
        kind == b'-'
            || self.loaded
            || !matches!(
                self.names,
                ReplyNames::Errors | ReplyNames::KeyAtEnd | ReplyNames::Acknowledged
            )
    }
}

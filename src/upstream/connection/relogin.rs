//! A login with a new password on a connection that is open: when it is tried, and when the connection must be
//! replaced instead.
//!
//! Owns: [`Relogin`], [`Freshness`]. Never knows: passwords, what is sent.

use std::time::Instant;

use crate::base::limits;

/// How the identity and the credentials of a connection relate to those in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    Current,
    /// The password alone is another: the connection can log in again as it is.
    NewPassword,
    /// Another certificate or another user.
    Outdated,
}

/// Whether a connection has logged in again.
#[derive(Debug, Default)]
pub(super) struct Relogin {
    asked: Option<Instant>,
    /// The server has refused, or has not answered: it is not asked again.
    refused: bool,
}

impl Relogin {
    /// Whether the connection is to be replaced all the same.
    pub(super) fn has_failed(&mut self, now: Instant) -> bool {
        let late = |asked: Instant| now.saturating_duration_since(asked) > limits::RELOGIN_TIMEOUT;
        self.refused |= self.asked.is_some_and(late);
        self.refused
    }

    /// Whether the login is to be sent now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        debug_assert!(!self.refused, "the server is not asked again");
        let is_due = self.asked.is_none();
        let asked = *self.asked.get_or_insert(now);
        debug_assert!(asked <= now, "the server is asked later");
        is_due
    }

    /// The server has answered.
    pub(super) const fn handle_reply(&mut self, accepted: bool) {
        debug_assert!(self.asked.is_some(), "the answer to no login");
        self.asked = None;
        self.refused |= !accepted;
    }
}

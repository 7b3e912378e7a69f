//! A finished request, as the statistics see it.
//!
//! Owns: [`Completed`]. Never knows: what was asked, metrics.

use std::time::Instant;

use super::queue::Class;
use crate::command::Spec;
use crate::traffic::Ticket;

/// What the statistics want to know of a finished request.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    /// What was asked, if it is one command of the client's.
    pub command: Option<&'static Spec>,
    pub class: Class,
    pub at: Instant,
    pub ticket: Ticket,
    /// Bytes of its reply.
    pub bytes: usize,
    pub error: bool,
    /// A transaction whose MULTI was refused.
    pub unopened: bool,
    /// A question of the session's own, and no request of the client.
    pub own: bool,
}

impl Completed {
    /// Whether both move the same metrics by the same amounts when they complete at the same time.
    #[must_use]
    #[inline]
    pub fn counts_as(&self, other: &Self) -> bool {
        self.at == other.at
            && self.class == other.class
            && self.error == other.error
            && self.unopened == other.unopened
            && self.own == other.own
    }
}

//! A request of one session that the server has, or will have: what its reply is for.
//!
//! Owns: [`Remote`]. Never knows: its place in line, how the reply comes.

use std::time::Instant;

use super::expect::Expect;
use super::limiter::Admission;
use crate::command::{EmptyReply, Spec};
use crate::telemetry::CommandClass as Class;
use crate::traffic::Ticket;

#[derive(Debug)]
pub(super) struct Remote {
    pub ticket: Ticket,
    /// The command of the client that it answers.
    pub command: Option<&'static Spec>,
    pub expect: Expect,
    /// The first error that the server answered to a queued command, as far as it is kept.
    pub refusal: Option<Box<[u8]>>,
    pub class: Class,
    pub at: Instant,
    /// Its share of the limits on how many there are at once; given back when dropped.
    pub admission: Option<Box<Admission>>,
    /// The answer while the server cannot be reached, where the policy wants one.
    pub miss: Option<EmptyReply>,
}

impl Remote {
    /// Whether a reply of this kind goes on to the client piece by piece.
    pub(super) const fn passes(&self, kind: u8) -> bool {
        matches!(self.expect, Expect::Plain | Expect::Names(_))
            || (matches!(self.expect, Expect::Block) && kind != b'-')
    }

    /// The server has refused a queued command first with this line.
    pub(super) fn note_refusal(&mut self, line: &[u8]) {
        debug_assert!(line.starts_with(b"-"), "only an error refuses");
        self.refusal.get_or_insert_with(|| line.into());
    }
}

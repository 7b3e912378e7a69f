//! What was answered while the server cannot be reached, where the policy has `degraded = "miss"`.
//!
//! Owns: [`Degraded`]. Never knows: sessions, replies.

use std::time::Instant;

/// What was answered so, until it is counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Degraded {
    /// The policy of the last request wants it.
    pub on: bool,
    missed: u32,
    failed: u32,
    /// The outage that was reported.
    reported: Option<Instant>,
}

impl Degraded {
    pub(super) const fn note_missed(&mut self) {
        debug_assert!(self.on, "the policy does not want it");
        self.missed = self.missed.saturating_add(1);
    }

    /// An error was answered because the server cannot be reached.
    pub(super) const fn note_failed(&mut self) {
        if self.on {
            self.failed = self.failed.saturating_add(1);
        }
    }

    /// How many misses and errors were answered since this was asked.
    pub(super) fn take(&mut self) -> Option<(u32, u32)> {
        let both = (std::mem::take(&mut self.missed), std::mem::take(&mut self.failed));
        (both != (0, 0)).then_some(both)
    }

    /// Whether it is the first time in this outage.
    pub(super) fn note_outage(&mut self, since: Option<Instant>) -> bool {
        let new = self.reported.is_none() || (since.is_some() && since != self.reported);
        self.reported = since.or(self.reported);
        new
    }
}

//! What was answered while the server cannot be reached, where the policy has `degraded = "miss"`.
//!
//! Owns: [`Degraded`]. Never knows: sessions, replies.

use std::time::Instant;

use crate::base::lazy_box::{Initial, LazyBox};

/// What was answered so, until it is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Degraded {
    /// The policy of the last request wants it.
    pub on: bool,
    answered: LazyBox<Answered>,
}

#[derive(Clone, Debug, Default)]
struct Answered {
    missed: u32,
    failed: u32,
    /// The outage that was reported.
    reported: Option<Instant>,
}

impl Initial for Answered {
    const INITIAL: &'static Self = &Self { missed: 0, failed: 0, reported: None };
}

impl Degraded {
    pub(super) fn note_missed(&mut self) {
        debug_assert!(self.on, "the policy does not want it");
        self.answered.missed = self.answered.missed.saturating_add(1);
    }

    /// An error was answered because the server cannot be reached.
    pub(super) fn note_failed(&mut self) {
        if self.on {
            self.answered.failed = self.answered.failed.saturating_add(1);
        }
    }

    /// How many misses and errors were answered since this was asked.
    pub(super) fn take(&mut self) -> Option<(u32, u32)> {
        let Answered { missed, failed, .. } = self.answered.allocated_mut()?;
        let both = (std::mem::take(missed), std::mem::take(failed));
        (both != (0, 0)).then_some(both)
    }

    /// Whether it is the first time in this outage.
    pub(super) fn note_outage(&mut self, since: Option<Instant>) -> bool {
        let reported = &mut self.answered.reported;
        let new = reported.is_none() || (since.is_some() && since != *reported);
        *reported = since.or(*reported);
        new
    }
}

//! What was answered while the server cannot be reached, where the policy has `degraded = "miss"`.
//!
//! Owns: [`Degraded`]. Never knows: sessions, replies.

use std::time::Instant;

use crate::base::lazy_box::{Initial, LazyBox};
use crate::command::EmptyReply;

/// What was answered so, until it is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Degraded {
    answered: LazyBox<Answered>,
}

#[derive(Clone, Debug, Default)]
struct Answered {
    missed: u32,
    failed: u32,
    /// The outage that was reported.
    reported: Option<Instant>,
    /// The reply of a server without data to the request that waits for a connection of its own.
    miss: Option<EmptyReply>,
}

impl Initial for Answered {
    const INITIAL: &'static Self = &Self { missed: 0, failed: 0, reported: None, miss: None };
}

impl Degraded {
    pub(super) fn note_missed(&mut self) {
        self.answered.missed = self.answered.missed.saturating_add(1);
    }

    /// An error was answered because the server cannot be reached.
    pub(super) fn note_failed(&mut self) {
        self.answered.failed = self.answered.failed.saturating_add(1);
    }

    /// The request at hand waits for a connection of its own; without one it is answered so.
    #[cold]
    pub(super) fn note_wait(&mut self, miss: Option<EmptyReply>) {
        if miss.is_some() {
            self.answered.miss = miss;
        } else if let Some(answered) = self.answered.allocated_mut() {
            answered.miss = None;
        }
    }

    /// What the request that waited is answered.
    pub(super) fn take_miss(&mut self) -> Option<EmptyReply> {
        self.answered.allocated_mut()?.miss.take()
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

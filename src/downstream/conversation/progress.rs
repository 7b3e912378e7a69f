//! How fast bytes move in one direction of a connection, and since when they do not.
//!
//! Owns: [`Progress`]. Never knows: sockets, clocks, whose bytes they are.

use std::time::{Duration, Instant};

use crate::base::lazy_box::Initial;
use crate::base::limits;

/// Measures the movement of bytes while a peer waits for them, and nothing otherwise.
#[derive(Debug, Default)]
pub(super) struct Progress {
    marks: Option<Marks>,
}

#[derive(Clone, Copy, Debug)]
struct Marks {
    /// When the last [`limits::PROGRESS_BYTES_MIN`] were complete, or waiting began.
    step: Instant,
    /// When the last byte moved, or waiting began.
    byte: Instant,
    /// Bytes since `step`.
    moved: usize,
}

impl Initial for Progress {
    const INITIAL: &'static Self = &Self::NONE;
}

impl Progress {
    pub(super) const NONE: Self = Self { marks: None };

    /// There are bytes that wait; measures from here unless it does already.
    pub(super) fn begin(&mut self, now: Instant) {
        self.marks.get_or_insert(Marks { step: now, byte: now, moved: 0 });
        self.check_invariants(now);
    }

    /// No byte waits any more.
    pub(super) const fn end(&mut self) {
        self.marks = None;
    }

    /// This many bytes have moved.
    pub(super) fn note(&mut self, bytes: usize, now: Instant) {
        let Some(marks) = &mut self.marks else { return };
        if bytes == 0 {
            return;
        }
        debug_assert!(now >= marks.byte, "bytes move before the last ones");
        marks.byte = now;
        marks.moved = marks.moved.saturating_add(bytes);
        if marks.moved >= limits::PROGRESS_BYTES_MIN {
            (marks.step, marks.moved) = (now, 0);
        }
        self.check_invariants(now);
    }

    /// What holds whenever bytes have moved, or begin to wait.
    pub(super) fn check_invariants(&self, now: Instant) {
        let Some(Marks { step, byte, moved }) = self.marks else { return };
        debug_assert!(step <= byte && byte <= now, "bytes move backwards in time");
        debug_assert!(moved < limits::PROGRESS_BYTES_MIN, "a step is complete and not noted");
    }

    pub(super) const fn is_measured(&self) -> bool {
        self.marks.is_some()
    }

    /// When the last step was complete, while bytes wait.
    pub(super) fn moved_at(&self) -> Option<Instant> {
        self.marks.map(|marks| marks.step)
    }

    /// When there will have been no progress for `limit`.
    pub(super) fn deadline(&self, limit: Duration) -> Option<Instant> {
        self.marks.map(|marks| marks.step + limit)
    }

    /// Until when the peer has time: until the argument in any case.
    pub(super) fn prolong(&mut self, until: Instant, now: Instant, limit: Duration) -> Instant {
        self.begin(now);
        debug_assert!(self.is_measured(), "no byte waits");
        let prolonged = self.deadline(limit).map_or(until, |slow| slow.max(until));
        debug_assert!(prolonged >= until, "the peer has less time than before");
        prolonged
    }

    /// When the peer will have taken nothing for so long that it may be busy with sending.
    pub(super) fn quiet_at(&self) -> Option<Instant> {
        self.marks.map(|marks| marks.byte + limits::PEER_BUSY_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn progress_is_measured_only_while_bytes_wait() {
        let now = crate::base::clock::now();
        let mut progress = Progress::default();
        progress.note(limits::PROGRESS_BYTES_MIN, now);
        assert!(!progress.is_measured() && progress.deadline(LIMIT).is_none());
        progress.begin(now);
        progress.begin(now + limits::PEER_BUSY_TIME);
        assert_eq!(progress.deadline(LIMIT), Some(now + LIMIT), "a second beginning is none");
        progress.end();
        assert!(progress.deadline(LIMIT).is_none() && progress.quiet_at().is_none());
    }

    #[test]
    fn progress_of_single_bytes_is_none() {
        let start = crate::base::clock::now();
        let mut progress = Progress::default();
        progress.begin(start);
        let mut now = start;
        for _ in 0..100 {
            now += limits::PEER_BUSY_TIME;
            progress.note(1, now);
        }
        assert_eq!(progress.deadline(LIMIT), Some(start + LIMIT));
        assert_eq!(progress.quiet_at(), Some(now + limits::PEER_BUSY_TIME), "but it is not quiet");
        progress.note(limits::PROGRESS_BYTES_MIN, now);
        assert_eq!(progress.deadline(LIMIT), Some(now + LIMIT));
    }
}

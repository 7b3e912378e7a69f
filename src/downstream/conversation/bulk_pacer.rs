//! How the transfer of a very large value gives precedence to small ones.
//!
//! Owns: [`BulkPacer`]. Never knows: sockets, clocks, whose value it is.

use std::time::Instant;

use crate::base::limits;

/// Rounds, of up to [`READ_BYTES`](crate::base::limits::READ_BYTES) each, that a value moves like any
/// other.
const FREE_ROUNDS: u32 = 16;
/// Rounds of a larger one between two pauses.
const ROUNDS_BETWEEN_PAUSES: u32 = 2;

/// A value of many megabytes costs the thread and the server as much as thousands of small commands:
/// while there are any, it moves in steps.
#[derive(Debug, Default)]
pub(super) struct BulkPacer {
    /// Rounds in a row that moved a large value.
    rounds: u32,
    paused_until: Option<Instant>,
    /// Requests of others at the last pause.
    served: u64,
}

impl BulkPacer {
    pub(super) const NEW: Self = Self { rounds: 0, paused_until: None, served: 0 };

    /// A round that moved a large value is over; `served`: requests of others so far. Returns whether
    /// the value pauses.
    pub(super) fn note_round(&mut self, served: u64, now: Instant) -> bool {
        debug_assert!(served >= self.served, "requests that were served are counted no more");
        self.check_invariants(now);
        if self.is_paused(now) {
            return true;
        }
        self.rounds += 1;
        if self.rounds < FREE_ROUNDS || !self.rounds.is_multiple_of(ROUNDS_BETWEEN_PAUSES) {
            return false;
        }
        let busy = std::mem::replace(&mut self.served, served) != served;
        self.paused_until = busy.then(|| now + limits::BULK_PAUSE);
        debug_assert_eq!(self.is_paused(now), busy, "it pauses for others alone");
        debug_assert!(self.rounds >= FREE_ROUNDS, "a small value pauses");
        busy
    }

    /// What holds whenever a round is over.
    pub(super) fn check_invariants(&self, now: Instant) {
        let ends = |until| until <= now + limits::BULK_PAUSE;
        debug_assert!(self.paused_until.is_none_or(ends), "a pause has an end");
        let due = self.rounds < FREE_ROUNDS || self.rounds.is_multiple_of(ROUNDS_BETWEEN_PAUSES);
        debug_assert!(due || !self.is_paused(now), "a pause begins between two pauses");
    }

    /// A round that moved none is over: the next large value is another one.
    pub(super) const fn note_end(&mut self) {
        self.rounds = 0;
    }

    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// When the pause ends, or ended.
    pub(super) const fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_large_values_alone_pause_and_only_for_others() {
        let mut now = crate::base::clock::now();
        let mut pacer = BulkPacer::default();
        // Those of some rounds after which the value pauses.
        let mut pauses = |pacer: &mut BulkPacer, rounds: u32, served: fn(u32) -> u64| -> Vec<u32> {
            let pauses = (1..=rounds).filter(|n| {
                now += limits::BULK_PAUSE;
                pacer.note_round(served(*n), now)
            });
            pauses.collect()
        };
        let nowhere: [u32; 0] = [];
        assert_eq!(pauses(&mut pacer, 22, u64::from), [16, 18, 20, 22]);
        assert_eq!(pauses(&mut pacer, 22, |_| 22), nowhere, "no other client sends anything");
        pacer.note_end();
        assert_eq!(
            pauses(&mut pacer, 15, |n| 22 + u64::from(n)),
            nowhere,
            "a megabyte moves like any value"
        );
    }

    #[test]
    fn bulk_pause_has_an_end() {
        let now = crate::base::clock::now();
        let mut pacer = BulkPacer::default();
        assert!((1..=16).any(|served| pacer.note_round(served, now)));
        assert!(pacer.is_paused(now) && pacer.note_round(17, now));
        assert_eq!(pacer.paused_until(), Some(now + limits::BULK_PAUSE));
        assert!(
            !pacer.is_paused(now + limits::BULK_PAUSE)
                && !pacer.note_round(17, now + limits::BULK_PAUSE)
        );
    }
}

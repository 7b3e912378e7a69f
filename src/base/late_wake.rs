//! Whether a task that wakes long after its deadline judges at once.
//!
//! Owns: [`LateWake`]. Never knows: clocks, what the deadline ends.

use std::time::Instant;

use super::lazy_box::Initial;
use super::limits;

/// What a task remembers of a deadline that it noticed late. A process that was suspended, or whose thread was
/// busy for long, sees its timers end before it has read what came meanwhile: a reply that waits in the socket is
/// not a reply that is missing. So it sleeps once more before it judges: the runtime looks at the sockets before
/// it wakes those that sleep.
#[derive(Debug, Default)]
pub(crate) struct LateWake {
    until: Option<Instant>,
}

impl Initial for LateWake {
    const INITIAL: &'static Self = &Self { until: None };
}

impl LateWake {
    /// When the task wakes to judge a deadline that has passed; `None`: it judges now.
    #[must_use]
    pub(crate) fn defers(&mut self, deadline: Instant, now: Instant) -> Option<Instant> {
        debug_assert!(now >= deadline, "the deadline has not passed");
        let late = now.saturating_duration_since(deadline) >= limits::LATE_WAKE;
        let until = self.until.unwrap_or_else(|| now + limits::LATE_WAKE_PAUSE);
        self.until = (late && now < until).then_some(until);
        self.until
    }

    /// The task has no deadline that has passed.
    pub(crate) const fn is_in_time(&mut self) {
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock;

    #[test]
    fn late_wake_sleeps_once_before_a_deadline_is_judged() {
        let (mut wake, due) = (LateWake::default(), clock::now());
        let late = due + limits::LATE_WAKE;
        let judged_at = late + limits::LATE_WAKE_PAUSE;
        assert_eq!(wake.defers(due, due), None);
        assert_eq!(wake.defers(due, late - Duration::from_millis(1)), None);
        for now in [late, late, judged_at - Duration::from_micros(1)] {
            assert_eq!(wake.defers(due, now), Some(judged_at), "whatever else wakes it");
        }
        assert_eq!(wake.defers(due, judged_at), None);
        assert_eq!(wake.defers(due, judged_at), Some(judged_at + limits::LATE_WAKE_PAUSE));
        wake.is_in_time();
        let later = judged_at + limits::LATE_WAKE * 9;
        assert_eq!(wake.defers(due, later), Some(later + limits::LATE_WAKE_PAUSE));
    }
}

//! A server that is busy with a script and refuses logins with BUSY: when it is dialed again. One attempt at a time
//! decides for all that wait.
//!
//! Owns: [`Busy`], [`ByLogin`]. Never knows: clocks, sockets, which commands of a login the server refuses.

use std::time::Instant;

use crate::base::backoff::Backoff;
use crate::base::limits;

const PAUSE: Backoff =
    Backoff { initial: limits::BUSY_DIAL_MIN, multiplier: 2.0, cap: limits::BUSY_DIAL_MAX };

/// One for logins without SELECT and one for those with it: many servers that are busy refuse only these.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ByLogin<T> {
    pub plain: T,
    pub selecting: T,
}

impl<T> ByLogin<T> {
    pub(super) const fn of(&self, selects: bool) -> &T {
        if selects { &self.selecting } else { &self.plain }
    }

    pub(super) const fn of_mut(&mut self, selects: bool) -> &mut T {
        if selects { &mut self.selecting } else { &mut self.plain }
    }
}

/// The answers BUSY to attempts that log in alike.
#[derive(Debug, Default)]
pub(super) struct Busy {
    /// Since the beginning.
    answers: u64,
    /// In a row.
    in_a_row: u32,
    /// The last that is known is such an answer: no attempt begins before then.
    until: Option<Instant>,
    /// One attempt is under way and decides for all.
    decides: bool,
}

impl Busy {
    /// How many there have been. An attempt that has waited while one came needs no other answer.
    pub(super) const fn answers(&self) -> u64 {
        self.answers
    }

    pub(super) fn is_passable(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| !self.decides && now >= until)
    }

    /// When an attempt may begin that may not now; `None`: when another attempt has ended.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until.filter(|_| !self.decides)
    }

    /// An attempt begins. Returns what is passed when it has ended.
    pub(super) fn begin(&mut self, now: Instant) -> u64 {
        debug_assert!(self.is_passable(now), "the server is dialed although it is busy");
        if let Some(until) = self.until {
            // No attempt was needed for a while: a script runs, but not that one.
            if now >= until + limits::BUSY_DIAL_MAX {
                self.in_a_row = 0;
            }
            self.decides = true;
        }
        self.answers
    }

    /// The server has answered BUSY. Of attempts that ran beside each other the first one counts.
    pub(super) fn handle_busy(&mut self, begun: u64, now: Instant, entropy: u64) {
        debug_assert!(begun <= self.answers, "it has begun");
        if begun != self.answers {
            return;
        }
        let pause = PAUSE.delay(self.in_a_row, entropy);
        debug_assert!(pause <= limits::BUSY_DIAL_MAX, "a script that has ended costs too much");
        self.answers += 1;
        self.in_a_row = self.in_a_row.saturating_add(1);
        (self.until, self.decides) = (Some(now + pause), false);
    }

    /// The server has answered something else to the login.
    pub(super) fn handle_served(&mut self, begun: u64) {
        debug_assert!(begun <= self.answers, "it has begun");
        if begun == self.answers {
            (self.until, self.in_a_row, self.decides) = (None, 0, false);
        }
    }

    /// The server has not answered, or the attempt was given up.
    pub(super) fn handle_unanswered(&mut self, begun: u64) {
        debug_assert!(begun <= self.answers, "it has begun");
        if begun == self.answers {
            self.decides = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MOST: u64 = u64::MAX;

    /// The longest pauses behind so many answers.
    fn pauses(busy: &mut Busy, mut now: Instant, count: usize) -> Vec<Duration> {
        let next = |_| {
            let begun = busy.begin(now);
            assert!(!busy.decides || !busy.is_passable(now), "one alone");
            busy.handle_busy(begun, now, MOST);
            let until = busy.poll_timeout().expect("no attempt is under way");
            assert!(!busy.is_passable(until - Duration::from_millis(1)) && busy.is_passable(until));
            let pause = until - now;
            now = until;
            pause
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn pause_grows_from_answer_to_answer_and_begins_anew_with_another_script() {
        let (mut busy, now) = (Busy::default(), crate::base::clock::now());
        let grown = pauses(&mut busy, now, 8);
        let bound = |pause: &Duration| pause.as_millis().next_multiple_of(50);
        assert_eq!(grown.iter().map(bound).collect::<Vec<_>>()[..3], [50, 100, 200]);
        assert_eq!(grown[7], grown[6], "the longest");
        assert!(grown[7] <= limits::BUSY_DIAL_MAX);
        let later = now + Duration::from_secs(60);
        assert_eq!(pauses(&mut busy, later, 1)[0], grown[0], "nothing was dialed for a while");
        let begun = busy.begin(later + limits::BUSY_DIAL_MAX);
        busy.handle_served(begun);
        assert!(busy.is_passable(later), "the script has ended");
        assert_eq!(pauses(&mut busy, later, 1)[0], grown[0]);
    }

    #[test]
    fn attempts_of_before_do_not_decide() {
        let (mut busy, now) = (Busy::default(), crate::base::clock::now());
        let [first, second, third] = [busy.begin(now), busy.begin(now), busy.begin(now)];
        busy.handle_busy(first, now, MOST);
        busy.handle_busy(second, now, MOST);
        busy.handle_served(third);
        assert_eq!((busy.answers(), busy.in_a_row), (1, 1), "they ran beside each other");
        let until = busy.poll_timeout().unwrap();
        let alone = busy.begin(until);
        assert_eq!((busy.is_passable(until), busy.poll_timeout()), (false, None));
        busy.handle_unanswered(second);
        assert!(!busy.is_passable(until), "another's end is not its own");
        busy.handle_unanswered(alone);
        assert!(busy.is_passable(until));
    }
}

//! How many commands may be sent again: a part of those that were sent lately, so that a server that ends
//! its connections again and again is not given several times the load.
//!
//! Owns: [`RetryBudget`]. Never knows: clocks, which command is sent again.

use std::time::Instant;

use crate::base::limits::{RETRY_BUDGET_TIME, RETRY_RESERVE};

/// Parts of the window that are forgotten one by one: seconds.
const SLICES: usize = 10;
const _: () = assert!(RETRY_BUDGET_TIME.as_secs() == SLICES as u64);

/// Commands that were sent, and sent again, within one tenth of the window.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// The number of the tenth, counted from the beginning.
    number: u64,
    sent: u64,
    again: u64,
}

/// Whether a command that was lost is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Yes, and it is counted.
    Yes,
    /// The command was sent again as often as it may be.
    Exhausted,
    /// Too many were sent again lately.
    OverBudget,
}

/// For one server, all its shared connections together.
#[derive(Debug)]
pub struct RetryBudget {
    /// `upstream.retry.max_retries`.
    max_retries: u8,
    /// `upstream.retry.budget`.
    part: f64,
    begin: Instant,
    slices: [Slice; SLICES],
}

impl RetryBudget {
    #[must_use]
    pub fn new(max_retries: u8, part: f64, now: Instant) -> Self {
        debug_assert!(part >= 0.0 && part.is_finite(), "a part of what is sent");
        Self { max_retries, part, begin: now, slices: [Slice::default(); SLICES] }
    }

    /// Counts commands that are sent for the first time.
    pub fn note_sent(&mut self, count: u64, now: Instant) {
        self.change(now, |slice| slice.sent += count);
        self.check_invariants(now);
    }

    /// What holds whenever something is counted.
    fn check_invariants(&self, now: Instant) {
        let present = self.number(now);
        debug_assert!(self.slices.iter().all(|slice| slice.number <= present), "time passes");
        let place =
            |(at, of): (usize, &Slice)| of.number == 0 || of.number % SLICES as u64 == at as u64;
        debug_assert!(self.slices.iter().enumerate().all(place), "a tenth has another one's place");
    }

    /// Whether a command is sent again that was sent again so often before.
    pub fn may_repeat(&mut self, attempts: u8, now: Instant) -> Repeat {
        if attempts >= self.max_retries {
            Repeat::Exhausted
        } else if self.take(now) {
            Repeat::Yes
        } else {
            Repeat::OverBudget
        }
    }

    /// Whether one more may be sent again; if so, it is counted.
    fn take(&mut self, now: Instant) -> bool {
        let oldest = self.number(now).saturating_sub(SLICES as u64 - 1);
        let within = self.slices.iter().filter(|slice| slice.number >= oldest);
        let (sent, again) =
            within.fold((0, 0), |(sent, again), slice| (sent + slice.sent, again + slice.again));
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and no number of commands in ten seconds is too large"
        )]
        let part = (sent as f64 * self.part) as u64;
        let fits = again < part.saturating_add(RETRY_RESERVE);
        if fits {
            self.change(now, |slice| slice.again += 1);
            self.check_invariants(now);
        }
        fits
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_secs()
    }

    /// Changes the present slice, an empty one if it has just begun.
    fn change(&mut self, now: Instant, change: impl FnOnce(&mut Slice)) {
        let number = self.number(now);
        let at = usize::try_from(number % SLICES as u64).unwrap_or(0);
        if let Some(slice) = self.slices.get_mut(at) {
            if slice.number != number {
                *slice = Slice { number, ..Slice::default() };
            }
            debug_assert!(slice.number <= number, "time passes");
            change(slice);
            debug_assert!(slice.number == number, "it is counted in another tenth");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(budget: &mut RetryBudget, most: u64, now: Instant) -> u64 {
        (0..most).take_while(|_| budget.take(now)).count() as u64
    }

    #[test]
    fn retry_budget_always_covers_one_client() {
        let now = crate::base::clock::now();
        let mut budget = RetryBudget::new(2, 0.0, now);
        assert_eq!(taken(&mut budget, 5_000, now), RETRY_RESERVE);
        assert_eq!(
            taken(&mut budget, 5_000, now + RETRY_BUDGET_TIME - Duration::from_millis(1)),
            0
        );
        assert_eq!(
            taken(&mut budget, 5_000, now + RETRY_BUDGET_TIME),
            RETRY_RESERVE,
            "the window has passed"
        );
    }

    #[test]
    fn command_is_sent_again_as_often_as_it_may_be_and_the_budget_allows() {
        let now = crate::base::clock::now();
        let mut budget = RetryBudget::new(2, 0.0, now);
        for (attempts, repeat) in
            [(0, Repeat::Yes), (1, Repeat::Yes), (2, Repeat::Exhausted), (3, Repeat::Exhausted)]
        {
            assert_eq!(budget.may_repeat(attempts, now), repeat, "{attempts}");
        }
        assert_eq!(taken(&mut budget, 5_000, now), RETRY_RESERVE - 2, "only those are counted");
        assert_eq!(budget.may_repeat(0, now), Repeat::OverBudget);
        assert_eq!(budget.may_repeat(2, now), Repeat::Exhausted);
    }

    #[test]
    fn retry_budget_is_a_part_of_what_was_sent_within_the_window() {
        let now = crate::base::clock::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut budget = RetryBudget::new(2, 0.2, now);
        for second in 0..5 {
            budget.note_sent(10_000, at(second));
        }
        assert_eq!(taken(&mut budget, 50_000, at(5)), 10_000 + RETRY_RESERVE);
        assert_eq!(taken(&mut budget, 50_000, at(9)), 0, "all of it is used");
        assert_eq!(taken(&mut budget, 50_000, at(40)), RETRY_RESERVE, "what was sent is forgotten");
        budget.note_sent(100_000, at(41));
        assert_eq!(taken(&mut budget, 50_000, at(41)), 20_000);
    }
}

//! The time between two moments, computed once for all commands of a batch that share them.
//!
//! Owns: [`Elapsed`]. Never knows: clocks, what is timed.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The last difference that was asked for. A subtraction of moments costs about forty instructions, and
/// commands that were read together and answered together ask for the same one.
#[derive(Debug, Default)]
pub(crate) struct Elapsed(Cell<Option<(Instant, Instant, Duration)>>);

impl Elapsed {
    /// From `since` to `now`; zero if `since` is later.
    #[inline]
    pub(crate) fn between(&self, since: Instant, now: Instant) -> Duration {
        match self.0.get() {
            Some((known_since, known_now, took)) if known_since == since && known_now == now => {
                took
            }
            Some(_) | None => {
                let took = now.saturating_duration_since(since);
                self.0.set(Some((since, now, took)));
                took
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn elapsed_is_the_difference_whatever_was_asked_before() {
        let (elapsed, begin) = (Elapsed::default(), clock::now());
        let at = |millis| begin + Duration::from_millis(millis);
        for (since, now) in [(0, 5), (0, 5), (1, 5), (1, 9), (9, 1), (0, 5)] {
            let expected = Duration::from_millis(u64::saturating_sub(now, since));
            assert_eq!(elapsed.between(at(since), at(now)), expected, "{since} to {now}");
        }
    }
}

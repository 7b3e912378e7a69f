//! When a reload is tried again although no file has changed.
//!
//! Owns: [`Retry`], [`Hindrance`]. Never knows: clocks, what is reloaded.

use std::time::{Duration, Instant};

use crate::base::limits;

/// What keeps a reload from succeeding, and may pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hindrance {
    /// The clock, or a file system: a certificate is not valid yet, or a file is not read in time.
    Surroundings,
    /// The server refuses what is new.
    Server,
}

impl Hindrance {
    const fn longest_wait(self) -> Duration {
        match self {
            Self::Surroundings => limits::RELOAD_RECHECK_MAX,
            Self::Server => limits::RELOAD_RETRY_MAX,
        }
    }
}

/// Waits a quarter of the time for which reloads have failed: a server that takes its new certificate a few
/// seconds after respgate is asked within a second, one that never does every ten.
#[derive(Debug, Default)]
pub(super) struct Retry {
    since: Option<Instant>,
    at: Option<Instant>,
}

impl Retry {
    /// A reload has failed.
    pub(super) fn failed(&mut self, hindrance: Hindrance, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let wait = now.saturating_duration_since(since) / 4;
        self.at = Some(now + wait.clamp(limits::RELOAD_RETRY_MIN, hindrance.longest_wait()));
    }

    /// Nothing is left to be tried.
    pub(super) const fn succeeded(&mut self) {
        (self.since, self.at) = (None, None);
    }

    /// When to try again although nothing has changed.
    pub(super) const fn at(&self) -> Option<Instant> {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_follows_within_a_third_of_the_outage_and_ten_seconds() {
        let start = crate::base::clock::now();
        let mut retry = Retry::default();
        assert_eq!(retry.at(), None);
        let (mut now, mut count) = (start, 0);
        while now < start + Duration::from_secs(600) {
            retry.failed(Hindrance::Server, now);
            let next = retry.at().unwrap();
            let (wait, out) = (next - now, now - start);
            assert!(wait >= limits::RELOAD_RETRY_MIN && wait <= limits::RELOAD_RETRY_MAX);
            assert!(wait <= limits::RELOAD_RETRY_MIN.max(out / 3), "{wait:?} after {out:?}");
            (now, count) = (next, count + 1);
        }
        assert!((60..100).contains(&count), "{count} probes in ten minutes");
        retry.succeeded();
        assert_eq!(retry.at(), None);
        retry.failed(Hindrance::Server, now);
        assert_eq!(retry.at(), Some(now + limits::RELOAD_RETRY_MIN), "a new failure begins anew");
    }

    #[test]
    fn clock_and_files_are_looked_at_once_a_minute_in_the_end() {
        let start = crate::base::clock::now();
        let mut retry = Retry::default();
        retry.failed(Hindrance::Surroundings, start);
        assert_eq!(retry.at(), Some(start + limits::RELOAD_RETRY_MIN));
        let late = start + Duration::from_secs(3600);
        retry.failed(Hindrance::Surroundings, late);
        assert_eq!(retry.at(), Some(late + limits::RELOAD_RECHECK_MAX));
    }
}

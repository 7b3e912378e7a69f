//! When a reload whose probe failed is tried again.
//!
//! Owns: [`Retry`]. Never knows: clocks, what is probed.

use std::time::Instant;

use crate::base::limits;

/// Waits a quarter of the time for which probes have failed: a server that takes its new certificate a few
/// seconds after respgate is asked within a second, one that never does every ten.
#[derive(Debug, Default)]
pub(super) struct Retry {
    since: Option<Instant>,
    at: Option<Instant>,
}

impl Retry {
    /// A probe has failed.
    pub(super) fn failed(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let wait = now.saturating_duration_since(since) / 4;
        self.at = Some(now + wait.clamp(limits::RELOAD_RETRY_MIN, limits::RELOAD_RETRY_MAX));
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn retry_follows_within_a_third_of_the_outage_and_ten_seconds() {
        let start = crate::base::clock::now();
        let mut retry = Retry::default();
        assert_eq!(retry.at(), None);
        let (mut now, mut count) = (start, 0);
        while now < start + Duration::from_secs(600) {
            retry.failed(now);
            let next = retry.at().unwrap();
            let (wait, out) = (next - now, now - start);
            assert!(wait >= limits::RELOAD_RETRY_MIN && wait <= limits::RELOAD_RETRY_MAX);
            assert!(wait <= limits::RELOAD_RETRY_MIN.max(out / 3), "{wait:?} after {out:?}");
            (now, count) = (next, count + 1);
        }
        assert!((60..100).contains(&count), "{count} probes in ten minutes");
        retry.succeeded();
        assert_eq!(retry.at(), None);
        retry.failed(now);
        assert_eq!(retry.at(), Some(now + limits::RELOAD_RETRY_MIN), "a new failure begins anew");
    }
}

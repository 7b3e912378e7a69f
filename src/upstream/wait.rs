//! How long one wait for a connection may last, whatever the server does meanwhile.
//!
//! Owns: [`Wait`]. Never knows: clocks, what is waited for.

use std::time::{Duration, Instant};

use super::outage::Patience;

/// One wait, from its begin on.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    begun: Instant,
    /// Its own time counts from then.
    start: Instant,
    usual: Duration,
    /// There is an outage, and there was one.
    out: bool,
    counted: bool,
}

impl Wait {
    /// Begins now; without an outage it lasts for `usual` at most.
    #[must_use]
    pub const fn new(now: Instant, usual: Duration) -> Self {
        Self { begun: now, start: now, usual, out: false, counted: false }
    }

    /// Whether there is an outage has been looked at. Returns whether the wait is now, for the first time,
    /// one for the server.
    pub fn handle_outage(&mut self, since: Option<Instant>, now: Instant) -> bool {
        debug_assert!(now >= self.start, "a wait is looked at before it begins");
        debug_assert!(since.is_none_or(|since| since <= now), "an outage has not begun");
        if self.out && since.is_none() {
            // What waited through an outage has its usual time from now on.
            self.start = now;
        }
        self.out = since.is_some();
        self.out && !std::mem::replace(&mut self.counted, true)
    }

    /// When it ends in any case. One outage prolongs it; further ones do not.
    #[must_use]
    pub fn deadline(&self, outage_since: Option<Instant>, patience: Patience) -> Instant {
        debug_assert_eq!(self.out, outage_since.is_some(), "the outage was looked at");
        debug_assert!(self.start >= self.begun, "its own time begins with it, or later");
        debug_assert!(self.counted || !self.out, "a wait through an outage is counted");
        let most = self.begun + self.usual * 2 + patience.wait;
        patience.deadline(outage_since, self.start, self.usual).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnOutage;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn wait_is_prolonged_by_one_outage_and_not_by_many() {
        let begin = crate::base::clock::now();
        let at = |seconds: u32| begin + SECOND * seconds;
        let patience = Patience { on_outage: OnOutage::Close, wait: 3 * SECOND };
        let mut wait = Wait::new(begin, 5 * SECOND);
        assert!(!wait.handle_outage(None, begin));
        assert_eq!(wait.deadline(None, patience), at(5));
        assert!(wait.handle_outage(Some(at(4)), at(4)), "it is counted once");
        assert_eq!(wait.deadline(Some(at(4)), patience), at(7));
        assert!(!wait.handle_outage(None, at(6)));
        assert_eq!(wait.deadline(None, patience), at(11), "its usual time again");
        for second in 7..60 {
            let since = (second % 2 == 0).then(|| at(second));
            assert!(!wait.handle_outage(since, at(second)));
            assert!(wait.deadline(since, patience) <= at(13), "{second}");
        }
    }
}

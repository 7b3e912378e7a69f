//! How fast wrong passwords are answered on one listener.
//!
//! Owns: [`WrongLogins`]. Never knows: users, passwords, connections.

use std::time::{Duration, Instant};

use crate::base::limits;
use crate::config;
use crate::policy::{Bucket, Rate};

const RATE: config::Rate = config::Rate {
    count: limits::WRONG_LOGINS_MAX,
    period: limits::WRONG_LOGINS_PERIOD,
    burst: limits::WRONG_LOGINS_MAX,
};

/// The wrong logins of all clients of a listener: a new connection meets the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WrongLogins(Option<(Instant, Bucket)>);

impl WrongLogins {
    /// When one may go on whose outcome is not known yet; it is not counted.
    pub(super) fn next_at(&self, now: Instant) -> Instant {
        let Some((begun, bucket)) = self.0 else { return now };
        let passed = now.saturating_duration_since(begun).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let wait = Duration::from_micros(bucket.wait_us(&Rate::new(&RATE), passed));
        now + wait.min(limits::WRONG_LOGIN_DELAY_MAX)
    }

    /// When one that was wrong at `now` may be answered.
    pub(super) fn answer_at(&mut self, now: Instant) -> Instant {
        let rate = Rate::new(&RATE);
        let (begun, mut bucket) = self.0.unwrap_or_else(|| (now, Bucket::new(&rate, 0)));
        let passed = now.saturating_duration_since(begun).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let wait = Duration::from_micros(bucket.wait_us(&rate, passed));
        if wait <= limits::WRONG_LOGIN_DELAY_MAX {
            bucket.take(&rate, passed);
        }
        self.0 = Some((begun, bucket));
        now + wait.min(limits::WRONG_LOGIN_DELAY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(logins: &mut WrongLogins, at: Instant) -> u128 {
        logins.answer_at(at).saturating_duration_since(at).as_millis()
    }

    #[test]
    fn wrong_logins_beyond_a_burst_are_answered_at_a_rate() {
        let (mut logins, now) = (WrongLogins::default(), crate::base::clock::now());
        let waits: Vec<u128> = (0..13).map(|_| answered(&mut logins, now)).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 200, 300]);
        // However many there are, each is answered within a second, and later ones find the same.
        let longest = (0..10_000).map(|_| answered(&mut logins, now)).max();
        assert_eq!(longest, Some(1000));
        let next = |logins: &WrongLogins, at: Instant| {
            logins.next_at(at).saturating_duration_since(at).as_millis()
        };
        assert_eq!([next(&logins, now), next(&logins, now)], [1000, 1000], "asking counts nothing");
        let later = now + Duration::from_millis(1500);
        assert_eq!(next(&logins, later), 0);
        let two = [answered(&mut logins, later), answered(&mut logins, later)];
        assert_eq!(two, [0, 0], "tokens for half a second came back");
        let rested = now + Duration::from_secs(60);
        assert_eq!((0..11).map(|_| answered(&mut logins, rested)).sum::<u128>(), 100);
    }
}

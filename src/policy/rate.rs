//! Token buckets, in whole numbers: what comes in time is exact, however the calls fall.
//!
//! A bucket may be in debt: a request that takes a missing token has the next one that comes,
//! and waits for it. So waiting requests are served in the order in which they came.
//!
//! Owns: [`Rate`], [`Bucket`]. Never knows: clocks, waiting requests.

use crate::config;

/// How fast tokens come back, and how many there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: i128,
    period_us: i128,
    burst: i128,
}

/// How many tokens there are. A token is as many units as a period has microseconds, so that in each
/// microsecond a whole number of units comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    units: i128,
    at_us: u64,
}

impl Rate {
    #[must_use]
    pub fn new(rate: &config::Rate) -> Self {
        Self {
            count: i128::from(rate.count.max(1)),
            period_us: i128::try_from(rate.period.as_micros()).unwrap_or(i128::MAX >> 40).max(1),
            burst: i128::from(rate.burst.max(1)),
        }
    }

    const fn full(&self) -> i128 {
        self.burst * self.period_us
    }
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub(crate) const fn new(rate: &Rate, now_us: u64) -> Self {
        Self { units: rate.full(), at_us: now_us }
    }

    /// Microseconds until a free token exists.
    #[must_use]
    pub(crate) fn wait_us(&self, rate: &Rate, now_us: u64) -> u64 {
        let missing = rate.period_us - self.units_at(rate, now_us);
        if missing <= 0 {
            return 0;
        }
        u64::try_from((missing + rate.count - 1) / rate.count).unwrap_or(u64::MAX)
    }

    /// Whether there are as many tokens as there can be.
    #[must_use]
    pub(crate) fn is_full(&self, rate: &Rate, now_us: u64) -> bool {
        self.units_at(rate, now_us) >= rate.full()
    }

    /// Takes a token, be it one that is yet to come.
    pub(crate) fn take(&mut self, rate: &Rate, now_us: u64) {
        self.units = self.units_at(rate, now_us) - rate.period_us;
        self.at_us = self.at_us.max(now_us);
    }

    fn units_at(&self, rate: &Rate, now_us: u64) -> i128 {
        let passed = i128::from(now_us.saturating_sub(self.at_us));
        (self.units + passed * rate.count).min(rate.full())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, seconds: u64, burst: u32) -> Rate {
        Rate::new(&config::Rate { count, period: Duration::from_secs(seconds), burst })
    }

    #[test]
    fn burst_then_the_rate() {
        let rate = rate(10, 1, 3);
        let mut bucket = Bucket::new(&rate, 0);
        let waits: Vec<u64> = (0..6)
            .map(|_| {
                let wait = bucket.wait_us(&rate, 0);
                bucket.take(&rate, 0);
                wait
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 100_000, 200_000, 300_000]);
        assert_eq!(bucket.wait_us(&rate, 299_999), 100_001);
        assert_eq!(bucket.wait_us(&rate, 400_000), 0);
        // It never holds more than the burst, and a clock that does not move has no effect.
        bucket.take(&rate, 100_000_000);
        assert_eq!(bucket.wait_us(&rate, 100_000_000), 0);
        bucket.take(&rate, 0);
        bucket.take(&rate, 0);
        assert_eq!(bucket.wait_us(&rate, 100_000_000), 100_000);
    }

    #[test]
    fn largest_numbers() {
        let rate = rate(u32::MAX, 86_400 * 3650, u32::MAX);
        let mut bucket = Bucket::new(&rate, 0);
        for _ in 0..1000 {
            bucket.take(&rate, u64::MAX);
        }
        assert_eq!(bucket.wait_us(&rate, u64::MAX), 0);
    }

    proptest! {
        /// Whatever the times of the calls: of those that need not wait, no stretch of time sees
        /// more than the burst and what comes back in it; and a request that waits as asked comes after exactly
        /// as long as the tokens before need.
        #[test]
        fn rate_holds_over_every_stretch(
            count in 1_u32..2000,
            seconds in 1_u64..100,
            burst in 1_u32..50,
            steps in proptest::collection::vec(0_u64..300_000, 1..200),
        ) {
            let rate = rate(count, seconds, burst);
            let mut bucket = Bucket::new(&rate, 0);
            let mut now = 0;
            let mut served = Vec::new();
            for step in steps {
                now += step;
                let at = now + bucket.wait_us(&rate, now);
                bucket.take(&rate, now);
                served.push(at);
            }
            prop_assert!(served.is_sorted(), "{served:?}");
            for (first, begin) in served.iter().enumerate() {
                for (last, end) in served.iter().enumerate().skip(first) {
                    // One microsecond for the rounding at either end.
                    let passed = u128::from(end - begin) + 1;
                    let back = passed * u128::from(count) / (u128::from(seconds) * 1_000_000);
                    let most = u128::from(burst) + back + 1;
                    prop_assert!((last - first + 1) as u128 <= most, "{first}..={last}");
                }
            }
        }

        /// All at once: the n-th has to wait exactly for the tokens that are missing.
        #[test]
        fn waits_are_exact(count in 1_u32..5000, seconds in 1_u64..4000, burst in 1_u32..20) {
            let rate = rate(count, seconds, burst);
            let mut bucket = Bucket::new(&rate, 7);
            for n in 1..60_u64 {
                let missing = n.saturating_sub(u64::from(burst));
                let exact = (missing * seconds * 1_000_000).div_ceil(u64::from(count));
                prop_assert_eq!(bucket.wait_us(&rate, 7), exact);
                bucket.take(&rate, 7);
            }
        }
    }
}

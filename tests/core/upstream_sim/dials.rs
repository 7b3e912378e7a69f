//! When the server may be dialed, as an onlooker counts it: not before a wait that grows, by one alone after
//! enough failures, and as soon as it is over.
//!
//! Owns: [`Dials`]. Never knows: how respgate decides.

use std::time::{Duration, Instant};

use respgate::internals::upstream::decisions::BreakerRules;

/// A connection that lived this long has proven that the server works.
const PROOF: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Dials {
    rules: BreakerRules,
    /// Attempts so far.
    begun: u64,
    /// Failures of attempts with lower numbers say what is known already.
    counts_from: u64,
    /// In a row.
    failures: u32,
    /// The last that is known is a failure: when it came, and whether its wait was forgone.
    failed: Option<(Instant, bool)>,
    /// One attempt decides for all.
    alone: Option<u64>,
}

impl Dials {
    pub const fn new(rules: BreakerRules) -> Self {
        Self { rules, begun: 0, counts_from: 0, failures: 0, failed: None, alone: None }
    }

    const fn is_tripped(&self) -> bool {
        self.failures >= self.rules.failures
    }

    /// The shortest and the longest wait after the last failure.
    fn waits(&self) -> (Duration, Duration) {
        let backoff = self.rules.backoff;
        let grown = backoff.initial * 2_u32.pow(self.failures.saturating_sub(1).min(20));
        let most = grown.min(backoff.cap);
        let open = if self.is_tripped() { self.rules.open_time } else { Duration::ZERO };
        ((most / 10).max(open), most.max(open + open / 10))
    }

    /// An attempt begins; its number.
    pub fn begin(&mut self, now: Instant) -> u64 {
        self.begun += 1;
        if let Some((at, forgone)) = self.failed {
            let least = if forgone { Duration::ZERO } else { self.waits().0 };
            let wait = now - at;
            assert!(wait >= least, "dialed {wait:?} after failure {}", self.failures);
            if self.is_tripped() {
                assert_eq!(self.alone, None, "one attempt decides for all");
                (self.alone, self.counts_from) = (Some(self.begun), self.begun);
            }
        }
        self.begun
    }

    pub fn connected(&mut self) {
        if self.failed.take().is_some() {
            (self.alone, self.counts_from) = (None, self.begun + 1);
        }
    }

    pub fn failed(&mut self, number: u64, now: Instant) {
        if number >= self.counts_from {
            self.count(now);
        }
    }

    fn count(&mut self, now: Instant) {
        self.failures += 1;
        (self.failed, self.alone) = (Some((now, false)), None);
        self.counts_from = self.begun + 1;
    }

    /// The attempt is not awaited any more.
    pub fn cancelled(&mut self, number: u64, now: Instant) {
        if self.alone == Some(number) {
            (self.alone, self.failed) = (None, Some((now, true)));
        }
    }

    /// A connection has answered, or lived for long enough.
    pub const fn proven(&mut self) {
        if self.failed.is_none() {
            self.failures = 0;
        }
    }

    /// The server, or the way to it, has ended a connection.
    pub fn died(&mut self, answered: bool, lived: Duration, now: Instant) {
        if self.failed.is_some() {
        } else if answered || lived >= PROOF {
            self.failures = 0;
        } else {
            self.count(now);
        }
    }

    /// An attempt waits for its turn: no longer than it must.
    pub fn check_waiting(&self, now: Instant) {
        let Some((at, forgone)) = self.failed else {
            panic!("the server may be dialed, and is not")
        };
        let most = if forgone { Duration::ZERO } else { self.waits().1 };
        let late = self.alone.is_none() && now >= at + most + Duration::from_millis(1);
        assert!(!late, "not dialed {:?} after failure {}", now - at, self.failures);
    }
}

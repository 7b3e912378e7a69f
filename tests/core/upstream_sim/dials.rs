//! When the server may be dialed, as an onlooker counts it: not before a wait that grows, by one alone after
//! enough failures or an answer BUSY, and as soon as it is over.
//!
//! Owns: [`Dials`]. Never knows: how respgate decides.

use std::time::{Duration, Instant};

use respgate::internals::upstream::decisions::BreakerRules;

/// A connection that lived this long has proven that the server works.
const PROOF: Duration = Duration::from_secs(2);
/// The longest first wait behind an answer BUSY, and the longest of all.
const BUSY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Answers BUSY to logins of one kind.
#[derive(Debug, Default)]
struct Busy {
    /// In a row, at least and at most: how long a wait was drawn is unknown, and so at times whether a later script has
    /// begun.
    answers: [u32; 2],
    /// The last that is known is one: when it came.
    at: Option<Instant>,
    /// The ends of attempts with lower numbers are known already.
    counts_from: u64,
    /// One attempt decides for all that wait.
    alone: Option<u64>,
}

impl Busy {
    /// The longest wait behind so many answers.
    fn longest(answers: u32) -> Duration {
        let [first, last] = BUSY;
        (first * 2_u32.pow(answers.saturating_sub(1).min(20))).min(last)
    }

    /// The shortest wait and the longest one.
    fn waits(&self) -> [Duration; 2] {
        let [least, most] = self.answers.map(Self::longest);
        [least / 10, most]
    }

    fn begin(&mut self, number: u64, now: Instant) {
        let Some(at) = self.at else { return };
        let (wait, waits) = (now - at, self.waits());
        assert!(wait >= waits[0], "dialed {wait:?} after {:?} answers BUSY", self.answers);
        assert_eq!(self.alone, None, "one attempt decides while the server is busy");
        (self.alone, self.counts_from) = (Some(number), number);
        for (answers, waited) in self.answers.iter_mut().zip(waits) {
            if wait >= waited + BUSY[1] {
                *answers = 0;
            }
        }
    }

    /// `last`: the number of the attempt that has begun last.
    fn refused(&mut self, number: u64, last: u64, now: Instant) {
        if number >= self.counts_from {
            self.answers = self.answers.map(|answers| answers + 1);
            (self.at, self.alone, self.counts_from) = (Some(now), None, last + 1);
        }
    }

    fn served(&mut self, number: u64) {
        if number >= self.counts_from {
            (self.at, self.alone, self.answers) = (None, None, [0; 2]);
        }
    }

    fn unanswered(&mut self, number: u64) {
        if self.alone == Some(number) {
            self.alone = None;
        }
    }
}

#[derive(Debug)]
pub struct Dials {
    rules: BreakerRules,
    /// Attempts so far.
    begun: u64,
    /// Failures of attempts with lower numbers are known already.
    counts_from: u64,
    /// In a row.
    failures: u32,
    /// The last that is known is a failure: when it came, and whether its wait was forgone.
    failed: Option<(Instant, bool)>,
    /// One attempt decides for all.
    alone: Option<u64>,
    /// To logins without SELECT, and with it.
    busy: [Busy; 2],
}

impl Dials {
    pub fn new(rules: BreakerRules) -> Self {
        Self {
            rules,
            begun: 0,
            counts_from: 0,
            failures: 0,
            failed: None,
            alone: None,
            busy: Default::default(),
        }
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

    /// An attempt begins, to select a database or not; its number.
    pub fn begin(&mut self, selects: bool, now: Instant) -> u64 {
        self.begun += 1;
        self.busy[usize::from(selects)].begin(self.begun, now);
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

    /// Whether attempts wait because the server has answered BUSY.
    pub fn is_busy(&self, selects: bool) -> bool {
        self.busy[usize::from(selects)].at.is_some()
    }

    /// The server has answered BUSY to the login.
    pub fn refused(&mut self, number: u64, selects: bool, now: Instant) {
        self.busy[usize::from(selects)].refused(number, self.begun, now);
        self.answered();
    }

    /// The server has answered something else to the login.
    pub fn connected(&mut self, number: u64, selects: bool) {
        self.busy[usize::from(selects)].served(number);
        self.answered();
    }

    fn answered(&mut self) {
        if self.failed.take().is_some() {
            (self.alone, self.counts_from) = (None, self.begun + 1);
        }
    }

    pub fn failed(&mut self, number: u64, now: Instant) {
        self.busy.iter_mut().for_each(|busy| busy.unanswered(number));
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
        self.busy.iter_mut().for_each(|busy| busy.unanswered(number));
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
    pub fn check_waiting(&self, selects: bool, now: Instant) {
        let busy = &self.busy[usize::from(selects)];
        if let Some(at) = busy.at {
            let last = at + busy.waits()[1] + Duration::from_millis(1);
            let late = busy.alone.is_none() && self.failed.is_none() && now >= last;
            assert!(!late, "not dialed {:?} after {:?} answers BUSY", now - at, busy.answers);
            return;
        }
        let Some((at, forgone)) = self.failed else {
            panic!("the server may be dialed, and is not")
        };
        let most = if forgone { Duration::ZERO } else { self.waits().1 };
        let late = self.alone.is_none() && now >= at + most + Duration::from_millis(1);
        assert!(!late, "not dialed {:?} after failure {}", now - at, self.failures);
    }
}

//! When the server may be dialed: at once while all is well, after an exponential backoff while it is
//! not, and then by one attempt alone.
//!
//! Owns: [`Breaker`], [`BreakerRules`]. Never knows: clocks, sockets, sessions.

use std::time::{Duration, Instant};

use crate::base::backoff::Backoff;
use crate::config;
use crate::telemetry::Circuit;

/// How attempts are spread, as it is configured.
#[derive(Clone, Copy, Debug)]
pub struct BreakerRules {
    /// The wait after each failure.
    pub backoff: Backoff,
    /// Failures in a row that open it: then one attempt at a time decides for all.
    pub failures: u32,
    /// The shortest wait while it is open.
    pub open_time: Duration,
}

impl BreakerRules {
    /// The rules of the configuration.
    #[must_use]
    pub const fn of(settings: &config::Upstream) -> Self {
        let (retry, breaker) = (&settings.retry, &settings.breaker);
        let (initial, multiplier, cap) = (retry.initial, retry.multiplier, retry.max);
        let backoff = Backoff { initial, multiplier, cap };
        Self { backoff, failures: breaker.failures, open_time: breaker.open_time }
    }

    /// Up to a tenth longer than `open_time` by chance, so that many proxies never return in step.
    fn open_for(&self, entropy: u64) -> Duration {
        let part = u32::try_from(entropy % 1024).unwrap_or(0);
        let time = self.open_time + self.open_time / 10_240 * part;
        debug_assert!(time >= self.open_time, "it is open for less than configured");
        time
    }
}

/// Decides for one server, for shared and pinned connections together.
#[derive(Debug)]
pub(crate) struct Breaker {
    rules: BreakerRules,
    /// A connection that lived this long has proven that the server works.
    proof: Duration,
    state: State,
    /// Failures in a row without a connection that has proven itself.
    failures: u32,
    round: Round,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Anyone may dial.
    Closed,
    /// No attempt begins before then. From then on one decides for all, or anyone may dial while the
    /// failures are fewer than open the breaker.
    Open(Instant),
    /// One attempt is under way and decides for all.
    HalfOpen,
}

/// The attempts that began between two changes of state. Only the first failure of a round counts:
/// the others have the same cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round(u64);

/// Whether a connection may be dialed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Dial(Round),
    /// Ask again at this time, or when the state has changed; `None`: when it has changed.
    Wait(Option<Instant>),
}

impl Breaker {
    pub(crate) const fn new(rules: BreakerRules, proof: Duration) -> Self {
        Self { rules, proof, state: State::Closed, failures: 0, round: Round(0) }
    }

    /// Whether an attempt would be allowed at `now`; changes nothing.
    pub(crate) fn is_passable(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open(until) => now >= until,
            State::HalfOpen => false,
        }
    }

    /// Whether the last that is known of the server is a failure.
    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// Whether no connection was dialed although it was allowed, or all is well.
    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open(until) => now >= until + self.proof,
            State::HalfOpen => false,
        }
    }

    /// Whether there were so many failures in a row that one attempt decides for all.
    const fn is_tripped(&self) -> bool {
        self.failures >= self.rules.failures
    }

    /// The present state, for the metric.
    pub(crate) const fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed => Circuit::Closed,
            State::Open(_) if !self.is_tripped() => Circuit::Closed,
            State::Open(_) => Circuit::Open,
            State::HalfOpen => Circuit::HalfOpen,
        }
    }

    /// The wait that is in force, for the metric.
    pub(crate) fn waits(&self, now: Instant) -> Duration {
        match self.state {
            State::Open(until) => until.saturating_duration_since(now),
            State::Closed | State::HalfOpen => Duration::ZERO,
        }
    }

    /// A caller that may dial reports how it ended, with the round.
    pub(crate) fn ask(&mut self, now: Instant) -> Ask {
        match self.state {
            State::Closed => Ask::Dial(self.round),
            State::Open(until) if now < until => Ask::Wait(Some(until)),
            State::Open(_) if !self.is_tripped() => Ask::Dial(self.round),
            State::Open(_) => {
                self.state = State::HalfOpen;
                self.round.0 += 1;
                self.check_invariants();
                Ask::Dial(self.round)
            }
            State::HalfOpen => Ask::Wait(None),
        }
    }

    /// An attempt led to a connection that is logged in.
    pub(crate) fn handle_connected(&mut self) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.round.0 += 1;
        }
        debug_assert!(!self.is_open(), "the server has answered");
        self.check_invariants();
    }

    /// An attempt failed.
    pub(crate) fn handle_failed(&mut self, round: Round, now: Instant, entropy: u64) {
        debug_assert!(round.0 <= self.round.0, "its round has begun");
        if round == self.round {
            self.open(now, entropy);
        }
        debug_assert!(round != self.round, "a failure ends its round");
        self.check_invariants();
    }

    /// An attempt was given up before its end, and shows nothing about the server.
    pub(crate) fn handle_cancelled(&mut self, round: Round, now: Instant) {
        debug_assert!(round.0 <= self.round.0, "its round has begun");
        if round == self.round && self.state == State::HalfOpen {
            self.state = State::Open(now);
        }
        self.check_invariants();
    }

    /// A connection has answered a request: the server works.
    pub(crate) fn handle_proven(&mut self) {
        if self.state == State::Closed {
            self.failures = 0;
        }
        self.check_invariants();
    }

    /// The server, or the way to it, ended a connection that was logged in. One that never answered
    /// and did not live for long counts as a failed attempt.
    pub(crate) fn handle_connection_lost(
        &mut self,
        answered: bool,
        lived: Duration,
        now: Instant,
        entropy: u64,
    ) {
        if self.state != State::Closed {
            return;
        }
        if answered || lived >= self.proof {
            self.failures = 0;
        } else {
            self.open(now, entropy);
        }
        self.check_invariants();
    }

    /// What holds whenever a `handle_…` returns.
    fn check_invariants(&self) {
        let closed = self.state == State::Closed;
        debug_assert!(closed || self.failures > 0, "only failures open it");
        debug_assert!(!closed || !self.is_tripped() || self.round.0 > 0, "it was never open");
        let decides = self.state == State::HalfOpen;
        debug_assert!(!decides || self.is_tripped(), "one attempt decides after few failures");
    }

    fn open(&mut self, now: Instant, entropy: u64) {
        let wait = self.rules.backoff.delay(self.failures, entropy);
        self.failures = self.failures.saturating_add(1);
        let least = if self.is_tripped() { self.rules.open_for(entropy) } else { Duration::ZERO };
        debug_assert!(wait <= self.rules.backoff.cap, "a longer wait than configured");
        self.state = State::Open(now + wait.max(least));
        self.round.0 += 1;
        debug_assert!(self.is_open() && self.waits(now) >= least, "it is shorter than configured");
        let most = self.rules.open_time + self.rules.open_time / 10;
        debug_assert!(self.waits(now) <= self.rules.backoff.cap.max(most), "it is open too long");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROOF: Duration = Duration::from_secs(2);
    const LONG: Duration = Duration::from_secs(60);
    /// The longest delay of each ceiling.
    const MOST: u64 = u64::MAX;

    fn breaker() -> (Breaker, Instant) {
        with(1, Duration::ZERO)
    }

    fn with(failures: u32, open_time: Duration) -> (Breaker, Instant) {
        let backoff = Backoff {
            initial: Duration::from_millis(100),
            multiplier: 2.0,
            cap: Duration::from_secs(2),
        };
        let rules = BreakerRules { backoff, failures, open_time };
        (Breaker::new(rules, PROOF), crate::base::clock::now())
    }

    /// The round of an attempt that must be allowed.
    fn dial(breaker: &mut Breaker, now: Instant) -> Round {
        match breaker.ask(now) {
            Ask::Dial(round) => round,
            Ask::Wait(until) => panic!("has to wait until {until:?}"),
        }
    }

    /// Dials as often as allowed for `time`; each attempt ends at once with `end`.
    fn attempts(
        breaker: &mut Breaker,
        start: Instant,
        time: Duration,
        mut end: impl FnMut(&mut Breaker, Round, Instant),
    ) -> u32 {
        let (mut count, mut now) = (0, start);
        while now < start + time {
            match breaker.ask(now) {
                Ask::Dial(round) => {
                    count += 1;
                    end(breaker, round, now);
                    now += Duration::from_millis(1);
                }
                Ask::Wait(until) => now = until.expect("no other attempt begins"),
            }
        }
        count
    }

    #[test]
    fn closed_lets_everyone_dial_and_one_failure_of_many_counts() {
        let (mut breaker, now) = breaker();
        let rounds: Vec<Round> = (0..8).map(|_| dial(&mut breaker, now)).collect();
        for round in rounds {
            breaker.handle_failed(round, now, MOST);
        }
        assert_eq!(breaker.failures, 1);
        assert!(breaker.is_open());
        let Ask::Wait(Some(until)) = breaker.ask(now) else { panic!("it is open") };
        assert!(until <= now + Duration::from_millis(100), "the first delay");
    }

    #[test]
    fn half_open_lets_one_probe_dial() {
        let (mut breaker, now) = breaker();
        let round = dial(&mut breaker, now);
        breaker.handle_failed(round, now, MOST);
        let later = now + Duration::from_secs(1);
        assert!(breaker.is_passable(later));
        let probe = dial(&mut breaker, later);
        assert_eq!(breaker.ask(later), Ask::Wait(None));
        assert!(!breaker.is_passable(later));
        breaker.handle_failed(round, later, MOST);
        assert_eq!(breaker.ask(later), Ask::Wait(None), "an attempt of before decides nothing");
        breaker.handle_cancelled(probe, later);
        let probe = dial(&mut breaker, later);
        breaker.handle_failed(probe, later, MOST);
        assert!(matches!(breaker.ask(later), Ask::Wait(Some(_))));
        let probe = dial(&mut breaker, later + LONG);
        breaker.handle_cancelled(round, later);
        assert_eq!(breaker.ask(later + LONG), Ask::Wait(None), "another's end is not the probe's");
        breaker.handle_connected();
        assert_eq!(dial(&mut breaker, later), dial(&mut breaker, later));
        breaker.handle_failed(probe, later, MOST);
        assert!(!breaker.is_open(), "the probe has ended already");
    }

    #[test]
    fn server_that_refuses_is_dialed_ever_more_rarely() {
        let (mut breaker, now) = breaker();
        let count = attempts(&mut breaker, now, LONG, |breaker, round, now| {
            breaker.handle_failed(round, now, MOST);
        });
        assert!((25..=40).contains(&count), "{count} attempts in a minute");
    }

    #[test]
    fn server_that_greets_and_hangs_up_is_dialed_ever_more_rarely() {
        let (mut breaker, now) = breaker();
        let count = attempts(&mut breaker, now, LONG, |breaker, _, now| {
            breaker.handle_connected();
            breaker.handle_connection_lost(false, Duration::from_millis(3), now, MOST);
        });
        assert!((25..=40).contains(&count), "{count} attempts in a minute");
    }

    #[test]
    fn connection_that_answered_or_lived_is_replaced_at_once() {
        for (answered, lived) in [(true, Duration::ZERO), (false, PROOF)] {
            let (mut breaker, now) = breaker();
            for _ in 0..3 {
                breaker.handle_connected();
                breaker.handle_connection_lost(false, Duration::ZERO, now, MOST);
            }
            let round = dial(&mut breaker, now + LONG);
            breaker.handle_connected();
            breaker.handle_connection_lost(answered, lived, now + LONG, MOST);
            assert_ne!(round, dial(&mut breaker, now + LONG));
            assert_eq!(breaker.failures, 0);
        }
    }

    #[test]
    fn success_without_proof_keeps_the_backoff() {
        let (mut breaker, now) = breaker();
        for _ in 0..4 {
            let round = dial(&mut breaker, now + LONG);
            breaker.handle_failed(round, now, MOST);
        }
        breaker.handle_proven();
        assert_eq!(breaker.failures, 4, "an older connection proves nothing while dialing fails");
        let _ = dial(&mut breaker, now + LONG);
        breaker.handle_connected();
        assert_eq!(breaker.failures, 4);
        breaker.handle_proven();
        assert_eq!(breaker.failures, 0);
    }

    #[test]
    fn fewer_failures_than_open_it_let_anyone_dial_after_the_wait() {
        let (mut breaker, now) = with(3, Duration::from_secs(30));
        for failures in 1..3 {
            let (one, other) = (dial(&mut breaker, now), dial(&mut breaker, now));
            breaker.handle_failed(one, now, MOST);
            breaker.handle_failed(other, now, MOST);
            assert_eq!(breaker.failures, failures, "two at a time are one");
            assert!(matches!(breaker.ask(now), Ask::Wait(Some(until)) if until < now + PROOF));
            assert_eq!(breaker.circuit(), Circuit::Closed);
            let later = now + PROOF;
            assert_eq!(dial(&mut breaker, later), dial(&mut breaker, later));
            breaker.state = State::Open(now);
        }
        let third = dial(&mut breaker, now);
        breaker.handle_failed(third, now, MOST);
        assert_eq!(breaker.circuit(), Circuit::Open);
        let Ask::Wait(Some(until)) = breaker.ask(now) else { panic!("it is open") };
        let wait = until - now;
        assert!(wait >= Duration::from_secs(30) && wait <= Duration::from_secs(33), "{wait:?}");
        let _ = dial(&mut breaker, until);
        assert_eq!(breaker.ask(until), Ask::Wait(None), "one alone");
        breaker.handle_connected();
        breaker.handle_proven();
        let first = dial(&mut breaker, until);
        breaker.handle_failed(first, until, MOST);
        assert_eq!(breaker.circuit(), Circuit::Closed, "they are counted anew");
    }

    #[test]
    fn open_breaker_is_asked_as_rarely_as_it_announces() {
        let (mut breaker, now) = with(1, Duration::from_secs(10));
        let count = attempts(&mut breaker, now, LONG, |breaker, round, now| {
            breaker.handle_failed(round, now, 0);
        });
        assert_eq!(count, 6, "in a minute");
    }

    #[test]
    fn many_connections_that_die_together_are_one_failure() {
        let (mut breaker, now) = breaker();
        for _ in 0..100 {
            breaker.handle_connection_lost(false, Duration::ZERO, now, MOST);
        }
        assert_eq!(breaker.failures, 1);
        assert!(breaker.waits(now) <= Duration::from_millis(100));
    }
}

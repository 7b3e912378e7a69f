//! One server, as far as it can be reached: when it may be dialed, since when it cannot be reached, why.
//!
//! Owns: [`Node`], [`Ask`], [`Attempt`]. Never knows: clocks, sockets, waiting sessions, how a line is logged.

use std::time::{Duration, Instant};

use super::breaker::{self, Breaker, BreakerRules, Round};
use super::busy::{Busy, ByLogin};
use super::handshake_limit::{HandshakeLimit, Waiter};
use super::line::Next;
use super::outage::{Notice, Outage};
use crate::base::limits;
use crate::telemetry::Circuit;
use crate::traffic::Unavailable;

/// Whether a connection may be dialed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Dial(Begun),
    /// Ask again at this time, or when the state has changed; `None`: when it has changed.
    Wait(Option<Instant>),
    /// The server has just answered BUSY to an attempt that logs in alike: that is the answer to this one, too.
    Busy,
}

/// When an attempt has begun: what its end shows of the server depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    round: Round,
    selects: bool,
    busy: u64,
}

/// How an attempt to connect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Up,
    /// The server is well; it runs a script, and refuses the login meanwhile.
    Busy,
    /// The server is well; it is this database that it does not have.
    NoDatabase,
    Failed(Unavailable),
}

/// What is known of one server; for its shared and pinned connections together.
#[derive(Debug)]
pub struct Node {
    breaker: Breaker,
    busy: ByLogin<Busy>,
    handshakes: HandshakeLimit,
    outage: Outage,
    /// Why the last attempt to connect failed.
    last_failure: Unavailable,
    /// Shared connections on which the server is silent although it was asked for a sign of life.
    silent: u32,
}

impl Node {
    /// At most so many connections to it are made at once.
    #[must_use]
    pub fn new(rules: BreakerRules, handshakes_max: usize) -> Self {
        Self {
            breaker: Breaker::new(rules, limits::CONNECTION_PROOF),
            busy: ByLogin::default(),
            handshakes: HandshakeLimit::new(handshakes_max),
            outage: Outage::default(),
            last_failure: Unavailable::Timeout,
            silent: 0,
        }
    }

    /// Whether the caller may dial; if so it reports how that ended, with what it gets. If not, it keeps its place
    /// among those that wait, until [`Self::handle_left`].
    pub fn ask(&mut self, waiter: &mut Waiter, now: Instant) -> Ask {
        let held = self.held(now);
        let busy = self.busy.of_mut(waiter.selects);
        let answers = busy.answers();
        if answers > *waiter.known_answers.get_or_insert(answers) {
            return Ask::Busy;
        }
        let passable = self.breaker.is_passable(now);
        let has_place = self.handshakes.has_place(waiter, held);
        if *held.of(waiter.selects) {
            return Ask::Wait(busy.poll_timeout());
        }
        if !has_place && passable {
            return Ask::Wait(None);
        }
        let ask = match self.breaker.ask(now) {
            breaker::Ask::Wait(until) => Ask::Wait(until),
            breaker::Ask::Dial(round) => {
                self.handshakes.begin(waiter);
                Ask::Dial(Begun { round, selects: waiter.selects, busy: busy.begin(now) })
            }
        };
        debug_assert_eq!(passable, matches!(ask, Ask::Dial(_)), "passability and the answer agree");
        self.check_invariants(now);
        ask
    }

    /// The attempts that do not begin because the server is busy.
    fn held(&self, now: Instant) -> ByLogin<bool> {
        let ByLogin { plain, selecting } = &self.busy;
        ByLogin { plain: !plain.is_passable(now), selecting: !selecting.is_passable(now) }
    }

    /// Whether one attempt decides for others that wait, though not for all.
    #[must_use]
    pub fn is_busy(&self, now: Instant) -> bool {
        let held = self.held(now);
        held.plain || held.selecting
    }

    /// Whether the caller may dial beside a connection that is up: how that ends is no sign of an outage, and
    /// reported by [`Self::handle_ended_beside`].
    pub fn ask_beside(&mut self, waiter: &mut Waiter) -> bool {
        let begins = self.handshakes.has_place_beside(waiter);
        if begins {
            self.handshakes.begin(waiter);
        }
        begins
    }

    /// An attempt that [`Self::ask_beside`] allowed has ended, or was given up.
    pub fn handle_ended_beside(&mut self) {
        self.handshakes.end();
    }

    /// An attempt that waits is not wanted any more. Returns whether another one may begin now.
    pub fn handle_left(&mut self, waiter: &mut Waiter, now: Instant) -> bool {
        self.handshakes.leave(waiter);
        let passable = self.breaker.is_passable(now);
        let held = if passable { self.held(now) } else { ByLogin { plain: true, selecting: true } };
        self.handshakes.is_awaited(held)
    }

    /// What holds whenever a `handle_…` returns.
    fn check_invariants(&self, now: Instant) {
        let (open, waits) = (self.breaker.is_open(), self.breaker.waits(now));
        debug_assert!(open || waits.is_zero(), "attempts wait for a server that is well");
        debug_assert!(open || self.breaker.is_passable(now), "nothing may be dialed");
        debug_assert!(
            open || self.breaker.circuit() == Circuit::Closed,
            "an operator sees another state"
        );
        debug_assert!(self.outage.since().is_none_or(|since| since <= now), "it has not begun");
    }

    /// Whether an attempt would be allowed.
    #[must_use]
    pub fn is_passable(&self, now: Instant) -> bool {
        self.breaker.is_passable(now)
    }

    /// The wait before the next attempt; zero when none is in force or another attempt decides.
    #[must_use]
    pub fn waits(&self, now: Instant) -> Duration {
        self.breaker.waits(now)
    }

    /// Whether the last that is known of the server is a failure.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    #[must_use]
    pub const fn circuit(&self) -> Circuit {
        self.breaker.circuit()
    }

    /// Since when the server cannot be reached, or no further connection to it be had.
    #[must_use]
    pub fn outage_since(&self) -> Option<Instant> {
        self.outage.since()
    }

    #[must_use]
    pub const fn last_failure(&self) -> Unavailable {
        self.last_failure
    }

    /// Whether the server is silent: some connection waits too long, or there is none.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silent > 0 || self.breaker.is_open()
    }

    /// An attempt that [`Self::ask`] allowed has ended.
    pub fn handle_dialed(
        &mut self,
        begun: Begun,
        attempt: Attempt,
        now: Instant,
        entropy: u64,
    ) -> Option<Notice> {
        self.handshakes.end();
        let busy = self.busy.of_mut(begun.selects);
        match attempt {
            Attempt::Up | Attempt::NoDatabase => busy.handle_served(begun.busy),
            Attempt::Busy => busy.handle_busy(begun.busy, now, entropy),
            Attempt::Failed(_) => busy.handle_unanswered(begun.busy),
        }
        match attempt {
            Attempt::Up => {
                self.breaker.handle_connected();
                self.check_invariants(now);
                self.outage.handle_connected(now)
            }
            Attempt::Busy | Attempt::NoDatabase => {
                self.breaker.handle_connected();
                self.check_invariants(now);
                None
            }
            Attempt::Failed(why) => {
                self.last_failure = why;
                self.breaker.handle_failed(begun.round, now, entropy);
                self.check_invariants(now);
                self.outage.handle_failed(why, now)
            }
        }
    }

    /// An attempt was given up before its end, and shows nothing about the server.
    pub fn handle_cancelled(&mut self, begun: Begun, now: Instant) {
        self.handshakes.end();
        self.busy.of_mut(begun.selects).handle_unanswered(begun.busy);
        self.breaker.handle_cancelled(begun.round, now);
        self.check_invariants(now);
    }

    /// The server, or the way to it, has ended a connection, shared or pinned.
    pub fn handle_connection_lost(
        &mut self,
        answered: bool,
        opened_at: Instant,
        now: Instant,
        entropy: u64,
    ) {
        debug_assert!(opened_at <= now, "it was made before it ended");
        let lived = now.saturating_duration_since(opened_at);
        self.breaker.handle_connection_lost(answered, lived, now, entropy);
        self.check_invariants(now);
    }

    fn handle_lost(&mut self, answered: bool, opened_at: Instant, now: Instant) -> Option<Notice> {
        let proven =
            answered || now.saturating_duration_since(opened_at) >= limits::CONNECTION_PROOF;
        self.outage.handle_lost(proven, now)
    }

    /// A shared connection has ended, and what follows for its line is known. The loss of one that nothing waits
    /// for is no outage.
    pub fn handle_ended(
        &mut self,
        next: Next,
        answered: bool,
        opened_at: Instant,
        now: Instant,
        entropy: u64,
    ) -> Option<Notice> {
        debug_assert!(opened_at <= now, "it was made before it ended");
        let notice = match next {
            Next::Serve | Next::Idle | Next::Done => return None,
            Next::Fail(_) => self.handle_lost(answered, opened_at, now),
            Next::Unneeded => None,
        };
        self.handle_connection_lost(answered, opened_at, now, entropy);
        notice
    }

    /// A connection has answered a request, or lived for [`limits::CONNECTION_PROOF`].
    pub fn handle_proven(&mut self, now: Instant) -> Option<Notice> {
        self.breaker.handle_proven();
        self.check_invariants(now);
        self.outage.handle_proven(now)
    }

    /// The server has answered a probe. When no connection was attempted for a while, that is the end of
    /// an outage of connections that are wanted no longer.
    pub fn handle_alive(&mut self, now: Instant) -> Option<Notice> {
        self.check_invariants(now);
        if self.breaker.is_closed(now) { self.outage.handle_alive(now) } else { None }
    }

    /// A shared connection has become silent, or answers again, or has ended.
    pub fn handle_silence(&mut self, silent: bool) {
        debug_assert!(silent || self.silent > 0, "only what was silent answers again");
        self.silent = if silent { self.silent + 1 } else { self.silent.saturating_sub(1) };
        debug_assert!(!silent || self.is_silent(), "silence is not noted");
        let most = limits::SHARED_CONNECTIONS_MAX + limits::ASIDE_MAX;
        debug_assert!(self.silent as usize <= most, "more are silent than there may be");
    }

    /// Commands have to wait for the server.
    pub fn note_waiting(&mut self, count: u64) {
        self.outage.note_waiting(count);
    }

    /// A client was closed because the server cannot be reached.
    pub fn note_client_closed(&mut self) {
        self.outage.note_closed();
    }
}

#[cfg(test)]
mod tests;

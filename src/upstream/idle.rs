//! Pinned connections that are lent to no session: which one is lent next, which are checked, which are
//! closed.
//!
//! Owns: [`IdleConnections`], [`Pooled`], [`IdleTiming`]. Never knows: sockets, clocks, sessions.

use std::time::{Duration, Instant};

use super::connection::jittered;
use crate::config;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::PoolKey;

/// A connection, as far as it matters here.
pub trait Pooled {
    fn key(&self) -> PoolKey;
    /// When it was made.
    fn opened_at(&self) -> Instant;
    /// Whether it was made with the identity and the password in force.
    fn is_current(&self) -> bool;
    /// Whether the server has sent nothing since the last reply, and has not closed it.
    fn is_silent(&mut self) -> bool;
}

/// How many are kept, and for how long, as it is configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleTiming {
    pub min_idle: usize,
    pub max_idle: usize,
    pub idle_timeout: Duration,
    pub health_check_interval: Duration,
    /// Zero: no connection is too old.
    pub max_age: Duration,
}

impl IdleTiming {
    pub(super) const fn of(pool: &config::Pool) -> Self {
        Self {
            min_idle: pool.min_idle,
            max_idle: pool.max_idle,
            idle_timeout: pool.idle_timeout,
            health_check_interval: pool.health_check_interval,
            max_age: pool.max_age,
        }
    }

    /// Whether a connection is to be replaced. It counts as up to a tenth older, by the moment at which it was
    /// made, so that connections made together are not replaced together.
    fn is_over(&self, opened_at: Instant, begin: Instant, now: Instant) -> bool {
        let moment = opened_at.saturating_duration_since(begin).as_nanos();
        let chance = u64::try_from(moment).unwrap_or(0).wrapping_mul(SPREAD) >> 40;
        let max = jittered(self.max_age, chance);
        debug_assert!(max <= self.max_age, "none is kept longer than configured");
        !max.is_zero() && now.saturating_duration_since(opened_at) >= max
    }
}

/// Odd, with as many ones as zeros: a multiple of it shows nothing of the number.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    since: Instant,
    checked: Instant,
}

/// One that is being checked. It is not lent meanwhile.
#[derive(Debug)]
pub struct Checked<C> {
    pub connection: C,
    since: Instant,
}

/// Why connections were closed, one entry for each.
pub(super) type Closed = Vec<UpstreamDisconnect>;

/// All that are idle; the last one was used last.
#[derive(Debug)]
pub(super) struct IdleConnections<C> {
    timing: IdleTiming,
    begin: Instant,
    idle: Vec<Idle<C>>,
}

impl<C: Pooled> IdleConnections<C> {
    pub(super) const fn new(timing: IdleTiming, begin: Instant) -> Self {
        Self { timing, begin, idle: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.idle.len()
    }

    /// One more would be closed at once.
    const fn is_full(&self) -> bool {
        self.idle.len() >= self.timing.max_idle
    }

    /// Whether fewer than `min_idle` are there for this key.
    pub(super) fn lacks(&self, key: PoolKey) -> bool {
        let spares = self.idle.iter().filter(|idle| idle.connection.key() == key).count();
        spares < self.timing.min_idle
    }

    /// The one that was used last. Those that turn out to be of no use are closed.
    pub(super) fn take(&mut self, key: PoolKey, closed: &mut Closed) -> Option<C> {
        loop {
            let at = self.idle.iter().rposition(|idle| idle.connection.key() == key)?;
            let mut connection = self.idle.remove(at).connection;
            if !connection.is_current() {
                closed.push(UpstreamDisconnect::Rotation);
            } else if !connection.is_silent() {
                closed.push(UpstreamDisconnect::Eof);
            } else {
                debug_assert!(connection.key() == key, "another database, or another RESP");
                self.check_invariants();
                return Some(connection);
            }
        }
    }

    /// One that is as if never lent, or new; beyond `max_idle` it is closed.
    pub(super) fn put(&mut self, connection: C, now: Instant, closed: &mut Closed) {
        debug_assert!(connection.opened_at() <= now, "it was made before");
        if !connection.is_current() {
            closed.push(UpstreamDisconnect::Rotation);
        } else if self.timing.is_over(connection.opened_at(), self.begin, now) {
            closed.push(UpstreamDisconnect::MaxAge);
        } else if self.is_full() {
            closed.push(UpstreamDisconnect::Idle);
        } else {
            self.idle.push(Idle { connection, since: now, checked: now });
        }
        self.check_invariants();
    }

    /// Where one more would be closed at once, one for another key is closed instead: that which has waited
    /// longest.
    pub(super) fn make_room(&mut self, key: PoolKey, closed: &mut Closed) {
        let others = self.idle.iter().enumerate().filter(|(_, idle)| idle.connection.key() != key);
        let oldest = others.min_by_key(|(_, idle)| idle.since).map(|(at, _)| at);
        if let Some(at) = oldest.filter(|_| self.is_full()) {
            self.idle.remove(at);
            closed.push(UpstreamDisconnect::Idle);
        }
        let others = self.idle.iter().any(|idle| idle.connection.key() != key);
        debug_assert!(!self.is_full() || !others, "one more would be closed at once");
        self.check_invariants();
    }

    /// Closes those that were made with another identity or password than those in force.
    pub(super) fn retire(&mut self, closed: &mut Closed) {
        self.retain(UpstreamDisconnect::Rotation, |idle| idle.connection.is_current(), closed);
    }

    /// Closes those made until then: they lead to a server that is no primary.
    pub(super) fn close_older(&mut self, then: Instant, closed: &mut Closed) {
        self.retain(
            UpstreamDisconnect::Failover,
            |idle| idle.connection.opened_at() > then,
            closed,
        );
    }

    /// Closes those that have reached `max_age`.
    pub(super) fn close_aged(&mut self, now: Instant, closed: &mut Closed) {
        let (timing, begin) = (self.timing, self.begin);
        let keeps = |idle: &Idle<C>| !timing.is_over(idle.connection.opened_at(), begin, now);
        self.retain(UpstreamDisconnect::MaxAge, keeps, closed);
    }

    /// Closes those that were not used for `idle_timeout`, the oldest first; `min_idle` stay.
    pub(super) fn close_old(&mut self, now: Instant, closed: &mut Closed) {
        let timeout = self.timing.idle_timeout;
        let before = self.idle.len();
        let mut spare = before.saturating_sub(self.timing.min_idle);
        let keeps = |idle: &Idle<C>| {
            let close = spare > 0 && now.saturating_duration_since(idle.since) >= timeout;
            spare -= usize::from(close);
            !close
        };
        self.retain(UpstreamDisconnect::Idle, keeps, closed);
        let least = self.timing.min_idle.min(before);
        debug_assert!(self.idle.len() >= least, "fewer are kept than configured");
    }

    fn retain(
        &mut self,
        reason: UpstreamDisconnect,
        keeps: impl FnMut(&Idle<C>) -> bool,
        closed: &mut Closed,
    ) {
        let before = self.idle.len();
        self.idle.retain(keeps);
        debug_assert!(self.idle.len() <= before, "none is made");
        closed.extend((self.idle.len()..before).map(|_| reason));
        self.check_invariants();
    }

    /// What holds whenever one was added.
    fn check_invariants(&self) {
        debug_assert!(self.idle.len() <= self.timing.max_idle, "no more than may be are idle");
        let begun = |idle: &Idle<C>| idle.connection.opened_at() >= self.begin;
        debug_assert!(self.idle.iter().all(begun), "one was made before the pool");
        let agrees = |idle: &Idle<C>| {
            idle.since <= idle.checked && idle.connection.opened_at() <= idle.since
        };
        debug_assert!(self.idle.iter().all(agrees), "made, then idle, then checked");
        let sorted = self.idle.is_sorted_by_key(|idle| idle.since);
        debug_assert!(sorted, "the last one was used last");
    }

    /// One that was silent for a whole `health_check_interval`.
    pub(super) fn take_unchecked(&mut self, now: Instant) -> Option<Checked<C>> {
        let interval = self.timing.health_check_interval;
        let due = |idle: &Idle<C>| now.saturating_duration_since(idle.checked) >= interval;
        let at = self.idle.iter().position(due)?;
        let Idle { connection, since, checked } = self.idle.remove(at);
        debug_assert!(checked >= since && checked <= now, "idle, then checked");
        self.check_invariants();
        Some(Checked { connection, since })
    }

    /// Takes back a connection that was checked and has answered. `asked_at` is when the check began; others may have
    /// taken its place meanwhile.
    pub(super) fn put_checked(
        &mut self,
        checked: Checked<C>,
        asked_at: Instant,
        closed: &mut Closed,
    ) {
        let Checked { connection, since } = checked;
        debug_assert!(since <= asked_at, "it was idle before");
        debug_assert!(connection.opened_at() <= since, "it was made before it was idle");
        debug_assert!(asked_at >= self.begin, "it was checked before the pool was there");
        if self.is_full() {
            closed.push(UpstreamDisconnect::Idle);
        } else {
            let at = self.idle.partition_point(|idle| idle.since <= since);
            self.idle.insert(at, Idle { connection, since, checked: asked_at });
        }
        self.check_invariants();
    }
}

#[cfg(test)]
mod tests;

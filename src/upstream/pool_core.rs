//! Pinned connections, as far as it is decided here: which session gets one, is dialed for, or waits; what is
//! closed, checked and kept warm.
//!
//! Owns: [`PoolCore`], [`Turn`], [`Upkeep`]. Never knows: sockets, clocks, tasks, what connections are lent for.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::holder::Holder;
use super::idle::{Checked, Closed, IdleConnections, IdleTiming, Pooled};
use super::shares::{Shares, Use};
use crate::base::limits;
use crate::config;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::PoolKey;

/// What a session does that wants a connection.
#[derive(Debug)]
pub enum Turn<C> {
    /// All that its use, its user or its listener may have are taken: it waits until it is
    /// [woken](PoolCore::poll_granted).
    Wait,
    /// The session has this connection.
    Lend(C),
    /// The session may have one more connection; there is none that is idle.
    Dial,
}

/// What is next to be done about idle connections.
#[derive(Debug)]
pub enum Upkeep<C> {
    /// PING on this one; [`PoolCore::handle_checked`] takes the answer.
    Check(Checked<C>),
    /// Dial one more; [`PoolCore::handle_answer`] takes it.
    Dial(PoolKey),
    /// Nothing until [`PoolCore::poll_timeout`], or until a check has ended.
    Idle,
}

/// What the server has answered to the question what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The primary, and it serves.
    Primary,
    /// Another server is to be looked for.
    Other,
    /// Nothing, or nothing that can be understood.
    Nothing,
}

/// The state of one session's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InLine,
    /// The connection counts among those taken, and is to be lent or dialed.
    Granted,
    Lent,
}

#[derive(Clone, Debug)]
struct Claim {
    purpose: Use,
    holder: Holder,
    state: State,
}

/// The pinned connections of one server.
#[derive(Debug)]
pub struct PoolCore<C> {
    max: usize,
    /// Between two looks at idle connections.
    period: Duration,
    shares: Shares,
    idle: IdleConnections<C>,
    /// A session that waits for one, is dialed for, or has one.
    claims: HashMap<u64, Claim>,
    next: u64,
    lent: usize,
    /// Claims that were in line and have got their turn, and whose sessions do not know it.
    granted: Vec<u64>,
    closed: Closed,
    /// The database and protocol that was wanted last: kept warm.
    last_key: PoolKey,
    /// When idle connections are looked at next, at the latest.
    upkeep_at: Instant,
    /// They are looked at now.
    hurried: bool,
    /// Whether its server is the right one was asked last then; it is not asked again meanwhile.
    doubted: Option<Instant>,
    asking: bool,
}

/// Often enough for each of the times that bound an idle connection.
fn upkeep_period(settings: &config::Pool) -> Duration {
    let age = Some(settings.max_age / 5).filter(|age| !age.is_zero());
    let usual = settings.health_check_interval.min(settings.idle_timeout) / 2;
    age.map_or(usual, |age| usual.min(age))
}

impl<C: Pooled> PoolCore<C> {
    #[must_use]
    pub fn new(settings: &config::Pool, key: PoolKey, now: Instant) -> Self {
        Self {
            max: settings.max_connections,
            period: upkeep_period(settings),
            shares: Shares::new(settings.max_connections, settings.mode),
            idle: IdleConnections::new(IdleTiming::of(settings), now),
            claims: HashMap::new(),
            next: 0,
            lent: 0,
            granted: Vec::new(),
            closed: Closed::new(),
            last_key: key,
            upkeep_at: now,
            hurried: false,
            doubted: None,
            asking: false,
        }
    }

    /// Why a connection was closed; one entry for each.
    pub fn poll_closed(&mut self) -> Option<UpstreamDisconnect> {
        self.closed.pop()
    }

    /// A claim that waits no longer: its session looks at [`Self::poll_turn`] again.
    pub fn poll_granted(&mut self) -> Option<u64> {
        self.granted.pop()
    }

    /// How many are idle, and how many are lent.
    #[must_use]
    pub const fn sizes(&self) -> (usize, usize) {
        (self.idle.len(), self.lent)
    }

    /// Whether any session waits for others to return a connection.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.shares.is_waited_for()
    }

    /// Clients come by so many listeners: no one of several takes all connections.
    pub const fn share_among(&mut self, listeners: usize) {
        self.shares.share_among(listeners);
    }

    /// Whether a connection for this use could be had without waiting for others, by a holder with few.
    #[must_use]
    pub fn has_room_for(&self, purpose: Use) -> bool {
        self.shares.is_free_for(purpose)
    }

    /// Whether one could be had for this use and holder without waiting for others.
    #[must_use]
    pub fn has_room_for_holder(&self, purpose: Use, holder: &Holder) -> bool {
        self.shares.is_free_for_holder(purpose, holder)
    }

    /// A session wants a connection. Its number; [`Self::handle_left`] is called when the session has
    /// none any more and wants none, however that comes.
    pub fn claim(&mut self, key: PoolKey, purpose: Use, holder: Holder) -> u64 {
        self.last_key = key;
        let number = self.next;
        self.next += 1;
        let state = if self.shares.take(purpose, &holder) {
            State::Granted
        } else {
            self.shares.wait(purpose, &holder, number);
            State::InLine
        };
        self.claims.insert(number, Claim { purpose, holder, state });
        self.check_invariants();
        number
    }

    /// What the session of this claim does now.
    pub fn poll_turn(&mut self, number: u64, key: PoolKey) -> Turn<C> {
        let state = self.claims.get(&number).map(|claim| claim.state);
        debug_assert!(matches!(state, Some(State::InLine | State::Granted)), "it has none yet");
        if state != Some(State::Granted) {
            return Turn::Wait;
        }
        self.check_invariants();
        let Some(connection) = self.idle.take(key, &mut self.closed) else { return Turn::Dial };
        self.handle_lent(number);
        Turn::Lend(connection)
    }

    /// The session of this claim has a connection: an idle one, or one that was dialed for it.
    pub fn handle_lent(&mut self, number: u64) {
        let claim = self.claims.get_mut(&number).filter(|claim| claim.state == State::Granted);
        debug_assert!(claim.is_some(), "only a claim that was granted gets a connection");
        if let Some(claim) = claim {
            claim.state = State::Lent;
            self.lent += 1;
        }
        self.hurried |= self.idle.lacks(self.last_key);
        self.check_invariants();
    }

    /// An attempt to dial for this claim has failed. The session is the last in line now, behind those that
    /// wait; its new number.
    pub fn handle_failed(&mut self, number: u64, key: PoolKey) -> u64 {
        let Some(claim) = self.claims.get(&number).cloned() else { return number };
        debug_assert_eq!(
            claim.state,
            State::Granted,
            "only a claim that was granted is dialed for"
        );
        self.handle_left(number);
        self.claim(key, claim.purpose, claim.holder)
    }

    /// The session of this claim waits no longer, or its connection is returned or closed.
    pub fn handle_left(&mut self, number: u64) {
        let Some(Claim { purpose, holder, state }) = self.claims.remove(&number) else { return };
        match state {
            State::InLine => self.shares.remove(purpose, &holder, number),
            State::Granted => self.shares.give_back(purpose, &holder),
            State::Lent => {
                debug_assert!(self.lent > 0, "it is counted");
                self.lent -= 1;
                self.shares.give_back(purpose, &holder);
            }
        }
        while let Some(number) = self.shares.grant() {
            let claim = self.claims.get_mut(&number);
            debug_assert!(
                claim.as_ref().is_some_and(|claim| claim.state == State::InLine),
                "only a session in line is granted one"
            );
            if let Some(claim) = claim {
                claim.state = State::Granted;
                self.granted.push(number);
            }
        }
        self.check_invariants();
    }

    /// A connection that is of use to any session: it is as if it had never been lent.
    pub fn put(&mut self, connection: C, now: Instant) {
        self.idle.put(connection, now, &mut self.closed);
        self.check_invariants();
    }

    /// A connection that was lent is closed.
    pub fn note_closed(&mut self, reason: UpstreamDisconnect) {
        self.closed.push(reason);
    }

    /// Another identity or password is in force.
    pub fn retire(&mut self) {
        self.idle.retire(&mut self.closed);
        self.check_invariants();
    }

    /// On a connection an error arrived that only a server sends that is no primary, or a script.
    /// Returns whether the server is to be asked on it; [`Self::handle_answer`] takes the answer. If it is
    /// not, the connection is closed.
    pub fn doubts(&mut self, now: Instant) -> bool {
        let recent = |at: Instant| now.saturating_duration_since(at) < limits::POOL_CHECK_INTERVAL;
        if self.asking || self.doubted.is_some_and(recent) {
            self.closed.push(UpstreamDisconnect::Failover);
            return false;
        }
        debug_assert!(self.doubted.is_none_or(|at| at <= now), "it was doubted later");
        (self.asking, self.doubted) = (true, Some(now));
        self.check_invariants();
        true
    }

    /// The server was asked what it is. Its answer decides about all idle
    /// connections that were there when it was asked.
    pub fn handle_answer(&mut self, connection: C, answer: Answer, now: Instant) {
        debug_assert!(self.asking, "it was asked");
        self.asking = false;
        match answer {
            Answer::Other => {
                self.closed.push(UpstreamDisconnect::Failover);
                let asked_at = self.doubted.unwrap_or(now);
                self.idle.close_older(asked_at, &mut self.closed);
                self.hurried = true;
            }
            Answer::Primary => self.put(connection, now),
            Answer::Nothing => self.closed.push(UpstreamDisconnect::Health),
        }
        debug_assert!(!self.asking, "the question is answered");
        self.check_invariants();
    }

    /// The question what the server is will not be answered: what asked has ended.
    pub fn handle_unanswered(&mut self) {
        debug_assert!(self.asking, "it was asked");
        self.asking = false;
        self.closed.push(UpstreamDisconnect::Defect);
        self.check_invariants();
    }

    /// When [`Self::poll_upkeep`] is to be called, unless it [is to be called at once](Self::is_hurried).
    #[must_use]
    pub const fn poll_timeout(&self) -> Instant {
        self.upkeep_at
    }

    /// Whether idle connections are to be looked at now.
    #[must_use]
    pub const fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// What is next to be done about idle connections, while so many `checks` are under way; called again
    /// until it is [`Upkeep::Idle`].
    pub fn poll_upkeep(&mut self, may_dial: bool, checks: usize, now: Instant) -> Upkeep<C> {
        debug_assert!(checks <= limits::POOL_CHECKS_MAX, "no more are begun");
        self.check_invariants();
        self.hurried = false;
        self.upkeep_at = now + self.period.max(limits::POOL_UPKEEP_INTERVAL_MIN);
        self.idle.retire(&mut self.closed);
        self.idle.close_aged(now, &mut self.closed);
        self.idle.close_old(now, &mut self.closed);
        if checks < limits::POOL_CHECKS_MAX
            && let Some(checked) = self.idle.take_unchecked(now)
        {
            return Upkeep::Check(checked);
        }
        if checks > 0 {
            // Those that are checked are missing only for the moment.
            return Upkeep::Idle;
        }
        if !self.idle.lacks(self.last_key) || self.shares.taken() >= self.max {
            return Upkeep::Idle;
        }
        if !may_dial {
            self.handle_fill_failed(now);
            return Upkeep::Idle;
        }
        self.idle.make_room(self.last_key, &mut self.closed);
        debug_assert!(self.upkeep_at > now, "idle connections are looked at without a pause");
        Upkeep::Dial(self.last_key)
    }

    /// An idle connection was checked, from `asked_at` on. Any reply proves that it works.
    pub fn handle_checked(&mut self, checked: Checked<C>, alive: bool, asked_at: Instant) {
        debug_assert!(
            checked.connection.opened_at() <= asked_at,
            "it was made before it was asked"
        );
        if alive {
            self.idle.put_checked(checked, asked_at, &mut self.closed);
        } else {
            self.closed.push(UpstreamDisconnect::Health);
        }
        self.check_invariants();
    }

    /// No connection could be made to be kept warm.
    pub fn handle_fill_failed(&mut self, now: Instant) {
        self.upkeep_at = now + limits::POOL_RETRY_INTERVAL_MAX.min(self.period);
        debug_assert!(self.upkeep_at > now, "idle connections are looked at without a pause");
    }

    /// What holds whenever a `handle_…` returns.
    fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let taken = self
                .claims
                .values()
                .filter(|claim| claim.state != State::InLine && claim.purpose != Use::Release);
            assert_eq!(taken.count(), self.shares.taken(), "each that is taken has its claim");
            let lent = self.claims.values().filter(|claim| claim.state == State::Lent);
            assert_eq!(lent.count(), self.lent, "each that is lent has its claim");
            assert!(self.shares.taken() <= self.max, "no more than there are");
            let granted =
                |number: &u64| self.claims.get(number).is_none_or(|c| c.state != State::InLine);
            assert!(
                self.granted.iter().all(granted),
                "a session that was granted one is out of line"
            );
            assert!(self.claims.keys().all(|number| *number < self.next), "numbers ascend");
            let waits = self.claims.values().filter(|claim| claim.state == State::InLine);
            assert_eq!(waits.count(), self.shares.waiting(), "each in line has its claim");
            assert!(self.lent <= self.claims.len(), "more are lent than are claimed");
            let asked = !self.asking || self.doubted.is_some();
            assert!(asked, "the server is asked without a doubt");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::connection::HOME;

    #[derive(Debug)]
    struct Spare(Instant);

    impl Pooled for Spare {
        fn key(&self) -> PoolKey {
            HOME
        }

        fn opened_at(&self) -> Instant {
            self.0
        }

        fn is_current(&self) -> bool {
            true
        }

        fn is_silent(&mut self) -> bool {
            true
        }
    }

    fn pool(idle: usize) -> (PoolCore<Spare>, Instant) {
        let now = crate::base::clock::now();
        let settings = config::Pool { min_idle: 0, max_idle: 64, ..config::Pool::default() };
        let mut pool = PoolCore::new(&settings, HOME, now);
        (0..idle).for_each(|_| pool.put(Spare(now), now));
        (pool, now + settings.health_check_interval)
    }

    #[test]
    fn idle_connections_are_checked_beside_each_other_up_to_a_bound() {
        let (mut pool, now) = pool(limits::POOL_CHECKS_MAX + 3);
        let mut checks = Vec::new();
        while let Upkeep::Check(checked) = pool.poll_upkeep(true, checks.len(), now) {
            checks.push(checked);
        }
        assert_eq!((checks.len(), pool.sizes()), (limits::POOL_CHECKS_MAX, (3, 0)));
        pool.handle_checked(checks.pop().unwrap(), true, now);
        let next = pool.poll_upkeep(true, checks.len(), now);
        assert!(matches!(next, Upkeep::Check(_)), "one that has ended makes room");
        checks.into_iter().for_each(|checked| pool.handle_checked(checked, false, now));
        assert_eq!(pool.sizes(), (3, 0));
    }

    #[test]
    fn answer_of_the_server_decides_about_idle_connections() {
        for (answer, idle, reasons) in [
            (Answer::Other, 0, vec![UpstreamDisconnect::Failover; 3]),
            (Answer::Nothing, 2, vec![UpstreamDisconnect::Health]),
            (Answer::Primary, 3, vec![]),
        ] {
            let (mut pool, now) = pool(2);
            assert!(pool.doubts(now));
            pool.handle_answer(Spare(now), answer, now);
            assert_eq!(pool.sizes(), (idle, 0), "{answer:?}");
            assert_eq!(std::iter::from_fn(|| pool.poll_closed()).collect::<Vec<_>>(), reasons);
        }
    }

    #[test]
    fn connection_is_kept_warm_where_one_may_be_dialed_and_not_all_are_lent() {
        let now = crate::base::clock::now();
        let settings = config::Pool { max_connections: 1, min_idle: 1, ..config::Pool::default() };
        let mut pool = PoolCore::<Spare>::new(&settings, HOME, now);
        assert!(matches!(pool.poll_upkeep(false, 0, now), Upkeep::Idle));
        let retry = now + limits::POOL_RETRY_INTERVAL_MAX;
        assert_eq!(pool.poll_timeout(), retry.min(now + pool.period), "it is tried again soon");
        assert!(matches!(pool.poll_upkeep(true, 0, now), Upkeep::Dial(_)));
        let holder = Holder { user: None, listener: "one".into() };
        let number = pool.claim(HOME, Use::State, holder);
        assert!(matches!(pool.poll_upkeep(true, 0, now), Upkeep::Idle), "all are taken");
        pool.handle_left(number);
        assert!(matches!(pool.poll_upkeep(true, 0, now), Upkeep::Dial(_)));
    }

    #[test]
    fn session_whose_attempt_failed_is_behind_those_that_wait() {
        let now = crate::base::clock::now();
        let settings = config::Pool { max_connections: 1, min_idle: 0, ..config::Pool::default() };
        let mut pool = PoolCore::<Spare>::new(&settings, HOME, now);
        let holder = || Holder { user: None, listener: "one".into() };
        let first = pool.claim(HOME, Use::State, holder());
        let second = pool.claim(HOME, Use::State, holder());
        assert!(matches!(pool.poll_turn(first, HOME), Turn::Dial));
        assert!(matches!(pool.poll_turn(second, HOME), Turn::Wait));
        let first = pool.handle_failed(first, HOME);
        assert_eq!(pool.poll_granted(), Some(second));
        assert!(matches!(pool.poll_turn(first, HOME), Turn::Wait));
        assert!(matches!(pool.poll_turn(second, HOME), Turn::Dial));
    }

    #[test]
    fn question_about_the_server_that_ends_without_an_answer_can_be_asked_again() {
        let (mut pool, now) = pool(0);
        assert!(pool.doubts(now));
        assert!(!pool.doubts(now + limits::POOL_CHECK_INTERVAL), "it is under way");
        pool.handle_unanswered();
        assert!(!pool.doubts(now), "not so soon");
        assert!(pool.doubts(now + limits::POOL_CHECK_INTERVAL));
        let reasons = std::iter::from_fn(|| pool.poll_closed()).collect::<Vec<_>>();
        let failover = UpstreamDisconnect::Failover;
        assert_eq!(reasons, [failover, UpstreamDisconnect::Defect, failover]);
    }
}

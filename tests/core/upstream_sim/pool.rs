//! Pinned connections in make-believe time: sessions that ask, wait, hold, return and leave, and a server
//! that refuses, is silent, closes, is no primary.
//!
//! Owns: [`World`], and what must be true in it. Never knows: how respgate decides.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use respgate::internals::base::backoff::Backoff;
use respgate::internals::config::{OnOutage, Pool};
use respgate::internals::traffic::{PoolKey, Unavailable};
use respgate::internals::upstream::decisions::{
    Answer, Ask, Attempt, Begun, BreakerRules, Checked, HOME, Holder, Node, Patience, PoolCore,
    Pooled, Turn, Upkeep, Use, Wait, Waiter, most_for_one_use,
};

use crate::support::choices::Choices;
use crate::support::shrink::Replay;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The world is looked at so often.
const TICK: Duration = ms(10);
const CONNECT_TIMEOUT: Duration = ms(400);
const OUTAGE_WAIT: Duration = ms(700);
/// A wait may end so long after its time, because the world is looked at in ticks.
const LATE: Duration = ms(20);
const KEYS: [PoolKey; 2] = [HOME, PoolKey { database: 3, ..HOME }];
const USES: [Use; 5] = [Use::State, Use::Block, Use::Listen, Use::Large, Use::Release];
/// Users, by listener: where no user logs in, two of one listener, and one of them elsewhere.
const HOLDERS: [(Option<&str>, &str); 4] =
    [(None, "one"), (Some("a"), "one"), (Some("b"), "one"), (Some("b"), "two")];
/// Listeners, and the users of [`HOLDERS`] that need connections, in proportion to how often they are listed.
const ASKING: [(usize, &[usize]); 3] = [(1, &[0]), (1, &[1, 1, 1, 2]), (2, &[0, 0, 1, 2, 3])];
/// From so many connections on, users and listeners leave some to others: for each so many that they have, one.
const SHARED_OUT_MIN: usize = 8;
const USER_PART: usize = 7;
const LISTENER_PART: usize = 15;

/// So many connections, or sessions that wait for one, by use and holder.
type Counts = [[usize; 4]; 5];

fn holder(at: usize) -> Holder {
    let (user, listener) = HOLDERS[at];
    Holder { user: user.map(Into::into), listener: listener.into() }
}

#[derive(Debug)]
struct Wire {
    opened_at: Instant,
    /// The server, or the way to it, has ended it.
    ended: bool,
    open: bool,
    replica: bool,
}

#[derive(Debug, Default)]
struct Server {
    wires: Vec<Wire>,
    generation: u64,
    refuses: bool,
    silent: bool,
    replica: bool,
}

impl Server {
    fn open(&self) -> usize {
        self.wires.iter().filter(|wire| wire.open).count()
    }
}

/// A connection; dropped, it is closed.
#[derive(Debug)]
struct Connection {
    number: usize,
    key: PoolKey,
    opened_at: Instant,
    generation: u64,
    server: Rc<RefCell<Server>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.borrow_mut().wires[self.number].open = false;
    }
}

impl Pooled for Connection {
    fn key(&self) -> PoolKey {
        self.key
    }

    fn opened_at(&self) -> Instant {
        self.opened_at
    }

    fn is_current(&self) -> bool {
        self.generation == self.server.borrow().generation
    }

    fn is_silent(&mut self) -> bool {
        !self.server.borrow().wires[self.number].ended
    }
}

#[derive(Debug)]
enum Dial {
    Asking(Waiter),
    UnderWay { begun: Begun, until: Instant },
}

#[derive(Debug)]
enum Session {
    Idle(Instant),
    Claims(Box<Claim>),
    Holds { claim: u64, purpose: Use, holder: usize, until: Instant, connection: Connection },
}

#[derive(Debug)]
struct Claim {
    number: u64,
    key: PoolKey,
    purpose: Use,
    /// In [`HOLDERS`].
    holder: usize,
    begun: Instant,
    wait: Wait,
    dial: Option<Dial>,
    /// The server was well all the time.
    well: bool,
    /// The client goes before it has a connection.
    gives_up_at: Instant,
}

/// What is done about idle connections.
#[derive(Debug)]
enum Work {
    Idle,
    Fills(PoolKey, Dial),
}

#[derive(Debug)]
pub struct World {
    now: Instant,
    settings: Pool,
    patience: Patience,
    node: Node,
    core: PoolCore<Connection>,
    server: Rc<RefCell<Server>>,
    sessions: Vec<Session>,
    work: Work,
    /// Idle connections that are asked for a sign of life, since when, and until when.
    checks: Vec<(Checked<Connection>, Instant, Instant)>,
    /// Idle connections are being looked at.
    looks: bool,
    /// A question what the server is, until then.
    question: Option<(Connection, Instant)>,
    /// A shared connection that is dialed while there is an outage.
    shared: Option<Dial>,
    /// When connections were dialed to be kept warm.
    fills: Vec<Instant>,
    /// When connections were lent.
    loans: Vec<Instant>,
    under_way: usize,
    choices: Choices,
    /// How long sessions hold and rest, at most.
    holds: usize,
    idles: usize,
    dirty: usize,
    /// The users of [`HOLDERS`] that need connections.
    holders: &'static [usize],
    listeners: usize,
    troubled: bool,
    /// Whether accidents and requests of this moment happen.
    happens: bool,
    pub longest: Duration,
}

impl World {
    pub fn new(now: Instant, sessions: usize, choices: Choices) -> Self {
        Self::aging(now, sessions, Duration::ZERO, choices)
    }

    /// One whose connections are replaced at an age.
    pub fn aging(now: Instant, sessions: usize, max_age: Duration, mut choices: Choices) -> Self {
        let max = *choices.pick(&[2, 5, 8, 16]);
        let settings = Pool {
            max_connections: max,
            min_idle: *choices.pick(&[0, 1, 2]),
            max_idle: *choices.pick(&[2, 4]),
            idle_timeout: ms(2000),
            health_check_interval: ms(*choices.pick(&[500, 3000])),
            acquire_timeout: ms(*choices.pick(&[200, 1000])),
            connect_timeout: CONNECT_TIMEOUT,
            max_handshakes: *choices.pick(&[1, 8]),
            max_age,
            ..Pool::default()
        };
        let on_outage = *choices.pick(&[OnOutage::Close, OnOutage::Error]);
        let backoff = Backoff { initial: ms(50), multiplier: 2.0, cap: ms(500) };
        let (listeners, holders) = *choices.pick(&ASKING);
        let mut core = PoolCore::new(&settings, HOME, now);
        core.share_among(listeners);
        let failures = *choices.pick(&[1, 1, 2]);
        let rules = BreakerRules { backoff, failures, open_time: ms(*choices.pick(&[0, 300])) };
        Self {
            now,
            core,
            patience: Patience { on_outage, wait: OUTAGE_WAIT },
            node: Node::new(rules, settings.max_handshakes),
            settings,
            server: Rc::default(),
            sessions: (0..sessions).map(|_| Session::Idle(now)).collect(),
            work: Work::Idle,
            checks: Vec::new(),
            looks: false,
            question: None,
            shared: None,
            fills: Vec::new(),
            loans: Vec::new(),
            under_way: 0,
            holds: *choices.pick(&[30, 300, 2000]),
            idles: *choices.pick(&[30, 1000]),
            dirty: *choices.pick(&[0, 30]),
            holders,
            listeners,
            choices,
            troubled: false,
            happens: true,
            longest: Duration::ZERO,
        }
    }

    /// Lets time pass; with `accidents` things go wrong.
    pub fn pass(&mut self, time: Duration, accidents: bool, replay: &mut Replay<Choices>) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            self.happens = replay.step(&mut self.choices);
            if accidents && self.choices.below(100) < 3 && self.happens {
                self.accident();
            }
            self.troubled = {
                let server = self.server.borrow();
                server.refuses || server.silent || self.node.outage_since().is_some()
            };
            self.upkeep();
            for at in 0..self.sessions.len() {
                let session = std::mem::replace(&mut self.sessions[at], Session::Idle(self.now));
                self.sessions[at] = self.turn(session);
            }
            replay.note(|| self.describe());
            self.check();
        }
    }

    fn describe(&self) -> String {
        let (server, (waiting, dials)) = (self.server.borrow(), self.waiting());
        let (refuses, silent, replica) = (server.refuses, server.silent, server.replica);
        format!(
            "{:?} {waiting} wait, {dials} are dialed; refuses {refuses}, silent {silent}, replica {replica}",
            self.now
        )
    }

    pub fn heal(&mut self) {
        let mut server = self.server.borrow_mut();
        (server.refuses, server.silent, server.replica) = (false, false, false);
    }

    /// Nothing comes through any more.
    pub fn silence(&self) {
        self.server.borrow_mut().silent = true;
    }

    fn accident(&mut self) {
        let mut server = self.server.borrow_mut();
        match self.choices.below(8) {
            0 => server.refuses = true,
            1 => server.silent = true,
            2 => server.generation += 1,
            3 => {
                server.replica = true;
                server.wires.iter_mut().for_each(|wire| wire.replica = true);
            }
            4 => server.wires.iter_mut().for_each(|wire| wire.ended = true),
            5 => {
                drop(server);
                self.core.retire();
            }
            _ => {
                drop(server);
                self.heal();
            }
        }
    }

    /// Goes on with an attempt to connect.
    fn dial(&mut self, dial: &mut Dial, key: PoolKey) -> Option<Result<Connection, Unavailable>> {
        if let Dial::Asking(waiter) = dial {
            let Ask::Dial(begun) = self.node.ask(waiter, self.now) else { return None };
            self.under_way += 1;
            assert!(self.under_way <= self.settings.max_handshakes, "too many at once");
            *dial = Dial::UnderWay { begun, until: self.now + TICK };
        }
        let Dial::UnderWay { begun, until } = dial else { return None };
        if self.now < *until {
            return None;
        }
        let mut server = self.server.borrow_mut();
        if server.silent && *until == self.now {
            *until += CONNECT_TIMEOUT;
            return None;
        }
        self.under_way -= 1;
        let failure = match &*server {
            server if server.silent => Some(Unavailable::Timeout),
            server if server.refuses => Some(Unavailable::Connect),
            _ => None,
        };
        let entropy = (self.choices.below(1 << 30) as u64) << 34;
        let attempt = failure.map_or(Attempt::Up, Attempt::Failed);
        self.node.handle_dialed(*begun, attempt, self.now, entropy);
        Some(failure.map_or_else(
            || {
                let replica = server.replica;
                server.wires.push(Wire { opened_at: self.now, ended: false, open: true, replica });
                let (number, generation) = (server.wires.len() - 1, server.generation);
                let server = Rc::clone(&self.server);
                Ok(Connection { number, key, opened_at: self.now, generation, server })
            },
            Err,
        ))
    }

    /// An attempt is not awaited any more.
    fn cancel(&mut self, dial: Option<Dial>) {
        match dial {
            Some(Dial::UnderWay { begun, .. }) => {
                self.under_way -= 1;
                self.node.handle_cancelled(begun, self.now);
            }
            Some(Dial::Asking(mut waiter)) => {
                self.node.handle_left(&mut waiter, self.now);
            }
            None => {}
        }
    }

    fn turn(&mut self, session: Session) -> Session {
        match session {
            Session::Idle(until) if self.now < until => Session::Idle(until),
            Session::Idle(_) if !self.happens => session,
            Session::Idle(_) => self.claim(),
            Session::Claims(claim) => self.claimed(claim),
            holds @ Session::Holds { until, .. } if self.now < until => holds,
            Session::Holds { claim, connection, .. } => {
                self.give_back(connection);
                self.core.handle_left(claim);
                self.rest()
            }
        }
    }

    fn rest(&mut self) -> Session {
        Session::Idle(self.now + ms(self.choices.below(self.idles) as u64))
    }

    fn claim(&mut self) -> Session {
        let purpose = USES[self.choices.weighted(&[4, 8, 4, 2, 1])];
        let key = KEYS[usize::from(self.choices.below(5) == 0)];
        let leaves = *self.choices.pick(&[50, 100_000, 100_000, 100_000]);
        let usual = self.settings.acquire_timeout;
        let at = *self.choices.pick(self.holders);
        let number = self.core.claim(key, purpose, holder(at));
        self.claimed(Box::new(Claim {
            number,
            key,
            purpose,
            holder: at,
            begun: self.now,
            wait: Wait::new(self.now, usual),
            dial: None,
            well: true,
            gives_up_at: self.now + ms(leaves),
        }))
    }

    fn claimed(&mut self, mut claim: Box<Claim>) -> Session {
        claim.well &= !self.troubled;
        if let Some(connection) = self.obtain(&mut claim) {
            assert_eq!(connection.key, claim.key, "it is for the database that was asked for");
            assert!(self.server.borrow().wires[connection.number].open, "it is open");
            self.judge_wait(&claim);
            self.loans.push(self.now);
            let until = self.now + ms(self.choices.below(self.holds) as u64);
            return Session::Holds {
                claim: claim.number,
                purpose: claim.purpose,
                holder: claim.holder,
                until,
                connection,
            };
        }
        let outage = self.node.outage_since();
        claim.wait.handle_outage(outage, self.now);
        if self.now < claim.wait.deadline(outage, self.patience) && self.now < claim.gives_up_at {
            return Session::Claims(claim);
        }
        self.cancel(claim.dial.take());
        self.core.handle_left(claim.number);
        self.judge_wait(&claim);
        self.rest()
    }

    fn obtain(&mut self, claim: &mut Claim) -> Option<Connection> {
        loop {
            let mut dial = match claim.dial.take() {
                Some(dial) => dial,
                None => match self.core.poll_turn(claim.number, claim.key) {
                    Turn::Wait => return None,
                    Turn::Lend(connection) => {
                        assert!(connection.is_current(), "it was made with what is in force");
                        return Some(connection);
                    }
                    Turn::Dial => Dial::Asking(Waiter::default()),
                },
            };
            match self.dial(&mut dial, claim.key) {
                None => {
                    claim.dial = Some(dial);
                    return None;
                }
                Some(Ok(connection)) => {
                    self.core.handle_lent(claim.number);
                    return Some(connection);
                }
                Some(Err(_)) => {
                    claim.number = self.core.handle_failed(claim.number, claim.key);
                }
            }
        }
    }

    fn judge_wait(&mut self, claim: &Claim) {
        let waited = self.now - claim.begun;
        self.longest = self.longest.max(waited);
        let usual = self.settings.acquire_timeout;
        if claim.well {
            assert!(waited <= usual + LATE, "it waited for {waited:?} of a server that is well");
        }
        assert!(waited <= usual * 2 + OUTAGE_WAIT + LATE, "it waited for {waited:?}");
    }

    fn give_back(&mut self, connection: Connection) {
        let wire = connection.number;
        let (ended, replica) = {
            let server = self.server.borrow();
            (server.wires[wire].ended, server.wires[wire].replica)
        };
        if replica {
            if self.core.doubts(self.now) {
                self.question = Some((connection, self.now + ms(30)));
            }
        } else if ended || self.choices.chance(self.dirty) {
            self.core.note_closed(respgate::internals::telemetry::UpstreamDisconnect::Dirty);
        } else {
            self.core.put(connection, self.now);
        }
    }

    fn upkeep(&mut self) {
        if let Some((connection, _)) = self.question.take_if(|(_, until)| self.now >= *until) {
            let (silent, replica) = {
                let server = self.server.borrow();
                (server.silent, server.wires[connection.number].replica)
            };
            let answer = match (silent, replica) {
                (true, _) => Answer::Nothing,
                (_, true) => Answer::Other,
                (_, false) => Answer::Primary,
            };
            self.core.handle_answer(connection, answer, self.now);
        }
        if self.shared.is_some() || self.node.outage_since().is_some() {
            let mut dial = self.shared.take().unwrap_or_else(|| Dial::Asking(Waiter::default()));
            if self.dial(&mut dial, HOME).is_none() {
                self.shared = Some(dial);
            }
        }
        for _ in 0..60 {
            self.end_checks();
            match std::mem::replace(&mut self.work, Work::Idle) {
                Work::Idle => {
                    let due = self.now >= self.core.poll_timeout() || self.core.is_hurried();
                    if !due && !self.looks {
                        return;
                    }
                    self.looks = true;
                    let may_dial = self.node.is_passable(self.now);
                    match self.core.poll_upkeep(may_dial, self.checks.len(), self.now) {
                        Upkeep::Idle => {
                            self.looks = false;
                            return;
                        }
                        Upkeep::Check(checked) => {
                            let silent = self.server.borrow().silent;
                            let takes = if silent { CONNECT_TIMEOUT } else { TICK };
                            self.checks.push((checked, self.now, self.now + takes));
                        }
                        Upkeep::Dial(key) => {
                            self.fills.push(self.now);
                            self.work = Work::Fills(key, Dial::Asking(Waiter::default()));
                        }
                    }
                }
                Work::Fills(key, mut dial) => match self.dial(&mut dial, key) {
                    None => {
                        self.work = Work::Fills(key, dial);
                        return;
                    }
                    Some(Ok(connection)) => self.core.put(connection, self.now),
                    Some(Err(_)) => {
                        self.core.handle_fill_failed(self.now);
                        self.looks = false;
                    }
                },
            }
        }
        panic!("idle connections are looked at for ever");
    }

    /// Takes the answers of idle connections; each that ends lets the next one be looked at.
    fn end_checks(&mut self) {
        let now = self.now;
        for (checked, asked_at, until) in self.checks.extract_if(.., |(_, _, until)| now >= *until)
        {
            let ended = self.server.borrow().wires[checked.connection.number].ended;
            let alive = !ended && until - asked_at < CONNECT_TIMEOUT;
            self.core.handle_checked(checked, alive, asked_at);
            self.looks = true;
        }
    }

    /// What is true whenever everything that is due was done.
    fn check(&mut self) {
        while self.core.poll_closed().is_some() {}
        let mut granted = HashSet::new();
        while let Some(number) = self.core.poll_granted() {
            granted.insert(number);
        }
        let (mut holds, mut waits, mut taken) = (0, Counts::default(), Counts::default());
        let mut last_granted = [[0; 4]; 5];
        let mut first_waiting = [[u64::MAX; 4]; 5];
        for session in &self.sessions {
            match session {
                Session::Idle(_) => {}
                Session::Claims(claim) => {
                    let (at, holder) = (claim.purpose as usize, claim.holder);
                    if granted.contains(&claim.number) {
                        last_granted[at][holder] = claim.number.max(last_granted[at][holder]);
                    }
                    if claim.dial.is_some() || granted.contains(&claim.number) {
                        taken[at][holder] += 1;
                    } else {
                        waits[at][holder] += 1;
                        first_waiting[at][holder] = claim.number.min(first_waiting[at][holder]);
                    }
                }
                Session::Holds { purpose, holder, .. } => {
                    holds += 1;
                    taken[*purpose as usize][*holder] += 1;
                }
            }
        }
        let (idle, lent) = self.core.sizes();
        assert_eq!(lent, holds, "each that is lent is held");
        self.check_shares(&waits, &taken);
        let granted = last_granted.as_flattened().iter();
        let passed = granted.zip(first_waiting.as_flattened()).any(|(last, first)| last > first);
        assert!(!passed, "one that waits is passed");
        assert!(idle <= self.settings.max_idle, "{idle} are idle");
        let busy = self.checks.len();
        let asked = usize::from(self.question.is_some());
        let open = self.server.borrow().open();
        assert_eq!(open, idle + lent + busy + asked, "no connection is lost from sight");
        self.fills.retain(|at| *at + Duration::from_secs(1) > self.now);
        self.loans.retain(|at| *at + Duration::from_secs(1) > self.now);
        let (fills, loans) = (self.fills.len(), self.loans.len());
        // Each that is lent for another database may move what is kept warm there.
        let most = loans * self.settings.min_idle.max(1) + 16;
        assert!(fills <= most, "{fills} are dialed to be kept warm, {loans} were lent");
    }

    /// No use, user or listener takes what is kept for others, and no user waits for what it may have.
    fn check_shares(&self, waits: &Counts, taken: &Counts) {
        let max = self.settings.max_connections;
        let used: Vec<usize> = taken[..4].iter().map(|of| of.iter().sum()).collect();
        let all = used.iter().sum::<usize>();
        assert!(all <= max, "{all} are taken of {max}");
        let most = most_for_one_use(max);
        let reserve = (max - most) / 3;
        assert!(used.iter().all(|taken| *taken <= most), "one use has too many: {taken:?}");
        let had_by = |same: &dyn Fn(usize) -> bool| -> usize {
            let of_use = |of: &[usize; 4]| {
                (0..4).filter(|holder| same(*holder)).map(|holder| of[holder]).sum::<usize>()
            };
            taken[..4].iter().map(of_use).sum()
        };
        for holder in 0..4 {
            let (user, listener) = HOLDERS[holder];
            let user_has = had_by(&|other| HOLDERS[other].0 == user);
            let listener_has = had_by(&|other| HOLDERS[other].1 == listener);
            let mut leaves = 0;
            if max >= SHARED_OUT_MIN && user.is_some() {
                leaves = user_has.div_ceil(USER_PART);
                let before = user_has.saturating_sub(1).div_ceil(USER_PART);
                assert!(user_has + before <= max, "{user:?} has {user_has} of {max}");
                for of in &taken[..4] {
                    let same = (0..4).filter(|other| HOLDERS[*other].0 == user);
                    let has: usize = same.map(|other| of[other]).sum();
                    let before = has.saturating_sub(1).div_ceil(USER_PART);
                    assert!(has + before <= most, "{user:?} has {has} of {most} for one use");
                }
            }
            if max >= SHARED_OUT_MIN && self.listeners > 1 {
                leaves = leaves.max(listener_has.div_ceil(LISTENER_PART));
                assert!(listener_has < max, "{listener} has all");
            }
            for at in (0..4).filter(|at| waits[*at][holder] > 0) {
                let kept: usize =
                    (0..4).filter(|o| *o != at).map(|o| reserve.saturating_sub(used[o])).sum();
                let why = format!("{:?} of {:?} waits: {taken:?}", USES[at], HOLDERS[holder]);
                assert!(all + kept + leaves >= max, "{why}");
                assert!(leaves > 0 || used[at] >= reserve, "{why}");
            }
        }
        let (release, wait) =
            (taken[4].iter().sum::<usize>(), waits[4].iter().any(|waits| *waits > 0));
        assert!(!wait || release >= 2, "what frees the server waits");
    }

    /// All sessions end what they do, ask once more, and are then at rest.
    pub fn quiet(&mut self) {
        (self.idles, self.holds) = (1 << 40, 1);
        self.pass(ms(4000), false, &mut Replay::default());
        for session in &mut self.sessions {
            if let Session::Idle(until) = session {
                *until = self.now;
            }
        }
        self.pass(ms(1000), false, &mut Replay::default());
        let done = self.sessions.iter().all(|session| matches!(session, Session::Idle(_)));
        assert!(done, "a session still waits");
        self.pass(self.settings.idle_timeout * 3, false, &mut Replay::default());
        while !matches!(self.work, Work::Idle) || !self.checks.is_empty() {
            self.pass(TICK, false, &mut Replay::default());
        }
        let (idle, lent) = self.core.sizes();
        assert_eq!(lent, 0, "a connection is lent to no session");
        assert_eq!(self.node.outage_since(), None, "there is still an outage");
        assert_eq!(idle, self.settings.min_idle, "so many are kept warm");
        assert_eq!(self.under_way, 0, "a connection is still being made");
        self.warm_another_key();
    }

    /// What was asked for last is kept warm, and not dialed again and again.
    fn warm_another_key(&mut self) {
        let number = self.core.claim(KEYS[1], Use::State, holder(0));
        if let Turn::Lend(connection) = self.core.poll_turn(number, KEYS[1]) {
            self.core.handle_left(number);
            self.core.put(connection, self.now);
        } else {
            self.core.handle_left(number);
        }
        self.fills.clear();
        self.pass(ms(1200), false, &mut Replay::default());
        // One that is checked is not lent meanwhile.
        while !self.checks.is_empty() {
            self.pass(TICK, false, &mut Replay::default());
        }
        assert!(self.fills.len() <= self.settings.min_idle, "it is dialed again and again");
        for _ in 0..self.settings.min_idle {
            let number = self.core.claim(KEYS[1], Use::State, holder(0));
            let warm = self.core.poll_turn(number, KEYS[1]);
            assert!(matches!(warm, Turn::Lend(_)), "it is kept warm");
            drop(warm);
            self.core.handle_left(number);
        }
    }

    /// Without loans, none is older than its age and the time between two looks; those made together do not
    /// end together.
    pub fn check_ages(&mut self) {
        self.idles = 1 << 40;
        self.pass(ms(5000), false, &mut Replay::default());
        let max = self.settings.max_age;
        for _ in 0..max.as_millis() * 3 / TICK.as_millis() {
            self.pass(TICK, false, &mut Replay::default());
            let server = self.server.borrow();
            let open = server.wires.iter().filter(|wire| wire.open);
            let oldest = open.map(|wire| self.now - wire.opened_at).max().unwrap_or_default();
            assert!(oldest <= max + max / 4, "{oldest:?} is older than {max:?}");
        }
        assert_eq!(self.core.sizes(), (self.settings.min_idle, 0), "others took their places");
    }

    /// Every session requests a connection, and keeps what it gets.
    pub fn ask_all(&mut self) {
        self.holds = 1 << 40;
        self.idles = 1 << 40;
        for session in &mut self.sessions {
            *session = Session::Idle(self.now);
        }
    }

    /// How many sessions wait for a connection, and are dialed for.
    pub fn waiting(&self) -> (usize, usize) {
        let waits = |session: &&Session| matches!(session, Session::Claims(_));
        (self.sessions.iter().filter(waits).count(), self.under_way)
    }

    /// Within this time every wait ends on a path that is silent.
    pub fn silent_bound(&self) -> Duration {
        self.settings.acquire_timeout.max(CONNECT_TIMEOUT + TICK * 2 + OUTAGE_WAIT) + LATE
    }

    /// All clients disconnect at once.
    pub fn leave_all(&mut self) {
        for session in &mut self.sessions {
            if let Session::Claims(claim) = session {
                claim.gives_up_at = self.now;
            }
        }
    }
}

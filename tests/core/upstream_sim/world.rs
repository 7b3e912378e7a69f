//! respgate's upstream half in make-believe time: what its driver does with sockets and timers is done
//! here with [`Server`] and a number.
//!
//! Owns: [`World`]. Never knows: which accidents happen, what a run must end in.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use respgate::internals::base::backoff::Backoff;
use respgate::internals::telemetry::UpstreamDisconnect;
use respgate::internals::traffic::{Loss, PoolKey, Skips, Ticket, Unavailable};
use respgate::internals::upstream::decisions::{
    ASIDE_MAX, Action, After, Around, Ask, Attempt, BUSY_TICK, Begun, BreakerRules, Carrier,
    ConnectTurn, Connector, Dialed, Ended, Freshness, HOME, Line, Member, MissingDatabases, Next,
    Node, Outcome, Overdue, Owner, Patience, Pipeline, Place, Registry, Relieved, Repeat,
    RetryBudget, Selection, Step, TURN, Timing, Unread, WAIT_TICK, Waiter,
};

use super::dials::Dials;
use super::model::{End, Kind, Model};
use super::name::{Found, Host, Name, Outcome as Connected, Tries};
use super::server::{AUTH, Arrival, Server};
use crate::support::choices::Choices;

const RETRIES: u8 = 2;
pub const KEYS: [PoolKey; 3] =
    [HOME, PoolKey { database: 3, ..HOME }, PoolKey { database: 5, ..HOME }];
/// A session that needs nothing but a connection waits for it this long.
const OPEN_TIME: Duration = Duration::from_secs(2);
const OUT_OF_RANGE: &[u8] = b"ERR DB index is out of range";
/// The longest pause behind an answer that the server does not have the database.
const NO_DATABASE_PAUSE: Duration = Duration::from_secs(1);
/// Unread bytes of a session that reads slowly count so often: fewer have to be simulated.
const UNREAD_WEIGHT: usize = 64;

/// A logical shared connection, as the registry sees it.
#[derive(Debug)]
pub struct Entry {
    /// In [`KEYS`], and in [`World::lives`].
    key: usize,
    at: usize,
    /// Whether it is dialed again when it is lost.
    keep: bool,
    stalled: Cell<bool>,
    is_idle: Cell<bool>,
    unused_since: Cell<Option<Instant>>,
    retired: Cell<bool>,
}

impl Member for Entry {
    fn key(&self) -> PoolKey {
        KEYS[self.key]
    }

    fn number(&self) -> u64 {
        self.at as u64
    }

    fn is_stalled(&self) -> bool {
        self.stalled.get()
    }

    fn is_idle(&self) -> bool {
        self.is_idle.get()
    }

    fn unused_since(&self) -> Option<Instant> {
        self.unused_since.get()
    }

    fn retire(&self) {
        self.retired.set(true);
    }
}

/// An attempt to connect.
#[derive(Debug)]
enum Dial {
    Asking(Asking),
    UnderWay {
        /// What it has begun with, and its number among those that waited for their turn.
        begun: Option<(Begun, u64)>,
        tries: Box<Tries>,
    },
}

/// An attempt that waits for its turn.
#[derive(Debug)]
struct Asking {
    waiter: Waiter,
    /// Once it has asked.
    number: Option<u64>,
    /// The time of its next question, at the latest.
    until: Option<Instant>,
}

impl Dial {
    fn new(key: usize) -> Self {
        let waiter = Waiter::new(KEYS[key].database);
        Self::Asking(Asking { waiter, number: None, until: None })
    }
}

/// What an attempt that waits is answered.
enum Turn {
    Begins(Dial),
    /// Another attempt was answered BUSY meanwhile.
    Busy,
}

#[derive(Clone, Copy, Debug)]
enum Reached {
    Up(usize),
    Busy,
    NoDatabase,
    Failed(Unavailable),
}

/// A connection that is up.
#[derive(Debug)]
pub struct Live {
    pub carrier: Carrier<usize>,
    pub wire: usize,
    opened_at: Instant,
    dialing: Option<Dial>,
    relief: Option<Dial>,
    /// The server has reported that it is no primary: a successor must be one.
    misplaced: bool,
    /// Requests that complete others and were refused for good with what was read last.
    denied: Vec<Vec<u8>>,
    /// All that was written ends with a whole line.
    whole: bool,
    /// The kernel takes nothing more for the moment.
    blocked: bool,
}

/// One logical shared connection.
#[derive(Debug)]
pub struct Life {
    entry: Rc<Entry>,
    pub line: Line<usize>,
    pub live: Option<Live>,
    connector: Connector,
    dial: Option<Dial>,
    /// When the connector is asked again, at the latest.
    look_at: Option<Instant>,
    /// When the server replied that it cannot serve this line now.
    answered: Option<Instant>,
    /// How often in a row the server refused SELECT, since it does not have the database.
    refusals: u32,
    /// When a request was put in line last.
    used_at: Instant,
    /// Since when sessions wait for a connection and ask nothing of it: SELECT, HELLO.
    openers: Vec<Instant>,
}

impl Life {
    /// How long it is not dialed for behind an answer of the server.
    fn longest_pause(&self) -> Duration {
        (WAIT_TICK * 2_u32.pow(self.refusals.saturating_sub(1).min(8))).min(NO_DATABASE_PAUSE)
    }

    /// Another one takes everything new.
    pub fn is_aside(&self) -> bool {
        self.entry.retired.get()
    }
}

#[derive(Debug)]
pub struct World {
    pub now: Instant,
    pub timing: Timing,
    pub patience: Patience,
    pub node: Node,
    dials: Dials,
    /// The addresses of the server.
    pub name: Name,
    /// At most so many connections are made at once, and so many are.
    handshakes_max: usize,
    under_way: usize,
    /// Attempts that wait, in their order, and whether they select a database: those that count, and those beside a
    /// connection that is up.
    waiting: [BTreeSet<(u64, bool)>; 2],
    attempts_asked: u64,
    /// An attempt has ended: another one may begin.
    freed: bool,
    /// Since when there is no accident.
    pub calm_since: Option<Instant>,
    retries: RetryBudget,
    pub server: Server,
    pub model: Model,
    /// Requests whose replies have come, although no session may wait for them any more.
    pub replied: HashSet<Vec<u8>>,
    /// The connections; those that have ended are `None`.
    pub lives: Vec<Option<Box<Life>>>,
    registry: Registry<Entry>,
    missing: MissingDatabases,
    /// Of each session: its key, and what carries its requests.
    places: Vec<(usize, Option<usize>)>,
    /// Sessions go to other databases at times.
    pub wanders: bool,
    /// With so many unread bytes a session is full.
    pub full_bytes: usize,
    /// One of so many writes is completed by another request; 0: none is.
    pub completes: usize,
    pub generation: u64,
    /// The password in force.
    pub password: u64,
    /// When attempts to dial the server ended, relief apart; those to which it answered that it has no such database
    /// have a pause of their own.
    pub attempts: Vec<Instant>,
    /// Each login includes the question for the user of the certificate.
    names_user: bool,
    /// How often the server was dialed for a database that it does not have.
    pub refused: usize,
    /// Connections that reported that they are silent.
    pub silent: i64,
    /// How often sessions asked for a connection alone, and how often there was one.
    pub asked: usize,
    pub opened: usize,
    chance: Choices,
    pub loud: bool,
}

impl World {
    pub fn new(
        now: Instant,
        timing: Timing,
        patience: Patience,
        sessions: usize,
        registry: Registry<Entry>,
        mut chance: Choices,
    ) -> Self {
        let backoff = Backoff {
            initial: Duration::from_millis(50),
            multiplier: 2.0,
            cap: Duration::from_secs(1),
        };
        let rules = BreakerRules {
            backoff,
            failures: *chance.pick(&[1, 1, 3]),
            open_time: Duration::from_millis(*chance.pick(&[0, 0, 700])),
        };
        let handshakes_max = *chance.pick(&[1, 2, 8]);
        let mut world = Self {
            now,
            timing,
            patience,
            node: Node::new(rules, handshakes_max),
            dials: Dials::new(rules),
            name: Name::alone(),
            handshakes_max,
            under_way: 0,
            waiting: Default::default(),
            attempts_asked: 0,
            freed: false,
            calm_since: None,
            retries: RetryBudget::new(RETRIES, *chance.pick(&[0.0, 0.2]), now),
            server: Server::new(Duration::from_micros(300)),
            model: Model::default(),
            replied: HashSet::new(),
            lives: Vec::new(),
            registry,
            missing: MissingDatabases::default(),
            places: (0..sessions).map(|at| (usize::from(at % 3 == 0), None)).collect(),
            wanders: false,
            full_bytes: usize::MAX,
            completes: 0,
            generation: 1,
            password: 1,
            attempts: Vec::new(),
            names_user: chance.chance(30),
            refused: 0,
            silent: 0,
            asked: 0,
            opened: 0,
            chance,
            loud: false,
        };
        world.model.sessions.resize_with(sessions, Vec::new);
        world.place(0);
        world
    }

    fn log(&self, text: impl FnOnce() -> String) {
        if self.loud {
            eprintln!("{:>12?} {}", self.now, text());
        }
    }

    fn begin(&mut self, key: usize, keep: bool, closing: bool) -> Rc<Entry> {
        let mut line = Line::new(KEYS[key].protocol, keep);
        line.closing = closing;
        let at = self.lives.len();
        let flag = || Cell::new(false);
        let (stalled, is_idle, retired) = (flag(), flag(), flag());
        let unused_since = Cell::new(None);
        let entry = Rc::new(Entry { key, at, keep, stalled, is_idle, unused_since, retired });
        self.lives.push(Some(Box::new(Life {
            entry: Rc::clone(&entry),
            line,
            live: None,
            connector: Connector::default(),
            dial: None,
            look_at: None,
            answered: None,
            refusals: 0,
            used_at: self.now,
            openers: Vec::new(),
        })));
        entry
    }

    /// What a session gets that has no connection of a key.
    fn place(&mut self, key: usize) -> Option<usize> {
        for life in self.lives.iter().flatten() {
            let line = &life.line;
            let asked = !life.openers.is_empty();
            life.entry.is_idle.set(!line.is_up() && !line.is_wanted(asked));
            let unused = !life.entry.keep && !asked && line.pipeline.is_empty();
            life.entry.unused_since.set(unused.then_some(life.used_at));
        }
        let place = self.registry.place(KEYS[key], self.now);
        self.note_left();
        match place {
            Place::Known(entry) => Some(entry.at),
            Place::New { first } => {
                let entry = self.begin(key, first && key == 0, false);
                self.registry.insert(&entry);
                Some(entry.at)
            }
            Place::Full => None,
        }
    }

    /// A connection that the registry has retired ends with its last reply.
    fn note_left(&mut self) {
        for life in self.lives.iter_mut().flatten() {
            life.line.closing |= life.is_aside();
        }
    }

    /// The first one that carries what is new of a key.
    pub fn current(&self, key: usize) -> &Life {
        let at = self.registry.of(KEYS[key])[0].at;
        self.lives[at].as_ref().unwrap()
    }

    /// All that carry what is new of a key, and are up.
    pub fn up_of(&self, key: usize) -> usize {
        let all = self.registry.of(KEYS[key]);
        let up = |entry: &&Rc<Entry>| {
            self.lives[entry.at].as_ref().is_some_and(|life| life.line.is_up())
        };
        all.iter().filter(up).count()
    }

    /// How many answer their outstanding requests and take no new ones.
    pub fn asides(&self) -> usize {
        self.lives.iter().flatten().filter(|life| life.is_aside()).count()
    }

    /// A session sends a request, if it may: what is in flight on a connection that was set aside comes first.
    pub fn ask(&mut self, session: usize, kind: Kind) {
        let place = self.places[session].1;
        let mut at = place.filter(|at| self.lives[*at].as_ref().is_some_and(|it| !it.is_aside()));
        if at.is_none() && self.model.in_flight(session) > 0 {
            return;
        }
        if self.wanders && self.model.in_flight(session) == 0 && self.chance.below(30) == 0 {
            self.places[session].0 = self.chance.below(KEYS.len());
            at = None;
        }
        let key = self.places[session].0;
        if kind.writes()
            && self.model.in_flight(session) == 0
            && let Some(lane) = self.registry.lane(KEYS[key])
        {
            at = Some(lane.at);
            let live = self.lives[lane.at].as_ref().and_then(|life| life.live.as_ref());
            let half = live.is_some_and(|live| self.server.wires[live.wire].half);
            assert!(!half, "a write is put behind half a reply");
        }
        let at = at.or_else(|| self.place(key));
        self.places[session].1 = at;
        let ticket = self.model.ask(session, kind, self.now);
        self.retries.note_sent(1, self.now);
        self.log(|| format!("{session}:{ticket} {kind:?} on {at:?}"));
        let Some(life) = at.map(|at| self.lives[at].as_mut().unwrap()) else {
            let loss = Loss::Unavailable(Unavailable::Exhausted);
            return self.model.lose(session, ticket, loss, self.now);
        };
        if !life.line.is_up() {
            let (outage, passable) = (self.node.outage_since(), self.node.is_passable(self.now));
            if life.line.refuses(self.patience, outage, passable, self.now) {
                let loss = Loss::Unavailable(self.node.last_failure());
                return self.model.lose(session, ticket, loss, self.now);
            }
            self.node.note_waiting(1);
        }
        life.used_at = self.now;
        let none = Skips::ahead(0);
        let (bytes, skips) = match kind {
            Kind::Read => (format!("R {session} {ticket}\n"), none),
            Kind::Write => (format!("W {session} {ticket}\n"), none),
            Kind::Slow(time) => (format!("S {session} {ticket} {time}\n"), none),
            Kind::Error => (format!("E {session} {ticket}\n"), none),
            Kind::Large => (format!("L {session} {ticket}\n"), none),
            Kind::Companion => panic!("it is asked with its write"),
            Kind::Block => (
                format!("M {session} {ticket}\nB {session} {ticket}\nX {session} {ticket}\n"),
                Skips::of_transaction(2),
            ),
        };
        let (pipeline, retries) = (&mut life.line.pipeline, kind.retries());
        pipeline.push(
            Owner::Session(session),
            Ticket(ticket),
            bytes.as_bytes(),
            skips,
            retries,
            self.now,
        );
        if kind == Kind::Write && self.completes > 0 && self.chance.below(self.completes) == 0 {
            let ticket = self.model.ask(session, Kind::Companion, self.now);
            let bytes = format!("C {session} {ticket}\n");
            let owner = Owner::Session(session);
            pipeline.push(owner, Ticket(ticket), bytes.as_bytes(), none, true, self.now);
            pipeline.note_companion();
        }
    }

    /// A session opens a connection of this key, unless there is no place for it, and sends nothing.
    pub fn open(&mut self, key: usize) {
        let known = !self.registry.of(KEYS[key]).is_empty();
        if !known && self.missing.poll(KEYS[key].database, self.now) != Selection::Dial {
            return;
        }
        let Some(at) = self.place(key) else { return };
        let life = self.lives[at].as_mut().unwrap();
        self.asked += 1;
        if life.line.is_up() {
            self.opened += 1;
        } else {
            life.openers.push(self.now);
        }
    }

    /// The task that serves a line has panicked.
    pub fn crash(&mut self, which: usize) {
        let alive: Vec<usize> =
            (0..self.lives.len()).filter(|at| self.lives[*at].is_some()).collect();
        let at = alive[which % alive.len()];
        let mut life = self.lives[at].take().unwrap();
        let live = life.live.as_mut();
        let dials = live.map(|live| [live.dialing.take(), live.relief.take()]);
        let dials = dials.into_iter().flatten().flatten();
        dials.chain(life.dial.take()).for_each(|dial| self.cancel(dial));
        if let Some(live) = life.live.take() {
            if live.carrier.is_silent() {
                self.node.handle_silence(false);
                self.silent -= 1;
            }
            life.entry.stalled.set(false);
            self.server.close(live.wire, true);
        }
        life.connector = Connector::default();
        (life.look_at, life.answered, life.refusals) = (None, None, 0);
        life.openers.clear();
        let lost = life.line.handle_defect(self.now);
        lost.completions().for_each(|request| self.model.note_given_up(request));
        self.log(|| format!("{at} panics, {} in line", lost.len()));
        for (owner, ticket, loss) in lost.into_losses() {
            if let Some(session) = owner.into_session() {
                self.model.lose(session, ticket.0, loss, self.now);
            }
        }
        let entropy = self.draw();
        self.dials.died(false, Duration::ZERO, self.now);
        self.node.handle_connection_lost(false, self.now, self.now, entropy);
        self.lives[at] = Some(life);
    }

    /// Retires all connections, as a new certificate or password does.
    pub fn rotate(&mut self) {
        self.generation += 1;
        for life in self.lives.iter_mut().flatten() {
            life.line.retire = true;
        }
    }

    /// Retires all connections, as a new password alone does.
    pub fn change_password(&mut self) {
        self.password += 1;
        for life in self.lives.iter_mut().flatten() {
            life.line.retire = true;
        }
    }

    /// Compares what the server has executed with what the sessions have received.
    pub fn check_executions(&self) {
        self.model.check_executions(&self.server.executed, &self.replied);
    }

    /// Every connection that is up has the identity and the password in force.
    pub fn check_freshness(&self) {
        for live in self.lives.iter().flatten().filter_map(|life| life.live.as_ref()) {
            assert_eq!(self.freshness(live.wire), Freshness::Current, "wire {}", live.wire);
        }
    }

    fn freshness(&self, wire: usize) -> Freshness {
        let wire = &self.server.wires[wire];
        if wire.generation != self.generation {
            Freshness::Outdated
        } else if wire.password == self.password {
            Freshness::Current
        } else {
            Freshness::NewPassword
        }
    }

    /// The time of the next thing that happens of itself.
    pub fn next(&self) -> Instant {
        let lives = self.lives.iter().flatten();
        let own = lives.flat_map(|life| {
            let live = life.live.as_ref();
            let at = |dial: &Dial| match dial {
                Dial::Asking(asking) => asking.until,
                Dial::UnderWay { tries, .. } => Some(tries.next()),
            };
            [
                live.map(|live| live.carrier.poll_timeout()),
                live.and_then(|live| live.dialing.as_ref()).and_then(at),
                live.and_then(|live| live.relief.as_ref()).and_then(at),
                life.dial.as_ref().and_then(at),
                life.look_at.filter(|_| life.live.is_none()),
            ]
        });
        let next = own.flatten().chain(self.server.next()).min();
        let least = self.now + Duration::from_micros(100);
        next.unwrap_or(self.now + Duration::from_secs(1)).max(least)
    }

    /// Does everything that is due.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            self.server.advance(self.now);
            let mut progress = false;
            for at in 0..self.lives.len() {
                let Some(mut life) = self.lives[at].take() else { continue };
                let (moved, done) = if life.live.is_some() {
                    self.serve(at, &mut life)
                } else {
                    self.connect(at, &mut life)
                };
                progress |= moved;
                if done {
                    self.log(|| format!("{at} is done"));
                    self.registry.forget(&life.entry);
                } else {
                    self.lives[at] = Some(life);
                }
            }
            if !progress && !std::mem::take(&mut self.freed) {
                return self.check();
            }
        }
        panic!("the world does not come to rest");
    }

    /// What holds whenever nothing is due.
    fn check(&self) {
        for (at, life) in self.lives.iter().enumerate() {
            let Some(life) = life else { continue };
            let waits = !life.line.pipeline.is_empty();
            let dials = [&life.dial, life.live.as_ref().map_or(&None, |live| &live.dialing)];
            let is_free = self.under_way < self.handshakes_max;
            if is_free && dials.into_iter().flatten().any(|dial| matches!(dial, Dial::Asking(..))) {
                self.dials.check_waiting(life.entry.key > 0, self.now);
            }
            let both = |live: &Live| live.dialing.is_some() && live.relief.is_some();
            assert!(!life.live.as_ref().is_some_and(both), "{at} is dialed for twice");
            let relief = life.live.as_ref().and_then(|live| live.relief.as_ref());
            let waits_for_relief = matches!(relief, Some(Dial::Asking(..)));
            assert!(!is_free || !waits_for_relief, "{at} is not relieved although it may be");
            let mut known = self.registry.of(life.entry.key()).into_iter();
            let known = known.any(|entry| Rc::ptr_eq(&entry, &life.entry));
            assert!(life.is_aside() != known, "{at} is not registered, or takes new requests");
            assert_eq!(life.line.is_up(), life.live.is_some());
            if let Some(live) = &life.live {
                let timer = live.carrier.poll_timeout();
                let longest = if waits { BUSY_TICK * 2 } else { self.timing.health_check_interval };
                assert!(timer > self.now && timer <= self.now + longest, "{at} has no clock");
                assert!(live.carrier.ended().is_none(), "{at} has ended and is still there");
            } else if waits || !life.openers.is_empty() {
                let look_at = life.look_at.expect("what waits is looked at");
                assert!(look_at <= self.now + WAIT_TICK, "{at} is not looked at");
                let pauses =
                    life.answered.is_some_and(|then| self.now < then + life.longest_pause());
                assert!(life.dial.is_some() || pauses, "{at} is not dialed for what waits");
            }
        }
        assert!(self.silent >= 0, "more speak again than were silent");
        // What waits longest: through an outage, on a connection, and that as often as it is sent.
        let once = self.patience.wait + self.timing.command_timeout;
        let silence = self.timing.stall_timeout + self.timing.connect_timeout;
        self.model.check_deadlines(self.now, (once + silence) * 4);
    }

    /// A line without a connection. Returns whether anything has happened, and whether it is done.
    fn connect(&mut self, at: usize, life: &mut Life) -> (bool, bool) {
        let mut progress = false;
        life.openers.retain(|since| self.now < *since + OPEN_TIME);
        for _ in 0..8 {
            let Life { connector, line, openers, .. } = &mut *life;
            match connector.poll(line, !openers.is_empty(), self.patience, self.now) {
                ConnectTurn::Done => {
                    assert!(life.dial.is_none(), "{at} is dialed for, and done");
                    return (true, true);
                }
                ConnectTurn::Dial => {
                    assert!(life.dial.is_none(), "{at} is dialed for already");
                    life.dial = Some(Dial::new(life.entry.key));
                    let over = |then| self.now >= then + life.longest_pause() + NO_DATABASE_PAUSE;
                    if life.answered.is_some_and(over) {
                        life.refusals = 0;
                    }
                }
                ConnectTurn::Cancel => {
                    let dial = life.dial.take().expect("only what was begun ends");
                    self.cancel(dial);
                }
                ConnectTurn::GiveUp(overdue) => self.give_up(at, life, Some(overdue)),
                ConnectTurn::Wait(until) => {
                    life.look_at = until;
                    let Some(mut dial) = life.dial.take() else { return (progress, false) };
                    let Some(reached) = self.dial(&mut dial, life.entry.key, true) else {
                        life.dial = Some(dial);
                        return (progress, false);
                    };
                    progress = true;
                    self.connected(at, life, reached);
                    if life.live.is_some() {
                        return (true, false);
                    }
                }
            }
        }
        panic!("{at} is asked what to do again and again");
    }

    /// The server was dialed for a line.
    fn connected(&mut self, at: usize, life: &mut Life, reached: Reached) {
        let outcome = match reached {
            Reached::Up(_) => Outcome::Up,
            Reached::Busy => Outcome::Busy,
            Reached::NoDatabase => Outcome::NoDatabase,
            Reached::Failed(_) => Outcome::Failed,
        };
        self.refused += usize::from(outcome == Outcome::NoDatabase);
        let after = life.connector.handle_dialed(&mut life.line, outcome, self.now);
        if matches!(after, After::Answer | After::Refuse) {
            let pauses = life.answered.is_some_and(|then| self.now < then + life.longest_pause());
            assert!(!pauses, "{at} is dialed for again without a pause");
            let refused = after == After::Refuse;
            life.refusals = if refused { life.refusals + 1 } else { 0 };
            life.answered = Some(self.now);
        } else {
            life.refusals = 0;
        }
        match outcome {
            Outcome::Up => {
                self.opened += std::mem::take(&mut life.openers).len();
                self.missing.handle_found(KEYS[life.entry.key].database);
            }
            Outcome::NoDatabase if !life.openers.is_empty() => {
                let database = KEYS[life.entry.key].database;
                self.missing.handle_refused(database, OUT_OF_RANGE, self.now);
                life.openers.clear();
                self.registry.remove(KEYS[life.entry.key]);
                life.line.closing |= life.is_aside();
                self.note_left();
            }
            Outcome::NoDatabase | Outcome::Busy | Outcome::Failed => {}
        }
        match (after, reached) {
            (After::Serve, Reached::Up(wire)) => self.up(at, life, wire),
            (After::Answer, _) => {
                let waiting = life.line.pipeline.take_waiting();
                self.answer_all(waiting);
            }
            (After::Refuse, _) => self.give_up(at, life, None),
            (after, _) => assert_eq!(after, After::Nothing, "{at} serves without a connection"),
        }
    }

    /// `None`: the server does not have the database.
    fn give_up(&mut self, at: usize, life: &mut Life, overdue: Option<Overdue>) {
        self.log(|| format!("{at} gives up {overdue:?}"));
        let ends = life.line.closing || overdue.is_none();
        let Self { model, node, now, .. } = self;
        let report = |owner: &Owner<usize>, ticket: Ticket, request: &[u8]| {
            assert!(ends || !owner.is_completion(), "what completes a write is given up");
            if ends {
                model.note_given_up(request);
            }
            if let Some(session) = owner.session() {
                let loss = Loss::Unavailable(node.last_failure());
                model.lose(*session, ticket.0, loss, *now);
            }
        };
        match overdue {
            Some(overdue) => life.line.give_up(overdue, report),
            None => life.line.refuse(report),
        };
    }

    fn up(&self, at: usize, life: &mut Life, wire: usize) {
        self.log(|| format!("{at} is up on {wire}"));
        life.line.handle_up(self.now, |_| false, |_, _, _, _| {});
        life.live = Some(Live {
            carrier: Carrier::new(self.timing, KEYS[life.entry.key], self.now),
            wire,
            opened_at: self.now,
            dialing: None,
            relief: None,
            misplaced: false,
            denied: Vec::new(),
            whole: true,
            blocked: false,
        });
    }

    fn cancel(&mut self, dial: Dial) {
        self.freed = true;
        match dial {
            Dial::Asking(asking) => self.leave(asking),
            Dial::UnderWay { begun, .. } => {
                self.under_way -= 1;
                if let Some((begun, number)) = begun {
                    self.attempts.push(self.now);
                    self.dials.cancelled(number, self.now);
                    self.node.handle_cancelled(begun, self.now);
                } else {
                    self.node.handle_ended_beside();
                }
            }
        }
    }

    fn leave(&mut self, mut asking: Asking) {
        let number = asking.number.unwrap_or(u64::MAX);
        self.waiting.iter_mut().for_each(|waiting| waiting.retain(|(other, _)| *other != number));
        self.node.handle_left(&mut asking.waiter, self.now);
    }

    /// An attempt has its turn, or takes its place among those that wait.
    fn begin_dial(&mut self, asking: &mut Asking, selects: bool, turns: bool) -> Option<Turn> {
        let number = *asking.number.get_or_insert_with(|| {
            self.attempts_asked += 1;
            self.waiting[usize::from(!turns)].insert((self.attempts_asked, selects));
            self.attempts_asked
        });
        // Those of the other kind may be held while the server is busy, and are passed over.
        let held = turns && self.dials.is_busy(!selects);
        let begun = if turns {
            match self.node.ask(&mut asking.waiter, self.now) {
                Ask::Dial(begun) => Some((begun, self.dials.begin(selects, self.now))),
                Ask::Wait(until) => {
                    asking.until = until;
                    return None;
                }
                Ask::Busy => return Some(Turn::Busy),
            }
        } else if self.node.ask_beside(&mut asking.waiter) {
            None
        } else {
            return None;
        };
        let places = self.handshakes_max.saturating_sub(self.under_way);
        let free = |waiting: &&(u64, bool)| waiting.1 == selects || !held;
        let mut first = self.waiting[usize::from(!turns)].iter().filter(free).take(places);
        assert!(first.any(|first| first.0 == number), "others have waited for longer");
        self.waiting.iter_mut().for_each(|waiting| waiting.retain(|(other, _)| *other != number));
        self.under_way += 1;
        assert!(self.under_way <= self.handshakes_max, "{} connections are made", self.under_way);
        // Others that have asked before it may be answered otherwise now.
        self.freed = true;
        let tries = Tries::begin(&self.name, self.timing.connect_timeout, self.now);
        Some(Turn::Begins(Dial::UnderWay { begun, tries: Box::new(tries) }))
    }

    /// Goes on with an attempt to connect; with `turns` it waits for its turn and counts.
    fn dial(&mut self, dial: &mut Dial, key: usize, turns: bool) -> Option<Reached> {
        if let Dial::Asking(asking) = dial {
            match self.begin_dial(asking, key > 0, turns)? {
                Turn::Begins(begun) => *dial = begun,
                Turn::Busy => {
                    let Dial::Asking(asking) = std::mem::replace(dial, Dial::new(key)) else {
                        panic!("it waits")
                    };
                    self.leave(asking);
                    self.freed = true;
                    return Some(Reached::Busy);
                }
            }
        }
        let Dial::UnderWay { begun, tries } = dial else { return None };
        let Self { server, name, now, .. } = self;
        // The first database needs no SELECT; the question for the user of the certificate is refused, too.
        let busy = server.busy_with_script && (key > 0 || !turns || self.names_user);
        let no_database = server.lacks_database && key > 0;
        let look = |host: Host| match host {
            Host::Silent => Found::Silence,
            Host::Refuses => Found::Failure(Unavailable::Connect),
            _ if server.path_is_dead => Found::Silence,
            Host::Replica if server.password_is_wrong => Found::Failure(Unavailable::Auth),
            Host::Replica => Found::Up { primary: false },
            Host::Primary if server.is_silent() => Found::Silence,
            Host::Primary if server.refuses => Found::Failure(Unavailable::Connect),
            Host::Primary if server.password_is_wrong => Found::Failure(Unavailable::Auth),
            Host::Primary if server.loading => Found::Failure(Unavailable::Loading),
            Host::Primary if busy || no_database => Found::Refusal,
            Host::Primary => Found::Up { primary: !server.replica },
        };
        let connected = tries.poll(name, *now, server.latency * 6, look)?;
        tries.check_time(*now);
        let calm = self.calm_since.is_some_and(|since| since <= tries.begun());
        let primary = connected == Connected::Up { primary: true };
        assert!(primary || !calm, "the primary is not found: {connected:?} {:?}", self.name);
        (self.under_way, self.freed) = (self.under_way - 1, true);
        let dialed = match connected {
            Connected::Failed(why) => Reached::Failed(why),
            Connected::Refused if busy => Reached::Busy,
            Connected::Refused => Reached::NoDatabase,
            Connected::Up { primary } => {
                Reached::Up(self.server.accept(self.generation, self.password, !primary))
            }
        };
        if let Some((begun, number)) = *begun {
            match dialed {
                Reached::Failed(_) => self.dials.failed(number, self.now),
                Reached::Busy => self.dials.refused(number, key > 0, self.now),
                Reached::Up(_) | Reached::NoDatabase => self.dials.connected(number, key > 0),
            }
            if !matches!(dialed, Reached::NoDatabase) {
                self.attempts.push(self.now);
            }
            let attempt = match dialed {
                Reached::Up(_) => Attempt::Up,
                Reached::Busy => Attempt::Busy,
                Reached::NoDatabase => Attempt::NoDatabase,
                Reached::Failed(why) => Attempt::Failed(why),
            };
            let entropy = self.draw();
            self.node.handle_dialed(begun, attempt, self.now, entropy);
        } else {
            self.node.handle_ended_beside();
        }
        self.log(|| format!("dialed: {dialed:?}"));
        Some(dialed)
    }

    fn draw(&mut self) -> u64 {
        (self.chance.below(1 << 30) as u64) << 34
    }

    /// A line with a connection. Returns whether anything has happened, and whether it is done.
    fn serve(&mut self, at: usize, life: &mut Life) -> (bool, bool) {
        let mut progress = false;
        for step in TURN {
            progress |= match step {
                Step::Read => self.read(at, life),
                Step::Flush if life.live.as_ref().is_some_and(|live| live.blocked) => {
                    self.write(life)
                }
                Step::Flush => false,
                Step::Time => self.look_at_time(life),
                Step::Succeed => self.replace(life),
                Step::Relieve => self.relieve(at, life),
                Step::Look => {
                    self.carry_detached(life);
                    let Life { line, live, .. } = &mut *life;
                    if let Some(live) = live {
                        let (freshness, now) = (self.freshness(live.wire), self.now);
                        live.carrier.handle_turn(line, || freshness, || now);
                    }
                    false
                }
            };
            self.act(at, life);
        }
        progress |= self.write(life);
        // A driver whose connection has just asked for another one looks at it at once.
        let is_free = self.under_way < self.handshakes_max;
        let passable = self.node.is_passable(self.now);
        let is_asking = |dial: &Option<Dial>| {
            is_free && matches!(dial, Some(Dial::Asking(Asking { number: None, .. })))
        };
        progress |= life
            .live
            .as_ref()
            .is_some_and(|live| is_asking(&live.relief) || (passable && is_asking(&live.dialing)));
        let Some(ended) = life.live.as_ref().and_then(|live| live.carrier.ended()) else {
            return (progress, false);
        };
        (true, self.end(at, life, ended))
    }

    fn look_at_time(&mut self, life: &mut Life) -> bool {
        let (aside, room) = (life.is_aside(), self.registry.has_room());
        let Life { line, live, .. } = life;
        let Some(live) = live.as_mut().filter(|live| live.carrier.poll_timeout() <= self.now)
        else {
            return false;
        };
        if live.carrier.ended().is_some() {
            return false;
        }
        let around = Around { aside, room, freshness: self.freshness(live.wire) };
        let Self { model, now, .. } = self;
        live.carrier.handle_timeout(
            line,
            around,
            *now,
            |_| false,
            |session, ticket, loss, _| model.lose(*session, ticket.0, loss, *now),
        );
        true
    }

    fn read(&mut self, at: usize, life: &mut Life) -> bool {
        let mut progress = false;
        while let Some(live) = life.live.as_mut().filter(|live| live.carrier.ended().is_none()) {
            let Self { model, now, .. } = self;
            let full = self.full_bytes;
            let unread = |session: &usize| {
                let bytes = model.unread(*session) * UNREAD_WEIGHT;
                Unread { bytes, is_full: bytes >= full }
            };
            let same = |one: &usize, other: &usize| one == other;
            let slow = live.carrier.poll_reader(&life.line, unread, same, || *now);
            if slow.is_some() {
                self.act(at, life);
            }
            if slow == Some(true) {
                break;
            }
            if slow == Some(false) && life.is_aside() && self.registry.has_room() {
                life.line.detach_reader(|session| *session);
            }
            let Some(live) = &mut life.live else { break };
            let Some(arrival) = self.server.read(live.wire, self.now) else { break };
            progress = true;
            let Self { model, server, replied, now, .. } = self;
            live.denied.clear();
            match arrival {
                Arrival::End => live.carrier.handle_closed(UpstreamDisconnect::Eof),
                Arrival::Bytes(bytes) => {
                    let (line, denied) = (&mut life.line, &mut live.denied);
                    let _ = live.carrier.handle_bytes(
                        line,
                        &bytes,
                        *now,
                        Some(&mut |it| {
                            replied.insert(it.request.to_vec());
                            denied.extend(server.denied.get(it.request).cloned());
                        }),
                        |session, delivery, _| {
                            let ticket = delivery.ticket.0;
                            if delivery.skipped {
                            } else if !delivery.refused {
                                model.receive(
                                    *session,
                                    ticket,
                                    delivery.bytes,
                                    delivery.done,
                                    *now,
                                );
                            } else if delivery.done {
                                model.lose(*session, ticket, Loss::MultiRefused, *now);
                            }
                        },
                    );
                }
            }
            self.act(at, life);
        }
        progress
    }

    fn write(&mut self, life: &mut Life) -> bool {
        let Some(live) = &mut life.live else { return false };
        let mut wrote = false;
        live.blocked = false;
        loop {
            let due = live.carrier.poll_write(&life.line);
            if due.is_empty() {
                break;
            }
            let new = live.whole && b"RWSEMLC".contains(&due[0]);
            let takes_none = live.carrier.is_silent() || live.carrier.has_successor();
            assert!(
                !(new && takes_none),
                "a new request is written on a connection that takes none"
            );
            let count = self.server.write(live.wire, due, self.now);
            live.whole = count.checked_sub(1).map_or(live.whole, |last| due[last] == b'\n');
            if count == 0 {
                live.blocked = true;
                break;
            }
            life.line.pipeline.wrote(count);
            wrote = true;
        }
        if wrote || live.blocked {
            live.carrier.handle_written(|| self.now);
        }
        wrote
    }

    fn act(&mut self, at: usize, life: &mut Life) {
        while let Some(live) = &mut life.live {
            let Some(action) = live.carrier.poll_action(&mut life.line) else { return };
            self.log(|| format!("{at} {action:?}"));
            match action {
                Action::DialSuccessor => live.dialing = Some(Dial::new(life.entry.key)),
                Action::LogIn => {
                    let request = [AUTH, self.password.to_string().as_bytes(), b"!"].concat();
                    live.carrier.push_login(&mut life.line, &request, self.now);
                }
                Action::LoggedIn(accepted) => {
                    self.server.wires[live.wire].check_login(accepted);
                }
                Action::DialRelief => {
                    assert!(
                        !life.entry.retired.get(),
                        "{at} was set aside: another one carries everything new"
                    );
                    live.relief = Some(Dial::new(life.entry.key));
                }
                Action::DropRelief => {
                    live.relief.take().into_iter().for_each(|dial| self.cancel(dial));
                }
                Action::MoveOver => {
                    let (aside, room) = (life.entry.retired.get(), self.registry.has_room());
                    let line = &mut life.line;
                    let moved = live.carrier.move_over(line, aside, room, |session| *session);
                    if let Some((moved, wire)) = moved {
                        self.hand_over(at, life, moved, wire);
                    }
                }
                Action::StepAside => self.step_aside(life),
                Action::Silent(silent) => {
                    self.node.handle_silence(silent);
                    self.silent += if silent { 1 } else { -1 };
                }
                Action::Stalled(stalled) => life.entry.stalled.set(stalled),
                Action::Proven => {
                    self.dials.proven();
                    self.node.handle_proven(self.now);
                }
                Action::HealthCheck(true) => {
                    self.server.wires[live.wire].check_sign_of_life();
                    self.node.handle_alive(self.now);
                }
                Action::Misplaced => live.misplaced = true,
                Action::NotCompleted => {
                    assert!(!live.denied.is_empty(), "what is refused for a while is given up");
                    let Self { model, .. } = self;
                    live.denied.drain(..).for_each(|request| model.note_given_up(&request));
                }
                Action::HealthCheck(false) => {}
                Action::End(_) => panic!("the carrier keeps its end"),
            }
        }
    }

    fn replace(&mut self, life: &mut Life) -> bool {
        let Some(live) = life.live.as_mut().filter(|live| live.carrier.ended().is_none()) else {
            return false;
        };
        let Some(mut dial) = live.dialing.take() else { return false };
        let Some(outcome) = self.dial(&mut dial, life.entry.key, true) else {
            live.dialing = Some(dial);
            return false;
        };
        let misplaced = std::mem::take(&mut live.misplaced);
        let primary = matches!(outcome, Reached::Up(wire) if !self.server.wires[wire].replica);
        let unneeded = live.carrier.handle_successor(self.dialed(outcome), self.now);
        assert!(
            primary || !misplaced || !live.carrier.has_successor(),
            "a replica takes the place of a replica"
        );
        if let Some(wire) = unneeded {
            self.server.close(wire, false);
        }
        true
    }

    /// In the words of the carrier.
    fn dialed(&self, outcome: Reached) -> Dialed<usize> {
        match outcome {
            Reached::Up(link) => Dialed::Up { link, primary: !self.server.wires[link].replica },
            Reached::Busy => Dialed::Busy,
            Reached::NoDatabase | Reached::Failed(_) => Dialed::Failed,
        }
    }

    fn relieve(&mut self, at: usize, life: &mut Life) -> bool {
        self.answer_busy(life);
        let Some(live) = life.live.as_mut().filter(|live| live.carrier.ended().is_none()) else {
            return false;
        };
        let Some(mut dial) = live.relief.take() else { return false };
        let Some(outcome) = self.dial(&mut dial, life.entry.key, false) else {
            live.relief = Some(dial);
            return false;
        };
        let (dialed, room) = (self.dialed(outcome), self.registry.has_room());
        let (aside, line) = (life.entry.retired.get(), &mut life.line);
        let relieved =
            live.carrier.handle_relief(line, dialed, aside, room, |session| *session, self.now);
        self.act(at, life);
        match relieved {
            Relieved::HandOver(moved, wire) => self.hand_over(at, life, *moved, wire),
            Relieved::Unneeded(wire) => {
                wire.into_iter().for_each(|wire| self.server.close(wire, false));
                self.answer_busy(life);
            }
        }
        true
    }

    fn answer_busy(&mut self, life: &mut Life) {
        let Life { line, live: Some(live), .. } = life else { return };
        let Some(moved) = live.carrier.take_busy(line, |session| *session, || self.now) else {
            return;
        };
        self.answer_all(moved);
    }

    /// Answers all requests as the server does at this moment.
    fn answer_all(&mut self, requests: Pipeline<Owner<usize>>) {
        for (owner, ticket, _) in requests.into_requests() {
            assert!(!owner.is_completion(), "what completes a write is given up");
            let Some(session) = owner.into_session() else { continue };
            let asked = self.model.of(session, ticket.0);
            assert!(asked.end.is_none() && asked.received.is_empty());
            asked.end = Some((self.now, End::Error));
        }
    }

    fn hand_over(
        &mut self,
        at: usize,
        life: &mut Life,
        moved: Pipeline<Owner<usize>>,
        wire: usize,
    ) {
        let entry = self.beside(life);
        let next = entry.at;
        self.log(|| format!("{at} hands {} over to {next}", moved.len()));
        for session in moved.owners().filter_map(Owner::session) {
            self.places[*session].1 = Some(next);
        }
        let mut other = self.lives[next].take().unwrap();
        other.line.pipeline = moved;
        self.up(next, &mut other, wire);
        self.lives[next] = Some(other);
        self.set_aside(life, &entry);
    }

    /// Another one for the same key, which is to take everything new.
    fn beside(&mut self, life: &Life) -> Rc<Entry> {
        self.begin(life.entry.key, life.entry.keep, life.line.closing)
    }

    /// What was taken out of the line of a session that reads slowly gets a connection of its own.
    fn carry_detached(&mut self, life: &mut Life) {
        let room = self.registry.has_room();
        let Some(detached) = life.line.take_detached(room, |session| *session) else { return };
        let entry = self.beside(life);
        let next = entry.at;
        self.log(|| format!("{} goes on with {} on {next}", life.entry.at, detached.len()));
        for session in detached.owners().filter_map(Owner::session) {
            self.places[*session].1 = Some(next);
        }
        let other = self.lives[next].as_mut().unwrap();
        other.line.pipeline = detached;
        other.line.closing = true;
        self.registry.insert_aside(&entry);
    }

    fn step_aside(&mut self, life: &mut Life) {
        if !life.is_aside() && self.registry.has_room() {
            let next = self.beside(life);
            self.set_aside(life, &next);
        }
    }

    fn set_aside(&mut self, life: &mut Life, next: &Rc<Entry>) {
        assert!(!life.is_aside(), "it is set aside once");
        self.registry.replace(&life.entry, next);
        assert!(life.is_aside(), "it takes nothing new");
        life.line.closing = true;
        let asides = self.lives.iter().flatten().filter(|life| life.is_aside()).count();
        assert!(asides < ASIDE_MAX + KEYS.len() * 4, "{asides} are set aside");
    }

    /// The connection has ended. Returns whether its line has, too.
    fn end(&mut self, at: usize, life: &mut Life, ended: Ended) -> bool {
        let Some(mut live) = life.live.take() else { return false };
        self.log(|| format!("{at} ends: {ended:?}"));
        if live.carrier.is_silent() {
            self.node.handle_silence(false);
            self.silent -= 1;
        }
        life.entry.stalled.set(false);
        self.server.close(live.wire, ended.discards());
        for dial in [live.dialing.take(), live.relief.take()].into_iter().flatten() {
            self.cancel(dial);
        }
        let Self { model, now, retries, .. } = self;
        let denied = Cell::new(false);
        let may_repeat = |attempts| {
            let may = retries.may_repeat(attempts, *now) == Repeat::Yes;
            denied.set(!may);
            may
        };
        let aside = life.is_aside();
        let served = live.carrier.into_end(
            &mut life.line,
            aside,
            may_repeat,
            *now,
            |owner, ticket, loss, request| {
                if denied.take() {
                    model.note_given_up(request);
                }
                if let Some(session) = owner.session() {
                    model.lose(*session, ticket.0, loss, *now);
                }
            },
        );
        let next = served.next;
        let needed = (life.entry.keep && !life.line.closing) || !life.line.pipeline.is_empty();
        assert!(needed || !matches!(next, Next::Fail(_)), "{at} was of no use: it is no outage");
        assert_eq!(next == Next::Serve, served.successor.is_some(), "{at} is replaced by nothing");
        if let Some(wire) = served.successor {
            self.up(at, life, wire);
        }
        if let Some(wire) = served.unneeded {
            self.server.close(wire, false);
        }
        let entropy = self.draw();
        if matches!(next, Next::Fail(_) | Next::Unneeded) {
            self.dials.died(served.answered, self.now - live.opened_at, self.now);
        }
        self.node.handle_ended(next, served.answered, live.opened_at, self.now, entropy);
        next == Next::Done
    }
}

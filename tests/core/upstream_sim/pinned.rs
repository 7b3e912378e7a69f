//! Requests of sessions on pinned connections in simulated time, and a server that refuses, answers in halves, is
//! silent, closes, sends unrequested replies.
//!
//! Owns: [`World`], and what must be true in it. Never knows: how a connection is had.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use respgate::internals::traffic::{Loss, Skips, Ticket};
use respgate::internals::upstream::{PinnedLine, Reply};

use super::server::{Arrival, Server};
use crate::support::choices::Choices;
use crate::support::shrink::Replay;

const TICK: Duration = Duration::from_millis(5);
/// More requests than a session has in flight.
const ASKED_MAX: usize = 6;

/// A request that is not answered.
#[derive(Debug)]
struct Asked {
    ticket: u64,
    writes: bool,
    transacts: bool,
    /// The server has refused a queued command first.
    refused: bool,
}

#[derive(Debug)]
struct Session {
    line: PinnedLine,
    wire: usize,
    asked: VecDeque<Asked>,
    /// The last request goes on with these.
    body: VecDeque<Vec<u8>>,
    /// The reply in progress.
    reply: Vec<u8>,
    next: u64,
}

#[derive(Debug)]
pub struct World {
    now: Instant,
    server: Server,
    sessions: Vec<Session>,
    choices: Choices,
    acknowledged: HashSet<(usize, u64)>,
    /// Requests that were reported to the session as not executed.
    not_executed: HashSet<(usize, u64)>,
    pub answered: usize,
    pub lost: usize,
    /// Lost requests that were not executed.
    pub unsent: usize,
}

impl World {
    pub fn new(now: Instant, sessions: usize, choices: Choices) -> Self {
        let mut server = Server::new(Duration::from_millis(1));
        let sessions = (0..sessions).map(|_| Session::begin(&mut server, 0, now)).collect();
        let (acknowledged, not_executed) = (HashSet::new(), HashSet::new());
        Self {
            now,
            server,
            sessions,
            choices,
            acknowledged,
            not_executed,
            answered: 0,
            lost: 0,
            unsent: 0,
        }
    }

    /// Lets time pass; with `accidents` things go wrong; with `requests` the sessions send more.
    pub fn pass(
        &mut self,
        time: Duration,
        accidents: bool,
        requests: bool,
        replay: &mut Replay<Choices>,
    ) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            let happens = replay.step(&mut self.choices);
            if accidents && self.choices.below(100) < 4 && happens {
                self.accident();
            }
            for at in 0..self.sessions.len() {
                if requests && self.choices.below(4) == 0 && happens {
                    self.ask(at);
                }
                self.write(at);
            }
            self.server.advance(self.now);
            (0..self.sessions.len()).for_each(|at| self.read(at));
            replay.note(|| self.describe());
            self.check();
        }
    }

    fn describe(&self) -> String {
        let waiting: usize = self.sessions.iter().map(|session| session.asked.len()).sum();
        format!("{:?} {waiting} wait, {} are lost", self.now, self.lost)
    }

    fn accident(&mut self) {
        let at = self.choices.below(self.sessions.len());
        let wire = self.sessions[at].wire;
        match self.choices.below(7) {
            0 => self.server.loading = true,
            1 => self.server.halves = 5,
            2 => self.server.paused = true,
            3 => self.server.hang_up(wire),
            4 => self.server.wires[wire].window = self.choices.below(12),
            5 => self.server.wires[wire].replica = true,
            _ => self.heal(),
        }
        let quiet = self.sessions[at].asked.is_empty() && self.server.has_nothing_outstanding(wire);
        if quiet && self.sessions[at].body.is_empty() {
            // Behind a request it would be taken for the reply.
            self.server.push_bytes(wire, b"+SURPLUS\r\n", self.now);
            self.read(at);
            assert_ne!(self.sessions[at].wire, wire, "what cannot be trusted is kept");
        }
    }

    pub fn heal(&mut self) {
        (self.server.loading, self.server.paused) = (false, false);
        self.server.wires.iter_mut().for_each(|wire| wire.window = usize::MAX);
    }

    fn ask(&mut self, at: usize) {
        let (kind, pieces) = (self.choices.below(6), self.choices.below(4));
        let session = &mut self.sessions[at];
        if let Some(piece) = session.body.pop_front() {
            session.line.append(&piece);
            if session.body.is_empty() {
                session.line.end_body();
            }
            return;
        }
        if session.asked.len() >= ASKED_MAX {
            return;
        }
        let ticket = session.next;
        session.next += 1;
        let end = format!("{at} {ticket}\n");
        let (bytes, skips) = match kind {
            0 => (format!("R {end}"), Skips::ahead(0)),
            1 => (format!("E {end}"), Skips::ahead(0)),
            2 => (format!("R 99 0\nR 99 1\nW {end}"), Skips::ahead(2)),
            3 => (format!("M {end}B {end}X {end}"), Skips::of_transaction(2)),
            _ => (format!("W {end}"), Skips::ahead(0)),
        };
        let (writes, transacts) = (kind > 1, kind == 3);
        session.asked.push_back(Asked { ticket, writes, transacts, refused: false });
        let whole = bytes.into_bytes();
        let head = if kind == 5 { 1 } else { whole.len() };
        session.line.push(Ticket(ticket), &whole[..head], skips, self.now);
        if head < whole.len() {
            session.line.begin_body();
            let size = (whole.len() - head) / (pieces + 1) + 1;
            session.body = whole[head..].chunks(size).map(<[u8]>::to_vec).collect();
        }
    }

    fn write(&mut self, at: usize) {
        let session = &mut self.sessions[at];
        let bytes = session.line.unwritten();
        let count = self.server.write(session.wire, bytes, self.now);
        if count > 0 {
            session.line.wrote(count);
        }
    }

    fn read(&mut self, at: usize) {
        while let Some(arrival) = self.server.read(self.sessions[at].wire, self.now) {
            let Arrival::Bytes(bytes) = arrival else { return self.lose(at) };
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let received = self.sessions[at].line.frame(rest).expect("the server sends RESP");
                let (piece, behind) = rest.split_at(received.used);
                rest = behind;
                if !self.take(at, (piece, received.kind, received.done)) {
                    return self.lose(at);
                }
            }
        }
    }

    /// A piece of a reply. Returns whether the connection can be trusted.
    fn take(&mut self, at: usize, piece: (&[u8], u8, bool)) -> bool {
        let Self { sessions, now, acknowledged, answered, .. } = self;
        let session = &mut sessions[at];
        let mut seen = 0;
        let reply = session.line.match_reply(piece, 1 << 20, *now, |_| seen += 1);
        let Some(front) = session.asked.front_mut() else {
            assert_eq!((reply, piece.0), (Reply::Unexpected, &b"+SURPLUS\r\n"[..]));
            return false;
        };
        let ticket = front.ticket;
        match reply {
            Reply::Unwanted => return true,
            Reply::Refusal(of, line) => {
                assert!(of.0 == ticket && front.transacts && line.starts_with(b"-"), "{front:?}");
                assert!(!std::mem::replace(&mut front.refused, true), "one is the first");
                return true;
            }
            Reply::MultiRefused(of) => {
                assert!(of.0 == ticket && front.transacts && piece.2, "{front:?}");
            }
            Reply::Wanted { ticket: of, large } => {
                assert!(of.0 == ticket && !large && seen == 1, "{front:?}");
                session.reply.extend_from_slice(piece.0);
                if !piece.2 {
                    return true;
                }
                let reply = String::from_utf8(std::mem::take(&mut session.reply)).unwrap();
                let own = reply.ends_with(&format!("{at}:{ticket}\r\n"));
                let refused = ["-LOADING", "-READONLY"].iter().any(|code| reply.starts_with(code));
                assert!(own || refused, "{reply} answers {front:?}");
                if own && front.writes {
                    acknowledged.insert((at, ticket));
                }
            }
            Reply::Unexpected => panic!("{piece:?} answers {front:?}"),
        }
        session.asked.pop_front();
        *answered += 1;
        true
    }

    /// The connection is gone, and another one takes its place.
    fn lose(&mut self, at: usize) {
        let session = &mut self.sessions[at];
        self.server.close(session.wire, true);
        let why = *self.choices.pick(&[Loss::OutcomeUnknown, Loss::TimedOut]);
        let (begun, whole) = (!session.reply.is_empty(), session.body.is_empty());
        let losses = session.line.take_losses(why);
        let tickets: Vec<u64> = losses.iter().map(|(ticket, _)| ticket.0).collect();
        let asked: Vec<u64> = session.asked.iter().map(|asked| asked.ticket).collect();
        assert_eq!(tickets, asked, "each that waits is lost, and no other");
        let unknown = losses.iter().take_while(|(_, loss)| *loss != why.of_unsent()).count();
        for (index, (ticket, loss)) in losses.iter().enumerate() {
            if index >= unknown {
                assert_eq!(*loss, why.of_unsent(), "it was sent behind what was not");
                self.not_executed.insert((at, ticket.0));
            } else if begun && index == 0 && why == Loss::OutcomeUnknown {
                assert_eq!(*loss, Loss::Truncated);
            } else {
                assert_eq!(*loss, why);
            }
        }
        assert!(
            whole || losses.len() > unknown || losses.is_empty(),
            "half a request was sent whole"
        );
        self.lost += losses.len();
        self.unsent += losses.len() - unknown;
        *session = Session::begin(&mut self.server, session.next, self.now);
    }

    fn check(&self) {
        for (at, session) in self.sessions.iter().enumerate() {
            let waits = !session.asked.is_empty();
            assert_eq!(session.line.is_quiet(), !waits && !session.line.has_begun(), "{at}");
            assert!(waits || session.line.unwritten().is_empty(), "{at}: written for no request");
        }
    }

    /// All is well and answered, and what was done is what was acknowledged, and more only where it is lost.
    pub fn settle(&mut self) {
        self.heal();
        for _ in 0..4 * ASKED_MAX {
            for at in 0..self.sessions.len() {
                if !self.sessions[at].body.is_empty() {
                    self.ask(at);
                }
            }
            self.pass(TICK * 4, false, false, &mut Replay::default());
        }
        let mut done = HashSet::new();
        for executed in &self.server.executed {
            let new = done.insert((executed.session, executed.ticket));
            assert!(new, "{executed:?} was executed twice");
        }
        assert!(self.acknowledged.is_subset(&done), "what is acknowledged was executed");
        assert!(
            self.not_executed.is_disjoint(&done),
            "it was executed, and its session does not know"
        );
        for session in &self.sessions {
            assert!(session.asked.is_empty() && session.line.is_quiet(), "{session:?}");
        }
    }
}

impl Session {
    fn begin(server: &mut Server, next: u64, now: Instant) -> Self {
        Self {
            line: PinnedLine::new(now),
            wire: server.accept(0, 0, server.replica),
            asked: VecDeque::new(),
            body: VecDeque::new(),
            reply: Vec::new(),
            next,
        }
    }
}

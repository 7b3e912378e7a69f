//! One shared connection while it serves its line, and those that are dialed to replace or to relieve it: in
//! which order what is due is done, and what each outcome means.
//!
//! Owns: [`Carrier`], [`Step`], [`Dialed`], [`Unread`], [`Served`]. Never knows: sockets, clocks, tasks, sessions.

use std::time::{Duration, Instant};

use super::connection::{Action, Around, Connection, Freshness, Relief, Successor, Timing};
use super::ended::Ended;
use super::line::{Line, Next};
use super::owner::Owner;
use super::pipeline::{Broken, Delivery, Note, Pipeline};
use crate::base::limits;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{Loss, PoolKey, Ticket};

/// What a driver does in one turn. [`Carrier::poll_action`] is asked behind each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads what is there: [`Carrier::handle_bytes`], [`Carrier::handle_closed`].
    Read,
    /// Writes what could not be written before: [`Carrier::poll_write`].
    Flush,
    /// Looks whether [`Carrier::poll_timeout`] has passed: [`Carrier::handle_timeout`].
    Time,
    /// Looks at the attempt to dial a successor: [`Carrier::handle_successor`].
    Succeed,
    /// Looks at the attempt to dial a relief: [`Carrier::handle_relief`], [`Carrier::take_busy`].
    Relieve,
    /// Looks at what others have asked of the connection: [`Carrier::handle_turn`].
    Look,
}

/// The steps of a turn, in their order. Behind the last one the turn ends if the connection has, and else with
/// writing what there is.
pub const TURN: [Step; 6] =
    [Step::Read, Step::Flush, Step::Time, Step::Succeed, Step::Relieve, Step::Look];

/// What a session has not read of the replies that have come for it.
#[derive(Clone, Copy, Debug)]
pub struct Unread {
    pub bytes: usize,
    /// With much more the session is ended.
    pub is_full: bool,
}

/// How an attempt to connect ended.
#[derive(Debug)]
pub enum Dialed<L> {
    /// With a connection that is logged in, to a primary or to a replica.
    Up {
        link: L,
        primary: bool,
    },
    /// The server reports that it is busy with a script.
    Busy,
    Failed,
}

/// What is done with a connection that was dialed beside one that is held up.
#[derive(Debug)]
pub enum Relieved<W, L> {
    /// The new connection serves these requests, and everything new.
    HandOver(Box<Pipeline<Owner<W>>>, L),
    /// There is none, or it is not needed.
    Unneeded(Option<L>),
}

/// How the time of one connection ended.
#[derive(Debug)]
pub struct Served<L> {
    pub next: Next,
    /// The connection that takes over: there is one where [`Next::Serve`] follows.
    pub successor: Option<L>,
    /// One that was dialed and is not needed.
    pub unneeded: Option<L>,
    /// Whether the server has answered a request.
    pub answered: bool,
    /// How many requests were lost that were sent as often as they may be.
    pub exhausted: usize,
}

/// A connection that is up, from its login to its end, without its socket. `L` is a further connection that was
/// dialed for it.
#[derive(Debug)]
pub struct Carrier<L> {
    connection: Connection,
    successor: Option<L>,
    ended: Option<Ended>,
}

impl<L> Carrier<L> {
    #[must_use]
    pub fn new(timing: Timing, key: PoolKey, now: Instant) -> Self {
        Self { connection: Connection::new(timing, key, now), successor: None, ended: None }
    }

    /// What the driver has to do next. The end of the connection is in [`Self::ended`].
    pub fn poll_action<W>(&mut self, line: &mut Line<W>) -> Option<Action> {
        loop {
            let action = self.connection.poll_action()?;
            if let Action::End(ended) = action {
                debug_assert!(self.ended.is_none(), "only the first end counts");
                self.ended = Some(ended);
                continue;
            }
            if matches!(action, Action::Proven) {
                line.handle_proven();
            }
            self.check_invariants();
            return Some(action);
        }
    }

    /// How it has ended. Nothing is read or written then, and [`Self::into_end`] returns what follows.
    #[must_use]
    pub const fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub const fn poll_timeout(&self) -> Instant {
        self.connection.poll_timeout()
    }

    /// How long nothing has arrived.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        self.connection.silence(now)
    }

    /// Whether the server does not answer, although it was asked for a sign of life.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.connection.is_silent()
    }

    /// Whether a connection is at hand that takes over.
    #[must_use]
    pub const fn has_successor(&self) -> bool {
        self.successor.is_some()
    }

    /// Takes bytes from the server; see [`Connection::handle_bytes`].
    ///
    /// # Errors
    ///
    /// When the bytes do not fit what was asked; the connection has ended.
    #[inline]
    pub fn handle_bytes<W>(
        &mut self,
        line: &mut Line<W>,
        bytes: &[u8],
        now: Instant,
        note: Option<Note<'_, Owner<W>>>,
        deliver: impl FnMut(&W, &Delivery<'_, Owner<W>>, Duration),
    ) -> Result<(), Broken> {
        debug_assert!(line.is_up(), "a line without a connection is answered");
        self.check_invariants();
        self.connection.handle_bytes(&mut line.pipeline, bytes, now, note, deliver)
    }

    /// The connection was closed or reset, or cannot be written.
    pub fn handle_closed(&mut self, reason: UpstreamDisconnect) {
        debug_assert!(self.ended.is_none(), "what has ended is not read or written");
        self.connection.handle_closed(reason);
        self.check_invariants();
    }

    /// Whether the session that gets the reply under way has [`Unread`] enough to count as a slow reader. What is new
    /// goes elsewhere from then on. `Some(true)`: nothing is read until it has caught up. While others are in line
    /// behind the reply they wait only for a reader that is full, and not for long: its own limit decides then.
    pub fn poll_reader<W>(
        &mut self,
        line: &Line<W>,
        unread: impl FnOnce(&W) -> Unread,
        is_same: impl Fn(&W, &W) -> bool,
        now: impl FnOnce() -> Instant,
    ) -> Option<bool> {
        debug_assert!(self.ended.is_none(), "what has ended is not read");
        let reader = line.pipeline.reader().and_then(Owner::session)?;
        let Unread { bytes, is_full } = unread(reader);
        if bytes < limits::SLOW_READER_BYTES {
            return None;
        }
        let is_reader = |owner: &Owner<W>| owner.session().is_some_and(|it| is_same(it, reader));
        let alone = line.pipeline.owners().all(is_reader);
        Some(self.connection.handle_slow_reader(alone, is_full, now()))
    }

    /// What is to be written next.
    #[must_use]
    #[inline]
    pub fn poll_write<'a, W>(&self, line: &'a Line<W>) -> &'a [u8] {
        debug_assert!(
            self.ended.is_some() || line.is_up(),
            "a line without a connection is written"
        );
        if self.ended.is_some() { &[] } else { self.connection.due(&line.pipeline) }
    }

    /// Something was written, or could not be for the moment. Returns whether [`Self::poll_timeout`] is another
    /// now.
    #[inline]
    pub fn handle_written(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let idle = !self.connection.is_ticking();
        if idle {
            self.connection.handle_written(now());
        }
        self.check_invariants();
        idle
    }

    /// Looks after time. What was never sent, and whose client has given it up according to `is_gone`, is reported
    /// as [`Loss::Abandoned`].
    pub fn handle_timeout<W>(
        &mut self,
        line: &mut Line<W>,
        around: Around,
        now: Instant,
        is_gone: impl Fn(&W) -> bool,
        mut report: impl FnMut(&W, Ticket, Loss, &[u8]),
    ) {
        debug_assert!(line.is_up(), "a line without a connection is looked after");
        let pipeline = &mut line.pipeline;
        pipeline.put_deferred(now);
        self.connection.handle_timeout(pipeline, around, now, &mut report);
        self.check_invariants();
        let is_gone = |owner: &Owner<W>| owner.session().is_some_and(&is_gone);
        let Some(before) = self.connection.forgets_before(now) else { return };
        if pipeline.forgets(before, is_gone) {
            pipeline.forget(before, is_gone, |owner, ticket| {
                if let Some(session) = owner.session() {
                    report(session, ticket, Loss::Abandoned, &[]);
                }
            });
            debug_assert!(!pipeline.forgets(before, is_gone), "what is given up is still in line");
        }
    }

    /// Looks at what others have asked of the connection, and whether its successor may take over.
    #[inline]
    pub fn handle_turn<W>(
        &mut self,
        line: &mut Line<W>,
        freshness: impl FnOnce() -> Freshness,
        now: impl FnOnce() -> Instant,
    ) {
        let Line { pipeline, closing, retire, .. } = line;
        self.connection.handle_turn(pipeline, *closing, retire, freshness, now);
        self.check_invariants();
    }

    /// Puts the login of [`Action::LogIn`] in line.
    pub fn push_login<W>(&self, line: &mut Line<W>, request: &[u8], now: Instant) {
        debug_assert!(self.ended.is_none(), "a login is for this connection alone");
        line.pipeline.push_secret(Owner::Relogin, Ticket::default(), request, now);
        let logins = line.pipeline.owners().filter(|owner| matches!(owner, Owner::Relogin));
        debug_assert_eq!(logins.count(), 1, "two logins are in line");
    }

    /// The attempt to dial a successor has ended. Returns the connection that is not kept.
    pub fn handle_successor(&mut self, dialed: Dialed<L>, now: Instant) -> Option<L> {
        debug_assert!(self.successor.is_none(), "one is enough");
        let (successor, link) = match dialed {
            Dialed::Up { link, primary: true } => (Successor::Primary, Some(link)),
            Dialed::Up { link, primary: false } => (Successor::Replica, Some(link)),
            Dialed::Busy | Dialed::Failed => (Successor::Failed, None),
        };
        if !self.connection.handle_successor(successor, now) {
            return link;
        }
        self.successor = link;
        debug_assert!(self.successor.is_some(), "only what was dialed is kept");
        self.check_invariants();
        None
    }

    /// What holds whenever a method returns.
    fn check_invariants(&self) {
        let ready = self.connection.has_successor();
        debug_assert_eq!(ready, self.successor.is_some(), "what takes over is not at hand");
        let replaced = matches!(self.ended, Some(Ended::Replaced(_)));
        debug_assert!(!replaced || self.successor.is_some(), "it is replaced by nothing");
        debug_assert!(self.ended.is_none() || self.connection.has_ended(), "what has ended serves");
    }

    /// The attempt to dial another connection beside this one has ended.
    pub fn handle_relief<W: Clone>(
        &mut self,
        line: &mut Line<W>,
        dialed: Dialed<L>,
        aside: bool,
        room: bool,
        id: impl Fn(&W) -> usize,
        now: Instant,
    ) -> Relieved<W, L> {
        let (relief, link) = match dialed {
            Dialed::Up { link, .. } => (Relief::Up, Some(link)),
            Dialed::Busy => (Relief::Busy, None),
            Dialed::Failed => (Relief::Failed, None),
        };
        let begun = line.pipeline.has_begun();
        let moves = self.connection.handle_relief(relief, begun, (aside, room), now);
        debug_assert!(!moves || link.is_some(), "a line moves over to nothing");
        self.check_invariants();
        match link {
            Some(link) if moves => {
                let moved = line.pipeline.move_over(|owner| owner.session().map(&id));
                Relieved::HandOver(Box::new(moved), link)
            }
            link => Relieved::Unneeded(link),
        }
    }

    /// What the line holds up, and the successor that carries it and everything new, if it may.
    pub fn move_over<W: Clone>(
        &mut self,
        line: &mut Line<W>,
        aside: bool,
        room: bool,
        id: impl Fn(&W) -> usize,
    ) -> Option<(Pipeline<Owner<W>>, L)> {
        if !self.connection.moves_over(line.pipeline.has_begun(), aside, room) {
            return None;
        }
        let link = self.successor.take();
        debug_assert!(link.is_some(), "a line moves over to nothing");
        self.check_invariants();
        let link = link?;
        let mut moved = line.pipeline.move_over(|owner| owner.session().map(&id));
        line.pipeline.pass_deferred(&mut moved);
        Some((moved, link))
    }

    /// While the server reports that it is busy with a script: the requests that another connection could carry, if
    /// there were one. They get the answer that the server gives to every client. What completes a request that was
    /// answered stays in line.
    #[inline]
    pub fn take_busy<W: Clone>(
        &self,
        line: &mut Line<W>,
        id: impl Fn(&W) -> usize,
        now: impl FnOnce() -> Instant,
    ) -> Option<Pipeline<Owner<W>>> {
        debug_assert!(self.ended.is_some() || line.is_up(), "a line without a connection is busy");
        let busy =
            self.ended.is_none() && self.connection.may_be_busy() && self.connection.is_busy(now());
        busy.then(|| {
            let mut moved = line.pipeline.move_over(|owner| owner.session().map(&id));
            let waiting = moved.take_waiting();
            line.pipeline.put_behind(moved);
            waiting
        })
    }

    /// Handles the end of the connection. What was not written, or may be executed twice, waits for the next
    /// connection; everything else is reported.
    pub fn into_end<W>(
        self,
        line: &mut Line<W>,
        aside: bool,
        may_repeat: impl FnMut(u8) -> bool,
        now: Instant,
        report: impl FnMut(&Owner<W>, Ticket, Loss, &[u8]),
    ) -> Served<L> {
        let Self { connection, successor, ended } = self;
        debug_assert!(ended.is_some(), "it serves");
        let ended = ended.unwrap_or(Ended::Lost(UpstreamDisconnect::Defect));
        let (next, exhausted) = line.handle_ended(ended, aside, may_repeat, now, report);
        debug_assert!(next != Next::Serve || successor.is_some(), "it is replaced by something");
        let outstanding = line.pipeline.has_outstanding_replies();
        debug_assert!(!outstanding, "replies of a connection that has ended are waited for");
        let serves = next == Next::Serve;
        let (successor, unneeded) = if serves { (successor, None) } else { (None, successor) };
        Served { next, successor, unneeded, answered: connection.has_answered(), exhausted }
    }
}

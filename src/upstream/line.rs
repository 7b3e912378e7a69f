//! The line of one logical shared connection: it outlives the connections that serve it.
//!
//! Owns: [`Line`]: whether a connection is wanted, what becomes of requests when one is lost or cannot be
//! had. Never knows: clocks, sockets, the owners of requests.

use std::time::{Duration, Instant};

use super::ended::Ended;
use super::outage::{Overdue, Patience};
use super::owner::Owner;
use super::pipeline::Pipeline;
use super::pipeline::detached::Detached;
/// How often requests that wait for a connection are looked at.
pub use crate::base::limits::CONNECT_WAIT_TICK as WAIT_TICK;
use crate::resp::Protocol;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{Loss, Ticket};

/// What follows when a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Its successor serves at once.
    Serve,
    /// Another one is made when it is wanted.
    Idle,
    /// The same, and the end is the server's failure.
    Fail(UpstreamDisconnect),
    /// The same, but nothing waits: it is no outage.
    Unneeded,
    /// Nothing: the line is closed.
    Done,
}

/// What a line without a connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A connection: the server is dialed.
    Connection,
    /// Nothing: the line is idle.
    Nothing,
    /// Nothing any more: it is closed.
    Done,
}

/// Requests in line and what serves them.
#[derive(Debug)]
pub struct Line<W> {
    pub pipeline: Pipeline<Owner<W>>,
    /// Requests of a session that reads slowly: they follow on a connection of its own.
    detached: Option<Box<Detached<Owner<W>>>>,
    /// There is a connection, logged in.
    up: bool,
    /// Since when there is no connection, or none that has proven itself; `None` before the first.
    down_since: Option<Instant>,
    /// There is no connection, and none is made.
    idle: bool,
    /// A connection is made again whenever it is lost, although nothing waits for it.
    keep: bool,
    /// The connection is to be replaced by a new one.
    pub retire: bool,
    pub closing: bool,
}

impl<W> Line<W> {
    #[must_use]
    pub fn new(protocol: Protocol, keep: bool) -> Self {
        let pipeline = Pipeline::completing(protocol, || Some(Owner::Completion));
        Self {
            pipeline,
            detached: None,
            up: false,
            down_since: None,
            idle: true,
            keep,
            retire: false,
            closing: false,
        }
    }

    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// Whether a request that comes at `now` is refused at once, because there is no connection and none
    /// is expected. While the line is idle, it is the outage of the server that counts, if it is not even
    /// `passable` to dial.
    #[must_use]
    pub fn refuses(
        &self,
        patience: Patience,
        outage_since: Option<Instant>,
        passable: bool,
        now: Instant,
    ) -> bool {
        let outage_since = outage_since.filter(|_| !passable);
        let since = if self.idle { outage_since } else { self.down_since };
        !self.up && patience.refuses(since, now)
    }

    /// What is to be done while there is no connection: asked again whenever something was put in line, and every
    /// [`WAIT_TICK`] while one is dialed. `asked`: a session wants to know whether there is one.
    pub fn poll_need(&mut self, asked: bool) -> Need {
        debug_assert!(!self.up, "only without a connection");
        if self.is_done() {
            return Need::Done;
        }
        if !self.is_wanted(asked) {
            self.idle = true;
            self.check_invariants();
            return Need::Nothing;
        }
        if std::mem::replace(&mut self.idle, false) {
            // What has come to an idle line waits its own time.
            self.down_since = None;
        }
        self.check_invariants();
        Need::Connection
    }

    /// Whether a connection is to be made: something waits for one, as a session `asked`, or one is always
    /// to be there.
    #[must_use]
    pub fn is_wanted(&self, asked: bool) -> bool {
        !self.pipeline.is_empty() || (!self.closing && (self.keep || asked))
    }

    /// Whether it is to end and no reply is outstanding.
    fn is_done(&self) -> bool {
        self.closing && self.pipeline.is_empty()
    }

    /// There is a connection: what waits is sent on it. A successor begins with what its predecessor has
    /// not sent; `waited` gets each request's wait, and the request.
    pub fn handle_up(
        &mut self,
        now: Instant,
        is_gone: impl Fn(&Owner<W>) -> bool,
        waited: impl FnMut(&Owner<W>, Ticket, Duration, &[u8]),
    ) {
        debug_assert!(self.down_since.is_none_or(|since| since <= now), "the line will be lost");
        self.up = true;
        self.idle = false;
        self.retire = false;
        debug_assert!(
            !self.pipeline.has_outstanding_replies(),
            "nothing is written on a new connection"
        );
        self.pipeline.restart(now, is_gone, waited);
        self.check_invariants();
    }

    /// The server works.
    pub const fn handle_proven(&mut self) {
        debug_assert!(self.up, "a server without a connection is proven");
        self.down_since = None;
    }

    /// An attempt to connect has failed.
    pub fn handle_failed(&mut self, now: Instant) {
        debug_assert!(!self.up, "there is no dialing while there is a connection");
        let since = *self.down_since.get_or_insert(now);
        debug_assert!(since <= now, "the line will be lost");
        self.check_invariants();
    }

    /// The connection has ended. What was not written, or may be executed twice, waits for the next one;
    /// everything else is reported. `may_repeat` is asked for each that was sent, with how often it was sent
    /// again. Returns what follows, and how many of those reported were sent as
    /// often as they may be.
    pub fn handle_ended(
        &mut self,
        ended: Ended,
        aside: bool,
        may_repeat: impl FnMut(u8) -> bool,
        now: Instant,
        report: impl FnMut(&Owner<W>, Ticket, Loss, &[u8]),
    ) -> (Next, usize) {
        debug_assert!(self.up, "only what was up ends");
        let next = match ended {
            Ended::Replaced(_) => return (Next::Serve, 0),
            Ended::Closed | Ended::Idle => {
                debug_assert!(
                    self.pipeline.is_empty() && self.detached.is_none(),
                    "a connection ends when no reply is outstanding"
                );
                self.up = false;
                self.check_invariants();
                let next = if ended == Ended::Closed { Next::Done } else { Next::Idle };
                return (next, 0);
            }
            // It was replaced too slowly, or held up too long; the server is well.
            Ended::Lost(UpstreamDisconnect::Rotation) => Next::Idle,
            Ended::Lost(_) if aside => Next::Idle,
            Ended::Lost(reason) => Next::Fail(reason),
        };
        self.up = false;
        self.down_since.get_or_insert(now);
        let exhausted = self.pipeline.handle_loss(may_repeat, report);
        self.attach();
        debug_assert!(
            !self.pipeline.has_outstanding_replies(),
            "no reply is outstanding without a connection"
        );
        self.check_invariants();
        let unneeded = matches!(next, Next::Fail(_)) && !self.is_wanted(false);
        (if unneeded { Next::Unneeded } else { next }, exhausted)
    }

    /// What serves the line has ended by a defect. Returns what was in line; nothing of it is sent again.
    pub fn handle_defect(&mut self, now: Instant) -> Pipeline<Owner<W>> {
        debug_assert!(
            self.up || !self.pipeline.has_outstanding_replies(),
            "no reply is outstanding without a connection"
        );
        self.attach();
        self.up = false;
        self.down_since.get_or_insert(now);
        let protocol = self.pipeline.protocol();
        let empty = Pipeline::completing(protocol, || Some(Owner::Completion));
        let lost = std::mem::replace(&mut self.pipeline, empty);
        self.check_invariants();
        lost
    }

    /// Takes the requests out of the line that the session which is receiving a reply can get answered elsewhere.
    pub fn detach_reader(&mut self, id: impl Fn(&W) -> usize)
    where
        W: Clone,
    {
        debug_assert!(self.up && self.closing, "what is new comes behind what was taken out");
        if self.detached.is_none() {
            let id = |owner: &Owner<W>| owner.session().map(&id);
            self.detached = Detached::of_reader(&mut self.pipeline, id).map(Box::new);
        }
        self.check_invariants();
    }

    /// What was taken out, once its session waits for nothing else here. With no `room` for another connection it is
    /// in line again.
    #[inline]
    pub fn take_detached(
        &mut self,
        room: bool,
        id: impl Fn(&W) -> usize,
    ) -> Option<Pipeline<Owner<W>>> {
        let detached = self.detached.as_ref()?;
        if !detached.may_follow(&self.pipeline, |owner| owner.session().map(&id)) {
            return None;
        }
        debug_assert!(self.up, "what was taken out is in line without a connection");
        if !room {
            self.attach();
            return None;
        }
        self.detached.take().map(|detached| detached.requests)
    }

    /// What was taken out is in line again, behind everything else.
    fn attach(&mut self) {
        if let Some(detached) = self.detached.take() {
            self.pipeline.put_behind(detached.requests);
            debug_assert!(!self.pipeline.is_empty(), "what was taken out is lost");
        }
    }

    /// Memory for requests in line, and for those taken out.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let detached = self.detached.as_ref().map_or(0, |it| it.requests.held_bytes());
        self.pipeline.held_bytes() + detached
    }

    /// What holds whenever a method returns.
    fn check_invariants(&self) {
        debug_assert!(self.up || self.detached.is_none(), "what was taken out is forgotten");
        debug_assert!(!self.up || !self.idle, "a connection is there and none is made");
        debug_assert!(
            self.up || !self.pipeline.has_outstanding_replies(),
            "no reply is outstanding without a connection"
        );
    }

    /// What has waited too long for a connection.
    #[must_use]
    pub fn overdue(&self, patience: Patience, now: Instant) -> Overdue {
        patience.overdue(self.down_since, now)
    }

    /// Gives up what is overdue. What completes a request that was answered is reported to its session, and stays
    /// until there is a connection, unless the line is to end. Returns how many of these were sent before.
    pub fn give_up(
        &mut self,
        overdue: Overdue,
        report: impl FnMut(&Owner<W>, Ticket, &[u8]),
    ) -> usize {
        debug_assert!(!self.up, "only without a connection");
        let stays = !self.closing;
        let before = match overdue {
            Overdue::Nothing => return 0,
            Overdue::Before(before) => Some(before),
            Overdue::All => None,
        };
        let sent = self.pipeline.give_up(before, || stays.then_some(Owner::Completion), report);
        self.check_invariants();
        sent
    }

    /// Gives up everything: the server does not have the database. Returns how many of these were sent before.
    pub fn refuse(&mut self, report: impl FnMut(&Owner<W>, Ticket, &[u8])) -> usize {
        debug_assert!(!self.up, "only without a connection");
        let sent = self.pipeline.give_up(None, || None, report);
        debug_assert!(self.pipeline.is_empty(), "something waits for a database that is not there");
        sent
    }
}

#[cfg(test)]
mod tests;

//! What a conversation needs of its driver: a task with sockets, or a simulation.
//!
//! Owns: [`Host`], [`PendingStep`], and the values that cross it. Never knows: when it is asked, sockets,
//! tasks, wakers.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::command::Spec;
use crate::config::ClientLimits;
use crate::resp::Request;
use crate::session::{Cause, Completed, Context, Judged, Login, Route, Scripts, Session};
use crate::telemetry::ClientDisconnect;
use crate::traffic::{Facts, Loss, Outgoing, PoolKey, Ticket, Unavailable};
use crate::upstream::{FramePiece, PinnedLine, Reply};

/// What the request at the front of the client's bytes waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingStep {
    No,
    /// A reply: everything in flight must be answered first.
    Reply,
    /// Until then, or for its turn: a limit of the policy.
    Pause(Instant),
    /// Until the audit log has room, or until then.
    Room(Instant),
    /// A pinned connection.
    Lease(Cause),
    /// A shared connection that works.
    Open(PoolKey),
}

/// What of a conversation is to be known for the context of its next request.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    pub limits: &'a ClientLimits,
    pub key: PoolKey,
    pub has_lease: bool,
    /// The request is better sent on a pinned connection, if one is free.
    pub prefers_lease: bool,
    pub now: Instant,
}

/// Whether the audit log has room for what a command is recorded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    No,
    /// Until there is room, at most until then.
    Wait(Instant),
    Refuse,
}

/// What has become of the policy of the session's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyChange {
    Same,
    New,
    /// There is no such user any more.
    NoUser,
}

/// How a session lets go of its pinned connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Another session may have it.
    Returned,
    /// The connection is closed: it carries state.
    Dropped,
    /// The connection is closed: its identity was replaced.
    Replaced,
}

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// No more of a large request moved in time.
    UploadTimedOut,
    /// The client is a browser.
    CrossProtocol,
    /// The server sent a reply on the pinned connection that belongs to no request: the connection must be closed.
    Untrusted,
}

/// The surroundings of a conversation. Every call returns at once; what takes time is a
/// [`PendingStep`], whose end is reported to the conversation.
pub trait Host {
    /// Judges a request: calls `judge` with what is to be known of the world at `moment`.
    fn with_context<R>(
        &mut self,
        moment: &Moment<'_>,
        judge: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R;

    /// What [`Step::SendWire`](crate::session::Step::SendWire) and [`Step::Ask`](crate::session::Step::Ask)
    /// send, and the way back for its buffer.
    fn take_wire(&mut self) -> BytesMut;
    fn reuse(&mut self, wire: BytesMut);

    /// Lends the scripts of all sessions.
    fn with_scripts<R>(&mut self, learn: impl FnOnce(&mut Scripts) -> R) -> R;

    /// Puts a request into the line of the shared connection of `route`.
    ///
    /// # Errors
    ///
    /// When the line is full or the server is known to be away: nothing was sent.
    fn send(&mut self, route: Route, request: Outgoing<'_>) -> Result<(), Unavailable>;

    /// What is known of the server behind a shared connection, if that is up.
    fn known(&mut self, key: PoolKey) -> Option<Facts>;

    /// The line of the pinned connection.
    fn line(&mut self) -> Option<&mut PinnedLine>;
    /// Bytes of it that are not written yet.
    fn unwritten(&self) -> usize;
    /// The next piece of a frame at the front of `bytes`, which came on the pinned connection. `None` when that
    /// is no frame.
    fn frame(&mut self, bytes: &[u8]) -> Option<FramePiece>;
    /// What a piece of a reply is to the session that came on the pinned connection; see
    /// [`PinnedLine::match_reply`].
    fn match_reply(
        &mut self,
        piece: (&[u8], u8, bool),
        large_bytes: u64,
        now: Instant,
    ) -> Reply<'_>;

    /// The server has answered with an error there: what completes a request and was refused goes to a shared
    /// connection.
    fn complete_refused(&mut self) {}

    /// The pinned connection is not needed any more.
    fn end_lease(&mut self, end: LeaseEnd);
    /// What becomes of each request on the pinned connection that is given up: [`PinnedLine::take_losses`].
    fn take_losses(&mut self, why: Loss) -> Vec<(Ticket, Loss)> {
        self.line().map_or_else(Vec::new, |line| line.take_losses(why))
    }
    /// Closes the pinned connection, and `lost` more requests are lost with it.
    fn lose_lease(&mut self, why: Loss, lost: usize);
    /// Whether others wait for a pinned connection.
    fn lease_is_waited_for(&self) -> bool {
        false
    }
    /// Since when the identity or password in force is another than the pinned connection's, as known at `now`.
    fn lease_outdated_since(&mut self, _now: Instant) -> Option<Instant> {
        None
    }
    /// The same as it was known last.
    fn lease_outdated(&self) -> Option<Instant> {
        None
    }
    /// Whether the pinned connection has reported that its server is no primary.
    fn lease_reports_not_primary(&self) -> bool {
        false
    }

    // The state of everything around.

    /// Whether one connection is for one client, until it leaves.
    fn is_dedicated(&self) -> bool;
    /// Whether the shared connection in use is kept from others because this client reads slowly.
    fn is_aside(&self) -> bool {
        false
    }
    /// Whether something waits until this client has read some.
    fn holds_up(&self) -> bool {
        false
    }
    /// Whether the shared connection in use is down.
    fn is_down(&self) -> bool {
        false
    }
    /// Whether the server cannot be reached.
    fn is_out(&self) -> bool {
        false
    }
    /// Whether the way to the server is silent.
    fn is_silent(&self) -> bool {
        false
    }
    /// Whether the connection is to end once no reply is outstanding: respgate drains its clients, or this one.
    fn is_to_end(&self) -> bool {
        false
    }
    /// Why, if it is.
    fn end_reason(&self) -> ClientDisconnect {
        ClientDisconnect::Drain
    }
    /// Whether all clients together keep more than they may.
    fn is_over_budget(&self) -> bool {
        false
    }
    /// Whether there is room for more.
    fn has_budget(&self) -> bool {
        true
    }
    /// `upstream.pool.command_timeout`; zero: none.
    fn command_timeout(&self) -> Duration {
        Duration::ZERO
    }
    /// `upstream.pool.health_check_interval`.
    fn health_check_interval(&self) -> Duration {
        Duration::ZERO
    }
    /// `upstream.pool.pinned_grace`; zero: none.
    fn pinned_grace(&self) -> Duration {
        Duration::ZERO
    }
    /// How long requests wait while the server cannot be reached.
    fn outage_wait(&self) -> Duration {
        Duration::ZERO
    }
    /// The longest argument that the policy permits this command.
    fn argument_max(&self, _spec: &'static Spec) -> Option<u64> {
        None
    }
    /// Room for output, where there is none.
    fn lend_buffer(&mut self, _out: &mut BytesMut) {}
    /// Whether a command may be judged now. One that is refused leaves nothing of the command before.
    fn hold(&mut self, _now: Instant) -> Hold {
        Hold::No
    }
    /// The policy of the session's user may have changed: it is looked up, and used from here on.
    fn settle_policy(&mut self, _session: &mut Session, _now: Instant) -> PolicyChange {
        PolicyChange::Same
    }

    // What is only observed.

    /// A request was judged; the step is taken after this.
    fn judged(&mut self, _: &Session, _request: &Request<'_>, _judged: &Judged, _now: Instant) {}
    /// The step that deals with a request was taken.
    fn presented(&mut self, _judged: &Judged) {}
    /// So many bytes and commands of the client are done with.
    fn consumed(&mut self, _bytes: usize, _commands: u64) {}
    /// The client has tried to log in.
    fn logged_in(&mut self, _login: Login, _now: Instant) {}
    /// An answer of the proxy's own came later than its request was judged.
    fn answered(&mut self, _error: bool) {}
    /// The pinned connection has answered a request, all of which the client had sent at `sent`.
    fn completed(&mut self, _session: &Session, _done: Completed, _sent: Instant, _now: Instant) {}
    /// Requests on the pinned connection get no reply; the client had sent all of them at `sent`.
    fn lost(&mut self, _: &Session, _lost: &[(Completed, Loss)], _sent: Instant, _now: Instant) {}
    /// A request could not be sent.
    fn not_sent(&mut self, _loss: Loss) {}
    /// No pinned connection was to be had for the request that was presented.
    fn unavailable(&mut self, _command: Option<&'static Spec>) {}
    /// An argument was too long.
    fn oversize(&mut self) {}
    /// Bytes of the client are no request.
    fn malformed(&mut self, _label: &'static str) {}
    fn notice(&mut self, _notice: Notice) {}
}

//! A session's state, and the steps by which every request enters or leaves its queue.
//!
//! Owns: [`Session`], [`Context`], [`Step`]: what goes in and what comes out. Never knows: what any one
//! command does to the state.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::access::{Auth, Login};
use super::connection_flags::ConnectionFlags;
use super::degraded::Degraded;
use super::greeted::Greeted;
use super::limiter::Admission;
use super::limiter_registry::Limiters;
use super::multi_permission::MultiPermission;
use super::own::Own;
use super::peer::Peer;
use super::pending_query::PendingQuery;
use super::queue::{BlockEnd, Class, Expect, ReplyQueue};
use super::replica::Replication;
use super::request_scratch::RequestScratch;
use super::residue::Residue;
use super::roster::{Roster, Seat};
use super::script_cache::{NoscriptRetries, Scripts};
use super::subscriptions::Subscriptions;
use super::transaction::Transaction;
use super::users::Name;
use crate::base::limits;
use crate::command::Spec;
use crate::config::{ClientLimits, OnOutage};
use crate::policy::{Policy, Prefix, Stripper};
use crate::resp::Protocol;
use crate::traffic::{PoolKey, Server, Ticket};

/// What a session needs to know of the world to judge one request.
#[derive(Debug)]
pub struct Context<'a> {
    pub policy: &'a Policy,
    pub auth: &'a Auth,
    pub limits: &'a ClientLimits,
    /// `pool.mode = "session"`.
    pub dedicated: bool,
    /// The server is a Valkey, whose words differ here and there.
    pub valkey: bool,
    /// Which one.
    pub server: Server,
    /// A pinned connection is at hand.
    pub has_lease: bool,
    /// A pinned connection for large values could be had at once.
    pub lends_at_once: bool,
    /// The server serves, but holds what may write.
    pub held: bool,
    pub now: Instant,
    /// Milliseconds since 1970, if the policy wants them.
    pub unix_ms: u64,
    /// Another number whenever the server may have been restarted or replaced.
    pub epoch: u64,
    pub scripts: &'a Scripts,
    pub multi_permission: &'a MultiPermission,
    /// What is used of the policy's limits.
    pub limiters: &'a Limiters,
    pub request_scratch: &'a mut RequestScratch,
}

/// Which connection carries a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Shared(PoolKey),
    /// Behind the others that the server holds.
    Held(PoolKey),
    Pinned,
}

/// Why a session needs a connection of its own, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Watch,
    Blocking,
    Subscribe,
    Monitor,
    Tracking,
    Large,
    Multi,
    Replication,
    Session,
    Release,
}

/// What the connection must do with the request just presented.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It is dealt with: its reply is in its place, or none will come.
    Done,
    /// Send the request as it is.
    Send { route: Route, ticket: Ticket, retry: bool },
    /// Send what [`RequestScratch::take_wire`] gives.
    SendWire { route: Route, ticket: Ticket, wire: WireLayout },
    /// Send what [`RequestScratch::take_wire`] gives, requests of the session's own, and present the same
    /// request again when a reply has arrived. `skip`: replies before the one that counts. `retry`:
    /// it may be executed twice without harm.
    Ask { route: Route, ticket: Ticket, skip: u32, retry: bool },
    /// Nothing has changed: present the same request again when a reply has arrived.
    Wait,
    /// Nothing has changed: present the same request again at this time, or when
    /// [`Session::poll_turn`] says so.
    Pause(Instant),
    /// Nothing has changed: get a pinned connection, then present the same request again.
    Acquire(Cause),
    /// Make sure that a shared connection for this key works, then call [`Session::handle_opened`].
    Open(PoolKey),
    /// The request is only a head and cannot be judged yet: collect the rest, present it whole.
    Collect,
    /// Close when everything before is answered and written.
    Close,
}

impl Step {
    /// Whether the same request comes again.
    #[must_use]
    pub const fn presents_again(&self) -> bool {
        matches!(
            self,
            Self::Wait | Self::Pause(_) | Self::Ask { .. } | Self::Acquire(_) | Self::Collect
        )
    }
}

/// How the bytes of [`RequestScratch::take_wire`] are to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WireLayout {
    /// Replies that come before the one that counts.
    pub skip: u32,
    pub retry: bool,
    /// Where the request itself ends; what follows goes behind its last byte.
    pub split: usize,
    /// Requests in what follows. Their replies belong to the next ticket, all but the last as `skip`.
    pub companions: u32,
}

/// The reply does not belong to any request: the connection it came on cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnexpectedReply;

/// What waits for a shared connection to be opened.
#[derive(Debug)]
pub(super) enum PendingOpen {
    Select(u32),
    Hello(Greeted),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum ReplyMode {
    #[default]
    On,
    Off,
    SkipNext,
}

/// One downstream connection's Redis state.
#[derive(Debug)]
pub struct Session {
    /// Where it is shown to others.
    pub(super) seat: Rc<Seat>,
    pub(super) roster: Rc<Roster>,
    pub(super) protocol: Protocol,
    pub(super) database: u32,
    pub(super) authenticated: bool,
    /// Whose policy is in force.
    pub(super) user: Name,
    /// The user may have changed since `take_user_is_new` was last called.
    pub(super) user_is_new: bool,
    pub(super) on_outage: OnOutage,
    pub(super) degraded: Degraded,
    pub(super) queue: ReplyQueue,
    /// Where everything in flight travels.
    pub(super) flight: Route,
    /// Of what blocks on the pinned connection.
    pub(super) block: BlockEnd,
    pub(super) transaction: Option<Box<Transaction>>,
    /// An EXEC or SELECT is on its way whose answer changes what is known here, or a script that may
    /// have to be sent again: nothing may be judged before.
    pub(super) executing: bool,
    /// How many commands the transaction has that is on its way.
    pub(super) executes: Option<u32>,
    pub(super) watching: bool,
    /// Keys named in WATCH.
    pub(super) watched: u32,
    /// How many prefixes of CLIENT TRACKING at most.
    pub(super) prefixes: usize,
    pub(super) watch_lost: bool,
    /// The pinned connection watches what the client does not any more.
    pub(super) must_unwatch: bool,
    pub(super) subscriptions: Subscriptions,
    pub(super) tracking: bool,
    /// It receives invalidations of all keys, read or not.
    pub(super) broadcast: bool,
    /// The client that receives its invalidations; 0 is itself.
    pub(super) redirect: i64,
    /// That client is gone.
    pub(super) redirect_broken: bool,
    /// Since when it waits for that client's pinned connection.
    pub(super) awaits_since: Option<Instant>,
    /// Since when a script waits until the server has said what its Lua has.
    pub(super) guard_wait: Option<Instant>,
    /// What the client asked to be kept from, on the pinned connection.
    pub(super) flags: ConnectionFlags,
    pub(super) monitor: bool,
    /// READONLY is in force (Valkey).
    pub(super) reads_only: bool,
    /// The client has killed itself.
    pub(super) farewell: bool,
    pub(super) replication: Replication,
    /// With `pool.mode = "session"`.
    pub(super) own: Option<Box<Own>>,
    pub(super) large_reply_credit: u8,
    pub(super) reply_mode: ReplyMode,
    /// The request at hand is only a head.
    pub(super) incomplete: bool,
    /// What of this session is left on the pinned connection.
    pub(super) residue: Residue,
    pub(super) opening: Option<Box<PendingOpen>>,
    pub(super) partial: BytesMut,
    /// What is known of scripts, once there was one.
    pub(super) replays: Option<Box<NoscriptRetries>>,
    /// The prefix of the names of its subscriptions and invalidations.
    pub(super) names: Option<Arc<Prefix>>,
    /// Takes it off the reply in progress.
    pub(super) stripper: Option<Box<Stripper>>,
    pub(super) query: Option<Box<PendingQuery>>,
    /// Outcome of the last login, until it is read.
    pub(super) login: Option<Login>,
    /// The login at hand is wrong, and may be answered then.
    pub(super) wrong_until: Option<Instant>,
    pub(super) last_command: Option<&'static Spec>,
    /// As CLIENT LIST shows it.
    pub(super) shown_command: Option<&'static Spec>,
    pub(super) admission: Option<Box<Admission>>,
    /// Limits of the policy whose slots EXEC takes for the commands that are queued.
    pub(super) queued_limits: Vec<usize>,
    /// Some of the oldest reply has gone to the client, not all.
    pub(super) begun: bool,
    /// Requests that may be on their way at once; grows with every reply, as it is unknown
    /// beforehand how large they are.
    pub(super) window: usize,
    /// Bytes of the reply in progress, and of a large one among the last.
    pub(super) reply_bytes: usize,
    pub(super) reply_size: usize,
}

impl Session {
    /// A client that is alone. `id` is what CLIENT ID answers.
    #[must_use]
    pub fn new(id: u64, auth: &Auth, now: Instant, on_outage: OnOutage) -> Self {
        let roster = Roster::new(now);
        let seat = roster.enter(id, Peer::default(), now);
        Self::enter(roster, seat, auth, on_outage)
    }

    /// A client that has just connected. `on_outage` is what it sees when the server cannot be
    /// reached.
    #[must_use]
    pub fn enter(roster: Rc<Roster>, seat: Rc<Seat>, auth: &Auth, on_outage: OnOutage) -> Self {
        let (user, authenticated) = auth.enter(&seat.peer.identity);
        roster.note_user(&seat, &user);
        let key = PoolKey { protocol: Protocol::Resp2, database: 0 };
        Self {
            seat,
            roster,
            protocol: key.protocol,
            database: key.database,
            authenticated,
            user,
            user_is_new: false,
            on_outage,
            degraded: Degraded::default(),
            queue: ReplyQueue::default(),
            flight: Route::Shared(key),
            block: BlockEnd::default(),
            transaction: None,
            executing: false,
            executes: None,
            watching: false,
            watched: 0,
            prefixes: 0,
            watch_lost: false,
            must_unwatch: false,
            subscriptions: Subscriptions::default(),
            tracking: false,
            broadcast: false,
            redirect: 0,
            redirect_broken: false,
            awaits_since: None,
            guard_wait: None,
            flags: ConnectionFlags::default(),
            monitor: false,
            reads_only: false,
            farewell: false,
            replication: Replication::No,
            own: None,
            large_reply_credit: 0,
            reply_mode: ReplyMode::On,
            incomplete: false,
            residue: Residue::Clean,
            opening: None,
            partial: BytesMut::new(),
            replays: None,
            names: None,
            stripper: None,
            query: None,
            login: None,
            wrong_until: None,
            last_command: None,
            shown_command: None,
            admission: None,
            queued_limits: Vec::new(),
            begun: false,
            window: limits::WINDOW_START,
            reply_bytes: 0,
            reply_size: 0,
        }
    }

    /// The shared connections this session's commands belong on.
    #[must_use]
    pub const fn key(&self) -> PoolKey {
        PoolKey { protocol: self.protocol, database: self.database }
    }

    /// Requests on their way.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.queue.in_flight()
    }

    /// Bytes that this session keeps besides the connection's buffers.
    #[must_use]
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
            + self.replays.as_ref().map_or(0, |replays| replays.kept_bytes)
            + self.queue.held_bytes()
            + self.stripper.as_ref().map_or(0, |stripper| stripper.held_bytes())
            + self.transaction.as_ref().map_or(0, |transaction| transaction.held_bytes())
            + self.own.as_ref().map_or(0, |own| own.held_bytes())
            + self
                .seat
                .client_info
                .borrow()
                .as_ref()
                .map_or(0, |client_info| client_info.held_bytes())
    }

    /// Bytes of replies that are known but must wait for others.
    #[must_use]
    pub const fn waiting_bytes(&self) -> usize {
        self.queue.held_bytes()
    }

    /// The command of the request just presented, if it is one.
    #[must_use]
    pub const fn command(&self) -> Option<&'static Spec> {
        self.last_command
    }

    /// The last command that was one, as others are shown it.
    #[must_use]
    pub const fn shown_command(&self) -> Option<&'static Spec> {
        self.shown_command
    }

    /// The same as [`Self::command`], once.
    pub const fn take_command(&mut self) -> Option<&'static Spec> {
        self.last_command.take()
    }

    /// Whether the client waits for others' writes, or is sent them all.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.is_streaming() || self.queue.peek().is_some_and(|front| front.class == Class::Blocking)
    }

    /// Whether a request may take `route` at this moment: everything in flight must travel there
    /// too, or replies (and effects) could overtake each other.
    #[inline(always)]
    pub(super) fn passable(
        &self,
        route: Route,
        cause: Cause,
        ctx: &Context<'_>,
    ) -> Result<(), Step> {
        let in_flight = self.in_flight();
        if in_flight > 0 && self.flight != route {
            return Err(Step::Wait);
        }
        if in_flight > 0 && self.must_discard_lease() && !self.state_lost_with_lease() {
            return Err(Step::Wait);
        }
        // No more than the client may leave unread, if the next replies are as large as the last.
        let unread = (in_flight + 1).saturating_mul(self.reply_size);
        if in_flight >= ctx.limits.max_in_flight.min(self.window)
            || (in_flight > 0 && unread > ctx.limits.output_soft_bytes)
        {
            return Err(Step::Wait);
        }
        if route == Route::Pinned && !ctx.has_lease {
            return Err(Step::Acquire(cause));
        }
        Ok(())
    }

    pub(super) fn send(
        &mut self,
        route: Route,
        cause: Cause,
        expect: Expect,
        class: Class,
        ctx: &mut Context<'_>,
    ) -> Step {
        match self.enqueue(route, cause, expect, 0, class, ctx) {
            Ok(ticket) => Step::Send { route, ticket, retry: false },
            Err(step) => step,
        }
    }

    /// All of the scratch's wire, for the reply after `skip` others.
    pub(super) fn send_wire(route: Route, ticket: Ticket, skip: u32) -> Step {
        let wire = WireLayout { skip, split: usize::MAX, ..WireLayout::default() };
        Step::SendWire { route, ticket, wire }
    }

    pub(super) fn enqueue(
        &mut self,
        route: Route,
        cause: Cause,
        expect: Expect,
        skip: u32,
        class: Class,
        ctx: &mut Context<'_>,
    ) -> Result<Ticket, Step> {
        self.passable(route, cause, ctx)?;
        self.flight = route;
        let page = matches!(expect, Expect::Page);
        let silent = !page && !matches!(expect, Expect::Hidden) && self.silence();
        let expect = match (expect, ctx.request_scratch.grant.strip.take()) {
            (Expect::Plain, Some(strip)) => Expect::Names(strip),
            (Expect::Script(mut replay), strip) => {
                replay.strip = strip;
                Expect::Script(replay)
            }
            (Expect::Redirect(_), strip) => Expect::Redirect(strip),
            (expect @ (Expect::Acks { .. } | Expect::Tracking { .. }), strip) => {
                self.names = strip.map(|strip| Arc::clone(strip.prefix()));
                expect
            }
            (expect, _) => expect,
        };
        let pinned = |count: u32| if route == Route::Pinned { count } else { 0 };
        let (command, skip) = (self.last_command, pinned(skip));
        let ticket = self.queue.push_remote(command, expect, skip, class, ctx.now, silent);
        if let Some(admission) = self.admission.take_if(|_| !page) {
            self.queue.keep(admission);
        }
        if let Some(before) = ctx.request_scratch.grant.companions.checked_sub(1) {
            // Silent: nothing of it reaches the client.
            let expect = Expect::Plain;
            self.queue.push_remote(None, expect, pinned(before), Class::Other, ctx.now, true);
        }
        Ok(ticket)
    }

    /// What holds after every call from outside; debug builds and the simulation crash where it does not.
    pub fn check_invariants(&self) {
        let flies = self.in_flight() > 0 || self.is_cut();
        debug_assert!(flies || !self.begun, "a reply has begun without a request");
        debug_assert!(flies || !self.executing, "it waits for an outcome that does not come");
        debug_assert!(self.executing || self.executes.is_none(), "commands of no transaction");
        debug_assert!(flies || self.subscriptions.pending == 0, "nothing is to be acknowledged");
        debug_assert!(self.own.is_none() || self.transaction.is_none(), "two transactions at once");
    }

    /// Whether everything that was asked is answered.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight() == 0 && self.opening.is_none()
    }
}

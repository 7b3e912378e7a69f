//! A session's state, and the steps by which every request enters or leaves its queue.
//!
//! Owns: [`Session`], [`Context`], [`Step`]: what goes in and what comes out. Never knows: what any one
//! command does to the state.

use std::time::Instant;

use bytes::BytesMut;

use super::about::About;
use super::auth::Auth;
use super::queue::{Class, Expect, ReplyQueue};
use super::subscriptions::Subscriptions;
use super::transaction::Transaction;
use super::words;
use crate::command::{Effect, Flags, Spec};
use crate::config::ClientLimits;
use crate::policy::{Policy, Refusal};
use crate::resp::{Protocol, encode};
use crate::traffic::{Loss, PoolKey, Ticket};

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
    /// A pinned connection is at hand.
    pub has_lease: bool,
    pub now: Instant,
}

/// Which connection carries a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Shared(PoolKey),
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
    Session,
}

/// What the shell must do with the request it has just presented.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It is dealt with: its reply is in its place, or none will come.
    Done,
    /// Send the request as it stands.
    Send { route: Route, ticket: Ticket, retry: bool },
    /// Send what [`Session::take_wire`] gives; `skip` replies come before the one that counts.
    SendWire { route: Route, ticket: Ticket, skip: u32 },
    /// Nothing has changed: present the same request again when a reply has arrived.
    Wait,
    /// Nothing has changed: get a pinned connection, then present the same request again.
    Acquire(Cause),
    /// Make sure that a shared connection for this key works, then call [`Session::handle_opened`].
    Open(PoolKey),
    /// The request is only a head and cannot be judged yet: collect the rest, present it whole.
    Collect,
    /// Close when everything before is answered and written.
    Close,
}

/// What the statistics want to know of a finished request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    pub class: Class,
    pub at: Instant,
    pub error: bool,
}

/// What shall become of the pinned connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseNeed {
    Keep,
    /// Nobody can tell it was lent.
    Return,
    /// It carries state of this session.
    Drop,
}

/// The reply does not belong to any request: the connection it came on cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surplus;

/// What waits for a shared connection to be opened.
#[derive(Debug)]
pub(super) enum Opening {
    Select(u32),
    Hello { protocol: Protocol, name: Option<Vec<u8>>, authenticate: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum ReplyMode {
    #[default]
    On,
    Off,
    SkipNext,
}

/// Commands for which a session that received a large reply stays on a pinned connection.
pub(super) const LARGE_REPLY_MEMORY: u8 = 64;

/// Requests that a session may have on their way before the first reply.
pub(super) const WINDOW_START: usize = 32;

/// One downstream connection's Redis state.
#[derive(Debug)]
pub struct Session {
    pub(super) id: u64,
    pub(super) protocol: Protocol,
    pub(super) database: u32,
    pub(super) authenticated: bool,
    pub(super) about: Option<Box<About>>,
    pub(super) queue: ReplyQueue,
    /// Where everything in flight travels.
    pub(super) flight: Route,
    pub(super) transaction: Option<Box<Transaction>>,
    /// An EXEC is on its way whose answer changes what is known here: nothing may be judged before.
    pub(super) executing: bool,
    pub(super) watching: bool,
    pub(super) watch_lost: bool,
    pub(super) subscriptions: Subscriptions,
    pub(super) tracking: bool,
    pub(super) monitor: bool,
    pub(super) bulky: u8,
    pub(super) reply_mode: ReplyMode,
    pub(super) lease_dirty: bool,
    pub(super) lease_drop: bool,
    pub(super) opening: Option<Box<Opening>>,
    pub(super) partial: BytesMut,
    pub(super) wire: BytesMut,
    pub(super) last_refusal: Option<Refusal>,
    pub(super) last_auth: Option<bool>,
    pub(super) last_command: Option<&'static Spec>,
    /// Some of the oldest reply has gone to the client, not all.
    pub(super) begun: bool,
    /// Requests that may be on their way at once; grows with every reply, as nobody knows
    /// beforehand how large they are.
    pub(super) window: usize,
    /// Bytes of the reply in progress, and of a large one among the last.
    pub(super) reply_bytes: usize,
    pub(super) reply_size: usize,
}

impl Session {
    /// A client that has just connected. `id` is what CLIENT ID answers.
    #[must_use]
    pub fn new(id: u64, auth: &Auth) -> Self {
        let key = PoolKey { protocol: Protocol::Resp2, database: 0 };
        Self {
            id,
            protocol: key.protocol,
            database: key.database,
            authenticated: !auth.required(),
            about: None,
            queue: ReplyQueue::default(),
            flight: Route::Shared(key),
            transaction: None,
            executing: false,
            watching: false,
            watch_lost: false,
            subscriptions: Subscriptions::default(),
            tracking: false,
            monitor: false,
            bulky: 0,
            reply_mode: ReplyMode::On,
            lease_dirty: false,
            lease_drop: false,
            opening: None,
            partial: BytesMut::new(),
            wire: BytesMut::new(),
            last_refusal: None,
            last_auth: None,
            last_command: None,
            begun: false,
            window: WINDOW_START,
            reply_bytes: 0,
            reply_size: 0,
        }
    }

    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
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

    /// Bytes that this session keeps besides the shell's buffers.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
            + self.transaction.as_ref().map_or(0, |transaction| transaction.held_bytes())
    }

    /// The refusal of the request just presented, once.
    pub const fn take_refused(&mut self) -> Option<Refusal> {
        self.last_refusal.take()
    }

    /// Whether the password of the request just presented was right, if it had one, once.
    pub const fn take_auth(&mut self) -> Option<bool> {
        self.last_auth.take()
    }

    /// The command of the request just presented, if it is one.
    pub const fn take_command(&mut self) -> Option<&'static Spec> {
        self.last_command.take()
    }

    /// Whether the client waits for others' writes.
    #[must_use]
    pub fn is_blocked(&mut self) -> bool {
        self.queue.front().is_some_and(|front| front.class == Class::Blocking)
    }

    /// Since when the oldest request on the pinned connection waits; `None` when it may.
    #[must_use]
    pub fn pinned_since(&self) -> Option<Instant> {
        let front = self.queue.peek().filter(|_| self.flight == Route::Pinned)?;
        (front.class != Class::Blocking).then_some(front.at)
    }

    /// Whether some of a reply from the pinned connection, not all, has been handed to the client.
    #[must_use]
    pub fn reply_has_begun(&self) -> bool {
        self.begun && self.flight == Route::Pinned
    }

    /// The bytes of [`Step::SendWire`].
    pub fn take_wire(&mut self) -> BytesMut {
        std::mem::take(&mut self.wire)
    }

    /// Whether the pinned connection must go before the next request.
    #[must_use]
    pub fn drops_lease(&self, dedicated: bool) -> bool {
        (self.lease_drop || self.lease_dirty) && self.lease_need(dedicated) == LeaseNeed::Drop
    }

    /// Whether not even a request that waits for it may take the pinned connection.
    #[must_use]
    pub const fn shuns_lease(&self) -> bool {
        self.lease_drop
    }

    /// What shall become of the pinned connection, if there is one.
    #[must_use]
    pub fn lease_need(&self, dedicated: bool) -> LeaseNeed {
        let flies = self.in_flight() > 0 && self.flight == Route::Pinned;
        if self.lease_drop && !flies && !self.lives_on_lease() {
            LeaseNeed::Drop
        } else if self.pins() || self.bulky > 0 || dedicated || flies {
            LeaseNeed::Keep
        } else if self.lease_dirty {
            LeaseNeed::Drop
        } else {
            LeaseNeed::Return
        }
    }

    /// The shell has given the pinned connection away.
    pub fn handle_lease_gone(&mut self) {
        self.lease_drop = false;
        self.lease_dirty = false;
        if self.watching {
            // What was watched may change unseen: EXEC will answer nil, as if it had.
            self.watching = false;
            self.watch_lost = true;
        }
        if self.in_flight() == 0 || self.flight == Route::Pinned {
            // Half a message, of a connection that nobody listens to any more.
            self.partial.clear();
        }
    }

    /// Whether the session's state lives on a pinned connection.
    pub(super) fn pins(&self) -> bool {
        self.watching || self.lives_on_lease()
    }

    /// Whether what is on the pinned connection cannot be had again, so that the session ends with it.
    #[must_use]
    pub fn lives_on_lease(&self) -> bool {
        self.subscriptions.any() || self.subscriptions.pending > 0 || self.tracking || self.monitor
    }

    /// Whether nothing of this session is on the pinned connection, on its way or kept there.
    #[must_use]
    pub fn is_off_lease(&self) -> bool {
        self.in_flight() == 0 && !self.pins()
    }

    /// Whether nothing but the memory of a large reply keeps the pinned connection.
    #[must_use]
    pub fn rests_on_lease(&self) -> bool {
        self.bulky > 0 && self.is_settled() && !self.pins()
    }

    /// The next large reply finds the session as it was before the first.
    pub const fn forget_large_reply(&mut self) {
        self.bulky = 0;
    }

    pub(super) fn usual_route(&self, ctx: &Context<'_>) -> Route {
        if ctx.dedicated || self.pins() || self.bulky > 0 {
            Route::Pinned
        } else {
            Route::Shared(self.key())
        }
    }

    pub(super) fn cause(&self, ctx: &Context<'_>) -> Cause {
        if self.watching {
            Cause::Watch
        } else if self.subscriptions.any() || self.subscriptions.pending > 0 {
            Cause::Subscribe
        } else if self.monitor {
            Cause::Monitor
        } else if self.tracking {
            Cause::Tracking
        } else if ctx.dedicated {
            Cause::Session
        } else {
            Cause::Large
        }
    }

    /// Whether a request may take `route` at this moment: everything in flight must travel there
    /// too, or replies (and effects) could overtake each other.
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
        if in_flight > 0 && self.shuns_lease() && !self.lives_on_lease() {
            return Err(Step::Wait);
        }
        // No more than the client may leave unread, if the next replies are as large as the last.
        let fitting = ctx.limits.output_soft_bytes / self.reply_size.max(1);
        if in_flight >= ctx.limits.max_in_flight.min(self.window).min(fitting.max(1)) {
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
        ctx: &Context<'_>,
    ) -> Step {
        match self.enqueue(route, cause, expect, 0, class, ctx) {
            Ok(ticket) => Step::Send { route, ticket, retry: false },
            Err(step) => step,
        }
    }

    pub(super) fn enqueue(
        &mut self,
        route: Route,
        cause: Cause,
        expect: Expect,
        skip: u32,
        class: Class,
        ctx: &Context<'_>,
    ) -> Result<Ticket, Step> {
        self.passable(route, cause, ctx)?;
        self.flight = route;
        let silent = !matches!(expect, Expect::Hidden) && self.silence();
        let pinned_skip = if route == Route::Pinned { skip } else { 0 };
        Ok(self.queue.push_remote(expect, pinned_skip, class, ctx.now, silent))
    }

    /// Whether the reply to the request at hand is suppressed; uses up a SKIP.
    pub(super) fn silence(&mut self) -> bool {
        let silent = self.reply_mode != ReplyMode::On;
        if self.reply_mode == ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::On;
        }
        silent
    }

    /// The proxy's own reply, in line.
    pub(super) fn answer(&mut self, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        let silent = self.silence();
        self.queue.push_local(silent, false, out, write);
    }

    /// An error instead of execution; spoils a transaction as Redis's `rejectCommand` does.
    pub(super) fn refuse_text(&mut self, text: impl AsRef<[u8]>, out: &mut BytesMut) -> Step {
        if let Some(transaction) = &mut self.transaction {
            transaction.spoil();
        }
        self.answer(out, |out| encode::error(out, text));
        Step::Done
    }

    /// The request at hand will not be sent: no connection of the kind it needs can be had.
    pub fn handle_unavailable(&mut self, loss: Loss, out: &mut BytesMut) {
        let text = words::loss(loss);
        let exec = self.last_command.is_some_and(|spec| spec.effect == Effect::Exec);
        if exec && self.transaction.take().is_some() {
            // Nothing is watched: what is watched has its connection at hand.
            let line = [words::EXECABORT_BECAUSE, text.trim_start_matches("ERR ")].concat();
            return self.answer(out, |out| encode::error(out, line));
        }
        self.refuse_text(&text, out);
    }

    /// The request at hand has an argument over the limit; its bytes are thrown away.
    pub fn handle_oversize(&mut self, length: u64, ctx: &Context<'_>, out: &mut BytesMut) {
        let text = words::oversize(length, ctx.limits.max_bulk_bytes);
        self.refuse_text(&text, out);
    }

    /// The frame at hand is malformed: the last words of this session.
    pub fn handle_protocol_error(&mut self, message: &str, out: &mut BytesMut) {
        self.answer(out, |out| encode::error(out, message.as_bytes()));
    }

    /// Whether everything that was asked is answered.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight() == 0 && self.opening.is_none()
    }

    /// Whether the session may be ended politely: no transaction, no watch, no subscription.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_settled() && self.transaction.is_none() && !self.pins()
    }
}

pub(super) fn class_of(spec: &Spec) -> Class {
    if spec.flags.has(Flags::WRITE) {
        Class::Write
    } else if spec.flags.has(Flags::READONLY) {
        Class::Read
    } else {
        Class::Other
    }
}

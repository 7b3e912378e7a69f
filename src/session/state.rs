//! The parts of a session, and what needs several of them: the way of its requests and its own answers.
//!
//! Owns: [`Session`]. Never knows: what any one command does to its parts, what any reply means.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::access::Auth;
use super::admission::Admissions;
use super::awaited::Awaited;
use super::connection_flags::ConnectionFlags;
use super::context::Context;
use super::dialect::Dialect;
use super::expect::Expect;
use super::greeted::Greeted;
use super::large_replies::LargeReplies;
use super::listening::Listening;
use super::outage::Outage;
use super::own::Own;
use super::peer::Peer;
use super::pending_query::PendingQuery;
use super::pinning::Pinning;
use super::queue::Class;
use super::recent_commands::RecentCommands;
use super::replies::Replies;
use super::reply_mode::ReplyMode;
use super::residue::{LeaseFate, Residue, fate};
use super::retries::Retries;
use super::roster::{ClientEntry, Roster};
use super::step::{Cause, Route, Step, WireLayout};
use super::transaction::Transaction;
use super::user::ClientUser;
use super::watch::Watch;
use crate::base::lazy_box::LazyBox;
use crate::command::{Local, Spec};
use crate::config::OnOutage;
use crate::resp::{Request, encode};
use crate::traffic::{PoolKey, Skips, Ticket};

/// What waits for a shared connection to be opened.
#[derive(Debug)]
pub(super) enum PendingOpen {
    Select(u32),
    Hello(Greeted),
}

/// One downstream connection's Redis state. Each part changes by its own methods alone.
#[derive(Debug)]
pub struct Session {
    /// Where it is shown to others.
    pub(super) entry: Rc<ClientEntry>,
    pub(super) roster: Rc<Roster>,
    pub(super) user: ClientUser,
    pub(super) dialect: Dialect,
    pub(super) outage: Outage,
    pub(super) replies: Replies,
    pub(super) awaited: Awaited,
    pub(super) transaction: Option<Box<Transaction>>,
    pub(super) watch: Watch,
    pub(super) listening: LazyBox<Listening>,
    /// What the client asked to be kept from.
    pub(super) flags: ConnectionFlags,
    /// With `pool.mode = "session"`.
    pub(super) own: Option<Box<Own>>,
    pub(super) large_replies: LargeReplies,
    pub(super) reply_mode: ReplyMode,
    /// What of this session is left on the pinned connection.
    pub(super) residue: Residue,
    pub(super) opening: Option<Box<PendingOpen>>,
    pub(super) retries: Retries,
    pub(super) query: Option<Box<PendingQuery>>,
    pub(super) commands: RecentCommands,
    pub(super) admissions: Admissions,
    /// The client has killed itself.
    pub(super) farewell: bool,
}

impl Session {
    /// A client that is alone. `id` is what CLIENT ID answers.
    #[must_use]
    pub fn new(id: u64, auth: &Auth, now: Instant, on_outage: OnOutage) -> Self {
        let roster = Roster::new(now);
        let entry = roster.enter(id, Peer::default(), now);
        Self::enter(roster, entry, auth, on_outage)
    }

    /// A client that has just connected. `on_outage` is what it sees when the server cannot be reached.
    #[must_use]
    pub fn enter(
        roster: Rc<Roster>,
        entry: Rc<ClientEntry>,
        auth: &Auth,
        on_outage: OnOutage,
    ) -> Self {
        Self {
            user: ClientUser::enter(auth, &roster, &entry),
            entry,
            roster,
            outage: Outage::new(on_outage),
            replies: Replies::new(Dialect::default().key()),
            dialect: Dialect::default(),
            awaited: Awaited::default(),
            transaction: None,
            watch: Watch::default(),
            listening: LazyBox::default(),
            flags: ConnectionFlags::default(),
            own: None,
            large_replies: LargeReplies::default(),
            reply_mode: ReplyMode::default(),
            residue: Residue::default(),
            opening: None,
            retries: Retries::default(),
            query: None,
            commands: RecentCommands::default(),
            admissions: Admissions::default(),
            farewell: false,
        }
    }

    /// Resets the session to that of a client that has just connected: what is not named here begins anew.
    pub(super) fn begin_anew(&mut self, auth: &Auth, has_lease: bool) {
        debug_assert!(self.in_flight() == 0 && !self.awaited.is_any(), "a reply would be lost");
        self.entry.end_target();
        self.entry.forget_name();
        let mut user = std::mem::take(&mut self.user);
        user.become_user(auth.enter(&self.entry.peer.identity), &self.roster, &self.entry);
        let mut own = self.own.take();
        own.iter_mut().for_each(|own| own.move_on());
        let mut residue = self.residue;
        residue.note_if(has_lease, Residue::Poisoned);
        let dialect = Dialect::default();
        *self = Self {
            entry: Rc::clone(&self.entry),
            roster: Rc::clone(&self.roster),
            user,
            outage: self.outage.clone(),
            replies: std::mem::replace(&mut self.replies, Replies::new(dialect.key())),
            retries: std::mem::take(&mut self.retries),
            own,
            residue,
            commands: self.commands,
            dialect,
            awaited: Awaited::default(),
            transaction: None,
            watch: Watch::default(),
            listening: LazyBox::default(),
            flags: ConnectionFlags::default(),
            large_replies: LargeReplies::default(),
            reply_mode: ReplyMode::default(),
            opening: None,
            query: None,
            admissions: Admissions::default(),
            farewell: false,
        };
        debug_assert!(!self.pinning().binds(), "it begins without a connection of its own");
        debug_assert!(self.key() == Dialect::default().key(), "it has the protocol of before");
        self.check_invariants();
    }

    /// When the client was accepted.
    pub(crate) fn since(&self) -> Instant {
        self.entry.since
    }

    /// The shared connections this session's commands belong on.
    #[must_use]
    pub const fn key(&self) -> PoolKey {
        self.dialect.key()
    }

    /// Requests in flight.
    #[must_use]
    #[inline(always)]
    pub const fn in_flight(&self) -> usize {
        self.replies.in_flight()
    }

    /// Whether everything that was asked is answered.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight() == 0 && self.opening.is_none()
    }

    /// Whether the next piece of the reply to `ticket` goes to the client as it comes, whatever it is:
    /// [`Self::handle_passed`] is called for it then.
    #[must_use]
    #[inline]
    pub fn passes_unread(&self, ticket: Ticket) -> bool {
        self.replies.queue.front_is_plain(ticket)
    }

    /// Whether its next request would rather travel on a pinned connection, but needs none.
    #[must_use]
    pub const fn prefers_lease(&self) -> bool {
        self.large_replies.are_likely()
    }

    /// Whether commands are queued, here or at the server.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.transaction.is_some() || self.transacts_on_own()
    }

    /// Whether commands are queued at the server.
    pub(super) fn transacts_on_own(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.transacts())
    }

    /// What ties it to its pinned connection.
    #[inline(always)]
    pub(super) fn pinning(&self) -> Pinning {
        let own = |own: &Own| own.is_bound() || self.watch.is_on();
        if self.listening.allocated().is_some_and(Listening::is_any) || self.entry.is_target() {
            Pinning::Living(self.listening.cause())
        } else if self.flags.any() || self.own.as_deref().is_some_and(own) {
            Pinning::Living(Cause::Session)
        } else if self.watch.is_on() {
            Pinning::Watching
        } else if self.large_replies.are_likely() {
            Pinning::Large
        } else {
            Pinning::No
        }
    }

    /// Whether anything may come that is not asked for.
    pub(super) fn receives_messages(&self) -> bool {
        self.listening.allocated().is_some_and(Listening::is_any) || self.entry.is_target()
    }

    /// What shall become of the pinned connection, if there is one.
    #[must_use]
    pub fn lease_need(&self, dedicated: bool) -> LeaseFate {
        if self.replies.waits_for_pinned() {
            return LeaseFate::Keep;
        }
        let fate = fate(self.residue, self.pinning(), dedicated);
        debug_assert!(
            fate == LeaseFate::Keep || !self.receives_messages(),
            "it ends while it has subscriptions"
        );
        fate
    }

    #[inline(always)]
    pub(super) fn usual_route(&self, ctx: &Context<'_>) -> Route {
        let pinned = match self.pinning() {
            Pinning::Watching | Pinning::Living(_) => true,
            // A connection of its own would be nice, but is not needed.
            Pinning::Large => ctx.has_lease || ctx.lends_at_once,
            Pinning::No => false,
        };
        if ctx.dedicated || pinned { Route::Pinned } else { Route::Shared(self.key()) }
    }

    /// The route of a command that may write, or not.
    #[inline(always)]
    pub(super) fn route(&self, writes: bool, ctx: &Context<'_>) -> Route {
        match self.usual_route(ctx) {
            Route::Shared(key) if writes && ctx.server_holds_writes => Route::Stalled(key),
            route @ (Route::Shared(_) | Route::Stalled(_) | Route::Pinned) => route,
        }
    }

    /// Why its usual route is the pinned connection.
    #[inline(always)]
    pub(super) fn cause(&self, ctx: &Context<'_>) -> Cause {
        match self.pinning() {
            _ if self.watch.is_on() => Cause::Watch,
            Pinning::Living(cause) => cause,
            _ if ctx.dedicated => Cause::Session,
            Pinning::Watching | Pinning::Large | Pinning::No => Cause::Large,
        }
    }

    /// Whether a request may take `route` at this moment.
    ///
    /// # Errors
    ///
    /// With the step to be taken first.
    #[inline(always)]
    pub(super) fn passable(
        &self,
        route: Route,
        cause: Cause,
        ctx: &Context<'_>,
    ) -> Result<(), Step> {
        if !self.replies.have_room(route, ctx.limits) {
            return Err(Step::Wait);
        }
        let poisoned = self.residue == Residue::Poisoned && self.in_flight() > 0;
        if poisoned && !self.pinning().is_fatal() {
            return Err(Step::Wait);
        }
        if route == Route::Pinned && !ctx.has_lease {
            return Err(Step::Acquire(cause));
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn send(
        &mut self,
        route: Route,
        cause: Cause,
        expect: Expect,
        class: Class,
        ctx: &mut Context<'_>,
    ) -> Step {
        match self.enqueue(route, cause, expect, class, ctx) {
            Ok(ticket) => Step::Send { route, ticket, retry: false },
            Err(step) => step,
        }
    }

    /// A command goes to the connection that is the session's own.
    pub(super) fn send_own(&mut self, expect: Expect, ctx: &mut Context<'_>) -> Step {
        self.send(Route::Pinned, Cause::Session, expect, Class::Other, ctx)
    }

    /// A command about that connection was sent there; `binds`: another one would not do any more.
    pub(super) fn note_sent_own(&mut self, spec: &Spec, request: &Request<'_>, binds: bool) {
        debug_assert!(self.replies.is_pinned(), "it was sent on another connection");
        let word = |at| request.arg(at).unwrap_or_default();
        if binds {
            self.own.get_or_insert_default().bind();
            self.residue.note(Residue::Dirty);
        } else if let Some(local @ (Local::SetName | Local::SetInfo)) = spec.effect.local() {
            self.entry.client_info_mut().note_name(local, word(2), word(3));
        }
    }

    /// A request gets its place in line.
    ///
    /// # Errors
    ///
    /// With the step to be taken first; nothing has changed then.
    pub(super) fn enqueue(
        &mut self,
        route: Route,
        cause: Cause,
        expect: Expect,
        class: Class,
        ctx: &mut Context<'_>,
    ) -> Result<Ticket, Step> {
        self.passable(route, cause, ctx)?;
        debug_assert!(!self.replies.queue.is_cut(), "nothing is sent behind the end");
        debug_assert!(!self.listening.is_streaming(), "its reply would be lost in the stream");
        debug_assert!(route != Route::Pinned || ctx.has_lease, "no connection carries it");
        self.replies.take_route(route);
        let page = matches!(expect, Expect::Page);
        let silent = !page && !matches!(expect, Expect::Hidden) && self.reply_mode.silence();
        let expect = match (expect, ctx.request_scratch.grant.strip.take()) {
            (Expect::Plain, Some(strip)) => Expect::Names(strip),
            (Expect::Script(mut retry), strip) => {
                retry.strip = strip;
                Expect::Script(retry)
            }
            (Expect::Redirect(_), strip) => Expect::Redirect(strip),
            (expect @ (Expect::Acks { .. } | Expect::Tracking { .. }), strip) => {
                self.listening.set_names(strip.map(|strip| Arc::clone(strip.prefix())));
                expect
            }
            (expect, _) => expect,
        };
        let (command, queue) = (self.commands.at_hand(), &mut self.replies.queue);
        let ticket = queue.push_remote(command, expect, class, ctx.now, silent);
        if !page && let Some(admission) = self.admissions.take() {
            queue.keep(admission);
        }
        if ctx.request_scratch.grant.companions > 0 {
            // Silent: nothing of it reaches the client.
            queue.push_remote(None, Expect::Plain, Class::Other, ctx.now, true);
        }
        Ok(ticket)
    }

    /// The proxy's own reply, in line.
    pub(super) fn answer(&mut self, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        debug_assert!(!self.listening.is_streaming(), "an answer within a stream");
        let silent = self.reply_mode.silence();
        self.replies.queue.push_local(silent, out, write);
    }

    /// An error instead of execution; spoils a transaction as Redis's `rejectCommand` does.
    pub(super) fn refuse_text(&mut self, text: impl AsRef<[u8]>, out: &mut BytesMut) -> Step {
        self.abort_transaction();
        self.answer(out, |out| encode::error(out, text));
        Step::Done
    }

    /// What the request at hand was given, and has waited for, is not the next one's.
    pub(super) fn forget_at_hand(&mut self) {
        self.admissions.forget();
        self.retries.end_wait();
        if let Some(listening) = self.listening.allocated_mut() {
            listening.tracking.end_wait();
        }
    }

    /// EXEC must not run what is queued.
    pub(super) fn abort_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.mark_aborted();
        }
        if let Some(own) = &mut self.own {
            own.mark_aborted();
            own.check_invariants();
        }
    }

    /// The pinned connection is not this session's any more.
    pub(super) fn lose_lease(&mut self) {
        self.entry.end_target();
        self.replies.end_framing();
        self.residue = Residue::Clean;
        if let Some(own) = &mut self.own {
            own.move_on();
        }
        self.watch.lose();
        if self.in_flight() == 0 || self.replies.is_pinned() {
            self.replies.drop_partial();
        }
        debug_assert!(!self.watch.is_on(), "it watches on no connection");
        debug_assert!(self.own.as_ref().is_none_or(|own| !own.is_bound()), "to no connection");
    }

    /// What holds after every call from outside; debug builds and the simulation crash where it does not.
    pub fn check_invariants(&self) {
        let waits = self.in_flight() > 0 || self.replies.queue.is_cut();
        debug_assert!(
            waits || !self.awaited.is_any(),
            "it waits for an outcome that does not come"
        );
        let acknowledged = !self.listening.subscriptions.is_pending();
        debug_assert!(waits || acknowledged, "nothing is to be acknowledged");
        debug_assert!(self.own.is_none() || self.transaction.is_none(), "two transactions at once");
        let asked = self.query.as_ref().and_then(|query| query.awaits());
        debug_assert!(waits || asked.is_none(), "an answer of the server does not come");
        let streams = self.listening.is_streaming();
        debug_assert!(!streams || self.in_flight() == 0, "a reply is lost in the stream");
        debug_assert!(!streams || self.transaction.is_none(), "a replica queues commands");
        debug_assert!(!streams || self.opening.is_none(), "a replica changes its connection");
        let holds = self.replies.queue.holds_others();
        debug_assert!(!holds || self.awaited.is_any(), "what comes behind is judged too early");
        self.listening.check_invariants();
        self.watch.check_invariants();
        self.own.iter().for_each(|own| own.check_invariants());
        debug_assert!(
            !self.watch.is_stale() || self.residue == Residue::Poisoned,
            "a connection watches keys that no client has asked for, and is kept"
        );
        self.replies.check_invariants();
    }
}

/// All of the scratch's wire, for the reply after those that are skipped.
pub(super) fn send_wire(route: Route, ticket: Ticket, skips: Skips) -> Step {
    let wire = WireLayout { skips, split: usize::MAX, ..WireLayout::default() };
    Step::SendWire { route, ticket, wire }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{clock, limits};

    #[test]
    fn wait_for_another_client_ends_with_the_request_that_waits() {
        let later = clock::now() + limits::TRACKING_TARGET_TIMEOUT;
        let end: [fn(&mut Session); 3] = [
            Session::forget_admission,
            |session| _ = session.handle_unaudited(&mut BytesMut::new()),
            |session| session.handle_oversize(2, u64::MAX, 1, &mut BytesMut::new()),
        ];
        for end in end {
            let mut session = Session::new(1, &Auth::Off, clock::now(), OnOutage::Error);
            let waits = |session: &mut Session, at| session.listening.tracking.await_target(at);
            assert!(waits(&mut session, later - limits::TRACKING_TARGET_TIMEOUT).is_some());
            end(&mut session);
            assert!(waits(&mut session, later).is_some(), "the next one has no time left");
        }
    }
}

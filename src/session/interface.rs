//! What happens to a session from outside, and what is asked of it there. After each call that changes it its
//! invariants hold.
//!
//! Owns: the calls of a [`Session`]. Never knows: how any one of them is carried out.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::access::{ListenerAccess, Login};
use super::completed::Completed;
use super::context::Context;
use super::expect::Expect;
use super::judged::Judged;
use super::limiter::{HeldSlot, Waiter};
use super::listening::Listening;
use super::pinning::Pinning;
use super::queue::Class;
use super::remote::Remote;
use super::reply::{self, Sorted};
use super::residue::{LeaseFate, Residue};
use super::script_cache::{Resend, Scripts};
use super::state::Session;
use super::step::{Cause, Route, WireLayout};
use super::{client_text, hello, request};
use crate::command::Spec;
use crate::policy::Policy;
use crate::resp::{Request, encode};
use crate::traffic::{Facts, Loss, OpenFailure, Ticket};

/// Requests.
impl Session {
    /// One request. May be called again with the same request after [`Step::Wait`](super::step::Step::Wait),
    /// [`Step::Pause`](super::step::Step::Pause) and [`Step::Acquire`](super::step::Step::Acquire); nothing has
    /// changed then.
    #[inline(never)]
    pub fn handle_request(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Judged {
        ctx.request_scratch.clear();
        self.commands.begin();
        let before = self.in_flight();
        let step = request::judge(self, request, ctx, out);
        // Nothing waits for replies to what a replica sends.
        let holds = self.listening.replicates() || step.puts_in_line(before, self.in_flight());
        debug_assert!(holds, "{step:?} after {before}");
        if !step.presents_again() {
            self.admissions.forget();
            self.user.end_request();
        }
        let command = self.commands.at_hand();
        let answered = self.replies.queue.take_own_error();
        let usual = Judged::new(step, command, answered);
        if self.user.has_login() || ctx.request_scratch.denial.is_some() {
            return usual.with(self.user.take_login(), ctx.request_scratch.denial);
        }
        usual
    }

    /// A request without arguments: it is no command, but CLIENT REPLY SKIP counts it (redis
    /// networking.c `resetClient`).
    pub fn handle_nothing(&mut self) {
        self.reply_mode.silence();
    }

    /// Whether the request that is presented next has not arrived as a whole. An answer to it waits
    /// for [`Self::handle_whole`], since there is none if its rest is malformed.
    #[inline(always)]
    pub const fn note_incomplete(&mut self, incomplete: bool) {
        self.replies.queue.note_incomplete(incomplete);
    }

    /// The request that was presented last has arrived as a whole.
    pub fn handle_whole(&mut self, out: &mut BytesMut) {
        self.replies.queue.release(out);
    }

    /// The rest of the request that was presented last is malformed: it is not answered. `sent`: so
    /// many places wait for the server, which will not answer them; what was sent before is answered,
    /// then the pinned connection must go.
    pub fn handle_withdrawal(&mut self, sent: usize) {
        self.replies.queue.forget_withheld();
        for _ in 0..sent {
            self.replies.queue.withdraw();
        }
        self.residue.note_if(sent > 0, Residue::Poisoned);
    }

    /// The request at hand has an argument over `limit`, or over that of the policy if it is lower;
    /// its bytes are thrown away.
    pub fn handle_oversize(&mut self, length: u64, own: u64, limit: u64, out: &mut BytesMut) {
        self.forget_at_hand();
        let text = if own < limit {
            client_text::too_long(length, own)
        } else {
            client_text::oversize(length, limit)
        };
        self.refuse_text(&text, out);
    }

    /// The frame at hand is malformed: the last words of this session.
    pub fn handle_protocol_error(&mut self, message: &[u8], out: &mut BytesMut) {
        self.answer(out, |out| encode::error(out, [b"ERR ", message].concat()));
    }

    /// The request at hand is not judged: the audit log could not take it.
    pub fn handle_unaudited(&mut self, out: &mut BytesMut) -> Judged {
        self.query = None;
        self.forget_at_hand();
        self.commands.begin();
        let step = self.refuse_text(client_text::UNAUDITED, out);
        Judged::new(step, None, self.replies.queue.take_own_error())
    }

    /// The request at hand will not be sent: no connection of the kind it needs can be had. Returns which
    /// command it is.
    pub fn handle_unavailable(&mut self, loss: Loss, out: &mut BytesMut) -> Option<&'static Spec> {
        self.query = None;
        self.forget_at_hand();
        request::answer_unavailable(self, loss, out);
        // It is counted as a loss.
        self.replies.queue.take_own_error();
        self.commands.at_hand()
    }

    /// The outcome of [`Step::Open`](super::step::Step::Open).
    pub fn handle_opened(&mut self, opened: Result<Facts, OpenFailure>, out: &mut BytesMut) {
        hello::take_opened(self, opened, out);
    }

    /// Whether there was a script, so that replies may have reported something about one.
    #[must_use]
    #[inline(always)]
    pub const fn knows_scripts(&self) -> bool {
        self.retries.has_any()
    }

    /// Shares with all sessions what replies have reported about scripts. Returns what must be sent at once,
    /// in the place of a request that stays in line, and its bytes.
    pub fn take_resend(
        &mut self,
        scripts: &mut Scripts,
    ) -> Option<(Route, Ticket, WireLayout, BytesMut)> {
        let Resend { ticket, retry, wire } = self.retries.take_resend(scripts)?;
        let how = WireLayout { retry, split: wire.len(), ..WireLayout::default() };
        Some((self.replies.route(), ticket, how, wire))
    }

    /// The place in the line for a slot of a limit, if the request at hand waits for one.
    #[must_use]
    pub(crate) fn turn(&self) -> Option<&Waiter> {
        self.admissions.turn()
    }

    /// The concurrency slots of the requests in flight. When the client disconnects before they are answered, the
    /// caller keeps the slots until then.
    pub fn take_held(&mut self) -> Vec<(Ticket, HeldSlot)> {
        self.replies.queue.take_held()
    }
}

/// Replies.
impl Session {
    /// A piece of the reply to `ticket`. `kind` is the reply's first byte;
    /// `done`: the reply ends with this piece. A reply without a waiting request is dropped.
    #[inline]
    pub fn handle_reply(
        &mut self,
        ticket: Ticket,
        chunk: &[u8],
        kind: u8,
        done: bool,
        out: &mut BytesMut,
    ) -> Option<Completed> {
        reply::take(self, ticket, chunk, kind, done, out)
    }

    /// A piece of what arrives on the pinned connection: whether it belongs to a reply, which is for
    /// [`Self::handle_reply`] then.
    pub fn sort_pinned(
        &mut self,
        chunk: &[u8],
        kind: u8,
        done: bool,
        out: &mut BytesMut,
    ) -> Sorted {
        reply::sort(self, chunk, kind, done, out)
    }

    /// Whether a reply of this kind to the oldest request is for the client as it is: [`Self::handle_passed`] then
    /// reports each piece.
    #[must_use]
    pub fn passes_on(&self, kind: u8) -> bool {
        reply::passes(self, kind)
    }

    /// A piece of `bytes` bytes has gone on to the client.
    pub fn handle_passed(
        &mut self,
        bytes: usize,
        kind: u8,
        done: bool,
        out: &mut BytesMut,
    ) -> Option<Completed> {
        reply::note_passed(self, bytes, kind, done, out)
    }

    /// The server has refused a queued command of the transaction behind `ticket`.
    pub fn note_refusal(&mut self, ticket: Ticket, line: &[u8]) {
        self.replies.queue.note_refusal(ticket, line);
    }

    /// A reply of at least `limits.large_bytes` came on a shared connection: the next commands of
    /// this session travel on a pinned one, where no other client waits behind their replies.
    pub const fn note_large_reply(&mut self) {
        self.replies.note_large();
        self.large_replies.note();
    }

    /// The request behind `ticket` will get no reply. Returns what the statistics want to know;
    /// `None` when no request waits for it any more.
    pub fn handle_loss(
        &mut self,
        ticket: Ticket,
        loss: Loss,
        out: &mut BytesMut,
    ) -> Option<Completed> {
        reply::lose(self, ticket, loss, out)
    }

    /// Bytes of replies that are known but must wait for others.
    #[must_use]
    #[inline(always)]
    pub const fn waiting_bytes(&self) -> usize {
        self.replies.queue.held_bytes()
    }

    /// Whether the answer of the proxy's own to the last request is an error; `None` when it has none,
    /// or this was asked before.
    #[inline(always)]
    pub const fn take_own_error(&mut self) -> Option<bool> {
        self.replies.queue.take_own_error()
    }

    /// Whether no byte will be written any more, whatever follows.
    #[must_use]
    pub fn is_mute(&self) -> bool {
        !self.reply_mode.is_on() && !self.replies.queue.will_reply()
    }

    /// Whether the client's connection is to be closed, once what is before in line is answered: the
    /// server cannot be reached, or could not in time.
    #[must_use]
    #[inline(always)]
    pub const fn is_cut(&self) -> bool {
        self.replies.queue.is_cut()
    }

    /// Whether the client has killed itself, and its last answer is not written yet.
    #[must_use]
    pub const fn has_killed_itself(&self) -> bool {
        self.farewell
    }
}

/// The pinned connection.
impl Session {
    /// Since when the oldest request on the pinned connection waits for its reply; one that blocks does
    /// not before the time is over that it waits for, which may be in the future. `None` when it may for ever.
    #[must_use]
    pub fn pinned_since(&self) -> Option<Instant> {
        self.replies.pinned_since()
    }

    /// Whether it waits for messages on its pinned connection and for nothing else: a lost server
    /// would not be noticed.
    #[must_use]
    pub fn only_listens(&self) -> bool {
        let listening = &self.listening;
        let listens = listening.subscriptions.any() || listening.tracking.is_on();
        let quiet = self.is_settled() && !self.replies.is_collecting();
        listens && quiet && !self.is_in_transaction() && !listening.replicates()
    }

    /// Returns the PING that is to be sent on the pinned connection. The client sees nothing of it.
    pub fn ask_alive(&mut self, now: Instant) -> (Ticket, &'static [u8]) {
        debug_assert!(self.only_listens(), "nothing else is under way");
        self.replies.take_route(Route::Pinned);
        let queue = &mut self.replies.queue;
        let ticket = queue.push_remote(None, Expect::Alive, Class::Other, now, false);
        (ticket, b"*1\r\n$4\r\npInG\r\n")
    }

    /// Whether requests are in flight on the pinned connection.
    #[must_use]
    pub fn has_pinned_requests(&self) -> bool {
        self.replies.waits_for_pinned()
    }

    /// Whether some of a reply from the pinned connection, not all, has been handed to the client.
    #[must_use]
    pub fn reply_has_begun(&self) -> bool {
        self.replies.has_begun() && self.replies.is_pinned()
    }

    /// Whether some of the reply to `ticket`, not all, has been handed to the client.
    #[must_use]
    pub fn has_begun_reply(&self, ticket: Ticket) -> bool {
        self.reply_has_begun()
            && self.replies.queue.peek().is_some_and(|front| front.ticket == ticket)
    }

    /// The pinned connection has half a request of which the rest will not come.
    pub fn note_half_request(&mut self) {
        self.residue.note(Residue::Poisoned);
    }

    /// Whether the session ends with the pinned connection.
    #[must_use]
    pub fn ends_with_lease(&self) -> bool {
        self.own.is_some() || self.pinning().is_fatal()
    }

    /// Whether the pinned connection must go before the next request.
    #[must_use]
    pub fn closes_lease(&self, dedicated: bool) -> bool {
        self.residue != Residue::Clean && self.lease_need(dedicated) == LeaseFate::Drop
    }

    /// Whether not even a request that waits for it may take the pinned connection.
    #[must_use]
    pub fn must_discard_lease(&self) -> bool {
        self.residue == Residue::Poisoned
    }

    /// Whether what is on the pinned connection cannot be had again, so that the session ends with it.
    #[must_use]
    pub fn state_lost_with_lease(&self) -> bool {
        self.pinning().is_fatal()
    }

    /// Whether the pinned connection has no request and no state of this session.
    #[must_use]
    pub fn has_left_lease(&self) -> bool {
        self.in_flight() == 0 && !self.pinning().binds()
    }

    /// Whether nothing but the memory of a large reply keeps the pinned connection.
    #[must_use]
    pub fn keeps_idle_lease(&self) -> bool {
        self.is_settled() && self.pinning() == Pinning::Large
    }

    /// The next large reply finds the session as it was before the first.
    pub const fn forget_large_reply(&mut self) {
        self.large_replies.forget();
    }

    /// Whether a request that would have waited for a pinned connection may do without: it is to be
    /// presented again, and goes on a shared one unless it is large itself.
    pub const fn forgoes_lease(&mut self, cause: Cause) -> bool {
        matches!(cause, Cause::Large) && self.large_replies.forgo()
    }

    /// The pinned connection is given back or closed, with nothing in flight there.
    pub fn handle_lease_gone(&mut self) {
        debug_assert!(!self.has_pinned_requests(), "requests on it are not answered");
        self.lose_lease();
    }

    /// The pinned connection is lost with everything on it. Returns whether the session must end,
    /// because state of it was there that cannot be had again, and the requests that will get no reply.
    /// `losses`: what becomes of each request on it; of one that is not named this is `why`.
    pub fn handle_lease_lost(
        &mut self,
        why: Loss,
        losses: &[(Ticket, Loss)],
        out: &mut BytesMut,
    ) -> (bool, Vec<(Completed, Loss)>) {
        reply::lose_pinned(self, why, losses, out)
    }
}

/// The client, and its entry in the roster.
impl Session {
    /// Bytes that this session keeps besides the connection's buffers.
    #[must_use]
    #[inline(always)]
    pub fn held_bytes(&self) -> usize {
        let kept = self.transaction.is_some() || self.own.is_some() || self.retries.keep_texts();
        if !kept && !self.replies.keep_bytes() && !self.entry.is_described() {
            return 0;
        }
        self.replies.held_bytes()
            + self.retries.held_bytes()
            + self.transaction.as_ref().map_or(0, |transaction| transaction.held_bytes())
            + self.own.as_ref().map_or(0, |own| own.held_bytes())
            + self.entry.held_bytes()
    }

    /// The last command that was one, as others are shown it.
    #[must_use]
    pub const fn shown_command(&self) -> Option<&'static Spec> {
        self.commands.shown()
    }

    /// Whether the client waits for others' writes, or is sent them all.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        let blocks = |front: &Remote| front.class == Class::Blocking;
        self.is_streaming() || self.replies.queue.peek().is_some_and(blocks)
    }

    /// Whether the session may be closed without loss: no transaction, no watch, no subscription.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let listens = self.listening.allocated().is_some_and(Listening::is_any);
        let engaged = self.watch.is_on() || listens || self.transacts_on_own();
        self.is_settled() && self.transaction.is_none() && !engaged
    }

    /// Whether it is subscribed to anything, or is about to be.
    #[must_use]
    pub fn subscribes(&self) -> bool {
        self.listening.subscribes()
    }

    /// Whether what arrives on the pinned connection passes unread.
    #[must_use]
    #[inline(always)]
    pub fn is_streaming(&self) -> bool {
        self.listening.allocated().is_some_and(Listening::is_streaming)
    }

    /// The name of its user.
    #[must_use]
    pub fn user_name(&self) -> &str {
        self.user.name().as_str()
    }

    #[must_use]
    #[inline(always)]
    pub const fn is_authenticated(&self) -> bool {
        self.user.is_authenticated()
    }

    /// Whether the user may be another since this was asked last.
    #[inline(always)]
    pub const fn take_user_is_new(&mut self) -> bool {
        self.user.take_is_new()
    }

    /// What came of an attempt to log in that [`Self::handle_opened`] has ended, once.
    #[inline(always)]
    pub fn take_login(&mut self) -> Option<Login> {
        self.user.take_login()
    }

    /// The policy of this session's user at `access`; `None`: there is no such user any more.
    pub fn policy(&mut self, access: &ListenerAccess) -> Option<Arc<Policy>> {
        self.user.policy(access, &self.roster, &self.entry)
    }

    /// What is queued was judged by rules that are no longer in force (redis multi.c checks its ACL again at EXEC).
    pub fn handle_new_policy(&mut self) {
        self.abort_transaction();
    }

    /// Another policy is in force, with limiters of its own: the request at hand is judged as if it had just come.
    pub fn forget_admission(&mut self) {
        self.forget_at_hand();
    }

    /// Whether reads are answered as by a server without data.
    #[must_use]
    #[inline(always)]
    pub const fn answers_misses(&self) -> bool {
        self.outage.answers_misses()
    }

    /// How many misses and errors were answered since this was asked.
    #[inline]
    pub fn take_degraded(&mut self) -> Option<(u32, u32)> {
        self.outage.take_answered()
    }

    /// Whether the outage that began then was not reported before.
    pub fn note_outage(&mut self, since: Option<Instant>) -> bool {
        self.outage.note_outage(since)
    }
}

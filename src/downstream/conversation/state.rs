//! The state of a client's connection, and what ends it.
//!
//! Owns: [`Conversation`]. Never knows: framing, the meaning of a request, sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use super::ending::Ending;
use super::host::{Host, PendingStep, PolicyChange};
use super::inbound::{Body, Inbound, Rooms};
use super::leased::Leased;
use super::progress::Progress;
use super::sending::Sending;
use crate::base::lazy_box::LazyBox;
use crate::base::limits;
use crate::config::ClientLimits;
use crate::session::{Cause, Session};
use crate::telemetry::ClientDisconnect;
use crate::traffic::{Facts, OpenFailure, PoolKey};

/// One client's connection, without its socket.
#[derive(Debug)]
pub struct Conversation {
    pub(super) session: Session,
    pub(super) limits: Arc<ClientLimits>,
    pub(super) inbound: Inbound,
    pub(super) out: BytesMut,
    /// How the client takes the replies that wait for it.
    pub(super) outlet: LazyBox<Progress>,
    pub(super) leased: Leased,
    pub(super) sending: Sending,
    pub(super) ending: LazyBox<Ending>,
    pub(super) now: Instant,
    pub(super) last_received: Instant,
    /// When anything last came from the client or went to it.
    pub(super) active: Instant,
}

impl Conversation {
    #[must_use]
    pub fn new(id: u64, session: Session, limits: Arc<ClientLimits>, now: Instant) -> Self {
        Self {
            session,
            limits,
            inbound: Inbound::new(),
            out: BytesMut::new(),
            outlet: LazyBox::default(),
            leased: Leased::new(id),
            sending: Sending::default(),
            ending: LazyBox::default(),
            now,
            last_received: now,
            active: now,
        }
    }

    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The session, for its end.
    pub const fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    #[must_use]
    pub fn pending_step(&self) -> PendingStep {
        self.inbound.waiting()
    }

    /// What the client is to be written.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.out
    }

    /// Whether the client has more unread than it ever may.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.out.len() > self.limits.output_hard_bytes
    }

    #[must_use]
    pub fn rooms(&self) -> Rooms {
        let pending = &self.inbound.pending;
        Rooms {
            pending: pending.len(),
            pending_capacity: pending.capacity(),
            output_capacity: self.out.capacity(),
        }
    }

    /// Bytes of memory that it keeps.
    #[must_use]
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.inbound.held_bytes() + self.out.capacity() + self.session.held_bytes()
    }

    /// What holds whenever a call from outside returns, at no cost that grows with what is under way.
    pub(super) fn check_invariants(&self) {
        let (session, inbound) = (&self.session, &self.inbound);
        let (is_here, ends) = (self.leased.is_here, self.ending.reason.is_some());
        let forwards = inbound.body == Body::Forward;
        debug_assert!(!forwards || is_here || ends, "a body goes on to no connection");
        let waits = inbound.presented().is_some();
        debug_assert!(!waits || inbound.body == Body::No, "a request waits behind half a request");
        debug_assert!(
            is_here || !session.has_pinned_requests(),
            "a request waits on no connection"
        );
        debug_assert!(!ends || self.is_consumed(), "bytes are kept of a client that is not read");
        debug_assert!(self.cut_at().is_none_or(|at| at <= self.out.len()), "cut behind the end");
        // A HELLO that names a user binds a connection of its own before it has one.
        debug_assert!(ends || is_here || !session.only_listens(), "nothing comes to it any more");
        debug_assert!(
            self.last_received <= self.active && self.active <= self.now,
            "in the future, or not noted"
        );
        let wants_lease = !ends && matches!(self.inbound.waiting(), PendingStep::Lease(_));
        debug_assert!(!wants_lease || !is_here, "it waits for what it has");
        let opens = !ends && matches!(self.inbound.waiting(), PendingStep::Open(_));
        debug_assert!(!opens || session.is_cut() || !session.is_settled(), "nothing is opened");
        debug_assert!(self.session.since() <= self.last_received, "bytes precede the connection");
        inbound.check_invariants();
        self.leased.check_invariants(self.now);
        self.outlet.check_invariants(self.now);
    }

    /// When anything last came from the client or went to it.
    #[must_use]
    pub const fn active_at(&self) -> Instant {
        self.active
    }

    /// When the client last read a part of its pending output, or sent something while none was pending.
    #[must_use]
    pub fn moved_at(&self) -> Instant {
        self.outlet.moved_at().unwrap_or(self.last_received)
    }

    /// Commands that are not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.session.in_flight() + self.inbound.presented().is_some() as usize
    }

    pub fn is_ending(&self) -> bool {
        self.ending.allocated().is_some_and(|ending| ending.reason.is_some())
    }

    #[must_use]
    pub const fn has_lease(&self) -> bool {
        self.leased.is_here
    }

    /// Whether nothing is waited for but replies of the shared connection and the client itself.
    #[must_use]
    pub fn is_simple(&self) -> bool {
        !self.leased.is_here && !self.inbound.is_waiting()
    }

    /// Nothing was delivered since [`Self::handle_delivered`]; what else was in flight may be answered.
    #[inline(always)]
    pub fn note_undelivered(&mut self) {
        self.sending.note_reply(&self.session);
    }

    /// Whether nothing is left to be done about what shared connections have delivered, unless they deliver more.
    #[inline(always)]
    pub fn is_up_to_date(&self) -> bool {
        self.cut_at().is_none() && self.is_simple()
    }

    /// Where half a reply ends in the output that goes no further.
    #[inline]
    pub(super) fn cut_at(&self) -> Option<usize> {
        self.ending.allocated().and_then(|ending| ending.cut_at)
    }

    /// Whether no byte of the client waits.
    pub fn is_consumed(&self) -> bool {
        self.inbound.pending.is_empty()
    }

    /// Whether requests are read although they cannot be handled yet. A client that reads none of its
    /// replies may send all its requests first: were they not read, it would wait for ever. The requests
    /// kept then are bounded as unread replies are.
    pub(super) fn reads_on<H: Host>(&self, host: &H) -> bool {
        self.outlet.quiet_at().is_some_and(|at| self.now >= at)
            && self.inbound.pending.len() + self.out.len() < self.limits.output_hard_bytes
            && host.has_budget()
    }

    /// A turn begins at this time.
    pub fn begin_turn(&mut self, now: Instant) {
        debug_assert!(now >= self.now, "a turn before the last one");
        self.now = now;
        self.check_invariants();
    }

    /// The client has closed its side.
    pub fn handle_eof(&mut self) {
        debug_assert!(!self.inbound.eof, "a client closes its side once");
        self.inbound.eof = true;
        self.check_invariants();
    }

    /// Reading from the client failed.
    pub fn handle_reset(&mut self) {
        self.inbound.eof = true;
        self.end_now(ClientDisconnect::Reset);
        self.check_invariants();
    }

    /// The client has taken so much of the output.
    pub fn advance_output(&mut self, count: usize) {
        debug_assert!(count <= self.out.len(), "more was taken than there was");
        if let Some(ending) = self.ending.allocated_mut() {
            ending.cut_at = ending.cut_at.map(|cut| cut.saturating_sub(count));
        }
        // Emptied, the buffer keeps its room; advanced to its end it would have none.
        if count == self.out.len() {
            self.out.clear();
        } else {
            self.out.advance(count);
        }
        self.check_invariants();
    }

    /// The client has taken `wrote` bytes in this turn and can take no more. Returns the buffer when it is
    /// empty.
    #[inline(always)]
    pub fn handle_written(&mut self, wrote: usize) -> Option<BytesMut> {
        if wrote > 0 {
            self.active = self.now;
            self.outlet.allocated_mut().into_iter().for_each(|it| it.note(wrote, self.now));
            self.allow_slow_end();
        }
        if self.out.is_empty() {
            self.outlet.allocated_mut().into_iter().for_each(Progress::end);
            (self.out.capacity() > 0).then(|| std::mem::take(&mut self.out))
        } else {
            self.outlet.begin(self.now);
            self.check_invariants();
            None
        }
    }

    /// The client has taken something that was not in the output, and not the `rest` of it.
    pub fn handle_written_through(&mut self, wrote: bool, rest: &[u8]) {
        if wrote {
            self.active = self.now;
        }
        self.out.extend_from_slice(rest);
        self.check_invariants();
    }

    /// The request just presented may have made the client another user.
    pub fn settle_user<H: Host>(&mut self, host: &mut H) {
        if self.session.take_user_is_new() {
            if let Some(login) = self.session.take_login() {
                host.logged_in(login, self.now);
            }
            self.settle_policy(host);
        }
    }

    /// The rules of the listener may be others now. A request that waits for one of the old policy's limits is
    /// judged by the new one.
    pub fn settle_policy<H: Host>(&mut self, host: &mut H) {
        match host.settle_policy(&mut self.session, self.now) {
            PolicyChange::Same => {}
            PolicyChange::New => {
                self.session.handle_new_policy();
                self.session.forget_admission();
                if matches!(self.inbound.waiting(), PendingStep::Pause(_)) {
                    self.inbound.end_wait();
                }
            }
            // A client that waits for others' writes, or is in the middle of a request, would wait for ever.
            PolicyChange::NoUser
                if self.session.is_blocked() || self.inbound.body == Body::Forward =>
            {
                self.end_now(ClientDisconnect::Auth);
            }
            PolicyChange::NoUser => self.end(ClientDisconnect::Auth),
        }
        self.check_invariants();
    }

    /// What the session waited for is decided.
    pub fn handle_opened<H: Host>(&mut self, opened: Result<Facts, OpenFailure>, host: &mut H) {
        if matches!(self.inbound.waiting(), PendingStep::Open(_)) {
            self.inbound.end_wait();
        }
        self.session.handle_opened(opened, &mut self.out);
        self.count_own_answer(host);
        self.settle_user(host);
        debug_assert!(
            !matches!(self.inbound.waiting(), PendingStep::Open(_)),
            "it waits for what is decided"
        );
        self.check_invariants();
    }

    pub(super) fn count_own_answer<H: Host>(&mut self, host: &mut H) {
        if let Some(error) = self.session.take_own_error() {
            host.answered(error);
        }
    }

    /// What the request waits for has an end: it is judged again.
    pub fn handle_pause_over(&mut self) {
        let waits = matches!(self.inbound.waiting(), PendingStep::Pause(_) | PendingStep::Room(_));
        debug_assert!(waits, "a wait ends that has another end");
        self.inbound.end_wait();
        self.check_invariants();
    }

    /// Another client waits for this one to have a pinned connection. Returns whether it needs one now: not
    /// while a request of its own is to be judged again, which would get the error if there is none.
    pub fn want_lease(&mut self) -> bool {
        let free =
            !self.inbound.is_waiting() && self.inbound.presented().is_none() && !self.is_ending();
        if free {
            self.inbound.wait_for(PendingStep::Lease(Cause::Tracking));
        }
        debug_assert!(!free || self.inbound.presented().is_none(), "a request waits for nothing");
        free
    }

    /// What the pinned connection must be like that is asked for.
    #[must_use]
    pub const fn lease_key(&self, cause: Cause) -> PoolKey {
        let mut key = self.session.key();
        if matches!(cause, Cause::Release) {
            // A busy server cannot be asked for another database.
            key.database = 0;
        }
        key
    }

    /// The pinned connection that was waited for is here.
    pub fn handle_lease(&mut self) {
        debug_assert!(!self.leased.is_here, "two pinned connections");
        debug_assert!(
            matches!(self.inbound.waiting(), PendingStep::Lease(_)),
            "no lease was asked for"
        );
        self.inbound.end_wait();
        self.leased.is_here = true;
        self.check_invariants();
    }

    /// Whether the pinned connection is to be read.
    #[must_use]
    pub fn reads_lease(&self) -> bool {
        self.leased.reads(self.out.len())
    }

    /// Whether a large value under way lets others pass.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.leased.loan.pacer.is_paused(self.now)
    }

    /// So much was written to the pinned connection.
    pub fn handle_uploaded(&mut self, wrote: usize) {
        self.leased.note_uploaded(wrote, self.now);
        self.check_invariants();
    }

    /// A round is over; `served`: requests of all clients so far. `None`: it moved no large value; else
    /// whether that pauses.
    pub fn note_round<H: Host>(&mut self, served: u64, host: &H) -> Option<bool> {
        debug_assert!(
            self.leased.is_here || !self.session.reply_has_begun(),
            "half a reply is cut"
        );
        let moves = self.session.reply_has_begun() || self.out.len() >= limits::BULK_ROUND_BYTES;
        self.leased.note_round(moves, served, self.now, host)
    }

    /// The connection is to be closed once everything before is answered and read.
    pub fn end(&mut self, why: ClientDisconnect) {
        if !self.is_ending() {
            self.ending.reason = Some((why, self.now + limits::LAST_REPLIES_TIMEOUT));
        }
        self.inbound.close();
        debug_assert!(self.is_consumed(), "bytes are kept of a client that is not read any more");
        debug_assert!(self.inbound.presented().is_none(), "a request is judged after the end");
    }

    /// The connection is to be closed at once.
    pub fn end_now(&mut self, why: ClientDisconnect) {
        self.end(why);
        debug_assert!(self.is_ending(), "it does not end");
        self.ending.reason = Some((why, self.now));
        self.check_invariants();
    }

    /// The server closed its connection, and the client's connection ends with it. The client may still read pending
    /// replies slowly.
    pub(super) fn end_lost(&mut self) {
        let end = if self.out.is_empty() { Self::end_now } else { Self::end };
        end(self, ClientDisconnect::UpstreamLost);
        self.allow_slow_end();
        debug_assert!(self.is_ending(), "a client goes on whose state is lost");
        self.check_invariants();
    }

    fn allow_slow_end(&mut self) {
        let reason = self.ending.allocated_mut().and_then(|ending| ending.reason.as_mut());
        let Some((ClientDisconnect::UpstreamLost, until)) = reason else { return };
        if *until > self.now && !self.out.is_empty() {
            *until = self.outlet.prolong(*until, self.now, self.limits.output_soft_time);
            debug_assert!(*until > self.now, "the client gets no time for its last replies");
        }
    }

    /// A request of this client cannot be answered any more, because the server cannot be reached: its
    /// connection is closed once what comes before is answered.
    #[inline]
    pub fn notice_cut<H: Host>(&mut self, host: &H) {
        if self.session.is_cut() && !self.is_ending() {
            self.end_cut(host.outage_wait());
            debug_assert!(self.is_ending(), "it waits for an answer that does not come");
        }
        self.check_invariants();
    }

    fn end_cut(&mut self, outage_wait: Duration) {
        debug_assert!(self.session.is_cut(), "what comes behind is still answered");
        self.inbound.end_wait();
        debug_assert!(!self.inbound.is_waiting(), "it waits although it ends");
        self.end(ClientDisconnect::UpstreamLost);
        if !self.session.is_settled() {
            // What comes before may wait for the server as long as any command.
            let until = self.now + outage_wait + limits::LAST_REPLIES_TIMEOUT;
            self.ending.reason = Some((ClientDisconnect::UpstreamLost, until));
        }
    }

    /// Whether a client that has closed its side will not wait any more. While the server cannot be
    /// reached that is any: its driver has timed out and repeats the command elsewhere, so that what
    /// was not sent must not be sent now.
    fn gives_up<H: Host>(&self, host: &H) -> bool {
        match self.inbound.waiting() {
            PendingStep::Lease(Cause::Blocking) => true,
            PendingStep::Lease(_) | PendingStep::Open(_) => host.is_out(),
            PendingStep::No | PendingStep::Reply | PendingStep::Pause(_) | PendingStep::Room(_) => {
                host.is_out() && host.is_down() && self.session.in_flight() > 0
            }
        }
    }

    /// Why the connection is to be closed now, if it is; `flushed`: what was written is sent.
    #[inline(always)]
    pub fn poll_end<H: Host>(&mut self, flushed: bool, host: &H) -> Option<ClientDisconnect> {
        if self.session.has_killed_itself() {
            self.end(ClientDisconnect::Killed);
        }
        if !self.is_ending()
            && host.is_to_end()
            && self.session.is_idle()
            && self.inbound.pending.is_empty()
        {
            self.end(host.end_reason());
        }
        if !self.is_ending() && !self.inbound.eof {
            return None;
        }
        let settled = self.session.is_settled() || self.cut_at().is_some();
        let finished = settled && self.out.is_empty() && flushed;
        if let Some((why, until)) = self.ending.reason {
            return (finished || self.now >= until).then_some(why);
        }
        // A client that left while its blocking command waits gets no reply, and nothing is
        // popped without a receiver: the pinned connection closes with this one. Other replies are still
        // written: the client may have closed its sending half only.
        let waits = self.inbound.is_waiting() || self.inbound.presented().is_some();
        let left =
            self.session.is_blocked() || self.inbound.body == Body::Forward || self.gives_up(host);
        (left || (finished && !waits)).then_some(ClientDisconnect::Client)
    }
}

//! From a client's bytes to requests and on to connections, and from replies back to its output.
//!
//! Owns: what is done with bytes, requests and replies as they come. Never knows: sockets, what a request
//! means, how long anything may take.

use zeroize::Zeroize;

use super::host::{Hold, Host, Notice, PendingStep};
use super::inbound::{Body, Presented};
use super::judging::{awaited, hold, judge, refuse_unaudited, wait_for_room};
use super::loan;
use super::sending::{Rest, Way, end_body};
use super::state::Conversation;
use crate::base::limits;
use crate::resp::{ProtocolError, RequestLimits, Scan};
use crate::session::{Completed, Route, Step, WireLayout};
use crate::telemetry::ClientDisconnect;
use crate::traffic::{Loss, OpenFailure, PoolKey, Ticket, Unavailable};
use crate::upstream::PinnedLine;

impl Conversation {
    // Bytes of the client.

    /// Bytes have come from the client.
    pub fn handle_bytes<H: Host>(&mut self, bytes: &[u8], host: &mut H) {
        if self.is_ending() || self.inbound.is_ignored {
            return;
        }
        debug_assert!(!bytes.is_empty() && !self.inbound.eof, "nothing comes behind the end");
        if self.inbound.pending.is_empty() && self.accepts(host) {
            let used = self.consume(bytes, host);
            debug_assert!(self.inbound.pending.is_empty(), "bytes are kept before these");
            if let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty())
                && self.listens()
            {
                self.inbound.pending.extend_from_slice(rest);
            }
            self.check_invariants();
            return;
        }
        self.inbound.pending.extend_from_slice(bytes);
        if self.accepts(host) {
            self.consume_pending(host);
        }
        self.check_invariants();
    }

    /// Something was received from the client in this turn.
    pub const fn note_received(&mut self) {
        debug_assert!(!self.inbound.eof, "something comes behind the end");
        self.last_received = self.now;
        self.active = self.now;
    }

    /// Takes what is kept and can be taken now. Returns whether anything happened.
    pub fn handle_pending<H: Host>(&mut self, host: &mut H) -> bool {
        if self.inbound.pending.is_empty() || !self.accepts(host) {
            return false;
        }
        let used = self.consume_pending(host);
        self.check_invariants();
        // What it waits for has to be asked once more before the task may sleep.
        used > 0 || self.inbound.is_waiting()
    }

    fn consume_pending<H: Host>(&mut self, host: &mut H) -> usize {
        let mut kept = std::mem::take(&mut self.inbound.pending);
        let used = self.consume(&kept, host);
        debug_assert!(used <= kept.len(), "more is consumed than is kept");
        if std::mem::take(&mut self.inbound.has_password) {
            kept.get_mut(..used).unwrap_or_default().zeroize();
        }
        if self.listens() {
            self.inbound.keep(kept, used);
        }
        used
    }

    fn listens(&self) -> bool {
        !self.is_ending() && !self.inbound.is_ignored
    }

    /// Whether the next request may be looked at.
    #[inline(always)]
    fn accepts<H: Host>(&self, host: &H) -> bool {
        !self.inbound.is_waiting()
            && !self.is_ending()
            && !self.session.is_cut()
            && self.may_leave_unread(host)
            && (self.inbound.body != Body::Forward || self.leased.has_room(host))
            && (self.inbound.body != Body::No || !self.leased.grace_is_over(self.now, host))
            && !host.is_aside()
            && (self.session.in_flight() == 0
                || (self.sending.bytes < self.limits.max_in_flight_bytes && !host.is_over_budget()))
    }

    /// Whether the client may leave more replies unread. Once all clients together keep half of the budget, each reads
    /// its own before its next request is looked at, so that none has to be disconnected.
    #[inline(always)]
    fn may_leave_unread<H: Host>(&self, host: &H) -> bool {
        let unread = self.out.len() + self.session.waiting_bytes();
        unread < self.limits.output_soft_bytes
            && (unread < limits::FAIR_SHARE_BYTES || host.has_budget())
    }

    /// Whether the client is to be read: a request under way may grow, one that waits may not.
    #[inline(always)]
    pub fn wants_bytes<H: Host>(&self, host: &H) -> bool {
        !self.inbound.eof
            && !self.is_ending()
            && (self.inbound.pending.len() < limits::PENDING_BYTES_MAX || self.wants_more(host))
    }

    fn wants_more<H: Host>(&self, host: &H) -> bool {
        (self.inbound.presented().is_none() && self.accepts(host)) || self.reads_on(host)
    }

    /// Consumes requests from the front of `bytes`, the first of which is accepted; returns how many bytes
    /// are done with.
    fn consume<H: Host>(&mut self, bytes: &[u8], host: &mut H) -> usize {
        debug_assert!(self.accepts(host), "requests are looked at before their time");
        // What is not needed of it is returned with the output that is written.
        host.lend_buffer(&mut self.out);
        let mut done = 0;
        let mut commands = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let before = done;
            let outcome = if self.inbound.body == Body::No {
                self.next(rest, &mut commands, host)
            } else {
                self.pass(rest, host)
            };
            match outcome {
                Ok(used) => done += used,
                Err(error) => {
                    self.handle_malformed(&error, host);
                    debug_assert!(!self.listens(), "bytes behind what is malformed are requests");
                    break;
                }
            }
            if done == before || (done < bytes.len() && !self.accepts(host)) {
                break;
            }
        }
        debug_assert!(commands <= done as u64, "a command of no byte");
        host.consumed(done, commands);
        done
    }

    /// The frame at the front of `bytes`. 0: it has to wait, or is incomplete.
    fn next<H: Host>(
        &mut self,
        bytes: &[u8],
        commands: &mut u64,
        host: &mut H,
    ) -> Result<usize, ProtocolError> {
        if let Some(Presented { used, head }) = self.inbound.presented() {
            return Ok(self.present(bytes, used, head, commands, host));
        }
        let limits = self.request_limits();
        match self.inbound.scanner.scan(bytes, &limits)? {
            Scan::More => Ok(0),
            Scan::Ignored { used } => {
                debug_assert!(used > 0, "nothing is ignored for ever");
                self.session.handle_nothing();
                Ok(used)
            }
            Scan::Request { used } => Ok(self.present(bytes, used, false, commands, host)),
            Scan::Head { used } => Ok(self.present(bytes, used, true, commands, host)),
            Scan::Oversize { used, .. } if self.session.is_streaming() => {
                host.malformed("too_large");
                self.end_now(ClientDisconnect::ProtocolError);
                Ok(used)
            }
            Scan::Oversize { used, length } => {
                let (own, limit) = (self.inbound.argument_max(), self.limits.max_bulk_bytes);
                self.session.handle_oversize(length, own, limit, &mut self.out);
                host.malformed("too_large");
                host.oversize();
                self.count_own_answer(host);
                self.inbound.finish(true);
                Ok(used)
            }
        }
    }

    fn request_limits(&self) -> RequestLimits {
        RequestLimits {
            max_args: self.limits.max_args,
            max_bulk_bytes: self.limits.max_bulk_bytes.min(self.inbound.argument_max()),
            max_inline_bytes: self.limits.max_inline_bytes,
            large_bytes: self.limits.large_bytes,
            authenticated: self.session.is_authenticated(),
        }
    }

    /// The rest of a large request.
    fn pass<H: Host>(&mut self, bytes: &[u8], host: &mut H) -> Result<usize, ProtocolError> {
        let limits = self.request_limits();
        let forwards = self.inbound.body == Body::Forward && self.leased.is_here;
        let body = self.inbound.pass(bytes, &limits, |piece| {
            if forwards {
                host.line().into_iter().for_each(|line| line.append(piece));
            }
        })?;
        if body.oversize && self.inbound.body == Body::Forward {
            loan::abandon_upload(self, Loss::OutcomeUnknown, host);
        }
        if body.done {
            self.session.handle_whole(&mut self.out);
            let forwarded = self.inbound.body == Body::Forward;
            let rest = self.inbound.end_body();
            if forwarded && self.leased.is_here {
                end_body(rest.as_deref(), self.session.key(), self.now, host);
            }
            self.leased.end_upload(self.now);
            debug_assert!(self.inbound.is_idle(), "the next request begins within a body");
        }
        Ok(body.used)
    }

    /// The client's last request is no request.
    fn handle_malformed<H: Host>(&mut self, error: &ProtocolError, host: &mut H) {
        debug_assert!(self.listens(), "what is not read is malformed");
        host.malformed(error.label());
        if error.is_cross_protocol() {
            host.notice(Notice::CrossProtocol);
            // Redis drops what is not written yet, too.
            self.out.clear();
            return self.end_now(ClientDisconnect::ProtocolError);
        }
        if self.session.is_streaming() {
            return self.end_now(ClientDisconnect::ProtocolError);
        }
        let sent = match self.inbound.body {
            Body::Forward => 1 + usize::from(self.inbound.rest().is_some_and(Rest::has_companions)),
            Body::Discard | Body::No => 0,
        };
        self.session.handle_withdrawal(sent);
        if self.out.is_empty() && self.session.is_mute() {
            // Nothing more of this client is read as requests, and the connection stays until it leaves: a
            // Redis that may not answer does not close either (networking.c, `setProtocolError`).
            return self.inbound.ignore();
        }
        self.session.handle_protocol_error(&error.message(), &mut self.out);
        self.end(ClientDisconnect::ProtocolError);
    }

    // Requests.

    /// Presents a request to the session and carries out its step.
    fn present<H: Host>(
        &mut self,
        bytes: &[u8],
        used: usize,
        head: bool,
        commands: &mut u64,
        host: &mut H,
    ) -> usize {
        debug_assert!(used > 0 && used <= bytes.len(), "a request of more than there is");
        self.session.note_incomplete(head);
        let mut judged = match hold(self, host) {
            Hold::No => judge(self, bytes, host),
            Hold::Refuse => refuse_unaudited(self),
            Hold::Wait(until) => return wait_for_room(self, Presented { used, head }, until),
        };
        let step = judged.step;
        if let Some(login) = judged.take_authentication() {
            self.inbound.has_password = true;
            host.logged_in(login, self.now);
        }
        self.session.note_incomplete(false);
        let command = judged.command.filter(|_| head);
        self.inbound.set_argument_max(command.and_then(|spec| host.argument_max(spec)));
        if step == Step::Collect {
            self.inbound.take_presented();
            self.inbound.scanner.collect();
            // The scanner goes on behind the head; nothing is consumed.
            debug_assert!(head, "a whole request is collected");
            return match self.next(bytes, commands, host) {
                Ok(used) => used,
                Err(error) => {
                    self.handle_malformed(&error, host);
                    0
                }
            };
        }
        if step.presents_again() {
            self.inbound.keep_presented(Presented { used, head });
            self.inbound.wait_for(awaited(&step));
            if let Step::Ask { route, ticket, skips, retry } = step {
                let whole = WireLayout { skips, retry, split: usize::MAX, ..WireLayout::default() };
                debug_assert!(self.session.in_flight() > 0, "a question has no place in line");
                self.send_scratch((route, ticket), whole, false, host);
                if self.session.in_flight() == 0 && !self.session.is_cut() {
                    // It could not be sent, which the session knows by now.
                    self.inbound.take_presented();
                    self.inbound.end_wait();
                    return self.present(bytes, used, head, commands, host);
                }
            }
            return 0;
        }
        self.execute(step, bytes, head, host);
        self.inbound.take_presented();
        self.settle_user(host);
        if self.leased.is_here && self.session.closes_lease(host.is_dedicated()) {
            loan::release_if_free(self, host);
        }
        *commands += 1;
        host.presented(&judged);
        self.inbound.finish(head);
        let follows = !self.inbound.is_idle();
        debug_assert!(follows == head || self.is_ending(), "a body follows a head alone");
        used
    }

    /// The request is dealt with by this.
    #[inline(always)]
    fn execute<H: Host>(&mut self, step: Step, bytes: &[u8], head: bool, host: &mut H) {
        match step {
            Step::Open(key) => return self.open(key, host),
            Step::Close => return self.end(ClientDisconnect::Client),
            Step::Send { route, ticket, retry } => {
                let way = Way { route, ticket, now: self.now };
                let Self { inbound, sending, session, out, .. } = self;
                sending.send(way, inbound.request(bytes).raw(), retry, (session, out), host);
            }
            Step::SendWire { route, ticket, wire } => {
                self.send_scratch((route, ticket), wire, head, host);
            }
            Step::Done
            | Step::Wait
            | Step::Pause(_)
            | Step::Ask { .. }
            | Step::Acquire(_)
            | Step::Collect => return,
        }
        if head && self.leased.is_here {
            debug_assert!(
                self.session.has_pinned_requests(),
                "a body follows a request to elsewhere"
            );
            debug_assert!(self.inbound.body == Body::No, "a body within a body");
            host.line().into_iter().for_each(PinnedLine::begin_body);
            self.inbound.body = Body::Forward;
            self.leased.loan.upload.begin(self.now);
        }
    }

    /// Sends what the session wrote itself, or the policy instead of the client's bytes.
    fn send_scratch<H: Host>(
        &mut self,
        way: (Route, Ticket),
        how: WireLayout,
        head: bool,
        host: &mut H,
    ) {
        debug_assert!(
            way.0 != Route::Pinned || self.leased.is_here,
            "no pinned connection is here"
        );
        let way = Way { route: way.0, ticket: way.1, now: self.now };
        let wire = host.take_wire();
        let from = (&mut self.session, &mut self.out);
        let rest = self.sending.send_wire(way, how, &wire, head, from, host);
        debug_assert!(head || rest.is_none(), "only what follows a head has to wait");
        self.inbound.set_rest(rest);
        host.reuse(wire);
    }

    /// Sends what takes the place of a request already in line.
    pub(super) fn resend<H: Host>(&mut self, host: &mut H) {
        if self.session.knows_scripts()
            && let Some((route, ticket, how, wire)) =
                host.with_scripts(|scripts| self.session.take_resend(scripts))
        {
            debug_assert!(self.session.in_flight() > 0, "what is not in line is sent again");
            let way = Way { route, ticket, now: self.now };
            let from = (&mut self.session, &mut self.out);
            self.sending.send_wire(way, how, &wire, false, from, host);
        }
    }

    fn open<H: Host>(&mut self, key: PoolKey, host: &mut H) {
        match host.known(key) {
            Some(facts) => self.handle_opened(Ok(facts), host),
            None => self.inbound.wait_for(PendingStep::Open(key)),
        }
        self.check_invariants();
    }

    /// The pinned connection that was waited for cannot be had.
    pub fn handle_lease_failed<H: Host>(&mut self, failure: &OpenFailure, host: &mut H) {
        let PendingStep::Lease(cause) = self.inbound.waiting() else { return };
        self.inbound.end_wait();
        debug_assert!(!self.leased.is_here, "it has what cannot be had");
        if self.session.forgoes_lease(cause) {
            // The request can do without: it is judged again.
            return;
        }
        let loss = match failure {
            OpenFailure::Loss(loss) => *loss,
            OpenFailure::Refused(_) => Loss::Unavailable(Unavailable::Protocol),
        };
        let Some(Presented { used, head }) = self.inbound.take_presented() else { return };
        self.session.note_incomplete(head);
        let command = self.session.handle_unavailable(loss, &mut self.out);
        self.session.note_incomplete(false);
        host.unavailable(command);
        self.inbound.skip(used);
        self.inbound.finish(head);
        self.check_invariants();
    }

    // Replies.

    /// A request on a shared connection will get no reply, or no more of it.
    pub fn handle_loss(&mut self, ticket: Ticket, loss: Loss) -> Option<Completed> {
        if loss == Loss::Truncated {
            self.ending.cut_at.get_or_insert(self.out.len());
        }
        let lost = self.session.handle_loss(ticket, loss, &mut self.out);
        self.check_invariants();
        lost
    }

    /// Everything that a shared connection had delivered was taken; `any`: it was something. `overflow`: it
    /// was more than the client may leave unread.
    #[inline(always)]
    pub fn handle_delivered<H: Host>(
        &mut self,
        any: bool,
        overflow: Option<ClientDisconnect>,
        host: &mut H,
    ) {
        self.resend(host);
        if let Some(why) = overflow {
            self.end_now(why);
        }
        if let Some(cut) = self.cut_at() {
            // A reply was cut in its middle: whatever followed would be taken for its rest.
            self.out.truncate(cut);
            self.end_lost();
        }
        if any && matches!(self.inbound.waiting(), PendingStep::Reply) {
            self.inbound.end_wait();
        }
        self.sending.note_reply(&self.session);
        self.check_invariants();
    }
}

//! From a session's steps to connections: what a presented request asks for is done.
//!
//! Owns: presenting, sending, waiting for what a request needs. Never knows: reading, framing, replies.

use std::rc::Rc;
use std::task::Poll;

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite};

use super::auditor::{Hold, Who};
use super::connection::{Body, Connection, PendingStep};
use crate::base::clock;
use crate::session::{Cause, Context, Route, Step, WireLayout};
use crate::telemetry::ClientDisconnect;
use crate::traffic::{Loss, OpenFailure, PoolKey, Ticket, Unavailable};
use crate::upstream::{Request, Shared, Use};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Shows a request to the session and does what it says.
    pub(super) fn present(
        &mut self,
        bytes: &[u8],
        used: usize,
        head: bool,
        commands: &mut u64,
    ) -> usize {
        self.session.note_incomplete(head);
        let step = self.judge(bytes);
        self.count_login();
        self.worker.wake_due();
        self.session.note_incomplete(false);
        let command = self.session.command().filter(|_| head);
        self.argument_max = command.and_then(|spec| self.policy.argument_max(spec));
        if step == Step::Collect {
            self.presented = None;
            self.scanner.collect();
            // The scanner goes on behind the head; nothing is consumed.
            return self.collect_on(bytes, commands);
        }
        if step.presents_again() {
            self.presented = Some((used, head));
            let asked = matches!(step, Step::Ask { .. });
            self.wait_for(step);
            if asked && self.session.in_flight() == 0 && !self.session.is_cut() {
                // It could not be sent, which the session knows by now.
                self.presented = None;
                self.waiting = PendingStep::No;
                return self.present(bytes, used, head, commands);
            }
            return 0;
        }
        self.execute(step, bytes, head);
        self.presented = None;
        self.settle_user();
        if self.lease.is_some() && self.session.closes_lease(self.worker.dedicated) {
            self.release_if_free();
        }
        *commands += 1;
        self.count_presented();
        if head {
            self.scanner.pass();
            if self.passing == Body::No {
                self.passing = Body::Away;
            }
        } else {
            self.scanner.reset();
        }
        used
    }

    /// What happens instead of judging, while the audit log has no room.
    fn held(&mut self) -> Option<Step> {
        let auditor = self.worker.auditor.as_ref()?;
        // An answer would be a part of the replication stream.
        if self.session.is_streaming() {
            return None;
        }
        let who = Who { seat: &self.seat, listener: &self.access.listener };
        match auditor.hold(&who, self.now) {
            Hold::No => None,
            Hold::Wait(until) => Some(Step::Pause(until)),
            Hold::Refuse => {
                self.worker.request_scratch.borrow_mut().clear();
                if self.out.capacity() == 0 {
                    self.out = self.worker.buffers.get();
                }
                self.session.handle_unaudited(&mut self.out);
                Some(Step::Done)
            }
        }
    }

    fn judge(&mut self, bytes: &[u8]) -> Step {
        if let Some(step) = self.held() {
            return step;
        }
        if self.unix_ms == 0 && self.policy.needs_wall_clock() {
            self.unix_ms = clock::unix_ms();
        }
        let Self {
            session,
            worker,
            seat,
            access,
            policy,
            limiters,
            limits,
            now,
            lease,
            out,
            scanner,
            ..
        } = self;
        if out.capacity() == 0 {
            *out = worker.buffers.get();
        }
        let server = worker.upstream.server();
        let request_scratch = &mut *worker.request_scratch.borrow_mut();
        let mut ctx = Context {
            policy,
            auth: &access.auth,
            limits,
            dedicated: worker.dedicated,
            valkey: server.valkey,
            server,
            has_lease: lease.is_some(),
            lends_at_once: worker.upstream.lends_at_once(Use::Large),
            held: worker.upstream.lane(session.key()).is_some(),
            now: *now,
            unix_ms: self.unix_ms,
            epoch: worker.upstream.epoch(),
            scripts: &worker.scripts,
            multi_permission: &worker.multi_permission,
            limiters,
            request_scratch,
        };
        let request = scanner.request(bytes);
        if let Some(auditor) = &worker.auditor {
            auditor.announce(ctx.request_scratch);
        }
        let step = session.handle_request(&request, &mut ctx, out);
        if step.presents_again() {
            return step;
        }
        if let Some(auditor) = &worker.auditor {
            let who = Who { seat, listener: &access.listener };
            auditor.judged(&who, policy, session, request_scratch, &request, *now);
        }
        if let Some(refusal) = request_scratch.refused() {
            worker.refusals.borrow_mut().log(*now, policy, &access.listener, refusal, &request);
        }
        if worker.insight.samples() && request_scratch.refused().is_none() {
            worker.insight.sample(policy, session.command(), &request, *now);
        }
        if policy.is_observing() {
            let (observed, refused) = (request_scratch.observed(), request_scratch.refused());
            worker.lessons.borrow_mut().note(
                policy,
                session.command(),
                &request,
                observed,
                refused,
            );
        }
        step
    }

    /// The same request is presented again later.
    fn wait_for(&mut self, step: Step) {
        if self.worker.insight.follows() {
            self.counts.notes.begin(self.now);
        }
        self.waiting = match step {
            Step::Pause(until) => {
                let auditor = self.worker.auditor.as_ref();
                let held = auditor.is_some_and(|auditor| auditor.is_held(self.id));
                if held { PendingStep::Room(until) } else { PendingStep::Pause(until) }
            }
            Step::Acquire(cause) => return self.acquire(cause),
            Step::Ask { route, ticket, skip, retry } => {
                let whole = WireLayout { skip, retry, split: usize::MAX, ..WireLayout::default() };
                let wire = self.worker.request_scratch.borrow_mut().take_wire();
                self.send_wire(route, ticket, whole, &wire, false);
                self.worker.request_scratch.borrow_mut().reuse(wire);
                PendingStep::Reply
            }
            Step::Wait
            | Step::Collect
            | Step::Done
            | Step::Open(_)
            | Step::Close
            | Step::Send { .. }
            | Step::SendWire { .. } => PendingStep::Reply,
        };
    }

    /// The request is dealt with by this.
    #[inline(always)]
    fn execute(&mut self, step: Step, bytes: &[u8], head: bool) {
        if self.worker.insight.follows() {
            match step {
                Step::Send { ticket, .. } | Step::SendWire { ticket, .. } => {
                    self.note_sent(ticket, bytes);
                }
                Step::Done
                | Step::Wait
                | Step::Collect
                | Step::Open(_)
                | Step::Close
                | Step::Pause(_)
                | Step::Ask { .. }
                | Step::Acquire(_) => self.counts.notes.forget_begin(),
            }
        }
        match step {
            Step::Open(key) => self.open(key),
            Step::Close => self.end(ClientDisconnect::Client),
            Step::Send { route, ticket, retry } => {
                let shared = self.carrier(route);
                let wire = self.scanner.request(bytes).raw();
                self.sent_bytes += wire.len();
                if let Some(shared) = shared {
                    let (share, at) = (self.sent_bytes, self.now);
                    let (skip, companion) = (0, false);
                    let request = Request {
                        ticket,
                        bytes: wire,
                        skip,
                        retry,
                        companion,
                        share,
                        at,
                        eager: self.session.answers_misses(),
                    };
                    let sent = shared.send(&self.mailbox, request);
                    self.check_sent(ticket, sent);
                } else if let Some(lease) = &mut self.lease {
                    lease.0.push(wire);
                }
            }
            Step::SendWire { route, ticket, wire: how } => {
                let wire = self.worker.request_scratch.borrow_mut().take_wire();
                self.send_wire(route, ticket, how, &wire, head);
                self.worker.request_scratch.borrow_mut().reuse(wire);
            }
            Step::Done
            | Step::Wait
            | Step::Pause(_)
            | Step::Ask { .. }
            | Step::Acquire(_)
            | Step::Collect => return,
        }
        let sends = matches!(step, Step::Send { .. } | Step::SendWire { .. });
        if sends && head && self.lease.is_some() {
            self.passing = Body::ToLease;
            self.upload.begin(self.now);
        }
    }

    fn collect_on(&mut self, bytes: &[u8], commands: &mut u64) -> usize {
        match self.next(bytes, commands) {
            Ok(used) => used,
            Err(error) => {
                self.malformed(&error);
                0
            }
        }
    }

    /// Sends what the session wrote itself, or the policy instead of the client's bytes.
    fn send_wire(
        &mut self,
        route: Route,
        ticket: Ticket,
        how: WireLayout,
        wire: &[u8],
        head: bool,
    ) {
        self.sent_bytes += wire.len();
        let (own, behind) = wire.split_at_checked(how.split).unwrap_or((wire, &[]));
        match route {
            Route::Pinned => {
                if let Some(lease) = &mut self.lease {
                    lease.0.push(own);
                    if head {
                        self.tail = behind.into();
                    } else {
                        lease.0.push(behind);
                    }
                }
            }
            Route::Shared(_) | Route::Held(_) => {
                let Some(shared) = self.carrier(route) else { return };
                let (share, at) = (self.sent_bytes, self.now);
                let (skip, retry) = (how.skip, how.retry);
                let request = Request {
                    ticket,
                    bytes: own,
                    skip,
                    retry,
                    companion: false,
                    share,
                    at,
                    eager: self.session.answers_misses(),
                };
                let mut sent = shared.send(&self.mailbox, request);
                self.check_sent(ticket, sent);
                if let Some(skip) = how.companions.checked_sub(1) {
                    let (ticket, bytes) = (ticket.next(), behind);
                    let request = Request {
                        ticket,
                        bytes,
                        skip,
                        retry: true,
                        companion: true,
                        share,
                        at,
                        eager: self.session.answers_misses(),
                    };
                    sent = sent.and_then(|()| shared.send(&self.mailbox, request));
                    self.check_sent(ticket, sent);
                }
            }
        }
    }

    /// Sends what takes the place of a request already in line.
    pub(super) fn resend(&mut self) {
        if let Some((route, ticket, how, wire)) = self.session.take_resend() {
            self.send_wire(route, ticket, how, &wire, false);
        }
    }

    fn check_sent(&mut self, ticket: Ticket, sent: Result<(), Unavailable>) {
        if let Err(why) = sent {
            self.session.handle_loss(ticket, Loss::Unavailable(why), &mut self.out);
            self.worker.metrics.lost(Loss::Unavailable(why), 1);
        }
    }

    /// The shared connection of a route, if it has one.
    #[inline(always)]
    fn carrier(&mut self, route: Route) -> Option<Rc<Shared>> {
        match route {
            Route::Pinned => None,
            Route::Shared(key) => Some(self.shared(key)),
            Route::Held(key) => {
                let Some(lane) = self.worker.upstream.lane(key) else {
                    return Some(self.shared(key));
                };
                self.worker.note_shared_request();
                self.shared = Some(Rc::clone(&lane));
                Some(lane)
            }
        }
    }

    fn shared(&mut self, key: PoolKey) -> Rc<Shared> {
        self.worker.note_shared_request();
        match &self.shared {
            Some(shared) if shared.key() == key => Rc::clone(shared),
            _ => {
                let shared = self.worker.upstream.shared(key);
                self.shared = Some(Rc::clone(&shared));
                shared
            }
        }
    }

    pub(super) fn acquire(&mut self, cause: Cause) {
        let (upstream, mut key) = (Rc::clone(&self.worker.upstream), self.session.key());
        if cause == Cause::Release {
            // A server that is busy does not let everybody select another one.
            key.database = 0;
        }
        let purpose = purpose_of(cause);
        let lease = Box::pin(async move { upstream.lease(key, purpose).await });
        self.waiting = PendingStep::Lease(cause, lease);
    }

    fn open(&mut self, key: PoolKey) {
        let shared = self.worker.upstream.known(key);
        match shared.and_then(|shared| shared.facts()) {
            Some(facts) => self.opened(Ok(facts)),
            None => {
                let upstream = Rc::clone(&self.worker.upstream);
                self.waiting = PendingStep::Open(Box::pin(async move { upstream.open(key).await }));
            }
        }
    }

    /// What the session waits for besides replies.
    pub(super) fn poll_waiting(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        match &mut self.waiting {
            PendingStep::No | PendingStep::Reply => false,
            PendingStep::Pause(until) => {
                let over = self.now >= *until || self.session.poll_turn(cx.waker());
                if over {
                    self.waiting = PendingStep::No;
                }
                over
            }
            PendingStep::Room(until) => {
                let auditor = self.worker.auditor.as_ref();
                let room = auditor.is_none_or(|own| own.poll_room(self.id, cx.waker()));
                let over = self.now >= *until || room;
                if over {
                    self.waiting = PendingStep::No;
                }
                over
            }
            PendingStep::Lease(cause, lease) => {
                let cause = *cause;
                let Poll::Ready(lease) = lease.as_mut().poll(cx) else { return false };
                self.waiting = PendingStep::No;
                if lease.is_err() {
                    self.seat.end_want(false);
                }
                match lease {
                    Ok(lease) => {
                        self.seat.forget_aim();
                        self.worker.metrics.pinned(cause, 1);
                        self.lease = Some(Box::new((lease, cause)));
                        self.seat.end_want(true);
                        self.show();
                    }
                    // A request that can do without is presented again.
                    Err(_) if self.session.forgoes_lease(cause) => {}
                    Err(failure) => self.refuse_presented(&failure),
                }
                true
            }
            PendingStep::Open(open) => {
                let Poll::Ready(opened) = open.as_mut().poll(cx) else { return false };
                self.waiting = PendingStep::No;
                self.opened(opened);
                true
            }
        }
    }

    /// The presented request needs a connection that cannot be had.
    fn refuse_presented(&mut self, failure: &OpenFailure) {
        let loss = match failure {
            OpenFailure::Loss(loss) => *loss,
            OpenFailure::Refused(_) => Loss::Unavailable(Unavailable::Protocol),
        };
        let Some((used, head)) = self.presented.take() else { return };
        self.session.note_incomplete(head);
        self.session.handle_unavailable(loss, &mut self.out);
        self.session.note_incomplete(false);
        self.count_unavailable();
        self.pending.advance(used.min(self.pending.len()));
        if head {
            self.scanner.pass();
            self.passing = Body::Away;
        } else {
            self.scanner.reset();
        }
    }
}

/// What a session's connection is used for, as the pool shares them out.
const fn purpose_of(cause: Cause) -> Use {
    match cause {
        Cause::Watch | Cause::Multi | Cause::Tracking | Cause::Session => Use::State,
        Cause::Blocking => Use::Block,
        Cause::Subscribe | Cause::Monitor | Cause::Replication => Use::Listen,
        Cause::Large => Use::Large,
        Cause::Release => Use::Release,
    }
}

//! What a client's conversation reaches: the policy that judges it, the connections that carry its requests,
//! everything that counts.
//!
//! Owns: [`Links`], the [`Host`] of a conversation with sockets. Never knows: the client's socket, when
//! anything happens.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::conversation::{Hold, Host, LeaseEnd, Moment, Notice, PolicyChange};
use super::insight::first_key;
use super::metrics::Place;
use super::notes::Counts;
use super::worker::{Judging, Worker};
use crate::base::live::{Cached, Live};
use crate::command::Spec;
use crate::policy::Policy;
use crate::policy::guard::GlobalsSource;
use crate::resp::Request;
use crate::session::{
    Cause, ClientEntry, Completed, Context, Judged, LimiterRegistry, Limiters, ListenerAccess,
    Login, Peer, Route, Scripts, Session, Step,
};
use crate::telemetry::{ClientDisconnect, UpstreamDisconnect};
use crate::traffic::{Facts, Loss, Outgoing, PoolKey, Ticket, Unavailable};
use crate::upstream::{FramePiece, Holder, Lease, Mailbox, PinnedLine, Reply, Shared, Use};

pub(super) struct Links {
    pub worker: Rc<Worker>,
    /// Where the client is shown to others.
    pub entry: Rc<ClientEntry>,
    /// The listener's rules, as last seen.
    pub access: Cached<ListenerAccess>,
    /// How many changes of access rules this connection has applied.
    pub access_seen: u64,
    /// The policy of the session's user.
    pub policy: Arc<Policy>,
    pub limiters: Limiters,
    pub mailbox: Rc<Mailbox>,
    pub shared: Option<Rc<Shared>>,
    pub lease: Option<Box<(Lease, Cause)>>,
    pub in_flight: usize,
    pub counts: Counts,
    /// Where the client is counted by its listener.
    pub place: Rc<Place>,
}

impl Links {
    /// The links of a client that has just connected, and its session.
    pub(super) fn new(
        id: u64,
        worker: Rc<Worker>,
        live_access: Live<ListenerAccess>,
        limiter_registry: &LimiterRegistry,
        (peer, place): (Peer, Rc<Place>),
        now: Instant,
    ) -> (Self, Session) {
        let (entry, mailbox) = worker.admit(id, peer, now);
        let access = live_access.cache();
        let outage = worker.upstream.on_outage();
        let roster = Rc::clone(&worker.roster);
        let mut session = Session::enter(roster, Rc::clone(&entry), &access.auth, outage);
        let policy = session.policy(&access).unwrap_or_else(|| Arc::clone(&access.policy));
        entry.note_policy(&policy);
        worker.guard_scripts_of(&policy);
        let limiters = limiter_registry.limiters(&policy, entry.peer(), now);
        let counts = Counts::new(worker.metrics.tally(&policy));
        let links = Self {
            access_seen: worker.access_changes(),
            worker,
            entry,
            access,
            policy,
            limiters,
            mailbox,
            shared: None,
            lease: None,
            in_flight: 0,
            counts,
            place,
        };
        (links, session)
    }

    /// The shared connection of a route.
    #[inline(always)]
    fn carrier(&mut self, route: Route) -> Option<&Shared> {
        let key = match route {
            Route::Pinned => return None,
            Route::Shared(key) => key,
            Route::Stalled(key) => match self.worker.upstream.lane(key) {
                None => key,
                Some(lane) => {
                    self.shared = Some(lane);
                    key
                }
            },
        };
        self.worker.note_shared_request();
        if !self.shared.as_ref().is_some_and(|shared| shared.key() == key) {
            self.shared = Some(self.worker.upstream.shared(key));
        }
        self.shared.as_deref()
    }

    /// The client has closed its side, with or without replies to come.
    pub(super) fn note_left(&mut self, waits: bool) {
        self.mailbox.note_left();
        if let Some((lease, _)) = self.lease.as_deref_mut().filter(|_| waits) {
            lease.note_left();
        }
    }

    /// The pinned connection that was waited for.
    pub(super) fn take_lease(&mut self, lease: Lease, cause: Cause) {
        self.entry.forget_aim();
        self.entry.note_link(lease.client_id());
        self.worker.metrics.pinned(cause, 1);
        self.lease = Some(Box::new((lease, cause)));
        if self.mailbox.has_left() {
            self.note_left(true);
        }
        self.entry.end_want(true);
    }

    /// The user and listener to which a pinned connection is lent.
    pub(super) fn holder(&self) -> Holder {
        let user = (!self.access.auth.is_off()).then(|| self.entry.user().into());
        Holder { user, listener: Arc::clone(&self.entry.peer().listener) }
    }

    /// What was found out about the request just judged, for code that reads it later.
    #[inline(always)]
    fn observe(&self, session: &Session, request: &Request<'_>, judged: &Judged, now: Instant) {
        let (worker, policy, refused) = (&self.worker, &self.policy, judged.refused());
        if let Some(auditor) = &worker.auditor {
            auditor.judged(&self.entry, policy, session, request, judged, now);
        }
        if let Some(refusal) = refused {
            let listener = &self.entry.peer().listener;
            worker.refusals.borrow_mut().log(now, policy, listener, refusal, request);
        } else if worker.insight.samples() {
            worker.insight.sample(policy, judged.command, request, now);
        }
        if policy.is_observing() {
            let observed = judged.observed();
            worker.lessons.borrow_mut().note(policy, judged.command, request, observed, refused);
        }
    }

    /// Follows the command until it is answered.
    fn follow(&mut self, request: &Request<'_>, judged: &Judged, now: Instant) {
        let notes = &mut self.counts.notes;
        match &judged.step {
            // A shared connection keeps what was asked until it is answered.
            Step::Send { ticket, route, .. } | Step::SendWire { ticket, route, .. } => {
                if (*route == Route::Pinned || notes.has_begun())
                    && let Some(spec) = judged.command
                {
                    notes.send(*ticket, first_key(spec, request), now);
                }
            }
            Step::Wait | Step::Pause(_) | Step::Ask { .. } | Step::Acquire(_) => notes.begin(now),
            Step::Done | Step::Open(_) | Step::Close => self.counts.forget_begin(),
            Step::Collect => {}
        }
    }
}

impl Host for Links {
    #[inline(always)]
    fn with_context<R>(
        &mut self,
        moment: &Moment<'_>,
        judge: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        let Self { worker, access, policy, limiters, .. } = self;
        let server = worker.upstream.server();
        let Judging { request_scratch, scripts, multi_permission } =
            &mut *worker.judging.borrow_mut();
        if let Some(auditor) = &worker.auditor {
            auditor.announce(request_scratch);
        }
        let mut ctx = Context {
            policy,
            auth: &access.auth,
            limits: moment.limits,
            dedicated: worker.dedicated,
            valkey: server.valkey,
            server,
            has_lease: moment.has_lease,
            lends_at_once: moment.prefers_lease && worker.upstream.lends_at_once(Use::Large),
            server_holds_writes: worker.upstream.lane(moment.key).is_some(),
            now: moment.now,
            unix_ms: if policy.needs_wall_clock() { worker.unix_ms() } else { 0 },
            epoch: worker.upstream.epoch(),
            globals: policy.guards().then_some(&*worker.upstream as &dyn GlobalsSource),
            scripts,
            multi_permission,
            limiters,
            request_scratch,
        };
        judge(&mut ctx)
    }

    fn take_wire(&mut self) -> BytesMut {
        self.worker.judging.borrow_mut().request_scratch.take_wire()
    }

    fn reuse(&mut self, wire: BytesMut) {
        self.worker.judging.borrow_mut().request_scratch.reuse(wire);
    }

    fn with_scripts<R>(&mut self, learn: impl FnOnce(&mut Scripts) -> R) -> R {
        learn(&mut self.worker.judging.borrow_mut().scripts)
    }

    #[inline(always)]
    fn send(&mut self, route: Route, request: Outgoing<'_>) -> Result<(), Unavailable> {
        if !request.companion && self.carrier(route).is_none() {
            return Err(Unavailable::Connect);
        }
        let Some(shared) = &self.shared else { return Err(Unavailable::Connect) };
        shared.send(&self.mailbox, request)
    }

    fn known(&mut self, key: PoolKey) -> Option<Facts> {
        self.worker.upstream.known(key).and_then(|shared| shared.facts())
    }

    fn line(&mut self) -> Option<&mut PinnedLine> {
        self.lease.as_deref_mut().map(|(lease, _)| lease.line())
    }

    fn unwritten(&self) -> usize {
        self.lease.as_ref().map_or(0, |lease| lease.0.unwritten())
    }

    fn frame(&mut self, bytes: &[u8]) -> Option<FramePiece> {
        let (lease, _) = self.lease.as_deref_mut()?;
        lease.frame(bytes)
    }

    fn match_reply(
        &mut self,
        piece: (&[u8], u8, bool),
        large_bytes: u64,
        now: Instant,
    ) -> Reply<'_> {
        match self.lease.as_deref_mut() {
            Some((lease, _)) => lease.match_reply(piece, large_bytes, now),
            None => Reply::Unexpected,
        }
    }

    fn complete_refused(&mut self) {
        let outstanding = self.lease.as_deref_mut().and_then(|(lease, _)| lease.take_outstanding());
        outstanding.iter().for_each(|it| self.worker.upstream.complete(it));
    }

    fn end_lease(&mut self, end: LeaseEnd) {
        let Some((mut lease, cause)) = self.part_from_lease() else { return };
        self.worker.metrics.pinned(cause, -1);
        match end {
            // An UNBLOCK in flight to it must not reach another session.
            LeaseEnd::Returned if self.entry.is_aimed_at() => {}
            LeaseEnd::Returned => lease.give_back(),
            LeaseEnd::Dropped => {}
            LeaseEnd::Replaced => lease.close_for(UpstreamDisconnect::Rotation),
        }
    }

    fn take_losses(&mut self, why: Loss) -> Vec<(Ticket, Loss)> {
        self.lease.as_deref_mut().map_or_else(Vec::new, |(lease, _)| lease.take_losses(why))
    }

    fn lose_lease(&mut self, why: Loss, lost: usize) {
        let Some((mut lease, cause)) = self.part_from_lease() else { return };
        self.worker.metrics.pinned(cause, -1);
        lease.abort();
        lease.take_outstanding().iter().for_each(|it| self.worker.upstream.complete(it));
        self.worker.metrics.lost(why, lost);
        if why == Loss::TimedOut {
            lease.close_for(UpstreamDisconnect::Timeout);
        }
    }

    fn lease_is_waited_for(&self) -> bool {
        self.worker.upstream.lease_is_waited_for()
    }

    fn lease_outdated_since(&mut self, now: Instant) -> Option<Instant> {
        self.lease.as_mut()?.0.outdated_since(now)
    }

    fn lease_outdated(&self) -> Option<Instant> {
        self.lease.as_ref()?.0.outdated()
    }

    fn lease_reports_not_primary(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.0.reports_not_primary())
    }

    fn is_dedicated(&self) -> bool {
        self.worker.dedicated
    }

    fn is_aside(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.is_aside())
    }

    fn holds_up(&self) -> bool {
        self.mailbox.holds_up()
    }

    fn is_down(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| !shared.is_up())
    }

    fn is_out(&self) -> bool {
        self.worker.upstream.is_out()
    }

    fn is_silent(&self) -> bool {
        self.worker.upstream.is_silent()
    }

    fn is_to_end(&self) -> bool {
        self.worker.is_draining() || self.entry.is_to_end()
    }

    fn end_reason(&self) -> ClientDisconnect {
        self.entry.retired().map_or(ClientDisconnect::Drain, |(why, _)| why)
    }

    fn is_over_budget(&self) -> bool {
        self.worker.buffers.is_over()
    }

    fn has_budget(&self) -> bool {
        self.worker.buffers.has_room()
    }

    fn command_timeout(&self) -> Duration {
        self.worker.upstream.command_timeout()
    }

    fn health_check_interval(&self) -> Duration {
        self.worker.upstream.health_check_interval()
    }

    fn pinned_grace(&self) -> Duration {
        self.worker.upstream.pinned_grace()
    }

    fn outage_wait(&self) -> Duration {
        self.worker.upstream.outage_wait()
    }

    fn argument_max(&self, spec: &'static Spec) -> Option<u64> {
        self.policy.argument_max(spec)
    }

    #[inline(always)]
    fn lend_buffer(&mut self, out: &mut BytesMut) {
        if out.capacity() == 0 {
            *out = self.worker.buffers.get();
        }
    }

    #[inline]
    fn hold(&mut self, now: Instant) -> Hold {
        let Some(auditor) = &self.worker.auditor else { return Hold::No };
        let hold = auditor.hold(&self.entry, now);
        match hold {
            Hold::No => {}
            Hold::Wait(_) if self.worker.insight.follows() => self.counts.notes.begin(now),
            Hold::Wait(_) => {}
            Hold::Refuse => self.counts.forget_begin(),
        }
        hold
    }

    fn settle_policy(&mut self, session: &mut Session, now: Instant) -> PolicyChange {
        let Some(policy) = session.policy(&self.access) else { return PolicyChange::NoUser };
        if Arc::ptr_eq(&policy, &self.policy) {
            return PolicyChange::Same;
        }
        // What it has used of its own limits is kept for when it comes back to that policy.
        self.limiters = self.limiters.of_policy(&policy, self.entry.peer(), now);
        self.entry.note_policy(&policy);
        self.worker.guard_scripts_of(&policy);
        self.counts.tally = self.worker.metrics.tally(&policy);
        self.policy = policy;
        PolicyChange::New
    }

    #[inline(always)]
    fn judged(&mut self, session: &Session, request: &Request<'_>, judged: &Judged, now: Instant) {
        self.worker.wake_due();
        if !judged.step.presents_again() {
            self.observe(session, request, judged, now);
        }
        if self.worker.insight.follows() {
            self.follow(request, judged, now);
        }
    }

    #[inline(always)]
    fn presented(&mut self, judged: &Judged) {
        self.count_presented(judged);
    }

    fn consumed(&mut self, bytes: usize, commands: u64) {
        self.worker.metrics.received(bytes, commands);
        self.entry.note_received(bytes, commands);
    }

    fn logged_in(&mut self, login: Login, now: Instant) {
        self.worker.note_password();
        self.count_login(login, now);
    }

    fn answered(&mut self, error: bool) {
        self.worker.metrics.answered(error);
    }

    fn completed(&mut self, session: &Session, done: Completed, sent: Instant, now: Instant) {
        self.count_pinned(session, done, sent, now);
    }

    fn lost(&mut self, session: &Session, lost: &[(Completed, Loss)], sent: Instant, now: Instant) {
        self.count_lost_pinned(session, lost, sent, now);
    }

    fn not_sent(&mut self, loss: Loss) {
        self.worker.metrics.lost(loss, 1);
    }

    fn unavailable(&mut self, command: Option<&'static Spec>) {
        self.count_unavailable(command);
    }

    fn oversize(&mut self) {
        self.worker.metrics.command(None, &self.counts.tally);
    }

    fn malformed(&mut self, label: &'static str) {
        self.worker.metrics.malformed(label);
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::UploadTimedOut => tracing::warn!(
                code = "CLI-E003",
                "large request abandoned: no more of it moved for upstream.pool.command_timeout"
            ),
            Notice::CrossProtocol => tracing::warn!(
                code = "CLI-E005",
                client = self.entry.id,
                "client disconnected: it sent the command POST or Host:, as a browser does in a cross-protocol attack"
            ),
            Notice::Untrusted => {
                tracing::error!(
                    code = "UPS-E001",
                    "pinned connection closed: it cannot be trusted"
                );
                if let Some((lease, _)) = self.lease.as_deref_mut() {
                    lease.close_for(UpstreamDisconnect::Protocol);
                }
            }
        }
    }
}

/// What a session's connection is used for, as the pool shares them out.
pub(super) const fn purpose_of(cause: Cause) -> Use {
    match cause {
        Cause::Watch | Cause::Multi | Cause::Tracking | Cause::Session => Use::State,
        Cause::Blocking => Use::Block,
        Cause::Subscribe | Cause::Monitor | Cause::Replication => Use::Listen,
        Cause::Large => Use::Large,
        Cause::Release => Use::Release,
    }
}

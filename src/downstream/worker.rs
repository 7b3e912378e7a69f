//! What all client connections of the data plane share.
//!
//! Owns: [`Worker`]. Never knows: one connection's state.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use zeroize::Zeroize;

use super::auditor::{AuditParts, Auditor};
use super::certificates::{Certificates, Chain};
use super::clients::Clients;
use super::eviction::{Holder, choose};
use super::insight::Insight;
use super::metrics::ClientMetrics;
use super::refusals::Refusals;
use crate::base::entropy::Entropy;
use crate::base::live::Live;
use crate::base::numbered::Numbered;
use crate::base::{clock, limits};
use crate::config::{self, ClientLimits, PoolMode};
use crate::policy::{Blocks, Policy, TrafficProfiles};
use crate::session::{
    Choice, ClientEntry, Completed, Listed, MultiPermission, Peer, RequestScratch, Roster, Scripts,
};
use crate::telemetry::redact::KeyMask;
use crate::telemetry::{Found, Metrics, Slow};
use crate::tls::ListenerStore;
use crate::upstream::{Buffers, Mailbox, Upstream};

/// What is handed down at assembly.
#[derive(Debug)]
pub(crate) struct WorkerParts {
    pub upstream: Rc<Upstream>,
    pub limits: Live<ClientLimits>,
    pub insight: Live<config::Insight>,
    pub mode: PoolMode,
    pub metrics: Arc<Metrics>,
    /// How keys are shown.
    pub mask: KeyMask,
    pub seed: u64,
    /// The clients of all threads.
    pub clients: Arc<Clients>,
    pub audit: Option<AuditParts>,
}

/// What judging a request changes besides its session: one for all sessions of the thread.
#[derive(Debug, Default)]
pub(super) struct Judging {
    pub request_scratch: RequestScratch,
    pub scripts: Scripts,
    pub multi_permission: MultiPermission,
}

/// Lives on the data plane's thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) upstream: Rc<Upstream>,
    pub(super) limits: Live<ClientLimits>,
    pub(super) dedicated: bool,
    pub(super) buffers: Rc<Buffers>,
    pub(super) metrics: ClientMetrics,
    /// What is written down for auditors, if anything is.
    pub(super) auditor: Option<Box<Auditor>>,
    /// Where every connection reads to; only an incomplete request is copied out of it.
    scratch: RefCell<Box<[u8]>>,
    /// A password was read into it.
    has_seen_password: Cell<bool>,
    pub(super) insight: Insight,
    insight_settings: Live<config::Insight>,
    entropy: RefCell<Entropy>,
    pub(super) judging: RefCell<Judging>,
    /// What was seen under policies that observe.
    pub(super) lessons: RefCell<TrafficProfiles>,
    pub(super) refusals: RefCell<Refusals>,
    pub(super) roster: Rc<Roster>,
    /// Before then no client is looked for that could make room.
    relieve_from: Cell<Instant>,
    /// What clients have shown that are connected over TLS.
    pub(super) certificates: RefCell<Certificates<ListenerStore>>,
    clients: RefCell<Numbered<Weak<Mailbox>>>,
    /// The clients of all threads.
    all_clients: Arc<Clients>,
    draining: Cell<bool>,
    access_changes: Cell<u64>,
    shared_requests: Cell<u64>,
    /// Milliseconds since 1970 in this turn, once it was read; 0 before.
    unix_ms: Cell<u64>,
}

impl Worker {
    #[must_use]
    pub(crate) fn new(parts: WorkerParts) -> Rc<Self> {
        let buffers = parts.upstream.buffers();
        buffers.set_cap(parts.limits.get().memory_budget_bytes);
        let mut entropy = Entropy::from_seed(parts.seed);
        let audit = parts.audit.as_ref().map(|parts| Arc::clone(&parts.audit));
        let insight = Insight::new(&parts.insight.get(), entropy.next_u64(), parts.mask, audit);
        parts.upstream.note(insight.notable());
        if let Some(AuditParts { audit, .. }) = &parts.audit {
            // Its room is taken from the budget once, whether it is used or not.
            buffers.adjust(0, audit.room_bytes());
        }
        Rc::new(Self {
            insight,
            insight_settings: parts.insight,
            entropy: RefCell::new(entropy),
            upstream: parts.upstream,
            limits: parts.limits,
            dedicated: parts.mode == PoolMode::Session,
            buffers,
            metrics: ClientMetrics::new(&parts.metrics),
            auditor: parts.audit.map(|parts| Box::new(Auditor::new(parts))),
            scratch: RefCell::new(vec![0; limits::READ_BYTES].into_boxed_slice()),
            has_seen_password: Cell::new(false),
            judging: RefCell::default(),
            lessons: RefCell::default(),
            refusals: RefCell::default(),
            roster: Roster::new(clock::now()),
            relieve_from: Cell::new(clock::now()),
            certificates: RefCell::default(),
            clients: RefCell::default(),
            all_clients: parts.clients,
            draining: Cell::new(false),
            access_changes: Cell::new(0),
            shared_requests: Cell::new(0),
            unix_ms: Cell::new(0),
        })
    }

    /// Lends the reading buffer. One that was never returned, because its task panicked, is replaced.
    pub(super) fn take_scratch(&self) -> Box<[u8]> {
        let scratch = std::mem::take(&mut *self.scratch.borrow_mut());
        if scratch.is_empty() { vec![0; limits::READ_BYTES].into_boxed_slice() } else { scratch }
    }

    pub(super) fn return_scratch(&self, mut scratch: Box<[u8]>) {
        if self.has_seen_password.take() {
            scratch.zeroize();
        }
        *self.scratch.borrow_mut() = scratch;
    }

    /// A client has sent a password: no copy of it stays in the buffer that connections read into.
    pub(super) fn note_password(&self) {
        self.has_seen_password.set(true);
    }

    /// The number of one more client; `None` when there are as many as there may be.
    pub(super) fn enter(&self) -> Option<u64> {
        self.all_clients.enter(self.limits.get().max_clients)
    }

    pub(super) fn admit(
        &self,
        id: u64,
        peer: Peer,
        now: Instant,
    ) -> (Rc<ClientEntry>, Rc<Mailbox>) {
        let limit = self.limits.get().output_hard_bytes;
        let mailbox = Mailbox::new(limit, Rc::clone(&self.buffers));
        self.clients.borrow_mut().insert(id, Rc::downgrade(&mailbox));
        (self.roster.enter(id, peer, now), mailbox)
    }

    /// The server is asked about its Lua once a policy guards scripts.
    pub(crate) fn guard_scripts_of(&self, policy: &Policy) {
        if policy.guards() {
            self.upstream.guard_scripts();
        }
    }

    pub(super) fn unregister(&self, id: u64) {
        self.roster.remove(id);
        self.certificates.borrow_mut().remove(id);
        self.clients.borrow_mut().remove(id);
        self.all_clients.remove();
    }

    /// A request is answered, and so many [alike](Completed::counts_as), itself included.
    pub(super) fn completed(&self, done: Completed, count: u64, now: Instant) {
        if done.unopened {
            self.judging.borrow_mut().multi_permission.note(false);
        }
        if !done.own {
            self.metrics.completed(done, count, now);
        }
    }

    /// What was learned from observed traffic, as TOML for the server's user `user`; none when there
    /// was none.
    #[must_use]
    pub(crate) fn learned(&self, user: &str) -> Option<String> {
        self.lessons.borrow().to_toml(user, self.dedicated)
    }

    /// Ends clients while all together keep more than the budget permits.
    pub(super) fn relieve(&self, now: Instant) {
        let excess = self.buffers.excess();
        if excess > 0 && now >= self.relieve_from.get() {
            self.evict(excess, now);
        }
    }

    fn evict(&self, excess: usize, now: Instant) {
        let clients = self.clients.borrow();
        let holder = |(id, mailbox): (u64, &Weak<Mailbox>)| {
            let held = mailbox.upgrade()?.holding()?;
            let still = now.saturating_duration_since(held.moved);
            Some(Holder { id, bytes: held.bytes, still, logged_in: held.logged_in })
        };
        let chosen = choose(clients.iter().filter_map(holder).collect(), excess);
        if chosen.is_empty() {
            // What is kept belongs to no client: to look again at once would find the same.
            self.relieve_from.set(now + limits::EVICTION_RETRY_INTERVAL);
        }
        for mailbox in chosen.iter().filter_map(|id| clients.get(*id)?.upgrade()) {
            mailbox.evict();
        }
    }

    /// Clients of this thread.
    #[must_use]
    pub(crate) fn clients(&self) -> usize {
        self.clients.borrow().len()
    }

    /// Whether another client would be accepted.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        self.all_clients.count() < self.limits.get().max_clients
    }

    /// Brings the figures up to date that are not counted as they change.
    pub(crate) fn note_figures(&self) {
        self.metrics.buffered(self.buffers.used());
        if let Some(auditor) = &self.auditor {
            auditor.note_figures();
        }
    }

    /// The slow commands that are kept, the newest first.
    #[must_use]
    pub(crate) fn slow(&self) -> Vec<Slow> {
        self.insight.slow()
    }

    /// Forgets them; returns how many there were.
    pub(crate) fn forget_slow(&self) -> usize {
        self.insight.forget_slow()
    }

    /// The keys that are used most and hold the most.
    #[must_use]
    pub(crate) fn hot_keys(&self) -> Vec<Found> {
        self.insight.hot(clock::now())
    }

    /// Counts keys from the beginning.
    pub(crate) fn forget_hot_keys(&self) {
        self.insight.forget_hot();
    }

    /// New limits are in force, the total among them; and what is to be found out.
    pub(crate) fn apply_limits(&self) {
        let settings = self.insight_settings.get();
        self.insight.set(&settings, self.entropy.borrow_mut().next_u64());
        self.upstream.note(self.insight.notable());
        self.buffers.set_cap(self.limits.get().memory_budget_bytes);
    }

    /// The access of listeners has changed; idle clients are checked as well.
    pub(crate) fn apply_access(&self) {
        if let Some(auditor) = &self.auditor {
            auditor.refresh();
        }
        self.access_changes.set(self.access_changes.get() + 1);
        self.wake_all();
    }

    /// Ends connections whose certificate has expired, at the next boundary between replies or after
    /// [`limits::CERTIFICATE_GRACE`].
    pub(crate) fn end_expired(&self) {
        let count = self.certificates.borrow_mut().note_time(clock::wall());
        if count > 0 {
            tracing::warn!(
                code = "CLI-W002",
                clients = count,
                "connections of clients are closed: their certificate has expired since they connected"
            );
        }
        self.end_refused();
    }

    /// Ends connections whose certificate would not be accepted by what listeners have in force now.
    pub(crate) fn recheck_certificates(self: &Rc<Self>) {
        let certificates = self.certificates.borrow();
        let asked: Vec<_> = certificates
            .all()
            .map(|shown| {
                let (listener, chain) = (Arc::clone(&shown.listener), Arc::clone(&shown.chain));
                (listener, chain, shown.judge.clone())
            })
            .collect();
        if asked.is_empty() {
            return;
        }
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // Signatures are compared: that is no work for this thread.
            let judged = tokio::task::spawn_blocking(move || {
                let fails = |(listener, chain, judge): (_, Chain, ListenerStore)| {
                    let error = judge.current().judge(&chain).err()?;
                    Some((listener, chain, error))
                };
                asked.into_iter().filter_map(fails).collect::<Vec<_>>()
            });
            for (listener, chain, error) in judged.await.unwrap_or_default() {
                let count = worker.certificates.borrow_mut().refuse(&listener, &chain);
                let (cause, clients) = (error.fault.code(), count);
                let words =
                    "connections of clients are closed: their certificate is not accepted any more";
                tracing::warn!(code = "CLI-W002", %listener, clients, cause, detail = %error.detail, "{words}");
            }
            worker.end_refused();
        });
    }

    fn end_refused(&self) {
        let until = clock::now() + limits::CERTIFICATE_GRACE;
        for (client, why) in self.certificates.borrow().ending() {
            self.roster.retire(client, why, until);
        }
        self.wake_due();
    }

    /// An operator denies this to clients from now on, besides what policies deny; `more`: a block was
    /// added, which is applied to idle clients, too.
    pub(crate) fn set_blocks(&self, blocks: &Arc<Blocks>, more: bool) {
        self.roster.note_blocks(blocks, more);
        if more {
            self.wake_all();
        }
    }

    /// The clients that are meant, at most `most`, and how many there are.
    #[must_use]
    pub(crate) fn list(&self, choice: &Choice, most: usize) -> (Vec<Listed>, usize) {
        self.roster.list(choice, most, clock::now())
    }

    /// Disconnects the clients that are meant; returns how many.
    pub(crate) fn disconnect(&self, choice: &Choice) -> usize {
        let count = self.roster.disconnect(choice);
        self.wake_due();
        count
    }

    /// Milliseconds since 1970, the same in the whole turn of a client.
    pub(super) fn unix_ms(&self) -> u64 {
        if self.unix_ms.get() == 0 {
            self.unix_ms.set(clock::unix_ms());
        }
        self.unix_ms.get()
    }

    /// The turn of a client begins.
    pub(super) fn forget_wall_time(&self) {
        self.unix_ms.set(0);
    }

    /// A request goes to a shared connection.
    pub(super) fn note_shared_request(&self) {
        self.shared_requests.set(self.shared_requests.get() + 1);
    }

    /// How many have gone there.
    pub(super) const fn shared_requests(&self) -> u64 {
        self.shared_requests.get()
    }

    /// How often [`Self::apply_access`] was called.
    pub(super) const fn access_changes(&self) -> u64 {
        self.access_changes.get()
    }

    /// Closes idle clients now, the others after their last reply.
    pub(crate) fn begin_drain(&self) {
        self.draining.set(true);
        self.wake_all();
    }

    /// Another identity or password is in force: every session checks its pinned connection again.
    pub(crate) fn recheck_leases(&self) {
        self.wake_all();
    }

    /// Wakes clients that another one has killed.
    #[inline]
    pub(super) fn wake_due(&self) {
        if self.roster.has_due() {
            self.wake_those_due();
        }
    }

    fn wake_those_due(&self) {
        let clients = self.clients.borrow();
        for id in self.roster.take_due() {
            if let Some(mailbox) = clients.get(id).and_then(Weak::upgrade) {
                mailbox.wake();
            }
        }
    }

    fn wake_all(&self) {
        for mailbox in self.clients.borrow().values().filter_map(Weak::upgrade) {
            mailbox.wake();
        }
    }

    pub(super) const fn is_draining(&self) -> bool {
        self.draining.get()
    }
}

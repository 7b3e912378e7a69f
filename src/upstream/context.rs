//! What every upstream connection shares: settings, the way to dial, figures, chance.
//!
//! Owns: [`UpstreamContext`]: when the server may be dialed, and what is known of an outage. Never knows: sessions,
//! what a connection carries.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::breaker::BreakerRules;
use super::buffers::Buffers;
use super::condition::LastError;
use super::connection::Freshness;
use super::credentials::Login;
use super::dial::{Dialer, ServerConnection};
use super::ended::cause;
use super::failure::DialError;
use super::fault::Fault;
use super::handshake_limit::Waiter;
use super::line::Next;
use super::mailbox::Mailbox;
use super::metrics::UpstreamMetrics;
use super::node::{self, Ask, Begun, Node};
use super::outage::{Notice, Patience, show};
use super::remarks::{Notable, Remark};
use super::retry_budget::{Repeat, RetryBudget};
use super::wait::Wait;
use crate::base::clock;
use crate::base::entropy::Entropy;
use crate::config::{self, OnOutage};
use crate::policy::Guarding;
use crate::telemetry::Metrics;
use crate::traffic::{PoolKey, Server, Ticket, Unavailable};

/// Handed down at assembly; lives as long as the data plane.
#[derive(Debug)]
pub(super) struct UpstreamContext {
    pub settings: config::Upstream,
    /// Replies from this size on are large (`limits.large`).
    pub large_bytes: u64,
    pub metrics: UpstreamMetrics,
    pub server: Cell<Server>,
    /// Of which requests clients want to know more than the reply.
    pub notable: Cell<Notable>,
    /// Connections that have come or gone.
    pub epoch: Cell<u64>,
    /// What is known of the server's Lua.
    pub guarding: RefCell<Guarding>,
    /// The server must be asked about its Lua.
    pub guarding_due: Notify,
    /// How long a request may wait for the server.
    pub patience: Patience,
    /// What all buffers may take together.
    pub buffers: Rc<Buffers>,
    numbers: Cell<u64>,
    dialer: Dialer,
    entropy: RefCell<Entropy>,
    node: RefCell<Node>,
    retries: RefCell<RetryBudget>,
    /// Commands that were written and are not in it yet.
    sent: Cell<u64>,
    /// Whether the server may be dialed has changed, perhaps.
    changed: Notify,
    /// An outage has begun or ended.
    turned: Notify,
    last_error: RefCell<Option<LastError>>,
    /// The last answer BUSY to an attempt.
    busy: RefCell<Option<DialError>>,
}

impl UpstreamContext {
    pub(super) fn new(
        settings: config::Upstream,
        large_bytes: u64,
        dialer: Dialer,
        metrics: Arc<Metrics>,
        buffers: Rc<Buffers>,
        seed: u64,
    ) -> Rc<Self> {
        let rules = BreakerRules::of(&settings);
        let (handshakes, retry) = (settings.pool.max_handshakes, &settings.retry);
        let retries = RetryBudget::new(retry.max_retries, retry.budget, clock::now());
        Rc::new(Self {
            patience: Patience { on_outage: settings.on_outage, wait: settings.outage_wait },
            settings,
            large_bytes,
            metrics: UpstreamMetrics::new(metrics),
            server: Cell::default(),
            notable: Cell::new(Notable::NONE),
            epoch: Cell::new(0),
            guarding: RefCell::default(),
            guarding_due: Notify::new(),
            buffers,
            numbers: Cell::new(0),
            dialer,
            entropy: RefCell::new(Entropy::from_seed(seed)),
            node: RefCell::new(Node::new(rules, handshakes)),
            retries: RefCell::new(retries),
            sent: Cell::default(),
            changed: Notify::new(),
            turned: Notify::new(),
            last_error: RefCell::default(),
            busy: RefCell::default(),
        })
    }

    /// Dials when the breaker allows it and there is a place, however long that takes: the caller bounds the wait.
    pub(super) async fn dial(&self, key: PoolKey) -> Result<ServerConnection, DialError> {
        let attempt = self.begin(key).await?;
        let link = self.connect(key).await;
        attempt.end(link.as_ref());
        if let Ok(link) = &link {
            self.server.set(link.facts.product());
            self.note_change();
        }
        link
    }

    /// Dials beside a connection that is up: whether that works is no sign of an outage.
    pub(super) async fn dial_beside(&self, key: PoolKey) -> Result<ServerConnection, DialError> {
        let attempt = self.begin_beside().await;
        let link = self.connect(key).await;
        attempt.end(link.as_ref());
        if link.is_ok() {
            self.note_change();
        }
        link
    }

    async fn connect(&self, key: PoolKey) -> Result<ServerConnection, DialError> {
        let dialing = self.metrics.dialing();
        let link = self.dialer.dial(key).await;
        drop(dialing);
        self.metrics.dialed(link.as_ref());
        self.note_error(link.as_ref().err());
        link
    }

    fn note_error(&self, error: Option<&DialError>) {
        if let Some(DialError { code, cause, fix, .. }) = error {
            let (cause, fix) = (cause.clone(), fix.clone());
            self.last_error.replace(Some(LastError { at: clock::now(), code, cause, fix }));
        }
    }

    /// The last attempt that failed.
    pub(super) fn last_error(&self) -> Option<LastError> {
        self.last_error.borrow().clone()
    }

    /// Whether no further attempt is made at this moment.
    pub(super) fn is_open(&self) -> bool {
        self.node.borrow().is_open()
    }

    /// Reports the key of a request without a reply to its session, if the session counts keys.
    pub(super) fn remark_lost(&self, mailbox: &Mailbox, ticket: Ticket, request: &[u8]) {
        let notable = self.notable.get();
        if notable.is_on() {
            mailbox.remark(ticket, Remark { key: notable.key_of(request), ..Remark::default() });
        }
    }

    /// Whether a dial would not have to wait.
    pub(super) fn may_dial(&self) -> bool {
        self.node.borrow().is_passable(clock::now())
    }

    /// Waits until the server may be dialed, or until it has answered BUSY to another attempt meanwhile.
    async fn begin(&self, key: PoolKey) -> Result<Attempt<'_>, DialError> {
        let mut attempt = Attempt { context: self, state: State::Waits(Waiter::new(key.database)) };
        while let State::Waits(waiter) = &mut attempt.state {
            let ask = self.node.borrow_mut().ask(waiter, clock::now());
            match ask {
                Ask::Dial(begun) => attempt.state = State::UnderWay(begun),
                Ask::Wait(None) => self.changed.notified().await,
                Ask::Wait(Some(until)) => {
                    let _ = timeout_at(until.into(), self.changed.notified()).await;
                }
                Ask::Busy => {
                    let busy = self.busy.borrow().clone();
                    return Err(busy.unwrap_or_else(|| DialError::of(Fault::Busy)));
                }
            }
        }
        let node = self.node.borrow();
        self.metrics.circuit(node.circuit());
        if node.is_busy(clock::now()) {
            // Others that waited before it are held now, and those behind them may begin.
            self.changed.notify_waiters();
        }
        drop(node);
        Ok(attempt)
    }

    /// Waits until one more connection may be made beside one that is up.
    async fn begin_beside(&self) -> Attempt<'_> {
        let mut attempt = Attempt { context: self, state: State::Waits(Waiter::default()) };
        while let State::Waits(waiter) = &mut attempt.state {
            let begins = self.node.borrow_mut().ask_beside(waiter);
            if begins {
                attempt.state = State::Beside;
            } else {
                self.changed.notified().await;
            }
        }
        attempt
    }

    /// Whether the server may be dialed has changed, perhaps.
    fn note_breaker(&self) {
        let node = self.node.borrow();
        self.metrics.backoff(node.waits(clock::now()));
        self.metrics.circuit(node.circuit());
        drop(node);
        self.changed.notify_waiters();
    }

    fn note_dialed(&self, begun: Begun, result: Result<&ServerConnection, &DialError>) {
        let (now, entropy) = (clock::now(), self.draw());
        let (attempt, phase, cause) = match result {
            Ok(_) => (node::Attempt::Up, "", ""),
            Err(error) if error.server_line.is_some() => {
                tracing::debug!(cause = %error.text, "the server answers and refuses the connection");
                let busy = error.busy_line().is_some();
                if busy {
                    self.busy.replace(Some(error.clone()));
                }
                (if busy { node::Attempt::Busy } else { node::Attempt::NoDatabase }, "", "")
            }
            Err(error) => {
                tracing::debug!(phase = error.label, cause = %error.text, "attempt to connect failed");
                (node::Attempt::Failed(error.what), error.label, &*error.text)
            }
        };
        self.note(|node| node.handle_dialed(begun, attempt, now, entropy), phase, cause);
        self.note_breaker();
    }

    /// The server, or the way to it, has ended a connection.
    pub(super) fn note_connection_lost(&self, answered: bool, opened_at: Instant) {
        if self.guarding.borrow_mut().doubt() {
            self.guarding_due.notify_one();
        }
        let (now, entropy) = (clock::now(), self.draw());
        self.node.borrow_mut().handle_connection_lost(answered, opened_at, now, entropy);
        self.note_breaker();
    }

    /// A shared connection has ended.
    pub(super) fn note_ended(&self, next: Next, answered: bool, opened_at: Instant) {
        let cause = match next {
            Next::Serve | Next::Idle | Next::Done => return,
            Next::Fail(reason) => cause(reason),
            Next::Unneeded => "",
        };
        if self.guarding.borrow_mut().doubt() {
            self.guarding_due.notify_one();
        }
        let (now, entropy) = (clock::now(), self.draw());
        self.note(|node| node.handle_ended(next, answered, opened_at, now, entropy), "", cause);
        self.note_breaker();
    }

    /// A connection has answered a request, or lived for long enough.
    pub(super) fn note_proven(&self) {
        self.note(|node| node.handle_proven(clock::now()), "", "");
    }

    /// Counts the commands of one write; none in a write of the proxy's own.
    pub(super) fn note_batch(&self, commands: u64) {
        self.metrics.batch(commands);
        self.sent.set(self.sent.get() + commands);
    }

    /// Counts for the retry budget what was written since this was called last: at each tick of a busy connection
    /// rather than at each write, which needs no clock then.
    pub(super) fn count_sent(&self, now: Instant) {
        let sent = self.sent.take();
        if sent > 0 {
            self.retries.borrow_mut().note_sent(sent, now);
        }
    }

    /// Whether a command that was lost, and sent again so often, may be sent once more; if so, it is counted.
    pub(super) fn may_repeat(&self, attempts: u8, now: Instant) -> bool {
        self.count_sent(now);
        let repeat = self.retries.borrow_mut().may_repeat(attempts, now);
        if repeat == Repeat::OverBudget {
            self.metrics.over_budget();
        }
        repeat == Repeat::Yes
    }

    /// The server has answered a probe.
    pub(super) fn note_alive(&self) {
        self.note(|node| node.handle_alive(clock::now()), "", "");
    }

    /// Logs what has happened to the server, and wakes the sessions that wait for it.
    fn note(&self, event: impl FnOnce(&mut Node) -> Option<Notice>, phase: &str, cause: &str) {
        let before = self.outage_since();
        let notice = event(&mut self.node.borrow_mut());
        if before != self.outage_since() {
            self.turned.notify_waiters();
        }
        match notice {
            None => {}
            Some(Notice::Lost) => tracing::warn!(code = "UPS-E003", "connection lost: {cause}"),
            Some(Notice::Failed) => {
                tracing::warn!(code = "UPS-E003", phase, "cannot connect: {cause}");
            }
            Some(Notice::Changed) => {
                tracing::warn!(code = "UPS-E003", phase, "still not connected: {cause}");
            }
            Some(Notice::Over { lasted, waited, closed, again }) => {
                let again = if again { " again" } else { "" };
                tracing::info!(
                    "connected{again} after {}; {waited} commands waited, {closed} clients were closed",
                    show(lasted)
                );
            }
        }
    }

    /// Since when the server cannot be reached, or no further connection to it be had.
    pub(super) fn outage_since(&self) -> Option<Instant> {
        self.node.borrow().outage_since()
    }

    /// Why the last attempt failed.
    pub(super) fn last_failure(&self) -> Unavailable {
        self.node.borrow().last_failure()
    }

    /// What `policy.ttl` was to send behind a write that was answered is not sent.
    pub(super) fn note_not_completed(&self, why: &str) {
        tracing::warn!(
            code = "POL-W006",
            why,
            "a key that was written may be without its time to live: the EXPIRE behind the write is given up"
        );
    }

    /// Commands have to wait for the server.
    pub(super) fn note_waiting(&self, count: usize) {
        self.node.borrow_mut().note_waiting(count as u64);
    }

    /// A client was closed because the server cannot be reached.
    pub(super) fn note_client_closed(&self) {
        self.node.borrow_mut().note_client_closed();
    }

    /// A shared connection has become silent, or answers again.
    pub(super) fn note_silence(&self, silent: bool) {
        self.node.borrow_mut().handle_silence(silent);
    }

    /// Whether the server is silent: some connection waits too long, or there is none.
    pub(super) fn is_silent(&self) -> bool {
        self.node.borrow().is_silent()
    }

    /// How long a request waits for the server; an `eager` one only while an outage is younger than that.
    pub(super) const fn patience_of(&self, eager: bool) -> Patience {
        let Patience { on_outage, wait } = self.patience;
        Patience { on_outage: if eager { OnOutage::Error } else { on_outage }, wait }
    }

    /// Bounds a wait for the server: by `usual`, or as an outage has it. `None`: it took too long.
    pub(super) async fn bounded<T>(
        &self,
        usual: Duration,
        patience: Patience,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut wait = Wait::new(clock::now(), usual);
        tokio::pin!(work);
        tokio::select! {
            biased;
            result = &mut work => return Some(result),
            () = std::future::ready(()) => {}
        }
        loop {
            let turned = self.turned.notified();
            tokio::pin!(turned);
            // What `work` itself causes counts as well.
            turned.as_mut().enable();
            let since = self.outage_since();
            if wait.handle_outage(since, clock::now()) {
                self.note_waiting(1);
            }
            let deadline = wait.deadline(since, patience);
            tokio::select! {
                biased;
                result = &mut work => return Some(result),
                () = &mut turned => {}
                () = tokio::time::sleep_until(deadline.into()) => return None,
            }
        }
    }

    /// A connection has come or gone: the server may be another one.
    pub(super) fn note_change(&self) {
        self.epoch.set(self.epoch.get().wrapping_add(1));
    }

    /// Waits until there was a connection: those that no request waits for would delay the first one.
    pub(super) async fn connected_once(&self) {
        while self.epoch.get() == 0 {
            self.changed.notified().await;
        }
    }

    /// Whether the connection was made with the identity and password in force.
    pub(super) fn is_current(&self, link: &ServerConnection) -> bool {
        self.freshness(link) == Freshness::Current
    }

    /// How what the connection was made with relates to what is in force.
    pub(super) fn freshness(&self, link: &ServerConnection) -> Freshness {
        self.dialer.freshness(link)
    }

    /// Whether a connection may stay with the session that has it: tokens change every few minutes, and the server
    /// itself ends the connections that it wants to end.
    pub(super) fn may_stay(&self, link: &ServerConnection) -> bool {
        match self.freshness(link) {
            Freshness::Current => true,
            Freshness::NewPassword => self.dialer.credentials().has_program(),
            Freshness::Outdated => false,
        }
    }

    /// What connections log in with.
    pub(super) fn login(&self) -> Arc<Login> {
        self.dialer.credentials().current()
    }

    /// Of the next shared connection.
    pub(super) fn next_number(&self) -> u64 {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        number
    }

    pub(super) fn draw(&self) -> u64 {
        self.entropy.borrow_mut().next_u64()
    }
}

/// One attempt to connect. Dropped before its end, it is no sign of the server's state.
struct Attempt<'a> {
    context: &'a UpstreamContext,
    state: State,
}

enum State {
    Waits(Waiter),
    UnderWay(Begun),
    Beside,
    Over,
}

impl Attempt<'_> {
    fn end(mut self, result: Result<&ServerConnection, &DialError>) {
        if let State::UnderWay(begun) = self.state {
            self.context.note_dialed(begun, result);
            self.state = State::Over;
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let (context, now) = (self.context, clock::now());
        match &mut self.state {
            State::Waits(waiter) => {
                if context.node.borrow_mut().handle_left(waiter, now) {
                    context.changed.notify_waiters();
                }
            }
            State::UnderWay(begun) => {
                context.node.borrow_mut().handle_cancelled(*begun, now);
                context.note_breaker();
            }
            State::Beside => {
                context.node.borrow_mut().handle_ended_beside();
                context.changed.notify_waiters();
            }
            State::Over => {}
        }
    }
}

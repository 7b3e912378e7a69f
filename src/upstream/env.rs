//! What every upstream connection shares: settings, the way to dial, figures, chance.
//!
//! Owns: [`Env`]: when the server may be dialed, and what is known of an outage. Never knows: sessions,
//! what a connection carries.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};

use super::breaker::{Ask, Breaker, Round};
use super::buffers::Buffers;
use super::condition::LastError;
use super::dial::{Dialer, Link};
use super::failure::DialError;
use super::figures::Figures;
use super::outage::{Notice, Outage, Patience, show};
use crate::base::backoff::Backoff;
use crate::base::clock;
use crate::base::entropy::Entropy;
use crate::config;
use crate::telemetry::Metrics;
use crate::traffic::{PoolKey, Server, Unavailable};

/// TLS handshakes at once: each costs the server a millisecond of its one thread.
const HANDSHAKES_MAX: usize = 8;
/// A connection that lived this long has proven that the server works.
pub(super) const PROOF: Duration = Duration::from_secs(2);

/// Handed down at assembly; lives as long as the data plane.
#[derive(Debug)]
pub(super) struct Env {
    pub settings: config::Upstream,
    /// Replies from this size on are large (`limits.large`).
    pub large_bytes: u64,
    pub metrics: Figures,
    pub server: Cell<Server>,
    /// Clients want to know how long their commands took at the server.
    pub measures: Cell<bool>,
    /// Connections that have come or gone.
    pub epoch: Cell<u64>,
    /// How long a request may wait for the server.
    pub patience: Patience,
    /// What all buffers may take together.
    pub buffers: Rc<Buffers>,
    numbers: Cell<u64>,
    dialer: Dialer,
    handshakes: Semaphore,
    entropy: RefCell<Entropy>,
    breaker: RefCell<Breaker>,
    /// The breaker has changed.
    changed: Notify,
    outage: RefCell<Outage>,
    /// An outage has begun or ended.
    turned: Notify,
    /// Why the last attempt to connect failed.
    last_failure: Cell<Unavailable>,
    last_error: RefCell<Option<LastError>>,
    /// Shared connections on which the server is silent although it was asked for a sign of life.
    silent: Cell<u32>,
}

impl Env {
    pub(super) fn new(
        settings: config::Upstream,
        large_bytes: u64,
        dialer: Dialer,
        metrics: Arc<Metrics>,
        seed: u64,
    ) -> Rc<Self> {
        let retry = &settings.retry;
        let backoff =
            Backoff { initial: retry.initial, multiplier: retry.multiplier, cap: retry.max };
        Rc::new(Self {
            patience: Patience { on_outage: settings.on_outage, wait: settings.outage_wait },
            settings,
            large_bytes,
            metrics: Figures::new(metrics),
            server: Cell::default(),
            measures: Cell::new(false),
            epoch: Cell::new(0),
            buffers: Buffers::new(usize::MAX),
            numbers: Cell::new(0),
            dialer,
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            entropy: RefCell::new(Entropy::from_seed(seed)),
            breaker: RefCell::new(Breaker::new(backoff, PROOF)),
            changed: Notify::new(),
            outage: RefCell::default(),
            turned: Notify::new(),
            last_failure: Cell::new(Unavailable::Timeout),
            last_error: RefCell::default(),
            silent: Cell::new(0),
        })
    }

    /// Dials when the breaker allows it, however long that takes: whoever asks bounds the wait.
    pub(super) async fn dial(&self, key: PoolKey) -> Result<Link, DialError> {
        let attempt = loop {
            self.passable().await;
            let permit = self.handshakes.acquire().await;
            if let Ask::Dial(round) = self.ask() {
                self.metrics.circuit(self.breaker.borrow().circuit());
                break Attempt { env: self, round: Some(round), _permit: permit.ok() };
            }
        };
        let dialing = self.metrics.dialing();
        let link = self.dialer.dial(key).await;
        drop(dialing);
        self.metrics.dialed(link.as_ref());
        self.note_error(link.as_ref().err());
        attempt.end(link.as_ref());
        if let Ok(link) = &link {
            self.server.set(Server::named(&link.facts.server, &link.facts.version));
            self.note_change();
        }
        link
    }

    /// Dials beside a connection that is up: whether that works says nothing about an outage.
    pub(super) async fn dial_beside(&self, key: PoolKey) -> Result<Link, DialError> {
        let _permit = self.handshakes.acquire().await;
        let dialing = self.metrics.dialing();
        let link = self.dialer.dial(key).await;
        drop(dialing);
        self.metrics.dialed(link.as_ref());
        self.note_error(link.as_ref().err());
        if link.is_ok() {
            self.note_change();
        }
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
        self.breaker.borrow().is_open()
    }

    /// The time in microseconds, if anyone wants to know it; else 0.
    pub(super) fn micros(&self, time: Duration) -> u32 {
        if !self.measures.get() {
            return 0;
        }
        u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
    }

    fn ask(&self) -> Ask {
        self.breaker.borrow_mut().ask(clock::now())
    }

    /// Whether a dial would not have to wait.
    pub(super) fn may_dial(&self) -> bool {
        self.breaker.borrow().is_passable(clock::now())
    }

    /// Waits until an attempt would be allowed.
    async fn passable(&self) {
        loop {
            let now = clock::now();
            let (passable, wait) = {
                let breaker = self.breaker.borrow();
                (breaker.is_passable(now), breaker.waits(now))
            };
            if passable {
                return;
            }
            if wait.is_zero() {
                self.changed.notified().await;
            } else {
                let slept = tokio::time::timeout(wait, self.changed.notified());
                let _ = slept.await;
            }
        }
    }

    /// The breaker may have changed.
    fn note_breaker(&self) {
        let breaker = self.breaker.borrow();
        self.metrics.backoff(breaker.waits(clock::now()));
        self.metrics.circuit(breaker.circuit());
        drop(breaker);
        self.changed.notify_waiters();
    }

    fn note_dialed(&self, round: Round, result: Result<&Link, &DialError>) {
        let now = clock::now();
        match result {
            Ok(_) => {
                self.breaker.borrow_mut().handle_connected();
                self.note(|outage| outage.handle_connected(now), "", "");
            }
            Err(error) if error.server_line.is_some() => {
                // The server is well; it is this database that it does not have.
                self.breaker.borrow_mut().handle_connected();
                tracing::debug!(cause = %error.text, "no such database");
            }
            Err(error) => {
                self.last_failure.set(error.what);
                let entropy = self.draw();
                self.breaker.borrow_mut().handle_failed(round, now, entropy);
                tracing::debug!(phase = error.label, cause = %error.text, "attempt to connect failed");
                self.note(|outage| outage.handle_failed(error.what, now), error.label, &error.text);
            }
        }
        self.note_breaker();
    }

    /// The server, or the way to it, has ended a connection.
    pub(super) fn note_death(&self, answered: bool, born: Instant) {
        let now = clock::now();
        let lived = now.saturating_duration_since(born);
        let entropy = self.draw();
        self.breaker.borrow_mut().handle_died(answered, lived, now, entropy);
        self.note_breaker();
    }

    /// A shared connection is lost. Its death is noted besides.
    pub(super) fn note_lost(&self, cause: &str, answered: bool, born: Instant) {
        let now = clock::now();
        let proven = answered || now.saturating_duration_since(born) >= PROOF;
        self.note(|outage| outage.handle_lost(proven, now), "", cause);
    }

    /// A connection has answered a request, or lived for [`PROOF`].
    pub(super) fn note_proven(&self) {
        self.breaker.borrow_mut().handle_proven();
        self.note(|outage| outage.handle_proven(clock::now()), "", "");
    }

    /// Tells the outage, and then the log and those who wait.
    fn note(&self, event: impl FnOnce(&mut Outage) -> Option<Notice>, phase: &str, cause: &str) {
        let before = self.outage_since();
        let notice = event(&mut self.outage.borrow_mut());
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
        self.outage.borrow().since()
    }

    /// Why the last attempt failed.
    pub(super) fn last_failure(&self) -> Unavailable {
        self.last_failure.get()
    }

    /// Commands have to wait for the server.
    pub(super) fn note_waiting(&self, count: usize) {
        self.outage.borrow_mut().note_waiting(count as u64);
    }

    /// A client was closed because the server cannot be reached.
    pub(super) fn note_client_closed(&self) {
        self.outage.borrow_mut().note_closed();
    }

    /// A shared connection has become silent, or speaks again.
    pub(super) fn note_silence(&self, silent: bool) {
        let count = self.silent.get();
        self.silent.set(if silent { count + 1 } else { count.saturating_sub(1) });
    }

    /// Whether nothing is heard of the server, on some connection or on none.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.get() > 0 || self.breaker.borrow().is_open()
    }

    /// Bounds a wait for the server: by `usual`, or as an outage has it. `None`: it took too long.
    pub(super) async fn bounded<T>(
        &self,
        usual: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut start = clock::now();
        let (mut counted, mut out) = (false, false);
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
            if out && since.is_none() {
                // What waited through an outage has its usual time from now on.
                start = clock::now();
            }
            out = since.is_some();
            if out && !std::mem::replace(&mut counted, true) {
                self.note_waiting(1);
            }
            let deadline = self.patience.deadline(since, start, usual);
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

    /// Whether the connection was made with the identity and password in force.
    pub(super) fn is_current(&self, link: &Link) -> bool {
        self.dialer.is_current(link)
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

/// One attempt to connect. Dropped before its end, it says nothing about the server.
struct Attempt<'a> {
    env: &'a Env,
    round: Option<Round>,
    _permit: Option<tokio::sync::SemaphorePermit<'a>>,
}

impl Attempt<'_> {
    fn end(mut self, result: Result<&Link, &DialError>) {
        if let Some(round) = self.round.take() {
            self.env.note_dialed(round, result);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(round) = self.round.take() {
            self.env.breaker.borrow_mut().handle_cancelled(round, clock::now());
            self.env.note_breaker();
        }
    }
}

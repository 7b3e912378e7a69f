//! What every upstream connection shares: settings, the way to dial, figures, chance.
//!
//! Owns: [`Env`]. Never knows: sessions, what a connection carries.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::dial::{Dialer, Link};
use super::failure::DialError;
use super::figures::Figures;
use crate::base::entropy::Entropy;
use crate::config;
use crate::telemetry::Metrics;
use crate::traffic::PoolKey;

/// TLS handshakes at once: each costs the server a millisecond of its one thread.
const HANDSHAKES_MAX: usize = 8;

/// Handed down at assembly; lives as long as the data plane.
#[derive(Debug)]
pub(super) struct Env {
    pub settings: config::Upstream,
    /// Replies from this size on are large (`limits.large`).
    pub large_bytes: u64,
    pub metrics: Figures,
    pub valkey: Cell<bool>,
    /// Connections that have come or gone.
    pub epoch: Cell<u64>,
    dialer: Dialer,
    handshakes: Semaphore,
    entropy: RefCell<Entropy>,
}

impl Env {
    pub(super) fn new(
        settings: config::Upstream,
        large_bytes: u64,
        dialer: Dialer,
        metrics: Arc<Metrics>,
        seed: u64,
    ) -> Rc<Self> {
        Rc::new(Self {
            settings,
            large_bytes,
            metrics: Figures::new(metrics),
            valkey: Cell::new(false),
            epoch: Cell::new(0),
            dialer,
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            entropy: RefCell::new(Entropy::from_seed(seed)),
        })
    }

    pub(super) async fn dial(&self, key: PoolKey) -> Result<Link, DialError> {
        let _permit = self.handshakes.acquire().await;
        let link = self.dialer.dial(key).await;
        self.metrics.dialed(link.as_ref());
        if let Ok(link) = &link {
            self.valkey.set(link.facts.server == "valkey");
            self.note_change();
        }
        link
    }

    /// A connection has come or gone: the server may be another one.
    pub(super) fn note_change(&self) {
        self.epoch.set(self.epoch.get().wrapping_add(1));
    }

    /// Whether the connection was made with the identity and password in force.
    pub(super) fn is_current(&self, link: &Link) -> bool {
        self.dialer.is_current(link)
    }

    pub(super) fn draw(&self) -> u64 {
        self.entropy.borrow_mut().next_u64()
    }

    pub(super) fn note_dial_failure(&self, error: &DialError) {
        if error.server_line.is_some() {
            // A client asked for a database that the server does not have: the client hears of it.
            return tracing::debug!(cause = %error.text, "no such database");
        }
        tracing::warn!(phase = error.label, cause = %error.text, "upstream connection attempt failed");
    }

    pub(super) fn note_retries(&self, count: usize) {
        self.metrics.retried(count);
    }
}

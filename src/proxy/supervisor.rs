//! What systemd learns of the process: sd_notify(3) messages and its watchdog.
//!
//! Owns: [`Supervisor`]. Never knows: what makes the process ready.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

use crate::admin::{Health, Probe};
use crate::base::clock;
use crate::base::limits;

/// Sends the states of the process, and as long as the data plane is alive the watchdog's messages.
#[derive(Debug)]
pub(super) struct Supervisor(Option<JoinHandle<()>>);

impl Supervisor {
    /// The process serves clients; it is ready when it has started.
    pub(super) fn begin(health: &Arc<Health>) -> Self {
        if health.report(Probe::Started, clock::now()).passed() {
            ready();
        } else {
            send(&[NotifyState::Status("waiting for the server")]);
            tokio::spawn(await_start(Arc::clone(health)));
        }
        let health = Arc::clone(health);
        Self(sd_notify::watchdog_enabled().map(|limit| tokio::spawn(watch(limit / 2, health))))
    }

    /// Files are read again; [`Self::reloaded`] ends it.
    pub(super) fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            send(&[NotifyState::Reloading, now]);
        }
    }

    pub(super) fn reloaded(&self) {
        send(&[NotifyState::Ready]);
    }

    /// The process drains its clients and exits.
    pub(super) fn stopping(&self) {
        send(&[NotifyState::Stopping, NotifyState::Status("draining clients")]);
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(watchdog) = &self.0 {
            watchdog.abort();
        }
    }
}

fn ready() {
    send(&[NotifyState::Ready, NotifyState::Status("serving clients")]);
}

/// With `startup.require_upstream`: until the server was reached.
async fn await_start(health: Arc<Health>) {
    while !health.report(Probe::Started, clock::now()).passed() {
        tokio::time::sleep(limits::START_CHECK_INTERVAL).await;
    }
    ready();
}

/// systemd restarts a service that is silent for its `WatchdogSec=`: half of that is the period.
async fn watch(period: Duration, health: Arc<Health>) {
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(10)));
    loop {
        ticks.tick().await;
        if health.report(Probe::Live, clock::now()).passed() {
            send(&[NotifyState::Watchdog]);
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be notified");
    }
}

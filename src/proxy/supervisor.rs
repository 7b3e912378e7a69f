//! Notifications to systemd about the process: sd_notify(3) messages and its watchdog.
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
use crate::telemetry::State;

/// Sends the states of the process, and as long as the data plane is alive the watchdog's messages.
#[derive(Debug)]
pub(super) struct Supervisor(Vec<JoinHandle<()>>);

impl Supervisor {
    /// The process serves clients; it is ready when it has started.
    pub(super) fn begin(health: &Arc<Health>) -> Self {
        let watchdog = sd_notify::watchdog_enabled();
        let watchdog = watchdog.map(|limit| tokio::spawn(watch(limit / 2, Arc::clone(health))));
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self(watchdog.into_iter().collect());
        }
        if health.report(Probe::Started, clock::now()).passed() {
            ready();
        } else {
            tokio::spawn(await_start(Arc::clone(health)));
        }
        Self(watchdog.into_iter().chain([tokio::spawn(report_state(Arc::clone(health)))]).collect())
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
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn ready() {
    send(&[NotifyState::Ready, NotifyState::Status("serving clients")]);
}

/// Each state of the process, in words for `systemctl status`.
async fn report_state(health: Arc<Health>) {
    let mut notified = None;
    loop {
        let state = health.state();
        if notified != Some(state) {
            notified = Some(state);
            send(&[NotifyState::Status(match state {
                State::Starting => "waiting for the server",
                State::Ready => "serving clients",
                State::Degraded => "serving clients; the server cannot be reached",
                // The drain reports its own state when it begins.
                State::Draining => return,
            })]);
        }
        tokio::time::sleep(limits::START_CHECK_INTERVAL).await;
    }
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
    let mut ticks = tokio::time::interval(period.max(limits::WATCHDOG_INTERVAL_MIN));
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

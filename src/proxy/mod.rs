//! Assembly: builds the house, watches it, drains it.
//!
//! Owns: [`Proxy`]: the process from start to exit. Never knows: the command line.

mod data_plane;
mod drain;
mod parts;
mod reload;
mod signals;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::admin::{self, AdminHandle, Health};
use crate::base::clock;
use crate::config::Config;
use crate::telemetry::{State, Telemetry};
use crate::tls::watch::Watch;
use data_plane::{Control, DataPlane};
use parts::Parts;

pub use parts::StartError;
pub use reload::Reread;
pub use signals::Signal;

/// A running proxy: applications are served from the moment it exists.
#[derive(Debug)]
pub struct Proxy {
    data_plane: DataPlane,
    admin: Option<AdminHandle>,
    health: Arc<Health>,
    telemetry: Telemetry,
    reloader: reload::Reloader,
    watch: Watch,
    reread: Reread,
    drain: crate::config::Drain,
}

impl Proxy {
    /// Builds everything that can fail before the first client is accepted: reads certificates and
    /// passwords, compiles the policy, binds every address. The server need not be reachable.
    ///
    /// # Errors
    ///
    /// What is wrong, where and what to do.
    pub fn start(config: Config, reread: Reread, telemetry: Telemetry) -> Result<Self, StartError> {
        // Before the files are read: no change falls between.
        let watch = parts::watch(&config, reread.file.as_ref());
        telemetry.metrics.reload_watch_up.set(watch.watch_up());
        let health = Arc::new(Health::new(clock::now()));
        telemetry.metrics.state.set(State::Starting);
        let parts = Parts::build(&config, &telemetry)?;
        let data_plane = DataPlane::start(&config, &parts, &telemetry, Arc::clone(&health))?;
        let admin = match config.telemetry.address {
            None => None,
            Some(address) => {
                let served =
                    admin::serve(address, Arc::clone(&health), Arc::clone(&telemetry.metrics));
                Some(served.map_err(|error| StartError::telemetry(address, &error))?)
            }
        };
        health.set_listeners_bound(true);
        health.set_started();
        telemetry.metrics.state.set(State::Ready);
        let drain = config.drain.clone();
        let reloader = reload::Reloader::new(config, parts, telemetry.clone());
        Ok(Self { data_plane, admin, health, telemetry, reloader, watch, reread, drain })
    }

    /// Where the telemetry server listens, if there is one.
    #[must_use]
    pub fn telemetry_address(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().map(AdminHandle::address)
    }

    /// Serves until told to leave: reloads on [`Signal::Reload`] and when a file changes, leaves
    /// politely on the first [`Signal::Leave`] and at once on the second.
    pub async fn run(mut self, mut signals: mpsc::Receiver<Signal>) {
        loop {
            let retry = self.reloader.retry_after();
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(Signal::Reload) => {}
                    Some(Signal::Leave) | None => break,
                },
                () = self.watch.changed() => {}
                () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            }
            if !self.reload(&mut signals).await {
                break;
            }
        }
        self.leave(signals).await;
    }

    /// Reloads, and once more when asked to meanwhile. `false`: told to leave; a server that does
    /// not answer the probe holds nobody up.
    async fn reload(&mut self, signals: &mut mpsc::Receiver<Signal>) -> bool {
        let mut again = true;
        while again {
            again = false;
            let outcome = {
                let mut reload = std::pin::pin!(self.reloader.reload(&self.reread));
                loop {
                    tokio::select! {
                        outcome = &mut reload => break outcome,
                        signal = signals.recv() => match signal {
                            Some(Signal::Reload) => again = true,
                            Some(Signal::Leave) | None => return false,
                        },
                    }
                }
            };
            self.apply(outcome);
        }
        true
    }

    fn apply(&mut self, outcome: reload::Outcome) {
        if outcome.rotate {
            self.data_plane.tell(Control::Rotate);
        }
        if outcome.limits {
            self.data_plane.tell(Control::Limits);
        }
        if let Some(drain) = outcome.drain {
            self.drain = drain;
        }
    }

    async fn leave(self, mut signals: mpsc::Receiver<Signal>) {
        tracing::info!("leaving: serving on until the clients are gone");
        self.health.set_draining();
        self.telemetry.metrics.state.set(State::Draining);
        self.telemetry.metrics.drain_started_timestamp_seconds.set(clock::wall());
        tokio::select! {
            () = drain::wait(&self.drain, &self.telemetry.metrics) => {}
            _ = signals.recv() => tracing::warn!("leaving at once: told so a second time"),
        }
        self.data_plane.stop();
        tracing::info!("left");
    }
}

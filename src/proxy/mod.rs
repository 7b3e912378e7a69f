//! Assembly: builds the proxy, supervises it, drains it.
//!
//! Owns: [`Proxy`]: the process from start to exit. Never knows: the command line.

mod access;
mod admin_state;
mod agenda;
mod attempt;
mod blocking;
mod command_sources;
mod components;
mod control;
mod data_plane;
mod descriptors;
mod drain;
mod error;
mod levels;
mod listeners;
mod open_secrets;
mod reload;
mod retry;
mod sandbox;
mod schedule;
mod signals;
mod supervisor;
pub(crate) mod verbs;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::admin::{self, AdminHandle, Health};
use crate::base::clock;
use crate::base::limits;
use crate::base::live::Live;
use crate::config::{Config, Readiness};
use crate::telemetry::{State, Telemetry};
use crate::tls::watch::Watch;
use admin_state::{InForce, ProcessRequest};
use agenda::{Agenda, End, Sources};
use blocking::Blocking;
use command_sources::CommandSources;
use components::Components;
use data_plane::{Control, DataPlane};
use levels::Levels;
use schedule::{Job, Next, Timers};
use supervisor::Supervisor;

pub use admin_state::AdminState;
pub(crate) use error::{DataPlaneEnded, StartError};
pub(crate) use reload::ConfigReloader;
pub(crate) use sandbox::Sandbox;
pub(crate) use signals::Signal;

/// A running proxy: applications are served from the moment it exists.
#[derive(Debug)]
pub(crate) struct Proxy {
    data_plane: DataPlane,
    admin: Option<AdminHandle>,
    health: Arc<Health>,
    telemetry: Telemetry,
    reloader: reload::Reloader,
    watch: Watch,
    reread: ConfigReloader,
    drain: crate::config::Drain,
    orders: mpsc::Receiver<ProcessRequest>,
    admin_state: Arc<AdminState>,
    /// Dropped with the process: its socket is removed.
    _control: control::AdminServer,
}

impl Proxy {
    /// Builds everything that can fail before the first client is accepted: reads certificates and
    /// passwords, compiles the policy, binds every address. The server need not be reachable.
    ///
    /// # Errors
    ///
    /// What is wrong, where and what to do.
    pub(crate) async fn start(
        config: Config,
        reread: ConfigReloader,
        telemetry: Telemetry,
        sandbox: Sandbox,
    ) -> Result<Self, StartError> {
        let health = Arc::new(Health::new(clock::now()));
        telemetry.metrics.state.set(State::Starting);
        let built = build(&config, reread.file.clone(), &telemetry).await?;
        let (watch, mut components, command_sources) = built;
        telemetry.metrics.reload_watch_up.set(watch.watch_up());
        telemetry.metrics.sandbox_info.set(sandbox.confinement);
        components.sandbox = Some(Arc::new(sandbox));
        access::warn(&config);
        access::announce(&components.policies, &telemetry.metrics);
        let bound = config.telemetry.address.map(|address| {
            TcpListener::bind(address).map_err(|error| StartError::telemetry(address, &error))
        });
        let bound = bound.transpose()?;
        let control = control::Bound::open(&config).await?;
        // Accepts clients: all other addresses are bound by now, and served from now on.
        let data_plane = DataPlane::start(&config, &components, &telemetry, Arc::clone(&health))?;
        let serve = |listener| {
            let (health, metrics) = (Arc::clone(&health), Arc::clone(&telemetry.metrics));
            admin::serve(listener, health, metrics)
                .map_err(|error| StartError::new(format!("no thread: {error}")))
        };
        let admin = bound.map(serve).transpose()?;
        health.set_listeners_bound(true);
        if config.startup.require_upstream {
            health.require_upstream();
        }
        if config.health.readiness == Readiness::Upstream {
            health.follow_upstream(config.health.unready_after);
        }
        health.set_started();
        telemetry.metrics.state.set(health.state());
        let drain = config.drain.clone();
        let level = config.telemetry.log_level.clone();
        let in_force = Live::new(InForce { config, components });
        let (give, orders) = mpsc::channel(limits::ADMIN_QUEUE_LEN_MAX);
        let levels = Arc::new(Levels::new(telemetry.log.clone(), &level));
        let admin_state = Arc::new(AdminState {
            telemetry: telemetry.clone(),
            health: Arc::clone(&health),
            started: clock::wall(),
            blocking: Blocking::default(),
            levels: Arc::clone(&levels),
            file: reread.file.clone(),
            last_reload: Mutex::default(),
            in_force: in_force.clone(),
            data_plane: data_plane.control(),
            orders: give,
        });
        let control = control.serve(&admin_state);
        let mut reloader =
            reload::Reloader::new(in_force, command_sources, telemetry.clone(), levels);
        reloader.look_at_secrets().await;
        Ok(Self {
            data_plane,
            admin,
            health,
            telemetry,
            reloader,
            watch,
            reread,
            drain,
            orders,
            admin_state,
            _control: control,
        })
    }

    /// When the client certificate or one of its intermediates ends, if there is one.
    #[must_use]
    pub(crate) fn certificate_end(&self) -> Option<std::time::SystemTime> {
        self.reloader.certificate_end()
    }

    /// Where the telemetry server listens, if there is one.
    #[must_use]
    pub(crate) fn telemetry_address(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().map(AdminHandle::address)
    }

    /// Serves until a signal or a verb ends it: reloads on [`Signal::Reload`] and when a file changes, questions to the
    /// server for its commands when it is another, drains on the first [`Signal::Stop`] and
    /// at once on the second. A server that does not answer delays nothing. `reload`: that was asked for while the
    /// proxy started.
    ///
    /// # Errors
    ///
    /// When an internal error has ended the thread that serves clients: the process must be started again.
    pub(crate) async fn run(
        mut self,
        mut signals: mpsc::Receiver<Signal>,
        reload: bool,
    ) -> Result<(), DataPlaneEnded> {
        let supervisor = Supervisor::begin(&self.health);
        let mut agenda = Agenda::default();
        if reload {
            agenda.schedule.request(Job::Reload);
        }
        let end = loop {
            let step = self.step(&mut agenda, &mut signals, &supervisor);
            if let Err(end) = step.await {
                break end;
            }
        };
        let now = match end {
            End::DataPlane => return Err(DataPlaneEnded),
            End::Stop { now } => now,
        };
        supervisor.stopping();
        drop(agenda);
        self.shut_down(signals, now).await;
        Ok(())
    }

    /// Does the next job, or waits until there is one.
    async fn step(
        &mut self,
        agenda: &mut Agenda,
        signals: &mut mpsc::Receiver<Signal>,
        supervisor: &Supervisor,
    ) -> Result<(), End> {
        let timers = Timers {
            reload: self.reloader.retry_at(),
            credentials: self.reloader.credentials_look_at(),
        };
        let next = agenda.schedule.next(timers, clock::now());
        let mut sources = Sources {
            signals,
            orders: &mut self.orders,
            watch: &mut self.watch,
            other_server: &mut self.data_plane.other_server,
        };
        match next {
            Next::Wait(at) => tokio::select! {
                event = sources.next() => agenda.note(event)?,
                () = until(at) => {}
            },
            Next::Run(Job::Reload) => {
                supervisor.reloading();
                let answers = agenda.take_answers();
                let reload = self.reloader.reload(&self.reread);
                let outcome = sources.run(reload, agenda).await?;
                let attempts = outcome.attempts.clone();
                self.admin_state.note_reload(attempts.clone());
                for answer in answers {
                    // The sender may have disconnected.
                    let _ = answer.send(attempts.clone());
                }
                self.apply(outcome);
                supervisor.reloaded();
            }
            Next::Run(Job::Credentials) if !self.reloader.credentials_are_due() => {}
            Next::Run(Job::Credentials) => {
                let refresh = self.reloader.refresh_credentials();
                let outcome = sources.run(refresh, agenda).await?;
                self.apply(outcome);
            }
            Next::Run(Job::Commands) => {
                let ask = self.reloader.ask_for_commands();
                let answered = sources.run(ask, agenda).await?;
                agenda.schedule.handle_commands(answered.is_some(), clock::now());
                self.apply(answered.unwrap_or_default());
            }
        }
        Ok(())
    }

    fn apply(&mut self, outcome: reload::Outcome) {
        if outcome.rotate {
            self.data_plane.send(Control::Rotate);
        }
        if outcome.client_trust {
            self.data_plane.send(Control::ClientTrust);
        }
        if outcome.access {
            self.data_plane.send(Control::AccessSources);
            // Words of blocks may be about other commands now.
            self.admin_state.publish_blocks(false);
        }
        if let Some(watch) = outcome.watch {
            self.watch = watch;
            self.telemetry.metrics.reload_watch_up.set(self.watch.watch_up());
        }
        if outcome.limits {
            self.data_plane.send(Control::Limits);
        }
        if let Some(drain) = outcome.drain {
            self.drain = drain;
        }
    }

    async fn shut_down(mut self, mut signals: mpsc::Receiver<Signal>, now: bool) {
        tracing::info!("shutting down: draining clients");
        self.health.set_draining();
        self.telemetry.metrics.state.set(self.health.state());
        self.telemetry.metrics.drain_started_timestamp_seconds.set(clock::wall());
        tokio::select! {
            () = drain::wait(&self.drain, &self.telemetry.metrics, || self.data_plane.clients()), if !now => {}
            () = exit_requested(&mut self.orders), if !now => tracing::warn!("exit requested by an operator: exiting now"),
            () = tokio::time::sleep(limits::EXIT_ANSWER_TIMEOUT), if now => {}
            _ = signals.recv() => tracing::warn!("second signal: exiting now"),
        }
        self.data_plane.stop();
        self.reloader.stop_audit();
        tracing::info!("stopped");
    }
}

/// Reads files, and runs the program that prints the password, on another thread: signals are taken meanwhile.
async fn build(
    config: &Config,
    file: Option<PathBuf>,
    telemetry: &Telemetry,
) -> Result<(Watch, Components, CommandSources), StartError> {
    let (config, telemetry) = (config.clone(), telemetry.clone());
    let build = move || {
        // Before the files are read: no change falls between.
        let watch = components::watch(&config, file.as_ref());
        let mut command_sources = CommandSources::default();
        let built = Components::build(&config, &mut command_sources, &telemetry);
        built.map(|components| (watch, components, command_sources))
    };
    let built = tokio::task::spawn_blocking(build).await;
    built.unwrap_or_else(|_| Err(StartError::new("an internal error ended the start".to_owned())))
}

/// Bounds the process to what `config` names, before it has other threads.
///
/// # Errors
///
/// When an address is in use, or the kernel refuses.
pub(crate) fn confine(config: &Config, file: Option<&PathBuf>) -> Result<Sandbox, StartError> {
    Sandbox::enter(config, &components::files(config, file))
}

/// Returns at that time, or never.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Returns when an operator does not want to wait for the end of a drain.
async fn exit_requested(orders: &mut mpsc::Receiver<ProcessRequest>) {
    while let Some(order) = orders.recv().await {
        // Dropped, another order answers that the process is shutting down.
        if let ProcessRequest::Stop { now: true, answer } = order {
            let _ = answer.send(());
            tokio::time::sleep(limits::EXIT_ANSWER_TIMEOUT).await;
            return;
        }
    }
    std::future::pending().await
}

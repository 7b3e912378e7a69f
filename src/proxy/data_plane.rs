//! The one thread on which commands travel: listeners, sessions, upstream connections.
//!
//! Owns: [`DataPlane`], its runtime and its control messages. Never knows: signals, files.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::components::Components;
use super::error::StartError;
use crate::admin::Health;
use crate::base::clock;
use crate::base::limits;
use crate::config::{Config, Listener};
use crate::downstream::{self, Clients, HandshakeThread, Inherited, Worker, WorkerParts};
use crate::telemetry::redact::KeyMask;
use crate::telemetry::{Metrics, Telemetry};
use crate::upstream::{MemoryBudget, Upstream};

/// A control message to the data plane.
pub(super) enum Control {
    /// A new identity or password is in force.
    Rotate,
    /// New limits are in force.
    Limits,
    /// The access of listeners has changed.
    AccessSources,
    /// Other certificates of applications are accepted.
    ClientTrust,
    /// A question of an operator.
    Ask(Question),
}

/// Asked on the data plane's thread.
pub(super) type Question = Box<dyn FnOnce(&PlaneView<'_>) + Send>;

/// What a question is answered from.
#[derive(Debug)]
pub(super) struct PlaneView<'a> {
    pub worker: &'a Rc<Worker>,
    pub upstream: &'a Rc<Upstream>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rotate => "Rotate",
            Self::Limits => "Limits",
            Self::AccessSources => "AccessSources",
            Self::ClientTrust => "ClientTrust",
            Self::Ask(_) => "Ask(..)",
        })
    }
}

/// The running thread.
#[derive(Debug)]
pub(super) struct DataPlane {
    control: mpsc::UnboundedSender<Control>,
    stop: Option<oneshot::Sender<()>>,
    /// Announces a server whose facts differ from those of the one before; closed when the
    /// thread has ended, which only an internal error causes.
    pub other_server: mpsc::UnboundedReceiver<()>,
    clients: Arc<Clients>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the thread is built from.
struct WorkerSpec {
    config: Config,
    components: Components,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    other_server: mpsc::UnboundedSender<()>,
    clients: Arc<Clients>,
    budget: Arc<MemoryBudget>,
    seed: u64,
    inherited: Inherited,
}

impl DataPlane {
    /// Starts the thread and waits until every address is bound.
    pub(super) fn start(
        config: &Config,
        components: &Components,
        telemetry: &Telemetry,
        health: Arc<Health>,
    ) -> Result<Self, StartError> {
        let (control, orders) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (report, bound) = std::sync::mpsc::channel();
        let (other_server_found, other_server) = mpsc::unbounded_channel();
        let clients: Arc<Clients> = Arc::default();
        let blueprint = WorkerSpec {
            clients: Arc::clone(&clients),
            budget: Arc::default(),
            config: config.clone(),
            components: components.clone(),
            metrics: Arc::clone(&telemetry.metrics),
            health,
            other_server: other_server_found,
            seed: RandomState::new().hash_one(std::process::id()),
            inherited: Inherited::take_from_environment().map_err(StartError::new)?,
        };
        let run = move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(serve(blueprint, orders, stopped, report));
                    // A name that is looked up, or a program that prints the password, holds up nothing.
                    runtime.shutdown_background();
                }
                Err(error) => {
                    let _ = report.send(Err(StartError::new(format!("no event loop: {error}"))));
                }
            }
        };
        let thread = std::thread::Builder::new().name("respgate-data".to_owned()).spawn(run);
        let thread = thread.map_err(|error| StartError::new(format!("no thread: {error}")))?;
        let plane = Self { control, stop: Some(stop), other_server, clients, thread: Some(thread) };
        match bound.recv() {
            Ok(Ok(())) => Ok(plane),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::new("the data plane ended before it began")),
        }
    }

    /// Sends control messages to the data-plane thread.
    pub(super) fn control(&self) -> mpsc::UnboundedSender<Control> {
        self.control.clone()
    }

    pub(super) fn send(&self, control: Control) {
        let _ = self.control.send(control);
    }

    /// How many clients are connected.
    pub(super) fn clients(&self) -> usize {
        self.clients.count()
    }

    /// Ends every connection and waits for the thread.
    pub(super) fn stop(mut self) {
        self.stop.take();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                code = "RUN-E001",
                "an internal error ended the thread that serves clients"
            );
        }
    }
}

async fn serve(
    blueprint: WorkerSpec,
    mut orders: mpsc::UnboundedReceiver<Control>,
    mut stopped: oneshot::Receiver<()>,
    report: std::sync::mpsc::Sender<Result<(), StartError>>,
) {
    let WorkerSpec {
        config,
        components,
        metrics,
        health,
        other_server,
        clients,
        budget,
        seed,
        inherited,
    } = blueprint;
    let bound = bind_all(&config.listeners, &components, inherited).await;
    let Ok(listeners) = bound.map_err(|error| report.send(Err(error))) else { return };
    let mode = config.upstream.pool.mode;
    let upstream = Upstream::start(
        config.upstream,
        config.limits.large_bytes,
        components.dialer,
        Arc::clone(&metrics),
        budget,
        seed,
    );
    let worker = Worker::new(WorkerParts {
        upstream: Rc::clone(&upstream),
        limits: components.limits,
        insight: components.insight,
        mask: KeyMask::new(salt()),
        seed,
        mode,
        metrics: Arc::clone(&metrics),
        clients,
        audit: components.audit,
    });
    upstream.share_among(listeners.len());
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn_local(listener.accept(Rc::clone(&worker)));
    }
    for access in &components.listeners_access {
        worker.guard_scripts_of(&access.get().policy);
    }
    let _ = report.send(Ok(()));
    let warm = Rc::clone(&upstream);
    let mut warming = Some(tokio::task::spawn_local(async move { drop(warm.warm().await) }));
    let mut heartbeat = tokio::time::interval(limits::HEARTBEAT_INTERVAL);
    let mut server = None;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(order) = orders.recv() => apply(order, &worker, &upstream),
            _ = heartbeat.tick() => {
                beat(&health, &worker, &upstream);
                worker.end_expired();
                metrics.state.set(health.state());
            }
            _ = async { warming.as_mut()?.await.ok() }, if warming.is_some() => warming = None,
        }
        let present = upstream.facts();
        if present.is_some() && present != server {
            server = present;
            let _ = other_server.send(());
        }
    }
    // Closes the sockets: a client that connects from now on reaches the next process, which may have the same one.
    drop(accepting);
    close_clients(&worker, &upstream).await;
}

/// Carries out an order of the control thread.
fn apply(order: Control, worker: &Rc<Worker>, upstream: &Rc<Upstream>) {
    match order {
        Control::Rotate => {
            upstream.rotate();
            worker.recheck_leases();
        }
        Control::Limits => worker.apply_limits(),
        Control::AccessSources => worker.apply_access(),
        Control::ClientTrust => worker.recheck_certificates(),
        Control::Ask(ask) => ask(&PlaneView { worker, upstream }),
    }
}

/// An unpredictable value, which ends with the process.
fn salt() -> [u8; 32] {
    let mut salt = [0; 32];
    for (number, part) in salt.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&RandomState::new().hash_one(number).to_ne_bytes());
    }
    salt
}

async fn bind_all(
    listeners: &[Listener],
    components: &Components,
    mut inherited: Inherited,
) -> Result<Vec<downstream::Listener>, StartError> {
    let mut bound = Vec::new();
    let any_tls = components.listeners.all.iter().any(Option::is_some);
    let thread = any_tls.then(HandshakeThread::start).transpose();
    let thread = thread.map_err(|error| StartError::new(format!("no thread: {error}")))?;
    let thread = thread.map(Rc::new);
    let places = listeners.iter().zip(&components.listeners_access).zip(&components.listeners.all);
    for ((listener, access), tls) in places {
        let tls = tls.clone().zip(thread.clone());
        let bound_to = downstream::bind(listener, access.clone(), tls, &mut inherited);
        let listener = bound_to.await;
        bound.push(listener.map_err(StartError::bind)?);
    }
    match inherited.left_over() {
        None => Ok(bound),
        Some(address) => Err(StartError {
            hint: Some(
                "give a [[listener]] this address, or remove it from the .socket unit".to_owned(),
            ),
            ..StartError::new(format!(
                "the service manager passed a socket on {address}, and no listener has this address"
            ))
        }),
    }
}

fn beat(health: &Health, worker: &Worker, upstream: &Upstream) {
    let now = clock::now();
    health.beat(now);
    health.set_upstream_up(upstream.is_up());
    health.set_upstream_out(upstream.is_out(), now);
    health.set_client_slots_free(worker.has_room());
    worker.note_figures();
}

/// Clients without a request in flight are disconnected; the others get a moment.
async fn close_clients(worker: &Worker, upstream: &Upstream) {
    worker.begin_drain();
    let until = clock::now() + limits::EXIT_CLOSE_TIMEOUT;
    while worker.clients() > 0 && clock::now() < until {
        tokio::time::sleep(limits::EXIT_CHECK_INTERVAL).await;
    }
    upstream.close();
    while upstream.is_up() && clock::now() < until {
        tokio::time::sleep(limits::EXIT_CHECK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::command_sources::CommandSources;
    use std::time::Duration;

    #[test]
    fn panic_of_the_thread_that_serves_clients_is_noticed() {
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream]\naddress = \"127.0.0.1:1\"\n\
                    insecure_plaintext = true\n[policy]\nacl = \"+@all ~*\"\n";
        let config = crate::config::parse(text, "test", []).unwrap();
        let telemetry = Telemetry::start(&config.telemetry).unwrap();
        let components =
            Components::build(&config, &mut CommandSources::default(), &telemetry).unwrap();
        let health = Arc::new(Health::new(clock::now()));
        let mut plane = DataPlane::start(&config, &components, &telemetry, health).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                biased;
                None = plane.other_server.recv() => panic!("it runs"),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            plane.send(Control::Ask(Box::new(|_| std::panic::resume_unwind(Box::new("a defect")))));
            let ended = async { while plane.other_server.recv().await.is_some() {} };
            tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
        });
    }
}

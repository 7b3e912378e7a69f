//! Two servers for operators: telemetry, and verbs. The telemetry server is here: metrics and health over
//! HTTP, for reading only, on a thread of its own.
//!
//! Owns: [`serve`], [`AdminHandle`], [`Health`]. Never knows: commands, what the numbers mean.
//!
//! Each connection carries one request and has a deadline. When too many are open the oldest is closed:
//! clients that do nothing must not keep a health probe out.

mod control;
mod gate;
pub(crate) mod query;
mod readiness;
mod routes;
mod verb;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::base::clock;
use crate::base::limits;
use crate::telemetry::Metrics;

pub(crate) use control::{Control, EXIT, Way, read_token};
pub(crate) use gate::HEADER;
pub use readiness::Health;
pub(crate) use readiness::Probe;
pub(crate) use verb::{Answer, Call, Effect, Refused};
pub use verb::{Argument, Kind, Verb};

/// The running server. Dropped: stopped.
#[derive(Debug)]
pub struct AdminHandle {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl AdminHandle {
    /// The address it listens on, with the port that the system chose when 0 was configured.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and all connections, and waits for the thread.
    pub fn stop(self) {}
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the telemetry server ended by a panic");
        }
    }
}

/// Serves `/metrics`, `/livez`, `/readyz`, `/startupz` and `/healthz/upstream` on `listener` until the handle is
/// dropped. Any address is allowed: nothing can be changed here.
///
/// # Errors
///
/// When the system gives no thread.
pub fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
) -> io::Result<AdminHandle> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let run = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = stopped => {}
                Err(e) = accept(listener, health, metrics) => {
                    warn!(error = %e, "the telemetry server cannot listen");
                }
            }
        });
    };
    let thread = thread::Builder::new().name("respgate-admin".to_owned()).spawn(run)?;
    Ok(AdminHandle { address, stop: Some(stop), thread: Some(thread) })
}

async fn accept(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut open = VecDeque::<JoinHandle<()>>::with_capacity(limits::TELEMETRY_CONNECTIONS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= limits::TELEMETRY_CONNECTIONS_MAX {
                    open.pop_front().inspect(JoinHandle::abort);
                }
                let (health, metrics) = (Arc::clone(&health), Arc::clone(&metrics));
                open.push_back(tokio::spawn(async move {
                    serve_connection(stream, &health, &metrics).await;
                }));
            }
            Err(e) => {
                debug!(error = %e, "telemetry connection not accepted");
                sleep(limits::TELEMETRY_ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers one request and closes.
async fn serve_connection(stream: TcpStream, health: &Health, metrics: &Metrics) {
    let respond = |request: Request<Incoming>| {
        let answer = routes::answer(request.method(), request.uri(), health, metrics, clock::now());
        std::future::ready(Ok::<Response<String>, Infallible>(answer))
    };
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(limits::TELEMETRY_HEADER_TIMEOUT)
        .max_buf_size(limits::TELEMETRY_HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    match timeout(limits::TELEMETRY_CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => debug!(error = %e, "telemetry connection failed"),
        Err(_) => debug!("telemetry connection took too long"),
    }
}

//! The admin server as the proxy holds it.
//!
//! Owns: [`AdminServer`]: binding and serving. Never knows: verbs.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::admin_state::AdminState;
use super::error::StartError;
use super::verbs::VERBS;
use crate::admin::{Control, Way, read_token};
use crate::config::Config;
use crate::downstream::{BindError, SocketFile, bind_unix};

/// Only the owner calls it.
const MODE: u32 = 0o600;

/// Bound and served until dropped.
#[derive(Debug, Default)]
pub(super) struct AdminServer {
    servers: Vec<JoinHandle<()>>,
    _file: Option<SocketFile>,
}

/// Bound, and not served yet.
#[derive(Debug, Default)]
pub(super) struct Bound {
    ways: Vec<Way>,
    file: Option<SocketFile>,
}

impl Bound {
    /// Binds what `[admin]` names.
    pub(super) async fn open(config: &Config) -> Result<Self, StartError> {
        let mut bound = Self::default();
        if let Some(path) = &config.admin.socket {
            let (listener, file) = bind_unix(path, MODE, None).await.map_err(|problem| {
                StartError::new(format!("admin.socket {}: {problem}", path.display()))
            })?;
            bound.ways.push(Way::Unix(listener));
            bound.file = Some(file);
        }
        if let (Some(address), Some(file)) = (config.admin.address, &config.admin.token_file) {
            read_token(file.clone())
                .map_err(|problem| StartError::new(format!("admin.token_file: {problem}")))?;
            let listener = TcpListener::bind(address).await;
            let listener = listener.map_err(|error| {
                let BindError { problem, hint, .. } = BindError::tcp(address, &error);
                StartError {
                    hint,
                    ..StartError::new(format!("admin.address {address}: {problem}"))
                }
            })?;
            bound.ways.push(Way::Loopback(listener, file.clone()));
        }
        Ok(bound)
    }

    pub(super) fn serve(self, admin_state: &Arc<AdminState>) -> AdminServer {
        let metrics = Arc::clone(&admin_state.telemetry.metrics);
        let audit =
            admin_state.in_force.get().components.audit.as_ref().map(|own| Arc::clone(&own.audit));
        let control = Control { state: Arc::clone(admin_state), verbs: VERBS, metrics, audit };
        let serve = |way| {
            let control = control.clone();
            tokio::spawn(async move { match control.serve(way).await {} })
        };
        AdminServer { servers: self.ways.into_iter().map(serve).collect(), _file: self.file }
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

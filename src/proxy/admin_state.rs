//! What the verbs of the admin server are answered from.
//!
//! Owns: [`AdminState`], [`ProcessRequest`], [`InForce`]. Never knows: any one verb, HTTP.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use super::attempt::Attempt;
use super::blocking::Blocking;
use super::components::Components;
use super::data_plane::{Control, PlaneView};
use super::levels::Levels;
use crate::admin::{Health, Refused};
use crate::base::clock;
use crate::base::live::Live;
use crate::config::Config;
use crate::telemetry::Telemetry;

/// Handed to every verb. A verb that needs more of the process adds it here.
#[derive(Debug)]
pub struct AdminState {
    pub(super) telemetry: Telemetry,
    pub(super) health: Arc<Health>,
    pub(super) started: SystemTime,
    pub(super) blocking: Blocking,
    pub(super) levels: Arc<Levels>,
    /// The file of the configuration, if there is one.
    pub(super) file: Option<PathBuf>,
    /// When everything was reloaded last, seconds since 1970, and what came of it.
    pub(super) last_reload: Mutex<Option<(u64, Vec<Attempt>)>>,
    pub(super) in_force: Live<InForce>,
    pub(super) data_plane: mpsc::UnboundedSender<Control>,
    pub(super) orders: mpsc::Sender<ProcessRequest>,
}

/// What a reload replaces.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub config: Config,
    pub components: Components,
}

/// What the process itself must do.
#[derive(Debug)]
pub(super) enum ProcessRequest {
    /// Reload everything, and report the result of each part.
    Reload(oneshot::Sender<Vec<Attempt>>),
    /// Drain and exit; or exit at once.
    Stop { now: bool, answer: oneshot::Sender<()> },
}

impl AdminState {
    /// Sends a question to the thread on which commands travel; the question must be answered at once,
    /// for no command is served meanwhile.
    ///
    /// # Errors
    ///
    /// When that thread is gone.
    pub(super) async fn ask_data_plane<T: Send + 'static>(
        &self,
        question: impl FnOnce(&PlaneView<'_>) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        let ask =
            Control::Ask(Box::new(move |plane: &PlaneView<'_>| drop(answer.send(question(plane)))));
        self.data_plane.send(ask).map_err(|_| Refused::ShuttingDown)?;
        answered.await.map_err(|_| Refused::ShuttingDown)
    }

    pub(super) fn note_reload(&self, attempts: Vec<Attempt>) {
        let now = clock::unix_ms() / 1000;
        let mut last = self.last_reload.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((now, attempts));
    }

    pub(super) fn last_reload(&self) -> Option<(u64, Vec<Attempt>)> {
        self.last_reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the blocks of this moment in force; `more`: one was added.
    pub(super) fn publish_blocks(&self, more: bool) {
        let policy = self.in_force.get().components.policies.get(None);
        let now = clock::unix_ms() / 1000;
        let blocks = self.blocking.compile(policy.dictionary(), now, &self.telemetry.metrics);
        let set = Control::Ask(Box::new(move |plane: &PlaneView<'_>| {
            plane.worker.set_blocks(&blocks, more)
        }));
        let _ = self.data_plane.send(set);
    }

    /// Gives an order to the process and waits until it is done.
    ///
    /// # Errors
    ///
    /// When the process is about to exit.
    pub(super) async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> ProcessRequest,
    ) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| Refused::ShuttingDown)?;
        answered.await.map_err(|_| Refused::ShuttingDown)
    }
}

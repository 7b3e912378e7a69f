//! The control socket as the proxy holds it.
//!
//! Owns: [`ControlSocket`]: binding, serving, the questions that wait. Never knows: answers.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::StartError;
use crate::admin::{Question, serve_control};
use crate::config::Config;
use crate::downstream::{SocketFile, bind_unix};

/// Questions that may wait.
const QUESTIONS_MAX: usize = 16;
/// Only the owner asks.
const MODE: u32 = 0o600;

/// Bound and served until dropped.
#[derive(Debug)]
pub(super) struct ControlSocket {
    questions: mpsc::Receiver<Question>,
    server: JoinHandle<()>,
    _file: SocketFile,
}

impl ControlSocket {
    pub(super) async fn open(config: &Config) -> Result<Option<Self>, StartError> {
        let Some(path) = &config.admin.socket else { return Ok(None) };
        let (listener, file) = bind_unix(path, MODE, None).await.map_err(|problem| {
            StartError::new(format!("admin.socket {}: {problem}", path.display()))
        })?;
        let (ask, questions) = mpsc::channel(QUESTIONS_MAX);
        let server = tokio::spawn(async move { match serve_control(listener, ask).await {} });
        Ok(Some(Self { questions, server, _file: file }))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The next question; never, without a socket.
pub(super) async fn next(control: &mut Option<ControlSocket>) -> Question {
    let asked = match control {
        Some(control) => control.questions.recv().await,
        None => None,
    };
    match asked {
        Some(question) => question,
        None => std::future::pending().await,
    }
}

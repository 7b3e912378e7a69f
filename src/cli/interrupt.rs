//! Signals that end a command, for a command that waits in its own way.
//!
//! Owns: [`Interrupt`]. Never knows: what is ended.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::proxy::Signal;

/// SIGINT, SIGTERM and SIGHUP, received on a thread of its own.
pub(super) struct Interrupt(Receiver<()>);

impl Interrupt {
    /// # Errors
    ///
    /// When the system delivers no signals.
    pub(super) fn listen() -> Result<Self, String> {
        let fault = |error: std::io::Error| format!("no signals: {error}");
        let (sender, received) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(fault)?;
        let mut signals = runtime.block_on(async { Signal::listen() }).map_err(fault)?;
        std::thread::spawn(move || {
            while runtime.block_on(signals.recv()).is_some() && sender.send(()).is_ok() {}
        });
        Ok(Self(received))
    }

    /// Whether a signal arrives within this time, or none can arrive any more.
    pub(super) fn within(&self, time: Duration) -> bool {
        !matches!(self.0.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

//! Signals from the operating system.
//!
//! Owns: [`Signal`], [`Signal::listen`]. Never knows: what follows from it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A signal to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Read everything again.
    Reload,
    /// Drain and exit; the second time: exit at once.
    Stop,
}

impl Signal {
    /// SIGHUP, SIGTERM and SIGINT as they come.
    ///
    /// # Errors
    ///
    /// When the system does not let us listen.
    pub(crate) fn listen() -> std::io::Result<mpsc::Receiver<Self>> {
        let (sender, receiver) = mpsc::channel(4);
        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            loop {
                let received = tokio::select! {
                    _ = hangup.recv() => Self::Reload,
                    _ = terminate.recv() => Self::Stop,
                    _ = interrupt.recv() => Self::Stop,
                };
                if sender.send(received).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    /// Returns at the first signal to exit, and notes whether a reload is asked for until then.
    pub(crate) async fn stop(signals: &mut mpsc::Receiver<Self>, reload: &mut bool) {
        while let Some(Self::Reload) = signals.recv().await {
            *reload = true;
        }
    }
}

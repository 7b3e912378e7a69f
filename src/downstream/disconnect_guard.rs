//! A client from its acceptance to its end.
//!
//! Owns: [`DisconnectGuard`]: what is counted, logged and recorded at the end of a client. Never knows: sockets, what
//! the client sends.

use std::rc::Rc;

use super::metrics::Place;
use super::worker::Worker;
use crate::session::ClientEntry;
use crate::telemetry::{ClientDisconnect, Label};

/// A client that was accepted; dropped, it has disconnected, however its task ended.
pub(super) struct DisconnectGuard {
    pub worker: Rc<Worker>,
    pub entry: Rc<ClientEntry>,
    pub place: Rc<Place>,
    pub why: Option<ClientDisconnect>,
}

impl DisconnectGuard {
    /// Its connection has ended, and this is why. While its end cannot be written it counts as a client, so
    /// that their number is bounded.
    pub(super) async fn finish(&mut self, why: ClientDisconnect) {
        self.why = Some(why);
        if let Some(auditor) = &self.worker.auditor {
            auditor.await_room(self.entry.id).await;
        }
    }
}

impl Drop for DisconnectGuard {
    fn drop(&mut self) {
        let Self { worker, entry, place, why } = self;
        if std::thread::panicking() {
            tracing::error!(
                code = "CLI-E010",
                client = entry.id,
                "client disconnected: an internal error ended its task; other clients are not concerned"
            );
        }
        let why = why.unwrap_or(ClientDisconnect::Reset);
        worker.unregister(entry.id);
        if let Some(auditor) = &worker.auditor {
            auditor.closed(entry, why.label());
        }
        worker.metrics.disconnected(place, why);
    }
}

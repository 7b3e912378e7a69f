//! A client from its acceptance to its end.
//!
//! Owns: [`Guest`]: what is counted, logged and recorded when a client has disconnected. Never knows: sockets, what
//! the client asks.

use std::rc::Rc;

use super::auditor::Who;
use super::metrics::Place;
use super::worker::Worker;
use crate::session::Seat;
use crate::telemetry::{ClientDisconnect, Label, ListenerKind};

/// A client that was accepted; dropped, it is gone, however its task ended.
pub(super) struct Guest {
    pub worker: Rc<Worker>,
    pub id: u64,
    pub seat: Rc<Seat>,
    pub listener: Box<str>,
    pub kind: ListenerKind,
    pub place: Place,
    pub why: Option<ClientDisconnect>,
}

impl Guest {
    /// Its connection has ended, and this is why. While its end cannot be written it counts as a client, so
    /// that their number is bounded.
    pub(super) async fn leaves(mut self, why: ClientDisconnect) {
        self.why = Some(why);
        if let Some(auditor) = &self.worker.auditor {
            auditor.await_room(self.id).await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Self { worker, id, seat, listener, kind, place, why } = self;
        if std::thread::panicking() {
            tracing::error!(
                code = "CLI-E010",
                client = *id,
                "client disconnected: an internal error ended its task; other clients are not concerned"
            );
        }
        let why = why.unwrap_or(ClientDisconnect::Reset);
        worker.unregister(*id);
        if let Some(auditor) = &worker.auditor {
            auditor.closed(&Who { seat, listener }, why.label());
        }
        worker.metrics.left(*kind, place, why);
    }
}

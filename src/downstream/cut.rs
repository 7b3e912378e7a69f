//! What becomes of a client whose request cannot reach the server.
//!
//! Owns: when its connection is closed, and when it is taken for one that has given up. Never knows:
//! what was asked, how the server is reached.

use tokio::io::{AsyncRead, AsyncWrite};

use super::auditor::Who;
use super::connection::{Connection, GOODBYE, PendingStep};
use crate::session::Cause;
use crate::telemetry::ClientDisconnect;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A request of this client cannot be answered any more, because the server cannot be reached: its
    /// connection is closed once what comes before is answered.
    #[inline]
    pub(super) fn notice_cut(&mut self) {
        if self.session.is_cut() && self.ending.is_none() {
            self.end_cut();
        }
    }

    /// Counts what was answered although the server cannot be reached.
    #[inline]
    pub(super) fn notice_degraded(&mut self) {
        if let Some((missed, failed)) = self.session.take_degraded() {
            self.count_degraded(missed, failed);
        }
    }

    fn count_degraded(&mut self, missed: u32, failed: u32) {
        self.worker.metrics.degraded(missed, failed);
        let since = self.worker.upstream.out_since();
        if self.session.note_outage(since)
            && let Some(auditor) = &self.worker.auditor
        {
            auditor.degraded(&Who { seat: &self.seat, listener: &self.access.listener });
        }
    }

    fn end_cut(&mut self) {
        self.waiting = PendingStep::No;
        self.end(ClientDisconnect::UpstreamLost);
        if !self.session.is_settled() {
            // What comes before may wait for the server as long as any command.
            let until = self.now + self.worker.upstream.outage_wait() + GOODBYE;
            self.ending = Some((ClientDisconnect::UpstreamLost, until));
        }
    }

    /// Whether a client that has closed its side will not wait any more. While the server cannot be
    /// reached that is any: its driver has timed out and repeats the command elsewhere, so that what
    /// was not sent must not be sent now.
    pub(super) fn gives_up(&self) -> bool {
        let out = self.worker.upstream.is_out();
        match &self.waiting {
            PendingStep::Lease(Cause::Blocking, _) => true,
            PendingStep::Lease(..) | PendingStep::Open(_) => out,
            PendingStep::No | PendingStep::Reply | PendingStep::Pause(_) | PendingStep::Room(_) => {
                let waits = self.shared.as_ref().is_some_and(|shared| !shared.is_up());
                out && waits && self.session.in_flight() > 0
            }
        }
    }
}

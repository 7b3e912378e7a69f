//! What a client connection keeps in memory, and what is said of it when that was too much.
//!
//! Owns: the connection's count against its own limit and the budget of all. Never knows: who else keeps
//! what, which client has to make room.

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Connection;
use crate::telemetry::ClientDisconnect;
use crate::upstream::Holding;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Counts this connection's buffers against its own limit and that of all together.
    pub(super) fn account(&mut self) -> Option<ClientDisconnect> {
        let lease = self.lease.as_ref().map_or(0, |lease| lease.0.unwritten());
        let held = self.counts.notes.held_bytes()
            + self.pending.capacity()
            + self.out.capacity()
            + self.session.held_bytes()
            + lease
            + self.scanner.held_bytes();
        if held == self.accounted {
            return None;
        }
        self.worker.buffers.adjust(self.accounted, held);
        self.accounted = held;
        self.mailbox.note_holding(Holding {
            bytes: held,
            moved: self.outlet.moved_at().unwrap_or(self.last_heard),
            logged_in: self.session.is_authenticated(),
        });
        self.worker.relieve(self.now);
        if self.mailbox.is_evicted() {
            return Some(ClientDisconnect::MemoryBudget);
        }
        (self.out.len() > self.limits.output_hard_bytes).then_some(ClientDisconnect::OutputLimit)
    }

    /// Says in the log why the client was disconnected, where a limit or an operator's setting did it.
    pub(super) fn report_end(&self, why: ClientDisconnect) {
        let (code, words) = match why {
            ClientDisconnect::OutputLimit => (
                "CLI-E001",
                "client disconnected: its unread replies or unfinished requests exceed the limits, or it read nothing for limits.output_soft_time",
            ),
            ClientDisconnect::MemoryBudget => (
                "CLI-E006",
                "client disconnected: all clients together exceed limits.memory_budget, and this one kept much and moved little",
            ),
            ClientDisconnect::Stalled => (
                "CLI-E007",
                "client disconnected: it sent half a request, or read no reply, for limits.transfer_timeout",
            ),
            ClientDisconnect::LoginTimeout => {
                ("CLI-E008", "client disconnected: it did not log in within limits.login_timeout")
            }
            ClientDisconnect::Client
            | ClientDisconnect::Idle
            | ClientDisconnect::ProtocolError
            | ClientDisconnect::Auth
            | ClientDisconnect::Drain
            | ClientDisconnect::UpstreamLost
            | ClientDisconnect::Reset
            | ClientDisconnect::Rotation
            | ClientDisconnect::Killed
            | ClientDisconnect::Blocked => return,
        };
        let (held, unread) = (self.accounted, self.out.len());
        tracing::warn!(code, client = self.id, held, unread, "{words}");
    }
}

//! What a client connection keeps in memory, and what is logged when that exceeds a limit.
//!
//! Owns: [`Account`]: the connection's count against its own limit and the budget of all. Never knows: what
//! other clients keep, which client has to make room.

use super::conversation::Conversation;
use super::links::Links;
use super::notes::Notes;
use crate::telemetry::ClientDisconnect;
use crate::upstream::Holding;

/// Bytes of one connection that the budget knows of.
#[derive(Debug)]
pub(super) struct Account {
    pub bytes: usize,
}

impl Account {
    /// The account of a connection that keeps nothing yet.
    pub(super) fn new(links: &Links) -> Self {
        let account = Self { bytes: 0 };
        account.show(links);
        account
    }

    /// Shows others what is kept for the client.
    fn show(&self, links: &Links) {
        links.entry.note_held(size_of::<Conversation>() + size_of::<Links>() + self.bytes);
    }

    /// Counts a connection's buffers against its own limit and that of all together.
    #[inline(always)]
    pub(super) fn settle(
        &mut self,
        conversation: &Conversation,
        links: &Links,
    ) -> Option<ClientDisconnect> {
        let notes = links.counts.notes.allocated().map_or(0, Notes::held_bytes);
        let in_line = links.lease.as_ref().map_or(0, |lease| lease.0.held_bytes());
        let held = notes + conversation.held_bytes() + in_line;
        if held == self.bytes {
            return None;
        }
        let worker = &links.worker;
        worker.buffers.adjust(self.bytes, held);
        self.bytes = held;
        self.show(links);
        links.mailbox.note_holding(Holding {
            bytes: held,
            moved: conversation.moved_at(),
            logged_in: conversation.session().is_authenticated(),
        });
        worker.relieve(conversation.now());
        if links.mailbox.is_evicted() {
            return Some(ClientDisconnect::MemoryBudget);
        }
        conversation.is_over_limit().then_some(ClientDisconnect::OutputLimit)
    }
}

/// Logs why the client was disconnected, where a limit or an operator's setting did it.
pub(super) fn report_end(why: ClientDisconnect, client: u64, held: usize, unread: usize) {
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
        | ClientDisconnect::Blocked
        | ClientDisconnect::CertificateExpired
        | ClientDisconnect::CertificateRefused => return,
    };
    tracing::warn!(code, client, held, unread, "{words}");
}

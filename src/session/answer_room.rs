//! How much respgate itself answers about clients: to one request, or to all of one transaction.
//!
//! Owns: [`AnswerRoom`]. Never knows: which clients there are, what is answered.

use crate::base::limits;

/// What is left of the bytes and of the search for answers about clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerRoom {
    bytes: usize,
    /// Clients that may still be looked at; the last search may take more.
    clients: usize,
}

impl Default for AnswerRoom {
    fn default() -> Self {
        Self { bytes: limits::CLIENT_ANSWER_BYTES_MAX, clients: limits::SEARCHED_CLIENTS_MAX }
    }
}

impl AnswerRoom {
    /// Bytes that the next answer may have.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether clients may be looked for.
    pub(super) const fn has_search(&self) -> bool {
        self.clients > 0
    }

    /// What is left when so many clients were looked at.
    pub(super) const fn after_search(self, clients: usize) -> Self {
        debug_assert!(self.has_search(), "clients are looked for without an end");
        Self { clients: self.clients.saturating_sub(clients), ..self }
    }

    /// What is left behind an answer of so many bytes.
    pub(super) const fn after_answer(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.saturating_sub(bytes), ..self }
    }

    /// What is left behind an answer for which there was no room: none is tried behind it.
    pub(super) const fn closed(self) -> Self {
        Self { bytes: 0, ..self }
    }
}

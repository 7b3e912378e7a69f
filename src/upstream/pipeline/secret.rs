//! Requests that hold a secret: no copy of one is left in memory that is given back.
//!
//! Owns: how their bytes are wiped. Never knows: what the secret is.

use std::time::Instant;

use bytes::BytesMut;
use zeroize::Zeroize;

use super::Pipeline;
use crate::traffic::Ticket;

impl<W> Pipeline<W> {
    /// Puts a request of the proxy's own in line that holds a secret.
    pub fn push_secret(&mut self, owner: W, ticket: Ticket, request: &[u8], at: Instant) {
        self.secrets += 1;
        self.push(owner, ticket, request, 0, false, at);
        if let Some(entry) = self.line.back_mut() {
            entry.secret = true;
        }
    }

    /// Makes room. A buffer that grows by itself leaves a copy behind.
    pub(super) fn grow(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() >= more {
            return;
        }
        let mut bytes = BytesMut::with_capacity((self.bytes.len() + more) * 2);
        bytes.extend_from_slice(&self.bytes);
        let old = std::mem::replace(&mut self.bytes, bytes);
        self.wipe(old);
    }

    /// Wipes bytes that were copied, if any of them may be secret.
    pub(super) fn wipe(&self, mut old: BytesMut) {
        if self.secrets > 0 {
            old.zeroize();
        }
    }

    /// The oldest request was answered.
    pub(super) fn wipe_front(&mut self, len: usize) {
        self.secrets = self.secrets.saturating_sub(1);
        if let Some(bytes) = self.bytes.get_mut(..len) {
            bytes.zeroize();
        }
    }
}

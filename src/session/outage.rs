//! What a session answers while the server cannot be reached.
//!
//! Owns: which losses end the connection, and which are answered as by a server without data. Never knows: why the
//! server cannot be reached, which reply is that of which command.

use std::time::Instant;

use bytes::BytesMut;

use super::queue::Remote;
use super::state::Session;
use crate::config::OnOutage;
use crate::traffic::{Loss, Ticket};

impl Session {
    /// Whether reads are answered as by a server without data.
    #[must_use]
    pub const fn answers_misses(&self) -> bool {
        self.degraded.on
    }

    /// Whether a request that gets no reply for this reason ends the client's connection.
    pub(super) fn ends_with(&self, loss: Loss) -> bool {
        self.on_outage == OnOutage::Close && loss.is_outage() && !self.degraded.on
    }

    /// Answers the request behind `ticket` as a server without data would, if it may be.
    pub(super) fn answer_miss(
        &mut self,
        ticket: Ticket,
        loss: Loss,
        out: &mut BytesMut,
    ) -> Option<Remote> {
        if !self.degraded.on || !loss.is_outage() {
            return None;
        }
        let Some(miss) = self.queue.miss_of(ticket).filter(|_| loss != Loss::Truncated) else {
            self.degraded.note_failed();
            return None;
        };
        self.degraded.note_missed();
        let protocol = self.protocol;
        self.queue.replace(ticket, out, |out| miss.write(out, protocol))
    }

    /// How many misses and errors were answered since this was asked.
    #[inline]
    pub fn take_degraded(&mut self) -> Option<(u32, u32)> {
        self.degraded.take()
    }

    /// Whether the outage that began then was not reported before.
    pub fn note_outage(&mut self, since: Option<Instant>) -> bool {
        self.degraded.note_outage(since)
    }
}

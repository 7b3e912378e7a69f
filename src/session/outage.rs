//! What a client is answered while the server cannot be reached.
//!
//! Owns: [`Outage`]: which losses end the connection, and which are answered as by a server without data.
//! Never knows: why the server cannot be reached, which reply is that of which command.

use std::time::Instant;

use bytes::BytesMut;

use super::degraded::Degraded;
use super::queue::ReplyQueue;
use super::remote::Remote;
use crate::command::EmptyReply;
use crate::config::OnOutage;
use crate::resp::Protocol;
use crate::traffic::{Loss, Ticket};

#[derive(Clone, Debug)]
pub(super) struct Outage {
    /// What the client sees then.
    on_outage: OnOutage,
    /// The policy of the last request wants reads to be answered as by a server without data.
    answers_misses: bool,
    degraded: Degraded,
}

impl Outage {
    pub(super) fn new(on_outage: OnOutage) -> Self {
        Self { on_outage, answers_misses: false, degraded: Degraded::default() }
    }

    /// Whether reads are answered as by a server without data.
    pub(super) const fn answers_misses(&self) -> bool {
        self.answers_misses
    }

    /// Whether the policy of the request at hand wants it.
    #[inline(always)]
    pub(super) const fn note_policy(&mut self, answers_misses: bool) {
        self.answers_misses = answers_misses;
    }

    /// Whether a request that gets no reply for this reason ends the client's connection.
    pub(super) fn ends_with(&self, loss: Loss) -> bool {
        self.on_outage == OnOutage::Close && loss.is_outage() && !self.answers_misses
    }

    /// A request is answered with an error for this reason.
    pub(super) fn note_failed(&mut self, loss: Loss) {
        if loss.is_outage() && self.answers_misses {
            self.degraded.note_failed();
        }
    }

    /// The request at hand waits for a connection of its own; without one it is answered so.
    #[cold]
    pub(super) fn note_wait(&mut self, miss: Option<EmptyReply>) {
        self.degraded.note_wait(miss);
    }

    /// What the request at hand is answered that will get no connection of its own, if that is no error.
    pub(super) fn take_miss(&mut self, loss: Loss) -> Option<EmptyReply> {
        let miss = self.degraded.take_miss().filter(|_| self.answers_misses && loss.is_outage())?;
        self.degraded.note_missed();
        Some(miss)
    }

    /// Answers the request behind `ticket` as a server without data would, if it may be.
    pub(super) fn answer_miss(
        &mut self,
        (ticket, loss): (Ticket, Loss),
        protocol: Protocol,
        queue: &mut ReplyQueue,
        out: &mut BytesMut,
    ) -> Option<Remote> {
        if !self.answers_misses || !loss.is_outage() {
            return None;
        }
        let Some(miss) = queue.miss_of(ticket).filter(|_| loss != Loss::Truncated) else {
            self.degraded.note_failed();
            return None;
        };
        self.degraded.note_missed();
        queue.arrive(ticket, out, |out| miss.write(out, protocol))
    }

    /// How many misses and errors were answered since this was asked.
    #[inline]
    pub(super) fn take_answered(&mut self) -> Option<(u32, u32)> {
        self.degraded.take()
    }

    /// Whether the outage that began then was not reported before.
    pub(super) fn note_outage(&mut self, since: Option<Instant>) -> bool {
        self.degraded.note_outage(since)
    }
}

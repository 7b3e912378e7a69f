//! What others see of a client (`CLIENT LIST`), brought up to date once a turn.
//!
//! Owns: the figures that the connection knows. Never knows: who reads them.

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, PendingStep};
use crate::session::{Cause, Marks};

impl<S> Connection<S> {
    pub(super) fn show(&self) {
        self.seat.show(|figures| {
            self.session.show(figures);
            if let Some(spec) = self.session.shown_command() {
                figures.command = Some(spec);
            }
            figures.marks.set(Marks::CLOSING, self.ending.is_some());
            figures.active = self.last_heard.max(self.last_spoken);
            figures.unread = self.pending.len();
            figures.room = self.pending.capacity() - self.pending.len();
            figures.arguments = 0;
            figures.reply_room = self.out.capacity();
            figures.unwritten = self.out.len();
            figures.held = size_of::<Self>() + self.accounted;
            figures.received = self.passed.received;
            figures.sent = self.passed.sent;
            figures.commands = self.passed.commands;
            figures.link = self.lease.as_ref().map_or(0, |lease| lease.0.client_id());
        });
    }

    pub(super) fn note_written(&mut self, bytes: usize) {
        self.worker.metrics.transmitted(bytes);
        self.last_spoken = self.now;
        self.passed.sent += bytes as u64;
    }

    pub(super) const fn heard(&mut self) {
        self.last_heard = self.now;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Another client waits for this one to have a pinned connection, on which it shall hear of the
    /// other's keys. Returns whether anything happened.
    pub(super) fn serve_want(&mut self) -> bool {
        if self.lease.is_some() {
            self.show();
            self.seat.end_want(true);
        } else if matches!(self.waiting, PendingStep::No) && self.ending.is_none() {
            self.acquire(Cause::Tracking);
        } else {
            return false;
        }
        true
    }
}

//! From a shared connection to the client: replies and losses find their places.
//!
//! Owns: taking what has arrived. Never knows: how it was asked for, what a reply means.

use std::task::Context;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, PendingStep};
use crate::telemetry::ClientDisconnect;
use crate::traffic::Loss;
use crate::upstream::Delivery;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Puts what the shared connection delivered into its places.
    pub(super) fn take_replies(&mut self, cx: &Context<'_>) -> bool {
        let Self { mailbox, session, out, worker, now, counts, policy, .. } = self;
        let mut any = false;
        let mut cut = None;
        let overflow = mailbox.drain(cx.waker(), |item, bytes| {
            any = true;
            if out.capacity() == 0 {
                *out = worker.buffers.get();
            }
            match item {
                Delivery::Piece { ticket, kind, done, micros, .. } => {
                    if let Some(completed) = session.handle_reply(ticket, bytes, kind, done, out) {
                        worker.completed(completed, *now);
                        if !counts.notes.is_empty() {
                            let upstream = || Duration::from_micros(u64::from(micros));
                            let parts = || (mailbox.take_wait(ticket), upstream());
                            counts.notes.end(&worker.insight, policy, &completed, *now, parts);
                        }
                    }
                }
                Delivery::Refusal { ticket, .. } => session.note_refusal(ticket, bytes),
                Delivery::Lost(ticket, loss) => {
                    if loss == Loss::Truncated {
                        cut = cut.or(Some(out.len()));
                    }
                    let lost = session.handle_loss(ticket, loss, out);
                    if let Some(done) = lost.filter(|_| !counts.notes.is_empty()) {
                        counts.notes.lose(&worker.insight, policy, &done, *now, mailbox);
                    }
                    match lost {
                        Some(done) if loss == Loss::MultiRefused => worker.completed(done, *now),
                        Some(_) => worker.metrics.lost(loss, 1),
                        None => {}
                    }
                }
            }
        });
        if let Some(number) = mailbox.take_moved() {
            self.shared = worker.upstream.numbered(number);
        }
        if mailbox.take_large() {
            session.note_large_reply();
        }
        self.resend();
        if overflow {
            self.end_now(if self.mailbox.is_evicted() {
                ClientDisconnect::MemoryBudget
            } else {
                ClientDisconnect::OutputLimit
            });
        }
        if let Some(cut) = cut {
            // A reply was cut in its middle: whatever followed would be taken for its rest.
            self.out.truncate(cut);
            self.end_now(ClientDisconnect::UpstreamLost);
        }
        if any && matches!(self.waiting, PendingStep::Reply) {
            self.waiting = PendingStep::No;
        }
        self.report_slow();
        self.mailbox.forget_waits(self.counts.notes.oldest());
        if self.session.in_flight() == 0 {
            self.counts.notes.clear();
            self.sent_bytes = 0;
            self.shared.take_if(|shared| shared.is_aside());
        }
        any
    }
}

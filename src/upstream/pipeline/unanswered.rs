//! Requests that leave the line without a reply: they have waited too long, their clients have given them up, or
//! the line is dissolved.
//!
//! Owns: how they leave the line. Never knows: when that is right, how long is too long, whose they are.

use std::time::Instant;

use bytes::Buf;

use super::Pipeline;
use crate::traffic::{Loss, Ticket};

impl<W> Pipeline<W> {
    /// Forgets what was put in line before `before`, is not written, and whose owner `is_gone`; each is
    /// reported. A request that belongs to one that is written goes with it.
    pub fn forget(
        &mut self,
        before: Instant,
        is_gone: impl Fn(&W) -> bool,
        mut report: impl FnMut(&W, Ticket),
    ) {
        let (mut start, mut previous) = (0, false);
        let old = std::mem::take(&mut self.bytes);
        let (written, bytes, abandoned) = (self.written, &mut self.bytes, &mut self.abandoned);
        self.line.retain(|entry| {
            let (unsent, end) = (start >= written, start + entry.len);
            let request = old.get(start..end).unwrap_or_default();
            start = end;
            let belongs = entry.companion && !previous;
            previous = unsent && entry.at < before && !belongs && is_gone(&entry.owner);
            if !previous {
                bytes.extend_from_slice(request);
                return true;
            }
            if entry.abandoned {
                *abandoned -= 1;
            } else {
                report(&entry.owner, entry.ticket);
            }
            false
        });
        self.secrets.wipe(old);
        self.check_invariants();
    }

    /// Whether there is anything to [`Self::forget`].
    pub fn forgets(&self, before: Instant, is_gone: impl Fn(&W) -> bool) -> bool {
        let mut start = 0;
        let mut line = self.line.iter().take_while(|entry| entry.at < before);
        line.any(|entry| {
            let unsent = start >= self.written;
            start += entry.len;
            unsent && !entry.companion && is_gone(&entry.owner)
        })
    }

    /// Everything in line is lost, by a defect: what was written may have been executed, and the reply to the
    /// oldest may have been handed out in part.
    pub fn into_losses(self) -> impl Iterator<Item = (W, Ticket, Loss)> {
        let (written, mut start) = (self.written, 0);
        let losses = self.line.into_iter().map(move |entry| {
            let loss = match start {
                0 if written > 0 => Loss::Truncated,
                _ if start < written => Loss::OutcomeUnknown,
                _ => Loss::Abandoned,
            };
            start += entry.len;
            (entry, loss)
        });
        losses
            .filter(|(entry, _)| !entry.abandoned)
            .map(|(entry, loss)| (entry.owner, entry.ticket, loss))
    }

    /// Everything in line, from the oldest on: whose it is, and whether it skips replies.
    pub fn into_requests(self) -> impl Iterator<Item = (W, Ticket, bool)> {
        let waits = self.line.into_iter().filter(|entry| !entry.abandoned);
        waits.map(|entry| (entry.owner, entry.ticket, entry.skips.are_any()))
    }

    /// Requests put in line before `before` have waited too long: each is reported once, with what was
    /// asked, and its reply, when it comes, goes nowhere. The reply to what is the proxy's own counts
    /// however late it is.
    pub fn expire(&mut self, before: Instant, mut report: impl FnMut(&W, Ticket, &[u8])) {
        let mut start = 0;
        for (index, entry) in self.line.iter_mut().enumerate() {
            if entry.at >= before {
                break;
            }
            let request = self.bytes.get(start..start + entry.len).unwrap_or_default();
            start += entry.len;
            // Half a reply cannot be taken back: its owner gets the rest, or the loss.
            let begun = index == 0 && self.begun;
            if !entry.abandoned && !begun && !entry.own {
                entry.abandoned = true;
                self.abandoned += 1;
                report(&entry.owner, entry.ticket, request);
            }
        }
        self.check_invariants();
    }

    /// Gives up everything put in line before `before` while there is no connection; each is reported
    /// with what was asked. Returns how many of these were sent before.
    pub fn give_up(
        &mut self,
        before: Option<Instant>,
        mut report: impl FnMut(&W, Ticket, &[u8]),
    ) -> usize {
        debug_assert_eq!(self.written, 0, "only without a connection");
        let mut sent = 0;
        while let Some(entry) = self.line.front() {
            if before.is_some_and(|before| entry.at >= before) {
                break;
            }
            if !entry.abandoned {
                let request = self.bytes.get(..entry.len).unwrap_or_default();
                report(&entry.owner, entry.ticket, request);
            }
            sent += usize::from(entry.attempts > 0);
            self.abandoned -= usize::from(entry.abandoned);
            debug_assert!(!entry.own, "it is about one connection alone");
            self.bytes.advance(entry.len.min(self.bytes.len()));
            self.line.pop_front();
        }
        self.check_invariants();
        sent
    }

    /// Whether only requests are in line whose owners wait no longer, or the proxy's own.
    pub fn is_given_up(&self) -> bool {
        self.line.iter().all(|entry| entry.abandoned || entry.own)
    }

    /// Whether a request is written that must not be written again, and whose owner still waits for it.
    pub fn owes_writes(&self) -> bool {
        let mut end = 0;
        self.line.iter().any(|entry| {
            end += entry.len;
            end <= self.written && !entry.retry && !entry.abandoned && !entry.own
        })
    }
}

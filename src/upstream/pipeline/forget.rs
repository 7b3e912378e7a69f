//! Requests that leave the line without a reply: their clients have given them up, or the line is dissolved.
//!
//! Owns: how they leave the line. Never knows: when that is right, whose they are.

use std::time::Instant;

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
        self.wipe(old);
        debug_assert!(self.written <= self.bytes.len(), "nothing that is written is forgotten");
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
        waits.map(|entry| (entry.owner, entry.ticket, entry.skip > 0))
    }
}

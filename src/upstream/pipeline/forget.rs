//! Requests that were never sent and that their clients have given up.
//!
//! Owns: how they leave the line. Never knows: when that is right, whose they are.

use std::time::Instant;

use super::Pipeline;
use crate::traffic::Ticket;

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
}

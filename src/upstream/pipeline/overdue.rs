//! Requests that have waited too long.
//!
//! Owns: what becomes of them. Never knows: how long is too long, whose they are.

use std::time::Instant;

use bytes::Buf;

use super::Pipeline;
use crate::traffic::Ticket;

impl<W> Pipeline<W> {
    /// Requests put in line before `before` have waited too long: each is reported once, with what was
    /// asked, and its reply, when it comes, goes nowhere.
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
            if !entry.abandoned && !begun {
                entry.abandoned = true;
                self.abandoned += 1;
                report(&entry.owner, entry.ticket, request);
            }
        }
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
            debug_assert!(!entry.secret, "a secret is for one connection alone");
            self.bytes.advance(entry.len.min(self.bytes.len()));
            self.line.pop_front();
        }
        sent
    }
}

//! The commands of one client that are on their way, while every command is followed.
//!
//! Owns: [`Notes`], [`Late`], [`Counts`]. Never knows: sockets, which time is slow, which reply is large.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::insight::{Insight, first_key};
use super::metrics::Tally;
use crate::command::Spec;
use crate::policy::Policy;
use crate::resp::Request;
use crate::session::{Class, Completed};
use crate::telemetry::KEY_BYTES_MAX;
use crate::traffic::Ticket;
use crate::upstream::Mailbox;

/// Places and bytes of keys kept allocated for an idle client.
const NOTES_KEPT: usize = 16;
const KEYS_KEPT: usize = 512;
/// Bytes of keys before those of commands that are answered are removed.
const KEYS_SWEPT: usize = 4096;

/// A command on its way. Small: one is written for each command.
#[derive(Clone, Copy, Debug)]
struct Note {
    ticket: Ticket,
    spec: &'static Spec,
    /// Where in the bytes of all keys its first key begins, counted from the beginning of all, and how long
    /// it is; [`NO_KEY`]: it has none.
    key: u32,
    len: u16,
}

const NO_KEY: u16 = u16::MAX;

/// A slow command, with what is known of its time.
#[derive(Debug)]
pub(super) struct Late {
    pub spec: &'static Spec,
    pub key: Option<String>,
    pub total: Duration,
    pub waiting: Duration,
    pub upstream: Duration,
    pub error: bool,
}

/// The commands of one client that are on their way.
#[derive(Debug, Default)]
pub(super) struct Notes {
    line: VecDeque<Note>,
    /// Their keys, one after the other, behind `swept` bytes that are removed.
    keys: Vec<u8>,
    swept: u32,
    /// Since when the request at hand has waited.
    begun: Option<Instant>,
    /// How long commands had waited before they were sent; few do.
    waited: Vec<(Ticket, Duration)>,
    /// Slow ones that are to be written down.
    late: Vec<Late>,
}

/// What belongs to the counting of one client.
#[derive(Debug)]
pub(super) struct Counts {
    /// By its policy.
    pub tally: Tally,
    pub notes: Notes,
}

impl Counts {
    pub(super) fn new(tally: Tally) -> Self {
        Self { tally, notes: Notes::default() }
    }
}

impl Notes {
    /// The request at hand has to wait.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
    }

    /// The request at hand was dealt with otherwise.
    pub(super) const fn forget_begin(&mut self) {
        self.begun = None;
    }

    /// The request at hand is sent.
    #[inline]
    pub(super) fn send(
        &mut self,
        ticket: Ticket,
        spec: &'static Spec,
        request: &Request<'_>,
        now: Instant,
    ) {
        if let Some(since) = self.begun.take() {
            self.waited.push((ticket, now.saturating_duration_since(since)));
        }
        if self.keys.len() >= KEYS_SWEPT {
            self.sweep();
        }
        let at = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let key = first_key(spec, request).map(|key| key.get(..KEY_BYTES_MAX).unwrap_or(key));
        let len = match key {
            Some(key) => {
                self.keys.extend_from_slice(key);
                u16::try_from(key.len()).unwrap_or(NO_KEY)
            }
            None => NO_KEY,
        };
        self.line.push_back(Note { ticket, spec, key: self.swept.wrapping_add(at), len });
    }

    /// Removes the keys of commands that are answered, once they are the greater part.
    #[cold]
    fn sweep(&mut self) {
        let end = self.swept.wrapping_add(u32::try_from(self.keys.len()).unwrap_or(u32::MAX));
        let first = self.line.front().map_or(end, |note| note.key);
        let done = first.wrapping_sub(self.swept);
        let done_bytes = usize::try_from(done).unwrap_or(usize::MAX);
        if done_bytes > self.keys.len() / 2 {
            self.keys.drain(..done_bytes.min(self.keys.len()));
            self.swept = first;
        }
    }

    fn key(&self, note: &Note) -> Option<&[u8]> {
        let at = usize::try_from(note.key.wrapping_sub(self.swept)).ok()?;
        let len = Some(note.len).filter(|len| *len != NO_KEY)?;
        self.keys.get(at..at + usize::from(len))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// The command that has been on its way longest.
    pub(super) fn oldest(&self) -> Option<Ticket> {
        self.line.front().map(|note| note.ticket)
    }

    /// A command is answered. Most were quick and their replies small, and nothing more is asked; `parts`
    /// says of the time since it was sent what it waited for a connection, and what the server took.
    #[inline]
    pub(super) fn end(
        &mut self,
        insight: &Insight,
        policy: &Policy,
        done: &Completed,
        now: Instant,
        parts: impl FnOnce() -> (Duration, Duration),
    ) {
        let note = loop {
            let Some(note) = self.line.front().copied() else { return };
            if note.ticket > done.ticket {
                return;
            }
            self.line.pop_front();
            if note.ticket == done.ticket {
                break note;
            }
        };
        let took = now.saturating_duration_since(done.at);
        if insight.is_notable(took, done.bytes) || !self.waited.is_empty() {
            self.look(insight, policy, &note, done, now, took, parts());
        }
    }

    #[cold]
    #[allow(clippy::too_many_arguments, reason = "what is known when a reply has come")]
    fn look(
        &mut self,
        insight: &Insight,
        policy: &Policy,
        note: &Note,
        done: &Completed,
        now: Instant,
        took: Duration,
        (waited, upstream): (Duration, Duration),
    ) {
        if let Some(key) = self.key(note) {
            insight.note_reply(policy, key, done.bytes as u64, now);
        }
        let own = self.waited.iter().filter(|(ticket, _)| *ticket == note.ticket);
        let before: Duration = own.map(|(_, time)| *time).sum();
        self.waited.retain(|(ticket, _)| *ticket > note.ticket);
        let total = took + before;
        // One that waited for others' writes is not slow.
        if done.class != Class::Blocking && insight.takes(total) {
            self.late.push(Late {
                spec: note.spec,
                key: self.key(note).and_then(|key| insight.show(key)),
                total,
                waiting: before + waited,
                upstream,
                error: done.error,
            });
        }
    }

    /// A command will not be answered: all its time was spent at the server, or on waiting for one.
    pub(super) fn lose(
        &mut self,
        insight: &Insight,
        policy: &Policy,
        done: &Completed,
        now: Instant,
        mailbox: &Mailbox,
    ) {
        let since = now.saturating_duration_since(done.at);
        self.end(insight, policy, done, now, || {
            let waited = mailbox.take_wait(done.ticket);
            (waited, since.saturating_sub(waited))
        });
    }

    /// Nothing is on its way.
    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.keys.clear();
        self.waited.clear();
        if self.line.capacity() > NOTES_KEPT {
            self.line = VecDeque::new();
        }
        if self.keys.capacity() > KEYS_KEPT {
            self.keys = Vec::new();
        }
    }

    #[inline]
    pub(super) const fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    pub(super) fn take_late(&mut self) -> Vec<Late> {
        std::mem::take(&mut self.late)
    }

    /// What counts against the memory of this client.
    pub(super) fn held_bytes(&self) -> usize {
        self.line.capacity() * size_of::<Note>()
            + self.keys.capacity()
            + self.waited.capacity() * size_of::<(Ticket, Duration)>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::base::clock;
    use crate::command::by_name;
    use crate::resp::RequestBuf;

    fn send(notes: &mut Notes, ticket: u64, key: &str) {
        let request = RequestBuf::from_args(["GET", key]);
        let spec = by_name("get").unwrap();
        notes.send(Ticket(ticket), spec, &request.as_request(), clock::now());
    }

    fn keys(notes: &Notes) -> Vec<Option<&[u8]>> {
        notes.line.iter().map(|note| notes.key(note)).collect()
    }

    #[test]
    fn keys_are_found_again_while_older_ones_are_removed() {
        let mut notes = Notes::default();
        for number in 0..10_000_u64 {
            send(&mut notes, number, &format!("key:{number}"));
            if notes.line.len() > 100 {
                notes.line.pop_front();
            }
            let newest = format!("key:{number}");
            assert_eq!(notes.key(notes.line.back().unwrap()), Some(newest.as_bytes()));
        }
        let oldest = notes.line.front().unwrap().ticket.0;
        let expected: Vec<String> =
            (oldest..10_000).map(|number| format!("key:{number}")).collect();
        let expected: Vec<Option<&[u8]>> =
            expected.iter().map(|key| Some(key.as_bytes())).collect();
        assert_eq!(keys(&notes), expected);
        assert!(notes.keys.capacity() <= 4 * KEYS_SWEPT, "{}", notes.keys.capacity());
    }

    #[test]
    fn bytes_of_keys_are_counted_and_an_idle_client_keeps_few() {
        let mut notes = Notes::default();
        let long = "k".repeat(100_000);
        for number in 0..100 {
            send(&mut notes, number, &long);
        }
        let held = notes.held_bytes();
        assert!((100 * KEY_BYTES_MAX..400 * KEY_BYTES_MAX).contains(&held), "{held}");
        notes.clear();
        assert_eq!(notes.held_bytes(), 0);
    }
}

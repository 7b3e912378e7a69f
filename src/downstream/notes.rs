//! What is known of one client's commands until they are answered, while slow ones and large replies are
//! looked for.
//!
//! Owns: [`Notes`], [`Late`], [`Counts`]. Never knows: sockets, which time is slow, which reply is large.
//!
//! A shared connection keeps every request until it is answered, and reports which key a slow one names. Here
//! are the others: requests on pinned connections, and those that waited before they were sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::insight::Insight;
use super::metrics::Tally;
use crate::base::lazy_box::{Initial, LazyBox};
use crate::base::limits;
use crate::command::Spec;
use crate::policy::Policy;
use crate::session::{Class, Completed};
use crate::traffic::Ticket;
use crate::upstream::{Mailbox, Remark};

/// A command in flight.
#[derive(Clone, Copy, Debug)]
struct Note {
    ticket: Ticket,
    /// Where in the bytes of all keys its first key begins, counted from the beginning of all, and how long
    /// it is; [`NO_KEY`]: it has none.
    key: u32,
    len: u16,
}

const NO_KEY: u16 = u16::MAX;

/// A slow command, with what is known of its time.
#[derive(Debug)]
pub(super) struct Late {
    pub command: &'static Spec,
    pub key: Option<String>,
    pub total: Duration,
    pub waiting: Duration,
    pub upstream: Duration,
    pub error: bool,
}

/// The commands of one client that are in flight and not on a connection yet.
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
    pub notes: LazyBox<Notes>,
}

impl Counts {
    pub(super) fn new(tally: Tally) -> Self {
        Self { tally, notes: LazyBox::default() }
    }

    /// The request at hand does not wait any more, and is not sent.
    pub(super) fn forget_begin(&mut self) {
        self.notes.allocated_mut().into_iter().for_each(Notes::forget_begin);
    }

    /// Whether nothing is known of commands in flight.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.notes.allocated().is_none_or(Notes::is_empty)
    }
}

impl Initial for Notes {
    const INITIAL: &'static Self = &Self {
        line: VecDeque::new(),
        keys: Vec::new(),
        swept: 0,
        begun: None,
        waited: Vec::new(),
        late: Vec::new(),
    };
}

impl Notes {
    /// The request at hand has to wait.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
    }

    /// Whether it has waited.
    #[inline]
    pub(super) const fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// The request at hand was dealt with otherwise.
    const fn forget_begin(&mut self) {
        self.begun = None;
    }

    /// The request at hand is sent.
    pub(super) fn send(&mut self, ticket: Ticket, key: Option<&[u8]>, now: Instant) {
        if let Some(since) = self.begun.take() {
            self.waited.push((ticket, now.saturating_duration_since(since)));
        }
        if self.keys.len() >= limits::NOTE_KEY_BYTES_SWEPT {
            self.sweep();
        }
        let at = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let key = key.map(|key| key.get(..limits::HOT_KEY_BYTES_MAX).unwrap_or(key));
        let len = match key {
            Some(key) => {
                self.keys.extend_from_slice(key);
                u16::try_from(key.len()).unwrap_or(NO_KEY)
            }
            None => NO_KEY,
        };
        self.line.push_back(Note { ticket, key: self.swept.wrapping_add(at), len });
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

    /// Forgets what was sent before `ticket`, and takes what is known of it.
    fn take(&mut self, ticket: Ticket) -> Option<Note> {
        while let Some(note) = self.line.front().copied().filter(|note| note.ticket <= ticket) {
            self.line.pop_front();
            if note.ticket == ticket {
                return Some(note);
            }
        }
        None
    }

    /// A command whose last byte was `sent` then is answered on a pinned connection, or will not be. Most
    /// were quick and their replies small, and nothing more is asked.
    pub(super) fn end_pinned(
        &mut self,
        insight: &Insight,
        policy: &Policy,
        done: &Completed,
        now: Instant,
        sent: Instant,
    ) {
        let Some(note) = self.take(done.ticket) else { return };
        let took = now.saturating_duration_since(done.at);
        if insight.is_notable(took, done.bytes) || !self.waited.is_empty() {
            let key = self.key(&note).map(Into::into);
            let waited = sent.saturating_duration_since(done.at);
            let remark = Remark { waited, took: Some(now.saturating_duration_since(sent)), key };
            self.look(insight, policy, done, took, remark, now);
        }
    }

    /// A command on a shared connection is answered, or will not be: it may have to be recorded.
    #[cold]
    pub(super) fn end(
        &mut self,
        insight: &Insight,
        policy: &Policy,
        done: &Completed,
        now: Instant,
        mailbox: &Mailbox,
    ) {
        let mut remark = mailbox.take_remark(done.ticket);
        let sent_key = remark.key.take();
        let note = self.take(done.ticket);
        let own_key = note.and_then(|note| self.key(&note)).map(Into::into);
        remark.key = own_key.or_else(|| Some(as_asked(policy, &sent_key?).into()));
        let took = now.saturating_duration_since(done.at);
        // One that took longer here than at the server is known by when its reply came.
        let came = mailbox.arrived().map_or(now, |came| came.min(now));
        let there = came.saturating_duration_since(done.at).saturating_sub(remark.waited);
        remark.took.get_or_insert(there);
        self.look(insight, policy, done, took, remark, now);
    }

    fn look(
        &mut self,
        insight: &Insight,
        policy: &Policy,
        done: &Completed,
        took: Duration,
        remark: Remark,
        now: Instant,
    ) {
        let own = self.waited.iter().filter(|(ticket, _)| *ticket == done.ticket);
        let before: Duration = own.map(|(_, time)| *time).sum();
        self.waited.retain(|(ticket, _)| *ticket > done.ticket);
        let Some(command) = done.command.filter(|_| !done.own) else { return };
        if let Some(key) = &remark.key {
            insight.note_reply(policy, key, done.bytes as u64, now);
        }
        let total = took + before;
        // One that waited for others' writes is not slow.
        if done.class != Class::Blocking && insight.takes(total) {
            self.late.push(Late {
                command,
                key: remark.key.and_then(|key| insight.show(&key)),
                total,
                waiting: before + remark.waited,
                upstream: remark.took.unwrap_or_default(),
                error: done.error,
            });
        }
    }

    /// Nothing is in flight.
    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.keys.clear();
        self.waited.clear();
        if self.line.capacity() > limits::NOTES_KEPT {
            self.line = VecDeque::new();
        }
        if self.keys.capacity() > limits::NOTE_KEY_BYTES_KEPT {
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

/// A key that was sent, as the client named it.
fn as_asked<'a>(policy: &Policy, key: &'a [u8]) -> &'a [u8] {
    policy.prefix().and_then(|prefix| key.strip_prefix(prefix.text())).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::base::clock;

    fn send(notes: &mut Notes, ticket: u64, key: &str) {
        notes.send(Ticket(ticket), Some(key.as_bytes()), clock::now());
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
        assert!(
            notes.keys.capacity() <= 4 * limits::NOTE_KEY_BYTES_SWEPT,
            "{}",
            notes.keys.capacity()
        );
    }

    #[test]
    fn bytes_of_keys_are_counted_and_an_idle_client_keeps_few() {
        let mut notes = Notes::default();
        let long = "k".repeat(100_000);
        for number in 0..100 {
            send(&mut notes, number, &long);
        }
        let held = notes.held_bytes();
        assert!(
            (100 * limits::HOT_KEY_BYTES_MAX..400 * limits::HOT_KEY_BYTES_MAX).contains(&held),
            "{held}"
        );
        notes.clear();
        assert_eq!(notes.held_bytes(), 0);
    }
}

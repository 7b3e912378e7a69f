//! The requests of many sessions on one connection, and which reply belongs to which.
//!
//! Owns: [`Pipeline`]: the bytes to write, the line of waiting requests, the framing of replies. Never
//! knows: sockets, clocks, the meaning of a request.

mod deferred;
mod delivery;
pub(in crate::upstream) mod detached;
mod entry;
pub(in crate::upstream) mod pinned;
mod secret;
mod unanswered;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf, BytesMut};

use crate::base::limits;
use crate::resp::{Protocol, ReplyScanner};
use crate::traffic::{Skips, Ticket};
use deferred::Deferred;
pub(crate) use delivery::{Answered, Broken, Delivery, Note};
use delivery::{FirstError, Frame, Refusal};
use entry::Entry;
use secret::Secrets;

/// First in, first out: the order of RESP.
#[derive(Debug)]
pub struct Pipeline<W> {
    /// Every request in line, until it is fully answered; on a pinned connection only until it is written.
    bytes: BytesMut,
    /// Bytes of requests in line that are written.
    written: usize,
    /// One session has the connection: nothing is sent again, and what arrives may be no reply.
    pinned: bool,
    line: VecDeque<Entry<W>>,
    /// Entries whose owner waits no longer.
    abandoned: usize,
    /// Entries with a secret.
    secrets: Secrets,
    protocol: Protocol,
    scanner: ReplyScanner,
    /// Some of the reply in progress has been handed out.
    begun: bool,
    /// Bytes of it that have come.
    begun_bytes: usize,
    /// The first error among the replies that the oldest request skips.
    first_error: FirstError,
    /// What completes others and is sent again later, if anything was.
    deferred: Option<Box<Deferred<W>>>,
    /// Owns it then.
    completion: fn() -> Option<W>,
}

impl<W> Pipeline<W> {
    /// For a shared connection, which uses this version of RESP and no other.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            bytes: BytesMut::new(),
            written: 0,
            pinned: false,
            line: VecDeque::new(),
            abandoned: 0,
            secrets: Secrets::default(),
            protocol,
            scanner: ReplyScanner::new(protocol),
            begun: false,
            begun_bytes: 0,
            first_error: FirstError::default(),
            deferred: None,
            completion: || None,
        }
    }

    /// Puts a request in line.
    pub fn push(
        &mut self,
        owner: W,
        ticket: Ticket,
        request: &[u8],
        skips: Skips,
        retry: bool,
        at: Instant,
    ) {
        self.secrets.grow(&mut self.bytes, request.len());
        self.bytes.extend_from_slice(request);
        let len = request.len();
        self.line.push_back(Entry::new(owner, ticket, len, skips, retry, at));
        self.check_counts();
    }

    /// Puts a request of the proxy's own in line.
    pub fn push_own(&mut self, owner: W, ticket: Ticket, request: &[u8], at: Instant) {
        self.push(owner, ticket, request, Skips::NONE, false, at);
        debug_assert!(!self.pinned, "nothing is the proxy's own on a pinned connection");
        if let Some(entry) = self.line.back_mut() {
            entry.own = true;
        }
    }

    /// The request put in line last completes the one before it.
    pub fn note_companion(&mut self) {
        debug_assert!(self.line.len() > 1, "it completes no request");
        if let Some(entry) = self.line.back_mut() {
            debug_assert!(entry.retry, "what completes another one cannot be repeated with it");
            entry.companion = true;
        }
    }

    /// Puts a request of the proxy's own in line, before everything that is not written yet.
    pub fn push_next(&mut self, owner: W, ticket: Ticket, request: &[u8], at: Instant) {
        let (mut index, mut end) = (0, 0);
        for entry in &self.line {
            if end >= self.written {
                break;
            }
            end += entry.len;
            index += 1;
        }
        debug_assert!(end >= self.written, "it is put in before what is written");
        let old = std::mem::take(&mut self.bytes);
        debug_assert!(end <= old.len(), "a request is longer than what is kept of it");
        let (before, behind) = old.split_at_checked(end).unwrap_or((&old, &[]));
        self.bytes.reserve(old.len() + request.len());
        self.bytes.extend_from_slice(before);
        self.push_own(owner, ticket, request, at);
        self.bytes.extend_from_slice(behind);
        self.secrets.wipe(old);
        if let Some(entry) = self.line.pop_back() {
            self.line.insert(index, entry);
        }
        self.check_invariants();
    }

    /// Puts a request of the proxy's own in line that holds a secret.
    pub fn push_secret(&mut self, owner: W, ticket: Ticket, request: &[u8], at: Instant) {
        self.secrets.note_pushed();
        self.push_own(owner, ticket, request, at);
        if let Some(entry) = self.line.back_mut() {
            entry.secret = true;
        }
        self.check_invariants();
    }

    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.line.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.line.is_empty() && deferred::len(self.deferred.as_deref()) == 0
    }

    /// Requests in line whose owner waits no longer.
    #[must_use]
    pub const fn abandoned(&self) -> usize {
        self.abandoned
    }

    /// Bytes of requests in line.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.bytes.len() + self.deferred.as_ref().map_or(0, |it| it.bytes.len())
    }

    /// Memory for requests in line: their bytes, and what is known of each.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let entries = self.line.len() + deferred::len(self.deferred.as_deref());
        self.request_bytes() + entries * size_of::<Entry<W>>()
    }

    /// What is to be written next.
    #[must_use]
    pub fn unwritten(&self) -> &[u8] {
        debug_assert!(!self.pinned, "written bytes are dropped there");
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// The rest of a request that is written in part, and what is the proxy's own right behind it.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        let mut end = 0;
        for entry in &self.line {
            if end >= self.written && !entry.own {
                break;
            }
            end += entry.len;
        }
        debug_assert!(end >= self.written, "what is written is not in line");
        self.bytes.get(self.written..end).unwrap_or_default()
    }

    /// When the request was put in line that has waited longest.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Instant> {
        self.line.front().map(|entry| entry.at)
    }

    /// Notes that `count` bytes of [`Self::unwritten`] were written.
    pub fn wrote(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.bytes.len(), "no more than there is is written");
        debug_assert!(!self.pinned, "written bytes are dropped there");
        self.check_counts();
    }

    /// Whose large reply has come in part.
    pub fn reader(&self) -> Option<&W> {
        let large = self.begun && self.begun_bytes >= limits::LARGE_REPLY_BYTES;
        self.line.front().filter(|entry| large && !entry.abandoned).map(|entry| &entry.owner)
    }

    /// The owners of the requests in line.
    pub fn owners(&self) -> impl Iterator<Item = &W> {
        self.line.iter().map(|entry| &entry.owner)
    }

    /// Whether a reply is outstanding.
    #[must_use]
    pub const fn has_outstanding_replies(&self) -> bool {
        self.written > 0
    }

    /// The most that has arrived of one reply when so many more bytes have come, and when the oldest
    /// request was put in line that is not the proxy's own.
    #[must_use]
    pub fn extremes(&self, more: usize) -> (usize, Option<Instant>) {
        let oldest = self.line.iter().find(|entry| !entry.own);
        (self.begun_bytes + more, oldest.map(|entry| entry.at))
    }

    /// Takes bytes from the server and hands out what is in them; `note`, where there is one, gets every
    /// request whose reply is whole with them.
    ///
    /// # Errors
    ///
    /// When the bytes do not fit what was asked; the connection must be closed.
    pub fn handle_bytes(
        &mut self,
        mut bytes: &[u8],
        mut note: Option<Note<'_, W>>,
        mut deliver: impl FnMut(Delivery<'_, W>),
    ) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let Frame { used, kind, done } = self.frame(bytes)?;
            let (piece, rest) = bytes.split_at_checked(used).unwrap_or((bytes, &[]));
            bytes = rest;
            if self.scanner.has_push() {
                return Err(Broken::Push);
            }
            self.take_reply::<false>(piece, kind, done, &mut note, &mut deliver)?;
        }
        self.check_invariants();
        Ok(())
    }

    /// The next piece of a frame at the front of `bytes`, which the server has sent.
    #[inline(always)]
    fn frame(&mut self, bytes: &[u8]) -> Result<Frame, Broken> {
        debug_assert!(!bytes.is_empty(), "there is nothing to look at");
        let advance = self.scanner.advance(bytes).map_err(Broken::Framing)?;
        debug_assert!(advance.used > 0 && advance.used <= bytes.len(), "a piece is some of it");
        Ok(Frame { used: advance.used, kind: self.scanner.kind(), done: advance.done })
    }

    /// Takes a piece of a reply for the oldest request: of one that is skipped, or of that which counts. `PINNED`:
    /// the pipeline is that of a pinned connection.
    #[inline(always)]
    fn take_reply<const PINNED: bool>(
        &mut self,
        piece: &[u8],
        kind: u8,
        done: bool,
        note: &mut Option<Note<'_, W>>,
        mut deliver: impl FnMut(Delivery<'_, W>),
    ) -> Result<(), Broken> {
        debug_assert_eq!(PINNED, self.pinned, "the reply to another kind of connection");
        let Some(entry) = self.line.front_mut().filter(|_| self.written > 0) else {
            return Err(Broken::UnexpectedReply);
        };
        if entry.skips.are_due() {
            debug_assert!(!self.begun, "a reply is skipped within the one that counts");
            delivery::skip(entry, &mut self.first_error, (piece, kind, done), &mut deliver);
            return Ok(());
        }
        // An answer to half a request is none, unless the server refuses the rest.
        let too_early = if PINNED { entry.answered } else { self.written < entry.len };
        if too_early {
            return Err(Broken::UnexpectedReply);
        }
        let size = self.begun_bytes + piece.len();
        if let Some(note) = note.as_mut().filter(|_| done) {
            let Entry { owner, ticket, at, .. } = &*entry;
            let request = self.bytes.get(..entry.len).unwrap_or_default();
            note(Answered { owner, ticket: *ticket, request, size, at: *at });
        }
        let error = self.first_error.code(piece, kind, (!self.begun, done));
        if !entry.abandoned {
            deliver(Delivery {
                owner: &entry.owner,
                ticket: entry.ticket,
                bytes: piece,
                kind,
                error,
                done,
                refused: entry.skips.are_refused(),
                skipped: false,
                block: entry.skips.transacts(),
                announced: self.scanner.announced().unwrap_or(0),
                again: entry.attempts > 0,
                at: entry.at,
            });
        }
        let refusal = (done && kind == b'-').then(|| self.first_error.refusal(piece, !self.begun));
        self.begun = !done;
        self.begun_bytes = if done { 0 } else { size };
        if done && PINNED {
            self.retire_pinned();
        } else if done {
            self.retire_front(refusal);
        }
        Ok(())
    }

    /// The oldest request is answered.
    fn retire_front(&mut self, refusal: Option<Refusal>) {
        debug_assert!(!self.pinned, "it may go on there");
        let Some(entry) = self.line.pop_front() else { return };
        debug_assert!(self.written >= entry.len, "a reply came before its request was written");
        self.abandoned -= usize::from(entry.abandoned);
        let skipped = self.first_error.take_skipped();
        if refusal.is_some() || !skipped.are_none() {
            deferred::handle_refusal(refusal, skipped, &entry, self);
        }
        if entry.secret {
            self.secrets.wipe_front(&mut self.bytes, entry.len);
        }
        self.bytes.advance(entry.len.min(self.bytes.len()));
        self.written = self.written.saturating_sub(entry.len);
        self.first_error.clear();
        if self.line.is_empty() && self.bytes.capacity() > limits::READ_BYTES {
            self.bytes = BytesMut::new();
        }
        if self.line.is_empty() && self.line.capacity() > limits::EMPTY_LINE_ENTRIES_MAX {
            self.line = VecDeque::new();
        }
        self.check_counts();
    }

    /// Whether the oldest request is not answered.
    fn awaits_reply(&self) -> bool {
        self.line.front().is_some_and(|entry| !entry.answered)
    }

    /// Whether nothing answers what was put in line last, and not all of it is written.
    fn ends_answered(&self) -> bool {
        self.line.back().is_some_and(|entry| entry.answered)
    }

    /// The newest request, if more of it follows.
    fn open_ticket(&self) -> Option<Ticket> {
        self.line.back().filter(|entry| entry.open).map(|entry| entry.ticket)
    }

    fn set_open(&mut self, open: bool) {
        debug_assert!(self.pinned, "a shared connection gets whole requests");
        debug_assert!(!self.line.is_empty(), "no request goes on");
        if let Some(entry) = self.line.back_mut() {
            entry.open = open;
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        debug_assert!(!self.line.is_empty(), "bytes of no request");
        if let Some(entry) = self.line.back_mut() {
            entry.len += bytes.len();
            self.bytes.extend_from_slice(bytes);
        }
        self.check_counts();
    }

    /// Nothing answers the request that was put in line last.
    fn note_answered(&mut self) {
        debug_assert!(self.pinned, "a shared connection answers everything");
        debug_assert!(!self.line.is_empty(), "no request is in line");
        if let Some(entry) = self.line.back_mut() {
            entry.answered = true;
        }
    }

    /// Bytes were written that are not sent again.
    fn drop_written(&mut self, count: usize) {
        debug_assert!(self.pinned && count <= self.bytes.len(), "no more than there is is written");
        self.bytes.advance(count.min(self.bytes.len()));
        self.written += count;
        debug_assert!(!self.line.is_empty(), "bytes of no request were written");
        self.retire_written();
        if self.bytes.is_empty() && self.bytes.capacity() > limits::READ_BYTES * 4 {
            self.bytes = BytesMut::new();
        }
    }

    /// Removes what waited for nothing but to be written.
    fn retire_written(&mut self) {
        while let Some(entry) = self.line.front()
            && entry.answered
            && !entry.open
            && self.written >= entry.len
        {
            self.retire_pinned();
        }
        self.check_invariants();
    }

    /// The oldest request is answered. A server may reply with an error before it has read all of a large one:
    /// then the rest is still written.
    fn retire_pinned(&mut self) {
        self.first_error.clear();
        let Some(entry) = self.line.front_mut() else { return };
        if entry.open || self.written < entry.len {
            entry.answered = true;
            return;
        }
        debug_assert!(!entry.skips.are_due() || entry.answered, "the reply that counts is to come");
        self.written -= entry.len;
        self.line.pop_front();
        if self.line.is_empty() && self.line.capacity() > limits::EMPTY_LINE_ENTRIES_MAX {
            self.line = VecDeque::new();
        }
        self.check_counts();
    }

    /// What holds whenever a request comes into the line or goes, or bytes of one.
    fn check_counts(&self) {
        debug_assert!(self.abandoned <= self.line.len(), "more are given up than are in line");
        debug_assert!(self.secrets.count() <= self.line.len(), "more are secret than are in line");
        let empty = self.line.is_empty();
        debug_assert!(!empty || self.bytes.is_empty(), "bytes are kept of no request");
        debug_assert!(!empty || self.written == 0, "bytes of no request are written");
        debug_assert!(self.pinned || self.written <= self.bytes.len(), "more is written than is");
    }

    /// What holds whenever a method returns; of long lines it is not looked at.
    fn check_invariants(&self) {
        if !cfg!(debug_assertions) || self.line.len() > 64 {
            return;
        }
        let count = |is: fn(&Entry<W>) -> bool| self.line.iter().filter(|entry| is(entry)).count();
        let bytes: usize = self.line.iter().map(|entry| entry.len).sum();
        let dropped = if self.pinned { self.written } else { 0 };
        debug_assert_eq!(bytes, dropped + self.bytes.len(), "each byte is a request's");
        debug_assert!(self.written <= bytes, "only what is in line is written");
        debug_assert_eq!(count(|entry| entry.abandoned), self.abandoned, "given up and counted");
        debug_assert_eq!(count(|entry| entry.secret), self.secrets.count(), "secret and counted");
        self.line.iter().for_each(|entry| entry.check_invariants());
        let early = |entry: &Entry<W>| entry.open || (!self.pinned && entry.answered);
        let newest = self.line.len().saturating_sub(1);
        debug_assert!(!self.line.iter().take(newest).any(early), "a request is behind half of one");
        debug_assert!(
            !self.begun || self.has_outstanding_replies(),
            "half a reply is to something"
        );
        debug_assert!(self.begun || self.begun_bytes == 0, "bytes of no reply are counted");
        let mut behind = self.line.iter().skip(1);
        debug_assert!(behind.all(|entry| !entry.skips.have_begun()), "two are answered at once");
        self.check_counts();
    }
}

#[cfg(test)]
mod tests;

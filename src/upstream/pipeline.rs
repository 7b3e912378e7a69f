//! The requests of many sessions on one connection, and which reply belongs to whom.
//!
//! Owns: [`Pipeline`]: the bytes to write, the line of those who wait, the framing of replies. Never
//! knows: sockets, clocks, what a request asks.

mod delivery;
mod secret;
mod unanswered;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use crate::base::limits;
use crate::resp::{Protocol, ReplyScanner};
use crate::traffic::{Loss, Skips, Ticket};
use delivery::Reason;
pub(crate) use delivery::{Answered, Broken, Delivery, Note};
use secret::Secrets;

/// One request in line.
#[derive(Clone, Debug)]
struct Entry<W> {
    owner: W,
    ticket: Ticket,
    /// Its bytes in `Pipeline::bytes`.
    len: usize,
    /// Replies that belong to it but that its owner does not want.
    skips: Skips,
    /// May be executed twice without harm.
    retry: bool,
    attempts: u8,
    /// It completes the request before it, and is repeated only if that one's outcome is known.
    companion: bool,
    /// Its owner got a time-out; the late reply is dropped.
    abandoned: bool,
    /// The proxy's own: it is about this connection and ends with it.
    own: bool,
    /// Its bytes are wiped when it is answered.
    secret: bool,
    at: Instant,
}

/// First in, first out: the order of RESP.
#[derive(Debug)]
pub struct Pipeline<W> {
    /// Every request that is not fully answered, in line; kept until then so that it can be sent again.
    bytes: BytesMut,
    written: usize,
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
    reason: Reason,
}

impl<W> Pipeline<W> {
    /// For a connection that speaks this version of RESP and no other.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            bytes: BytesMut::new(),
            written: 0,
            line: VecDeque::new(),
            abandoned: 0,
            secrets: Secrets::default(),
            protocol,
            scanner: ReplyScanner::new(protocol),
            begun: false,
            begun_bytes: 0,
            reason: Reason::default(),
        }
    }

    /// Puts a request in line.
    pub fn push(
        &mut self,
        owner: W,
        ticket: Ticket,
        request: &[u8],
        skip: u32,
        retry: bool,
        at: Instant,
    ) {
        self.secrets.grow(&mut self.bytes, request.len());
        self.bytes.extend_from_slice(request);
        let len = request.len();
        self.line.push_back(Entry {
            owner,
            ticket,
            len,
            skips: Skips::new(skip),
            retry,
            attempts: 0,
            companion: false,
            abandoned: false,
            own: false,
            secret: false,
            at,
        });
    }

    /// Puts a request of the proxy's own in line.
    pub fn push_own(&mut self, owner: W, ticket: Ticket, request: &[u8], at: Instant) {
        self.push(owner, ticket, request, 0, false, at);
        debug_assert!(!self.line.is_empty(), "it is in line");
        if let Some(entry) = self.line.back_mut() {
            entry.own = true;
        }
    }

    /// The request put in line last completes the one before it.
    pub fn note_companion(&mut self) {
        if let Some(entry) = self.line.back_mut() {
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
        let old = std::mem::take(&mut self.bytes);
        let (before, behind) = old.split_at_checked(end).unwrap_or((&old, &[]));
        self.bytes.reserve(old.len() + request.len());
        self.bytes.extend_from_slice(before);
        self.push_own(owner, ticket, request, at);
        self.bytes.extend_from_slice(behind);
        self.secrets.wipe(old);
        if let Some(entry) = self.line.pop_back() {
            self.line.insert(index, entry);
        }
    }

    /// Puts a request of the proxy's own in line that holds a secret.
    pub fn push_secret(&mut self, owner: W, ticket: Ticket, request: &[u8], at: Instant) {
        self.secrets.note_pushed();
        self.push_own(owner, ticket, request, at);
        if let Some(entry) = self.line.back_mut() {
            entry.secret = true;
        }
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
        self.line.is_empty()
    }

    /// Requests in line whose owner waits no longer.
    #[must_use]
    pub const fn abandoned(&self) -> usize {
        self.abandoned
    }

    /// Bytes kept for requests in line.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What is to be written next.
    #[must_use]
    pub fn unwritten(&self) -> &[u8] {
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
    }

    /// Whose large reply has come in part.
    pub fn reader(&self) -> Option<&W> {
        let large = self.begun && self.begun_bytes >= limits::LARGE_REPLY_BYTES;
        self.line.front().filter(|entry| large && !entry.abandoned).map(|entry| &entry.owner)
    }

    /// Everybody in line.
    pub fn owners(&self) -> impl Iterator<Item = &W> {
        self.line.iter().map(|entry| &entry.owner)
    }

    /// Whether the server owes a reply.
    #[must_use]
    pub const fn owed(&self) -> bool {
        self.written > 0
    }

    /// The most that has been heard of one reply when so many more bytes have come, and when the oldest
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
            let advance = self.scanner.advance(bytes).map_err(Broken::Framing)?;
            let (piece, rest) = bytes.split_at_checked(advance.used).unwrap_or((bytes, &[]));
            bytes = rest;
            let kind = self.scanner.kind();
            if self.scanner.has_push() {
                return Err(Broken::Push);
            }
            let Some(entry) = self.line.front_mut().filter(|_| self.written > 0) else {
                return Err(Broken::UnexpectedReply);
            };
            if entry.skips.are_due() {
                entry.skips.take(kind, advance.done, !entry.companion);
                let told = entry.skips.are_refused() || entry.abandoned;
                if !told && self.reason.note(piece, kind, advance.done) {
                    deliver(Delivery {
                        owner: &entry.owner,
                        ticket: entry.ticket,
                        bytes: &self.reason.line,
                        kind,
                        done: false,
                        refused: entry.skips.are_refused(),
                        skipped: true,
                        block: true,
                        announced: 0,
                        again: false,
                        at: entry.at,
                    });
                }
                continue;
            }
            if self.written < entry.len {
                // An answer to half a request is none.
                return Err(Broken::UnexpectedReply);
            }
            let size = self.begun_bytes + piece.len();
            if let Some(note) = note.as_mut().filter(|_| advance.done) {
                let Entry { owner, ticket, at, .. } = &*entry;
                let request = self.bytes.get(..entry.len).unwrap_or_default();
                note(Answered { owner, ticket: *ticket, request, size, at: *at });
            }
            if !entry.abandoned {
                deliver(Delivery {
                    owner: &entry.owner,
                    ticket: entry.ticket,
                    bytes: piece,
                    kind,
                    done: advance.done,
                    refused: entry.skips.are_refused(),
                    skipped: false,
                    block: entry.skips.are_any(),
                    announced: self.scanner.announced().unwrap_or(0),
                    again: entry.attempts > 0,
                    at: entry.at,
                });
            }
            self.begun = !advance.done;
            self.begun_bytes = if advance.done { 0 } else { size };
            if advance.done {
                self.retire_front();
            }
        }
        self.check_invariants();
        Ok(())
    }

    fn retire_front(&mut self) {
        let Some(entry) = self.line.pop_front() else { return };
        debug_assert!(self.written >= entry.len, "a reply came before its request was written");
        self.abandoned -= usize::from(entry.abandoned);
        if entry.secret {
            self.secrets.wipe_front(&mut self.bytes, entry.len);
        }
        self.bytes.advance(entry.len.min(self.bytes.len()));
        self.written = self.written.saturating_sub(entry.len);
        self.reason.clear();
        if self.line.is_empty() && self.bytes.capacity() > limits::READ_BYTES {
            self.bytes = BytesMut::new();
        }
    }

    /// Takes out what another connection can carry instead, in its order: what is not written, and
    /// what may be executed twice, but for the oldest. An owner, as `id` tells one from the other, of
    /// whom anything else is written keeps all its places: its requests would overtake each other.
    pub fn move_over(&mut self, id: impl Fn(&W) -> Option<usize>) -> Self
    where
        W: Clone,
    {
        let bound = self.bound(&id);
        let old = std::mem::take(&mut self.bytes);
        let (mut moved, mut start) = (Self::new(self.protocol), 0);
        let (written, bytes, abandoned) = (self.written, &mut self.bytes, &mut self.abandoned);
        self.line.retain_mut(|entry| {
            let (sent, end) = (start < written, start + entry.len);
            let request = old.get(start..end).unwrap_or_default();
            start = end;
            let moves = !entry.abandoned
                && id(&entry.owner).is_some_and(|id| bound.binary_search(&id).is_err());
            if moves {
                let attempts = entry.attempts.saturating_add(u8::from(sent));
                moved.bytes.extend_from_slice(request);
                moved.line.push_back(Entry {
                    attempts,
                    skips: entry.skips.anew(),
                    ..entry.clone()
                });
                // The reply to what is written already goes nowhere.
                entry.abandoned = true;
                *abandoned += usize::from(sent);
            }
            if sent || !moves {
                bytes.extend_from_slice(request);
            }
            sent || !moves
        });
        self.secrets.wipe(old);
        self.check_invariants();
        moved.check_invariants();
        moved
    }

    /// Those of whom a request is written that must be answered here; in ascending order.
    fn bound(&self, id: &impl Fn(&W) -> Option<usize>) -> Vec<usize> {
        let (mut bound, mut end) = (Vec::new(), 0);
        for (index, entry) in self.line.iter().enumerate() {
            if end >= self.written {
                break;
            }
            end += entry.len;
            let whole = end <= self.written;
            let elsewhere = entry.retry && whole && index > 0;
            if !entry.abandoned && !elsewhere {
                bound.extend(id(&entry.owner));
            }
        }
        bound.sort_unstable();
        bound.dedup();
        bound
    }

    /// The connection is gone. What was not written, or may be executed twice, stays in line for the
    /// next connection; everything else is reported lost, with what was asked, except what is the proxy's
    /// own. Returns how many of these were sent as often as they may be.
    pub fn handle_loss(
        &mut self,
        mut may_repeat: impl FnMut(u8) -> bool,
        mut report: impl FnMut(&W, Ticket, Loss, &[u8]),
    ) -> usize {
        let old = std::mem::take(&mut self.bytes);
        let line = std::mem::take(&mut self.line);
        let (written, begun) = (self.written, self.begun);
        let mut start = 0;
        let mut exhausted = 0;
        // Whether the outcome of the request before is unknown.
        let mut doubtful = false;
        for (index, mut entry) in line.into_iter().enumerate() {
            let end = start + entry.len;
            let request = old.get(start..end).unwrap_or_default();
            let sent = end <= written;
            let started = begun && index == 0;
            let repeatable = entry.retry && !(entry.companion && doubtful);
            doubtful = true;
            if !entry.abandoned && !entry.own {
                if started {
                    report(&entry.owner, entry.ticket, Loss::Truncated, request);
                } else if !sent || repeatable && may_repeat(entry.attempts) {
                    doubtful = false;
                    entry.attempts += u8::from(sent);
                    entry.skips = entry.skips.anew();
                    self.bytes.extend_from_slice(request);
                    self.line.push_back(entry);
                } else {
                    exhausted += usize::from(entry.attempts > 0);
                    report(&entry.owner, entry.ticket, Loss::OutcomeUnknown, request);
                }
            }
            start = end;
        }
        self.secrets.wipe(old);
        self.secrets.clear();
        self.written = 0;
        self.abandoned = 0;
        self.begun = false;
        self.begun_bytes = 0;
        self.reason.clear();
        self.scanner = ReplyScanner::new(self.protocol);
        self.check_invariants();
        exhausted
    }

    /// A connection is there again, on which nothing is written yet. Requests whose owner is gone are
    /// forgotten; the others wait for their replies from now on. `waited` gets each one's wait, and what
    /// was asked.
    pub fn restart(
        &mut self,
        now: Instant,
        is_gone: impl Fn(&W) -> bool,
        mut waited: impl FnMut(&W, Ticket, Duration, &[u8]),
    ) {
        debug_assert_eq!(self.written, 0, "only on a new connection");
        let gone = self.line.iter().any(|entry| is_gone(&entry.owner));
        let old = if gone { std::mem::take(&mut self.bytes) } else { BytesMut::new() };
        let (mut start, bytes, abandoned) = (0, &mut self.bytes, &mut self.abandoned);
        self.line.retain_mut(|entry| {
            let end = start + entry.len;
            let keep = !is_gone(&entry.owner);
            *abandoned -= usize::from(entry.abandoned && !keep);
            if keep {
                let time = now.saturating_duration_since(entry.at);
                let from: &[u8] = if gone { &old } else { bytes };
                let request = from.get(start..end).unwrap_or_default();
                waited(&entry.owner, entry.ticket, time, request);
                entry.at = now;
            }
            if keep && gone {
                bytes.extend_from_slice(old.get(start..end).unwrap_or_default());
            }
            start = end;
            keep
        });
        self.secrets.wipe(old);
    }

    /// What holds whenever a method returns; of long lines it is not looked at.
    fn check_invariants(&self) {
        if !cfg!(debug_assertions) || self.line.len() > 64 {
            return;
        }
        let count = |is: fn(&Entry<W>) -> bool| self.line.iter().filter(|entry| is(entry)).count();
        let bytes: usize = self.line.iter().map(|entry| entry.len).sum();
        debug_assert_eq!(bytes, self.bytes.len(), "each byte is a request's");
        debug_assert!(self.written <= bytes, "only what is in line is written");
        debug_assert_eq!(count(|entry| entry.abandoned), self.abandoned);
        debug_assert_eq!(count(|entry| entry.secret), self.secrets.count());
        debug_assert!(
            self.line.iter().all(|entry| entry.own || !entry.secret),
            "a secret is its own"
        );
        debug_assert!(!self.begun || self.owed(), "half a reply is to something");
        debug_assert!(self.begun || self.begun_bytes == 0);
        debug_assert!(self.line.iter().skip(1).all(|entry| !entry.skips.have_begun()));
    }
}

#[cfg(test)]
mod tests;

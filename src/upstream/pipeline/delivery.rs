//! What a pipeline hands out.
//!
//! Owns: [`Frame`], [`Delivery`], [`Refusal`], [`SkippedRefusals`], [`Answered`], [`Broken`], [`FirstError`], and what
//! a delivery shows besides.
//! Never knows: the line, sockets.

use std::time::Instant;

use super::deferred::passes;
use super::entry::Entry;
use crate::base::limits;
use crate::resp::ReplyError;
use crate::traffic::Ticket;
use crate::upstream::not_primary::{Sign, sign, sign_within};

/// A piece of a frame at the front of what the server has sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub used: usize,
    /// The frame's first byte.
    pub kind: u8,
    /// The frame ends with this piece.
    pub done: bool,
}

/// A reply, or a piece of one, and whose it is.
#[derive(Debug)]
pub struct Delivery<'a, W> {
    pub owner: &'a W,
    pub ticket: Ticket,
    pub bytes: &'a [u8],
    /// The reply's first byte.
    pub kind: u8,
    /// The beginning of a reply that is an error, with the piece that completes its code.
    pub error: Option<&'a [u8]>,
    pub done: bool,
    /// The MULTI before it was refused.
    pub refused: bool,
    /// Not the reply itself: the first error among the replies before it, cut to
    /// [`limits::QUEUED_ERROR_BYTES_MAX`].
    pub skipped: bool,
    /// The reply is that to EXEC, or to what was queued for it.
    pub block: bool,
    /// The length that the reply's own header announces, when it is a single string.
    pub announced: u64,
    /// The request was sent more than once.
    pub again: bool,
    pub at: Instant,
}

impl<W> Delivery<'_, W> {
    /// What the reply shows of the server.
    #[inline(always)]
    pub(in crate::upstream) fn sign(&self) -> Option<Sign> {
        debug_assert!(
            !self.skipped || self.kind == b'-',
            "what is handed out of those is an error"
        );
        match self.kind {
            b'-' => self.error.and_then(sign),
            b'*' if self.block => sign_within(self.bytes),
            _ => None,
        }
    }

    /// How the request is refused, with the piece that completes the error's code.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.error.filter(|_| !self.skipped).map(Refusal::of)
    }

    /// Whether a reply that is so long would hold up others.
    pub(in crate::upstream) const fn is_large(&self, large_bytes: u64) -> bool {
        debug_assert!(!self.skipped, "a reply that is skipped goes to nothing");
        self.announced >= large_bytes || self.bytes.len() as u64 >= large_bytes
    }
}

/// Takes a piece of a reply that `entry` skips. The first error of a transaction's is handed out once it is whole.
#[cold]
pub(super) fn skip<W>(
    entry: &mut Entry<W>,
    first_error: &mut FirstError,
    (piece, kind, done): (&[u8], u8, bool),
    deliver: &mut dyn FnMut(Delivery<'_, W>),
) {
    entry.skips.take(kind, done);
    if kind == b'-' && !entry.skips.transacts() {
        first_error.note_skipped(piece, done);
    }
    let wanted = entry.skips.transacts() && !entry.skips.are_refused() && !entry.abandoned;
    if wanted && first_error.note(piece, kind, done) {
        deliver(Delivery {
            owner: &entry.owner,
            ticket: entry.ticket,
            bytes: first_error.line(),
            kind,
            error: Some(first_error.line()),
            done: false,
            refused: false,
            skipped: true,
            block: true,
            announced: 0,
            again: false,
            at: entry.at,
        });
    }
}

/// How a server refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// For its own state, which passes: the request was not executed.
    ForNow,
    /// For the request itself, of which a part may have been executed.
    ForGood,
}

impl Refusal {
    /// By this error.
    fn of(error: &[u8]) -> Self {
        if passes(error) { Self::ForNow } else { Self::ForGood }
    }
}

/// How the server has refused some of the requests whose replies one entry of the line skips.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SkippedRefusals {
    for_now: bool,
    for_good: bool,
}

impl SkippedRefusals {
    pub(super) const fn are_none(self) -> bool {
        !self.for_now && !self.for_good
    }

    const fn note(&mut self, refusal: Refusal) {
        self.for_now |= matches!(refusal, Refusal::ForNow);
        self.for_good |= matches!(refusal, Refusal::ForGood);
    }

    /// Together with how the last one is refused, if it is.
    pub(super) const fn and(mut self, last: Option<Refusal>) -> Self {
        if let Some(last) = last {
            self.note(last);
        }
        self
    }

    /// Whether one of them is refused so.
    pub(super) const fn include(self, refusal: Refusal) -> bool {
        match refusal {
            Refusal::ForNow => self.for_now,
            Refusal::ForGood => self.for_good,
        }
    }
}

/// A request whose reply is whole, for callers that need more than the reply.
#[derive(Debug)]
pub struct Answered<'a, W> {
    pub owner: &'a W,
    pub ticket: Ticket,
    /// What was asked, as it was sent.
    pub request: &'a [u8],
    /// Bytes of the reply.
    pub size: usize,
    pub at: Instant,
}

/// Gets every request whose reply is whole.
pub(crate) type Note<'n, W> = &'n mut dyn FnMut(Answered<'_, W>);

/// Why a connection cannot be trusted any more. It is closed, never repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A reply without a request.
    UnexpectedReply,
    /// A push on a connection that many share, by itself or within a reply.
    Push,
    /// Not RESP.
    Framing(ReplyError),
}

/// The first error among the replies that a transaction skips, cut to [`limits::QUEUED_ERROR_BYTES_MAX`]; behind these,
/// the beginning of an error that comes in pieces. What else skips replies are requests that complete another one:
/// each of those replies is judged.
#[derive(Debug, Default)]
pub(super) struct FirstError {
    line: Vec<u8>,
    whole: bool,
    skipped: SkippedRefusals,
}

impl FirstError {
    /// Takes a piece of a skipped reply; returns whether the line is whole now, and the first.
    pub(super) fn note(&mut self, piece: &[u8], kind: u8, done: bool) -> bool {
        if self.whole || kind != b'-' {
            return false;
        }
        debug_assert!(!piece.is_empty(), "nothing is no part of a reply");
        let room = limits::QUEUED_ERROR_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        debug_assert!(self.line.starts_with(b"-"), "it is an error from its first piece on");
        debug_assert!(self.line.len() <= limits::QUEUED_ERROR_BYTES_MAX, "an error is not cut");
        self.whole = done;
        done
    }

    /// Takes a piece of a skipped reply that is an error, of a request that completes another one.
    #[cold]
    pub(super) fn note_skipped(&mut self, piece: &[u8], done: bool) {
        debug_assert!(!self.whole && !piece.is_empty(), "two errors at once");
        let room = limits::ERROR_CODE_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        debug_assert!(self.line.starts_with(b"-"), "it is an error from its first piece on");
        debug_assert!(self.line.len() <= limits::ERROR_CODE_BYTES_MAX, "an error is not cut");
        if done {
            self.skipped.note(Refusal::of(&self.line));
            self.clear();
        }
    }

    /// How the skipped replies refuse their requests, once the last reply has come.
    pub(super) fn take_skipped(&mut self) -> SkippedRefusals {
        std::mem::take(&mut self.skipped)
    }

    /// Takes a piece of the reply that counts; returns the beginning of one that is an error when its code is whole.
    #[inline(always)]
    pub(super) fn code<'a>(
        &'a mut self,
        piece: &'a [u8],
        kind: u8,
        (first, done): (bool, bool),
    ) -> Option<&'a [u8]> {
        match (kind, first && done) {
            (b'-', true) => Some(piece),
            (b'-', false) => self.code_in_pieces(piece, first, done),
            _ => None,
        }
    }

    #[cold]
    fn code_in_pieces(&mut self, piece: &[u8], first: bool, done: bool) -> Option<&[u8]> {
        if first {
            self.clear();
        }
        if self.whole {
            return None;
        }
        let room = limits::ERROR_CODE_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        debug_assert!(self.line.starts_with(b"-"), "it is an error from its first piece on");
        let full = self.line.len() >= limits::ERROR_CODE_BYTES_MAX;
        self.whole = done || full || self.line.contains(&b' ');
        self.whole.then_some(&self.line)
    }

    /// How the error refuses its request whose last piece this is.
    #[cold]
    pub(super) fn refusal(&self, piece: &[u8], first: bool) -> Refusal {
        debug_assert!(first || self.whole, "an error ends and its code is not whole");
        let line = if first { piece } else { &self.line };
        Refusal::of(line)
    }

    pub(super) fn line(&self) -> &[u8] {
        debug_assert!(self.whole, "half an error is handed out");
        &self.line
    }

    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.whole = false;
    }
}

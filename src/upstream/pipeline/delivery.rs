//! What a pipeline hands out.
//!
//! Owns: [`Delivery`], [`Answered`], [`Broken`], [`Reason`]. Never knows: the line, sockets.

use std::time::Instant;

use crate::base::limits;
use crate::resp::ReplyError;
use crate::traffic::Ticket;

/// A reply, or a piece of one, and whose it is.
#[derive(Debug)]
pub struct Delivery<'a, W> {
    pub owner: &'a W,
    pub ticket: Ticket,
    pub bytes: &'a [u8],
    /// The reply's first byte.
    pub kind: u8,
    pub done: bool,
    /// The MULTI before it was refused.
    pub refused: bool,
    /// Not the reply itself: the first error among the replies before it, cut to
    /// [`limits::QUEUED_ERROR_BYTES_MAX`].
    pub skipped: bool,
    /// It is the answer to EXEC, or to whatever else skips replies.
    pub block: bool,
    /// The length that the reply's own header announces, when it is a single string.
    pub announced: u64,
    /// It was sent more than once.
    pub again: bool,
    pub at: Instant,
}

/// A request whose reply is whole, for those who want to know more than the reply.
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

#[derive(Debug, Default)]
pub(super) struct Reason {
    pub(super) line: Vec<u8>,
    told: bool,
}

impl Reason {
    /// Takes a piece of a skipped reply; returns whether the line is whole now, and the first.
    pub(super) fn note(&mut self, piece: &[u8], kind: u8, done: bool) -> bool {
        if self.told || kind != b'-' {
            return false;
        }
        let room = limits::QUEUED_ERROR_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        self.told = done;
        done
    }

    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.told = false;
    }
}

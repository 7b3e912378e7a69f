//! The client's bytes that are not consumed, and the request they are a part of.
//!
//! Owns: [`Inbound`], [`Body`], [`Rooms`]: which phase the request at the front is in. Never knows: its meaning, what
//! sends it.

use bytes::{Buf, BytesMut};

use super::sending::Rest;
use crate::resp::{ProtocolError, Request, RequestLimits, RequestScanner};

/// What becomes of the rest of a large request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// No such request is under way.
    No,
    /// The rest goes on to the pinned connection.
    Forward,
    /// The rest is read and discarded.
    Discard,
}

/// A request at the front of the client's bytes that is to be judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Presented {
    /// Its length.
    pub used: usize,
    /// The request is only a head: its body follows.
    pub head: bool,
}

/// What its buffers have room for, and how much of the input's is used.
#[derive(Clone, Copy, Debug)]
pub struct Rooms {
    pub pending: usize,
    pub pending_capacity: usize,
    pub output_capacity: usize,
}

#[derive(Debug)]
pub(super) struct Inbound {
    pub scanner: RequestScanner,
    /// Bytes that are not consumed yet; empty while the client is idle.
    pub pending: BytesMut,
    pub presented: Option<Presented>,
    pub body: Body,
    /// What follows the last byte of the body.
    pub rest: Option<Box<Rest>>,
    /// The longest further argument that the request under way may have, besides the configured limits;
    /// [`u64::MAX`]: the limits alone apply.
    pub argument_max: u64,
    /// A malformed request came while replies were off: nothing more is understood.
    pub is_ignored: bool,
    /// What was consumed last held a password.
    pub has_password: bool,
    /// The client has closed its side.
    pub eof: bool,
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self {
            scanner: RequestScanner::default(),
            pending: BytesMut::new(),
            presented: None,
            body: Body::No,
            rest: None,
            argument_max: u64::MAX,
            is_ignored: false,
            has_password: false,
            eof: false,
        }
    }

    pub(super) fn request<'a>(&'a self, bytes: &'a [u8]) -> Request<'a> {
        self.scanner.request(bytes)
    }

    /// Whether the next byte begins a request.
    pub(super) fn is_idle(&self) -> bool {
        self.scanner.is_idle() && self.body == Body::No
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.pending.capacity() + self.scanner.held_bytes()
    }

    /// The request at the front is dealt with: of a head the body follows, and is thrown away unless it is
    /// to go on.
    #[inline(always)]
    pub(super) fn finish(&mut self, head: bool) {
        debug_assert!(self.presented.is_none(), "it is to be judged again");
        if head {
            self.scanner.pass();
            if self.body == Body::No {
                self.body = Body::Discard;
            }
        } else {
            self.scanner.reset();
        }
        self.check_invariants();
    }

    /// The rest of a large request; `emit` gets it. Returns how much of `bytes` belongs to it.
    pub(super) fn pass(
        &mut self,
        bytes: &[u8],
        limits: &RequestLimits,
        emit: impl FnMut(&[u8]),
    ) -> Result<crate::resp::Body, ProtocolError> {
        debug_assert!(self.body != Body::No && self.presented.is_none(), "no body is under way");
        let body = self.scanner.body(bytes, limits, emit)?;
        debug_assert!(body.used <= bytes.len(), "more belongs to a body than there is");
        Ok(body)
    }

    /// The body has ended. Returns what follows it.
    pub(super) fn end_body(&mut self) -> Option<Box<Rest>> {
        debug_assert!(self.body != Body::No, "no body is under way");
        self.argument_max = u64::MAX;
        self.body = Body::No;
        self.scanner.reset();
        let rest = self.rest.take();
        self.check_invariants();
        rest
    }

    /// The rest of a body that went on goes nowhere.
    pub(super) fn stop_forwarding(&mut self) {
        if self.body == Body::Forward {
            self.body = Body::Discard;
            self.rest = None;
        }
        self.check_invariants();
    }

    /// Keeps what is left of a piece of memory when `used` bytes of it are consumed.
    pub(super) fn keep(&mut self, mut kept: BytesMut, used: usize) {
        debug_assert!(self.pending.is_empty(), "bytes are kept before others");
        debug_assert!(used <= kept.len(), "more is consumed than there is");
        if used < kept.len() {
            kept.advance(used);
            self.pending = kept;
        }
        self.check_invariants();
    }

    /// Consumes what is in front of the next request.
    pub(super) fn skip(&mut self, used: usize) {
        debug_assert!(used <= self.pending.len(), "more is skipped than is kept");
        self.pending.advance(used.min(self.pending.len()));
    }

    /// What holds between two calls.
    pub(super) fn check_invariants(&self) {
        let forwards = self.body == Body::Forward;
        debug_assert!(forwards || self.rest.is_none(), "something follows on no body");
        debug_assert!(!self.is_ignored || self.pending.is_empty(), "bytes are kept of nothing");
        debug_assert!(!self.is_ignored || self.presented.is_none(), "a request is judged");
        debug_assert!(!self.is_ignored || self.scanner.is_idle(), "half of nothing is kept");
        let empty = |it: &Presented| it.used == 0;
        debug_assert!(!self.presented.as_ref().is_some_and(empty), "an empty request waits");
        let bounded = self.presented.is_some() || self.is_ignored || !self.is_idle();
        debug_assert!(bounded || self.argument_max == u64::MAX, "a bound on no request");
    }

    /// Nothing more is read as requests.
    pub(super) fn close(&mut self) {
        self.pending = BytesMut::new();
        self.presented = None;
        self.body = Body::Discard;
        self.rest = None;
        self.check_invariants();
    }

    /// Nothing more is read as requests, and the client stays.
    pub(super) fn ignore(&mut self) {
        debug_assert!(!self.is_ignored, "what is ignored is malformed");
        self.close();
        self.is_ignored = true;
        self.body = Body::No;
        self.scanner.reset();
        self.check_invariants();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_that_is_under_way_at_the_end_is_not_completed() {
        let mut inbound = Inbound::new();
        (inbound.body, inbound.rest) = (Body::Forward, Some(Box::new(Rest::of(b"EXPIRE"))));
        inbound.pending.extend_from_slice(b"half a value");
        inbound.close();
        assert!(inbound.rest.is_none() && inbound.pending.is_empty());
        assert_eq!(inbound.body, Body::Discard);
    }
}

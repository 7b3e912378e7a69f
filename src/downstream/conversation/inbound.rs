//! The client's bytes that are not consumed, and the request they are a part of.
//!
//! Owns: [`Inbound`], [`Body`], [`Rooms`]: which phase the request at the front is in. Never knows: its meaning, what
//! sends it.

use bytes::{Buf, BytesMut};

use super::host::PendingStep;
use super::sending::Rest;
use crate::base::lazy_box::{Initial, LazyBox};
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
    pub body: Body,
    front: LazyBox<Front>,
    /// A malformed request came while replies were off: nothing more is understood.
    pub is_ignored: bool,
    /// What was consumed last held a password.
    pub has_password: bool,
    /// The client has closed its side.
    pub eof: bool,
}

/// What is known of the request at the front when it cannot be dealt with at once. Most clients never send such a
/// request.
#[derive(Debug)]
struct Front {
    presented: Option<Presented>,
    waiting: PendingStep,
    /// What follows the last byte of the body.
    rest: Option<Box<Rest>>,
    /// The longest further argument that the request under way may have, besides the configured limits;
    /// [`u64::MAX`]: the limits alone apply.
    argument_max: u64,
}

impl Front {
    const NONE: Self =
        Self { presented: None, waiting: PendingStep::No, rest: None, argument_max: u64::MAX };
}

impl Initial for Front {
    const INITIAL: &'static Self = &Self::NONE;
}

impl Default for Front {
    fn default() -> Self {
        Self::NONE
    }
}

/// The request at the front.
impl Inbound {
    /// The request that is to be judged again.
    #[inline(always)]
    pub(super) fn presented(&self) -> Option<Presented> {
        self.front.allocated().and_then(|front| front.presented)
    }

    #[cold]
    pub(super) fn keep_presented(&mut self, presented: Presented) {
        debug_assert!(presented.used > 0, "an empty request waits");
        debug_assert!(!self.is_ignored, "a request is judged behind what is malformed");
        let is_same = |before: Presented| before.used == presented.used;
        debug_assert!(self.presented().is_none_or(is_same), "another request is judged again");
        self.front.presented = Some(presented);
    }

    #[inline(always)]
    pub(super) fn take_presented(&mut self) -> Option<Presented> {
        let presented = self.front.allocated_mut().and_then(|front| front.presented.take());
        debug_assert!(self.presented().is_none(), "it is to be judged again");
        presented
    }

    /// What the request waits for.
    #[inline(always)]
    pub(super) fn waiting(&self) -> PendingStep {
        let waiting = self.front.allocated().map_or(PendingStep::No, |front| front.waiting);
        debug_assert_eq!(self.is_waiting(), waiting != PendingStep::No, "it waits for nothing");
        waiting
    }

    #[inline(always)]
    pub(super) fn is_waiting(&self) -> bool {
        self.front.allocated().is_some_and(|front| !matches!(front.waiting, PendingStep::No))
    }

    #[cold]
    pub(super) fn wait_for(&mut self, step: PendingStep) {
        debug_assert!(step != PendingStep::No, "it waits for nothing");
        debug_assert!(!self.is_waiting(), "it waits for two things");
        self.front.waiting = step;
    }

    #[inline(always)]
    pub(super) fn end_wait(&mut self) {
        if let Some(front) = self.front.allocated_mut() {
            front.waiting = PendingStep::No;
        }
        debug_assert!(!self.is_waiting(), "it waits for what is over");
    }

    /// What follows the last byte of the body.
    pub(super) fn rest(&self) -> Option<&Rest> {
        self.front.rest.as_deref()
    }

    /// Sets what follows the last byte of the body that begins.
    pub(super) fn set_rest(&mut self, rest: Option<Rest>) {
        debug_assert!(self.rest().is_none(), "what completes another request is lost");
        let follows = rest.is_some();
        if let Some(rest) = rest {
            self.front.rest = Some(Box::new(rest));
        }
        debug_assert_eq!(self.rest().is_some(), follows, "what follows is lost");
    }

    fn take_rest(&mut self) -> Option<Box<Rest>> {
        let rest = self.front.allocated_mut().and_then(|front| front.rest.take());
        debug_assert!(self.rest().is_none(), "it would follow twice");
        rest
    }

    /// The longest further argument that the request under way may have; [`u64::MAX`]: the limits alone apply.
    #[inline(always)]
    pub(super) fn argument_max(&self) -> u64 {
        self.front.allocated().map_or(u64::MAX, |front| front.argument_max)
    }

    /// `None`: the limits alone apply.
    #[inline(always)]
    pub(super) fn set_argument_max(&mut self, most: Option<u64>) {
        if let Some(most) = most {
            self.front.argument_max = most;
        } else if let Some(front) = self.front.allocated_mut() {
            front.argument_max = u64::MAX;
        }
        debug_assert_eq!(self.argument_max(), most.unwrap_or(u64::MAX), "another bound holds");
    }
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self {
            scanner: RequestScanner::default(),
            pending: BytesMut::new(),
            body: Body::No,
            front: LazyBox::default(),
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
        debug_assert!(self.presented().is_none(), "it is to be judged again");
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
        debug_assert!(self.body != Body::No && self.presented().is_none(), "no body is under way");
        let body = self.scanner.body(bytes, limits, emit)?;
        debug_assert!(body.used <= bytes.len(), "more belongs to a body than there is");
        Ok(body)
    }

    /// The body has ended. Returns what follows it.
    pub(super) fn end_body(&mut self) -> Option<Box<Rest>> {
        debug_assert!(self.body != Body::No, "no body is under way");
        self.set_argument_max(None);
        self.body = Body::No;
        self.scanner.reset();
        let rest = self.take_rest();
        debug_assert!(self.argument_max() == u64::MAX, "a bound outlives its request");
        self.check_invariants();
        rest
    }

    /// The rest of a body that went on goes nowhere.
    pub(super) fn stop_forwarding(&mut self) {
        if self.body == Body::Forward {
            self.body = Body::Discard;
            self.take_rest();
        }
        debug_assert!(self.body != Body::Forward, "a body goes on");
        debug_assert!(self.rest().is_none(), "something follows on no body");
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
        debug_assert!(forwards || self.rest().is_none(), "something follows on no body");
        debug_assert!(!self.is_ignored || self.pending.is_empty(), "bytes are kept of nothing");
        debug_assert!(!self.is_ignored || self.presented().is_none(), "a request is judged");
        debug_assert!(!self.is_ignored || self.scanner.is_idle(), "half of nothing is kept");
        let empty = |it: &Presented| it.used == 0;
        debug_assert!(!self.presented().as_ref().is_some_and(empty), "an empty request waits");
        let bounded = self.presented().is_some() || self.is_ignored || !self.is_idle();
        debug_assert!(bounded || self.argument_max() == u64::MAX, "a bound on no request");
    }

    /// Nothing more is read as requests.
    pub(super) fn close(&mut self) {
        self.pending = BytesMut::new();
        self.take_presented();
        self.body = Body::Discard;
        self.take_rest();
        debug_assert!(self.presented().is_none(), "a request is judged after the end");
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
        inbound.body = Body::Forward;
        inbound.set_rest(Some(Rest::of(b"EXPIRE")));
        inbound.pending.extend_from_slice(b"half a value");
        inbound.close();
        assert!(inbound.rest().is_none() && inbound.pending.is_empty());
        assert_eq!(inbound.body, Body::Discard);
    }
}

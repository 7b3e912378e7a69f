//! The replies that a client waits for: which connection brings them, how much of the oldest has come, and how many
//! may be waited for at once.
//!
//! Owns: [`Replies`]. Never knows: what a reply means, connections.

use std::time::Instant;

use bytes::BytesMut;

use super::block_end::BlockEnd;
use super::completed::Completed;
use super::expect::Expect;
use super::queue::{Class, ReplyQueue};
use super::remote::Remote;
use super::step::Route;
use crate::base::lazy_box::LazyBox;
use crate::base::limits;
use crate::command::Blocking;
use crate::config::ClientLimits;
use crate::policy::Stripper;
use crate::traffic::PoolKey;

#[derive(Debug)]
pub(super) struct Replies {
    pub queue: ReplyQueue,
    /// Where everything in flight travels.
    route: Route,
    extras: LazyBox<Extras>,
    /// Something has come in part from the pinned connection: whether it is a reply.
    framing: Option<bool>,
    /// Some of the oldest reply has gone to the client, not all.
    begun: bool,
    /// Requests that may be in flight at once; grows with every reply, as it is unknown
    /// beforehand how large they are.
    window: usize,
    /// Bytes of the reply in progress, and of a large one among the last.
    bytes: usize,
    usual_bytes: usize,
}

/// What the replies of few clients need.
#[derive(Debug, Default)]
struct Extras {
    /// Of what blocks on the pinned connection.
    block: BlockEnd,
    /// A reply that is wanted whole, as far as it has come.
    partial: BytesMut,
    /// Takes a prefix off the reply in progress.
    stripper: Option<Box<Stripper>>,
}

impl Extras {
    fn held_bytes(&self) -> usize {
        self.partial.capacity() + self.stripper.as_ref().map_or(0, |stripper| stripper.held_bytes())
    }
}

impl Replies {
    pub(super) fn new(key: PoolKey) -> Self {
        Self {
            queue: ReplyQueue::default(),
            route: Route::Shared(key),
            extras: LazyBox::default(),
            framing: None,
            begun: false,
            window: limits::WINDOW_START,
            bytes: 0,
            usual_bytes: 0,
        }
    }

    /// Requests in flight.
    #[inline(always)]
    pub(super) const fn in_flight(&self) -> usize {
        self.queue.in_flight()
    }

    /// Whether [`Self::held_bytes`] may be more than 0.
    #[inline(always)]
    pub(super) fn keep_bytes(&self) -> bool {
        self.extras.allocated().is_some()
            || self.queue.held_bytes() > 0
            || self.queue.executed_bytes() > 0
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.extras.allocated().map_or(0, Extras::held_bytes)
            + self.queue.held_bytes()
            + self.queue.executed_bytes()
    }

    /// The route of the requests in flight, or of the last one.
    pub(super) const fn route(&self) -> Route {
        self.route
    }

    /// Whether the last request went to the pinned connection.
    pub(super) fn is_pinned(&self) -> bool {
        self.route == Route::Pinned
    }

    /// Whether requests are in flight on the pinned connection.
    pub(super) fn waits_for_pinned(&self) -> bool {
        self.in_flight() > 0 && self.is_pinned()
    }

    /// Whether a request may go on `route` now: everything in flight must travel there too, or replies (and
    /// effects) could overtake each other, and there are no more than the client may have unread, if the next
    /// replies are as large as the last.
    #[inline(always)]
    pub(super) fn have_room(&self, route: Route, limits: &ClientLimits) -> bool {
        let in_flight = self.in_flight();
        if in_flight == 0 {
            return limits.max_in_flight.min(self.window) > 0;
        }
        let unread = (in_flight + 1).saturating_mul(self.usual_bytes);
        // A shared connection is read although the client reads nothing.
        let most = match route {
            Route::Shared(_) | Route::Stalled(_) => {
                limits.output_soft_bytes.min(limits::REPLIES_IN_FLIGHT_BYTES_MAX)
            }
            Route::Pinned => limits.output_soft_bytes,
        };
        self.route == route && in_flight < limits.max_in_flight.min(self.window) && unread <= most
    }

    /// A request goes on `route`.
    #[inline(always)]
    pub(super) fn take_route(&mut self, route: Route) {
        debug_assert!(self.in_flight() == 0 || self.route == route, "replies could overtake");
        self.route = route;
        debug_assert!(self.in_flight() > 0 || !self.begun, "a reply has begun to nothing");
    }

    /// The request that was put in line last blocks for so long; `first`: nothing was before it.
    pub(super) fn note_block(&mut self, time: Blocking, first: bool, now: Instant) {
        debug_assert!(self.is_pinned(), "others would wait");
        debug_assert!(self.in_flight() > 0, "nothing blocks");
        let extras = self.extras.allocate();
        extras.block = extras.block.behind(time, first, now);
    }

    /// Since when the oldest request on the pinned connection waits for its reply; one that blocks does
    /// not before the time is over that it waits for, which may be in the future. `None` when it may for ever.
    pub(super) fn pinned_since(&self) -> Option<Instant> {
        let front = self.queue.peek().filter(|_| self.is_pinned())?;
        let block = self.extras.allocated().map_or(BlockEnd::Never, |extras| extras.block);
        match (front.class, block) {
            (Class::Blocking, BlockEnd::At(end)) => Some(end),
            (Class::Blocking, BlockEnd::Never) => None,
            _ => Some(front.at),
        }
    }

    /// Whether some of the oldest reply has gone to the client, not all.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether some of a reply is kept until it is whole.
    pub(super) fn is_collecting(&self) -> bool {
        self.extras.allocated().is_some_and(|extras| !extras.partial.is_empty())
    }

    /// Whether what has come in part from the pinned connection is a reply; `None`: nothing has.
    pub(super) const fn framing(&self) -> Option<bool> {
        self.framing
    }

    /// Nothing more comes from the pinned connection.
    pub(super) const fn end_framing(&mut self) {
        self.framing = None;
    }

    /// A piece of something has come from the pinned connection, the last one if it is `done`.
    pub(super) fn note_framing(&mut self, is_reply: bool, done: bool) {
        debug_assert!(self.framing.is_none_or(|before| before == is_reply), "it is either");
        debug_assert!(!is_reply || self.in_flight() > 0, "a reply to nothing");
        self.framing = (!done).then_some(is_reply);
        self.check_counts();
    }

    /// Keeps a piece of a reply that is wanted whole; returns all of it when it is.
    pub(super) fn collect(&mut self, chunk: &[u8], done: bool) -> Option<BytesMut> {
        debug_assert!(!self.begun, "some of it has gone to the client");
        debug_assert!(!chunk.is_empty() || done, "a piece of nothing");
        let partial = &mut self.extras.allocate().partial;
        partial.extend_from_slice(chunk);
        let whole = done.then(|| std::mem::take(partial));
        self.check_counts();
        whole
    }

    /// What has been collected, although it is not whole.
    pub(super) fn take_partial(&mut self) -> BytesMut {
        self.check_counts();
        self.extras
            .allocated_mut()
            .map(|extras| std::mem::take(&mut extras.partial))
            .unwrap_or_default()
    }

    /// Half a message, of a connection that is not read any more.
    pub(super) fn drop_partial(&mut self) {
        debug_assert!(self.framing.is_none(), "more of it comes");
        self.extras.allocated_mut().into_iter().for_each(|extras| extras.partial.clear());
    }

    /// The rest of the oldest reply will not come.
    pub(super) fn cut_reply(&mut self) {
        debug_assert!(!self.begun || !self.is_collecting(), "two replies at once");
        self.extras.allocated_mut().into_iter().for_each(|extras| extras.partial.clear());
        self.begun = false;
        self.check_counts();
    }

    /// A piece of the oldest reply goes to the client as it came, but for a prefix.
    #[inline(always)]
    pub(super) fn pass_on(&mut self, chunk: &[u8], kind: u8, out: &mut BytesMut) {
        debug_assert!(self.in_flight() > 0, "a reply to nothing");
        debug_assert!(!self.is_collecting(), "two replies at once");
        let silent = self.queue.front_silent();
        match self.queue.front().map(|front| &front.expect) {
            _ if silent => {}
            Some(Expect::Names(strip)) if strip.concerns(kind) => {
                let stripper = self.extras.allocate().stripper.get_or_insert_default();
                if !self.begun {
                    stripper.reset();
                }
                stripper.feed(strip, chunk, out);
            }
            _ => out.extend_from_slice(chunk),
        }
    }

    /// A piece of the oldest reply has gone to the client.
    #[inline(always)]
    pub(super) fn note_passed(&mut self, bytes: usize, done: bool) {
        debug_assert!(self.in_flight() > 0, "a reply to nothing");
        // What came of a reply that was lost, or that is asked for again, is not counted.
        self.bytes = if self.begun { self.bytes + bytes } else { bytes };
        self.begun = !done;
        self.check_counts();
    }

    /// The oldest reply is here as a whole.
    pub(super) const fn note_frame(&mut self, bytes: usize) {
        debug_assert!(!self.begun && bytes > 0, "some of it has gone to the client");
        self.bytes = bytes;
    }

    /// The oldest request is answered.
    #[inline(always)]
    pub(super) fn finish(&mut self, error: bool, out: &mut BytesMut) -> Option<Completed> {
        debug_assert!(!self.begun, "some of its reply is still to come");
        let remote = self.queue.pop(out)?;
        self.window = self.window.saturating_add(1);
        let last = std::mem::take(&mut self.bytes);
        self.usual_bytes = last.max(self.usual_bytes - self.usual_bytes / 8);
        debug_assert!(self.usual_bytes >= last, "the next one may be as large");
        debug_assert!(self.window > limits::WINDOW_START, "a reply has come");
        self.check_counts();
        Some(Completed { bytes: last, ..completed(&remote, error) })
    }

    /// A large reply has come: the next ones may be as large.
    pub(super) const fn note_large(&mut self) {
        self.window = limits::WINDOW_START;
    }

    /// What holds whenever a piece of a reply is taken.
    fn check_counts(&self) {
        debug_assert!(!self.begun || !self.is_collecting(), "two replies at once");
        debug_assert!(!self.begun || self.bytes > 0, "none of a reply has gone to the client");
    }

    pub(super) fn check_invariants(&self) {
        let waits = self.in_flight() > 0 || self.queue.is_cut();
        debug_assert!(waits || !self.begun, "a reply has begun without a request");
        let message = self.framing == Some(false);
        debug_assert!(waits || message || !self.is_collecting(), "half of nothing is kept");
        debug_assert!(!message || !self.begun, "a message comes within a reply");
        self.check_counts();
        debug_assert!(self.window >= limits::WINDOW_START, "the window only grows");
        self.queue.check_invariants();
    }
}

/// What the statistics want to know of a request that is answered.
#[inline(always)]
pub(super) const fn completed(remote: &Remote, error: bool) -> Completed {
    let Remote { command, class, at, ticket, .. } = *remote;
    Completed { command, class, at, ticket, bytes: 0, error, unopened: false, own: false }
}

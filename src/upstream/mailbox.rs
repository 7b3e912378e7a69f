//! The way back from a shared connection to one session: what arrived waits here until the session's
//! task takes it. It never makes the connection wait.
//!
//! Owns: [`Mailbox`], [`Holding`]. Never knows: what a reply means, its session.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use bytes::BytesMut;

use super::buffers::Buffers;
use super::carrier::Unread;
use super::delivery::{Arrived, Delivery};
use super::remarks::{Remark, Remarks};
use crate::base::lazy_box::LazyBox;
use crate::base::limits;
use crate::traffic::{Loss, Ticket};

#[derive(Debug, Default)]
struct Inner {
    arrived: Option<Box<Arrived>>,
    waker: Option<Waker>,
}

impl Inner {
    /// Bytes that have arrived.
    fn len(&self) -> usize {
        self.arrived.as_ref().map_or(0, |arrived| arrived.bytes.len())
    }
}

/// What few mailboxes have at any time.
#[derive(Debug, Default)]
struct Extras {
    /// What is known of requests besides their replies, while such things are wanted.
    remarks: Remarks,
    /// What is kept for a client that has disconnected, each until its request is answered or lost.
    kept: Vec<(Ticket, Box<dyn Any>)>,
    /// The connection that waits until the client has read some.
    backpressure_waker: Option<Waker>,
    /// The number of the connection that answers instead of the one that was asked.
    moved: Option<u64>,
    /// Bytes that become free with the session's end, which the budget asked for.
    evicted: Option<usize>,
}

/// What one client makes respgate keep, and how it moves.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    pub bytes: usize,
    /// When the client last sent or took something while it held bytes.
    pub moved: Instant,
    pub logged_in: bool,
}

/// One session's mailbox.
pub struct Mailbox {
    inner: RefCell<Inner>,
    /// Something has changed since the session's task looked, or it is not to be woken yet.
    news: Cell<bool>,
    /// Unread bytes at which the session is ended at once.
    limit: Cell<usize>,
    /// Bytes of replies that the session's task has taken but the client has not read.
    unread: Cell<usize>,
    overflow: Cell<bool>,
    large: Cell<bool>,
    closed: Cell<bool>,
    /// When the oldest came of what waits here, or was taken last.
    arrived: Cell<Option<Instant>>,
    /// What the session's connection keeps besides, and when it last moved, since it kept something.
    holding: Cell<Option<(usize, Instant)>>,
    logged_in: Cell<bool>,
    /// The client has closed its side.
    left: Cell<bool>,
    extras: Cell<LazyBox<Extras>>,
    buffers: Rc<Buffers>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unread = self.unread.get();
        f.debug_struct("Mailbox").field("unread", &unread).finish_non_exhaustive()
    }
}

impl Mailbox {
    #[must_use]
    pub fn new(limit: usize, buffers: Rc<Buffers>) -> Rc<Self> {
        Rc::new(Self {
            inner: RefCell::default(),
            news: Cell::new(true),
            limit: Cell::new(limit),
            unread: Cell::new(0),
            overflow: Cell::new(false),
            large: Cell::new(false),
            closed: Cell::new(false),
            arrived: Cell::new(None),
            holding: Cell::new(None),
            logged_in: Cell::new(false),
            left: Cell::new(false),
            extras: Cell::default(),
            buffers,
        })
    }

    /// A piece of a reply, which came at `now`. Never waits: a session over its limit is marked and gets
    /// nothing more.
    pub fn deliver(&self, ticket: Ticket, bytes: &[u8], kind: u8, done: bool, now: Instant) {
        self.put(bytes, Delivery::Piece { ticket, len: bytes.len(), kind, done }, now);
    }

    /// Something is known of the request of `ticket`.
    pub(super) fn remark(&self, ticket: Ticket, remark: Remark) {
        if !self.is_closed() && !self.buffers.is_over() {
            let (before, after) = self.with_extras(|extras| {
                let remarks = &mut extras.allocate().remarks;
                let before = remarks.held_bytes();
                remarks.add(ticket, remark);
                (before, remarks.held_bytes())
            });
            self.buffers.adjust(before, after);
        }
    }

    /// Whether anything is known of any request.
    #[inline]
    pub fn has_remarks(&self) -> bool {
        self.with_extras(|extras| extras.allocated().is_some_and(|own| !own.remarks.is_empty()))
    }

    /// What is known of the request of `ticket`. What is known of earlier ones is forgotten.
    #[must_use]
    pub fn take_remark(&self, ticket: Ticket) -> Remark {
        self.with_extras(|extras| {
            let Some(Extras { remarks, .. }) = extras.allocated_mut() else {
                return Remark::default();
            };
            let before = remarks.held_bytes();
            let remark = remarks.take(ticket);
            self.buffers.adjust(before, remarks.held_bytes());
            remark
        })
    }

    /// Forgets all of it: everything is answered.
    pub fn forget_remarks(&self) {
        self.with_extras(|extras| {
            if let Some(Extras { remarks, .. }) = extras.allocated_mut() {
                self.buffers.adjust(std::mem::take(remarks).held_bytes(), 0);
            }
        });
    }

    /// When the oldest came of what was drained last.
    pub const fn arrived(&self) -> Option<Instant> {
        self.arrived.get()
    }

    /// Why a queued command will not be executed: it precedes the reply to EXEC.
    pub fn deliver_refusal(&self, ticket: Ticket, line: &[u8], now: Instant) {
        self.put(line, Delivery::Refusal { ticket, len: line.len() }, now);
    }

    /// Keeps something until the request of `ticket` is answered or lost, at the latest until no connection
    /// knows any request of this session.
    pub fn keep(&self, ticket: Ticket, what: Box<dyn Any>) {
        self.with_extras(|extras| extras.allocate().kept.push((ticket, what)));
    }

    fn release(&self, ticket: Ticket) {
        let released = self.with_extras(|extras| {
            let kept = &mut extras.allocated_mut()?.kept;
            let found = kept.iter().position(|(of_it, _)| *of_it == ticket)?;
            Some(kept.swap_remove(found))
        });
        drop(released);
    }

    fn put(&self, bytes: &[u8], item: Delivery, now: Instant) {
        self.news.set(true);
        if self.closed.get() {
            if let Delivery::Piece { ticket, done: true, .. } = item {
                self.release(ticket);
            }
            return;
        }
        let mut inner = self.inner.borrow_mut();
        let before = inner.len();
        let after = before + bytes.len();
        self.buffers.adjust(before, after);
        let flooded = after > limits::FAIR_SHARE_BYTES && self.buffers.is_flooded();
        if after + self.unread.get() > self.limit.get() || flooded {
            self.buffers.adjust(after, 0);
            self.overflow.set(true);
            self.closed.set(true);
            inner.arrived = None;
        } else {
            let arrived = inner.arrived.get_or_insert_with(|| {
                self.arrived.set(Some(now));
                self.buffers.get_arrived()
            });
            debug_assert_eq!(item.size(), bytes.len(), "each byte is an item's");
            if arrived.bytes.capacity() == 0 {
                arrived.bytes = self.buffers.get();
            }
            arrived.bytes.extend_from_slice(bytes);
            arrived.items.push(item);
        }
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    pub fn lose(&self, ticket: Ticket, loss: Loss) {
        self.news.set(true);
        if self.is_closed() {
            return self.release(ticket);
        }
        let mut inner = self.inner.borrow_mut();
        let arrived = inner.arrived.get_or_insert_with(|| self.buffers.get_arrived());
        arrived.items.push(Delivery::Lost(ticket, loss));
        drop(self.take_backpressure_waker());
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    /// Notes that a reply of at least `limits.large_bytes` is arriving here.
    pub fn note_large(&self) {
        self.news.set(true);
        self.large.set(true);
    }

    /// Everything that waits for a reply here is on another connection now.
    pub(super) fn note_moved(&self, to: u64) {
        self.news.set(true);
        self.with_extras(|extras| extras.allocate().moved = Some(to));
    }

    /// Where everything in flight went since the last question, if it moved.
    pub fn take_moved(&self) -> Option<u64> {
        self.with_extras(|extras| extras.allocated_mut()?.moved.take())
    }

    /// Whether a large reply came since the last question.
    pub fn take_large(&self) -> bool {
        self.large.take()
    }

    /// Whether [`Self::drain`] would find anything new. While it would not, an arrival wakes the session's task.
    #[inline(always)]
    pub const fn has_news(&self) -> bool {
        self.news.get()
    }

    /// Hands out everything that has arrived, if anything has: each item, and the bytes of all in their order,
    /// which `take` may keep. Registers a waker for the next arrival. Returns whether the session has more
    /// unread than it may.
    #[inline]
    pub fn drain(
        &self,
        waker: &Waker,
        take: impl FnOnce(std::vec::Drain<'_, Delivery>, &mut BytesMut),
    ) -> bool {
        self.news.set(false);
        let mut inner = self.inner.borrow_mut();
        let Inner { arrived, waker: known } = &mut *inner;
        if let Some(mut arrived) = arrived.take() {
            let Arrived { items, bytes } = &mut *arrived;
            self.buffers.adjust(bytes.len(), 0);
            let sizes = items.iter().map(Delivery::size);
            debug_assert_eq!(sizes.sum::<usize>(), bytes.len(), "each byte is an item's");
            take(items.drain(..), bytes);
            // Often they are the client's output now.
            if bytes.capacity() > 0 {
                self.buffers.put(std::mem::take(bytes));
            }
            self.buffers.put_arrived(arrived);
        }
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        self.overflow.get()
    }

    /// Bytes that have arrived and that the client has not read; 0 when it never will.
    fn backlog(&self) -> usize {
        if self.is_closed() { 0 } else { self.inner.borrow().len() + self.unread.get() }
    }

    /// What the client has not read, and whether a quarter of its limit or less is left.
    pub(super) fn unread(&self) -> Unread {
        let (bytes, limit) = (self.backlog(), self.limit.get());
        Unread { bytes, is_full: bytes >= limit - limit / limits::DETACHING_SHARE }
    }

    /// Whether what it has not read comes near the limit at which the session is ended.
    pub(super) fn is_near_limit(&self) -> bool {
        self.backlog() >= self.limit.get() / limits::DETACHING_SHARE
    }

    /// Registers a waker for when the client has read some. The session's task looks at its time limits.
    pub(super) fn wait_for_reader(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.with_extras(|extras| extras.allocate().backpressure_waker.replace(waker));
        if before.is_none() {
            self.wake();
        }
    }

    /// Whether a connection waits until the client has read some.
    #[must_use]
    pub fn holds_up(&self) -> bool {
        self.with_extras(|extras| {
            extras.allocated().is_some_and(|own| own.backpressure_waker.is_some())
        })
    }

    /// Notes what the session's connection keeps.
    pub fn note_holding(&self, holding: Holding) {
        self.holding.set(Some((holding.bytes, holding.moved)));
        self.logged_in.set(holding.logged_in);
    }

    /// All that is kept for the client; `None` when it is nothing, or the client is about to be closed.
    #[must_use]
    pub fn holding(&self) -> Option<Holding> {
        let (bytes, moved) = self.holding.get().filter(|_| !self.is_closed())?;
        let bytes = bytes + self.inner.borrow().len();
        Some(Holding { bytes, moved, logged_in: self.logged_in.get() })
    }

    /// Ends the session, because all together keep more than the budget permits.
    pub fn evict(&self) {
        self.news.set(true);
        let rest = self.holding.get().map_or(0, |(bytes, _)| bytes);
        self.buffers.note_ending(0, rest);
        self.with_extras(|extras| extras.allocate().evicted = Some(rest));
        self.overflow.set(true);
        let mut inner = self.inner.borrow_mut();
        self.buffers.adjust(inner.len(), 0);
        self.forget_remarks();
        let waker = inner.waker.take();
        *inner = Inner::default();
        self.closed.set(true);
        waker.into_iter().chain(self.take_backpressure_waker()).for_each(Waker::wake);
        debug_assert!(!self.holds_up(), "a connection waits for a client that is ended");
    }

    /// The client has closed its side: it waits for what it has asked, or has given it up.
    pub fn note_left(&self) {
        self.left.set(true);
    }

    /// Whether the client has closed its side, or has disconnected.
    #[must_use]
    pub(crate) fn has_left(&self) -> bool {
        self.left.get() || self.is_closed()
    }

    /// Whether the budget has ended the session.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.with_extras(|extras| extras.allocated().is_some_and(|own| own.evicted.is_some()))
    }

    /// Notes how much of what the session's task has taken is not read.
    pub fn note_unread(&self, bytes: usize) {
        if self.unread.replace(bytes) > bytes
            && let Some(backpressure_waker) = self.take_backpressure_waker()
        {
            backpressure_waker.wake();
        }
    }

    /// Lets the session's task look around, although nothing has arrived.
    pub fn wake(&self) {
        self.news.set(true);
        if let Some(waker) = self.inner.borrow_mut().waker.take() {
            waker.wake();
        }
    }

    /// Whether this will not be read any more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// `change` gets the extras and reaches nothing else of the mailbox, which has none meanwhile.
    #[inline(always)]
    fn with_extras<R>(&self, change: impl FnOnce(&mut LazyBox<Extras>) -> R) -> R {
        let mut extras = self.extras.take();
        let result = change(&mut extras);
        self.extras.set(extras);
        result
    }

    fn take_backpressure_waker(&self) -> Option<Waker> {
        self.with_extras(|extras| extras.allocated_mut()?.backpressure_waker.take())
    }

    /// This will not be read any more.
    pub fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        self.buffers.adjust(inner.len(), 0);
        self.forget_remarks();
        if let Some(backpressure_waker) = self.take_backpressure_waker() {
            backpressure_waker.wake();
        }
        *inner = Inner::default();
        self.closed.set(true);
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.buffers.adjust(self.inner.get_mut().len(), 0);
        let evicted = self.extras.get_mut().allocated().and_then(|extras| extras.evicted);
        self.buffers.note_ending(evicted.unwrap_or_default(), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::base::clock;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A waker, and how often it was used.
    fn count() -> (Waker, impl Fn() -> usize) {
        let count = Arc::new(Count::default());
        (Waker::from(Arc::clone(&count)), move || count.0.load(Ordering::Relaxed))
    }

    #[test]
    fn reader_learns_that_a_connection_waits_for_it() {
        let mailbox = Mailbox::new(1000, Buffers::new(1000));
        let ((session, woken), (connection, fed)) = (count(), count());
        mailbox.note_unread(10);
        mailbox.drain(&session, |_, _| {});
        assert!(!mailbox.holds_up());
        mailbox.wait_for_reader(&connection);
        mailbox.drain(&session, |_, _| {});
        mailbox.wait_for_reader(&connection);
        assert!(mailbox.holds_up());
        assert_eq!((woken(), fed()), (1, 0), "once for each time");
        mailbox.note_unread(9);
        assert!(!mailbox.holds_up());
        assert_eq!((woken(), fed()), (1, 1));
        mailbox.wait_for_reader(&connection);
        assert_eq!(woken(), 2);
        mailbox.lose(Ticket(1), Loss::Truncated);
        assert!(!mailbox.holds_up(), "the connection is gone");
    }
    #[test]
    fn mailbox_has_news_until_it_is_drained() {
        type Change = fn(&Mailbox);
        let mailbox = Mailbox::new(1000, Buffers::new(1000));
        assert!(mailbox.has_news(), "nothing wakes the task yet");
        let (waker, woken) = count();
        let changes: [(Change, bool); 7] = [
            (|own| own.deliver(Ticket(1), b"+OK\r\n", b'+', true, clock::now()), true),
            (|own| own.deliver_refusal(Ticket(1), b"-ERR\r\n", clock::now()), true),
            (|own| own.lose(Ticket(1), Loss::Truncated), true),
            (Mailbox::note_large, false),
            (|own| own.note_moved(7), false),
            (Mailbox::wake, true),
            (Mailbox::evict, true),
        ];
        for (change, wakes) in changes {
            mailbox.drain(&waker, |_, _| {});
            let before = woken();
            assert!(!mailbox.has_news());
            change(&mailbox);
            assert!(mailbox.has_news());
            assert_eq!(woken() - before, usize::from(wakes));
        }
    }
}

//! The memory that clients make respgate keep: how much it is, and how much it may be.
//!
//! Owns: [`Buffers`], its count and its empty buffers. Never knows: who keeps what, who has to leave.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::BytesMut;

use super::delivery::Delivery;
use crate::base::limits;

/// Bytes that all sessions' buffers may take together, and empty buffers for reuse.
#[derive(Debug)]
pub struct Buffers {
    used: Cell<usize>,
    cap: Cell<usize>,
    /// Bytes of sessions that end to make room.
    leaving: Cell<usize>,
    spare: RefCell<Vec<BytesMut>>,
    spare_items: RefCell<Vec<Vec<Delivery>>>,
}

impl Buffers {
    #[must_use]
    pub fn new(cap: usize) -> Rc<Self> {
        Rc::new(Self {
            used: Cell::new(0),
            cap: Cell::new(cap),
            leaving: Cell::new(0),
            spare: RefCell::default(),
            spare_items: RefCell::default(),
        })
    }

    #[must_use]
    pub fn used(&self) -> usize {
        self.used.get()
    }

    #[must_use]
    pub fn cap(&self) -> usize {
        self.cap.get()
    }

    pub fn set_cap(&self, cap: usize) {
        self.cap.set(cap);
    }

    /// Whether less than half of the cap is used, so that one holder may keep more than it must.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.used.get() < self.cap.get() / 2
    }

    /// Replaces one holder's share of `before` bytes by `after`. Returns whether all is within the cap.
    pub fn adjust(&self, before: usize, after: usize) -> bool {
        let used = (self.used.get() + after).saturating_sub(before);
        self.used.set(used);
        used <= self.cap.get()
    }

    /// Whether more is used than the cap permits.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.used.get() > self.cap.get()
    }

    /// Whether the cap is exceeded by so much that sessions which are delivered to cannot be waited for.
    pub(super) fn is_flooded(&self) -> bool {
        self.used.get() > self.cap.get() + self.cap.get() / 8
    }

    /// Bytes that sessions have to give up, so that the next few do not have to at once; 0 within the cap.
    #[must_use]
    pub fn excess(&self) -> usize {
        let (cap, used) = (self.cap.get(), self.used.get().saturating_sub(self.leaving.get()));
        if used > cap { used - (cap - cap / 16) } else { 0 }
    }

    /// A session's share of what becomes free with the end of sessions: it was `before`, and is `after`.
    pub(super) fn note_leaving(&self, before: usize, after: usize) {
        self.leaving.set((self.leaving.get() + after).saturating_sub(before));
    }

    /// An empty buffer, used before if there is one.
    #[must_use]
    pub fn get(&self) -> BytesMut {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| BytesMut::with_capacity(limits::FRESH_BUFFER_BYTES))
    }

    /// Takes a buffer back for the next one; an idle session keeps none.
    pub fn put(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut spare = self.spare.borrow_mut();
        if (1..=limits::SPARE_BUFFER_BYTES_MAX).contains(&buffer.capacity())
            && spare.len() < limits::SPARE_BUFFERS_MAX
        {
            spare.push(buffer);
        }
    }

    pub(super) fn get_items(&self) -> Vec<Delivery> {
        self.spare_items.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn put_items(&self, items: Vec<Delivery>) {
        let mut spare = self.spare_items.borrow_mut();
        if items.capacity() <= limits::SPARE_QUEUE_LEN_MAX
            && spare.len() < limits::SPARE_BUFFERS_MAX
        {
            spare.push(items);
        }
    }
}

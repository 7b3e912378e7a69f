//! The memory that clients of one thread make respgate keep: how much it is, and whether it may be more.
//!
//! Owns: [`Buffers`], its count and its empty buffers. Never knows: which client keeps what, which one is disconnected.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;

use super::delivery::Arrived;
use super::memory_budget::MemoryBudget;
use crate::base::limits;

/// Bytes of all sessions' buffers, what they and those of other threads may take together, and empty buffers for
/// reuse.
#[derive(Debug)]
pub struct Buffers {
    used: Cell<usize>,
    /// At least what is used, and at most two steps more.
    reserved: Cell<usize>,
    budget: Arc<MemoryBudget>,
    /// Bytes of sessions that end to make room.
    ending: Cell<usize>,
    spare: RefCell<Vec<BytesMut>>,
    #[allow(clippy::vec_box, reason = "a mailbox has room for the pointer alone")]
    spare_arrived: RefCell<Vec<Box<Arrived>>>,
}

impl Buffers {
    #[must_use]
    pub fn new(cap: usize) -> Rc<Self> {
        Self::within(Arc::new(MemoryBudget::new(cap)))
    }

    /// The buffers of one more thread.
    pub(super) fn within(budget: Arc<MemoryBudget>) -> Rc<Self> {
        Rc::new(Self {
            used: Cell::new(0),
            reserved: Cell::new(0),
            budget,
            ending: Cell::new(0),
            spare: RefCell::default(),
            spare_arrived: RefCell::default(),
        })
    }

    #[must_use]
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// What this thread uses and others have reserved.
    #[inline]
    fn total(&self) -> usize {
        self.used.get() + self.budget.reserved().saturating_sub(self.reserved.get())
    }

    #[must_use]
    pub fn cap(&self) -> usize {
        self.budget.cap()
    }

    pub fn set_cap(&self, cap: usize) {
        self.budget.set_cap(cap);
    }

    /// Whether less than half of the cap is used, so that one holder may keep more than it must.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.total() < self.cap() / 2
    }

    /// Replaces one holder's share of `before` bytes by `after`. Returns whether all is within the cap.
    #[inline]
    pub fn adjust(&self, before: usize, after: usize) -> bool {
        let used = (self.used.get() + after).saturating_sub(before);
        self.used.set(used);
        let reserved = self.reserved.get();
        if used > reserved || reserved - used > 2 * limits::RESERVE_STEP_BYTES {
            self.reserve(used);
        }
        !self.is_over()
    }

    /// Reserves what is used and a step more.
    #[cold]
    fn reserve(&self, used: usize) {
        let after = used.saturating_add(limits::RESERVE_STEP_BYTES);
        self.budget.reserve(self.reserved.replace(after), after);
    }

    /// Whether more is used than the cap permits.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.total() > self.cap()
    }

    /// Whether the cap is exceeded by so much that sessions which are delivered to cannot be waited for.
    pub(super) fn is_flooded(&self) -> bool {
        let cap = self.cap();
        self.total() > cap.saturating_add(cap / 8)
    }

    /// Bytes that sessions of this thread have to give up, so that the next few do not have to at once; 0 within the
    /// cap. Each thread gives up what it uses beyond its part.
    #[must_use]
    pub fn excess(&self) -> usize {
        let (cap, ending) = (self.cap(), self.ending.get());
        let (total, used) =
            (self.total().saturating_sub(ending), self.used().saturating_sub(ending));
        if total <= cap {
            return 0;
        }
        let excess = (total - (cap - cap / 16)) as u128;
        usize::try_from(excess * used as u128 / total as u128).unwrap_or(used)
    }

    /// A session's share of what becomes free with the end of sessions: it was `before`, and is `after`.
    pub(super) fn note_ending(&self, before: usize, after: usize) {
        self.ending.set((self.ending.get() + after).saturating_sub(before));
    }

    /// An empty buffer, used before if there is one.
    #[must_use]
    #[inline]
    pub fn get(&self) -> BytesMut {
        let spare = self.spare.borrow_mut().pop();
        let buffer = spare.unwrap_or_else(|| BytesMut::with_capacity(limits::FRESH_BUFFER_BYTES));
        // The task that would hand them out ends, and with it its connection.
        assert!(buffer.is_empty(), "a buffer holds another client's bytes");
        buffer
    }

    /// Takes a buffer back for the next one; an idle session keeps none.
    #[inline]
    pub fn put(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut spare = self.spare.borrow_mut();
        if (1..=limits::SPARE_BUFFER_BYTES_MAX).contains(&buffer.capacity())
            && spare.len() < limits::SPARE_BUFFERS_MAX
        {
            spare.push(buffer);
        }
    }

    /// Room for what arrives for one session, used before if there is any.
    pub(super) fn get_arrived(&self) -> Box<Arrived> {
        self.spare_arrived.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes such room back, which is empty.
    pub(super) fn put_arrived(&self, arrived: Box<Arrived>) {
        debug_assert!(arrived.items.is_empty() && arrived.bytes.capacity() == 0, "it is not empty");
        let mut spare = self.spare_arrived.borrow_mut();
        if arrived.items.capacity() <= limits::SPARE_QUEUE_LEN_MAX
            && spare.len() < limits::SPARE_BUFFERS_MAX
        {
            spare.push(arrived);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        self.budget.reserve(self.reserved.get(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_two_threads_are_within_one_budget() {
        let step = limits::RESERVE_STEP_BYTES;
        let budget = Arc::new(MemoryBudget::new(100 * step));
        let [one, two] = [0; 2].map(|_| Buffers::within(Arc::clone(&budget)));
        assert!(one.adjust(0, 60 * step) && !one.is_over());
        assert!(!two.adjust(0, 41 * step), "both together have more than there is");
        assert!(one.is_over() && two.is_over());
        let (first, second) = (one.excess(), two.excess());
        assert!(first > second && second > 0, "each gives up its part: {first} and {second}");
        assert!(two.adjust(41 * step, 0) && !one.is_over());
        assert!(two.adjust(0, 10 * step));
        drop(two);
        assert!(one.adjust(60 * step, 99 * step), "what an ended thread had is free");
        one.adjust(99 * step, 0);
        assert!(budget.reserved() <= 2 * step, "what is not used is not reserved");
    }

    #[test]
    fn budget_of_one_thread_is_counted_to_the_byte() {
        let buffers = Buffers::new(1000);
        assert!(buffers.adjust(0, 1000) && !buffers.is_over());
        assert!(!buffers.adjust(1000, 1001) && buffers.is_over());
        assert_eq!(buffers.excess(), 1001 - (1000 - 1000 / 16));
        assert!(buffers.adjust(1001, 499) && buffers.has_room());
    }
}

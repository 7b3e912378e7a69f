//! The memory that the clients of all threads may make respgate keep, together.
//!
//! Owns: [`MemoryBudget`]. Never knows: what is kept, which thread keeps how much of it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// One for the process. Each thread reserves in steps what it uses, so that threads seldom write here.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    reserved: AtomicUsize,
    cap: AtomicUsize,
}

impl MemoryBudget {
    #[must_use]
    pub(super) const fn new(cap: usize) -> Self {
        Self { reserved: AtomicUsize::new(0), cap: AtomicUsize::new(cap) }
    }

    pub(super) fn cap(&self) -> usize {
        self.cap.load(Relaxed)
    }

    pub(super) fn set_cap(&self, cap: usize) {
        self.cap.store(cap, Relaxed);
    }

    /// What all threads have reserved.
    pub(super) fn reserved(&self) -> usize {
        self.reserved.load(Relaxed)
    }

    /// A thread that had reserved `before` bytes reserves `after`.
    pub(super) fn reserve(&self, before: usize, after: usize) {
        if after > before {
            let all = self.reserved.fetch_add(after - before, Relaxed);
            debug_assert!(all.checked_add(after - before).is_some(), "more than there can be");
        } else {
            let all = self.reserved.fetch_sub(before - after, Relaxed);
            debug_assert!(all >= before - after, "only what was reserved is given back");
        }
    }
}

impl Default for MemoryBudget {
    /// Without a bound, until one is set.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

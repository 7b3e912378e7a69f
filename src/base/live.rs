//! A value that may be replaced while it is read.
//!
//! Owns: [`Live`]. Never knows: what it holds.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// A shared value with one current version: readers take the version of the moment and keep it for
/// as long as they work, writers replace it whole.
#[derive(Debug)]
pub(crate) struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Live<T> {
    #[must_use]
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// The version of this moment.
    #[must_use]
    pub(crate) fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Brings `held` up to date, and says whether it was not; cheaper than [`Self::get`] while
    /// nothing has changed.
    #[inline]
    pub(crate) fn refresh(&self, held: &mut Arc<T>) -> bool {
        let current = self.0.load();
        let is_new = !Arc::ptr_eq(&current, held);
        if is_new {
            *held = Arc::clone(&current);
        }
        is_new
    }

    /// Replaces the value; later reads return the new one.
    pub(crate) fn set(&self, value: Arc<T>) {
        self.0.store(value);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

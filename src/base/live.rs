//! A value that may be replaced while it is read.
//!
//! Owns: [`Live`], [`Cached`]. Never knows: what it holds.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

/// A shared value with one current version: readers take the version of the moment and keep it for
/// as long as they work, writers replace it whole.
#[derive(Debug)]
pub(crate) struct Live<T>(Arc<Versions<T>>);

#[derive(Debug)]
struct Versions<T> {
    current: ArcSwap<T>,
    /// How often it was replaced; counted after the replacement.
    replaced: AtomicU64,
}

impl<T> Live<T> {
    #[must_use]
    pub(crate) fn new(value: T) -> Self {
        let current = ArcSwap::from_pointee(value);
        Self(Arc::new(Versions { current, replaced: AtomicU64::new(0) }))
    }

    /// The version of this moment.
    #[must_use]
    pub(crate) fn get(&self) -> Arc<T> {
        self.0.current.load_full()
    }

    /// The version of this moment, until the holder looks for a newer one.
    #[must_use]
    pub(crate) fn cache(&self) -> Cached<T> {
        // Counted before it is read: a replacement in between is found by the next look.
        let replaced = self.0.replaced.load(Ordering::Acquire);
        Cached { live: self.clone(), version: self.get(), replaced }
    }

    /// Replaces the value; later reads return the new one.
    pub(crate) fn set(&self, value: Arc<T>) {
        self.0.current.store(value);
        self.0.replaced.fetch_add(1, Ordering::Release);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// One reader's version of a [`Live`] value.
#[derive(Debug)]
pub(crate) struct Cached<T> {
    live: Live<T>,
    version: Arc<T>,
    replaced: u64,
}

impl<T> Cached<T> {
    /// Takes the current version and returns whether it is another; one load while nothing has changed.
    #[inline(always)]
    pub(crate) fn refresh(&mut self) -> bool {
        self.live.0.replaced.load(Ordering::Acquire) != self.replaced && self.renew()
    }

    #[cold]
    fn renew(&mut self) -> bool {
        let current = self.live.cache();
        let is_new = !Arc::ptr_eq(&current.version, &self.version);
        *self = current;
        is_new
    }
}

impl<T> Deref for Cached<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_version_changes_only_when_its_holder_looks() {
        let live = Live::new(1);
        let mut cached = live.cache();
        assert!(!cached.refresh());
        live.set(Arc::new(2));
        assert_eq!((*cached, *live.get()), (1, 2));
        assert!(cached.refresh() && *cached == 2);
        assert!(!cached.refresh());
        live.set(Arc::new(3));
        live.set(live.get());
        assert!(cached.refresh() && *cached == 3, "two replacements at once");
    }
}

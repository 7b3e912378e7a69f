//! A part of a value that most values of its kind never change.
//!
//! Owns: [`LazyBox`], [`Initial`]. Never knows: what the part is.

use std::ops::{Deref, DerefMut};

/// What a part is as long as it was never changed.
pub(crate) trait Initial: Sized + 'static {
    const INITIAL: &'static Self;
}

/// A part that is allocated when it is first changed; until then it takes the room of a pointer and reads as
/// [`Initial::INITIAL`].
#[derive(Clone, Debug)]
pub(crate) struct LazyBox<T>(Option<Box<T>>);

impl<T> LazyBox<T> {
    /// The part, if it is allocated.
    #[inline(always)]
    pub(crate) fn allocated(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The part, if it is allocated, for changes that have no effect on an initial one.
    #[inline(always)]
    pub(crate) fn allocated_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T: Default> LazyBox<T> {
    /// The part, which is allocated if it is not.
    #[inline]
    pub(crate) fn allocate(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T> Default for LazyBox<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Initial> Deref for LazyBox<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::INITIAL)
    }
}

/// The part is about to change: it is allocated.
impl<T: Initial + Default> DerefMut for LazyBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.allocate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Part {
        count: u64,
    }

    impl Initial for Part {
        const INITIAL: &'static Self = &Self { count: 0 };
    }

    #[test]
    fn part_is_allocated_when_it_is_changed_and_no_sooner() {
        let mut part = LazyBox::<Part>::default();
        assert_eq!(size_of_val(&part), size_of::<usize>());
        assert_eq!((&*part, part.allocated()), (&Part::default(), None));
        assert!(part.allocated_mut().is_none());
        part.count = 7;
        assert_eq!((&*part, part.allocated()), (&Part { count: 7 }, Some(&Part { count: 7 })));
        part.allocated_mut().into_iter().for_each(|part| part.count += 1);
        assert_eq!(*part, Part { count: 8 });
        part.count += 1;
        assert_eq!(*part, Part { count: 9 }, "a second change begins with the first");
    }
}

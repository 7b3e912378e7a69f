//! Values with numbers that grow, in little memory.
//!
//! Owns: [`Numbered`]. Never knows: what the values are, which numbers they have.

/// A removed value leaves an empty place behind; this many are kept whatever remains.
const EMPTY_PLACES: usize = 16;

/// Values in the order of their numbers. A pointer takes sixteen bytes here, in a tree twice as many, as its nodes
/// stay half full where each new number is the greatest.
#[derive(Debug)]
pub(crate) struct Numbered<T> {
    /// Empty ones are at most as many as the others and [`EMPTY_PLACES`].
    places: Vec<(u64, Option<T>)>,
    len: usize,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { places: Vec::new(), len: 0 }
    }
}

impl<T> Numbered<T> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn find(&self, number: u64) -> Result<usize, usize> {
        self.places.binary_search_by_key(&number, |(number, _)| *number)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        let at = self.find(number).ok()?;
        self.places.get(at)?.1.as_ref()
    }

    /// In the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.places.iter().filter_map(|(number, value)| Some((*number, value.as_ref()?)))
    }

    /// In the order of their numbers.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    /// Returns the value that had this number before.
    pub(crate) fn insert(&mut self, number: u64, value: T) -> Option<T> {
        let is_greatest = self.places.last().is_none_or(|(last, _)| *last < number);
        let found = if is_greatest { Err(self.places.len()) } else { self.find(number) };
        let before = match found {
            Ok(at) => self.places.get_mut(at).and_then(|(_, place)| place.replace(value)),
            Err(at) => {
                self.places.insert(at, (number, Some(value)));
                None
            }
        };
        self.len += usize::from(before.is_none());
        before
    }

    /// Returns the value, if there is one of this number.
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let at = self.find(number).ok()?;
        let removed = self.places.get_mut(at)?.1.take()?;
        self.len -= 1;
        if self.places.len() > 2 * self.len + EMPTY_PLACES {
            self.places.retain(|(_, value)| value.is_some());
            self.places.shrink_to(2 * self.len);
        }
        debug_assert!(self.len <= self.places.len(), "a value has no place");
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn numbered_values_are_found_and_removed_as_in_a_tree() {
        let (mut values, mut tree) = (Numbered::default(), BTreeMap::new());
        // Numbers grow, but for some; half of all are removed meanwhile, in another order.
        for step in 0..4000_u64 {
            let number = if step % 7 == 0 { step / 2 } else { step };
            assert_eq!(values.insert(number, step), tree.insert(number, step), "{number}");
            if step % 2 == 0 {
                let number = step * 31 % (step + 1);
                assert_eq!(values.remove(number), tree.remove(&number), "{number}");
            }
            assert_eq!(values.len(), tree.len());
        }
        assert!((0..4001).all(|number| values.get(number) == tree.get(&number)));
        assert!(values.iter().eq(tree.iter().map(|(number, value)| (*number, value))));
        assert!(values.values().eq(tree.values()));
    }

    #[test]
    fn memory_of_removed_values_is_given_back() {
        let mut values = Numbered::default();
        for round in 0..100 {
            let numbers = round * 1000..(round + 1) * 1000;
            assert!(numbers.clone().all(|number| values.insert(number, number).is_none()));
            assert!(numbers.clone().all(|number| values.remove(number) == Some(number)));
            assert!(values.len() == 0 && values.places.capacity() <= 2 * EMPTY_PLACES);
        }
        assert_eq!(size_of::<(u64, Option<Box<u64>>)>(), 2 * size_of::<u64>());
    }
}

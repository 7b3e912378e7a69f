//! What occurs most often in a stream, and what is largest in it, in bounded room.
//!
//! Owns: [`Frequent`], [`Largest`]. Never knows: what is counted, clocks.
//!
//! [`Frequent`] is Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and
//! Top-k Elements in Data Streams", 2005): `places` counters; an item without one takes that of the
//! rarest, and its count. So with `n` items noted and `m` places
//!
//! * a count is never too low, and too high by its `error` at most, which is at most `n / m`;
//! * whatever occurs more often than `n / m` has a counter.
//!
//! [`Largest`] keeps the items with the `m` largest sizes and is exact: an item that was dropped was
//! smaller than all that are kept, and comes back with the size that makes it larger.

use std::hash::{DefaultHasher, Hash, Hasher};

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub item: Box<[u8]>,
    pub count: u64,
    /// By this much the count may be too high.
    pub error: u64,
}

/// Counters for the most frequent items.
#[derive(Clone, Debug)]
pub(crate) struct Frequent {
    places: usize,
    entries: Vec<Counted>,
    /// Of the items, in the same order: compared before the items are.
    hashes: Vec<u64>,
    noted: u64,
}

impl Frequent {
    /// At least one place.
    #[must_use]
    pub(crate) fn new(places: usize) -> Self {
        Self { places: places.max(1), entries: Vec::new(), hashes: Vec::new(), noted: 0 }
    }

    /// The item has occurred once more.
    pub(crate) fn note(&mut self, item: &[u8]) {
        self.noted += 1;
        let hash = hash(item);
        let mut same = self.hashes.iter().zip(&mut self.entries);
        if let Some((_, known)) =
            same.find(|(known, entry)| **known == hash && *entry.item == *item)
        {
            known.count += 1;
            return;
        }
        let all = self.hashes.iter_mut().zip(&mut self.entries);
        if all.len() < self.places {
            self.hashes.push(hash);
            self.entries.push(Counted { item: item.into(), count: 1, error: 0 });
        } else if let Some((place, rarest)) = all.min_by_key(|(_, entry)| entry.count) {
            let error = rarest.count;
            *place = hash;
            *rarest = Counted { item: item.into(), count: error + 1, error };
        }
    }

    /// How many were noted.
    #[must_use]
    pub(crate) const fn noted(&self) -> u64 {
        self.noted
    }

    #[cfg(test)]
    fn entries(&self) -> &[Counted] {
        &self.entries
    }

    /// Adds what another one has counted. An item that only one of both has may also have occurred in
    /// the other, as often as its rarest.
    #[must_use]
    pub(crate) fn merged(&self, other: &Self) -> Vec<Counted> {
        let missed = |of: &Self| {
            let full = of.entries.len() >= of.places;
            if full { of.entries.iter().map(|entry| entry.count).min().unwrap_or(0) } else { 0 }
        };
        let (here, there) = (missed(self), missed(other));
        let mut all: Vec<Counted> = Vec::new();
        for (of, other, missed) in [(self, other, there), (other, self, here)] {
            for entry in &of.entries {
                if all.iter().any(|known| known.item == entry.item) {
                    continue;
                }
                let found = other.entries.iter().find(|one| one.item == entry.item);
                let (count, error) = found.map_or((missed, missed), |one| (one.count, one.error));
                all.push(Counted {
                    item: entry.item.clone(),
                    count: entry.count + count,
                    error: entry.error + error,
                });
            }
        }
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.item.cmp(&b.item)));
        all
    }
}

fn hash(item: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    item.hash(&mut hasher);
    hasher.finish()
}

/// The items with the largest sizes.
#[derive(Clone, Debug)]
pub(crate) struct Largest {
    places: usize,
    entries: Vec<(Box<[u8]>, u64)>,
}

impl Largest {
    /// At least one place.
    #[must_use]
    pub(crate) fn new(places: usize) -> Self {
        Self { places: places.max(1), entries: Vec::new() }
    }

    /// The item was seen with this size.
    pub(crate) fn note(&mut self, item: &[u8], size: u64) {
        if let Some(known) = self.entries.iter_mut().find(|(known, _)| **known == *item) {
            known.1 = known.1.max(size);
        } else if self.entries.len() < self.places {
            self.entries.push((item.into(), size));
        } else if let Some(least) = self.entries.iter_mut().min_by_key(|(_, size)| *size)
            && least.1 < size
        {
            *least = (item.into(), size);
        }
    }

    /// The largest first.
    #[must_use]
    pub(crate) fn sorted(&self) -> Vec<(Box<[u8]>, u64)> {
        let mut all = self.entries.clone();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn truth(items: &[u8]) -> BTreeMap<u8, u64> {
        let mut counts = BTreeMap::new();
        items.iter().for_each(|item| *counts.entry(*item).or_insert(0) += 1);
        counts
    }

    fn noted(places: usize, items: &[u8]) -> Frequent {
        let mut frequent = Frequent::new(places);
        items.iter().for_each(|item| frequent.note(&[*item]));
        frequent
    }

    fn holds(found: &[Counted], truth: &BTreeMap<u8, u64>, most: u64) -> Result<(), TestCaseError> {
        for entry in found {
            let real = truth.get(&entry.item[0]).copied().unwrap_or(0);
            prop_assert!(entry.count >= real, "{entry:?} {real}");
            prop_assert!(entry.count - entry.error <= real, "{entry:?} {real}");
            prop_assert!(entry.error <= most, "{entry:?} {most}");
        }
        for (item, count) in truth {
            let known = found.iter().any(|entry| *entry.item == [*item]);
            prop_assert!(known || *count <= most, "{item} occurred {count} times");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn counts_are_within_their_bounds(
            places in 1_usize..20, items in prop::collection::vec(0_u8..60, 0..400)
        ) {
            let frequent = noted(places, &items);
            prop_assert!(frequent.entries().len() <= places);
            let most = items.len() as u64 / places as u64;
            holds(frequent.entries(), &truth(&items), most)?;
        }

        #[test]
        fn merged_counts_are_within_the_bounds_of_both(
            places in 1_usize..20,
            one in prop::collection::vec(0_u8..40, 0..200),
            two in prop::collection::vec(0_u8..40, 0..200),
        ) {
            let merged = noted(places, &one).merged(&noted(places, &two));
            let most = (one.len() / places + two.len() / places) as u64;
            holds(&merged, &truth(&[one, two].concat()), most)?;
        }

        #[test]
        fn largest_are_the_largest(
            places in 1_usize..10, seen in prop::collection::vec((0_u8..30, 0_u64..1000), 0..300)
        ) {
            let (mut largest, mut truth) = (Largest::new(places), BTreeMap::<u8, u64>::new());
            for (item, size) in &seen {
                largest.note(&[*item], *size);
                let known = truth.entry(*item).or_insert(0);
                *known = (*known).max(*size);
            }
            let mut sizes: Vec<u64> = truth.values().copied().collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            sizes.truncate(places);
            let found = largest.sorted();
            prop_assert_eq!(found.iter().map(|(_, size)| *size).collect::<Vec<_>>(), sizes);
            for (item, size) in &found {
                prop_assert_eq!(truth.get(&item[0]), Some(size));
            }
        }
    }

    #[test]
    fn rare_items_do_not_drive_a_frequent_one_out() {
        let mut frequent = Frequent::new(16);
        for number in 0..10_000_u32 {
            frequent.note(&number.to_be_bytes());
            if number % 5 == 0 {
                frequent.note(b"hot");
            }
        }
        let hot = frequent.entries().iter().find(|entry| *entry.item == *b"hot").unwrap();
        assert!(hot.count >= 2000 && hot.error <= 12_000 / 16, "{hot:?}");
    }
}

//! One series for each thing that the configuration names, up to a number.
//!
//! Owns: [`Named`]. Never knows: what the names are of, how they come about.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::proto::{LabelPair, Metric, MetricType};

use super::number::{Series, Sharded, pair};

/// What [`Named`] series are named by.
pub(crate) trait Names {
    /// The label's name in the exposition.
    const LABEL: &'static str;
}

/// One `S` for each of the first `MAX` names; all further names share one, `other`.
pub struct Named<N, S, const MAX: usize> {
    /// The places of names, for all writers.
    names: Arc<Mutex<Vec<Box<str>>>>,
    /// By place.
    series: Mutex<Vec<Arc<S>>>,
    label: PhantomData<fn(N)>,
}

impl<N, S, const MAX: usize> Default for Named<N, S, MAX> {
    fn default() -> Self {
        Self { names: Arc::default(), series: Mutex::default(), label: PhantomData }
    }
}

impl<N, S, const MAX: usize> Sharded for Named<N, S, MAX> {
    fn sibling(&self) -> Self {
        Self { names: Arc::clone(&self.names), ..Self::default() }
    }
}

impl<N, S: Default, const MAX: usize> Named<N, S, MAX> {
    /// The series of `name`, to be kept by the caller: looking it up takes a lock.
    #[must_use]
    pub fn of(&self, name: &str) -> Arc<S> {
        let place = place(&mut lock(&self.names), name, MAX);
        let mut all = lock(&self.series);
        if all.len() <= place {
            all.resize_with(place + 1, Arc::default);
        }
        all.get(place).map(Arc::clone).unwrap_or_default()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of `name`, or of `other` if there are `max` names already.
fn place(names: &mut Vec<Box<str>>, name: &str, max: usize) -> usize {
    let find = |names: &[Box<str>], name: &str| names.iter().position(|known| **known == *name);
    if let Some(place) = find(names, name) {
        return place;
    }
    let name = if names.len() < max { name } else { "other" };
    find(names, name).unwrap_or_else(|| {
        names.push(name.into());
        names.len() - 1
    })
}

impl<N: Names, S: Series, const MAX: usize> Series for Named<N, S, MAX> {
    const KIND: MetricType = S::KIND;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let names = all.first().map(|own| lock(&own.names).clone()).unwrap_or_default();
        for (place, name) in names.iter().enumerate() {
            let of = |own: &&Self| lock(&own.series).get(place).map(Arc::clone);
            let series: Vec<Arc<S>> = all.iter().filter_map(of).collect();
            labels.push(pair(N::LABEL, name));
            S::collect(&series.iter().map(AsRef::as_ref).collect::<Vec<_>>(), labels, out);
            labels.pop();
        }
    }
}

impl<N, S: fmt::Debug, const MAX: usize> fmt::Debug for Named<N, S, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(lock(&self.names).iter().zip(lock(&self.series).iter())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::number::Counter;
    use super::*;

    struct Fruit;

    impl Names for Fruit {
        const LABEL: &'static str = "fruit";
    }

    #[test]
    fn names_beyond_the_cap_share_one_series() {
        let named = Named::<Fruit, Counter, 2>::default();
        for name in ["apple", "pear", "plum", "fig", "apple", "other"] {
            named.of(name).inc();
        }
        let mut out = Vec::new();
        Series::collect(&[&named], &mut Vec::new(), &mut out);
        let shown: Vec<_> = out
            .iter()
            .map(|m| (m.get_label()[0].value().to_owned(), m.get_counter().get_value()))
            .collect();
        let expected = [("apple", 2.0), ("pear", 1.0), ("other", 3.0)];
        assert_eq!(shown, expected.map(|(name, count)| (name.to_owned(), count)));
    }
}

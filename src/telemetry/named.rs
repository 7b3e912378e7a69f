//! One series for each thing that the configuration names, up to a number.
//!
//! Owns: [`Named`]. Never knows: what the names are of, how they come about.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::proto::{LabelPair, Metric, MetricType};

use super::number::{Series, pair};

/// What [`Named`] series are named by.
pub(crate) trait Names {
    /// The label's name in the exposition.
    const LABEL: &'static str;
}

/// One `S` for each of the first `MAX` names; all further names share one, `other`.
pub struct Named<N, S, const MAX: usize> {
    series: Mutex<Vec<(Box<str>, Arc<S>)>>,
    names: PhantomData<fn(N)>,
}

impl<N, S, const MAX: usize> Default for Named<N, S, MAX> {
    fn default() -> Self {
        Self { series: Mutex::default(), names: PhantomData }
    }
}

impl<N, S: Default, const MAX: usize> Named<N, S, MAX> {
    /// The series of `name`, to be kept by the caller: looking it up takes a lock.
    #[must_use]
    pub fn of(&self, name: &str) -> Arc<S> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |all: &[(Box<str>, Arc<S>)], name: &str| {
            all.iter().find(|(known, _)| **known == *name).map(|(_, series)| Arc::clone(series))
        };
        if let Some(series) = known(&all, name) {
            return series;
        }
        let name = if all.len() < MAX { name } else { "other" };
        known(&all, name).unwrap_or_else(|| {
            let series = Arc::<S>::default();
            all.push((name.into(), Arc::clone(&series)));
            series
        })
    }
}

impl<N: Names, S: Series, const MAX: usize> Series for Named<N, S, MAX> {
    const KIND: MetricType = S::KIND;

    fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, series) in all.iter() {
            labels.push(pair(N::LABEL, name));
            series.collect(labels, out);
            labels.pop();
        }
    }
}

impl<N, S: fmt::Debug, const MAX: usize> fmt::Debug for Named<N, S, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.series.lock().unwrap_or_else(PoisonError::into_inner), f)
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
        named.collect(&mut Vec::new(), &mut out);
        let said: Vec<_> = out
            .iter()
            .map(|m| (m.get_label()[0].value().to_owned(), m.get_counter().get_value()))
            .collect();
        let expected = [("apple", 2.0), ("pear", 1.0), ("other", 3.0)];
        assert_eq!(said, expected.map(|(name, count)| (name.to_owned(), count)));
    }
}

//! How often values fell into each of a fixed set of ranges.
//!
//! Owns: [`Histogram`], [`Scale`]. Never knows: a metric's name.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use prometheus::proto::{self, LabelPair, Metric, MetricType};

use super::number::{Counter, NANOS, Series, Sharded, float, nanos, total};

/// What a histogram measures and where its buckets end.
pub trait Scale: fmt::Debug + Default {
    /// What is observed.
    type Value: Copy;
    /// Upper bounds of the buckets, ascending, as [`Scale::raw`] gives them; the last bucket is open.
    const BOUNDS: &'static [u64];
    /// How much of [`Scale::raw`] makes one unit in the exposition.
    const UNIT: f64;

    fn raw(value: Self::Value) -> u64;
}

macro_rules! scales {
    ($( $(#[doc = $doc:literal])+ $name:ident: $value:ty, $raw:expr, $unit:expr, [$($bound:literal)+]; )+) => { $(
        $(#[doc = $doc])+
        #[derive(Debug, Default)]
        pub struct $name;

        impl Scale for $name {
            type Value = $value;
            const BOUNDS: &'static [u64] = &[$($bound),+];
            const UNIT: f64 = $unit;

            #[inline]
            fn raw(value: $value) -> u64 {
                $raw(value)
            }
        }
    )+ };
}

scales! {
    /// Time of a command: 50 µs to 5 s.
    Latency: Duration, nanos, NANOS, [
        50_000 100_000 250_000 500_000 1_000_000 2_500_000 5_000_000 10_000_000 25_000_000
        50_000_000 100_000_000 250_000_000 1_000_000_000 5_000_000_000
    ];
    /// Time of a TLS handshake: 0.5 ms to 10 s.
    HandshakeTime: Duration, nanos, NANOS, [
        500_000 1_000_000 2_500_000 5_000_000 10_000_000 25_000_000 50_000_000 100_000_000
        250_000_000 1_000_000_000 5_000_000_000 10_000_000_000
    ];
    /// Time in a queue: 50 µs to 1 s.
    Wait: Duration, nanos, NANOS, [
        50_000 100_000 250_000 1_000_000 5_000_000 10_000_000 50_000_000 100_000_000 250_000_000
        1_000_000_000
    ];
    /// How many travelled together: 1 to 1024.
    Batch: u64, std::convert::identity, 1.0, [1 2 4 8 16 64 256 1024];
}

/// How often values fell into each range, and their sum; single writer.
#[derive(Debug)]
pub struct Histogram<S> {
    buckets: Box<[Counter]>,
    sum: Counter,
    scale: PhantomData<S>,
}

impl<S: Scale> Default for Histogram<S> {
    fn default() -> Self {
        let buckets = (0..=S::BOUNDS.len()).map(|_| Counter::default()).collect();
        Self { buckets, sum: Counter::default(), scale: PhantomData }
    }
}

impl<S: Scale> Sharded for Histogram<S> {}

impl<S: Scale> Histogram<S> {
    #[inline]
    pub fn observe(&self, value: S::Value) {
        self.observe_many(value, 1);
    }

    /// Counts like `n` calls of [`Histogram::observe`], for a batch that shares one clock reading.
    #[inline]
    pub fn observe_many(&self, value: S::Value, n: u64) {
        let raw = S::raw(value);
        let place = S::BOUNDS.iter().position(|bound| raw <= *bound).unwrap_or(S::BOUNDS.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.add(n);
        }
        self.sum.add(raw.saturating_mul(n));
    }
}

impl<S: Scale> Series for Histogram<S> {
    const KIND: MetricType = MetricType::HISTOGRAM;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let count = |place| total(all.iter().filter_map(|own| own.buckets.get(place)));
        let counts: Vec<u64> = (0..=S::BOUNDS.len()).map(count).collect();
        let mut histogram = proto::Histogram::default();
        let mut cumulative = 0;
        let buckets = S::BOUNDS.iter().zip(&counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(float(*bound) / S::UNIT);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(float(total(all.iter().map(|own| &own.sum))) / S::UNIT);
        let mut metric = Metric::from_label(labels.clone());
        metric.set_histogram(histogram);
        out.push(metric);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(histograms: &[&Histogram<impl Scale>]) -> Metric {
        let mut out = Vec::new();
        Series::collect(histograms, &mut Vec::new(), &mut out);
        assert_eq!(out.len(), 1);
        out.remove(0)
    }

    #[test]
    fn value_on_a_bound_belongs_to_its_bucket() {
        let h = Histogram::<Batch>::default();
        for value in [0, 1, 2, 3, 1024] {
            h.observe(value);
        }
        h.observe_many(1025, 2);
        let metric = only(&[&h]);
        let h = metric.get_histogram();
        let buckets: Vec<(f64, u64)> =
            h.get_bucket().iter().map(|b| (b.upper_bound(), b.cumulative_count())).collect();
        assert_eq!(buckets[..3], [(1.0, 2), (2.0, 3), (4.0, 4)]);
        assert_eq!(buckets.last(), Some(&(1024.0, 5)));
        assert_eq!((h.get_sample_count(), h.get_sample_sum()), (7, 3080.0));
    }

    #[test]
    fn durations_are_seconds() {
        let h = Histogram::<Latency>::default();
        h.observe(Duration::from_micros(50));
        h.observe(Duration::from_nanos(50_001));
        let metric = only(&[&h]);
        let first = &metric.get_histogram().get_bucket()[0];
        assert_eq!((first.upper_bound(), first.cumulative_count()), (0.000_05, 1));
    }

    #[test]
    fn histograms_of_several_writers_are_summed() {
        let (one, two) = (Histogram::<Batch>::default(), Histogram::default());
        one.observe(1);
        two.observe_many(3, 2);
        let metric = only(&[&one, &two]);
        let sum = metric.get_histogram();
        assert_eq!((sum.get_sample_count(), sum.get_sample_sum()), (3, 7.0));
        assert_eq!(sum.get_bucket()[2].cumulative_count(), 3);
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [Latency::BOUNDS, HandshakeTime::BOUNDS, Wait::BOUNDS, Batch::BOUNDS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }
}

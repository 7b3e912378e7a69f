//! Numbers that one thread writes and another reads at any time, without locks or waiting.
//!
//! Owns: counters, gauges, histograms and their form in the exposition. Never knows: a metric's name.
//!
//! [`Counter`], [`Gauge`] and [`Histogram`] have a *single writer*: they are changed by the thread of
//! the data plane alone, with a plain load and a plain store. A second writer would lose counts,
//! nothing worse. What several threads count is a [`SharedCounter`].

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::proto::{self, LabelPair, Metric, MetricType};

/// Something the exposition shows as one or more lines.
pub(crate) trait Series {
    const KIND: MetricType;

    /// Appends the current value under the given labels. The caller that pushes a label takes it off again.
    fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>);

    /// Whether nothing has happened yet.
    fn untouched(&self) -> bool {
        false
    }
}

/// A label with its value.
pub(super) fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

pub(super) fn counter(labels: &[LabelPair], value: f64) -> Metric {
    let mut metric = Metric::from_label(labels.to_vec());
    let mut counter = proto::Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

pub(super) fn gauge(labels: &[LabelPair], value: f64) -> Metric {
    let mut metric = Metric::from_label(labels.to_vec());
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

#[allow(clippy::cast_precision_loss, reason = "the exposition knows only f64")]
const fn float(value: u64) -> f64 {
    value as f64
}

/// Both kinds of counter, for what may be built on either.
pub trait Count: Default + fmt::Debug {
    fn add(&self, n: u64);
    fn get(&self) -> u64;
}

/// A number that only grows; single writer.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that only grows; any thread may add.
#[derive(Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    pub fn inc(&self) {
        self.add(1);
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($name:ident)+) => { $(
        impl Count for $name {
            #[inline]
            fn add(&self, n: u64) {
                self.add(n);
            }

            fn get(&self) -> u64 {
                self.get()
            }
        }

        impl Series for $name {
            const KIND: MetricType = MetricType::COUNTER;

            fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
                out.push(counter(labels, float(self.get())));
            }

            fn untouched(&self) -> bool {
                self.get() == 0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.get(), f)
            }
        }
    )+ };
}
counters! { Counter SharedCounter }

/// A series that appears with its first event, for label sets that are large and mostly unused.
#[derive(Debug, Default)]
pub struct Lazy<S>(S);

impl<S> Deref for Lazy<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Series> Series for Lazy<S> {
    const KIND: MetricType = S::KIND;

    fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        if !self.0.untouched() {
            self.0.collect(labels, out);
        }
    }
}

/// Time spent, summed; any thread may add.
#[derive(Debug, Default)]
pub struct SecondsTotal(SharedCounter);

impl SecondsTotal {
    pub fn add(&self, time: Duration) {
        self.0.add(nanos(time));
    }
}

impl Series for SecondsTotal {
    const KIND: MetricType = MetricType::COUNTER;

    fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        out.push(counter(labels, float(self.0.get()) / NANOS));
    }
}

/// A number that goes up and down; single writer.
#[derive(Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }

    #[inline]
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

impl Series for Gauge {
    const KIND: MetricType = MetricType::GAUGE;

    #[allow(clippy::cast_precision_loss, reason = "the exposition knows only f64")]
    fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        out.push(gauge(labels, self.get() as f64));
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

/// Yes or no, as 1 or 0.
#[derive(Debug, Default)]
pub struct Flag(Gauge);

impl Flag {
    pub fn set(&self, yes: bool) {
        self.0.set(i64::from(yes));
    }

    #[must_use]
    pub fn get(&self) -> bool {
        self.0.get() != 0
    }
}

impl Series for Flag {
    const KIND: MetricType = MetricType::GAUGE;

    fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        self.0.collect(labels, out);
    }
}

/// A duration of the present, in seconds.
#[derive(Debug, Default)]
pub struct Seconds(AtomicU64);

impl Seconds {
    pub fn set(&self, time: Duration) {
        self.0.store(nanos(time), Relaxed);
    }
}

impl Series for Seconds {
    const KIND: MetricType = MetricType::GAUGE;

    fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        out.push(gauge(labels, float(self.0.load(Relaxed)) / NANOS));
    }
}

/// An instant, in seconds since 1970; absent until it is set, so that no alert takes "never" for 1970.
#[derive(Debug, Default)]
pub struct Timestamp(Gauge);

impl Timestamp {
    /// Instants before 1970 count as 1970.
    pub fn set(&self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.set_unix(i64::try_from(since).unwrap_or(i64::MAX));
    }

    /// Seconds since 1970, as certificates have them.
    pub fn set_unix(&self, seconds: i64) {
        self.0.set(seconds);
    }

    /// The instant is of nothing any more.
    pub fn clear(&self) {
        self.0.set(0);
    }
}

impl Series for Timestamp {
    const KIND: MetricType = MetricType::GAUGE;

    fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        if self.0.get() != 0 {
            self.0.collect(labels, out);
        }
    }
}

const NANOS: f64 = 1e9;

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

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

/// How often values fell into each range, and their sum; single writer unless made of `SharedCounter`.
#[derive(Debug)]
pub struct Histogram<S, C = Counter> {
    buckets: Box<[C]>,
    sum: C,
    scale: PhantomData<S>,
}

impl<S: Scale, C: Count> Default for Histogram<S, C> {
    fn default() -> Self {
        let buckets = (0..=S::BOUNDS.len()).map(|_| C::default()).collect();
        Self { buckets, sum: C::default(), scale: PhantomData }
    }
}

impl<S: Scale, C: Count> Histogram<S, C> {
    #[inline]
    pub fn observe(&self, value: S::Value) {
        self.observe_many(value, 1);
    }

    /// As `n` times [`Histogram::observe`], for a batch that shares one clock reading.
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

impl<S: Scale, C: Count> Series for Histogram<S, C> {
    const KIND: MetricType = MetricType::HISTOGRAM;

    fn collect(&self, labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let counts: Vec<u64> = self.buckets.iter().map(Count::get).collect();
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
        histogram.set_sample_sum(float(self.sum.get()) / S::UNIT);
        let mut metric = Metric::from_label(labels.clone());
        metric.set_histogram(histogram);
        out.push(metric);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(series: &impl Series) -> Metric {
        let mut out = Vec::new();
        series.collect(&mut Vec::new(), &mut out);
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
        let metric = only(&h);
        let h = metric.get_histogram();
        let buckets: Vec<(f64, u64)> =
            h.get_bucket().iter().map(|b| (b.upper_bound(), b.cumulative_count())).collect();
        assert_eq!(buckets[..3], [(1.0, 2), (2.0, 3), (4.0, 4)]);
        assert_eq!(buckets.last(), Some(&(1024.0, 5)));
        assert_eq!((h.get_sample_count(), h.get_sample_sum()), (7, 3080.0));
    }

    #[test]
    fn durations_are_seconds() {
        let h = Histogram::<Latency, SharedCounter>::default();
        h.observe(Duration::from_micros(50));
        h.observe(Duration::from_nanos(50_001));
        let metric = only(&h);
        let first = &metric.get_histogram().get_bucket()[0];
        assert_eq!((first.upper_bound(), first.cumulative_count()), (0.000_05, 1));

        let total = SecondsTotal::default();
        total.add(Duration::from_millis(1500));
        assert_eq!(only(&total).get_counter().get_value(), 1.5);
        let seconds = Seconds::default();
        seconds.set(Duration::from_millis(250));
        assert_eq!(only(&seconds).get_gauge().get_value(), 0.25);
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [Latency::BOUNDS, HandshakeTime::BOUNDS, Wait::BOUNDS, Batch::BOUNDS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }

    #[test]
    fn counter_that_never_moved_is_absent() {
        let mut out = Vec::new();
        let (lazy, at) = (Lazy::<SharedCounter>::default(), Timestamp::default());
        lazy.collect(&mut Vec::new(), &mut out);
        at.collect(&mut Vec::new(), &mut out);
        assert!(out.is_empty());
        lazy.inc();
        at.set(UNIX_EPOCH + Duration::from_secs(86_400));
        assert_eq!(only(&lazy).get_counter().get_value(), 1.0);
        assert_eq!(only(&at).get_gauge().get_value(), 86_400.0);
    }

    #[test]
    fn any_thread_may_add_to_a_shared_counter() {
        let shared = SharedCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| shared.inc()));
            }
        });
        assert_eq!(shared.get(), 40_000);
    }
}

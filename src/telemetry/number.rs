//! Numbers that one thread writes and another reads at any time, without locks or waiting.
//!
//! Owns: counters, gauges and their form in the exposition. Never knows: a metric's name.
//!
//! [`Counter`], [`Gauge`] and what is made of them have a *single writer*, with a plain load and a plain store: a
//! second one would lose counts. So each writer has its own ([`super::shard`]), and what is shown is the
//! sum. What any thread may set has one value for the process ([`Level`], [`Timestamp`], [`Seconds`]).

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::proto::{self, LabelPair, Metric, MetricType};

/// Something the exposition shows as one or more lines.
pub(crate) trait Series: Sized {
    const KIND: MetricType;

    /// Appends the sum of the same series of all writers under the given labels. The caller that pushes a
    /// label takes it off again.
    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>);

    /// Whether nothing has happened yet.
    fn untouched(&self) -> bool {
        false
    }
}

/// A series that each writer has for itself.
pub(crate) trait Sharded: Default {
    /// This series for another writer, at zero.
    fn sibling(&self) -> Self {
        Self::default()
    }
}

/// What one writer does not have.
impl Sharded for () {}

/// One part of each series.
pub(super) fn parts<'a, S, T>(all: &[&'a S], part: impl Fn(&'a S) -> &'a T) -> Vec<&'a T> {
    all.iter().map(|series| part(series)).collect()
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
pub(super) const fn float(value: u64) -> f64 {
    value as f64
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

impl Sharded for Counter {}

impl Series for Counter {
    const KIND: MetricType = MetricType::COUNTER;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        out.push(counter(labels, float(total(all.iter().copied()))));
    }

    fn untouched(&self) -> bool {
        self.get() == 0
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

pub(super) fn total<'a>(all: impl Iterator<Item = &'a Counter>) -> u64 {
    all.fold(0, |total, counter| total.wrapping_add(counter.get()))
}

/// A series that appears with its first event, for label sets that are large and mostly unused.
#[derive(Debug, Default)]
pub struct Lazy<S>(S);

impl<S> Deref for Lazy<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Default> Sharded for Lazy<S> {}

impl<S: Series> Series for Lazy<S> {
    const KIND: MetricType = S::KIND;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        if !all.iter().all(|series| series.0.untouched()) {
            S::collect(&parts(all, |series| &series.0), labels, out);
        }
    }
}

/// Time spent, summed; single writer.
#[derive(Debug, Default)]
pub struct SecondsTotal(Counter);

impl SecondsTotal {
    pub fn add(&self, time: Duration) {
        self.0.add(nanos(time));
    }
}

impl Sharded for SecondsTotal {}

impl Series for SecondsTotal {
    const KIND: MetricType = MetricType::COUNTER;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let nanos = total(all.iter().map(|series| &series.0));
        out.push(counter(labels, float(nanos) / NANOS));
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

impl Sharded for Gauge {}

impl Series for Gauge {
    const KIND: MetricType = MetricType::GAUGE;

    #[allow(clippy::cast_precision_loss, reason = "the exposition knows only f64")]
    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let total = all.iter().fold(0, |total: i64, gauge| total.wrapping_add(gauge.get()));
        out.push(gauge(labels, total as f64));
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

/// A number of the present that any thread may set; the last one holds.
#[derive(Debug, Default)]
pub struct Level(Gauge);

impl Level {
    pub fn set(&self, value: i64) {
        self.0.set(value);
    }

    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.get()
    }
}

impl Series for Level {
    const KIND: MetricType = MetricType::GAUGE;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        Gauge::collect(&parts(all, |level| &level.0), labels, out);
    }
}

/// Yes or no, as 1 or 0; of several writers, whether one has set it.
#[derive(Debug, Default)]
pub struct Flag(Level);

impl Flag {
    pub fn set(&self, yes: bool) {
        self.0.set(i64::from(yes));
    }

    #[must_use]
    pub fn get(&self) -> bool {
        self.0.get() != 0
    }
}

impl Sharded for Flag {}

impl Series for Flag {
    const KIND: MetricType = MetricType::GAUGE;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let yes = all.iter().any(|flag| flag.get());
        out.push(gauge(labels, f64::from(u8::from(yes))));
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

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        for time in all {
            out.push(gauge(labels, float(time.0.load(Relaxed)) / NANOS));
        }
    }
}

/// An instant, in seconds since 1970; absent until it is set, so that no alert takes "never" for 1970.
#[derive(Debug, Default)]
pub struct Timestamp(Level);

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

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        for at in all.iter().filter(|at| at.0.get() != 0) {
            Level::collect(&[&at.0], labels, out);
        }
    }
}

pub(super) const NANOS: f64 = 1e9;

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(series: &impl Series) -> Metric {
        let mut out = Vec::new();
        Series::collect(&[series], &mut Vec::new(), &mut out);
        assert_eq!(out.len(), 1);
        out.remove(0)
    }

    #[test]
    fn durations_are_seconds() {
        let total = SecondsTotal::default();
        total.add(Duration::from_millis(1500));
        assert_eq!(only(&total).get_counter().get_value(), 1.5);
        let seconds = Seconds::default();
        seconds.set(Duration::from_millis(250));
        assert_eq!(only(&seconds).get_gauge().get_value(), 0.25);
    }

    #[test]
    fn counter_that_never_moved_is_absent() {
        let mut out = Vec::new();
        let (lazy, at) = (Lazy::<Counter>::default(), Timestamp::default());
        Series::collect(&[&lazy, &Lazy::default()], &mut Vec::new(), &mut out);
        Series::collect(&[&at], &mut Vec::new(), &mut out);
        assert!(out.is_empty());
        lazy.inc();
        at.set(UNIX_EPOCH + Duration::from_secs(86_400));
        assert_eq!(only(&lazy).get_counter().get_value(), 1.0);
        assert_eq!(only(&at).get_gauge().get_value(), 86_400.0);
    }

    #[test]
    fn series_of_several_writers_are_summed() {
        let (one, two) = (Gauge::default(), Gauge::default());
        one.add(5);
        two.add(-2);
        let mut out = Vec::new();
        Series::collect(&[&one, &two], &mut Vec::new(), &mut out);
        let (no, yes) = (Flag::default(), Flag::default());
        yes.set(true);
        Series::collect(&[&no, &yes], &mut Vec::new(), &mut out);
        let (one, two) = (SecondsTotal::default(), SecondsTotal::default());
        one.add(Duration::from_millis(500));
        two.add(Duration::from_millis(250));
        Series::collect(&[&one, &two], &mut Vec::new(), &mut out);
        assert_eq!(out[0].get_gauge().get_value(), 3.0);
        assert_eq!(out[1].get_gauge().get_value(), 1.0);
        assert_eq!(out[2].get_counter().get_value(), 0.75);
    }
}

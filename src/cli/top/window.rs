//! What happened between two moments: how often, how long.
//!
//! Owns: [`Window`], [`Histogram`]. Never knows: clocks, which metrics there are.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Series};

/// Two moments, and the time between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'a> {
    pub before: &'a Exposition,
    pub after: &'a Exposition,
    pub seconds: f64,
}

/// How often, for each value of a label; not a number when that is not known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rate {
    pub name: String,
    pub per_second: f64,
    pub total: f64,
}

/// How many were at most how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    pub count: f64,
    pub sum: f64,
    /// The upper end of each bucket, and how many are at or below it.
    buckets: Vec<(f64, f64)>,
}

/// The time that a share of all does not exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quantile {
    ClientInfo(f64),
    /// More than this, which is where the last bucket ends.
    Beyond(f64),
}

impl<'a> Window<'a> {
    /// How much a counter has grown. One that is smaller than before began again at 0.
    fn growth(&self, name: &str, series: &Series) -> f64 {
        let same = |old: &&Series| old.labels == series.labels;
        let before = self.before.series(name).iter().find(same).map_or(0.0, |old| old.value);
        let growth = series.value - before;
        if growth < 0.0 { series.value } else { growth }
    }

    fn found(
        &self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Series> {
        self.after.series(name).iter().filter(|series| series.matches(labels))
    }

    /// The growth of all series with these labels together; `None` when there is none.
    pub(super) fn increase(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.found(name, labels).map(|series| self.growth(name, series));
        found.reduce(|a, b| a + b)
    }

    pub(super) fn rate(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let increase = self.increase(name, labels)?;
        (self.seconds > 0.0).then(|| increase / self.seconds)
    }

    /// The rates of one metric by the values of these labels, joined by a blank; the most frequent
    /// first, then the largest, then by name.
    pub(super) fn rates_by(&self, name: &str, labels: &[&str]) -> Vec<Rate> {
        let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for series in self.after.series(name) {
            let values = labels.iter().filter_map(|label| series.label(label));
            let sum = sums.entry(values.collect::<Vec<_>>().join(" ")).or_default();
            sum.0 += self.growth(name, series);
            sum.1 += series.value;
        }
        let seconds = if self.seconds > 0.0 { self.seconds } else { f64::NAN };
        let mut rates: Vec<Rate> = sums
            .into_iter()
            .map(|(name, (growth, total))| Rate { name, per_second: growth / seconds, total })
            .collect();
        rates.sort_by(|a, b| {
            b.per_second.total_cmp(&a.per_second).then(b.total.total_cmp(&a.total))
        });
        rates
    }

    /// What a histogram has counted in this time.
    pub(super) fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Histogram {
        let of = |suffix: &str| {
            let name = format!("{name}_{suffix}");
            let found = self.after.series(&name).iter().filter(|series| series.matches(labels));
            found.map(|series| (series, self.growth(&name, series))).collect::<Vec<_>>()
        };
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (series, growth) in of("bucket") {
            let Some(end) = series.label("le").and_then(|end| end.parse::<f64>().ok()) else {
                continue;
            };
            match buckets.iter_mut().find(|(other, _)| other.total_cmp(&end).is_eq()) {
                Some((_, count)) => *count += growth,
                None => buckets.push((end, growth)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sum = |suffix: &str| of(suffix).iter().map(|(_, growth)| growth).sum();
        Histogram { count: sum("count"), sum: sum("sum"), buckets }
    }
}

impl Histogram {
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// Within a bucket all values are taken to be spread evenly, as Prometheus does.
    pub(super) fn quantile(&self, share: f64) -> Option<Quantile> {
        let total = self.buckets.last()?.1;
        if !total.is_finite() || total <= 0.0 {
            return None;
        }
        let rank = share * total;
        let (mut start, mut below) = (0.0, 0.0);
        for &(end, count) in &self.buckets {
            if count >= rank {
                if end.is_infinite() {
                    return Some(Quantile::Beyond(start));
                }
                let within = count - below;
                let part = if within > 0.0 { (rank - below) / within } else { 1.0 };
                return Some(Quantile::ClientInfo(start + (end - start) * part));
            }
            (start, below) = (end, count);
        }
        Some(Quantile::Beyond(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window<T>(before: &str, after: &str, seconds: f64, f: impl FnOnce(Window<'_>) -> T) -> T {
        let (before, after) = (Exposition::parse(before), Exposition::parse(after));
        f(Window { before: &before, after: &after, seconds })
    }

    #[test]
    fn rates_come_from_two_moments() {
        let (before, after) = ("a{x=\"1\"} 5\na{x=\"2\"} 7", "a{x=\"1\"} 25\na{x=\"2\"} 7");
        window(before, after, 2.0, |w| {
            assert_eq!(w.rate("a", &[]), Some(10.0));
            assert_eq!(w.rate("a", &[("x", "2")]), Some(0.0));
            assert_eq!(w.rate("a", &[("x", "3")]), None);
            assert_eq!(w.rate("b", &[]), None);
            let rates = w.rates_by("a", &["x"]);
            assert_eq!(rates.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        });
        // A series that was not there has counted from 0; no time has passed: no rate.
        window("", "a 4", 1.0, |w| assert_eq!(w.rate("a", &[]), Some(4.0)));
        window("", "a 4", 0.0, |w| {
            assert_eq!(w.rate("a", &[]), None);
            assert!(w.rates_by("a", &[]).first().is_some_and(|rate| rate.per_second.is_nan()));
        });
    }

    #[test]
    fn counter_that_shrinks_began_again() {
        window("a{x=\"1\"} 1000\na{x=\"2\"} 10", "a{x=\"1\"} 6\na{x=\"2\"} 12", 2.0, |w| {
            assert_eq!(w.rate("a", &[]), Some(4.0));
        });
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let bucket = |le: &str, count: u32| format!("h_bucket{{le=\"{le}\"}} {count}\n");
        let after = [bucket("0.1", 50), bucket("0.2", 90), bucket("1", 99), bucket("+Inf", 100)]
            .concat()
            + "h_sum 20\nh_count 100\n";
        window("", &after, 1.0, |w| {
            let histogram = w.histogram("h", &[]);
            assert_eq!(histogram.mean(), Some(0.2));
            assert_eq!(histogram.quantile(0.5), Some(Quantile::ClientInfo(0.1)));
            assert_eq!(histogram.quantile(0.25), Some(Quantile::ClientInfo(0.05)));
            assert_eq!(histogram.quantile(0.7), Some(Quantile::ClientInfo(0.15000000000000002)));
            assert_eq!(histogram.quantile(0.999), Some(Quantile::Beyond(1.0)));
        });
        window(&after, &after, 1.0, |w| {
            let histogram = w.histogram("h", &[]);
            assert_eq!((histogram.mean(), histogram.quantile(0.5)), (None, None));
        });
        window("", "", 1.0, |w| assert_eq!(w.histogram("h", &[]), Histogram::default()));
        window("", "h_bucket{le=\"x\"} 1\nh_bucket{le=\"1\"} NaN", 1.0, |w| {
            assert_eq!(w.histogram("h", &[]).quantile(0.5), None);
        });
    }
}

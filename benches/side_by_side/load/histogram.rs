//! Latencies, counted in buckets of 3 %.
//!
//! Owns: [`Histogram`]. Never knows: what was measured.

use std::time::Duration;

/// Buckets per doubling.
const FINE: u64 = 32;
const FINE_BITS: u32 = FINE.trailing_zeros();

#[derive(Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], total: 0, max: 0 }
    }
}

/// Values below twice [`FINE`] have a bucket each; above, the leading bits choose.
fn bucket(nanoseconds: u64) -> usize {
    let shift = nanoseconds.max(1).ilog2().saturating_sub(FINE_BITS);
    (u64::from(shift) * FINE + (nanoseconds >> shift)) as usize
}

/// The least value of a bucket.
fn floor(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / FINE).saturating_sub(1);
    (bucket - shift * FINE) << shift
}

impl Histogram {
    pub fn add(&mut self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The value below which `share` of all lie, in microseconds; 0 of nothing.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return floor(index) as f64 / 1e3;
            }
        }
        0.0
    }

    pub fn max_us(&self) -> f64 {
        self.max as f64 / 1e3
    }
}

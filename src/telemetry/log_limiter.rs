//! Limits how often one place in the code may log, so that a fault repeated a thousand times a second
//! does not bury the line that explains it.
//!
//! Owns: [`LogLimiter`]. Never knows: formats, outputs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::metrics::Metrics;
use crate::base::clock;
use crate::base::limits;

/// The layer. `debug` and `trace` are not limited: every line is wanted where they are on.
#[derive(Debug)]
pub(super) struct LogLimiter {
    buckets: Mutex<HashMap<Identifier, Bucket>>,
    metrics: Arc<Metrics>,
}

impl LogLimiter {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { buckets: Mutex::default(), metrics }
    }
}

impl<S: Subscriber> Layer<S> for LogLimiter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let now = clock::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets
            .entry(event.metadata().callsite())
            .or_insert(Bucket { tokens: limits::LOG_BURST, since: now });
        let passes = bucket.take(now);
        if !passes {
            self.metrics.shard().log_events_dropped_total.inc();
        }
        passes
    }
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    /// Up to when tokens were given.
    since: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        while self.tokens < limits::LOG_BURST
            && now.saturating_duration_since(self.since) >= limits::LOG_REFILL_INTERVAL
        {
            self.since += limits::LOG_REFILL_INTERVAL;
            self.tokens += 1;
        }
        if self.tokens == limits::LOG_BURST {
            self.since = now;
        }
        let passes = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        passes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn burst_passes_then_a_trickle_then_a_burst_again() {
        let start = clock::now();
        let mut bucket = Bucket { tokens: limits::LOG_BURST, since: start };
        let mut passed = |at, tries| (0..tries).filter(|_| bucket.take(start + at)).count();
        assert_eq!(passed(Duration::ZERO, 1000), 50);
        assert_eq!(passed(limits::LOG_REFILL_INTERVAL - Duration::from_nanos(1), 10), 0);
        assert_eq!(passed(limits::LOG_REFILL_INTERVAL, 10), 1);
        assert_eq!(passed(limits::LOG_REFILL_INTERVAL * 3, 10), 2);
        assert_eq!(passed(Duration::from_secs(3600), 1000), 50);
    }
}

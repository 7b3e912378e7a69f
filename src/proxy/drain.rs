//! When a process that drains may exit.
//!
//! Owns: [`wait`]. Never knows: signals, connections.

use crate::base::clock;
use crate::base::limits;
use crate::config::Drain;
use crate::telemetry::Metrics;

/// Returns when no client has been connected for `quiet` and `min` has passed, or `max` has passed.
pub(super) async fn wait(settings: &Drain, metrics: &Metrics, clients: impl Fn() -> usize) {
    let began = clock::now();
    let mut empty_since = None;
    loop {
        let now = clock::now();
        let elapsed = now.saturating_duration_since(began);
        let clients = clients();
        metrics.drain_remaining_connections.set(i64::try_from(clients).unwrap_or(i64::MAX));
        if clients > 0 {
            empty_since = None;
        }
        let quiet = clients == 0
            && now.saturating_duration_since(*empty_since.get_or_insert(now)) >= settings.quiet;
        if elapsed >= settings.max || (quiet && elapsed >= settings.min) {
            return;
        }
        tokio::time::sleep(limits::DRAIN_CHECK_INTERVAL.min(settings.max.saturating_sub(elapsed)))
            .await;
    }
}

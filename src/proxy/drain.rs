//! When a process that drains may exit.
//!
//! Owns: [`wait`]. Never knows: signals, connections.

use std::time::{Duration, Instant};

use crate::base::clock;
use crate::base::limits;
use crate::config::Drain;
use crate::telemetry::Metrics;

/// Returns when no client has been connected for `quiet` and `min` has passed, or `max` has passed.
pub(super) async fn wait(settings: &Drain, metrics: &Metrics, clients: impl Fn() -> usize) {
    let mut quiet = Quiet::new(clock::now());
    loop {
        let clients = clients();
        metrics.drain_remaining_connections.set(i64::try_from(clients).unwrap_or(i64::MAX));
        let Some(wait) = quiet.poll(settings, clients, clock::now()) else { return };
        tokio::time::sleep(wait).await;
    }
}

/// How long a drain has lasted, and since when no client has been connected.
#[derive(Debug)]
struct Quiet {
    began: Instant,
    empty_since: Option<Instant>,
}

impl Quiet {
    const fn new(now: Instant) -> Self {
        Self { began: now, empty_since: None }
    }

    /// When to look again; `None`: the drain is over.
    fn poll(&mut self, settings: &Drain, clients: usize, now: Instant) -> Option<Duration> {
        let elapsed = now.saturating_duration_since(self.began);
        if clients > 0 {
            self.empty_since = None;
        }
        let quiet = clients == 0
            && now.saturating_duration_since(*self.empty_since.get_or_insert(now))
                >= settings.quiet;
        if elapsed >= settings.max || (quiet && elapsed >= settings.min) {
            return None;
        }
        Some(limits::DRAIN_CHECK_INTERVAL.min(settings.max - elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a drain ends at which so many clients are connected at each second.
    fn end(min: u64, quiet: u64, max: u64, clients: &[usize]) -> u64 {
        let seconds = Duration::from_secs;
        let settings = Drain {
            min: seconds(min),
            quiet: seconds(quiet),
            max: seconds(max),
            ..Drain::default()
        };
        let begin = clock::now();
        let (mut drain, mut now) = (Quiet::new(begin), begin);
        loop {
            let at = (now - begin).as_secs();
            let clients = clients.get(usize::try_from(at).unwrap()).or_else(|| clients.last());
            match drain.poll(&settings, *clients.unwrap(), now) {
                None => return (now - begin).as_secs(),
                Some(wait) => now += wait,
            }
        }
    }

    #[test]
    fn drain_ends_when_no_client_has_come_for_a_while_and_at_its_longest() {
        assert_eq!(end(0, 0, 30, &[0]), 0);
        assert_eq!(end(5, 0, 30, &[0]), 5, "new clients may still be sent here");
        assert_eq!(end(0, 3, 30, &[2, 1, 0]), 5);
        assert_eq!(end(0, 3, 30, &[0, 0, 1, 0]), 6, "one that comes begins it anew");
        assert_eq!(end(8, 3, 30, &[0]), 8);
        assert_eq!(end(0, 0, 30, &[1]), 30);
    }
}

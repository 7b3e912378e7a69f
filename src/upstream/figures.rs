//! What the upstream side counts, in the words of its own code.
//!
//! Owns: which event moves which metric. Never knows: how metrics are printed, connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dial::Link;
use super::failure::DialError;
use crate::base::elapsed::Elapsed;
use crate::telemetry::{
    ConnectResult, ErrorCode, HandshakeResult, HealthResult, Metrics, RetryResult,
    UpstreamAuthResult, UpstreamDisconnect, UpstreamState,
};
use crate::traffic::Unavailable;

#[derive(Debug)]
pub(super) struct Figures(Arc<Metrics>, Elapsed);

impl Figures {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics, Elapsed::default())
    }

    /// How long a command took that was sent at `since`.
    #[inline]
    pub(super) fn elapsed(&self, since: Instant, now: Instant) -> Duration {
        self.1.between(since, now)
    }

    pub(super) fn dialed(&self, result: Result<&Link, &DialError>) {
        let metrics = &self.0;
        let outcome = match result {
            Ok(link) => {
                metrics.upstream_auth_total[UpstreamAuthResult::Ok].inc();
                if let Some(handshake) = &link.handshake {
                    let kind = if handshake.resumed {
                        HandshakeResult::Resumed
                    } else {
                        HandshakeResult::Full
                    };
                    metrics.tls_handshakes_total[kind].inc();
                    metrics.tls_handshake_duration_seconds.observe(handshake.duration);
                }
                ConnectResult::Ok
            }
            Err(error) => match error.what {
                Unavailable::Resolve => ConnectResult::Dns,
                Unavailable::Tls => {
                    metrics.tls_handshakes_total[HandshakeResult::Failed].inc();
                    ConnectResult::Tls
                }
                Unavailable::Auth => {
                    metrics.upstream_auth_total[UpstreamAuthResult::Other].inc();
                    ConnectResult::Auth
                }
                Unavailable::Timeout => ConnectResult::Timeout,
                Unavailable::Protocol => ConnectResult::Protocol,
                Unavailable::Loading => ConnectResult::Loading,
                Unavailable::Connect | Unavailable::Exhausted | Unavailable::Overloaded => {
                    ConnectResult::Tcp
                }
            },
        };
        metrics.upstream_connects_total[outcome].inc();
    }

    pub(super) fn received(&self, bytes: usize) {
        self.0.upstream_receive_bytes_total.add(bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.0.upstream_transmit_bytes_total.add(bytes as u64);
    }

    pub(super) fn batch(&self, requests: u64) {
        self.0.upstream_batch_commands.observe(requests);
    }

    pub(super) fn answered(&self, after: Duration) {
        self.0.upstream_command_duration_seconds.observe(after);
    }

    /// An error line of the server, `-` included.
    pub(super) fn error_line(&self, line: &[u8]) {
        let word = line.get(1..).unwrap_or_default().split(|byte| *byte == b' ').next();
        self.0.upstream_errors_total[ErrorCode::of(word.unwrap_or_default())].inc();
    }

    /// The wait before the next attempt to connect.
    pub(super) fn backoff(&self, wait: Duration) {
        self.0.upstream_reconnect_backoff_seconds.set(wait);
    }

    /// Commands that wait for a shared connection.
    pub(super) fn waiting(&self, change: i64) {
        self.0.upstream_queue_depth.add(change);
    }

    /// A command has waited for a connection.
    pub(super) fn waited(&self, time: Duration) {
        self.0.upstream_queue_wait_seconds.observe(time);
    }

    pub(super) fn timed_out(&self) {
        self.0.upstream_timeouts_total.inc();
    }

    pub(super) fn retried(&self, count: usize) {
        self.0.upstream_retries_total[RetryResult::Ok].add(count as u64);
    }

    pub(super) fn health_check(&self, alive: bool) {
        let result = if alive { HealthResult::Ok } else { HealthResult::Failed };
        self.0.upstream_health_checks_total[result].inc();
    }

    /// A shared connection, or one that was set aside, has begun or ended to serve.
    pub(super) fn serving(&self, aside: bool, change: i64) {
        let state = if aside { UpstreamState::Draining } else { UpstreamState::Shared };
        self.0.upstream_connections[state].add(change);
        let serving = [UpstreamState::Shared, UpstreamState::Draining];
        let count =
            serving.iter().map(|state| self.0.upstream_connections[*state].get()).sum::<i64>();
        self.0.upstream_up.set(count > 0);
    }

    /// A shared connection that serves was set aside.
    pub(super) fn set_aside(&self) {
        self.serving(true, 1);
        self.serving(false, -1);
    }

    pub(super) fn pinned(&self, idle: usize, leased: usize) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.0.upstream_connections[UpstreamState::PinnedIdle].set(count(idle));
        self.0.upstream_connections[UpstreamState::PinnedLeased].set(count(leased));
    }

    pub(super) fn ended(&self, reason: UpstreamDisconnect) {
        self.0.upstream_disconnects_total[reason].inc();
    }
}

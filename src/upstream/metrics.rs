//! What the upstream side counts, in the words of its own code.
//!
//! Owns: which event moves which metric. Never knows: how metrics are printed, connections.

use std::sync::Arc;
use std::time::Duration;

use super::dial::ServerConnection;
use super::failure::DialError;
use super::fault::Fault;
use super::phase::{Phase, Spent};
use crate::policy::guard::GuardFailure;
use crate::telemetry::{
    CertificateRole, Circuit, ConnectPhase, ConnectResult, Counted, ErrorCode, HandshakeFailure,
    HandshakeResult, HealthResult, Metrics, RetryResult, ScriptGuardFailure, Shard,
    UpstreamAuthResult, UpstreamDisconnect, UpstreamState,
};
use crate::traffic::Unavailable;

#[derive(Debug)]
pub(super) struct UpstreamMetrics {
    counted: Shard<Counted>,
    process: Arc<Metrics>,
}

impl UpstreamMetrics {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { counted: metrics.shard(), process: metrics }
    }

    /// No script can be guarded on this server.
    pub(super) fn unguarded(&self, why: GuardFailure) {
        let reason = match why {
            GuardFailure::Unlisted => ScriptGuardFailure::Unlisted,
            GuardFailure::Unprotected => ScriptGuardFailure::Unprotected,
            GuardFailure::Escaped => ScriptGuardFailure::Escaped,
        };
        self.counted.script_guard_failures_total[reason].inc();
    }

    /// An attempt to connect has begun.
    pub(super) fn dialing(&self) -> Dialing<'_> {
        self.counted.upstream_connections[UpstreamState::Connecting].inc();
        Dialing(self)
    }

    pub(super) fn dialed(&self, result: Result<&ServerConnection, &DialError>) {
        let outcome = match result {
            Ok(link) => {
                self.spent(&link.spent);
                self.greeted(link);
                ConnectResult::Ok
            }
            Err(error) => {
                self.spent(&error.spent);
                self.failed(error)
            }
        };
        self.counted.upstream_connects_total[outcome].inc();
    }

    fn spent(&self, spent: &Spent) {
        for (phase, label) in [
            (Phase::Resolve, ConnectPhase::Dns),
            (Phase::Connect, ConnectPhase::Tcp),
            (Phase::Tls, ConnectPhase::Tls),
            (Phase::Login, ConnectPhase::Auth),
        ] {
            self.counted.upstream_connect_phase_seconds_total[label].add(spent.of(phase));
        }
    }

    /// A connection that is open has logged in again, or was refused.
    pub(super) fn logged_in(&self, accepted: bool) {
        let result = if accepted { UpstreamAuthResult::Ok } else { UpstreamAuthResult::Other };
        self.counted.upstream_auth_total[result].inc();
    }

    fn greeted(&self, link: &ServerConnection) {
        let metrics = &self.counted;
        metrics.upstream_auth_total[UpstreamAuthResult::Ok].inc();
        let Some(handshake) = &link.handshake else { return };
        let kind = if handshake.resumed { HandshakeResult::Resumed } else { HandshakeResult::Full };
        metrics.tls_handshakes_total[kind].inc();
        metrics.tls_handshake_duration_seconds.observe(handshake.duration);
        let role = CertificateRole::UpstreamPeer;
        if let Some(end) = handshake.peer_not_after {
            self.process.tls_certificate_not_after_timestamp_seconds[role].set(end);
        }
    }

    fn failed(&self, error: &DialError) -> ConnectResult {
        let own = matches!(error.what, Unavailable::Exhausted | Unavailable::Overloaded);
        debug_assert!(!own, "a bound of respgate is no failure of the server");
        let metrics = &self.counted;
        let handshake_failed = |reason| {
            metrics.tls_handshakes_total[HandshakeResult::Failed].inc();
            metrics.tls_handshake_failures_total[reason].inc();
        };
        match error.what {
            Unavailable::Resolve => ConnectResult::Dns,
            Unavailable::Tls => {
                handshake_failed(HandshakeFailure::of(error.label));
                ConnectResult::Tls
            }
            Unavailable::Auth => {
                let is = |fault: Fault| error.code == fault.code();
                let result = if is(Fault::WrongPassword) {
                    UpstreamAuthResult::Wrongpass
                } else if is(Fault::LoginDenied) {
                    UpstreamAuthResult::Noperm
                } else {
                    UpstreamAuthResult::Other
                };
                metrics.upstream_auth_total[result].inc();
                ConnectResult::Auth
            }
            Unavailable::Timeout => {
                if error.phase == Phase::Tls {
                    handshake_failed(HandshakeFailure::Timeout);
                }
                ConnectResult::Timeout
            }
            Unavailable::Protocol => ConnectResult::Protocol,
            Unavailable::Loading => ConnectResult::Loading,
            Unavailable::Connect | Unavailable::Exhausted | Unavailable::Overloaded => {
                ConnectResult::Tcp
            }
        }
    }

    pub(super) fn circuit(&self, state: Circuit) {
        self.process.circuit_state.set(state);
    }

    pub(super) fn received(&self, bytes: usize) {
        debug_assert!(bytes > 0, "the end of a connection is counted as bytes");
        self.counted.upstream_receive_bytes_total.add(bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.counted.upstream_transmit_bytes_total.add(bytes as u64);
    }

    /// Commands in one write; none in one of the proxy's own.
    pub(super) fn batch(&self, commands: u64) {
        if commands > 0 {
            self.counted.upstream_batch_commands.observe(commands);
        }
    }

    /// So many commands were answered, each after this time.
    pub(super) fn answered(&self, after: Duration, count: u64) {
        self.counted.upstream_command_duration_seconds.observe_many(after, count);
    }

    /// An error line of the server, `-` included.
    pub(super) fn error_line(&self, line: &[u8]) {
        debug_assert!(line.starts_with(b"-"), "an error has another first byte");
        let word = line.get(1..).unwrap_or_default().split(|byte| *byte == b' ').next();
        self.counted.upstream_errors_total[ErrorCode::of(word.unwrap_or_default())].inc();
    }

    /// The wait before the next attempt to connect.
    pub(super) fn backoff(&self, wait: Duration) {
        self.process.upstream_reconnect_backoff_seconds.set(wait);
    }

    /// Commands that wait for a shared connection.
    pub(super) fn waiting(&self, change: i64) {
        self.counted.upstream_queue_depth.add(change);
        debug_assert!(self.counted.upstream_queue_depth.get() >= 0, "fewer than none wait");
    }

    /// A command has waited for a connection.
    pub(super) fn waited(&self, time: Duration) {
        self.counted.upstream_queue_wait_seconds.observe(time);
    }

    pub(super) fn timed_out(&self) {
        self.counted.upstream_timeouts_total.inc();
    }

    /// Places of commands that have timed out, while their replies are outstanding.
    pub(super) fn tombstones(&self, change: i64) {
        self.counted.upstream_tombstones.add(change);
        debug_assert!(
            self.counted.upstream_tombstones.get() >= 0,
            "fewer than none are outstanding"
        );
    }

    /// A command that was sent again is answered.
    pub(super) fn retried(&self) {
        self.counted.upstream_retries_total[RetryResult::Ok].inc();
    }

    /// Commands were lost as often as they may be sent again.
    pub(super) fn exhausted(&self, count: usize) {
        self.counted.upstream_retries_total[RetryResult::Exhausted].add(count as u64);
    }

    /// A command was lost that could be sent again, but for the budget.
    pub(super) fn over_budget(&self) {
        self.counted.upstream_retries_total[RetryResult::Budget].inc();
    }

    pub(super) fn health_check(&self, alive: bool) {
        let result = if alive { HealthResult::Ok } else { HealthResult::Failed };
        self.counted.upstream_health_checks_total[result].inc();
    }

    /// A shared connection, or one that was set aside, has begun or ended to serve.
    pub(super) fn serving(&self, aside: bool, change: i64) {
        let state = if aside { UpstreamState::Draining } else { UpstreamState::Shared };
        self.counted.upstream_connections[state].add(change);
        let left = self.counted.upstream_connections[state].get();
        debug_assert!(left >= 0, "more connections have ended than begun");
        let serving = [UpstreamState::Shared, UpstreamState::Draining];
        let count = serving
            .iter()
            .map(|state| self.counted.upstream_connections[*state].get())
            .sum::<i64>();
        self.counted.upstream_up.set(count > 0);
    }

    /// A shared connection that serves was set aside.
    pub(super) fn set_aside(&self) {
        self.serving(true, 1);
        self.serving(false, -1);
    }

    pub(super) fn pinned(&self, idle: usize, leased: usize) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.counted.upstream_connections[UpstreamState::PinnedIdle].set(count(idle));
        self.counted.upstream_connections[UpstreamState::PinnedLeased].set(count(leased));
    }

    pub(super) fn ended(&self, reason: UpstreamDisconnect) {
        self.counted.upstream_disconnects_total[reason].inc();
    }
}

/// One attempt to connect, while it is under way.
pub(super) struct Dialing<'a>(&'a UpstreamMetrics);

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        let connecting = &self.0.counted.upstream_connections[UpstreamState::Connecting];
        debug_assert!(connecting.get() > 0, "an attempt ends that has not begun");
        connecting.dec();
    }
}

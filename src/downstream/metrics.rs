//! What happens on the application's side, as figures.
//!
//! Owns: which event moves which metric. Never knows: decisions; how metrics are printed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::{Categories, Spec, all};
use crate::policy::{Policy, Refusal};
use crate::session::{Cause, Class, Completed};
use crate::telemetry::number::{Counter, Gauge};
use crate::telemetry::{
    ClientAuthResult, ClientDisconnect, ClientRejection, Counted, DegradedReply, Family,
    HandshakeFailure, HandshakeResult, ListenerKind, Metrics, ProtocolFault, Refused, ReplyResult,
    Shard,
};
use crate::tls::TlsError;
use crate::traffic::Loss;

#[derive(Debug)]
pub(super) struct ClientMetrics {
    counted: Shard<Counted>,
    /// By command number.
    families: Box<[Family]>,
}

/// What is counted by policy.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    commands: Arc<Counter>,
    denied: Arc<Counter>,
}

/// What is counted by listener.
#[derive(Debug)]
pub(super) struct Place {
    kind: ListenerKind,
    clients: Arc<Gauge>,
    accepted: Arc<Counter>,
}

impl ClientMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let mut families = vec![Family::Other; all().len()];
        for spec in all() {
            if let Some(family) = families.get_mut(usize::from(spec.id.0)) {
                *family = family_of(spec);
            }
        }
        Self { counted: metrics.shard(), families: families.into_boxed_slice() }
    }

    pub(super) fn tally(&self, policy: &Policy) -> Tally {
        let section = policy.section();
        Tally {
            commands: self.counted.policy_commands_total.of(section),
            denied: self.counted.policy_denied_total.of(section),
        }
    }

    pub(super) fn place(&self, kind: ListenerKind, address: &str) -> Place {
        Place {
            kind,
            clients: self.counted.listener_connections.of(address),
            accepted: self.counted.listener_connections_total.of(address),
        }
    }

    pub(super) fn accepted(&self, place: &Place) {
        place.accepted.inc();
        place.clients.inc();
        self.counted.client_connections_total[place.kind].inc();
        self.counted.client_connections[place.kind].inc();
    }

    pub(super) fn handshake_began(&self) {
        self.counted.client_tls_handshakes_in_progress.inc();
    }

    /// Whatever came of it.
    pub(super) fn handshake_is_over(&self) {
        self.counted.client_tls_handshakes_in_progress.dec();
    }

    pub(super) fn handshake_ended(&self, result: HandshakeResult) {
        self.counted.client_tls_handshakes_total[result].inc();
    }

    pub(super) fn handshake_failed(&self, error: &TlsError) {
        self.handshake_ended(HandshakeResult::Failed);
        let reason = HandshakeFailure::of(error.fault.label());
        self.counted.client_tls_handshake_failures_total[reason].inc();
    }

    pub(super) fn rejected(&self, why: ClientRejection) {
        self.counted.client_connections_rejected_total[why].inc();
    }

    pub(super) fn disconnected(&self, place: &Place, why: ClientDisconnect) {
        place.clients.dec();
        self.counted.client_connections[place.kind].dec();
        self.counted.client_disconnects_total[why].inc();
    }

    pub(super) fn received(&self, bytes: usize, commands: u64) {
        self.counted.client_receive_bytes_total.add(bytes as u64);
        if commands > 0 {
            self.counted.pipeline_depth.observe(commands);
        }
    }

    pub(super) fn transmitted(&self, bytes: usize) {
        self.counted.client_transmit_bytes_total.add(bytes as u64);
    }

    pub(super) fn command(&self, spec: Option<&'static Spec>, tally: &Tally) {
        tally.commands.inc();
        let family = spec.and_then(|spec| self.families.get(usize::from(spec.id.0)));
        self.counted.commands_total[family.copied().unwrap_or(Family::Other)].inc();
    }

    pub(super) fn completed(&self, done: Completed, count: u64, now: Instant) {
        let result = if done.error { ReplyResult::RedisError } else { ReplyResult::Ok };
        self.counted.replies_total[result].add(count);
        self.counted.command_duration_seconds[done.class]
            .observe_many(now.saturating_duration_since(done.at), count);
    }

    pub(super) fn lost(&self, loss: Loss, count: usize) {
        let timed_out = loss == Loss::TimedOut;
        let result = if timed_out { ReplyResult::Timeout } else { ReplyResult::Unavailable };
        self.counted.replies_total[result].add(count as u64);
    }

    /// Answers that an outage has made others.
    pub(super) fn degraded(&self, missed: u32, failed: u32) {
        self.counted.degraded_replies_total[DegradedReply::Miss].add(u64::from(missed));
        self.counted.degraded_replies_total[DegradedReply::Error].add(u64::from(failed));
    }

    /// The client disconnected before its replies came.
    pub(super) fn canceled(&self, count: usize) {
        self.counted.replies_total[ReplyResult::Canceled].add(count as u64);
    }

    /// The number of commands of one client without a reply has changed.
    pub(super) fn in_flight(&self, before: usize, now: usize) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.counted.commands_in_flight.add(number(now) - number(before));
    }

    pub(super) fn refused(&self, refusal: &Refusal, tally: &Tally) {
        tally.denied.inc();
        self.counted.replies_total[ReplyResult::Denied].inc();
        self.counted.commands_denied_total.inc(refusal.rule, shown(refusal.spec));
    }

    /// respgate has answered by itself, at once.
    pub(super) fn answered(&self, error: bool) {
        let result = if error { ReplyResult::RedisError } else { ReplyResult::Ok };
        self.counted.replies_total[result].inc();
        self.counted.command_duration_seconds[Class::Other].observe(Duration::ZERO);
    }

    /// A command passed that a rule would have refused if it were enforced.
    pub(super) fn observed(&self, refusal: &Refusal) {
        let (rule, command) = (refusal.rule, shown(refusal.spec));
        self.counted.policy_would_deny_total.inc(rule, command);
        tracing::info!(
            code = "POL-I001",
            rule = refusal.rule.label(),
            command = refusal.spec.map_or("other", |spec| spec.name),
            "would have been denied (observe mode)"
        );
    }

    pub(super) fn authenticated(&self, ok: bool) {
        let result = if ok { ClientAuthResult::Ok } else { ClientAuthResult::Failed };
        self.counted.client_auth_total[result].inc();
    }

    pub(super) fn malformed(&self, label: &str) {
        let fault = match label {
            "too_large" => ProtocolFault::TooLarge,
            "http_smuggling" => ProtocolFault::HttpSmuggling,
            "inline" => ProtocolFault::Inline,
            _ => ProtocolFault::Resp,
        };
        self.counted.client_protocol_errors_total[fault].inc();
    }

    pub(super) fn pinned(&self, cause: Cause, change: i64) {
        self.counted.client_pinned_connections[cause].add(change);
    }

    pub(super) fn buffered(&self, bytes: usize) {
        self.counted.buffer_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// How a refused command is shown. Those that administer the server or endanger it are never shown as
/// another; those of CLUSTER are many, and are shown together.
fn shown(spec: Option<&'static Spec>) -> Refused {
    let Some(spec) = spec else { return Refused::Unknown };
    if spec.name.starts_with("cluster|") {
        return Refused::Kept("cluster");
    }
    let grave = Categories::ADMIN.with(Categories::DANGEROUS);
    if spec.categories.intersects(grave) {
        Refused::Kept(spec.name)
    } else {
        Refused::Named(spec.name)
    }
}

/// The first that fits: a command may be in several categories.
fn family_of(spec: &Spec) -> Family {
    let table = [
        (Categories::TRANSACTION, Family::Tx),
        (Categories::SCRIPTING, Family::Scripting),
        (Categories::PUBSUB, Family::Pubsub),
        (Categories::GEO, Family::Geo),
        (Categories::HYPERLOGLOG, Family::Hll),
        (Categories::BITMAP, Family::Bitmap),
        (Categories::STREAM, Family::Stream),
        (Categories::STRING, Family::String),
        (Categories::HASH, Family::Hash),
        (Categories::LIST, Family::List),
        (Categories::SET, Family::Set),
        (Categories::SORTEDSET, Family::Zset),
        (Categories::CONNECTION, Family::Connection),
        (Categories::KEYSPACE, Family::Generic),
    ];
    if spec.name.starts_with("cluster") {
        return Family::Cluster;
    }
    let found = table.iter().find(|(category, _)| spec.categories.has(*category));
    found.map_or(Family::Server, |(_, family)| *family)
}

//! Every metric: its name, its help, its labels, in one table.
//!
//! Owns: [`Metrics`], [`Counted`]. Never knows: when something is counted, scrapes.
//!
//! A field `x` is exposed as `respgate_x`; its doc comment is its help. There is one upstream, so no
//! metric has a label for it.

use std::sync::Arc;

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use super::denied::Denied;
use super::histogram::{Batch, HandshakeTime, Histogram, Latency, Wait};
use super::label::{
    AuditResult, AuditSinkKind, Blocked, By, CertificateRole, Circuit, ClientAuthResult,
    ClientDisconnect, ClientRejection, CodeClass, CommandClass, ConnectPhase, ConnectResult,
    DegradedReply, Endpoint, ErrorCode, Family, HandshakeFailure, HandshakeResult, HealthResult,
    Landlock, ListenerKind, PinCause, ProtocolFault, Reload, ReloadRejection, ReloadResult,
    ReplyResult, RetryResult, ScriptGuardFailure, State, TlsSide, UpstreamAuthResult,
    UpstreamDisconnect, UpstreamState,
};
use super::named::{Named, Names};
use super::number::{
    Counter, Flag, Gauge, Lazy, Level, Seconds, SecondsTotal, Series, Sharded, Timestamp, parts,
};
use super::open_set::{BuildInfo, Certificates, Policies, StateSet};
use super::process::Process;
use super::profile::Profile;
use super::shard::{Shard, Shards};

/// The label of [`Named`] series: where applications connect.
#[derive(Debug)]
pub struct Address;

impl Names for Address {
    const LABEL: &'static str = "address";
}

/// The label of [`Named`] series: the section of a policy in the configuration.
#[derive(Debug)]
pub struct Policy;

impl Names for Policy {
    const LABEL: &'static str = "policy";
}

/// The type of a field in the struct it belongs to, and none in the other.
macro_rules! field {
    (process in process: $series:ty) => {
        $series
    };
    (writer in writer: $series:ty) => {
        $series
    };
    ($kind:ident in $other:ident: $series:ty) => {
        ()
    };
}

/// One series of all its writers.
macro_rules! all {
    (process $metrics:ident $counted:ident $name:ident) => {
        &[&$metrics.$name]
    };
    (writer $metrics:ident $counted:ident $name:ident) => {
        &parts(&$counted, |own| &own.$name)
    };
}

/// `process`: one value for the process, which any thread may set. `writer`: each writer has its own.
macro_rules! metrics {
    ($( $(#[doc = $help:literal])+ $kind:ident $name:ident: $series:ty, )+) => {
        /// What the process shows. One value per process, shared by `Arc`; what is counted is in shards.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $( $(#[doc = $help])+ pub $name: field!($kind in process: $series), )+
            shards: Arc<Shards<Counted>>,
            process: Process,
            /// How much of this a scrape shows.
            pub profile: Profile,
        }

        /// What one writer counts.
        #[derive(Debug, Default)]
        pub struct Counted {
            $( $(#[doc = $help])+ pub $name: field!($kind in writer: $series), )+
        }

        impl Sharded for Counted {
            fn sibling(&self) -> Self {
                Self { $( $name: self.$name.sibling(), )+ }
            }
        }

        impl Metrics {
            /// Name and help of every metric of respgate's own.
            pub const CATALOGUE: &'static [(&'static str, &'static str)] =
                &[$( (concat!("respgate_", stringify!($name)), concat!($($help),+).trim_ascii()), )+];

            /// The present value of everything that has a value.
            #[must_use]
            pub fn families(&self) -> Vec<MetricFamily> {
                let shards = self.shards.all();
                let counted: Vec<&Counted> = shards.iter().map(AsRef::as_ref).collect();
                let metrics = self;
                let mut families = Vec::new();
                let mut catalogue = Self::CATALOGUE.iter();
                $( append(&mut families, catalogue.next(), all!($kind metrics counted $name)); )+
                self.process.collect(&mut families);
                families
            }
        }
    };
}

metrics! {
    /// The version that is running; always 1.
    process build_info: BuildInfo,
    /// What the process is doing: 1 for the present state.
    process state: StateSet<State>,
    /// How far the kernel holds the process to the files and ports of its configuration (Landlock): 1 for what is in
    /// force.
    process sandbox_info: StateSet<Landlock>,
    /// Number made from the effective configuration (53 bits of a hash); differs when it differs.
    process config_hash: Level,
    /// Log lines not written: too many of one kind, or the reader of the log too slow.
    writer log_events_dropped_total: Counter,
    /// Bytes in all buffers that count against the memory budget.
    writer buffer_bytes: Gauge,

    /// Attempts to reload, whatever caused them.
    writer reload_attempts_total: By<Reload, By<ReloadResult, Counter>>,
    /// Rejected reloads by cause; the former version stays in use.
    writer reload_rejections_total: By<Reload, By<ReloadRejection, Lazy<Counter>>>,
    /// Last attempt to reload.
    process reload_last_attempt_timestamp_seconds: By<Reload, Timestamp>,
    /// Last successful load, that of the start included.
    process reload_last_success_timestamp_seconds: By<Reload, Timestamp>,
    /// 1 if file changes are noticed at once, 0 if only by polling.
    process reload_watch_up: Flag,

    /// End of validity; the earliest of the role.
    process tls_certificate_not_after_timestamp_seconds: By<CertificateRole, Timestamp>,
    /// Beginning of validity; the latest of the role.
    process tls_certificate_not_before_timestamp_seconds: By<CertificateRole, Timestamp>,
    /// Certificates in use; always 1.
    process tls_certificate_info: Certificates,
    /// When the first list of revoked certificates should be replaced.
    process tls_crl_next_update_timestamp_seconds: By<TlsSide, Timestamp>,
    /// Number of the published identity; grows with each rotation.
    process tls_identity_generation: Level,
    /// TLS handshakes with the server.
    writer tls_handshakes_total: By<HandshakeResult, Counter>,
    /// Failed TLS handshakes with the server by cause.
    writer tls_handshake_failures_total: By<HandshakeFailure, Lazy<Counter>>,
    /// Time of successful TLS handshakes with the server.
    writer tls_handshake_duration_seconds: Histogram<HandshakeTime>,

    /// Connected applications.
    writer client_connections: By<ListenerKind, Gauge>,
    /// Accepted connections.
    writer client_connections_total: By<ListenerKind, Counter>,
    /// Connected applications by the address they connected to. Addresses beyond the first 8 are
    /// "other".
    writer listener_connections: Named<Address, Gauge, 8>,
    /// Accepted connections by the address they connected to. Addresses beyond the first 8 are "other".
    writer listener_connections_total: Named<Address, Counter, 8>,
    /// Connections refused right after they were accepted.
    writer client_connections_rejected_total: By<ClientRejection, Counter>,
    /// Ended connections by cause.
    writer client_disconnects_total: By<ClientDisconnect, Counter>,
    /// TLS handshakes with applications.
    writer client_tls_handshakes_total: By<HandshakeResult, Counter>,
    /// Failed TLS handshakes with applications by cause.
    writer client_tls_handshake_failures_total: By<HandshakeFailure, Lazy<Counter>>,
    /// TLS handshakes with applications that are in progress.
    writer client_tls_handshakes_in_progress: Gauge,
    /// Bytes read from applications.
    writer client_receive_bytes_total: Counter,
    /// Bytes written to applications.
    writer client_transmit_bytes_total: Counter,
    /// Bytes from applications that are no command.
    writer client_protocol_errors_total: By<ProtocolFault, Counter>,
    /// AUTH and HELLO AUTH of applications, answered by respgate.
    writer client_auth_total: By<ClientAuthResult, Counter>,
    /// Clients that hold a connection to the server of their own.
    writer client_pinned_connections: By<PinCause, Gauge>,

    /// Commands received.
    writer commands_total: By<Family, Counter>,
    /// Replies returned, those of respgate's own included; "canceled": the client disconnected before its reply.
    writer replies_total: By<ReplyResult, Counter>,
    /// Time from a command to its reply, as the application sees it.
    writer command_duration_seconds: By<CommandClass, Histogram<Latency>>,
    /// Commands received and not answered yet.
    writer commands_in_flight: Gauge,
    /// Commands found in one read from an application.
    writer pipeline_depth: Histogram<Batch>,
    /// Commands refused by policy. Each command of the categories admin and dangerous is always named
    /// (those of CLUSTER together); of other commands and rules the first 30 pairs are, and the rest
    /// and unknown commands are "other".
    writer commands_denied_total: Denied<30>,
    /// Commands received by the policy that judged them. Policies beyond the first 16 are "other".
    writer policy_commands_total: Named<Policy, Counter, 16>,
    /// Commands refused by the policy that refused them. Policies beyond the first 16 are "other".
    writer policy_denied_total: Named<Policy, Counter, 16>,
    /// Policies in force by their sections; mode "observe": it refuses nothing, "partly": some of its
    /// rules refuse nothing. The first 16; always 1.
    process policy_info: Policies,
    /// Blocks in force that operators have set.
    process blocked: By<Blocked, Level>,
    /// Commands that passed although a rule is against them, because it is only observed. Pairs of
    /// command and rule beyond the first 24, and unknown commands, are "other".
    writer policy_would_deny_total: Denied<24>,

    /// Commands whose description by the server differs from respgate's table.
    process command_table_differences: Level,
    /// Commands of the server that respgate's own table does not have.
    process command_table_missing: Level,

    /// 1 if at least one connection to the server is usable.
    writer upstream_up: Flag,
    /// Connections to the server.
    writer upstream_connections: By<UpstreamState, Gauge>,
    /// Attempts to connect to the server.
    writer upstream_connects_total: By<ConnectResult, Counter>,
    /// Time spent connecting by step, that of failed attempts included.
    writer upstream_connect_phase_seconds_total: By<ConnectPhase, SecondsTotal>,
    /// Ended connections to the server by cause.
    writer upstream_disconnects_total: By<UpstreamDisconnect, Counter>,
    /// Whether the server may be dialed: closed: yes; open: not before the wait is over; half_open: one
    /// attempt is under way that decides. 1 for the present state.
    process circuit_state: StateSet<Circuit>,
    /// Present wait before the next attempt to connect; 0 while connected.
    process upstream_reconnect_backoff_seconds: Seconds,
    /// Health checks of connections; any reply counts as success.
    writer upstream_health_checks_total: By<HealthResult, Counter>,
    /// Time from sending a command to the end of its reply. Commands that wait for others' writes
    /// (BLPOP) are left out.
    writer upstream_command_duration_seconds: Histogram<Latency>,
    /// Commands that wait to be sent.
    writer upstream_queue_depth: Gauge,
    /// Time that commands waited to be sent because there was no connection.
    writer upstream_queue_wait_seconds: Histogram<Wait>,
    /// Bytes of RESP read from the server.
    writer upstream_receive_bytes_total: Counter,
    /// Bytes of RESP written to the server.
    writer upstream_transmit_bytes_total: Counter,
    /// Commands in one write to a connection that clients share.
    writer upstream_batch_commands: Histogram<Batch>,
    /// Errors of the server by their code.
    writer upstream_errors_total: By<ErrorCode, Lazy<Counter>>,
    /// Commands sent again after a loss; "exhausted": lost again as often as upstream.retry permits;
    /// "budget": lost because too many were sent again lately.
    writer upstream_retries_total: By<RetryResult, Counter>,
    /// Times that the server failed the test for `scripts.mode = "guarded"`, so that scripts are refused.
    writer script_guard_failures_total: By<ScriptGuardFailure, Counter>,
    /// Authentication of respgate to the server.
    writer upstream_auth_total: By<UpstreamAuthResult, Counter>,
    /// Answers while the server could not be reached, where the policy has `degraded = "miss"`: reads answered as by a
    /// server without data, and errors.
    writer degraded_replies_total: By<DegradedReply, Counter>,
    /// When the password for the server expires, where `password_command` prints it.
    process credential_expiry_timestamp_seconds: Timestamp,
    /// Commands the server did not answer in time.
    writer upstream_timeouts_total: Counter,
    /// Places kept for outstanding replies to commands that timed out.
    writer upstream_tombstones: Gauge,

    /// Audit events by sink: written, dropped because the queue was full, and attempts to write that failed.
    writer audit_events_total: By<AuditSinkKind, By<AuditResult, Lazy<Counter>>>,
    /// Bytes of audit events that wait for a sink.
    process audit_queue_bytes: Level,
    /// Last time that a sink took audit entries.
    process audit_last_write_timestamp_seconds: Timestamp,
    /// Audit files that were rotated.
    writer audit_rotations_total: Counter,

    /// Requests to the telemetry server and to the admin server.
    writer admin_requests_total: By<Endpoint, By<CodeClass, Lazy<Counter>>>,
    /// When the drain began.
    process drain_started_timestamp_seconds: Timestamp,
    /// Clients that are still connected after the drain began.
    process drain_remaining_connections: Level,
}

impl Metrics {
    /// A set of counters for one writer; what it counts stays when it ends. To be kept where counting is
    /// frequent: taking one takes a lock.
    #[must_use]
    pub fn shard(&self) -> Shard<Counted> {
        Shards::take(&self.shards)
    }

    /// The sum of a number over all writers.
    pub(crate) fn sum(&self, number: impl Fn(&Counted) -> i64) -> i64 {
        self.shards.all().iter().map(|counted| number(counted)).sum()
    }

    /// Every metric in the text exposition format, version 0.0.4. Takes no lock the data plane waits for.
    ///
    /// # Errors
    ///
    /// None in practice: families are never empty or nameless.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.families())
    }

    /// Like [`Metrics::render`], of the metrics that the profile shows.
    ///
    /// # Errors
    ///
    /// None in practice, as of [`Metrics::render`].
    pub fn scrape(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.scraped())
    }

    /// What the profile shows of [`Metrics::families`].
    #[must_use]
    pub fn scraped(&self) -> Vec<MetricFamily> {
        self.profile.apply(self.families())
    }
}

/// A metric without any series is left out; the exposition has no form for it.
fn append<S: Series>(families: &mut Vec<MetricFamily>, about: Option<&(&str, &str)>, all: &[&S]) {
    let mut metrics = Vec::new();
    S::collect(all, &mut Vec::new(), &mut metrics);
    let Some((name, help)) = about.filter(|_| !metrics.is_empty()) else { return };
    let mut family = MetricFamily::default();
    family.set_name((*name).to_owned());
    family.set_help((*help).to_owned());
    family.set_field_type(S::KIND);
    family.set_metric(metrics);
    families.push(family);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_appears_under_its_name_and_labels() {
        let metrics = Metrics::default();
        metrics.shard().client_connections_total[ListenerKind::Tcp].add(2);
        metrics.shard().reload_rejections_total[Reload::TlsIdentity][ReloadRejection::Expired]
            .inc();
        let text = metrics.render().unwrap();
        for line in [
            "respgate_client_connections_total{listener=\"tcp\"} 2",
            "respgate_client_connections_total{listener=\"unix\"} 0",
            "respgate_reload_rejections_total{what=\"tls_identity\",reason=\"expired\"} 1",
            "# HELP respgate_commands_in_flight Commands received and not answered yet.",
            "# TYPE respgate_command_duration_seconds histogram",
            "respgate_command_duration_seconds_bucket{class=\"read\",le=\"0.00005\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("reason=\"key_mismatch\""), "lazy");
        assert!(!text.contains("not_after"), "no certificate was loaded");
    }
}

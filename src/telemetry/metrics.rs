//! Every metric: its name, its help, its labels, in one table.
//!
//! Owns: [`Metrics`]. Never knows: who counts, who scrapes.
//!
//! A field `x` is exposed as `respgate_x`; its doc comment is its help. There is one upstream, so no
//! metric has a label for it.

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use super::denied::Denied;
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
    Batch, Counter, Flag, Gauge, HandshakeTime, Histogram, Latency, Lazy, Seconds, SecondsTotal,
    Series, SharedCounter, Timestamp, Wait,
};
use super::open_set::{BuildInfo, Certificates, Policies, StateSet};
use super::process::Process;
use super::profile::Profile;

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

macro_rules! metrics {
    ($( $(#[doc = $help:literal])+ $name:ident: $series:ty, )+) => {
        /// What is counted. One value per process, shared by `Arc`.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $( $(#[doc = $help])+ pub $name: $series, )+
            process: Process,
            /// How much of this a scrape shows.
            pub profile: Profile,
        }

        impl Metrics {
            /// Name and help of every metric of respgate's own.
            pub const CATALOGUE: &'static [(&'static str, &'static str)] =
                &[$( (concat!("respgate_", stringify!($name)), concat!($($help),+).trim_ascii()), )+];

            /// The present value of everything that has a value.
            #[must_use]
            pub fn families(&self) -> Vec<MetricFamily> {
                let mut families = Vec::new();
                let mut catalogue = Self::CATALOGUE.iter();
                $( append(&mut families, catalogue.next(), &self.$name); )+
                self.process.collect(&mut families);
                families
            }
        }
    };
}

metrics! {
    /// What is running; always 1.
    build_info: BuildInfo,
    /// What the process is doing: 1 for the present state.
    state: StateSet<State>,
    /// How far the kernel holds the process to the files and ports of its configuration (Landlock): 1 for what is in
    /// force.
    sandbox_info: StateSet<Landlock>,
    /// Number made from the effective configuration (53 bits of a hash); differs when it differs.
    config_hash: Gauge,
    /// Log lines not written: too many of one kind, or the reader of the log too slow.
    log_events_dropped_total: SharedCounter,
    /// Bytes in all buffers that count against the memory budget.
    buffer_bytes: Gauge,

    /// Attempts to reload, whatever caused them.
    reload_attempts_total: By<Reload, By<ReloadResult, SharedCounter>>,
    /// Rejected reloads by cause; the former version stays in use.
    reload_rejections_total: By<Reload, By<ReloadRejection, Lazy<SharedCounter>>>,
    /// Last attempt to reload.
    reload_last_attempt_timestamp_seconds: By<Reload, Timestamp>,
    /// Last successful load, that of the start included.
    reload_last_success_timestamp_seconds: By<Reload, Timestamp>,
    /// 1 if file changes are noticed at once, 0 if only by polling.
    reload_watch_up: Flag,

    /// End of validity; the earliest of the role.
    tls_certificate_not_after_timestamp_seconds: By<CertificateRole, Timestamp>,
    /// Begin of validity; the latest of the role.
    tls_certificate_not_before_timestamp_seconds: By<CertificateRole, Timestamp>,
    /// Certificates in use; always 1.
    tls_certificate_info: Certificates,
    /// When the first list of revoked certificates should be replaced.
    tls_crl_next_update_timestamp_seconds: By<TlsSide, Timestamp>,
    /// Number of the published identity; grows with each rotation.
    tls_identity_generation: Gauge,
    /// TLS handshakes with the server.
    tls_handshakes_total: By<HandshakeResult, SharedCounter>,
    /// Failed TLS handshakes with the server by cause.
    tls_handshake_failures_total: By<HandshakeFailure, Lazy<SharedCounter>>,
    /// Time of successful TLS handshakes with the server.
    tls_handshake_duration_seconds: Histogram<HandshakeTime, SharedCounter>,

    /// Connected applications.
    client_connections: By<ListenerKind, Gauge>,
    /// Accepted connections.
    client_connections_total: By<ListenerKind, Counter>,
    /// Connected applications by the address they connected to. Addresses beyond the first 8 are
    /// "other".
    listener_connections: Named<Address, Gauge, 8>,
    /// Accepted connections by the address they connected to. Addresses beyond the first 8 are "other".
    listener_connections_total: Named<Address, Counter, 8>,
    /// Connections refused right after they were accepted.
    client_connections_rejected_total: By<ClientRejection, Counter>,
    /// Ended connections by cause.
    client_disconnects_total: By<ClientDisconnect, Counter>,
    /// TLS handshakes with applications.
    client_tls_handshakes_total: By<HandshakeResult, SharedCounter>,
    /// Failed TLS handshakes with applications by cause.
    client_tls_handshake_failures_total: By<HandshakeFailure, Lazy<SharedCounter>>,
    /// TLS handshakes with applications that are in progress.
    client_tls_handshakes_in_progress: Gauge,
    /// Bytes read from applications.
    client_receive_bytes_total: Counter,
    /// Bytes written to applications.
    client_transmit_bytes_total: Counter,
    /// Bytes from applications that are no command.
    client_protocol_errors_total: By<ProtocolFault, Counter>,
    /// AUTH and HELLO AUTH of applications, answered by respgate.
    client_auth_total: By<ClientAuthResult, Counter>,
    /// Clients that hold a connection to the server of their own.
    client_pinned_connections: By<PinCause, Gauge>,

    /// Commands received.
    commands_total: By<Family, Counter>,
    /// Replies returned, those of respgate's own included; "canceled": the client left before its reply.
    replies_total: By<ReplyResult, Counter>,
    /// Time from a command to its reply, as the application sees it.
    command_duration_seconds: By<CommandClass, Histogram<Latency>>,
    /// Commands received and not answered yet.
    commands_in_flight: Gauge,
    /// Commands found in one read from an application.
    pipeline_depth: Histogram<Batch>,
    /// Commands refused by policy. Each command of the categories admin and dangerous is always named
    /// (those of CLUSTER together); of other commands and rules the first 30 pairs are, and the rest
    /// and unknown commands are "other".
    commands_denied_total: Denied<30>,
    /// Commands received by the policy that judged them. Policies beyond the first 16 are "other".
    policy_commands_total: Named<Policy, Counter, 16>,
    /// Commands refused by the policy that refused them. Policies beyond the first 16 are "other".
    policy_denied_total: Named<Policy, Counter, 16>,
    /// Policies in force by their sections; mode "observe": it refuses nothing, "partly": some of its
    /// rules refuse nothing. The first 16; always 1.
    policy_info: Policies,
    /// Blocks in force that operators have set.
    blocked: By<Blocked, Gauge>,
    /// Commands that passed although a rule is against them, because it is only observed. Pairs of
    /// command and rule beyond the first 24, and unknown commands, are "other".
    policy_would_deny_total: Denied<24>,

    /// Commands that the server describes otherwise than respgate knows them.
    command_table_differences: Gauge,
    /// Commands of the server that respgate's own table does not have.
    command_table_missing: Gauge,

    /// 1 if at least one connection to the server is usable.
    upstream_up: Flag,
    /// Connections to the server.
    upstream_connections: By<UpstreamState, Gauge>,
    /// Attempts to connect to the server.
    upstream_connects_total: By<ConnectResult, SharedCounter>,
    /// Time spent connecting by step, that of failed attempts included.
    upstream_connect_phase_seconds_total: By<ConnectPhase, SecondsTotal>,
    /// Ended connections to the server by cause.
    upstream_disconnects_total: By<UpstreamDisconnect, SharedCounter>,
    /// Whether the server may be dialed: closed: yes; open: not before the wait is over; half_open: one
    /// attempt is under way that decides. 1 for the present state.
    circuit_state: StateSet<Circuit>,
    /// Present wait before the next attempt to connect; 0 while connected.
    upstream_reconnect_backoff_seconds: Seconds,
    /// Health checks of connections; any reply is life.
    upstream_health_checks_total: By<HealthResult, SharedCounter>,
    /// Time from sending a command to the end of its reply. Commands that wait for others' writes
    /// (BLPOP) are left out.
    upstream_command_duration_seconds: Histogram<Latency>,
    /// Commands that wait to be sent.
    upstream_queue_depth: Gauge,
    /// Time that commands waited to be sent because there was no connection.
    upstream_queue_wait_seconds: Histogram<Wait>,
    /// Bytes of RESP read from the server.
    upstream_receive_bytes_total: Counter,
    /// Bytes of RESP written to the server.
    upstream_transmit_bytes_total: Counter,
    /// Commands in one write to a connection that clients share.
    upstream_batch_commands: Histogram<Batch>,
    /// Errors of the server by their code.
    upstream_errors_total: By<ErrorCode, Lazy<Counter>>,
    /// Commands sent again after a loss; "exhausted": lost again as often as upstream.retry permits; "budget": lost because too many were sent again lately.
    upstream_retries_total: By<RetryResult, Counter>,
    /// Times that the server failed the test for `scripts.mode = "guarded"`, so that scripts are refused.
    script_guard_failures_total: By<ScriptGuardFailure, Counter>,
    /// Authentication of respgate to the server.
    upstream_auth_total: By<UpstreamAuthResult, SharedCounter>,
    /// Answers while the server could not be reached, where the policy has `degraded = "miss"`: reads answered as by a
    /// server without data, and errors.
    degraded_replies_total: By<DegradedReply, Counter>,
    /// When the password for the server ends, where `password_command` says so.
    credential_expiry_timestamp_seconds: Timestamp,
    /// Commands the server did not answer in time.
    upstream_timeouts_total: Counter,
    /// Places kept for replies that are still owed to commands that timed out.
    upstream_tombstones: Gauge,

    /// Audit events by sink: written, dropped for want of room, and attempts to write that failed.
    audit_events_total: By<AuditSinkKind, By<AuditResult, Lazy<SharedCounter>>>,
    /// Bytes of audit events that wait for a sink.
    audit_queue_bytes: Gauge,
    /// Last time that a sink took audit entries.
    audit_last_write_timestamp_seconds: Timestamp,
    /// Audit files that were rotated.
    audit_rotations_total: SharedCounter,

    /// Requests to the telemetry server and to the admin server.
    admin_requests_total: By<Endpoint, By<CodeClass, Lazy<SharedCounter>>>,
    /// When the drain began.
    drain_started_timestamp_seconds: Timestamp,
    /// Clients that have not left since the drain began.
    drain_remaining_connections: Gauge,
}

impl Metrics {
    /// Every metric in the text exposition format, version 0.0.4. Takes no lock the data plane waits for.
    ///
    /// # Errors
    ///
    /// None in practice: families are never empty or nameless.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.families())
    }

    /// As [`Metrics::render`], of the metrics that the profile shows.
    ///
    /// # Errors
    ///
    /// None in practice, as there.
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
fn append<S: Series>(families: &mut Vec<MetricFamily>, about: Option<&(&str, &str)>, series: &S) {
    let mut metrics = Vec::new();
    series.collect(&mut Vec::new(), &mut metrics);
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
        metrics.client_connections_total[ListenerKind::Tcp].add(2);
        metrics.reload_rejections_total[Reload::TlsIdentity][ReloadRejection::Expired].inc();
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

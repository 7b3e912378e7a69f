//! One event of every kind of which a fresh process shows nothing.
//!
//! Owns: [`stir`]. Never knows: how events come about.

use std::time::Duration;

use respgate::internals::base::clock;
use respgate::internals::policy::Rule;
use respgate::internals::telemetry::{
    AuditResult, AuditSinkKind, CertificateRole, CodeClass, CommandClass, Endpoint, ErrorCode,
    Family, HandshakeFailure, Label, Metrics, Refused, Reload, ReloadRejection, TlsSide,
};

/// One event of every kind whose series appear with their first event.
pub fn stir(metrics: &Metrics) {
    let counted = metrics.shard();
    for what in Reload::ALL {
        for reason in ReloadRejection::ALL {
            counted.reload_rejections_total[*what][*reason].inc();
        }
        metrics.reload_last_attempt_timestamp_seconds[*what].set(clock::wall());
        metrics.reload_last_success_timestamp_seconds[*what].set(clock::wall());
    }
    for reason in HandshakeFailure::ALL {
        counted.tls_handshake_failures_total[*reason].inc();
        counted.client_tls_handshake_failures_total[*reason].inc();
    }
    for side in TlsSide::ALL {
        metrics.tls_crl_next_update_timestamp_seconds[*side].set_unix(4_000_000_000);
    }
    for role in CertificateRole::ALL {
        metrics.tls_certificate_not_after_timestamp_seconds[*role].set_unix(4_000_000_000);
        metrics.tls_certificate_not_before_timestamp_seconds[*role].set_unix(1_000_000_000);
        metrics.tls_certificate_info.set(*role, vec![format!("sha256:{}", role.label())]);
    }
    for sink in AuditSinkKind::ALL {
        for result in AuditResult::ALL {
            counted.audit_events_total[*sink][*result].inc();
        }
    }
    metrics.audit_last_write_timestamp_seconds.set(clock::wall());
    for code in ErrorCode::ALL {
        counted.upstream_errors_total[*code].inc();
    }
    for endpoint in Endpoint::ALL {
        for class in CodeClass::ALL {
            counted.admin_requests_total[*endpoint][*class].inc();
        }
    }
    metrics.drain_started_timestamp_seconds.set(clock::wall());
    metrics.credential_expiry_timestamp_seconds.set_unix(4_000_000_000);
    // What is incomplete is not refused.
    for rule in Rule::ALL.into_iter().filter(|rule| *rule != Rule::Incomplete) {
        counted.commands_denied_total.inc(rule, Refused::Unknown);
        counted.policy_would_deny_total.inc(rule, Refused::Unknown);
    }
    counted.commands_denied_total.inc(Rule::Command, Refused::Kept("flushall"));
    counted.policy_commands_total.of("policy").inc();
    counted.policy_denied_total.of("policy").inc();
    counted.listener_connections.of("127.0.0.1:6379").inc();
    counted.listener_connections_total.of("127.0.0.1:6379").inc();
    metrics.policy_info.set(
        ["enforce", "partly", "observe"].map(|mode| (format!("policies.{mode}"), mode)).to_vec(),
    );
    counted.policy_would_deny_total.inc(Rule::Command, Refused::Kept("flushall"));
    counted.commands_total[Family::String].inc();
    counted.command_duration_seconds[CommandClass::Read].observe(Duration::from_micros(80));
}

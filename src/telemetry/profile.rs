//! How many of the metrics a scrape shows: all, or those that alerts and a first look need.
//!
//! Owns: [`Profile`], which families the lean profile has. Never knows: what is counted, scrapes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use prometheus::proto::{Bucket, Counter, Histogram, Metric, MetricFamily, MetricType};

use crate::config::MetricsProfile;

/// The profile in force; a reload may change it.
#[derive(Debug, Default)]
pub struct Profile(AtomicBool);

impl Profile {
    pub fn set(&self, profile: MetricsProfile) {
        self.0.store(profile == MetricsProfile::Lean, Relaxed);
    }

    /// The families that this profile shows.
    pub(super) fn apply(&self, families: Vec<MetricFamily>) -> Vec<MetricFamily> {
        match self.0.load(Relaxed) {
            true => families.into_iter().filter_map(lean).collect(),
            false => families,
        }
    }
}

/// What the lean profile does with a family.
#[derive(Clone, Copy)]
enum Lean {
    /// Shown as in the full profile.
    Whole,
    /// One series, the sum of all.
    Sum,
    /// One series, the sum of all but those whose only label has this value.
    SumWithout(&'static str),
}

/// Families of the lean profile; those with another name are left out.
const LEAN: &[(&str, Lean)] = &[
    ("respgate_build_info", Lean::Whole),
    ("respgate_state", Lean::Whole),
    ("respgate_sandbox_info", Lean::Whole),
    ("respgate_config_hash", Lean::Whole),
    ("respgate_log_events_dropped_total", Lean::Whole),
    ("respgate_buffer_bytes", Lean::Whole),
    ("respgate_reload_last_attempt_timestamp_seconds", Lean::Whole),
    ("respgate_reload_last_success_timestamp_seconds", Lean::Whole),
    ("respgate_reload_watch_up", Lean::Whole),
    ("respgate_tls_certificate_not_after_timestamp_seconds", Lean::Whole),
    ("respgate_tls_certificate_not_before_timestamp_seconds", Lean::Whole),
    ("respgate_tls_crl_next_update_timestamp_seconds", Lean::Whole),
    ("respgate_tls_handshakes_total", Lean::Whole),
    ("respgate_client_connections", Lean::Sum),
    ("respgate_client_connections_rejected_total", Lean::Whole),
    ("respgate_client_auth_total", Lean::Whole),
    ("respgate_commands_total", Lean::Sum),
    ("respgate_replies_total", Lean::Whole),
    // The time of BLPOP is what its application asked for.
    ("respgate_command_duration_seconds", Lean::SumWithout("blocking")),
    ("respgate_commands_in_flight", Lean::Whole),
    ("respgate_commands_denied_total", Lean::Whole),
    ("respgate_upstream_up", Lean::Whole),
    ("respgate_upstream_connections", Lean::Whole),
    ("respgate_circuit_state", Lean::Whole),
    ("respgate_upstream_queue_depth", Lean::Whole),
    ("respgate_upstream_queue_wait_seconds", Lean::Whole),
    ("respgate_upstream_auth_total", Lean::Whole),
    ("respgate_upstream_timeouts_total", Lean::Whole),
    ("respgate_upstream_retries_total", Lean::Whole),
    ("respgate_credential_expiry_timestamp_seconds", Lean::Whole),
    ("respgate_audit_events_total", Lean::Whole),
    ("respgate_audit_queue_bytes", Lean::Whole),
    ("respgate_audit_last_write_timestamp_seconds", Lean::Whole),
    ("respgate_drain_remaining_connections", Lean::Whole),
    ("process_cpu_seconds_total", Lean::Whole),
    ("process_resident_memory_bytes", Lean::Whole),
    ("process_open_fds", Lean::Whole),
    ("process_max_fds", Lean::Whole),
    ("process_start_time_seconds", Lean::Whole),
];

/// The family as the lean profile shows it; `None`: not at all.
fn lean(mut family: MetricFamily) -> Option<MetricFamily> {
    let (_, form) = LEAN.iter().find(|(name, _)| *name == family.name())?;
    let without = match form {
        Lean::Whole => return Some(family),
        Lean::Sum => None,
        Lean::SumWithout(value) => Some(*value),
    };
    let mut metrics = family.take_metric();
    metrics.retain(|metric| metric.get_label().iter().all(|pair| Some(pair.value()) != without));
    let total = sum(family.get_field_type(), &metrics);
    family.set_metric(vec![total]);
    Some(family)
}

/// One series without labels.
fn sum(kind: MetricType, metrics: &[Metric]) -> Metric {
    let mut total = Metric::default();
    match kind {
        MetricType::HISTOGRAM => total.set_histogram(sum_of_histograms(metrics)),
        MetricType::COUNTER => {
            let mut counter = Counter::default();
            counter.set_value(metrics.iter().map(|metric| metric.get_counter().get_value()).sum());
            total.set_counter(counter);
        }
        MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => {
            let value = metrics.iter().map(|metric| metric.get_gauge().get_value()).sum();
            total = super::number::gauge(&[], value);
        }
    }
    total
}

fn sum_of_histograms(metrics: &[Metric]) -> Histogram {
    let all = || metrics.iter().map(Metric::get_histogram);
    // By the bits of the bound, which for positive numbers have the order of the numbers.
    let mut counts = BTreeMap::<u64, u64>::new();
    for bucket in all().flat_map(Histogram::get_bucket) {
        *counts.entry(bucket.upper_bound().to_bits()).or_default() += bucket.cumulative_count();
    }
    let bucket = |(bound, count): (u64, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(f64::from_bits(bound));
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut total = Histogram::default();
    total.set_bucket(counts.into_iter().map(bucket).collect());
    total.set_sample_count(all().map(Histogram::get_sample_count).sum());
    total.set_sample_sum(all().map(Histogram::get_sample_sum).sum());
    total
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::label::{CommandClass, Family, ListenerKind};
    use super::super::metrics::Metrics;
    use super::*;

    #[test]
    fn lean_names_are_of_metrics_that_exist() {
        let own = LEAN.iter().filter(|(name, _)| !name.starts_with("process_"));
        for (name, _) in own {
            assert!(Metrics::CATALOGUE.iter().any(|(known, _)| known == name), "{name}");
        }
    }

    #[test]
    fn lean_sums_over_labels() {
        let metrics = Metrics::default();
        metrics.profile.set(MetricsProfile::Lean);
        let shard = metrics.shard();
        shard.client_connections[ListenerKind::Tcp].set(2);
        shard.client_connections[ListenerKind::Unix].set(3);
        shard.commands_total[Family::String].add(4);
        shard.commands_total[Family::Hash].add(5);
        let durations = &shard.command_duration_seconds;
        durations[CommandClass::Read].observe(Duration::from_micros(80));
        durations[CommandClass::Write].observe(Duration::from_millis(2));
        durations[CommandClass::Other].observe(Duration::from_secs(6));
        durations[CommandClass::Blocking].observe(Duration::from_secs(4));
        let text = metrics.scrape().unwrap();
        for line in [
            "respgate_client_connections 5",
            "respgate_commands_total 9",
            "respgate_command_duration_seconds_bucket{le=\"0.00005\"} 0",
            "respgate_command_duration_seconds_bucket{le=\"0.0001\"} 1",
            "respgate_command_duration_seconds_bucket{le=\"0.0025\"} 2",
            "respgate_command_duration_seconds_bucket{le=\"5\"} 2",
            "respgate_command_duration_seconds_bucket{le=\"+Inf\"} 3",
            "respgate_command_duration_seconds_count 3",
            "respgate_command_duration_seconds_sum 6.00208",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("class="), "{text}");
        assert!(metrics.render().unwrap().contains("class=\"blocking\""), "operators see all");
        metrics.profile.set(MetricsProfile::Full);
        assert!(metrics.scrape().unwrap().contains("class=\"blocking\""));
    }
}

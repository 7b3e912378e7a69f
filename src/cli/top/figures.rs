//! What the view shows, worked out of the metrics of two moments.
//!
//! Owns: [`Figures`], which metric is used for what. Never knows: clocks, how it looks.

use super::exposition::Exposition;
use super::window::{Quantile, Rate, Window};

const CLASSES: [&str; 4] = ["read", "write", "blocking", "other"];

/// Everything that is shown of one moment. What is `None` is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub version: String,
    /// `ready`, `starting`, `draining`.
    pub state: String,
    pub uptime: Option<f64>,
    pub memory: Option<f64>,
    /// Commands in a second.
    pub commands: Option<f64>,
    pub classes: Vec<Class>,
    pub families: Vec<Rate>,
    pub replies: Vec<Rate>,
    pub denied: Vec<Rate>,
    pub clients: Clients,
    pub server: Server,
    pub certificates: Certificates,
    pub reloads: Reloads,
}

/// Commands of one class.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub name: &'static str,
    pub rate: Option<f64>,
    pub median: Option<Quantile>,
    pub p99: Option<Quantile>,
    pub mean: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Clients {
    pub open: Vec<(String, f64)>,
    pub opened: Option<f64>,
    pub rejected: Option<f64>,
    pub received: Option<f64>,
    pub sent: Option<f64>,
    pub in_flight: Option<f64>,
    /// Commands that one read from a client carries.
    pub pipeline: Option<f64>,
    pub buffers: Option<f64>,
    /// Clients that hold a connection to the server, and why.
    pub pinned: Vec<(String, f64)>,
    pub failed_logins: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    pub up: Option<bool>,
    pub connections: Vec<(String, f64)>,
    pub median: Option<Quantile>,
    pub p99: Option<Quantile>,
    /// Commands that one write to the server carries.
    pub batch: Option<f64>,
    pub queue: Option<f64>,
    pub received: Option<f64>,
    pub sent: Option<f64>,
    /// Attempts to connect that failed since the start, by what failed.
    pub failures: Vec<(String, f64)>,
    pub breaker: Option<String>,
    /// Seconds until the next attempt to connect.
    pub backoff: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Certificates {
    /// The one that ends first comes first.
    pub ends: Vec<End>,
    pub generation: Option<f64>,
    /// TLS handshakes since the start, by how they went.
    pub handshakes: Vec<(String, f64)>,
}

/// When a certificate ends.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub role: String,
    /// Seconds until then; negative when it has ended.
    pub left: f64,
    /// The part of its lifetime until then.
    pub share: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Reloads {
    pub applied: Option<f64>,
    pub rejected: Option<f64>,
    /// What was rejected and not applied since.
    pub outdated: Vec<String>,
}

impl Figures {
    /// Of two moments; `now` is the time of the second in seconds since 1970.
    pub(super) fn new(window: Window<'_>, now: f64) -> Self {
        let of = |name: &str| window.after.sum(name, &[]);
        let label = |name: &str, label: &str| {
            let series = window.after.series(name).iter();
            let set = series.filter(|series| series.value == 1.0).find_map(|s| s.label(label));
            set.unwrap_or_default().to_owned()
        };
        Self {
            version: label("respgate_build_info", "version"),
            state: label("respgate_state", "state"),
            uptime: of("process_start_time_seconds").map(|start| now - start),
            memory: of("process_resident_memory_bytes"),
            commands: window.rate("respgate_commands_total", &[]),
            classes: CLASSES.iter().map(|name| class(window, name)).collect(),
            families: window.rates_by("respgate_commands_total", &["family"]),
            replies: window.rates_by("respgate_replies_total", &["result"]),
            denied: window.rates_by("respgate_commands_denied_total", &["rule", "command"]),
            clients: clients(window),
            server: server(window),
            certificates: certificates(window.after, now),
            reloads: reloads(window.after),
        }
    }
}

fn class(window: Window<'_>, name: &'static str) -> Class {
    const METRIC: &str = "respgate_command_duration_seconds";
    let labels = [("class", name)];
    let durations = window.histogram(METRIC, &labels);
    Class {
        name,
        rate: window.rate("respgate_command_duration_seconds_count", &labels),
        median: durations.quantile(0.5),
        p99: durations.quantile(0.99),
        mean: durations.mean(),
    }
}

fn clients(window: Window<'_>) -> Clients {
    let of = |name: &str| window.after.sum(name, &[]);
    let rate = |name: &str| window.rate(name, &[]);
    Clients {
        open: by(window.after, "respgate_client_connections", "listener"),
        opened: rate("respgate_client_connections_total"),
        rejected: rate("respgate_client_connections_rejected_total"),
        received: rate("respgate_client_receive_bytes_total"),
        sent: rate("respgate_client_transmit_bytes_total"),
        in_flight: of("respgate_commands_in_flight"),
        pipeline: window.histogram("respgate_pipeline_depth", &[]).mean(),
        buffers: of("respgate_buffer_bytes"),
        pinned: by(window.after, "respgate_client_pinned_connections", "cause"),
        failed_logins: window.rate("respgate_client_auth_total", &[("result", "failed")]),
    }
}

fn server(window: Window<'_>) -> Server {
    let of = |name: &str| window.after.sum(name, &[]);
    let rate = |name: &str| window.rate(name, &[]);
    let durations = window.histogram("respgate_upstream_command_duration_seconds", &[]);
    let mut failures = by(window.after, "respgate_upstream_connects_total", "result");
    failures.retain(|(result, _)| result != "ok");
    let breaker = window.after.series("respgate_circuit_state").iter();
    let breaker = breaker.filter(|series| series.value == 1.0).find_map(|s| s.label("state"));
    Server {
        up: of("respgate_upstream_up").map(|up| up > 0.0),
        connections: connections(window.after),
        median: durations.quantile(0.5),
        p99: durations.quantile(0.99),
        batch: window.histogram("respgate_upstream_batch_commands", &[]).mean(),
        queue: of("respgate_upstream_queue_depth"),
        received: rate("respgate_upstream_receive_bytes_total"),
        sent: rate("respgate_upstream_transmit_bytes_total"),
        failures,
        breaker: breaker.map(str::to_owned),
        backoff: of("respgate_upstream_reconnect_backoff_seconds").filter(|wait| *wait > 0.0),
    }
}

/// Connections to the server by state, in few letters.
fn connections(after: &Exposition) -> Vec<(String, f64)> {
    let mut states = by(after, "respgate_upstream_connections", "state");
    for (state, _) in &mut states {
        match state.as_str() {
            "pinned_leased" => "pinned".clone_into(state),
            "pinned_idle" => "idle".clone_into(state),
            _ => {}
        }
    }
    states
}

fn certificates(after: &Exposition, now: f64) -> Certificates {
    let ends = by(after, "respgate_tls_certificate_not_after_timestamp_seconds", "role");
    let begins = by(after, "respgate_tls_certificate_not_before_timestamp_seconds", "role");
    let end = |(role, end): (String, f64)| {
        let begin = begins.iter().find(|(other, _)| *other == role).map(|(_, begin)| *begin);
        let share = begin.map(|begin| (end - now) / (end - begin));
        End { role: role.replace('_', " "), left: end - now, share }
    };
    let mut ends: Vec<End> = ends.into_iter().map(end).collect();
    ends.sort_by(|a, b| a.left.total_cmp(&b.left));
    Certificates {
        ends,
        generation: after.sum("respgate_tls_identity_generation", &[]),
        handshakes: by(after, "respgate_tls_handshakes_total", "result"),
    }
}

fn reloads(after: &Exposition) -> Reloads {
    let attempts = |result| after.sum("respgate_reload_attempts_total", &[("result", result)]);
    let tried = by(after, "respgate_reload_last_attempt_timestamp_seconds", "what");
    let good = by(after, "respgate_reload_last_success_timestamp_seconds", "what");
    let is_old = |(what, tried): &(String, f64)| {
        good.iter().any(|(other, good)| other == what && good < tried)
    };
    let outdated = tried.into_iter().filter(is_old).map(|(what, _)| what).collect();
    Reloads { applied: attempts("applied"), rejected: attempts("rejected"), outdated }
}

/// The values of a metric by one label, in the order in which they are exposed.
fn by(after: &Exposition, name: &str, label: &str) -> Vec<(String, f64)> {
    let mut sums: Vec<(String, f64)> = Vec::new();
    for series in after.series(name) {
        let Some(value) = series.label(label) else { continue };
        match sums.iter_mut().find(|(known, _)| known == value) {
            Some((_, sum)) => *sum += series.value,
            None => sums.push((value.to_owned(), series.value)),
        }
    }
    sums
}

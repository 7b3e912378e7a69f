//! Settings of what operators see.
//!
//! Owns: [`Telemetry`], [`Admin`], [`Health`]. Never knows: prometheus, tracing, hyper.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Metrics and health over HTTP; `None`: not served.
    pub address: Option<SocketAddr>,
    /// How many of the metrics a scrape gets.
    pub metrics: MetricsProfile,
    pub log_format: LogFormat,
    /// A filter as `tracing-subscriber` takes it: `info`, `respgate=debug`.
    pub log_level: String,
}

/// How operators talk to a running process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Admin {
    /// A Unix socket that only its owner may open; `None`: none.
    pub socket: Option<PathBuf>,
    /// On the loopback, for programs that cannot open the socket; `None`: nowhere.
    pub address: Option<SocketAddr>,
    /// Holds the token that a request to the address must have.
    pub token_file: Option<PathBuf>,
}

/// What `/readyz` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub readiness: Readiness,
    /// With [`Readiness::Upstream`]: not ready once the server could not be reached for this long.
    pub unready_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Readiness {
    /// The process can serve clients, whatever is known of the server.
    #[default]
    Process,
    /// The server can be reached as well.
    Upstream,
}

impl Default for Health {
    fn default() -> Self {
        Self { readiness: Readiness::Process, unready_after: Duration::from_secs(15) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MetricsProfile {
    /// Every metric.
    #[default]
    Full,
    /// The metrics that alerts and a first look need.
    Lean,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            address: Some(SocketAddr::from(([127, 0, 0, 1], 9465))),
            metrics: MetricsProfile::Full,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
        }
    }
}

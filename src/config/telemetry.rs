//! Settings of what operators see.
//!
//! Owns: [`Telemetry`]. Never knows: prometheus, tracing, hyper.

use std::net::SocketAddr;

#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Metrics and health over HTTP; `None`: not served.
    pub address: Option<SocketAddr>,
    pub log_format: LogFormat,
    /// A filter as `tracing-subscriber` takes it: `info`, `respgate=debug`.
    pub log_level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            address: Some(SocketAddr::from(([127, 0, 0, 1], 9465))),
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
        }
    }
}

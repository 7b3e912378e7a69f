//! What operators see of the process: numbers and log lines. Handles are passed down, never looked up.
//!
//! Owns: [`Telemetry`], [`Metrics`], [`LogHandle`]. Never knows: sessions, connections, HTTP.

mod denied;
mod heavy;
mod histogram;
mod hot_keys;
pub(crate) mod label;
mod log;
mod log_limiter;
mod metrics;
mod named;
pub(crate) mod number;
mod open_set;
mod process;
mod profile;
mod recent;
pub(crate) mod redact;
mod shard;
mod sink;
mod slow_log;

use std::io;
use std::sync::Arc;

use crate::config;

pub use denied::Refused;
pub(crate) use hot_keys::{Found, HotKeys};
pub use label::{
    AuditResult, AuditSinkKind, CertificateRole, ClientDisconnect, CodeClass, CommandClass,
    Endpoint, ErrorCode, Family, HandshakeFailure, Label, Reload, ReloadRejection, TlsSide,
    UpstreamDisconnect,
};
pub(crate) use label::{
    Blocked, Circuit, ClientAuthResult, ClientRejection, ConnectPhase, ConnectResult,
    DegradedReply, HandshakeResult, HealthResult, Landlock, ListenerKind, PinCause, ProtocolFault,
    ReloadResult, ReplyResult, RetryResult, ScriptGuardFailure, State, UpstreamAuthResult,
    UpstreamState,
};
pub(crate) use log::{LogError, LogHandle};
pub(crate) use metrics::Counted;
pub use metrics::Metrics;
pub(crate) use shard::Shard;
pub(crate) use slow_log::{Slow, SlowLog, Times};

/// Both handles in one; cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry {
    pub metrics: Arc<Metrics>,
    pub log: LogHandle,
}

impl Telemetry {
    /// Fresh metrics, and the log of the whole process. Once per process.
    ///
    /// # Errors
    ///
    /// When the log level is no filter, or a log is installed already.
    pub fn start(settings: &config::Telemetry) -> Result<Self, LogError> {
        let metrics = Arc::new(Metrics::default());
        metrics.profile.set(settings.metrics);
        let log = log::install(settings, &metrics)?;
        Ok(Self { metrics, log })
    }

    /// Fresh metrics, and a log without output: for tests and tools that print for themselves.
    ///
    /// # Errors
    ///
    /// The errors of [`Telemetry::start`].
    pub fn silent(settings: &config::Telemetry) -> Result<Self, LogError> {
        let metrics = Arc::new(Metrics::default());
        metrics.profile.set(settings.metrics);
        let (_, log) = log::build(settings, false, Box::new(io::sink()), &metrics)?;
        Ok(Self { metrics, log })
    }
}

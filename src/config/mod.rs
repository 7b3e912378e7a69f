//! Configuration: text into typed settings.
//!
//! Owns: [`Config`] and everything it is made of. Never knows: a runtime type, a socket, a policy.

mod listener;
mod rules;
mod source;
mod telemetry;
mod upstream;

pub use listener::{ClientAuth, ClientLimits, Drain, ListenAddress, Listener};
pub use rules::Rules;
pub use source::{SecretSource, SourceError};
pub use telemetry::{LogFormat, Telemetry};
pub use upstream::{
    HostPort, Pool, PoolMode, Retry, ServerAuth, Tls, TlsVersion, Upstream, Verify,
};

/// The whole configuration of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where applications connect; at least one.
    pub listeners: Vec<Listener>,
    /// The server behind.
    pub upstream: Upstream,
    /// What may pass.
    pub policy: Rules,
    /// What one client, and all together, may cost.
    pub limits: ClientLimits,
    /// Metrics, health, logs.
    pub telemetry: Telemetry,
    /// How the process leaves.
    pub drain: Drain,
}

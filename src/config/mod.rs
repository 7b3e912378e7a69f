//! Configuration: text into typed settings.
//!
//! Owns: [`Config`] and everything it is made of. Never knows: a runtime type, a socket, a policy.

mod address;
mod check;
mod diff;
mod document;
mod error;
mod listener;
mod nearest;
mod rules;
mod schema;
mod section;
mod source;
mod telemetry;
mod tree;
mod units;
mod unknown;
mod upstream;

pub use diff::{Changes, diff};
pub use document::{ConfigSource, Document, environment, keys, load, parse};
pub use error::{Place, Problem, VARIABLE_PREFIX};
pub use listener::{ClientAuth, ClientLimits, Drain, ListenAddress, Listener};
pub use rules::Rules;
pub use source::{SecretSource, SourceError};
pub use telemetry::{LogFormat, Telemetry};
pub use tree::Setting;
pub use units::{show_duration, show_size};
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

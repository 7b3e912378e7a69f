//! Configuration: text into typed settings.
//!
//! Owns: [`Config`] and everything it is made of. Never knows: a runtime type, a socket, a policy.

mod address;
mod algorithms;
mod audit;
mod certificate_pattern;
mod check;
mod commands;
mod diff;
mod document;
mod error;
mod hash;
mod insight;
mod listener;
mod listener_tls;
mod nearest;
mod policy;
mod quoting;
mod rate;
mod revocation;
mod rules;
mod san;
mod sandbox;
mod schema;
mod scripts;
mod secret_files;
mod section;
mod server_auth;
mod source;
mod telemetry;
mod tree;
mod units;
mod unknown;
mod upstream;
mod user;
mod void;

pub use algorithms::{Algorithms, CipherSuite, KeyExchange, TlsVersion};
pub use audit::{Audit, AuditFile, AuditSink, Fsync, KeyForm, OnOverflow, Syslog, SyslogAddress};
pub use certificate_pattern::CertificatePattern;
pub use commands::{Commands, CustomCommand, KeyAccess, KeyPlace, KeySpan, ReplyKeys};
pub use diff::{Changes, diff};
pub use document::{ConfigSource, Document, environment, keys, load, parse};
pub use error::{Place, Problem, VARIABLE_PREFIX};
pub use hash::hash;
pub use insight::{HotKeys, Insight, SlowLog};
pub use listener::{ClientAuth, ClientLimits, Drain, ListenAddress, Listener, Startup};
pub use listener_tls::{AskClient, ListenerTls};
pub use rate::{LimitRule, OnLimit, Per, Rate};
pub use revocation::{ExpiredCrl, Revocation};
pub use rules::{
    Charset, Degraded, Encoding, KeyMode, KeyRules, OnExceed, OnMissing, Rules, TtlRules,
    ValueRules,
};
pub use san::{San, SanPattern};
pub use sandbox::Sandbox;
pub use scripts::{ScriptError, ScriptMode, ScriptRules};
pub use secret_files::{OpenFile, SecretFile, is_in_volume, is_open, open_files, secret_files};
pub use server_auth::{CertificateLogin, PasswordCommand, ServerAuth};
pub(crate) use source::read_cause;
pub use source::{SecretSource, SourceError, io_cause, read_acl_file};
pub use telemetry::{Admin, Health, LogFormat, MetricsProfile, Readiness, Telemetry};
pub use tree::Setting;
pub use units::{read_duration, show_duration, show_size};
pub use upstream::{
    Authorities, Breaker, CertificateFiles, HostPort, OUTAGE_WAIT, OnOutage, Pool, PoolMode, Retry,
    ServerEndpoint, Tls, Upstream, Verify,
};
pub use user::User;

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The whole configuration of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where applications connect; at least one.
    pub listeners: Vec<Listener>,
    /// The server behind.
    pub upstream: Upstream,
    /// The rules for clients that no other policy is set for.
    pub policy: Rules,
    /// Commands beyond the table.
    pub commands: Commands,
    /// Other policies, that listeners and users select by name.
    pub policies: BTreeMap<String, Rules>,
    /// The users that may log in to listeners with `auth = "users"`.
    pub users: Vec<User>,
    /// A Redis ACL file with more of them, each with the policy that its line names.
    pub acl_file: Option<PathBuf>,
    /// What one client, and all together, may cost.
    pub limits: ClientLimits,
    /// Metrics, health, logs.
    pub telemetry: Telemetry,
    /// What is found out about traffic.
    pub insight: Insight,
    /// How operators talk to it.
    pub admin: Admin,
    /// What is written down for auditors; `None`: nothing.
    pub audit: Option<Audit>,
    /// What the process's readiness depends on.
    pub health: Health,
    /// How the process drains.
    pub drain: Drain,
    pub startup: Startup,
    /// Bounds that the process sets for itself.
    pub sandbox: Sandbox,
    /// Where the settings of the policies are written.
    pub places: Places,
}

/// File, line and column of settings, by their names. Two configurations that differ in nothing else mean
/// the same.
#[derive(Clone, Default)]
pub struct Places(BTreeMap<String, String>);

/// Shows nothing: places are no part of the meaning of a configuration.
impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Places(..)")
    }
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Places {
    /// Where the setting of that name is written, as `policy.acl`; `None`: it is not.
    #[must_use]
    pub fn get(&self, setting: &str) -> Option<&str> {
        self.0.get(setting).map(String::as_str)
    }
}

impl Config {
    /// Every policy with the name of its section; `[policy]` first.
    pub fn sections(&self) -> impl Iterator<Item = (String, &Rules)> {
        let named = self.policies.iter().map(|(name, rules)| (section(Some(name)), rules));
        std::iter::once((section(None), &self.policy)).chain(named)
    }

    /// `[policy]`, or the one of that name, with the name of its section.
    ///
    /// # Errors
    ///
    /// With the names there are, when that one is not.
    pub fn rules(&self, name: Option<&str>) -> Result<(String, &Rules), String> {
        let Some(known) = name else { return Ok((section(None), &self.policy)) };
        let found = self.policies.get(known).map(|rules| (section(name), rules));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.policies.keys().map(String::as_str).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            format!("there is no [policies.{known}]; there are: {names}")
        })
    }
}

fn section(name: Option<&str>) -> String {
    name.map_or_else(|| "policy".to_owned(), |name| format!("policies.{name}"))
}

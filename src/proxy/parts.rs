//! What is built from settings before anything runs, and what of it a reload replaces.
//!
//! Owns: [`Parts`], [`StartError`]. Never knows: threads, sockets of clients.

use std::path::PathBuf;

use crate::base::live::Live;
use crate::config::{ClientAuth, ClientLimits, Config, Listener, SecretSource};
use crate::policy::{self, Policy};
use crate::session::Auth;
use crate::telemetry::{CertificateRole, Metrics, Telemetry};
use crate::tls::watch::Watch;
use crate::tls::{Identity, TlsStore};
use crate::upstream::credentials::Credentials;
use crate::upstream::dial::Dialer;

/// Everything that may be replaced while it is in use, and the way to the server.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub tls: Option<TlsStore>,
    pub credentials: Credentials,
    pub dialer: Dialer,
    pub policy: Live<Policy>,
    pub limits: Live<ClientLimits>,
    /// One per listener, in their order.
    pub auth: Vec<Live<Auth>>,
}

/// Why the proxy cannot start.
#[derive(Debug)]
pub struct StartError {
    pub what: String,
    pub hint: Option<String>,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub(super) fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), hint: None }
    }

    pub(super) fn telemetry(address: std::net::SocketAddr, error: &std::io::Error) -> Self {
        let hint = "choose another telemetry.address, or \"off\"".to_owned();
        Self { what: format!("cannot serve telemetry on {address}: {error}"), hint: Some(hint) }
    }
}

impl Parts {
    pub(super) fn build(config: &Config, telemetry: &Telemetry) -> Result<Self, StartError> {
        let policy = compile(config)?;
        let tls = match &config.upstream.tls {
            None => None,
            Some(settings) => {
                let store =
                    TlsStore::open(settings, &config.upstream.address.host).map_err(|error| {
                        StartError {
                            hint: Some(error.fault.hint().to_owned()),
                            ..StartError::new(format!("upstream.tls: {error}"))
                        }
                    })?;
                note_identity(&store.current(), &telemetry.metrics);
                Some(store)
            }
        };
        let credentials = Credentials::open(&config.upstream.auth)
            .map_err(|error| StartError::new(format!("upstream.auth: {error}")))?;
        let dialer = Dialer::new(&config.upstream, tls.clone(), credentials.clone());
        let auth = config.listeners.iter().map(|listener| read_auth(listener).map(Live::new));
        let auth = auth.collect::<Result<Vec<_>, _>>()?;
        let limits = Live::new(config.limits.clone());
        Ok(Self { tls, credentials, dialer, policy: Live::new(policy), limits, auth })
    }
}

/// Compiles the policy, or tells every rule that cannot be.
pub(super) fn compile(config: &Config) -> Result<Policy, StartError> {
    policy::compile(&config.policy).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(|error| format!("policy: {error}")).collect();
        StartError::new(all.join("\n"))
    })
}

/// What clients of a listener must say, with the password read.
pub(super) fn read_auth(listener: &Listener) -> Result<Auth, StartError> {
    Ok(match &listener.auth {
        ClientAuth::Off => Auth::Off,
        ClientAuth::Ignore => Auth::Ignore,
        ClientAuth::Password(source) => {
            let secret = source.read();
            Auth::Password(secret.map_err(|error| StartError::new(format!("listener: {error}")))?)
        }
    })
}

/// Watches every file whose change is a reason to reload, the configuration's own included.
pub(super) fn watch(config: &Config, file: Option<&PathBuf>) -> Watch {
    let mut files: Vec<PathBuf> = file.cloned().into_iter().collect();
    if let Some(tls) = &config.upstream.tls {
        files.extend([tls.cert.clone(), tls.key.clone(), tls.ca.clone()]);
    }
    let passwords = config.listeners.iter().filter_map(|listener| match &listener.auth {
        ClientAuth::Password(source) => Some(source),
        ClientAuth::Off | ClientAuth::Ignore => None,
    });
    for source in passwords.chain(&config.upstream.auth.password) {
        if let SecretSource::File(path) = source {
            files.push(path.clone());
        }
    }
    Watch::new(files)
}

/// Shows the published identity in the metrics.
pub(super) fn note_identity(identity: &Identity, metrics: &Metrics) {
    let role = CertificateRole::Client;
    metrics.tls_certificate_not_after_timestamp_seconds[role].set(identity.not_after);
    metrics.tls_certificate_not_before_timestamp_seconds[role].set(identity.not_before);
    let anchor = CertificateRole::TrustAnchor;
    metrics.tls_certificate_not_after_timestamp_seconds[anchor].set(identity.ca_not_after);
    metrics.tls_certificate_info.set(role, vec![identity.fingerprint.clone()]);
    let generation = i64::try_from(identity.generation).unwrap_or(i64::MAX);
    metrics.tls_identity_generation.set(generation);
}

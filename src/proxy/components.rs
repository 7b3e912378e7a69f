//! What is built from settings before anything runs, and what of it a reload replaces.
//!
//! Owns: [`Components`]. Never knows: threads, sockets of clients.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::access::{self, AccessSources, Policies};
use super::command_sources::CommandSources;
use super::descriptors;
use super::error::StartError;
use super::listeners::ListenerStores;
use super::sandbox::Sandbox;
use crate::audit::{Audit, Event, Kind};
use crate::base::live::Live;
use crate::config::{self, ClientLimits, Config, SecretSource};
use crate::downstream::{AuditParts, AuditRules};
use crate::policy;
use crate::session::ListenerAccess;
use crate::telemetry::{CertificateRole, Metrics, Telemetry, TlsSide};
use crate::tls::watch::Watch;
use crate::tls::{Identity, TlsError, TlsStore};
use crate::upstream::credentials::Credentials;
use crate::upstream::dial::Dialer;
use crate::upstream::target::Target;

/// Everything that may be replaced while it is in use, and the way to the server.
#[derive(Clone, Debug)]
pub(super) struct Components {
    pub tls: Option<TlsStore>,
    pub listeners: ListenerStores,
    pub credentials: Credentials,
    pub dialer: Dialer,
    pub limits: Live<ClientLimits>,
    /// How many files the process may open, where that is limited.
    pub files: Option<usize>,
    pub insight: Live<config::Insight>,
    /// One per listener, in their order.
    pub listeners_access: Vec<Live<ListenerAccess>>,
    pub policies: Policies,
    /// What [`AccessSources::hash`] was when they were built.
    pub access_hash: [u8; 32],
    pub audit: Option<AuditParts>,
    /// What the process has bound itself to, once it has.
    pub sandbox: Option<Arc<Sandbox>>,
}

impl Components {
    /// Puts other access rules in force.
    pub(super) fn replace_access(&mut self, listeners_access: AccessSources) {
        self.access_hash = listeners_access.hash;
        self.policies = listeners_access.policies;
        for (live, access) in self.listeners_access.iter().zip(listeners_access.all) {
            live.set(access.into());
        }
    }

    pub(super) fn build(
        config: &Config,
        command_sources: &mut CommandSources,
        telemetry: &Telemetry,
    ) -> Result<Self, StartError> {
        let dictionary = command_sources.dictionary(&config.commands, false)?;
        let listeners_access = AccessSources::build(config, &dictionary, None)?;
        let unusable = |error: TlsError| StartError {
            hint: Some(error.hint().to_owned()),
            ..StartError::new(format!("upstream.tls: {error}"))
        };
        let tls = config.upstream.tls.as_ref().map(TlsStore::open).transpose().map_err(unusable)?;
        if let Some(store) = &tls {
            note_identity(&store.current(), &telemetry.metrics);
        }
        let target = Target::of(&config.upstream).map_err(unusable)?;
        let listeners = ListenerStores::open(config, &telemetry.metrics)?;
        let open = if config.startup.require_upstream {
            Credentials::open
        } else {
            Credentials::open_patient
        };
        let credentials = open(&config.upstream.auth)
            .map_err(|error| StartError::new(format!("upstream.auth: {error}")))?;
        note_credentials(&credentials, &telemetry.metrics);
        let dialer = Dialer::new(target, &config.upstream, tls.clone(), credentials.clone());
        let AccessSources { all, policies, hash } = listeners_access;
        let listeners_access = all.into_iter().map(Live::new).collect();
        let files = descriptors::raise();
        let limits = Live::new(descriptors::within(files, config));
        let insight = Live::new(config.insight.clone());
        let audit = audit(config, command_sources, telemetry)?;
        Ok(Self {
            tls,
            listeners,
            credentials,
            dialer,
            limits,
            files,
            insight,
            listeners_access,
            policies,
            access_hash: hash,
            audit,
            sandbox: None,
        })
    }
}

/// Starts the audit log, if the configuration has one.
fn audit(
    config: &Config,
    command_sources: &mut CommandSources,
    telemetry: &Telemetry,
) -> Result<Option<AuditParts>, StartError> {
    let Some(settings) = &config.audit else { return Ok(None) };
    let rules = Live::new(audit_rules(config, command_sources)?);
    let seed = RandomState::new().hash_one(std::process::id());
    let audit = Audit::start(settings, &telemetry.metrics, seed).map_err(StartError::new)?;
    audit.record(&Event::new(Kind::Started));
    Ok(Some(AuditParts { audit, rules }))
}

/// What of the audit log follows the configuration.
pub(super) fn audit_rules(
    config: &Config,
    command_sources: &mut CommandSources,
) -> Result<AuditRules, StartError> {
    let words = config.audit.as_ref().map(|audit| audit.sensitive.as_slice()).unwrap_or_default();
    let dictionary = command_sources.dictionary(&config.commands, false)?;
    let sensitive = policy::commands("audit.sensitive", words, &dictionary);
    let sensitive = sensitive.map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        StartError::new(texts.join("\n"))
    })?;
    Ok(AuditRules { sensitive, places: config.places.clone() })
}

/// Watches every file whose change is a reason to reload, the configuration's own included.
pub(super) fn watch(config: &Config, file: Option<&PathBuf>) -> Watch {
    Watch::new(files(config, file))
}

/// Every file whose change is a reason to reload.
pub(super) fn files(config: &Config, file: Option<&PathBuf>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = file.cloned().into_iter().collect();
    if let Some(tls) = &config.upstream.tls {
        files.extend(tls.files().map(Path::to_path_buf));
    }
    let listeners = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    files.extend(listeners.flat_map(|tls| tls.files().map(Path::to_path_buf)));
    if let Some(SecretSource::File(path)) = &config.upstream.auth.password {
        files.push(path.clone());
    }
    files.extend(access::files(config));
    files
}

/// Shows the configuration in force in the metrics.
pub(super) fn note_config(config: &Config, metrics: &Metrics) {
    metrics.config_hash.set(i64::try_from(config::hash(config)).unwrap_or(i64::MAX));
}

/// Shows the credentials in force in the metrics.
pub(super) fn note_credentials(credentials: &Credentials, metrics: &Metrics) {
    if let Some(end) = credentials.current().expires_at {
        metrics.credential_expiry_timestamp_seconds.set(end);
    }
}

/// Shows the published identity in the metrics.
pub(super) fn note_identity(identity: &Identity, metrics: &Metrics) {
    if let Some(client) = &identity.client {
        let role = CertificateRole::Client;
        metrics.tls_certificate_not_after_timestamp_seconds[role].set(client.not_after);
        metrics.tls_certificate_not_before_timestamp_seconds[role].set(client.not_before);
        metrics.tls_certificate_info.set(role, vec![client.fingerprint.clone()]);
    }
    if let Some(ca_not_after) = identity.ca_not_after {
        let anchor = CertificateRole::TrustAnchor;
        metrics.tls_certificate_not_after_timestamp_seconds[anchor].set(ca_not_after);
    }
    if let Some(next_update) = identity.next_update {
        metrics.tls_crl_next_update_timestamp_seconds[TlsSide::Upstream].set(next_update);
    }
    let generation = i64::try_from(identity.generation).unwrap_or(i64::MAX);
    metrics.tls_identity_generation.set(generation);
}

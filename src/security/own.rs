//! respgate's own configuration, files and policies, as facts.
//!
//! Owns: [`own`], [`policies`], [`used_rules`]. Never knows: the server.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::facts::{DANGEROUS, FOREIGN, OwnFacts, PasswordFact, PolicyFacts};
use crate::base::clock;
use crate::command::Dictionary;
use crate::config::{Authorities, Config, ListenAddress, OnMissing, Rules, SecretSource};
use crate::policy::{self, EvalContext, Explanation, Mode, Overview, Policy, Verdict};
use crate::resp::RequestBuf;
use crate::tls::TlsStore;
use crate::tls::inspect::Inspection;
use crate::tls::watch::Watch;
use crate::upstream::credentials::Credentials;
use crate::upstream::target::Target;

/// Everything that needs no server.
pub(super) fn own(config: &Config) -> OwnFacts {
    let upstream = &config.upstream;
    let tls = upstream.tls.as_ref();
    let client = tls.and_then(|tls| tls.client.as_ref());
    let store = tls.map(TlsStore::open);
    let target = Target::of(upstream);
    let current = store.as_ref().and_then(|store| Some(store.as_ref().ok()?.current()));
    let mut files: Vec<PathBuf> =
        tls.into_iter().flat_map(|tls| tls.files().map(Path::to_path_buf)).collect();
    let password = match &upstream.auth.password {
        None if upstream.auth.certificate.is_some() => PasswordFact::Certificate,
        None if upstream.auth.command.is_some() => PasswordFact::Program,
        None => PasswordFact::None,
        Some(SecretSource::Env(_)) => PasswordFact::Environment,
        Some(SecretSource::File(path)) => {
            files.push(path.clone());
            PasswordFact::File(mode(path))
        }
    };
    let ca_file = tls.and_then(|tls| match &tls.ca {
        Some(Authorities::File(path)) => Some(path),
        Some(Authorities::System) | None => None,
    });
    OwnFacts {
        is_behind_socket: config.upstream.address.tcp().is_none(),
        verify: tls.map(|tls| tls.verify),
        server_name: match target.as_ref().ok().and_then(|target| target.server_name.as_ref()) {
            Some(name) => name.to_str().into_owned(),
            None => upstream.address.host().to_owned(),
        },
        username: upstream.auth.username.clone(),
        key_mode: client.and_then(|client| mode(&client.key)),
        password,
        open_addresses: open_addresses(config),
        open_sockets: open_sockets(config),
        telemetry: config.telemetry.address.is_some(),
        log_level: config.telemetry.log_level.clone(),
        pinned_grace_is_zero: upstream.pool.pinned_grace.is_zero(),
        watched: (!files.is_empty()).then(|| Watch::new(files).watch_up()),
        reload: match (&store, &target, Credentials::open(&upstream.auth)) {
            (Some(Err(error)), _, _) | (_, Err(error), _) => Err(error.to_string()),
            (_, _, Err(error)) => Err(error.to_string()),
            (_, _, Ok(_)) => Ok(()),
        },
        authorities: ca_file.map(|file| Inspection::read(std::slice::from_ref(file))),
        client: client.map(|client| Inspection::read(std::slice::from_ref(&client.cert))),
        ends: current.filter(|_| ca_file.is_some()).and_then(|identity| {
            Some((identity.client.as_ref()?.chain_not_after, identity.ca_not_after?))
        }),
    }
}

fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|meta| meta.mode() & 0o7777)
}

fn open_addresses(config: &Config) -> Vec<String> {
    let open = config.listeners.iter().filter(|listener| !listener.requires_certificate());
    let listeners = open.filter_map(|listener| match &listener.address {
        ListenAddress::Tcp(address) if !address.ip().is_loopback() => {
            Some(format!("listener {address}"))
        }
        ListenAddress::Tcp(_) | ListenAddress::Unix(_) => None,
    });
    let telemetry = config.telemetry.address.filter(|address| !address.ip().is_loopback());
    listeners.chain(telemetry.map(|address| format!("telemetry {address}"))).collect()
}

fn open_sockets(config: &Config) -> Vec<String> {
    let open = config.listeners.iter().filter_map(|listener| match &listener.address {
        ListenAddress::Unix(path) if listener.mode & 0o002 != 0 => {
            Some(format!("{} has mode {:04o}", path.display(), listener.mode))
        }
        ListenAddress::Unix(_) | ListenAddress::Tcp(_) => None,
    });
    open.collect()
}

/// The rules that some client can have, by their section.
pub(super) fn used_rules(config: &Config) -> Vec<(String, &Rules)> {
    let listeners = config.listeners.iter().map(|listener| listener.policy.as_deref());
    let users = config.users.iter().filter(|user| user.enabled);
    let names: BTreeSet<Option<&str>> =
        listeners.chain(users.filter_map(|user| user.policy.as_deref()).map(Some)).collect();
    names.into_iter().filter_map(|name| config.rules(name).ok()).collect()
}

/// The policies that some client can have.
pub(super) fn policies(config: &Config, dictionary: &Arc<Dictionary>) -> Vec<PolicyFacts> {
    let used = used_rules(config).into_iter();
    used.filter_map(|(section, rules)| facts(section, rules, dictionary)).collect()
}

fn facts(section: String, rules: &Rules, dictionary: &Arc<Dictionary>) -> Option<PolicyFacts> {
    let policy = policy::compile_with(rules, dictionary).ok()?;
    let overview = Overview::of(&policy);
    let dangerous = DANGEROUS.iter().map(|(command, _)| *command);
    let scripts = overview.warnings.iter().find(|(code, _)| *code == "POL-W003");
    Some(PolicyFacts {
        section,
        mode: match overview.mode {
            Mode::Enforce => "enforce",
            Mode::Partly => "partly",
            Mode::Observe => "observe",
        },
        dangerous: dangerous.filter(|command| passes(&policy, command)).collect(),
        reaches_all_keys: !rewrites(rules) && passes(&policy, &format!("GET {FOREIGN}")),
        scripts: scripts.map(|(_, words)| words.clone()),
        ttl_enforced: rules.ttl.on_missing != OnMissing::Allow,
        ttl_max: rules.ttl.max.is_some(),
    })
}

/// Whether respgate adds a prefix to every name.
pub(super) fn rewrites(rules: &Rules) -> bool {
    rules.keys.prefix.is_some() && rules.keys.mode == crate::config::KeyMode::Rewrite
}

fn passes(policy: &Policy, command: &str) -> bool {
    let request = RequestBuf::from_args(command.split(' '));
    let moment = EvalContext { database: 0, unix_ms: clock::unix_ms() };
    match Explanation::of(policy, &request.as_request(), &moment).verdict {
        Verdict::Passes | Verdict::Observed(..) => true,
        Verdict::Refused(..) => false,
    }
}

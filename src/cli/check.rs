//! `check`: every problem with a configuration, or one screen that says what it means.
//!
//! Owns: the summary, the look at the files that a configuration names. Never knows: a runtime.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::config::{
    ClientAuth, Config, ConfigSource, Document, ListenAddress, Listener, LogFormat, PoolMode,
    Problem, Rules, SecretSource, Telemetry, Tls, TlsVersion, Upstream, Verify, environment,
    show_duration, show_size,
};
use crate::policy::{self, RuleError};

pub(super) fn check(source: &ConfigSource, skip_files: bool) -> ExitCode {
    match examine(source, skip_files) {
        Ok(config) => {
            output::print(&summary(source, &config));
            ExitCode::SUCCESS
        }
        Err(problems) => output::complain(source, problems),
    }
}

fn examine(source: &ConfigSource, skip_files: bool) -> Result<Config, Vec<Problem>> {
    let document = source.document(environment())?;
    let config = document.config()?;
    let mut problems = rule_problems(&document, &config.policy);
    if !skip_files {
        problems.extend(file_problems(&document, &config));
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// Rules of the policy that cannot be applied.
fn rule_problems(document: &Document, rules: &Rules) -> Vec<Problem> {
    let errors = policy::compile(rules).err().unwrap_or_default();
    let problem = |error: RuleError| {
        let hint = error.nearest.map(|nearest| format!("did you mean {nearest}?"));
        let what = format!("'{}': {}", error.word, error.problem);
        document.problem(&format!("policy.{}", error.setting), what, hint)
    };
    errors.into_iter().map(problem).collect()
}

/// Files and variables that cannot be read.
fn file_problems(document: &Document, config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |key: String, error: Option<String>| {
        problems.extend(error.map(|error| document.problem(&key, error, None)));
    };
    if let Some(tls) = &config.upstream.tls {
        for (key, path) in [("cert", &tls.cert), ("key", &tls.key), ("ca", &tls.ca)] {
            report(format!("upstream.tls.{key}"), unreadable(path));
        }
    }
    let mut secret = |section: &str, source: &SecretSource| {
        let key = match source {
            SecretSource::File(_) => "password_file",
            SecretSource::Env(_) => "password_env",
        };
        report(format!("{section}.{key}"), source.read().err().map(|error| error.to_string()));
    };
    if let Some(password) = &config.upstream.auth.password {
        secret("upstream.auth", password);
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        if let ClientAuth::Password(password) = &listener.auth {
            secret(&format!("listener.{index}"), password);
        }
    }
    problems
}

fn unreadable(path: &Path) -> Option<String> {
    std::fs::read(path).err().map(|error| format!("{}: {error}", path.display()))
}

/// One screen: what the configuration means, in rows of a label and words.
fn summary(source: &ConfigSource, config: &Config) -> String {
    let name = source.path.as_ref().map(|path| path.to_string_lossy());
    let mut rows: Vec<(&str, String)> = Vec::new();
    rows.extend(config.listeners.iter().map(|listener| ("listen", listen(listener))));
    rows.extend(upstream(&config.upstream));
    rows.push(("policy", rules(&config.policy)));
    let limits = &config.limits;
    let argument = show_size(limits.max_bulk_bytes);
    let buffers = show_size(limits.memory_budget_bytes as u64);
    let clients = limits.max_clients;
    rows.push((
        "limits",
        format!("{clients} clients, {argument} an argument, {buffers} of buffers"),
    ));
    rows.push(("telemetry", telemetry(&config.telemetry)));
    rows.push(("drain", format!("at most {}", show_duration(config.drain.max))));

    let mut text = format!("{}: no problems", name.as_deref().unwrap_or("command line"));
    let mut previous = "";
    for (label, words) in rows {
        let shown = if label == previous { "" } else { label };
        let _ = write!(text, "\n  {shown:<10} {words}");
        previous = label;
    }
    text
}

fn listen(listener: &Listener) -> String {
    let auth = match &listener.auth {
        ClientAuth::Off => "no password".to_owned(),
        ClientAuth::Ignore => "any password".to_owned(),
        ClientAuth::Password(source) => format!("password from {}", place(source)),
    };
    match (&listener.address, &listener.group) {
        (address @ ListenAddress::Tcp(_), _) => format!("{address}, {auth}"),
        (address @ ListenAddress::Unix(_), None) => {
            format!("{address}, mode {:04o}, {auth}", listener.mode)
        }
        (address @ ListenAddress::Unix(_), Some(group)) => {
            format!("{address}, mode {:04o}, group {group}, {auth}", listener.mode)
        }
    }
}

fn upstream(upstream: &Upstream) -> Vec<(&'static str, String)> {
    let mut rows = vec![("upstream", upstream.address.to_string())];
    match &upstream.tls {
        Some(tls) => rows.extend(tls_rows(tls, &upstream.address.host)),
        None => rows.push(("tls", "NONE: commands travel in plain text".to_owned())),
    }
    let user = upstream.auth.username.as_deref().unwrap_or("the server's default user");
    let user = match &upstream.auth.password {
        Some(password) => format!("{user}, password from {}", place(password)),
        None => format!("{user}, no password"),
    };
    rows.push(("user", user));
    let most = upstream.pool.max_connections;
    let pool = match upstream.pool.mode {
        PoolMode::Shared => format!("shared connections, and up to {most} pinned"),
        PoolMode::Session => format!("one connection a session, up to {most}"),
    };
    rows.push(("pool", pool));
    rows
}

fn tls_rows(tls: &Tls, host: &str) -> [(&'static str, String); 3] {
    let name = tls.server_name.as_deref().unwrap_or(host);
    let trust = match tls.verify {
        Verify::Full => format!("the server must prove to be {name}"),
        Verify::Ca => "any server that the authorities vouch for".to_owned(),
        Verify::Pin => format!("a server with one of {} public keys", tls.pins.len()),
    };
    let version = match tls.min_version {
        TlsVersion::V1_2 => "TLS 1.2 or later",
        TlsVersion::V1_3 => "TLS 1.3",
    };
    [
        ("tls", format!("{version}, {trust}")),
        ("tls", format!("certificate {}, key {}", tls.cert.display(), tls.key.display())),
        ("tls", format!("authorities {}", tls.ca.display())),
    ]
}

fn telemetry(telemetry: &Telemetry) -> String {
    let format = match telemetry.log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "JSON",
    };
    let level = &telemetry.log_level;
    match telemetry.address {
        Some(address) => format!("http://{address}/metrics, {format} logs at {level}"),
        None => format!("no metrics, {format} logs at {level}"),
    }
}

fn place(source: &SecretSource) -> String {
    match source {
        SecretSource::File(path) => path.display().to_string(),
        SecretSource::Env(variable) => format!("${variable}"),
    }
}

fn rules(rules: &Rules) -> String {
    let acl = rules.acl.as_deref().map(|acl| acl.split_whitespace().collect::<Vec<_>>().join(" "));
    match (&rules.preset, acl) {
        (None, None) => "preset default".to_owned(),
        (Some(preset), None) => format!("preset {preset}"),
        (Some(preset), Some(acl)) => format!("preset {preset}, then {acl}"),
        (None, Some(acl)) => acl,
    }
}

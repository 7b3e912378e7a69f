//! `check`: every problem with a configuration, or one screen that shows what it means.
//!
//! Owns: the summary. Never knows: a runtime, how problems are found.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::args::Check;
use super::connect::Trial;
use super::examine::examine;
use super::output::{Output, Paint};
use super::verb::Verb;
use super::{exit, policy_rows, void};
use crate::base::password::Passwords;
use crate::command::Dictionary;
use crate::config::{
    AskClient, CertificateFiles, ClientAuth, Commands, Config, ConfigSource, ExpiredCrl,
    ListenAddress, Listener, ListenerTls, LogFormat, OpenFile, PoolMode, Problem, Revocation,
    SecretSource, Telemetry, Tls, TlsVersion, Upstream, User, Verify, open_files, read_acl_file,
    show_duration, show_size,
};
use crate::policy::{self, AclUser};
use crate::tls::{ListenerStore, OwnCertificate, TlsStore, calendar};
use crate::upstream::most_for_one_use;

impl Verb for Check {
    fn run(self, output: Output) -> ExitCode {
        let output = output.with_json(self.answer.json);
        let source = self.inputs.source();
        let config = match checked(&source, self.skip_files) {
            Ok(config) => config,
            Err(problems) => return output.complain(&source, problems),
        };
        let rows = summary(&config, self.skip_files);
        output.print(&text(output, &source, &rows));
        let trial = self.connect.then(|| Trial::make(output, &source, &config));
        let usable = trial.as_ref().is_none_or(Trial::usable);
        match &trial {
            Some(trial) if usable => output.print(&trial.text(|p, word| output.paint(p, word))),
            Some(trial) if !self.answer.json => {
                output.print_error(&trial.text(|p, word| output.paint_error(p, word)));
            }
            Some(_) | None => {}
        }
        output.json(|| match &trial {
            None => json!({ "valid": true, "summary": json_rows(&rows) }),
            Some(trial) => {
                json!({ "valid": true, "summary": json_rows(&rows), "server": trial.json() })
            }
        });
        if usable { ExitCode::SUCCESS } else { ExitCode::from(exit::UNUSABLE) }
    }
}

/// The settings, or everything that is wrong with them, settings without effect included.
fn checked(source: &ConfigSource, skip_files: bool) -> Result<Config, Vec<Problem>> {
    let config = examine(source, skip_files)?;
    let problems = void::problems(source, &config);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// A label and words.
type Row = (&'static str, String);

/// One screen: what the configuration means.
fn summary(config: &Config, skip_files: bool) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for listener in &config.listeners {
        rows.push(("listen", listen(listener)));
        rows.extend(listener.tls.iter().flat_map(|tls| listener_tls(tls, skip_files)));
    }
    rows.extend(upstream(&config.upstream, skip_files));
    rows.extend(policy_rows::rows(config));
    if !skip_files {
        let open = open_files(config);
        let line = |file: &OpenFile| format!("{file}; {} (FIL-W001)", file.fix());
        rows.extend(open.iter().map(|file| ("warning", line(file))));
    }
    rows.extend(commands(&config.commands).map(|words| ("commands", words)));
    rows.extend(policy::overlaps(config.sections()).into_iter().map(|line| ("warning", line)));
    rows.extend(users(config).into_iter().map(|words| ("users", words)));
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
    rows
}

fn text(output: Output, source: &ConfigSource, rows: &[Row]) -> String {
    let name = source.path.as_ref().map(|path| path.to_string_lossy());
    let mut text = format!("{}: no problems", name.as_deref().unwrap_or("command line"));
    let mut previous = "";
    for (label, words) in rows {
        let shown = if *label == previous { "" } else { label };
        let shown = format!("{shown:<10}");
        let shown = match *label {
            "warning" => output.paint(Paint::Warning, &shown),
            _ => output.paint(Paint::Faint, &shown),
        };
        let _ = write!(text, "\n  {shown} {words}");
        previous = label;
    }
    text
}

/// The rows in their order, those of one label together.
fn json_rows(rows: &[Row]) -> serde_json::Value {
    let mut labels: serde_json::Map<String, serde_json::Value> = serde_json::Map::new();
    for (label, words) in rows {
        let lines = labels.entry(*label).or_insert_with(|| json!([]));
        if let Some(lines) = lines.as_array_mut() {
            lines.push(json!(words));
        }
    }
    labels.into()
}

fn listen(listener: &Listener) -> String {
    let auth = match &listener.auth {
        ClientAuth::Off => "no password".to_owned(),
        ClientAuth::Ignore => "any password".to_owned(),
        ClientAuth::Password(source) => format!("password from {}", place(source)),
        ClientAuth::Users => "users".to_owned(),
    };
    let policy =
        listener.policy.as_ref().map_or_else(String::new, |name| format!(", policy {name}"));
    let auth = auth + &policy;
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

/// What applications see of TLS, and must show.
fn listener_tls(tls: &ListenerTls, skip_files: bool) -> Vec<Row> {
    let store = if skip_files { None } else { ListenerStore::open(tls).ok() };
    let end = store.map_or_else(String::new, |store| {
        format!(", valid until {}", calendar(store.current().own.chain_not_after))
    });
    let CertificateFiles { cert, key } = &tls.own;
    let client = match tls.client_auth {
        AskClient::Require => "every client must show a certificate",
        AskClient::Request => "a client may show a certificate",
        AskClient::Off => "no client certificates",
    };
    let names: Vec<String> = tls.allowed_sans.iter().map(ToString::to_string).collect();
    let names = if names.is_empty() { String::new() } else { format!(" of {}", names.join(", ")) };
    let version = version(tls.min_version);
    let mut rows = vec![
        ("", format!("{version}, {client}{names}")),
        ("", format!("certificate {}{end}, key {}", cert.display(), key.display())),
    ];
    rows.extend(tls.client_ca.iter().map(|ca| ("", format!("authorities {}", ca.display()))));
    rows.extend(lists(tls.revocation.as_ref()).map(|text| ("", text)));
    rows
}

/// Where lists of revoked certificates are, if anywhere.
fn lists(revocation: Option<&Revocation>) -> Option<String> {
    let Revocation { crl, expired } = revocation?;
    let expired = match expired {
        ExpiredCrl::Reject => "refused",
        ExpiredCrl::Accept => "accepted",
    };
    Some(format!("revoked certificates in {}, {expired} when it has expired", crl.display()))
}

const fn version(min: TlsVersion) -> &'static str {
    match min {
        TlsVersion::V1_2 => "TLS 1.2 or later",
        TlsVersion::V1_3 => "TLS 1.3",
    }
}

fn upstream(upstream: &Upstream, skip_files: bool) -> Vec<(&'static str, String)> {
    let mut rows = vec![("upstream", upstream.address.to_string())];
    match &upstream.tls {
        Some(tls) => rows.extend(tls_rows(tls, upstream.address.host(), skip_files)),
        None if upstream.address.tcp().is_none() => {}
        None => rows.push(("tls", "NONE: commands travel in plain text".to_owned())),
    }
    let user = upstream.auth.username.as_deref().unwrap_or("the server's default user");
    let user = match (&upstream.auth.password, &upstream.auth.command) {
        (Some(password), _) => format!("{user}, password from {}", place(password)),
        (None, Some(command)) => {
            format!("{user}, password printed by {}", command.program.display())
        }
        (None, None) if upstream.auth.certificate.is_some() => {
            let user = upstream.auth.username.as_deref().unwrap_or("as the server takes it");
            format!("{user}, by the client certificate")
        }
        (None, None) => format!("{user}, no password"),
    };
    rows.push(("user", user));
    let most = upstream.pool.max_connections;
    let pool = match upstream.pool.mode {
        PoolMode::Shared => {
            let one = most_for_one_use(most);
            format!("shared connections, and up to {most} pinned, {one} of them for one use")
        }
        PoolMode::Session => format!("one connection a session, up to {most}"),
    };
    rows.push(("pool", pool));
    rows
}

fn tls_rows(tls: &Tls, host: &str, skip_files: bool) -> Vec<(&'static str, String)> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    let trust = match tls.verify {
        Verify::Full => format!("the server must prove to be {name}"),
        Verify::Ca => "any server with a certificate of the authorities".to_owned(),
        Verify::Pin => format!("a server with one of {} public keys", tls.pins.len()),
    };
    let mut rows = vec![("tls", format!("{}, {trust}", version(tls.min_version)))];
    let client = if skip_files { None } else { client_facts(tls) };
    let end = client.map_or_else(String::new, |client| {
        format!(", valid until {}", calendar(client.chain_not_after))
    });
    rows.push(match &tls.client {
        Some(CertificateFiles { cert, key }) => {
            ("tls", format!("certificate {}{end}, key {}", cert.display(), key.display()))
        }
        None => ("tls", "no client certificate".to_owned()),
    });
    rows.extend(tls.ca.iter().map(|ca| ("tls", format!("authorities {ca}"))));
    if !tls.allowed_sans.is_empty() {
        let names: Vec<String> = tls.allowed_sans.iter().map(ToString::to_string).collect();
        rows.push(("tls", format!("a certificate of {}", names.join(", "))));
    }
    rows.extend(lists(tls.revocation.as_ref()).map(|text| ("tls", text)));
    rows
}

fn client_facts(tls: &Tls) -> Option<OwnCertificate> {
    TlsStore::open(tls).ok()?.current().client.clone()
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

/// The users there are, those of the ACL file by name if it can be read.
fn users(config: &Config) -> Vec<String> {
    let mut words: Vec<String> = config.users.iter().map(user).collect();
    if let Some(path) = &config.acl_file {
        let text = read_acl_file(path).ok();
        let dictionary = Arc::new(Dictionary::of(&config.commands).unwrap_or_default());
        let accounts = text.and_then(|text| {
            policy::read_accounts(text.expose(), &config.policy, &dictionary).ok()
        });
        let name = |account: &AclUser| match account.enabled {
            true => account.name.clone(),
            false => format!("{} (disabled)", account.name),
        };
        let names: Vec<String> = accounts.iter().flatten().map(name).collect();
        words.push(format!("{}, each with its own rules: {}", path.display(), names.join(", ")));
    }
    words
}

fn user(user: &User) -> String {
    let mut ways = Vec::new();
    match &user.passwords {
        Passwords::Any => ways.push("any password".to_owned()),
        Passwords::OneOf(hashes) if hashes.is_empty() => {}
        Passwords::OneOf(hashes) if hashes.len() == 1 => ways.push("a password".to_owned()),
        Passwords::OneOf(hashes) => ways.push(format!("one of {} passwords", hashes.len())),
    }
    ways.extend(user.password.as_ref().map(|source| format!("password from {}", place(source))));
    if !user.uids.is_empty() {
        let uids: Vec<String> = user.uids.iter().map(u32::to_string).collect();
        ways.push(format!("Unix socket of uid {}", uids.join(", ")));
    }
    let ways = match (user.enabled, ways.is_empty()) {
        (false, _) => "disabled".to_owned(),
        (true, true) => "no client can log in as it: no password, no uid".to_owned(),
        (true, false) => ways.join(" or "),
    };
    let policy = user.policy.as_deref().unwrap_or("the listener's");
    format!("{}: {ways}; policy {policy}", user.name)
}

/// What is known beyond the table, if anything may be.
fn commands(commands: &Commands) -> Option<String> {
    let mut names: Vec<String> =
        commands.custom.iter().map(|own| own.name.to_ascii_uppercase()).collect();
    names.extend(commands.learn.then(|| "others as the server describes them".to_owned()));
    (!names.is_empty()).then(|| format!("besides those known: {}", names.join(", ")))
}

//! The files under `config/` are true: the reference names every key, with its default.
//!
//! Owns: that comparison. Never knows: how a configuration is read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use respgate::internals::config::{
    Breaker, CertificateFiles, ClientAuth, ClientLimits, Commands, Config, Drain, Health,
    LimitRule, ListenerTls, Pool, Problem, Rate, Retry, Rules, ServerAuth, Telemetry, Tls, keys,
    load, parse,
};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn reference() -> String {
    std::fs::read_to_string(directory().join("respgate.toml")).unwrap()
}

fn read(text: &str) -> Result<Config, Vec<Problem>> {
    parse(text, "respgate.toml", Vec::new())
}

fn show(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The line as it is without its "# ", when it is a key that has no default.
fn without_default(line: &str) -> Option<&str> {
    let line = line.strip_prefix("# ")?;
    let (key, _) = line.split_once(" = ")?;
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(line)
}

#[test]
fn every_file_is_a_configuration_without_void_settings() {
    let mut files = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            load(&path, Vec::new()).unwrap_or_else(|problems| panic!("{}", show(&problems)));
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_respgate"))
                .args(["check", "--skip-files", "--config"])
                .arg(&path)
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            files += 1;
        }
    }
    assert!(files >= 4);
}

/// The configuration is the same in both places, so that what was tried is what is copied.
#[test]
fn smallest_configuration_is_that_of_the_readme() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let smallest = std::fs::read_to_string(directory().join("minimal.toml")).unwrap();
    let (comment, body) = smallest.split_once("\n\n").unwrap();
    assert!(comment.starts_with('#'));
    assert!(readme.contains(&format!("```toml\n{body}```\n")), "config/minimal.toml: {body}");
}

#[test]
fn value_in_the_reference_is_the_default() {
    let config = read(&reference()).unwrap_or_else(|problems| panic!("{}", show(&problems)));
    let smallest = read(
        "listener = [{ address = '127.0.0.1:6379' },\
                     { address = 'unix:x', auth = 'users', policy = 'reports' },\
                     { address = '0.0.0.0:1', auth = 'users',\
                       tls = { cert = 'c', key = 'k', client_ca = 'a' } }]\n\
         user = [{ name = 'app1' }]\npolicies = { reports = { preset = 'readonly' } }\n\
         upstream = { address = 'h:1', tls = { cert = 'c', key = 'k', ca = 'a' } }",
    )
    .unwrap();
    for (listener, default) in config.listeners.iter().zip(&smallest.listeners) {
        assert!(!listener.allow_remote && !default.allow_remote);
        assert_eq!(listener.mode, default.mode);
        assert_eq!((&listener.group, &listener.auth), (&default.group, &default.auth));
        assert_eq!(listener.policy, default.policy);
        let defaults = |tls: &ListenerTls| ListenerTls {
            own: CertificateFiles { cert: "c".into(), key: "k".into() },
            client_ca: None,
            ..tls.clone()
        };
        assert_eq!(listener.tls.as_ref().map(defaults), default.tls.as_ref().map(defaults));
    }
    let defaults = |tls: Tls| (tls.server_name, tls.verify, tls.pins, tls.min_version);
    assert_eq!(config.upstream.tls.map(defaults), smallest.upstream.tls.map(defaults));
    assert_eq!(config.upstream.auth, ServerAuth::default());
    assert_eq!(config.upstream.pool, Pool::default());
    assert_eq!(config.upstream.retry, Retry::default());
    assert_eq!(config.upstream.breaker, Breaker::default());
    assert_eq!(config.health, Health::default());
    // What a listener, and what a limit, must have beside it to mean anything.
    assert_eq!(config.listeners[1].auth, ClientAuth::Users);
    let rate = Some(Rate { count: 1000, period: std::time::Duration::from_secs(1), burst: 1000 });
    let limit = LimitRule { commands: "@all".to_owned(), rate, ..LimitRule::default() };
    assert_eq!(config.commands, Commands::default());
    assert_eq!(config.policy, Rules { limits: vec![limit], ..Rules::default() });
    let user = read(
        "listener = [{ address = '127.0.0.1:6379' }]\nuser = [{ name = 'app1' }]\n\
         upstream = { address = 'h:1', insecure_plaintext = true }",
    );
    assert_eq!(config.users, user.unwrap().users);
    assert_eq!(config.acl_file, None);
    assert_eq!(config.limits, ClientLimits::default());
    assert_eq!(config.telemetry, Telemetry::default());
    assert_eq!(config.drain, Drain::default());
}

#[test]
fn reference_names_every_key_and_no_other() {
    let text: String = reference()
        .lines()
        .map(|line| format!("{}\n", without_default(line).unwrap_or(line)))
        .collect();
    let mut named = BTreeSet::new();
    names(&toml::from_str::<toml::Value>(&text).unwrap(), "", &mut named);
    // Every other policy has the keys of the first.
    let (policies, named): (BTreeSet<String>, BTreeSet<String>) =
        named.into_iter().partition(|key| key.starts_with("policies."));
    let of_policies = |key: &str| {
        let mut parts = key.splitn(3, '.');
        (parts.next() == Some("policies")).then(|| format!("policy.{}", parts.last().unwrap()))
    };
    assert!(!policies.is_empty());
    assert!(policies.iter().all(|key| named.contains(&of_policies(key).unwrap())), "{policies:?}");
    let (twins, known): (Vec<String>, Vec<String>) =
        keys().into_iter().partition(|key| of_policies(key).is_some());
    let twins: BTreeSet<String> = twins.iter().filter_map(|key| of_policies(key)).collect();
    let own = |key: &&String| key.starts_with("policy.");
    assert_eq!(twins, known.iter().filter(own).cloned().collect());
    assert_eq!(named, known.into_iter().collect());
}

/// The full names of all keys, without list positions.
fn names(value: &toml::Value, at: &str, into: &mut BTreeSet<String>) {
    // Behind it stand names of commands.
    if let Some(table) = value.as_table().filter(|_| at != "commands.custom") {
        for (name, value) in table {
            let full = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            names(value, &full, into);
        }
    } else if let Some(values) =
        value.as_array().filter(|values| values.iter().any(toml::Value::is_table))
    {
        values.iter().for_each(|value| names(value, at, into));
    } else {
        into.insert(at.to_owned());
    }
}

#[test]
fn each_key_without_a_default_can_be_uncommented() {
    let reference = reference();
    let mut keys = 0;
    for (number, line) in reference.lines().enumerate() {
        let Some(setting) = without_default(line) else { continue };
        let text: String = reference
            .lines()
            .enumerate()
            .map(|(at, other)| if at == number { setting } else { other })
            // A directory of scripts is for one mode alone.
            .map(|other| match other {
                "# mode = \"guarded\"" if setting.starts_with("directory") => {
                    "mode = \"allowlist\""
                }
                other => other,
            })
            // An address of the admin server goes with a token.
            .map(|other| match other.strip_prefix("# ") {
                Some(own) if own.starts_with("token_file") && setting.contains(":9466") => own,
                Some(own) if own.contains(":9466") && setting.starts_with("token_file") => own,
                Some(_) | None => other,
            })
            // A client's password replaces auth, as the reference states.
            .filter(|other| {
                !(setting.contains("/client") || setting.contains("CLIENT"))
                    || *other != "auth = \"off\""
            })
            .map(|line| format!("{line}\n"))
            .collect();
        read(&text).unwrap_or_else(|problems| panic!("{setting}: {}", show(&problems)));
        keys += 1;
    }
    assert!(keys >= 9, "{keys}");
}

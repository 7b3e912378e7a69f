//! `check --connect`: the way to the server, step by step, as `run` would go it.
//!
//! Owns: the report. Never knows: how a step is done.

use std::process::ExitCode;

use super::output::Output;
use super::{acl, examine, exit};
use crate::config::{Config, ConfigSource, Problem, environment};
use crate::resp::Protocol;
use crate::tls::calendar;
use crate::traffic::PoolKey;
use crate::upstream::dial::Link;
use crate::upstream::failure::DialError;
use crate::upstream::phase::Phase;

/// The steps in their order, and what they are called.
const STEPS: [(Phase, &str); 4] = [
    (Phase::Resolve, "resolve"),
    (Phase::Connect, "connect"),
    (Phase::Tls, "tls"),
    (Phase::Login, "login"),
];

/// Opens one connection and closes it again, and compares the rules of the server's user with the
/// policies where that user may ask for them.
pub(super) fn connect(output: Output, source: &ConfigSource, config: &Config) -> ExitCode {
    let (text, usable) = match dial(config) {
        Ok(Ok(link)) => (succeeded(config, &link, &rules(source, config)), true),
        Ok(Err(error)) => (failed(config, &error), false),
        Err(problem) => (format!("server: FAILED: {problem}"), false),
    };
    if usable {
        output.print(&text);
        ExitCode::SUCCESS
    } else {
        output.print_error(&text);
        ExitCode::from(exit::UNUSABLE)
    }
}

fn dial(config: &Config) -> Result<Result<Link, DialError>, String> {
    let dialer = acl::dialer(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop: {}", error.kind()))?;
    let key = PoolKey { protocol: Protocol::Resp2, database: 0 };
    Ok(runtime.block_on(dialer.dial(key)))
}

/// What the server's user lacks or has besides, or why that is not known.
fn rules(source: &ConfigSource, config: &Config) -> Vec<String> {
    let read = || -> Result<Result<Vec<String>, String>, Vec<Problem>> {
        let document = source.document(environment())?;
        let dictionary = examine::dictionary(&document, config)?;
        Ok(acl::server_differences(&document, config, &dictionary))
    };
    match read() {
        Ok(Ok(differences)) if differences.is_empty() => {
            vec!["ok: the rules of the server's user are those of the policies".to_owned()]
        }
        Ok(Ok(differences)) => differences
            .iter()
            .map(|difference| format!("differ: {}", shorter(difference)))
            .collect(),
        Ok(Err(why)) => vec![format!("not compared: {why}")],
        Err(_) => vec!["not compared: the configuration has changed".to_owned()],
    }
}

/// A list of commands may be long; `acl --diff` shows all of it.
fn shorter(difference: &str) -> String {
    const WORDS_MAX: usize = 24;
    let words: Vec<&str> = difference.split(' ').collect();
    match words.get(..WORDS_MAX) {
        Some(first) if words.len() > WORDS_MAX => {
            let more = words.len() - WORDS_MAX;
            format!("{} … and {more} more; see them with: respgate acl --diff", first.join(" "))
        }
        _ => difference.to_owned(),
    }
}

fn row(step: &str, words: &str) -> String {
    format!("  {step:<10} {words}")
}

/// The server, and the steps that are taken without TLS or with it.
fn heading(config: &Config) -> (String, impl Iterator<Item = (Phase, &'static str)>) {
    let tls = config.upstream.tls.is_some();
    let steps = STEPS.into_iter().filter(move |(phase, _)| tls || *phase != Phase::Tls);
    (format!("server {}", config.upstream.address), steps)
}

fn succeeded(config: &Config, link: &Link, rules: &[String]) -> String {
    let (heading, steps) = heading(config);
    let mut rows = vec![heading];
    for (phase, name) in steps {
        let words = match (phase, &link.handshake) {
            (Phase::Tls, Some(handshake)) => {
                let end = handshake.peer_not_after.map_or_else(String::new, |end| {
                    format!(", server's certificate valid until {}", calendar(end))
                });
                format!("ok: {}, {}{end}", handshake.version, handshake.cipher_suite)
            }
            (Phase::Login, _) => {
                let facts = &link.facts;
                let user = config.upstream.auth.username.as_deref().unwrap_or("default");
                let server =
                    format!("{} {} {} {}", facts.server, facts.version, facts.mode, facts.role);
                format!("ok: user {user}; {}", server.trim())
            }
            (Phase::Resolve | Phase::Connect | Phase::Tls, _) => "ok".to_owned(),
        };
        rows.push(row(name, &words));
    }
    rows.extend(rules.iter().map(|words| row("rules", words)));
    rows.join("\n")
}

fn failed(config: &Config, error: &DialError) -> String {
    let (heading, steps) = heading(config);
    let mut rows = vec![heading];
    for (phase, name) in steps {
        rows.push(match phase.cmp(&error.phase) {
            std::cmp::Ordering::Less => row(name, "ok"),
            std::cmp::Ordering::Equal => row(name, &format!("FAILED: {}", error.text)),
            std::cmp::Ordering::Greater => row(name, "not tried"),
        });
    }
    rows.join("\n")
}

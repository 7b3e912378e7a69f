//! `check --connect`: the way to the server, step by step, as `run` would go it.
//!
//! Owns: [`Trial`], the report. Never knows: how a step is done.

use serde_json::json;

use super::output::{Output, Paint};
use super::{acl, examine};
use crate::config::{Config, ConfigSource, Problem, environment};
use crate::resp::Protocol;
use crate::tls::calendar;
use crate::traffic::PoolKey;
use crate::upstream::dial::ServerConnection;
use crate::upstream::failure::DialError;
use crate::upstream::phase::Phase;

/// The steps in their order, and what they are called.
const STEPS: [(Phase, &str); 4] = [
    (Phase::Resolve, "resolve"),
    (Phase::Connect, "connect"),
    (Phase::Tls, "tls"),
    (Phase::Login, "login"),
];

/// One connection that was opened and closed again, and what was found on the way.
#[derive(Debug)]
pub(super) struct Trial {
    server: String,
    steps: Vec<(&'static str, Step)>,
    /// `None`: not asked, because the server cannot be used.
    rules: Option<Rules>,
}

#[derive(Debug)]
enum Step {
    /// With what is worth knowing.
    Ok(String),
    Failed(String),
    NotTried,
}

/// How the rules of the server's user compare with the policies.
#[derive(Debug)]
enum Rules {
    /// What the user lacks or has besides; nothing when the rules are the same.
    Compared(Vec<String>),
    /// Why that is not known.
    Unknown(String),
}

impl Trial {
    /// Opens one connection and closes it again, and compares the rules of the server's user with the
    /// policies where that user may ask for them.
    pub(super) fn make(output: Output, source: &ConfigSource, config: &Config) -> Self {
        let server = config.upstream.address.to_string();
        let progress = output.progress(&format!("connecting to {server}"));
        let dialled = dial(config);
        drop(progress);
        let tls = config.upstream.tls.is_some();
        let steps = STEPS.into_iter().filter(|(phase, _)| tls || *phase != Phase::Tls);
        match dialled {
            Ok(Ok(link)) => {
                let progress = output.progress("comparing the rules of the server's user");
                let rules = rules(source, config);
                drop(progress);
                let step = |(phase, name)| (name, Step::Ok(found(config, &link, phase)));
                Self { server, steps: steps.map(step).collect(), rules: Some(rules) }
            }
            Ok(Err(error)) => {
                let step = |(phase, name): (Phase, _)| match phase.cmp(&error.phase) {
                    std::cmp::Ordering::Less => (name, Step::Ok(String::new())),
                    std::cmp::Ordering::Equal => (name, Step::Failed(error.text.to_string())),
                    std::cmp::Ordering::Greater => (name, Step::NotTried),
                };
                Self { server, steps: steps.map(step).collect(), rules: None }
            }
            Err(problem) => {
                Self { server, steps: vec![("prepare", Step::Failed(problem))], rules: None }
            }
        }
    }

    pub(super) fn usable(&self) -> bool {
        self.steps.iter().all(|(_, step)| matches!(step, Step::Ok(_)))
    }

    /// A row for each step; `paint` is how the stream shows a word.
    pub(super) fn text(&self, paint: impl Fn(Paint, &str) -> String) -> String {
        let mut rows = vec![format!("server {}", self.server)];
        let mut row = |name: &str, words: String| rows.push(format!("  {name:<10} {words}"));
        for (name, step) in &self.steps {
            let words = match step {
                Step::Ok(found) if found.is_empty() => paint(Paint::Good, "ok"),
                Step::Ok(found) => format!("{}: {found}", paint(Paint::Good, "ok")),
                Step::Failed(why) => format!("{}: {why}", paint(Paint::Bad, "FAILED")),
                Step::NotTried => "not tried".to_owned(),
            };
            row(name, words);
        }
        match &self.rules {
            None => {}
            Some(Rules::Compared(differences)) if differences.is_empty() => {
                let same = "the rules of the server's user are those of the policies";
                row("rules", format!("{}: {same}", paint(Paint::Good, "ok")));
            }
            Some(Rules::Compared(differences)) => differences.iter().for_each(|difference| {
                let differ = paint(Paint::Warning, "differ");
                row("rules", format!("{differ}: {}", shorter(difference)));
            }),
            Some(Rules::Unknown(why)) => row("rules", format!("not compared: {why}")),
        }
        rows.join("\n")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let step = |(name, step): &(&str, Step)| {
            let (result, text) = match step {
                Step::Ok(found) => ("ok", Some(found).filter(|found| !found.is_empty())),
                Step::Failed(why) => ("failed", Some(why)),
                Step::NotTried => ("not tried", None),
            };
            json!({ "step": name, "result": result, "text": text })
        };
        let rules = self.rules.as_ref().map(|rules| match rules {
            Rules::Compared(differences) => {
                json!({ "same": differences.is_empty(), "differences": differences })
            }
            Rules::Unknown(why) => json!({ "same": null, "not_compared": why }),
        });
        json!({
            "address": self.server,
            "usable": self.usable(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "rules": rules,
        })
    }
}

fn dial(config: &Config) -> Result<Result<ServerConnection, DialError>, String> {
    let dialer = acl::dialer(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop: {}", error.kind()))?;
    let key = PoolKey { protocol: Protocol::Resp2, database: 0 };
    Ok(runtime.block_on(dialer.dial(key)))
}

fn rules(source: &ConfigSource, config: &Config) -> Rules {
    let read = || -> Result<Result<Vec<String>, String>, Vec<Problem>> {
        let document = source.document(environment())?;
        let dictionary = examine::dictionary(&document, config)?;
        Ok(acl::server_differences(&document, config, &dictionary))
    };
    match read() {
        Ok(Ok(differences)) => Rules::Compared(differences),
        Ok(Err(why)) => Rules::Unknown(why),
        Err(_) => Rules::Unknown("the configuration has changed".to_owned()),
    }
}

/// What a step that succeeded has shown.
fn found(config: &Config, link: &ServerConnection, phase: Phase) -> String {
    match (phase, &link.handshake) {
        (Phase::Tls, Some(handshake)) => {
            let end = handshake.peer_not_after.map_or_else(String::new, |end| {
                format!(", server's certificate valid until {}", calendar(end))
            });
            format!("{}, {}{end}", handshake.version, handshake.cipher_suite)
        }
        (Phase::Login, _) => {
            let facts = &link.facts;
            let user = config.upstream.auth.username.as_deref().unwrap_or("default");
            let server =
                format!("{} {} {} {}", facts.server, facts.version, facts.mode, facts.role);
            format!("user {user}; {}", server.trim())
        }
        (Phase::Resolve | Phase::Connect | Phase::Tls, _) => String::new(),
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

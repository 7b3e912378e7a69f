//! What was seen, as steps that are well, doubtful or failed, each with cause and fix.
//!
//! Owns: [`Step`], [`judge`]. Never knows: files, sockets, clocks.

use std::time::Duration;

use super::facts::{Facts, FileFact, Identity, Instead, Reached};
use super::trouble::Trouble;
use crate::base::limits;
use crate::config::{OpenFile, is_open};
use crate::tls::calendar;
use crate::tls::expiry::{Expiry, assess};
use crate::tls::inspect::Recipe;
use crate::upstream::failure::DialError;
use crate::upstream::fault::Fault;
use crate::upstream::phase::Phase;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Ok,
    /// Not tried, or not to be known.
    Skipped,
    Warn,
    Fail,
}

impl Outcome {
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub name: &'static str,
    pub outcome: Outcome,
    /// What was seen.
    pub what: String,
    /// The stable name of what is wrong, as logs have it.
    pub code: Option<&'static str>,
    /// What to do.
    pub fix: Option<String>,
    /// How long it took, where that is known.
    pub took: Option<Duration>,
}

impl Step {
    fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, what: what.into(), code: None, fix: None, took: None }
    }

    fn skipped(name: &'static str, what: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, ..Self::ok(name, what) }
    }

    fn trouble(name: &'static str, outcome: Outcome, trouble: Trouble, what: String) -> Self {
        let (code, fix) = (Some(trouble.code()), Some(trouble.fix().to_owned()));
        Self { outcome, code, fix, ..Self::ok(name, what) }
    }

    fn taking(self, took: Duration) -> Self {
        Self { took: Some(took).filter(|took| !took.is_zero()), ..self }
    }
}

/// The steps in their order.
#[must_use]
pub(crate) fn judge(facts: &Facts) -> Vec<Step> {
    let mut steps: Vec<Step> = facts.files.iter().map(|file| judge_file(file, facts.uid)).collect();
    steps.extend(facts.files.iter().filter(|file| file.mounted && file.mode.is_ok()).map(|file| {
        let what = format!("{} {} is mounted by itself", file.key, file.path.display());
        Step::trouble("file", Outcome::Warn, Trouble::FileMounted, what)
    }));
    steps.extend(facts.watched.map(judge_watch));
    match &facts.identity {
        None if facts.server.starts_with("unix:") => {}
        None => steps.push(Step::trouble(
            "identity",
            Outcome::Warn,
            Trouble::NoTls,
            format!("{} (upstream.insecure_plaintext = true)", Trouble::NoTls.cause()),
        )),
        Some(identity) => steps.push(judge_identity(identity)),
    }
    if let Err(problem) = &facts.credentials {
        let trouble = Trouble::FileUnreadable;
        steps.push(Step::trouble("password", Outcome::Fail, trouble, problem.clone()));
    }
    steps.extend(judge_way(facts));
    steps.extend(judge_shown(facts));
    if let Some(Ok(reached)) = &facts.dialed {
        steps.extend(judge_server(reached));
        steps.extend(facts.rules.as_ref().map(|rules| judge_rules(&facts.user, rules)));
    }
    steps
}

fn judge_file(file: &FileFact, uid: Option<u32>) -> Step {
    let path = file.path.display();
    match file.mode {
        Ok(mode) if file.secret && is_open(mode) && !file.in_volume => {
            let open = OpenFile { key: file.key, path: file.path.clone(), mode };
            let what = format!("{open}; {}", open.fix());
            Step::trouble("file", Outcome::Warn, Trouble::FileOpen, what)
        }
        Ok(mode) => Step::ok("file", format!("{} {path}, mode {mode:04o}", file.key)),
        Err(cause) => {
            let owner = match (file.owner, uid) {
                (Some((mode, owner)), Some(uid)) => {
                    format!(" (mode {mode:04o}, owner {owner}; this process is user {uid})")
                }
                _ => String::new(),
            };
            let what = format!("{} {path}: {cause}{owner}", file.key);
            let trouble = Trouble::FileUnreadable;
            let step = Step::trouble("file", Outcome::Fail, trouble, what);
            let code = file.fault.map_or_else(|| trouble.code(), crate::tls::Fault::code);
            Step { code: Some(code), ..step }
        }
    }
}

fn judge_watch(up: bool) -> Step {
    if up {
        return Step::ok("watch", "changes of the files are noticed at once");
    }
    let trouble = Trouble::FileUnwatched;
    Step::trouble("watch", Outcome::Warn, trouble, trouble.cause().to_owned())
}

fn judge_identity(identity: &Result<Identity, crate::tls::TlsError>) -> Step {
    match identity {
        Err(error) => {
            let what = if error.place.is_empty() {
                error.detail.to_string()
            } else {
                format!("{}: {}", error.place, error.detail)
            };
            let (code, fix) = (Some(error.fault.code()), Some(error.hint().to_owned()));
            Step { outcome: Outcome::Fail, code, fix, ..Step::ok("identity", what) }
        }
        Ok(Identity { client: None, .. }) => Step::ok("identity", "no client certificate"),
        Ok(Identity { client: Some((end, expiry)), .. }) => {
            let what = format!("client certificate valid until {}", calendar(*end));
            match expiry {
                Expiry::Expiring(left) => {
                    let what = format!("{what}: {} left", days(*left));
                    Step::trouble("identity", Outcome::Warn, Trouble::ClientEnds, what)
                }
                Expiry::Fresh(_) | Expiry::NotYet(_) | Expiry::Expired(_) => {
                    Step::ok("identity", what)
                }
            }
        }
    }
}

/// Resolve, connect, TLS, login: up to the one that failed.
fn judge_way(facts: &Facts) -> Vec<Step> {
    let steps = [
        (Phase::Resolve, "resolve"),
        (Phase::Connect, "connect"),
        (Phase::Tls, "tls"),
        (Phase::Login, "login"),
    ];
    let tls = facts.identity.is_some();
    let steps = steps.into_iter().filter(|(phase, _)| tls || *phase != Phase::Tls);
    let step = |(phase, name): (Phase, &'static str)| match &facts.dialed {
        None => connected(name, phase, facts),
        Some(Ok(reached)) => {
            Step::ok(name, passed(facts, reached, phase)).taking(reached.spent.of(phase))
        }
        Some(Err(error)) => {
            let step = match phase.cmp(&error.phase) {
                std::cmp::Ordering::Less => Step::ok(name, format!("to {}", facts.server)),
                std::cmp::Ordering::Equal => failed(name, facts, error),
                std::cmp::Ordering::Greater => Step::skipped(name, "not tried"),
            };
            step.taking(error.spent.of(phase))
        }
    };
    steps.map(step).collect()
}

/// A step where neither TLS nor login could be tried.
fn connected(name: &'static str, phase: Phase, facts: &Facts) -> Step {
    match &facts.connected {
        Some(Ok(())) if phase <= Phase::Connect => Step::ok(name, format!("to {}", facts.server)),
        Some(Err(error)) if phase == error.phase => failed(name, facts, error),
        Some(Err(error)) if phase < error.phase => Step::ok(name, format!("to {}", facts.server)),
        Some(_) | None => Step::skipped(name, "not tried: what fails above is needed for it"),
    }
}

fn passed(facts: &Facts, reached: &Reached, phase: Phase) -> String {
    match (phase, &reached.tls) {
        (Phase::Tls, Some([version, suite, group])) => format!("{version}, {suite}, {group}"),
        (Phase::Login, _) => format!("user {}; {}", facts.user, reached.description),
        (Phase::Resolve | Phase::Connect | Phase::Tls, _) => format!("to {}", facts.server),
    }
}

fn failed(name: &'static str, facts: &Facts, error: &DialError) -> Step {
    let mut what = error.cause.to_string();
    let mut fix = error.fix.to_string();
    // Only where the server's certificate itself is refused does its recipe explain anything.
    if error.code.starts_with("TLS-E10")
        && let Some(recipe) = recipes(facts).first()
    {
        // The rest of the cause repeats the fault.
        let cause = recipe.cause();
        let made = cause.split_once(": ").map_or(cause, |(made, _)| made);
        what = format!("{what}; {made} (recipe {})", recipe.name());
        fix = if fix.contains("openssl") {
            format!("{fix}; for development: respgate certs dev DIR")
        } else {
            format!("{fix}; or {}", recipe.instead())
        };
    }
    Step { outcome: Outcome::Fail, code: Some(error.code), fix: Some(fix), ..Step::ok(name, what) }
}

fn recipes(facts: &Facts) -> Vec<Recipe> {
    let leaf = facts.shown.as_ref().and_then(|shown| shown.certificates().next());
    leaf.map(|(_, certificate)| Recipe::of(&certificate.facts)).unwrap_or_default()
}

/// The server's certificate, whether or not the handshake succeeded.
fn judge_shown(facts: &Facts) -> Option<Step> {
    let (_, certificate) = facts.shown.as_ref()?.certificates().next()?;
    let own = &certificate.facts;
    let names = if own.names.is_empty() { "no host".to_owned() } else { own.names.join(", ") };
    let what = format!(
        "for {names}; issued by {}; {}; valid until {}",
        own.issuer,
        own.key,
        calendar(own.not_after)
    );
    Some(match assess(own.not_before, own.not_after, facts.now) {
        Expiry::Expiring(left) => {
            let what = format!("{what}: {} left", days(left));
            Step::trouble("certificate", Outcome::Warn, Trouble::ServerEnds, what)
        }
        Expiry::Fresh(_) | Expiry::NotYet(_) | Expiry::Expired(_) => Step::ok("certificate", what),
    })
}

fn judge_server(reached: &Reached) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(reached.ping.as_ref().map(|ping| match ping {
        Ok(took) => Step::ok("ping", "answered").taking(*took),
        Err(Instead::Line(line)) => Step::skipped("ping", format!("the server answers: {line}")),
        Err(Instead::Silence) => unanswered(Fault::QuestionSilent),
        Err(Instead::End) => unanswered(Fault::ClosedEarly),
    }));
    steps.extend(reached.clock.as_ref().map(|clock| match clock {
        Ok((ahead, doubt)) => {
            let differs =
                ahead.unsigned_abs().saturating_sub(*doubt) > limits::CLOCK_DIFFERENCE_MS_MAX;
            let side = if *ahead < 0 { "behind" } else { "ahead of" };
            let what = format!("the server's clock is {} ms {side} ours", ahead.unsigned_abs());
            if differs {
                Step::trouble("clock", Outcome::Warn, Trouble::Clock, what)
            } else {
                Step::ok("clock", what)
            }
        }
        Err(line) => Step::skipped("clock", format!("not compared: {line}")),
    }));
    let is_replica = matches!(&*reached.role, "replica" | "slave");
    if is_replica {
        let trouble = Trouble::Replica;
        steps.push(Step::trouble("role", Outcome::Warn, trouble, trouble.cause().to_owned()));
    } else if !reached.role.is_empty() {
        steps.push(Step::ok("role", reached.role.clone()));
    }
    steps
}

fn unanswered(fault: Fault) -> Step {
    let (code, fix) = (Some(fault.code()), Some(fault.hint().to_owned()));
    Step { outcome: Outcome::Fail, code, fix, ..Step::ok("ping", fault.cause()) }
}

fn judge_rules(user: &str, rules: &Result<Vec<String>, String>) -> Step {
    match rules {
        Err(why) => Step {
            outcome: Outcome::Skipped,
            ..Step::trouble("rules", Outcome::Warn, Trouble::RightsUnknown, why.clone())
        },
        Ok(differences) if differences.is_empty() => {
            Step::ok("rules", format!("user {user} has the rights of the policies, and no others"))
        }
        Ok(differences) => {
            // A server that allows every name lacks none, although it does not list them.
            let all = |line: &String| line.starts_with("names the server has besides");
            let every_name = differences.iter().any(|line| all(line) && line.contains(" ~*"));
            let lacks = |line: &&String| {
                line.starts_with("the server refuses")
                    || line.ends_with("is off")
                    || (!every_name && line.starts_with("names the server does not have"))
            };
            let missing = differences.iter().find(lacks);
            let trouble =
                if missing.is_some() { Trouble::RightsMissing } else { Trouble::RightsBesides };
            let besides = || {
                differences
                    .iter()
                    .find(|line| line.contains(" besides"))
                    .or_else(|| differences.first())
            };
            let shown = missing.or_else(besides).map_or("", String::as_str);
            let more = differences.len() - 1;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            let what = format!("user {user}: {}{more}", shorter(shown));
            Step::trouble("rules", Outcome::Warn, trouble, what)
        }
    }
}

/// A list of commands may be long; `acl --diff` shows all of it.
fn shorter(difference: &str) -> String {
    let words: Vec<&str> = difference.split(' ').collect();
    match words.get(..limits::DOCTOR_NAMES_MAX) {
        Some(first) if words.len() > limits::DOCTOR_NAMES_MAX => {
            format!("{} … and {} more", first.join(" "), words.len() - limits::DOCTOR_NAMES_MAX)
        }
        _ => difference.to_owned(),
    }
}

fn days(left: Duration) -> String {
    let hours = left.as_secs() / 3600;
    if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) }
}

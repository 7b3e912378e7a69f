//! `status`: one screen about a running respgate; what is wrong comes first, with what to do.
//!
//! Owns: [`STATUS`]. Never knows: how any of it comes about.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::screen::{DAY, Problem, Screen, WARN_DAYS, unix};
use super::{AdminState, block, status_listeners, status_lists};
use crate::admin::{Answer, Call, Effect, Probe, Refused, Verb};
use crate::base::clock;
use crate::base::limits;
use crate::base::utc::utc;
use crate::config::{self, Config, show_duration};
use crate::policy::Overview;
use crate::proxy::admin_state::InForce;
use crate::session::Choice;
use crate::telemetry::{Label, UpstreamState};
use crate::tls::inspect::CertificateFacts;
use crate::upstream::Condition;

const COLUMNS: usize = 80;

pub(crate) const STATUS: Verb<AdminState> = Verb {
    name: "status",
    path: "/status",
    also: &[],
    effect: Effect::Shows,
    about: "Show the state of a running respgate on one screen, first what is wrong and what to do",
    arguments: &[],
    examples: &[
        ("Look at a sidecar", "respgate status --config /etc/respgate/respgate.toml"),
        ("For a program", "respgate status --socket /run/respgate/control.sock --json"),
    ],
    done: "nothing is wrong",
    failed: "something is wrong; the first lines name it",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(answer(admin_state, call)),
};

async fn answer(admin_state: Arc<AdminState>, _: Call) -> Result<Answer, Refused> {
    let in_force = admin_state.in_force.get();
    let addresses: Vec<String> =
        in_force.config.listeners.iter().map(|one| one.address.to_string()).collect();
    let asked = admin_state.ask_data_plane(move |plane| {
        let count = |address: &String| {
            let choice = Choice { listener: Some(address.clone()), ..Choice::default() };
            (address.clone(), plane.worker.list(&choice, 0).1)
        };
        (addresses.iter().map(count).collect::<Vec<_>>(), plane.upstream.condition())
    });
    // A data plane that is stuck must not keep the rest from being shown.
    let asked = tokio::time::timeout(limits::STATUS_TIMEOUT, asked).await;
    let now = unix(clock::wall());
    let mut screen = Screen::default();
    state(&admin_state, &mut screen);
    process(&admin_state, &in_force.config, now, &mut screen);
    match asked {
        Ok(asked) => {
            let (listeners, condition) = asked?;
            let (limits, stores) =
                (in_force.components.limits.get(), &in_force.components.listeners);
            status_listeners::show(&limits, &listeners, &stores.all, now, &mut screen);
            upstream(&admin_state, &in_force.config, &condition, now, &mut screen);
        }
        Err(_) => {
            let remedy = "it is stuck in one piece of work; look at the log, and restart it";
            screen.wrong("ADM-E001", "the thread that serves clients does not answer", remedy);
        }
    }
    sandbox(&in_force, &mut screen);
    identity(&in_force, now, &mut screen);
    status_lists::show(&in_force, now, &mut screen);
    reloads(&admin_state, &mut screen);
    policies(&admin_state, &in_force, now, &mut screen);
    audit(&in_force, &mut screen);
    Ok(finish(&admin_state, now, screen))
}

/// What the process is doing, and whether it counts as ready.
fn state(admin_state: &AdminState, screen: &mut Screen) {
    let (state, report) =
        (admin_state.health.state().label(), admin_state.health.report(Probe::Ready, clock::now()));
    let failed: Vec<&str> =
        report.checks().iter().filter(|(_, ok)| !ok).map(|(name, _)| *name).collect();
    let line = if failed.is_empty() {
        state.to_owned()
    } else {
        format!("{state}; not ready: {}", failed.join(", "))
    };
    screen.add("state", vec![line], json!({ "name": state, "ready": failed.is_empty() }));
}

/// The sinks of the audit log.
fn audit(in_force: &InForce, screen: &mut Screen) {
    let Some(components) = &in_force.components.audit else {
        return screen.add("audit", vec!["off".to_owned()], Value::Null);
    };
    let now = clock::now();
    let (mut lines, mut json) = (Vec::new(), Vec::new());
    for (name, health) in components.audit.health() {
        let failing = health.failing.as_ref().map(|(error, since)| {
            (error.as_str(), now.saturating_duration_since(*since).as_secs())
        });
        if let Some((error, seconds)) = failing {
            screen.wrong(
                "AUD-E001",
                format!("audit entries are not written to {name} since {seconds} s: {error}"),
                "free the disk, or start the syslog server; the entries wait in audit.queue",
            );
        }
        let lost = if health.lost > 0 { format!(", {} lost", health.lost) } else { String::new() };
        lines.push(format!("{name}: {} written{lost}", health.written));
        json.push(json!({
            "sink": name,
            "written": health.written,
            "lost": health.lost,
            "error": failing.map(|(error, _)| error),
        }));
    }
    screen.add("audit", lines, Value::Array(json));
}

fn process(admin_state: &AdminState, config: &Config, now: u64, screen: &mut Screen) {
    let moment = clock::now();
    for (probe, what, remedy) in [
        (Probe::Live, "not live", "restart it; the log shows what it did last"),
        (Probe::Ready, "not ready", "see the failed checks: respgate health ready"),
    ] {
        let report = admin_state.health.report(probe, moment);
        let failed = report.checks().iter().filter(|(_, ok)| !ok);
        let failed: Vec<&str> = failed.map(|(name, _)| *name).collect();
        if !failed.is_empty() {
            screen.wrong("ADM-E002", format!("{what}: {}", failed.join(", ")), remedy);
        }
    }
    let file = admin_state.file.as_deref().map(Path::display).map(|path| path.to_string());
    // The number of the metric respgate_config_hash.
    let hash = config::hash(config);
    let from = file.as_deref().unwrap_or("flags and environment");
    let line = format!("{from}, hash {hash}");
    screen.add("configuration", vec![line], json!({ "file": file, "hash": hash }));
    let (configured, wanted) = admin_state.levels.now();
    let level = wanted.as_ref().map_or(&configured, |wanted| &wanted.level);
    let until = wanted.as_ref().and_then(|wanted| wanted.until).map(utc);
    let end = until
        .as_ref()
        .map_or_else(String::new, |until| format!(" until {until}, then {configured}"));
    let json = json!({ "level": level, "until": until, "configured": configured });
    screen.add("log", vec![format!("{level}{end}")], json);
    let started = unix(admin_state.started);
    screen.json.insert("since".to_owned(), json!(utc(started)));
    screen.json.insert("uptime_seconds".to_owned(), json!(now.saturating_sub(started)));
}

fn upstream(
    admin_state: &AdminState,
    config: &Config,
    condition: &Condition,
    now: u64,
    screen: &mut Screen,
) {
    let moment = clock::now();
    let Condition { up, server, out_since, last_error, breaker_open } = condition;
    let ago = |since: std::time::Instant| moment.saturating_duration_since(since).as_secs();
    let address = config.upstream.address.to_string();
    if let Some(since) = out_since {
        let what = format!(
            "the server {address} is not reached since {}",
            utc(now - ago(*since).min(now))
        );
        let (code, cause, fix) = last_error.as_ref().map_or_else(
            || ("UPS-E003", String::new(), "try each step: respgate check --connect".to_owned()),
            |error| (error.code, format!(": {}", error.cause), error.fix.to_string()),
        );
        screen.wrong(code, format!("{what}{cause}"), fix);
    }
    let metrics = &admin_state.telemetry.metrics;
    let count = |state| metrics.sum(|own| own.upstream_connections[state].get());
    let counts = [
        ("shared", count(UpstreamState::Shared)),
        ("pinned", count(UpstreamState::PinnedLeased)),
        ("idle", count(UpstreamState::PinnedIdle)),
        ("connecting", count(UpstreamState::Connecting)),
        ("previous generation", count(UpstreamState::Draining)),
    ];
    let shown: Vec<String> = counts
        .iter()
        .enumerate()
        .filter(|(at, (_, count))| *at < 3 || *count != 0)
        .map(|(_, (name, count))| format!("{count} {name}"))
        .collect();
    let state = match (up, server) {
        (true, Some(server)) => format!("up, {server}"),
        (true, None) => "up".to_owned(),
        (false, _) if out_since.is_some() => "DOWN".to_owned(),
        (false, _) => "not connected yet".to_owned(),
    };
    let breaker = if *breaker_open { "open" } else { "closed" };
    let mut lines = vec![
        format!("{address}  {state}"),
        format!("connections: {}; breaker {breaker}", shown.join(", ")),
    ];
    if let Some(error) = last_error {
        let at = utc(now - ago(error.at).min(now));
        lines.push(format!("last error at {at}: {} {}", error.code, error.cause));
    }
    let error = last_error.as_ref().map(|error| {
        json!({
            "at": utc(now - ago(error.at).min(now)),
            "code": error.code,
            "cause": error.cause,
            "fix": error.fix,
        })
    });
    let connections: serde_json::Map<String, Value> =
        counts.iter().map(|(name, count)| (name.replace(' ', "_"), json!(count))).collect();
    let json = json!({
        "address": address,
        "up": up,
        "server": server,
        "down_seconds": out_since.map(ago),
        "connections": connections,
        "breaker": breaker,
        "last_error": error,
    });
    screen.add("upstream", lines, json);
}

/// What the process has bound itself to.
fn sandbox(in_force: &InForce, screen: &mut Screen) {
    let Some(sandbox) = &in_force.components.sandbox else { return };
    let landlock = sandbox.confinement.label();
    let yes = |is: bool, what: &str| format!("{what}{}", if is { "" } else { ": not in force" });
    let line = format!(
        "files and ports (Landlock): {landlock}; {}; {}",
        yes(sandbox.no_new_privileges, "no new privileges"),
        yes(sandbox.no_core_dumps, "no core dumps")
    );
    let json = json!({
        "landlock": landlock,
        "no_new_privileges": sandbox.no_new_privileges,
        "no_core_dumps": sandbox.no_core_dumps,
    });
    screen.add("sandbox", vec![line], json);
}

fn identity(in_force: &InForce, now: u64, screen: &mut Screen) {
    let Some(store) = &in_force.components.tls else {
        screen.add("identity", vec!["none: no TLS to the server".to_owned()], Value::Null);
        return;
    };
    let identity = store.current();
    let generation = identity.generation;
    let Some(client) = &identity.client else {
        let line = format!("no client certificate; generation {generation}");
        screen.add("identity", vec![line], json!({ "generation": generation }));
        return;
    };
    let end = unix(client.chain_not_after);
    let days = end.saturating_sub(now) / DAY;
    let remedy = "renew it; respgate loads it when the file changes, see: respgate reload";
    if end <= now {
        screen.wrong(
            "ADM-E004",
            format!("the client certificate has expired at {}", utc(end)),
            remedy,
        );
    } else if days < WARN_DAYS {
        let what = format!("the client certificate expires in {days} days, at {}", utc(end));
        screen.wrong("ADM-W003", what, remedy);
    }
    let facts = CertificateFacts::read(&client.leaf, Path::new("")).ok();
    let (subject, issuer, names) =
        facts.map(|facts| (facts.subject, facts.issuer, facts.names)).unwrap_or_default();
    let mut lines = vec![format!("subject {subject}")];
    if !names.is_empty() {
        lines.push(format!("names {}", names.join(", ")));
    }
    lines.push(format!("issuer {issuer}"));
    lines.push(format!("expires {} ({days} days); generation {generation}", utc(end)));
    let json = json!({
        "subject": subject,
        "names": names,
        "issuer": issuer,
        "fingerprint": client.fingerprint,
        "not_after": utc(end),
        "days_left": days,
        "generation": generation,
    });
    screen.add("identity", lines, json);
}

fn reloads(admin_state: &AdminState, screen: &mut Screen) {
    let Some((at, attempts)) = admin_state.last_reload() else {
        screen.add("last reload", vec!["none since the start".to_owned()], Value::Null);
        return;
    };
    let components: Vec<String> =
        attempts.iter().map(|one| format!("{} {}", one.part(), one.result())).collect();
    for attempt in &attempts {
        if let Some(cause) = attempt.cause() {
            let what = format!("reload of {} was rejected: {cause}", attempt.part());
            screen.wrong("REL-E001", what, "correct it; the version before stays in force");
        }
    }
    let json: Vec<Value> = attempts
        .iter()
        .map(|one| json!({ "part": one.part(), "result": one.result(), "cause": one.cause() }))
        .collect();
    let line = format!("{}: {}", utc(at), components.join(", "));
    screen.add("last reload", vec![line], json!({ "at": utc(at), "parts": json }));
}

fn policies(admin_state: &AdminState, in_force: &InForce, now: u64, screen: &mut Screen) {
    let (mut lines, mut json) = (Vec::new(), Vec::new());
    for (section, policy) in in_force.components.policies.sections() {
        let overview = Overview::of(policy);
        let mode = overview.mode.label();
        lines.push(format!("{section}: {mode}; keys {}", overview.keys));
        json.push(json!({ "section": section, "mode": mode, "keys": overview.keys }));
    }
    screen.add("policies", lines, json!(json));
    let limits = in_force.components.limits.get();
    let idle = show_duration(limits.idle_timeout);
    let budget = config::show_size(limits.memory_budget_bytes as u64);
    let line = format!(
        "{} clients, {} commands in flight each, idle {idle}, memory {budget}",
        limits.max_clients, limits.max_in_flight
    );
    let limits = json!({
        "max_clients": limits.max_clients,
        "max_in_flight": limits.max_in_flight,
        "idle_timeout": idle,
        "memory_budget": budget,
    });
    screen.add("limits", vec![line], limits);
    let blocks = admin_state.blocking.all(now);
    let mut lines: Vec<String> = blocks.iter().map(block::line).collect();
    if lines.is_empty() {
        lines.push("none".to_owned());
    }
    let blocks: Vec<Value> = blocks.iter().map(block::shown).collect();
    screen.add("blocks", lines, json!(blocks));
}

fn finish(admin_state: &AdminState, now: u64, screen: Screen) -> Answer {
    let Screen { problems, sections, mut json } = screen;
    let version = env!("CARGO_PKG_VERSION");
    let started = unix(admin_state.started);
    let state = if problems.is_empty() { "all is well" } else { "something is wrong" };
    let mut text = String::new();
    // A String takes every text.
    let _ = writeln!(text, "respgate {version}, since {}: {state}", utc(started.min(now)));
    for Problem { code, what, remedy } in &problems {
        lay(&mut text, "!", 2, &format!("{code} {what}"));
        lay(&mut text, "", 4, &format!("-> {remedy}"));
    }
    text.push('\n');
    for (label, lines) in &sections {
        for (at, line) in lines.iter().enumerate() {
            lay(&mut text, if at == 0 { label } else { "" }, 15, line);
        }
    }
    let wrong: Vec<Value> = problems
        .iter()
        .map(|one| json!({ "code": one.code, "what": one.what, "remedy": one.remedy }))
        .collect();
    json.insert("version".to_owned(), json!(version));
    json.insert("problems".to_owned(), json!(wrong));
    let answer = Answer::new(Value::Object(json), text);
    if problems.is_empty() { answer } else { answer.no() }
}

/// Writes words behind a label, broken where the screen ends.
fn lay(text: &mut String, label: &str, indent: usize, words: &str) {
    let mut line = format!("{label:<indent$}");
    let mut empty = true;
    for word in words.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_the_border_of_the_screen() {
        let mut text = String::new();
        lay(&mut text, "label", 15, &"word ".repeat(40));
        lay(&mut text, "!", 2, &"x".repeat(100));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().take(4).all(|line| line.len() <= COLUMNS), "{text}");
        assert!(lines[0].starts_with("label          word word"));
        assert!(lines[1].starts_with("               word"));
        assert_eq!(lines.last().map(|line| line.len()), Some(102), "a word is not broken");
    }
}

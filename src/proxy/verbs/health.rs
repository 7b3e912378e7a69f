//! `health`: the health checks of the telemetry server, for programs that cannot connect to it.
//!
//! Owns: [`HEALTH`]. Never knows: what makes a process healthy.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::AdminState;
use crate::admin::{Answer, Argument, Call, Effect, Kind, Probe, Refused, Verb};
use crate::base::clock;
use crate::base::limits;

pub(crate) const HEALTH: Verb<AdminState> = Verb {
    name: "health",
    path: "/health",
    also: &[],
    effect: Effect::Shows,
    about: "Show whether respgate is healthy, by the exit code: for probes in images without a shell",
    arguments: &[Argument {
        name: "probe",
        kind: Kind::Word("PROBE"),
        help: "live, ready, startup or upstream",
    }],
    examples: &[("As an exec probe", "respgate health ready --config /etc/respgate/respgate.toml")],
    done: "every check passes",
    failed: "a check fails",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(std::future::ready(answer(&admin_state, &call))),
};

fn answer(admin_state: &Arc<AdminState>, call: &Call) -> Result<Answer, Refused> {
    let probe = match call.value("probe") {
        Some("live") => Probe::Live,
        Some("ready") => Probe::Ready,
        Some("startup") => Probe::Started,
        Some("upstream") => Probe::Upstream,
        other => {
            let other = other.unwrap_or_default().escape_debug().to_string();
            let text = format!("probe: {other} is none of live, ready, startup and upstream");
            return Err(Refused::Usage(text));
        }
    };
    let report = admin_state.health.report(probe, clock::now());
    let checks: Map<String, Value> =
        report.checks().iter().map(|(name, ok)| ((*name).to_owned(), json!(ok))).collect();
    let json = json!({ "probe": probe.name(), "ok": report.passed(), "checks": checks });
    let answer = Answer::new(json, report.to_string());
    Ok(if report.passed() { answer } else { answer.no() })
}

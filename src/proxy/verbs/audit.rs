//! `audit recent`: the last entries of the audit log, from memory.
//!
//! Owns: [`AUDIT_RECENT`]. Never knows: sinks, numbers and chain values, which each sink has of its own.

use serde_json::Value;

use super::{AT_ONCE, House};
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};

/// Entries that one answer lists where nothing else is said.
const LISTED: usize = 100;

pub const AUDIT_RECENT: Verb<House> = Verb {
    name: "audit recent",
    path: "/audit/recent",
    also: &[],
    effect: Effect::Shows,
    about: "Show the last entries of the audit log, the newest last",
    arguments: &[
        Argument {
            name: "event",
            kind: Kind::Option("EVENT"),
            help: "Entries of this kind, as denied, authentication or reload",
        },
        Argument {
            name: "most",
            kind: Kind::Option("NUMBER"),
            help: "Show so many at most (100; up to 1000)",
        },
    ],
    examples: &[
        ("See what was refused last", "respgate audit recent --event denied --most 10"),
        ("For a program", "respgate audit recent --json"),
    ],
    done: "the entries were shown",
    failed: "respgate has no audit log",
    patience: AT_ONCE,
    answer: |house, call| Box::pin(std::future::ready(answer(&house, &call))),
};

fn answer(house: &House, call: &Call) -> Result<Answer, Refused> {
    let most = call.parsed("most")?.unwrap_or(LISTED);
    let in_force = house.in_force.get();
    let Some(parts) = &in_force.parts.audit else {
        let text = "respgate has no audit log: the configuration has no [[audit.sink]]\n";
        return Ok(Answer { no: true, ..Answer::new(Value::Array(Vec::new()), text) });
    };
    let lines = parts.audit.recent().into_iter().map(|draft| format!("{{{}}}", draft.members));
    let read = |line: String| Some((serde_json::from_str::<Value>(&line).ok()?, line));
    let fits = |(entry, _): &(Value, String)| {
        call.value("event").is_none_or(|kind| entry.get("event").is_some_and(|own| own == kind))
    };
    let entries: Vec<(Value, String)> = lines.filter_map(read).filter(fits).collect();
    let newest = entries.len().saturating_sub(most);
    let shown = entries.into_iter().skip(newest);
    let (json, text): (Vec<Value>, Vec<String>) = shown.unzip();
    let text = text.iter().map(|line| format!("{line}\n")).collect::<String>();
    Ok(Answer::new(Value::Array(json), text))
}

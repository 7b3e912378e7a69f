//! `audit recent`: the last entries of the audit log, from memory.
//!
//! Owns: [`AUDIT_RECENT`]. Never knows: sinks, numbers and chain values, which each sink has of its own.

use serde_json::{Value, json};

use super::AdminState;
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};
use crate::audit::Since;
use crate::base::limits;

pub(crate) const AUDIT_RECENT: Verb<AdminState> = Verb {
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
            help: "Show so many of the newest at most (100; up to 1000)",
        },
        Argument {
            name: "since",
            kind: Kind::Option("NUMBER"),
            help: "Only entries behind this one: next of the former answer, or 0 for all that are kept",
        },
    ],
    examples: &[
        ("See what was refused last", "respgate audit recent --event denied --most 10"),
        ("Show entries as they come", "respgate audit recent --follow"),
        ("For a program", "respgate audit recent --json"),
    ],
    done: "the entries were shown",
    failed: "respgate has no audit log",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(std::future::ready(answer(&admin_state, &call))),
};

fn answer(admin_state: &AdminState, call: &Call) -> Result<Answer, Refused> {
    let since: Option<u64> = call.parsed("since")?;
    let listed =
        if since.is_some() { limits::AUDIT_RECENT_MAX } else { limits::LISTED_ENTRIES_DEFAULT };
    let most = call.parsed("most")?.unwrap_or(listed);
    let in_force = admin_state.in_force.get();
    let Some(components) = &in_force.components.audit else {
        let text = "respgate has no audit log: the configuration has no [[audit.sink]]\n";
        return Ok(Answer::new(Value::Array(Vec::new()), text).no());
    };
    let Since { drafts, missed, newest } = components.audit.recent(since.unwrap_or(0));
    let lines = drafts.into_iter().map(|draft| format!("{{{}}}", draft.members));
    let read = |line: String| Some((serde_json::from_str::<Value>(&line).ok()?, line));
    let fits = |(entry, _): &(Value, String)| {
        call.value("event").is_none_or(|kind| entry.get("event").is_some_and(|own| own == kind))
    };
    let entries: Vec<(Value, String)> = lines.filter_map(read).filter(fits).collect();
    let older = entries.len().saturating_sub(most);
    let shown = entries.into_iter().skip(older);
    let (json, text): (Vec<Value>, Vec<String>) = shown.unzip();
    let mut text = text.iter().map(|line| format!("{line}\n")).collect::<String>();
    if since.is_none() {
        return Ok(Answer::new(Value::Array(json), text));
    }
    if missed > 0 {
        text.insert_str(0, &format!("{missed} entries before these are kept no more\n"));
    }
    let log = components.audit.name();
    let json = json!({ "log": log, "next": newest, "missed": missed, "entries": json });
    Ok(Answer::new(json, text))
}

//! `logs recent`: the last events of the log, from memory, page by page.
//!
//! Owns: [`LOGS_RECENT`]. Never knows: where the log is written, what an event means.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::AdminState;
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};
use crate::base::limits;
use crate::base::terminal::is_deceptive;

/// Levels, the most important first.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// Members that the text shows in its own way.
const OWN: [&str; 5] = ["time", "level", "target", "message", "code"];

pub(crate) const LOGS_RECENT: Verb<AdminState> = Verb {
    name: "logs recent",
    path: "/logs/recent",
    also: &[],
    effect: Effect::Shows,
    about: "Show the last events of the log, the newest last",
    arguments: &[
        Argument {
            name: "after",
            kind: Kind::Option("CURSOR"),
            help: "Only what was logged after an answer before, by the cursor of that answer",
        },
        Argument {
            name: "level",
            kind: Kind::Option("LEVEL"),
            help: "Only events of this level or a more important one: error, warn, info, debug",
        },
        Argument {
            name: "most",
            kind: Kind::Option("NUMBER"),
            help: "Show so many at most (100; up to 500): the newest, or with --after the next",
        },
    ],
    examples: &[
        ("See what went wrong last", "respgate logs recent --level warn"),
        (
            "Read on where an answer with the cursor 42 ended",
            "respgate logs recent --after 42 --json",
        ),
    ],
    done: "the events were shown",
    failed: "respgate is shutting down",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(std::future::ready(answer(&admin_state, &call))),
};

fn answer(admin_state: &AdminState, call: &Call) -> Result<Answer, Refused> {
    let after: Option<u64> = call.parsed("after")?;
    let most: usize = call.parsed("most")?.unwrap_or(limits::LISTED_ENTRIES_DEFAULT);
    let rank = |level: &str| LEVELS.iter().position(|own| own.eq_ignore_ascii_case(level));
    let lowest = call
        .value("level")
        .map_or(Some(LEVELS.len()), rank)
        .ok_or_else(|| Refused::Usage(format!("level: write one of {}", LEVELS.join(", "))))?;
    let batch = admin_state.telemetry.log.recent(after.unwrap_or(0));
    let read = |(number, event): (u64, String)| Some((number, serde_json::from_str(&event).ok()?));
    let is_wanted = |(_, event): &(u64, Map<String, Value>)| {
        let level = event.get("level").and_then(Value::as_str).and_then(rank);
        level.is_some_and(|level| level <= lowest)
    };
    let mut events: Vec<_> = batch.events.into_iter().filter_map(read).filter(is_wanted).collect();
    let mut cursor = batch.newest;
    if after.is_none() {
        events.drain(..events.len().saturating_sub(most));
    } else if events.len() > most {
        events.truncate(most);
        cursor = events.last().map_or_else(|| after.unwrap_or(0), |(number, _)| *number);
    }
    let mut text = String::new();
    if batch.missed > 0 && after.is_some() {
        let _ = writeln!(text, "({} events before these are no longer kept)", batch.missed);
    }
    for (_, event) in &events {
        line(&mut text, event);
    }
    let missed = if after.is_some() { batch.missed } else { 0 };
    let events: Vec<Value> = events.into_iter().map(|(_, event)| Value::Object(event)).collect();
    Ok(Answer::new(json!({ "cursor": cursor, "missed": missed, "events": events }), text))
}

/// An event as the text log has it: text from clients and servers may contain line ends and terminal escapes.
fn line(text: &mut String, event: &Map<String, Value>) {
    let of = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let (time, level, target) = (of("time"), of("level"), of("target"));
    let mut line = format!("{time} {level:>5} {target}: {}", of("message"));
    let code = event.get_key_value("code");
    let others = event.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
    for (name, value) in code.into_iter().chain(others) {
        let plain =
            value.as_str().filter(|text| !text.is_empty() && !text.contains([' ', '"', '=']));
        // A String takes every text.
        let _ = match plain {
            Some(text) => write!(line, " {name}={text}"),
            None => write!(line, " {name}={value}"),
        };
    }
    for letter in line.chars() {
        match is_deceptive(letter) {
            true => text.extend(letter.escape_default()),
            false => text.push(letter),
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_line_shows_every_field_and_no_control_character() {
        let event = json!({
            "time": "2026-01-01T00:00:00.000001Z", "level": "WARN", "target": "respgate::x",
            "message": "it \u{1b}[2J failed\u{202e}", "code": "UPS-E102", "cause": "a b", "n": 3,
        });
        let mut text = String::new();
        event.as_object().into_iter().for_each(|event| line(&mut text, event));
        assert_eq!(
            text,
            "2026-01-01T00:00:00.000001Z  WARN respgate::x: it \\u{1b}[2J failed\\u{202e} code=UPS-E102 \
             cause=\"a b\" n=3\n"
        );
    }
}

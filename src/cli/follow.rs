//! `audit recent --follow`: entries of the audit log as they come.
//!
//! Owns: [`Follower`], its interval. Never knows: how a respgate is reached, the content of an entry.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::args::{AuditRecent, OfTable, Recent};
use super::ask::{Content, Question, Response, Way, ask};
use super::exit;
use super::interrupt::Interrupt;
use super::output::Output;
use super::verb::Verb;
use crate::admin::query;
use crate::base::limits;

/// How many entries are shown at the start, unless a flag sets another number.
const FIRST: usize = 10;
/// Members that a line begins with; the others follow by their names.
const HEAD: [&str; 3] = ["time", "id", "event"];

impl Verb for Recent {
    fn run(self, output: Output) -> ExitCode {
        if !self.follow {
            return self.asked.run(output);
        }
        let json = self.asked.answer.json;
        let way = match self.asked.target.way() {
            Ok(way) => way,
            Err(problem) => return problem.print(output.with_json(json)),
        };
        let value = |name: &str| {
            let own = self.asked.arguments.iter().find(|(known, _)| *known == name);
            own.map(|(_, value)| value.as_str())
        };
        let Ok(since) = value("since").map(str::parse).transpose() else {
            return output.fail(exit::USAGE, "--since is not a number");
        };
        let Ok(most) = value("most").map(str::parse).transpose() else {
            return output.fail(exit::USAGE, "--most is not a number");
        };
        let interrupt = match Interrupt::listen() {
            Ok(interrupt) => interrupt,
            Err(problem) => return output.fail(exit::FAILURE, &problem),
        };
        follow(output, &way, value("event"), Follower::new(since, most), json, &interrupt)
    }
}

fn follow(
    output: Output,
    way: &Way,
    event: Option<&str>,
    mut follower: Follower,
    json: bool,
    interrupt: &Interrupt,
) -> ExitCode {
    let mut away = false;
    loop {
        let pause = match ask(way, question(event, follower.since)) {
            Response::Answer { answer: Content::Json(answer), exit: exit::SUCCESS } => {
                if std::mem::take(&mut away) {
                    output.print_error("respgate: it answers again");
                }
                let Ok(pause) = follower.show(&answer, |shown| match shown {
                    Shown::Missed(missed) if json => {
                        output.line(&json!({ "event": "missed", "entries": missed }).to_string())
                    }
                    Shown::Missed(missed) => {
                        output.print_error(&format!(
                            "respgate: {missed} entries are missing here: they came faster than they were read"
                        ));
                        Ok(())
                    }
                    Shown::Entry(line) => output.line(&line),
                }) else {
                    return ExitCode::SUCCESS;
                };
                pause
            }
            Response::Nothing(_) if follower.log.is_some() => {
                if !std::mem::replace(&mut away, true) {
                    output.print_error("respgate: no respgate answers; waiting for it");
                }
                limits::FOLLOW_RETRY_INTERVAL
            }
            Response::Answer { exit, .. } => {
                let text = "respgate has no audit log: the configuration has no [[audit.sink]]";
                return output.fail(exit.max(exit::FAILURE), text);
            }
            response @ (Response::Refused { .. } | Response::Nothing(_)) => {
                return response.print(output);
            }
        };
        if interrupt.within(pause) {
            return ExitCode::SUCCESS;
        }
    }
}

fn question(event: Option<&str>, since: u64) -> Question {
    let since = since.to_string();
    let pairs = std::iter::once(("since", &*since)).chain(event.map(|event| ("event", event)));
    let verb = AuditRecent::VERB;
    Question {
        method: verb.effect.method(),
        target: format!("{}{}", verb.path, query::write(pairs)),
        body: Bytes::new(),
        json: true,
        patience: verb.patience,
    }
}

/// What is shown next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Entry(String),
    /// A number of entries, of whatever kind, were replaced unread.
    Missed(u64),
}

/// How far the log was read.
#[derive(Debug)]
struct Follower {
    /// Whose log it is; `None`: nothing was read yet.
    log: Option<String>,
    since: u64,
    /// How many entries of the first answer are shown; `None`: all.
    first: Option<usize>,
}

impl Follower {
    /// Begins with the newest entries, or with those behind an entry that was read before.
    fn new(since: Option<u64>, most: Option<usize>) -> Self {
        let shown = since.is_none().then_some(FIRST);
        let first = most.or(shown);
        Self { log: None, since: since.unwrap_or(0), first }
    }

    /// Shows what is new in an answer; returns how long to wait before the next question.
    ///
    /// # Errors
    ///
    /// When it cannot be shown.
    fn show(
        &mut self,
        answer: &Value,
        mut show: impl FnMut(Shown) -> std::io::Result<()>,
    ) -> std::io::Result<Duration> {
        let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
        let log = answer.get("log").and_then(Value::as_str).unwrap_or_default();
        let before = self.log.replace(log.to_owned());
        if before.is_some_and(|before| before != log) && self.since > 0 {
            // Another process answers: its entries are counted from the beginning.
            self.since = 0;
            return Ok(Duration::ZERO);
        }
        let entries = answer.get("entries").and_then(Value::as_array);
        let entries = entries.map(Vec::as_slice).unwrap_or_default();
        let older = match self.first.take() {
            Some(first) => entries.len().saturating_sub(first),
            None => {
                let missed = number("missed");
                if missed > 0 {
                    show(Shown::Missed(missed))?;
                }
                0
            }
        };
        for entry in entries.iter().skip(older) {
            show(Shown::Entry(line(entry)))?;
        }
        let went_on = number("next") > self.since;
        self.since = number("next");
        Ok(if went_on { limits::FOLLOW_BUSY_INTERVAL } else { limits::FOLLOW_IDLE_INTERVAL })
    }
}

fn line(entry: &Value) -> String {
    let Some(members) = entry.as_object() else { return entry.to_string() };
    let head = HEAD.iter().filter_map(|name| members.get_key_value(*name));
    let rest = members.iter().filter(|(name, _)| !HEAD.contains(&name.as_str()));
    let texts = head.chain(rest).map(|(name, value)| format!("{}:{value}", json!(name)));
    format!("{{{}}}", texts.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(follower: &mut Follower, answer: &Value) -> (Vec<Shown>, Duration) {
        let mut shown = Vec::new();
        let pause = follower.show(answer, |one| {
            shown.push(one);
            Ok(())
        });
        (shown, pause.unwrap_or_default())
    }

    fn answer(log: &str, next: u64, missed: u64, entries: &[u64]) -> Value {
        json!({ "log": log, "next": next, "missed": missed, "entries": entries })
    }

    fn entries(numbers: impl IntoIterator<Item = u64>) -> Vec<Shown> {
        numbers.into_iter().map(|number| Shown::Entry(number.to_string())).collect()
    }

    #[test]
    fn follower_begins_with_the_newest_and_shows_each_entry_once() {
        let mut follower = Follower::new(None, Some(2));
        let first = look(&mut follower, &answer("a", 5, 3, &[3, 4, 5]));
        assert_eq!(
            first,
            (entries([4, 5]), limits::FOLLOW_BUSY_INTERVAL),
            "what came before it began is not missed"
        );
        assert_eq!(
            look(&mut follower, &answer("a", 5, 0, &[])),
            (Vec::new(), limits::FOLLOW_IDLE_INTERVAL)
        );
        let (shown, _) = look(&mut follower, &answer("a", 9, 2, &[8, 9]));
        assert_eq!(shown, [vec![Shown::Missed(2)], entries([8, 9])].concat());
        assert_eq!(follower.since, 9);
    }

    #[test]
    fn follower_goes_on_with_another_process_from_its_first_entry() {
        let mut follower = Follower::new(Some(7), None);
        assert_eq!(look(&mut follower, &answer("a", 8, 0, &[8])).0, entries([8]));
        // The number of the former process means nothing to this one.
        assert_eq!(
            look(&mut follower, &answer("b", 20, 1, &[19, 20])),
            (Vec::new(), Duration::ZERO)
        );
        assert_eq!(follower.since, 0);
        assert_eq!(look(&mut follower, &answer("b", 2, 0, &[1, 2])).0, entries([1, 2]));
    }

    #[test]
    fn line_begins_with_time_id_and_event() {
        let entry = json!({ "address": "x", "event": "denied", "time": "t", "id": "1", "z\"": 2 });
        let text = r#"{"time":"t","id":"1","event":"denied","address":"x","z\"":2}"#;
        assert_eq!(line(&entry), text);
    }
}

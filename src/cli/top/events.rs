//! What the view shows besides figures: hot keys, the last audit entries and the last lines of the log.
//!
//! Owns: [`Events`], what is read from the answers of the verbs. Never knows: how one is asked, how it
//! looks.

use std::collections::VecDeque;

use serde_json::Value;

use crate::base::limits;

/// The last state of each; what is `Err` is not there, and the text is the reason.
#[derive(Clone, Debug)]
pub(super) struct Events {
    pub hot: Result<Vec<HotKey>, String>,
    pub audit: Result<Vec<Entry>, String>,
    pub log: Result<VecDeque<Line>, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct HotKey {
    pub per_second: f64,
    /// The key in the form of the redaction in force.
    pub key: String,
    /// The policy, if there are several.
    pub policy: Option<String>,
}

/// An entry of the audit log: the newest comes last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub time: String,
    pub event: String,
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub time: String,
    /// `WARN`.
    pub level: String,
    pub words: String,
}

impl Default for Events {
    fn default() -> Self {
        let unread = || "not read yet".to_owned();
        Self { hot: Err(unread()), audit: Err(unread()), log: Ok(VecDeque::new()) }
    }
}

/// What one round of questions has brought: an answer of each verb, or why there is none.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub hot: Result<Value, String>,
    pub audit: Result<Value, String>,
    pub log: Result<Value, String>,
}

impl Events {
    pub(super) fn take(&mut self, round: &Round) {
        self.hot = round.hot.as_ref().map_err(String::clone).and_then(hot_keys);
        self.audit = round.audit.as_ref().map_err(String::clone).and_then(entries);
        match &round.log {
            Err(problem) => self.log = Err(problem.clone()),
            Ok(answer) => {
                let mut lines = std::mem::replace(&mut self.log, Ok(VecDeque::new()));
                let kept = lines.as_mut().map(std::mem::take).unwrap_or_default();
                self.log = Ok(kept.into_iter().chain(log_lines(answer)).collect());
                if let Ok(lines) = &mut self.log {
                    lines.drain(..lines.len().saturating_sub(limits::TOP_LOG_LINES_MAX));
                }
            }
        }
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// `14:03:22` of a moment in RFC 3339.
fn time_of_day(value: &Value) -> String {
    let time = text(value, "time");
    time.split_once('T').and_then(|(_, time)| time.get(..8)).unwrap_or("-").to_owned()
}

fn hot_keys(answer: &Value) -> Result<Vec<HotKey>, String> {
    if answer.get("enabled") != Some(&Value::Bool(true)) {
        return Err("off: set [hotkeys] sample = 64".to_owned());
    }
    let policies = list(answer, "policies");
    let mut keys: Vec<HotKey> = Vec::new();
    for policy in policies {
        let section = (policies.len() > 1).then(|| text(policy, "policy"));
        keys.extend(list(policy, "keys").iter().map(|key| HotKey {
            per_second: key.get("per_second").and_then(Value::as_f64).unwrap_or(f64::NAN),
            key: text(key, "key"),
            policy: section.clone(),
        }));
    }
    keys.sort_by(|a, b| b.per_second.total_cmp(&a.per_second));
    Ok(keys)
}

fn entries(answer: &Value) -> Result<Vec<Entry>, String> {
    let Some(entries) = answer.as_array() else {
        return Err("off: set [[audit.sink]]".to_owned());
    };
    let entry = |entry: &Value| {
        // What was done, by which client, and what decided; each entry has some of these.
        let names = ["command", "result", "rule", "place", "detail", "user", "address"];
        let words = names.iter().map(|name| text(entry, name)).filter(|word| !word.is_empty());
        Entry {
            time: time_of_day(entry),
            event: text(entry, "event"),
            words: words.collect::<Vec<_>>().join(" "),
        }
    };
    Ok(entries.iter().map(entry).collect())
}

fn log_lines(answer: &Value) -> impl Iterator<Item = Line> {
    let line = |event: &Value| {
        let (code, message) = (text(event, "code"), text(event, "message"));
        // There is no room for the explanation behind a semicolon.
        let message =
            message.split_once("; ").map_or(message.as_str(), |(begin, _)| begin).to_owned();
        let mut words = if code.is_empty() { message } else { format!("{code} {message}") };
        // What there may be no room for comes last.
        let first = ["verb", "cause"];
        let own = ["time", "level", "target", "message", "code", "verb", "cause"];
        let fields = event.as_object().into_iter();
        let first =
            fields.clone().flat_map(|all| first.iter().filter_map(|name| all.get_key_value(*name)));
        let others = fields.flatten().filter(|(name, _)| !own.contains(&name.as_str()));
        for (name, value) in first.chain(others) {
            words.push(' ');
            words.push_str(name);
            words.push('=');
            words.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        Line { time: time_of_day(event), level: text(event, "level"), words }
    };
    list(answer, "events").iter().map(line).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use serde_json::json;

    use super::*;

    fn logged(cursor: u64, count: u64) -> Result<Value, String> {
        let event = |n| {
            json!({ "time": "2026-11-29T14:03:22.5Z", "level": "WARN", "target": "respgate::x",
                "message": "lost; it is tried again", "code": "UPS-E102", "n": n, "cause": "refused" })
        };
        let events: Vec<Value> = (0..count).map(event).collect();
        Ok(json!({ "cursor": cursor, "missed": 0, "events": events }))
    }

    #[test]
    fn answers_of_the_verbs_are_read() {
        let mut events = Events::default();
        let key = |rate: f64, key: &str| json!({ "per_second": rate, "key": key, "count": 1, "error": 0 });
        let policy = |name: &str, keys: Vec<Value>| json!({ "policy": name, "keys": keys });
        let policies =
            [policy("policy", vec![key(5.0, "a")]), policy("policies.b", vec![key(9.0, "b")])];
        let denied = json!({ "time": "2026-11-28T23:54:39.242279Z", "event": "denied", "user": "app",
            "command": "flushall", "rule": "category", "place": "respgate.toml:9:10", "client": 2 });
        let round = Round {
            hot: Ok(json!({ "enabled": true, "sample": 4, "policies": policies })),
            audit: Ok(json!([denied])),
            log: logged(7, 1),
        };
        events.take(&round);
        let hot = events.hot.as_ref().unwrap();
        assert_eq!((hot[0].key.as_str(), hot[0].policy.as_deref()), ("b", Some("policies.b")));
        let entry = &events.audit.as_ref().unwrap()[0];
        assert_eq!((entry.time.as_str(), entry.event.as_str()), ("23:54:39", "denied"));
        assert_eq!(entry.words, "flushall category respgate.toml:9:10 app");
        let line = events.log.as_ref().unwrap()[0].clone();
        assert_eq!((line.time.as_str(), line.level.as_str()), ("14:03:22", "WARN"));
        assert_eq!(line.words, "UPS-E102 lost cause=refused n=0");
    }

    #[test]
    fn lines_are_added_and_bounded_and_a_fault_is_shown() {
        let mut events = Events::default();
        let off = || Ok(json!({ "enabled": false, "policies": [] }));
        let mut take = |log| {
            events.take(&Round { hot: off(), audit: Err("timed out".to_owned()), log });
            events.clone()
        };
        assert_eq!(take(logged(1, 3)).log.unwrap().len(), 3);
        assert_eq!(take(logged(2, 3)).log.unwrap().len(), 6);
        let events = take(logged(3, 400));
        assert_eq!(events.log.as_ref().unwrap().len(), limits::TOP_LOG_LINES_MAX);
        assert!(events.hot.unwrap_err().contains("[hotkeys] sample"));
        assert_eq!(events.audit.unwrap_err(), "timed out");
        assert_eq!(take(Err("refused".to_owned())).log.unwrap_err(), "refused");
        assert_eq!(take(logged(4, 1)).log.unwrap().len(), 1);
        for odd in [json!(null), json!({}), json!([1]), json!({ "events": 3, "policies": "x" })] {
            events_of(&odd);
        }
    }

    /// Answers of another program crash nothing.
    fn events_of(odd: &Value) {
        let answer = || Ok(odd.clone());
        Events::default().take(&Round { hot: answer(), audit: answer(), log: answer() });
    }
}

//! An explanation in words and rows.
//!
//! Owns: [`Shown`]. Never knows: how a decision was made, where the text goes.

use std::fmt::Write;

use super::misfit::quoted;
use super::{Explanation, RuleWord, Verdict};
use crate::command::{Blocking, Effect, Spec, blocking};
use crate::resp::{Request, RequestLimits, RequestScanner, Scan};

/// The verdict on what a rule would refuse if it were not only observed.
const OBSERVED: &str = "passes, because the rule is in observe mode";

/// A decision as a person reads it, or a program.
#[derive(Debug)]
pub(crate) struct Shown {
    command: Vec<String>,
    rows: Vec<Row>,
}

/// A label and words.
type Row = (&'static str, String);

/// Labels of which there can be several rows.
const LISTS: [&str; 3] = ["pattern", "names", "sent"];

impl Shown {
    /// `section` is the policy's, `place` is where a setting of it was written.
    #[must_use]
    pub(crate) fn new(
        request: &Request<'_>,
        explained: &Explanation,
        section: &str,
        place: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        match &explained.verdict {
            Verdict::Passes => rows.push(("verdict", "passes".to_owned())),
            Verdict::Observed(rule, text) => {
                rows.push(("verdict", OBSERVED.to_owned()));
                rows.push(("rule", (*rule).to_owned()));
                rows.push(("else", text.clone()));
            }
            Verdict::Refused(rule, text) => {
                rows.push(("verdict", "refused".to_owned()));
                rows.push(("rule", (*rule).to_owned()));
                rows.push(("answer", text.clone()));
            }
        }
        if let Some(word) = &explained.word {
            rows.push(("because", because(word, section, place)));
        }
        rows.extend(explained.misfits.iter().map(|line| ("pattern", line.clone())));
        for name in &explained.names {
            let (text, arg, role) = (quoted(&name.text), name.arg, &name.role);
            rows.push(("names", format!("{text} (argument {arg}): {role}")));
        }
        if !matches!(explained.verdict, Verdict::Refused(..)) {
            if let Some(spec) = explained.spec {
                rows.push(("travels", travels(spec, request).to_owned()));
            }
            match &explained.sent {
                None => rows.push(("sent", "as it is".to_owned())),
                Some(wire) => rows.extend(commands(wire).into_iter().map(|line| ("sent", line))),
            }
        }
        Self { command: request.args().map(quoted).collect(), rows }
    }

    /// An object with the command, its words quoted where they need it, and a member for each label:
    /// a list where there can be several rows of it.
    #[must_use]
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut members = serde_json::Map::new();
        members.insert("command".to_owned(), self.command.clone().into());
        for label in LISTS {
            let rows = self.rows.iter().filter(|(of, _)| *of == label);
            let rows: Vec<&str> = rows.map(|(_, words)| words.as_str()).collect();
            members.insert(label.to_owned(), rows.into());
        }
        for (label, words) in self.rows.iter().filter(|(label, _)| !LISTS.contains(label)) {
            let words = if words == OBSERVED { "observed" } else { words };
            members.insert((*label).to_owned(), words.into());
        }
        members.into()
    }

    /// The command and its rows; `paint` is how the words of the verdict look.
    #[must_use]
    pub(crate) fn text(&self, paint: impl Fn(&str) -> String) -> String {
        let mut text = self.command.join(" ");
        let mut previous = "";
        for (label, words) in &self.rows {
            let shown = if *label == previous { "" } else { label };
            let words = if *label == "verdict" { paint(words) } else { words.clone() };
            let _ = write!(text, "\n  {shown:<8} {words}");
            previous = label;
        }
        text
    }
}

fn because(word: &RuleWord, section: &str, place: impl Fn(&str) -> Option<String>) -> String {
    let RuleWord { setting, text } = word;
    match place(setting) {
        _ if *setting == "preset" => format!("{text} of the preset"),
        Some(place) => format!("{text} in {section}.{setting}, {place}"),
        None => format!("{text} in {section}.{setting}"),
    }
}

/// The kind of connection that carries the request, outside MULTI and while nothing is watched or subscribed.
fn travels(spec: &Spec, request: &Request<'_>) -> &'static str {
    match spec.effect {
        Effect::Shared | Effect::Ping => {
            "on a shared connection (from limits.large on, on one of its own)"
        }
        Effect::Block(_) if blocking(spec, request) == Blocking::No => "on a shared connection",
        Effect::Block(_) | Effect::Wait | Effect::Release | Effect::Pushes => {
            "on a connection of its own until it is answered"
        }
        Effect::Watch => "on a connection of its own until EXEC, DISCARD or UNWATCH",
        Effect::Subscribe | Effect::Unsubscribe => {
            "on a connection of its own while anything is subscribed"
        }
        Effect::Monitor | Effect::Tracking | Effect::Caching => {
            "on a connection of its own while it is in force"
        }
        Effect::Multi | Effect::Exec | Effect::Discard | Effect::Unwatch => {
            "not at all: commands are queued here and sent as one block at EXEC"
        }
        Effect::Local(_)
        | Effect::Auth
        | Effect::Hello
        | Effect::Reset
        | Effect::Quit
        | Effect::Select => "not at all: respgate answers it itself",
        Effect::Replicate { .. } => "on a connection of its own until the client disconnects",
        Effect::Never => "not at all",
    }
}

/// Each request of `wire` as a line.
fn commands(wire: &[u8]) -> Vec<String> {
    let (mut lines, mut rest, mut scanner) = (Vec::new(), wire, RequestScanner::default());
    while let Ok(Scan::Request { used }) = scanner.scan(rest, &RequestLimits::NONE) {
        lines.push(line_of(&scanner.request(rest)));
        rest = rest.get(used..).unwrap_or_default();
        scanner.reset();
    }
    lines
}

fn line_of(request: &Request<'_>) -> String {
    request.args().map(quoted).collect::<Vec<_>>().join(" ")
}

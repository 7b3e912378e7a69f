//! An explanation in words and rows.
//!
//! Owns: [`show`], the name of a refused command. Never knows: how a decision was made, where the text goes.

use std::borrow::Cow;
use std::fmt::Write;

use super::{Explanation, Refusal, Rule, RuleWord, Verdict};
use crate::command::{Blocking, Effect, Spec, blocking};
use crate::resp::{Request, RequestLimits, RequestScanner, Scan};

/// A longer name of an unknown command is cut.
const NAME_BYTES_MAX: usize = 64;

const LIMITS: RequestLimits = RequestLimits {
    max_args: 1_048_576,
    max_bulk_bytes: 512 << 20,
    max_inline_bytes: 64 << 10,
    large_bytes: u64::MAX,
    authenticated: true,
};

/// A decision as a person reads it; `section` is the policy's, `place` says where a setting of it
/// stands.
#[must_use]
pub fn show(
    request: &Request<'_>,
    explained: &Explanation,
    section: &str,
    place: impl Fn(&str) -> Option<String>,
) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    match &explained.verdict {
        Verdict::Passes => rows.push(("verdict", "passes".to_owned())),
        Verdict::Observed(rule, text) => {
            rows.push(("verdict", "passes, because the rule is in observe mode".to_owned()));
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
    let mut text = line_of(request);
    let mut previous = "";
    for (label, words) in rows {
        let shown = if label == previous { "" } else { label };
        let _ = write!(text, "\n  {shown:<8} {words}");
        previous = label;
    }
    text
}

fn because(word: &RuleWord, section: &str, place: impl Fn(&str) -> Option<String>) -> String {
    let RuleWord { setting, text } = word;
    match place(setting) {
        _ if *setting == "preset" => format!("{text} of the preset"),
        Some(place) => format!("{text} in {section}.{setting}, {place}"),
        None => format!("{text} in {section}.{setting}"),
    }
}

impl Refusal {
    /// The command in lower case. An unknown one is what the client wrote, cut and without characters
    /// that could mislead a reader of a log.
    #[must_use]
    pub fn command(&self, request: &Request<'_>) -> Cow<'static, str> {
        let written = |arg: usize| plain(request.arg(arg).unwrap_or_default());
        match self.spec {
            None => written(0).into(),
            Some(spec) if self.rule == Rule::Unknown => {
                format!("{}|{}", spec.name, written(1)).into()
            }
            Some(spec) => spec.name.into(),
        }
    }
}

fn plain(bytes: &[u8]) -> String {
    let fits = |byte: &u8| byte.is_ascii_graphic() && !b",\"".contains(byte);
    let shown = bytes.iter().take(NAME_BYTES_MAX);
    shown.map(|byte| if fits(byte) { char::from(byte.to_ascii_lowercase()) } else { '?' }).collect()
}

/// Which kind of connection carries it, outside MULTI and while nothing is watched or subscribed.
fn travels(spec: &Spec, request: &Request<'_>) -> &'static str {
    match spec.effect {
        Effect::Shared => "on a shared connection (from limits.large on, on one of its own)",
        Effect::Block if blocking(spec, request) == Blocking::No => "on a shared connection",
        Effect::Block | Effect::Wait | Effect::Release => {
            "on a connection of its own until it is answered"
        }
        Effect::Watch => "on a connection of its own until EXEC, DISCARD or UNWATCH",
        Effect::Subscribe | Effect::Unsubscribe => {
            "on a connection of its own while anything is subscribed"
        }
        Effect::Monitor | Effect::Tracking => "on a connection of its own while it is in force",
        Effect::Multi | Effect::Exec | Effect::Discard | Effect::Unwatch => {
            "not at all: commands are queued here and sent as one block at EXEC"
        }
        Effect::Local
        | Effect::Auth
        | Effect::Hello
        | Effect::Reset
        | Effect::Quit
        | Effect::Select => "not at all: respgate answers it itself",
        Effect::Replicate => "on a connection of its own until the client leaves",
        Effect::Never => "not at all",
    }
}

/// Each request of `wire` as a line.
fn commands(wire: &[u8]) -> Vec<String> {
    let (mut lines, mut rest, mut scanner) = (Vec::new(), wire, RequestScanner::default());
    while let Ok(Scan::Request { used }) = scanner.scan(rest, &LIMITS) {
        lines.push(line_of(&scanner.request(rest)));
        rest = rest.get(used..).unwrap_or_default();
        scanner.reset();
    }
    lines
}

fn line_of(request: &Request<'_>) -> String {
    request.args().map(quoted).collect::<Vec<_>>().join(" ")
}

/// An argument as a person would type it.
pub(super) fn quoted(arg: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    if !arg.is_empty() && arg.iter().all(plain) {
        return String::from_utf8_lossy(arg).into_owned();
    }
    format!("\"{}\"", arg.escape_ascii())
}

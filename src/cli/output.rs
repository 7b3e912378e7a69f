//! What a command prints, on which stream, how it looks, and with which exit code.
//!
//! Owns: [`Output`], [`Paint`]. Never knows: the content of what is printed.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serde_json::json;

use super::args::{self, Global};
use super::exit;
use super::progress::Progress;
use crate::base::terminal::{escape_json, escape_text, wants_colours};
use crate::config::{ConfigSource, Place, Problem};

/// How a word looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Good,
    Warning,
    Bad,
    Strong,
    Faint,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Strong => "\x1b[1m",
            Self::Faint => "\x1b[2m",
        }
    }
}

/// Standard output and standard error, as the flags of every verb ask for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    global: Global,
    /// Whether standard output shows colours, and standard error.
    colours: (bool, bool),
    /// The answer is one JSON text on standard output, and no other is printed there.
    json: bool,
}

impl Output {
    pub(super) fn new(global: Global) -> Self {
        let colours = (wants_colours(&std::io::stdout()), wants_colours(&std::io::stderr()));
        Self { global, colours, json: false }
    }

    /// The flags of every verb.
    pub(super) fn global(self) -> Global {
        self.global
    }

    /// With `--json`: [`Self::json`] prints the answer, and [`Self::print`] nothing.
    pub(super) fn with_json(self, json: bool) -> Self {
        Self { json, ..self }
    }

    /// Whether the answer is for programs.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Writes a line of the answer for people to standard output, unless only errors are wanted. A
    /// closed pipe is no fault.
    pub(super) fn print(self, line: &str) {
        if !self.global.quiet && !self.json {
            let line = escape_text(line, self.colours.0);
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }

    /// Writes a line of an answer that has no end, for people and programs alike.
    ///
    /// # Errors
    ///
    /// When the reader of standard output is gone.
    pub(super) fn line(self, line: &str) -> std::io::Result<()> {
        writeln!(std::io::stdout().lock(), "{line}")
    }

    /// Writes the answer for programs to standard output where JSON is asked for.
    pub(super) fn json(self, answer: impl FnOnce() -> serde_json::Value) {
        if self.json {
            let answer = format!("{:#}", answer());
            let _ = writeln!(std::io::stdout().lock(), "{}", escape_json(&answer));
        }
    }

    /// Reports why there is no answer: to standard error, and as JSON where that is asked for.
    pub(super) fn fail(self, code: u8, problem: &str) -> ExitCode {
        self.print_error(&format!("respgate: {problem}"));
        self.json(|| json!({ "error": problem }));
        ExitCode::from(code)
    }

    /// Writes a line to standard error.
    pub(super) fn print_error(self, line: &str) {
        let line = escape_text(line, self.colours.1);
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// `text` as standard output shows it.
    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        painted(self.colours.0, paint, text)
    }

    /// `text` as standard error shows it.
    pub(super) fn paint_error(self, paint: Paint, text: &str) -> String {
        painted(self.colours.1, paint, text)
    }

    /// Shows what is waited for from the first second on, while the result is held; only to a person at
    /// a terminal, and not between lines of a log.
    pub(super) fn progress(self, what: &str) -> Progress {
        let Global { quiet, verbose } = self.global;
        if quiet || self.json || verbose > 0 || !std::io::stderr().is_terminal() {
            return Progress::NONE;
        }
        Progress::start(what)
    }

    /// Prints every problem of a configuration.
    pub(super) fn complain(self, source: &ConfigSource, problems: Vec<Problem>) -> ExitCode {
        let count = problems.len();
        let problems = problems.into_iter().map(|problem| args::for_flags(source, problem));
        let problems: Vec<Problem> = problems.collect();
        self.json(|| json!({ "valid": false, "problems": problems.iter().map(json_problem).collect::<Vec<_>>() }));
        for problem in problems {
            let place = problem.place.to_string();
            let text = problem.to_string();
            let rest = text.strip_prefix(&place).unwrap_or(&text);
            self.print_error(&format!("{}{rest}", self.paint_error(Paint::Strong, &place)));
        }
        let plural = if count == 1 { "" } else { "s" };
        self.print_error(&format!("respgate: {count} problem{plural}"));
        ExitCode::from(exit::FAILURE)
    }
}

fn json_problem(problem: &Problem) -> serde_json::Value {
    let Problem { place, key, problem, hint } = problem;
    let (file, position, variable, flag) = match place {
        Place::Text { name, position } => (Some(name.as_ref()), *position, None, None),
        Place::Variable(name) => (None, None, Some(name), None),
        Place::Flag(name) => (None, None, None, Some(name)),
    };
    json!({
        "file": file,
        "line": position.map(|(line, _)| line),
        "column": position.map(|(_, column)| column),
        "variable": variable,
        "flag": flag,
        "setting": Some(key).filter(|key| !key.is_empty()),
        "problem": problem,
        "hint": hint,
    })
}

fn painted(colours: bool, paint: Paint, text: &str) -> String {
    if colours && !text.is_empty() {
        format!("{}{text}\x1b[0m", paint.code())
    } else {
        text.to_owned()
    }
}

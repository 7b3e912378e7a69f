//! A verb of the admin server: one definition, from which its route, its subcommand and its page come.
//!
//! Owns: [`Verb`], [`Argument`], [`Call`], [`Answer`], [`Refused`]. Never knows: sockets, flags, any one verb.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use crate::base::limits;

/// The answer under way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Refused>> + Send>>;

/// One verb, answered from an `H`.
#[derive(Debug)]
pub struct Verb<H> {
    /// The name on the command line, such as `audit recent`.
    pub name: &'static str,
    /// Where it is asked: `/audit/recent`.
    pub path: &'static str,
    /// Other paths of the same verb.
    pub also: &'static [&'static str],
    pub effect: Effect,
    /// One sentence without a full stop, as the help shows it.
    pub about: &'static str,
    pub arguments: &'static [Argument],
    /// What an example does, and what to type for it.
    pub examples: &'static [(&'static str, &'static str)],
    /// When it is done, and when the answer is no: the meaning of the exit codes 0 and 1.
    pub done: &'static str,
    pub failed: &'static str,
    /// How long the answer may take.
    pub patience: Duration,
    pub answer: fn(Arc<H>, Call) -> Answering,
}

/// What a verb does to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `GET`: it shows something.
    Shows,
    /// `POST`: the request carries something in its body, and nothing changes.
    Judges,
    /// `POST`, and logged.
    Changes,
}

impl Effect {
    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Shows => Method::GET,
            Self::Judges | Self::Changes => Method::POST,
        }
    }
}

/// One argument of a verb: a parameter of the query, and a flag or a word of the command line.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    pub name: &'static str,
    pub kind: Kind,
    /// The text of the help.
    pub help: &'static str,
}

/// How an argument is written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word that must be there; the text is what the help calls it.
    Word(&'static str),
    /// A word that may be there.
    OptionalWord(&'static str),
    /// One word or more.
    Words(&'static str),
    /// `--name VALUE`, at most once.
    Option(&'static str),
    /// `--name VALUE`, any number of times.
    Options(&'static str),
    /// `--name`; in a query `name=true`.
    Flag,
}

/// One request, with arguments that fit the verb.
#[derive(Debug)]
pub struct Call {
    arguments: Vec<(&'static str, String)>,
    pub body: Bytes,
    pub by: By,
}

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A user of the system, over the Unix socket.
    Uid(u32),
    /// The holder of the token, over TCP.
    Token,
    /// The system does not name the user that opened the socket.
    Unknown,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "uid {uid}"),
            Self::Token => f.write_str("token"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// The answer of a verb.
#[derive(Debug, Default)]
pub struct Answer {
    /// For a program.
    pub json: Value,
    /// For a person, 80 columns wide.
    pub text: String,
    /// The answer is no: the program that asked ends with 1.
    pub no: bool,
}

impl Answer {
    #[must_use]
    pub fn new(json: Value, text: impl Into<String>) -> Self {
        Self { json, text: text.into(), no: false }
    }

    /// This answer with the exit code for no.
    #[must_use]
    pub fn no(self) -> Self {
        Self { no: true, ..self }
    }
}

/// Why a verb was not carried out, as text for its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The arguments make no sense.
    Usage(String),
    /// There is no such thing.
    NotFound(String),
    /// The verb cannot be carried out now.
    Conflict(String),
    /// The process is about to exit.
    ShuttingDown,
    /// The verb has taken too long.
    Late,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::NotFound(text) | Self::Conflict(text) => f.write_str(text),
            Self::ShuttingDown => f.write_str("respgate is shutting down"),
            Self::Late => {
                f.write_str("no answer in time; the log of respgate shows what it is doing")
            }
        }
    }
}

impl<H> Verb<H> {
    /// Reads the pairs of a query as arguments of this verb.
    ///
    /// # Errors
    ///
    /// The first that is unknown, missing, too long, or there too often.
    pub fn call(&self, pairs: Vec<(String, String)>, body: Bytes, by: By) -> Result<Call, Refused> {
        if pairs.len() > limits::ADMIN_VALUES_MAX {
            return Err(Refused::Usage(format!(
                "more than {} arguments",
                limits::ADMIN_VALUES_MAX
            )));
        }
        let mut arguments: Vec<(&'static str, String)> = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let Some(known) = self.arguments.iter().find(|known| known.name == name) else {
                let names: Vec<&str> = self.arguments.iter().map(|known| known.name).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let verb = self.name;
                return Err(Refused::Usage(format!("no such argument; {verb} has: {names}")));
            };
            let name = known.name;
            if value.len() > limits::ADMIN_VALUE_BYTES_MAX {
                return Err(Refused::Usage(format!(
                    "{name}: longer than {max} bytes",
                    max = limits::ADMIN_VALUE_BYTES_MAX
                )));
            }
            let many = matches!(known.kind, Kind::Words(_) | Kind::Options(_));
            if !many && arguments.iter().any(|(other, _)| *other == name) {
                return Err(Refused::Usage(format!("{name}: given twice")));
            }
            if known.kind == Kind::Flag && !matches!(&*value, "true" | "false") {
                return Err(Refused::Usage(format!("{name}: neither true nor false")));
            }
            if value.is_empty() {
                return Err(Refused::Usage(format!("{name}: empty")));
            }
            arguments.push((name, value));
        }
        let needed = |known: &&Argument| matches!(known.kind, Kind::Word(_) | Kind::Words(_));
        for known in self.arguments.iter().filter(needed) {
            if !arguments.iter().any(|(name, _)| *name == known.name) {
                return Err(Refused::Usage(format!("{}: missing", known.name)));
            }
        }
        Ok(Call { arguments, body, by })
    }
}

impl Call {
    /// The value of an argument, the first of several.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let own = self.arguments.iter().find(|(known, _)| *known == name);
        own.map(|(_, value)| value.as_str())
    }

    /// All values of an argument.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let own = self.arguments.iter().filter(move |(known, _)| *known == name);
        own.map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// A value that is a number.
    ///
    /// # Errors
    ///
    /// When it is none, or too large.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Refused> {
        let parse = |value: &str| {
            let wrong =
                || Refused::Usage(format!("{name}: {} is not a number", value.escape_debug()));
            value.parse().map_err(|_| wrong())
        };
        self.value(name).map(parse).transpose()
    }

    /// The arguments for the log.
    #[must_use]
    pub fn shown(&self) -> String {
        let pairs: Vec<String> =
            self.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(" ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    const VERB: Verb<()> = Verb {
        name: "try",
        path: "/try",
        also: &[],
        effect: Effect::Changes,
        about: "",
        arguments: &[
            Argument { name: "what", kind: Kind::Word("WHAT"), help: "" },
            Argument { name: "each", kind: Kind::Options("EACH"), help: "" },
            Argument { name: "for", kind: Kind::Option("TIME"), help: "" },
            Argument { name: "force", kind: Kind::Flag, help: "" },
        ],
        examples: &[],
        done: "",
        failed: "",
        patience: Duration::from_secs(1),
        answer: |_, _| Box::pin(async { Ok(Answer::default()) }),
    };

    fn call(query: &str) -> Result<Call, Refused> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap());
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        VERB.call(pairs, Bytes::new(), By::Uid(7))
    }

    #[test]
    fn arguments_fit_their_verb() {
        let fine = call("what=a&each=1&each=2&for=3&force=true").unwrap();
        assert_eq!(fine.value("what"), Some("a"));
        assert_eq!(fine.values("each").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fine.parsed::<u8>("for"), Ok(Some(3)));
        assert!(fine.flag("force") && !call("what=a&force=false").unwrap().flag("force"));
        assert_eq!(fine.shown(), "what=a each=1 each=2 for=3 force=true");
        for (query, problem) in [
            ("", "what: missing"),
            ("what=a&what=b", "what: given twice"),
            ("what=", "what: empty"),
            ("what=a&force=yes", "force: neither true nor false"),
            ("what=a&other=1", "no such argument; try has: what, each, for, force"),
        ] {
            assert_eq!(call(query).unwrap_err().to_string(), problem, "{query}");
        }
        let long = format!("what={}", "a".repeat(limits::ADMIN_VALUE_BYTES_MAX + 1));
        assert!(call(&long).unwrap_err().to_string().starts_with("what: longer than"));
        let many = format!("what=a{}", "&each=1".repeat(limits::ADMIN_VALUES_MAX));
        assert!(call(&many).unwrap_err().to_string().starts_with("more than"));
        let odd = call("what=a&for=x").unwrap();
        assert!(matches!(odd.parsed::<u8>("for"), Err(Refused::Usage(_))));
    }
}

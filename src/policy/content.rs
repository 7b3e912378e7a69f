//! What keys and values look like: their size, their letters, their number.
//!
//! Owns: [`Content`]. Never knows: where a command's keys stand.
//!
//! A large argument is judged by its announced length, before a byte of it is here.

use super::json::is_json;
use super::pattern::{Pattern, literal_prefix};
use super::rule::Rule;
use super::subject::{Subject, Witness};
use super::verdict::{Cause, ContentFault, Refusal};
use crate::command::{self, Flags, KeyAt, KeyError, KeyKind, Script, Spec, find_keys};
use crate::config::{Charset, Encoding, KeyRules, ValueRules};
use crate::resp::{Request, number};

/// The rules about keys and values, compiled.
#[derive(Debug)]
pub(super) struct Content {
    key_bytes: Option<u64>,
    key_pattern: Option<Pattern>,
    key_charset: Charset,
    keys_denied: Vec<Pattern>,
    value_bytes: Option<u64>,
    arguments: Option<u64>,
    encoding: Encoding,
    /// By command.
    stored: Box<[Stored]>,
}

/// Where the strings stand that a command stores as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Nowhere,
    At(usize),
    /// Behind each key from argument 1 on.
    Pairs,
    /// Behind each key from argument 2 on; argument 1 says how many.
    CountedPairs,
}

type Judged = Result<(), Refusal>;

impl Content {
    /// `None` when the rules ask for nothing.
    pub(super) fn new(keys: &KeyRules, values: &ValueRules) -> Option<Self> {
        let patterns = |globs: &[String]| {
            globs.iter().map(|glob| Pattern::new(glob.as_bytes())).collect::<Vec<_>>()
        };
        let content = Self {
            key_bytes: keys.max_bytes.map(|bytes| bytes as u64),
            key_pattern: keys.pattern.as_ref().map(|glob| Pattern::new(glob.as_bytes())),
            key_charset: keys.charset,
            keys_denied: patterns(&keys.deny),
            value_bytes: values.max_bytes,
            arguments: values.max_args.map(u64::from),
            encoding: values.encoding,
            stored: command::all().iter().map(Stored::of).collect(),
        };
        let values = content.value_bytes.is_some()
            || content.arguments.is_some()
            || content.encoding != Encoding::Any;
        (content.judges_keys() || values).then_some(content)
    }

    fn judges_keys(&self) -> bool {
        self.key_bytes.is_some()
            || self.key_pattern.is_some()
            || self.key_charset != Charset::Any
            || !self.keys_denied.is_empty()
    }

    /// The longest value of such a command. A script may store each of its arguments, unless it is
    /// one that only reads.
    pub(super) fn value_bytes(&self, spec: &Spec) -> Option<u64> {
        let runs = command::script(spec).is_some() && !spec.flags.has(Flags::READONLY);
        self.value_bytes.filter(|_| runs || spec.flags.has(Flags::WRITE))
    }

    /// Looks at every key, and of a command that writes at every value.
    ///
    /// # Errors
    ///
    /// With the first no that `witness` does not hold.
    pub(super) fn check(
        &self,
        subject: &Subject<'_>,
        keys: &mut Vec<KeyAt>,
        witness: &mut Witness,
    ) -> Judged {
        let request = subject.request;
        let writes = subject.spec.flags.has(Flags::WRITE);
        let value_bytes = self.value_bytes(subject.spec);
        if writes
            && let (Some(max), count) = (self.arguments, request.len() as u64)
            && count > max
        {
            witness.refuse(subject, ContentFault::TooManyArguments { count, max })?;
        }
        if let Some(fault) = self.announced_fault(subject, value_bytes) {
            witness.refuse(subject, fault)?;
        }
        let values = || request.args().skip(first_value(subject.spec));
        let too_long = value_bytes.is_some_and(|max| values().any(|arg| arg.len() as u64 > max));
        if self.judges_keys() || too_long {
            match find_keys(subject.spec, request, keys) {
                Ok(()) => {}
                // The argument is too long whatever it is: as a value, or for the server.
                Err(KeyError::Syntax) if !self.judges_keys() || witness.observes(Rule::Key) => {
                    keys.clear();
                }
                Err(error) => {
                    keys.clear();
                    witness.hold(subject.unclear(error))?;
                }
            }
            if let Some(fault) = keys.iter().find_map(|at| self.key_fault(subject, at)) {
                witness.refuse(subject, fault)?;
            }
        }
        if let Some(max) = value_bytes.filter(|_| too_long)
            && let Some(bytes) = long_value(subject, keys, max)
        {
            witness.refuse(subject, ContentFault::ValueTooLong { bytes, max })?;
        }
        if writes && self.encoding != Encoding::Any && !self.is_legible(subject)? {
            witness.refuse(subject, ContentFault::ValueEncoding(self.encoding))?;
        }
        Ok(())
    }

    /// The argument whose length alone is known.
    fn announced_fault(
        &self,
        subject: &Subject<'_>,
        value_bytes: Option<u64>,
    ) -> Option<ContentFault> {
        let request = subject.request;
        let bytes = request.announced()?;
        let above = |max: &u64| bytes > *max;
        let key = self.key_bytes.filter(above).map(|max| ContentFault::KeyTooLong { bytes, max });
        let value = value_bytes.filter(above).map(|max| ContentFault::ValueTooLong { bytes, max });
        match names(subject.spec, request, request.available()) {
            Some(true) => key,
            Some(false) => value.filter(|_| request.available() >= first_value(subject.spec)),
            None => key.and(value),
        }
    }

    fn key_fault(&self, subject: &Subject<'_>, at: &KeyAt) -> Option<ContentFault> {
        let name = at.name(subject.request);
        match at.kind {
            KeyKind::Key => self.name_fault(name),
            // The data stand for `*`: only what is before it is certain.
            KeyKind::KeyPattern => self.pattern_fault(literal_prefix(name)),
            KeyKind::KeyPrefix
            | KeyKind::Channel
            | KeyKind::ChannelPattern
            | KeyKind::ShardChannel => None,
        }
    }

    fn name_fault(&self, name: &[u8]) -> Option<ContentFault> {
        let bytes = name.len() as u64;
        if let Some(max) = self.key_bytes.filter(|max| bytes > *max) {
            return Some(ContentFault::KeyTooLong { bytes, max });
        }
        let legible = match self.key_charset {
            Charset::Any => true,
            Charset::Printable => name.iter().all(u8::is_ascii_graphic),
            Charset::Utf8 => str::from_utf8(name).is_ok(),
        };
        if !legible {
            return Some(ContentFault::KeyCharset(self.key_charset));
        }
        if self.keys_denied.iter().any(|denied| denied.matches(name)) {
            return Some(ContentFault::KeyDenied);
        }
        let fits = self.key_pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
        (!fits).then_some(ContentFault::KeyPattern)
    }

    /// Keys that begin with `start` are read, nobody knows which.
    fn pattern_fault(&self, start: &[u8]) -> Option<ContentFault> {
        let may_be = |denied: &Pattern| {
            let denied = literal_prefix(denied.text());
            denied.starts_with(start) || start.starts_with(denied)
        };
        if self.keys_denied.iter().any(may_be) {
            return Some(ContentFault::KeyDenied);
        }
        let fits = self.key_pattern.as_ref().is_none_or(|pattern| pattern.covers_prefix(start));
        (!fits).then_some(ContentFault::KeyPattern)
    }

    /// Whether all values that the command stores are encoded as they should be.
    fn is_legible(&self, subject: &Subject<'_>) -> Result<bool, Refusal> {
        let request = subject.request;
        let stored = self.stored.get(usize::from(subject.spec.id.0)).copied();
        for arg in stored.unwrap_or(Stored::Nowhere).places(request) {
            let Some(value) = request.arg(arg) else {
                return Err(subject.unclear(KeyError::NotYetKnown));
            };
            let legible = match self.encoding {
                Encoding::Any => true,
                Encoding::Utf8 => str::from_utf8(value).is_ok(),
                Encoding::Json => is_json(value),
            };
            if !legible {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The first argument that may be a value: behind the name, or behind the script that runs.
fn first_value(spec: &Spec) -> usize {
    let name = usize::from(spec.parent.is_some());
    match command::script(spec) {
        Some(script @ (Script::Text { .. } | Script::Digest | Script::Function)) => {
            script.argument() + 1
        }
        Some(Script::Change) | None => name + 1,
    }
}

/// The length of the first value above `max`.
fn long_value(subject: &Subject<'_>, keys: &[KeyAt], max: u64) -> Option<u64> {
    let mut args = (0u32..).zip(subject.request.args()).skip(first_value(subject.spec));
    args.find_map(|(arg, value)| {
        let bytes = value.len() as u64;
        let names = || keys.iter().any(|at| at.arg == arg && at.kind == KeyKind::Key);
        (bytes > max && !names()).then_some(bytes)
    })
}

/// Whether argument `arg` names a key; `None`: that cannot be told yet.
fn names(spec: &Spec, request: &Request<'_>, arg: usize) -> Option<bool> {
    let mut certain = Some(false);
    for keys in spec.keys {
        match keys.names(request, arg) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => certain = None,
        }
    }
    certain
}

impl Witness {
    fn refuse(&mut self, subject: &Subject<'_>, fault: ContentFault) -> Judged {
        self.hold(subject.refuse(fault.rule(), Cause::Content(fault)))
    }
}

impl Stored {
    fn of(spec: &Spec) -> Self {
        match spec.name {
            "set" | "setnx" | "getset" => Self::At(2),
            "setex" | "psetex" => Self::At(3),
            "mset" | "msetnx" => Self::Pairs,
            "msetex" => Self::CountedPairs,
            _ => Self::Nowhere,
        }
    }

    /// The arguments, in order, those included that are not here yet.
    fn places(self, request: &Request<'_>) -> impl Iterator<Item = usize> {
        let len = request.len();
        let pairs = request.arg(1).and_then(number::parse_length);
        let pairs = pairs.and_then(|pairs| usize::try_from(pairs).ok()).unwrap_or(0);
        let (first, count) = match self {
            Self::Nowhere => (len, 0),
            Self::At(arg) => (arg, 1),
            Self::Pairs => (2, len),
            Self::CountedPairs => (3, pairs),
        };
        (first..len).step_by(2).take(count)
    }
}

#[cfg(test)]
mod tests;

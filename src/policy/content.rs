//! What keys and values look like: their size, their letters, their number.
//!
//! Owns: [`Content`]. Never knows: where a command's keys are.
//!
//! A large argument is judged by its announced length, before a byte of it is here.

use std::sync::Arc;

use super::fault::ContentFault;
use super::json::is_json;
use super::keyspace::may_be_reserved;
use super::meet::Glob;
use super::names::Hidden;
use super::pattern::{Pattern, escape, literal_prefix};
use super::refusal::{Cause, Refusal};
use super::request_facts::{ObservedDenials, RequestFacts};
use crate::base::rule::Rule;
use crate::command::{
    Categories, Does, Flags, KeyError, KeyKind, KeyPosition, Reach, Script, Spec, Stores,
    find_keys, scan_match,
};
use crate::config::{Charset, Encoding, KeyRules, ValueRules};
use crate::resp::Request;

/// The rules about keys and values, compiled.
#[derive(Debug)]
pub(super) struct Content {
    key_bytes: Option<u64>,
    key_pattern: Option<Pattern>,
    key_charset: Charset,
    keys_denied: Vec<Glob>,
    hidden: Arc<Hidden>,
    value_bytes: Option<u64>,
    arguments: Option<u64>,
    encoding: Encoding,
}

type Judged = Result<(), Refusal>;

impl Content {
    /// `None` when the rules ask for nothing.
    pub(super) fn new(keys: &KeyRules, values: &ValueRules) -> Option<Self> {
        let denied = keys.deny.iter().map(|glob| Pattern::new(glob.as_bytes()));
        let content = Self {
            key_bytes: keys.max_bytes.map(|bytes| bytes as u64),
            key_pattern: keys.pattern.as_ref().map(|glob| Pattern::new(glob.as_bytes())),
            key_charset: keys.charset,
            keys_denied: keys.deny.iter().map(|glob| Glob::new(glob.as_bytes())).collect(),
            hidden: Arc::new(Hidden::new(denied.collect())),
            value_bytes: values.max_bytes,
            arguments: values.max_args.map(u64::from),
            encoding: values.encoding,
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
        self.value_bytes.filter(|_| may_write(spec))
    }

    /// Looks at every key, and of a command that writes at every value.
    ///
    /// # Errors
    ///
    /// With the first no that `witness` does not hold.
    pub(super) fn check(
        &self,
        subject: &RequestFacts<'_>,
        keys: &mut Vec<KeyPosition>,
        witness: &mut ObservedDenials,
    ) -> Judged {
        let request = subject.request;
        let value_bytes = self.value_bytes(subject.spec);
        if may_write(subject.spec)
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
                // The server reports what is wrong, and looks at no key.
                Err(KeyError::Refused) => keys.clear(),
                Err(error) => {
                    keys.clear();
                    witness.hold(subject.unclear(error))?;
                }
            }
            if let Some(fault) = keys.iter().find_map(|at| self.key_fault(subject, at)) {
                witness.refuse(subject, fault)?;
            }
        }
        if !self.keys_denied.is_empty() {
            self.check_reach(subject, witness)?;
        }
        let reaches = value_bytes.map_or(0, |_| subject.spec.stores.reaches(request));
        if let Some(max) = value_bytes.filter(|max| reaches > *max) {
            witness.refuse(subject, ContentFault::ValueGrows { bytes: reaches, max })?;
        }
        if let Some(max) = value_bytes.filter(|_| too_long)
            && let Some(bytes) = long_value(subject, keys, max)
        {
            witness.refuse(subject, ContentFault::ValueTooLong { bytes, max })?;
        }
        if self.encoding != Encoding::Any
            && let Some(fault) = self.encoding_fault(subject)?
        {
            witness.refuse(subject, fault)?;
        }
        Ok(())
    }

    /// Whether a command may show or touch denied keys although it names none of them.
    fn check_reach(&self, subject: &RequestFacts<'_>, witness: &mut ObservedDenials) -> Judged {
        let reaches = match subject.spec.reach {
            Reach::Database(does) | Reach::Server(does) => {
                does.access().is_some() && does != Does::CountsKeys
            }
            // Denied names are left out of the reply ([`Self::hides`]).
            Reach::Scan(_)
            | Reach::Named
            | Reach::Copy
            | Reach::Move
            | Reach::Migrate
            | Reach::ChannelScan
            | Reach::ChannelCount
            | Reach::Invalidations
            | Reach::Report => false,
        };
        if reaches { witness.refuse(subject, ContentFault::TouchesDenied) } else { Ok(()) }
    }

    /// What the reply to a request must not show: the denied names, where one may be in it.
    pub(super) fn hides(&self, spec: &Spec, request: &Request<'_>) -> Option<&Arc<Hidden>> {
        if self.keys_denied.is_empty() || !matches!(spec.reach, Reach::Scan(_)) {
            return None;
        }
        let mut patterns = Vec::new();
        let shows = |arg: &u32| {
            let pattern = request.arg(*arg as usize);
            pattern.is_none_or(|pattern| self.may_deny(&Glob::new(pattern)))
        };
        let known = scan_match(spec, request, &mut patterns).is_ok() && !patterns.is_empty();
        // The server heeds one pattern of several: all must be free of denied names.
        (!known || patterns.iter().any(shows)).then_some(&self.hidden)
    }

    /// Whether a name that fits the pattern may be denied.
    fn may_deny(&self, glob: &Glob) -> bool {
        self.keys_denied.iter().any(|denied| denied.meets(glob))
    }

    /// The argument whose length alone is known.
    fn announced_fault(
        &self,
        subject: &RequestFacts<'_>,
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

    fn key_fault(&self, subject: &RequestFacts<'_>, at: &KeyPosition) -> Option<ContentFault> {
        let name = at.name(subject.request);
        match at.kind {
            KeyKind::Key => self.name_fault(name),
            // Data replace `*`: only what is before it is certain.
            KeyKind::KeyPattern => self.pattern_fault(literal_prefix(name)),
            KeyKind::KeyPrefix => self.may_deny_behind(name).then_some(ContentFault::ReachesDenied),
            KeyKind::Channel | KeyKind::ChannelPattern if at.access.read => {
                self.channel_fault(name, at.kind == KeyKind::ChannelPattern)
            }
            KeyKind::Channel | KeyKind::ChannelPattern | KeyKind::ShardChannel => None,
        }
    }

    /// The server's own channels name keys: only those whose keys are not denied may be
    /// subscribed to.
    fn channel_fault(&self, name: &[u8], is_pattern: bool) -> Option<ContentFault> {
        if self.keys_denied.is_empty() || !may_be_reserved(name, is_pattern) {
            return None;
        }
        let key = name.strip_prefix(b"__keyspace@").and_then(|rest| {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest.get(digits..)?.strip_prefix(b"__:")
        });
        let denied = match key {
            Some(key) if is_pattern => self.may_deny(&Glob::new(key)),
            Some(key) => self.hidden.matches(key),
            None => true,
        };
        denied.then_some(ContentFault::ReachesDenied)
    }

    /// Whether a name that begins with `start` may be denied.
    fn may_deny_behind(&self, start: &[u8]) -> bool {
        !self.keys_denied.is_empty() && self.may_deny(&Glob::new(&[&*escape(start), b"*"].concat()))
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
        if self.hidden.matches(name) {
            return Some(ContentFault::KeyDenied);
        }
        let fits = self.key_pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
        (!fits).then_some(ContentFault::KeyPattern)
    }

    /// Some keys that begin with `start` are read; which is unknown.
    fn pattern_fault(&self, start: &[u8]) -> Option<ContentFault> {
        if self.may_deny_behind(start) {
            return Some(ContentFault::KeyDenied);
        }
        let fits = self.key_pattern.as_ref().is_none_or(|pattern| pattern.covers_prefix(start));
        (!fits).then_some(ContentFault::KeyPattern)
    }

    /// What is wrong with the encoding of a value that the command stores, or cannot be seen of it.
    fn encoding_fault(&self, subject: &RequestFacts<'_>) -> Result<Option<ContentFault>, Refusal> {
        let request = subject.request;
        let stores = subject.spec.stores;
        let is_part = match stores {
            Stores::Overwritten | Stores::Bit | Stores::Combined | Stores::Serialized => true,
            // That which only reads reaches nothing.
            Stores::Bits => stores.reaches(request) > 0,
            // Text behind text is text.
            Stores::Appended => self.encoding == Encoding::Json,
            Stores::Nothing
            | Stores::At(_)
            | Stores::Each { .. }
            | Stores::CountedPairs
            | Stores::Fields
            | Stores::Members { .. }
            | Stores::Entry
            | Stores::Attribute
            | Stores::Unknown => false,
        };
        if is_part {
            return Ok(Some(ContentFault::ValueUnseen(self.encoding)));
        }
        // Of JSON a string is a text; what is kept in pieces (fields, elements) is UTF-8.
        let is_string = subject.spec.categories.has(Categories::STRING);
        let encoding = match self.encoding {
            Encoding::Json if !is_string => Encoding::Utf8,
            encoding @ (Encoding::Any | Encoding::Utf8 | Encoding::Json) => encoding,
        };
        for arg in stores.places(request) {
            let Some(value) = request.arg(arg) else {
                return Err(subject.unclear(KeyError::NotYetKnown));
            };
            let legible = match encoding {
                Encoding::Any => true,
                Encoding::Utf8 => str::from_utf8(value).is_ok(),
                Encoding::Json => is_json(value),
            };
            if !legible {
                return Ok(Some(ContentFault::ValueEncoding(encoding)));
            }
        }
        Ok(None)
    }
}

/// Whether a command may write, by itself or by a script: it is one that does not only read.
fn may_write(spec: &Spec) -> bool {
    let runs = spec.script.is_some_and(Script::runs) && !spec.flags.has(Flags::READONLY);
    runs || spec.flags.has(Flags::WRITE)
}

/// The first argument that may be a value: behind the name, or behind the script that runs.
fn first_value(spec: &Spec) -> usize {
    let name = usize::from(spec.parent.is_some());
    match spec.script {
        Some(script) if script.runs() => script.argument() + 1,
        Some(_) | None => name + 1,
    }
}

/// The length of the first value above `max`. Of `keys` those that are keys stay, in their order.
fn long_value(subject: &RequestFacts<'_>, keys: &mut Vec<KeyPosition>, max: u64) -> Option<u64> {
    keys.retain(|at| at.kind == KeyKind::Key);
    keys.sort_unstable_by_key(|at| at.arg);
    let names = |arg: u32| keys.binary_search_by_key(&arg, |at| at.arg).is_ok();
    let mut args = (0u32..).zip(subject.request.args()).skip(first_value(subject.spec));
    args.find_map(|(arg, value)| {
        let bytes = value.len() as u64;
        (bytes > max && !names(arg)).then_some(bytes)
    })
}

/// Whether argument `arg` names a key; `None`: not known yet.
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

impl ObservedDenials {
    fn refuse(&mut self, subject: &RequestFacts<'_>, fault: ContentFault) -> Judged {
        self.hold(subject.refuse(fault.rule(), Cause::Content(fault)))
    }
}

#[cfg(test)]
mod tests;

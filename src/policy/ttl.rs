//! How long keys live: what is missing is added, what is too long is cut, or either is refused.
//!
//! Owns: [`Ttl`]. Never knows: where a command has the time to live of its keys, the form of the wire.
//!
//! A time to live that the command itself can carry is written into it, so that the key never
//! exists without. For every other command that may make a key, a request of the proxy's own
//! follows on the same connection: `EXPIRE key … NX`, which a key that has a time to live ignores.
//!
//! Only the server can see keys that a script makes without declaring them, unless scripts
//! are guarded.

use bytes::BytesMut;

use super::edits::Edits;
use super::fault::TtlFault;
use super::pattern::Pattern;
use super::refusal::{Cause, Refusal};
use super::request_facts::{EvalContext, RequestFacts};
use crate::base::rule::Rule;
use crate::command::{
    self, KeyError, KeyKind, KeyPosition, OptionsStart, TimeAt, TimeOption, TtlEffect, Unit,
    WithoutOption, find_keys, restore_time, time_options,
};
use crate::config::{OnExceed, OnMissing, TtlRules};
use crate::resp::{Request, encode, number};

/// The rules about the time to live, compiled.
#[derive(Debug)]
pub(super) struct Ttl {
    missing: Missing,
    max: Option<Max>,
    /// None: all keys.
    apply_to: Vec<Pattern>,
    exempt: Vec<Pattern>,
}

/// What becomes of a write that leaves a key without a time to live.
#[derive(Debug)]
enum Missing {
    Allow,
    Inject(Span),
    Reject,
}

#[derive(Debug)]
struct Max {
    milliseconds: i64,
    span: Span,
    exceed: OnExceed,
}

/// A time to live as requests write it: in seconds if it has no others.
#[derive(Debug)]
struct Span {
    milliseconds: u64,
    unit: Unit,
    digits: Box<[u8]>,
    /// `EX` or `PX` and the digits, as two arguments with their headers.
    option: Box<[u8]>,
}

/// The keys of a request.
#[derive(Clone, Copy)]
struct Keys<'a> {
    rules: &'a Ttl,
    subject: &'a RequestFacts<'a>,
    all: &'a [KeyPosition],
    /// Elements or names may be moved from one to the other.
    moves: bool,
}

/// A request that writes keys to which the rules apply.
struct Case<'a> {
    rules: &'a Ttl,
    subject: &'a RequestFacts<'a>,
    keys: Keys<'a>,
    edits: &'a mut Edits,
}

type Judged = Result<(), Refusal>;

impl Ttl {
    /// `None` when the rules ask for nothing.
    pub(super) fn new(rules: &TtlRules) -> Option<Self> {
        let milliseconds =
            |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let missing = match (rules.on_missing, rules.default.or(rules.max)) {
            (OnMissing::Reject, _) => Missing::Reject,
            (OnMissing::Inject, Some(default)) => Missing::Inject(Span::new(milliseconds(default))),
            (OnMissing::Inject | OnMissing::Allow, _) => Missing::Allow,
        };
        let max = rules.max.map(milliseconds).map(|milliseconds| Max {
            milliseconds,
            span: Span::new(milliseconds),
            exceed: rules.on_exceed,
        });
        if matches!(missing, Missing::Allow) && max.is_none() {
            return None;
        }
        let patterns =
            |globs: &[String]| globs.iter().map(|glob| Pattern::new(glob.as_bytes())).collect();
        Some(Self {
            missing,
            max,
            apply_to: patterns(&rules.apply_to),
            exempt: patterns(&rules.exempt),
        })
    }

    /// Whether absolute times must be compared with a clock.
    pub(super) const fn needs_wall_clock(&self) -> bool {
        self.max.is_some() || matches!(self.missing, Missing::Inject(_))
    }

    /// Adds to `edits` what gives every key of the request its time to live.
    pub(super) fn shape(
        &self,
        subject: &RequestFacts<'_>,
        keys: &mut Vec<KeyPosition>,
        edits: &mut Edits,
    ) -> Judged {
        let lifetime = subject.spec.lifetime;
        let in_table = usize::from(subject.spec.id.0) < command::all().len();
        if lifetime == TtlEffect::Untouched {
            return Ok(());
        }
        match find_keys(subject.spec, subject.request, keys) {
            Ok(()) => {}
            // No key is written.
            Err(KeyError::Refused) => return Ok(()),
            Err(error) => return Err(subject.unclear(error)),
        }
        // What a command beyond the table does with its keys is not known: it may write each of them.
        let keys = Keys { rules: self, subject, all: keys, moves: in_table };
        if keys.governed().next().is_none() {
            return Ok(());
        }
        let mut case = Case { rules: self, subject, keys, edits };
        match lifetime {
            TtlEffect::Untouched => Ok(()),
            TtlEffect::Kept => {
                case.inject();
                Ok(())
            }
            TtlEffect::NoTtl => case.without_ttl(TtlFault::NoTtlOption),
            TtlEffect::Ended => case.without_ttl(TtlFault::Ended),
            TtlEffect::Unknowable => case.unknowable(TtlFault::NoTtlOption),
            TtlEffect::Inherited => case.inherited(),
            TtlEffect::Argument { unit, absolute } => {
                case.limit(TimeAt { arg: 2, unit, absolute }, true)
            }
            TtlEffect::Restore => case.restore(),
            TtlEffect::Options { first, otherwise } => case.options(first, otherwise),
        }
    }

    fn governs(&self, name: &[u8]) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.apply_to.is_empty() || any(&self.apply_to)) && !any(&self.exempt)
    }
}

impl<'a> Keys<'a> {
    /// The keys that are written and to which the rules apply. Where a key is only written, one that is also read is a
    /// source that a command of the table moves elements or names away from.
    fn governed(self) -> impl Iterator<Item = &'a KeyPosition> {
        let written = |at: &&KeyPosition| at.kind == KeyKind::Key && at.access.write;
        let target = self.moves && self.all.iter().any(|at| written(&at) && !at.access.read);
        self.all
            .iter()
            .filter(written)
            .filter(move |at| !(target && at.access.read))
            .filter(move |at| self.rules.governs(at.name(self.subject.request)))
    }
}

impl Case<'_> {
    fn refuse(&self, fault: TtlFault) -> Judged {
        Err(self.subject.refuse(Rule::Ttl, Cause::Ttl(fault)))
    }

    /// A key that has no time to live behind the command gets one.
    fn inject(&mut self) {
        if let Missing::Inject(default) = &self.rules.missing {
            self.follow(default.command(), &[&default.digits, b"NX"]);
        }
    }

    /// One request behind the command for each governed key.
    fn follow(&mut self, command: &[u8], more: &[&[u8]]) {
        for at in self.keys.governed() {
            let name = at.name(self.subject.request);
            self.edits.follow(command, [self.subject.prefix, name], more);
        }
    }

    /// The command may leave a key without a time to live.
    fn without_ttl(&mut self, fault: TtlFault) -> Judged {
        if matches!(self.rules.missing, Missing::Reject) {
            return self.refuse(fault);
        }
        self.inject();
        Ok(())
    }

    /// The command may leave a key with any time to live.
    fn unknowable(&mut self, fault: TtlFault) -> Judged {
        self.without_ttl(fault)?;
        self.shorten();
        Ok(())
    }

    /// A time to live that the request does not show is cut by a command behind it.
    fn shorten(&mut self) {
        if let Some(max) = &self.rules.max {
            self.follow(max.span.command(), &[&max.span.digits, b"XX", b"LT"]);
        }
    }

    fn inherited(&mut self) -> Judged {
        let request = self.subject.request;
        if matches!(self.rules.missing, Missing::Inject(_) | Missing::Reject)
            && another_database(request, self.subject.moment)
        {
            return self.refuse(TtlFault::OtherDatabase);
        }
        let source = request.arg(1).is_some_and(|name| self.rules.governs(name));
        if matches!(self.rules.missing, Missing::Reject) && !source {
            return self.refuse(TtlFault::Inherited);
        }
        self.inject();
        self.shorten();
        Ok(())
    }

    fn options(&mut self, first: OptionsStart, otherwise: WithoutOption) -> Judged {
        let request = self.subject.request;
        let (mut given, mut kept) = (false, false);
        for option in time_options(request, first) {
            match option {
                Ok(TimeOption::At(time)) => {
                    self.limit(time, true)?;
                    given = true;
                }
                Ok(TimeOption::Keep) => kept = true,
                Ok(TimeOption::Persist) => return self.without_ttl(TtlFault::Ended),
                Err(KeyError::Syntax | KeyError::Refused) => {
                    return self.unknowable(TtlFault::Missing);
                }
                Err(error @ KeyError::NotYetKnown) => return Err(self.subject.unclear(error)),
            }
        }
        match otherwise {
            _ if given => Ok(()),
            WithoutOption::Kept => Ok(()),
            WithoutOption::Lost if !kept && self.keys.governed().count() == self.keys.all.len() => {
                self.append()
            }
            WithoutOption::Lost | WithoutOption::NoTtl => self.without_ttl(TtlFault::Missing),
        }
    }

    /// The command takes the time to live as a further option.
    fn append(&mut self) -> Judged {
        match &self.rules.missing {
            Missing::Allow => {}
            Missing::Inject(default) => {
                self.edits.append_written(2, &default.option);
            }
            Missing::Reject => return self.refuse(TtlFault::Missing),
        }
        Ok(())
    }

    /// `RESTORE` carries the time to live in milliseconds, 0 for none. Its options about the key's last use must stay,
    /// so that no request follows.
    fn restore(&mut self) -> Judged {
        let request = self.subject.request;
        let time = match restore_time(request) {
            Ok(time) => time,
            Err(KeyError::Syntax | KeyError::Refused) => {
                return self.unknowable(TtlFault::Missing);
            }
            Err(error @ KeyError::NotYetKnown) => return Err(self.subject.unclear(error)),
        };
        if request.arg(2) != Some(b"0") {
            return self.limit(time, false);
        }
        match &self.rules.missing {
            Missing::Allow => Ok(()),
            Missing::Reject => self.refuse(TtlFault::Missing),
            Missing::Inject(default) => {
                let begin = if time.absolute { self.subject.moment.unix_ms } else { 0 };
                self.edits.replace_number(2, begin.saturating_add(default.milliseconds));
                Ok(())
            }
        }
    }

    /// Holds a time to live against the maximum. What is no number, or not above zero, is for the
    /// server to refuse, or means that the key goes; so is a sum with the present that overflows,
    /// where the server `checks` that (t_string.c, `getExpireMillisecondsOrReply`; expire.c,
    /// `expireGenericCommand`).
    fn limit(&mut self, time: TimeAt, checks: bool) -> Judged {
        let Some(max) = &self.rules.max else { return Ok(()) };
        let Some(text) = self.subject.request.arg(time.arg as usize) else {
            return Err(self.subject.unclear(KeyError::NotYetKnown));
        };
        let factor = match time.unit {
            Unit::Seconds => 1000,
            Unit::Milliseconds => 1,
        };
        let now = i64::try_from(self.subject.moment.unix_ms).unwrap_or(i64::MAX);
        let number = number::parse_i64(text).filter(|number| *number > 0);
        let Some(asked) = number.and_then(|number| number.checked_mul(factor)) else {
            return Ok(());
        };
        // Half of the present, as clocks differ: what is refused for certain.
        if checks && !time.absolute && asked > i64::MAX - now / 2 {
            return Ok(());
        }
        let begin = if time.absolute { now } else { 0 };
        let allowed = begin.saturating_add(max.milliseconds);
        if asked <= allowed {
            return Ok(());
        }
        if max.exceed == OnExceed::Reject {
            return self.refuse(TtlFault::TooLong(max.milliseconds.unsigned_abs()));
        }
        self.edits.replace_number(time.arg, (allowed / factor).unsigned_abs());
        Ok(())
    }
}

/// Whether `COPY` makes its key in another database than the session's.
fn another_database(request: &Request<'_>, moment: &EvalContext) -> bool {
    let mut arg = 3;
    while let Some(word) = request.arg(arg) {
        if command::is_word(word, b"db") {
            let database = request.arg(arg + 1).and_then(number::parse_length);
            if database != Some(u64::from(moment.database)) {
                return true;
            }
            arg += 1;
        }
        arg += 1;
    }
    false
}

impl Span {
    fn new(milliseconds: i64) -> Self {
        let (unit, value) = if milliseconds % 1000 == 0 {
            (Unit::Seconds, milliseconds / 1000)
        } else {
            (Unit::Milliseconds, milliseconds)
        };
        let digits = value.to_string();
        let mut option = BytesMut::new();
        encode::bulk(&mut option, if unit == Unit::Seconds { "EX" } else { "PX" });
        encode::bulk(&mut option, &digits);
        let digits = digits.into_bytes().into();
        Self { milliseconds: milliseconds.unsigned_abs(), unit, digits, option: (*option).into() }
    }

    /// The command that gives a key this time to live.
    const fn command(&self) -> &'static [u8] {
        match self.unit {
            Unit::Seconds => b"EXPIRE",
            Unit::Milliseconds => b"PEXPIRE",
        }
    }
}

#[cfg(test)]
mod tests;

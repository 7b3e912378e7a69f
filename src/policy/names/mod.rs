//! One application's names among others': the prefix goes before every key and channel of a
//! request, and what must be taken off the reply is returned.
//!
//! Owns: [`Namespace`]: the request's side. Never knows: roles, sessions.
//!
//! `prefix` knows where the prefix is in a channel, `shape` what is taken off a reply; `hidden` what is
//! left out of a list; `strip` takes it off replies, `push` off messages, `error_text` off errors;
//! `key_scan` is `DBSIZE` and `FLUSHDB` over one application's keys.

mod error_text;
mod hidden;
mod key_scan;
mod prefix;
mod push;
mod shape;
mod strip;

pub(crate) use hidden::Hidden;
pub(crate) use key_scan::{KeyScan, Next, ScanAction};
pub(crate) use prefix::Prefix;
pub use shape::Strip;
pub use strip::Stripper;

use std::sync::Arc;

use super::edits::Edits;
use super::keyspace::leaves_prefix;
use super::refusal::Cause;
use crate::command::{
    Access, Does, Effect, KeyError, KeyKind, KeyPosition, KeySpec, PatternAt, Reach, ReplyNames,
    Spec, find_keys, scan_match, streams_begin,
};
use crate::config::{KeyMode, KeyRules};
use crate::resp::Request;
use prefix::{Place, of_channel, of_pattern};

/// The keys and channels of one application; built once, then only read.
#[derive(Debug)]
pub(super) struct Namespace {
    prefix: Arc<Prefix>,
    /// `keys.dbsize`, `keys.flushdb`.
    counts: bool,
    removes: bool,
}

/// What becomes of a request besides its changes.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub strip: Option<Strip>,
    pub key_scan: Option<Box<KeyScan>>,
}

impl Namespace {
    /// None when keys travel as they are.
    pub(crate) fn new(rules: &KeyRules) -> Option<Self> {
        let text = rules.prefix.as_deref().filter(|_| rules.mode == KeyMode::Rewrite)?;
        let prefix = Arc::new(Prefix::new(text.as_bytes()));
        Some(Self { prefix, counts: rules.dbsize, removes: rules.flushdb })
    }

    pub(crate) const fn prefix(&self) -> &Arc<Prefix> {
        &self.prefix
    }

    /// What is done over all keys of the application, one after the other.
    const fn action(&self, reach: Reach) -> Option<ScanAction> {
        if self.counts && matches!(reach, Reach::Database(Does::CountsKeys)) {
            Some(ScanAction::Count)
        } else if self.removes && matches!(reach, Reach::Database(Does::RemovesKeys)) {
            Some(ScanAction::Remove)
        } else {
            None
        }
    }

    /// Notes what must change in a request that the role permits; `named`: by its name.
    ///
    /// # Errors
    ///
    /// When it cannot be kept among the application's own names.
    pub(crate) fn apply(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        named: bool,
        (keys, patterns): (&mut Vec<KeyPosition>, &mut Vec<u32>),
        edits: &mut Edits,
    ) -> Result<Outcome, Cause> {
        let action = self.action(spec.reach);
        let scans = matches!(spec.reach, Reach::Scan(_));
        let mut echoed = 0;
        if spec.hides_keys() {
            return Err(Cause::HiddenKeys);
        }
        if action.is_none() && leaves_prefix(spec.reach, named) {
            return Err(Cause::OthersKeys(spec.reach));
        }
        if let Some(action) = action {
            let key_scan = Box::new(KeyScan::new(Arc::clone(&self.prefix), action));
            return Ok(Outcome { key_scan: Some(key_scan), strip: None });
        }
        if scans {
            scan_match(spec, request, patterns).map_err(cause)?;
            echoed = self.change_patterns(spec, request, patterns, edits);
        } else if !spec.keys.is_empty() {
            match find_keys(spec, request, keys) {
                Ok(()) => {}
                Err(KeyError::Syntax | KeyError::Refused) => {
                    everything_behind(spec, request, keys)?;
                }
                Err(KeyError::NotYetKnown) => return Err(Cause::Incomplete),
            }
        } else if matches!(spec.names, ReplyNames::Errors | ReplyNames::Report) {
            return Ok(Outcome::default());
        } else {
            keys.clear();
        }
        if !scans {
            for at in &*keys {
                self.change(spec, request, at, edits)?;
                echoed |= bit(at.arg);
            }
            self.add_default(spec, request, edits);
        }
        let is_at_end = spec.names == ReplyNames::KeyAtEnd;
        let key = request.arg(2).filter(|_| is_at_end).unwrap_or_default();
        let key_bytes = c_length(key);
        let (prefix, names) = (Arc::clone(&self.prefix), spec.names);
        let strip =
            Strip { prefix, echoed, key_bytes, names, hidden: None, digests: None, loaded: false };
        Ok(Outcome { strip: Some(strip), key_scan: None })
    }

    /// `KEYS`, `SCAN`: every pattern, and one where there is none. Returns [`Strip::echoed`].
    fn change_patterns(
        &self,
        spec: &Spec,
        request: &Request<'_>,
        patterns: &[u32],
        edits: &mut Edits,
    ) -> u64 {
        for arg in patterns {
            edits.insert(*arg, 0, self.prefix.glob());
        }
        if patterns.is_empty() && spec.reach == Reach::Scan(PatternAt::Option) {
            edits.append(b"MATCH");
            edits.append_pieces(&[self.prefix.glob(), b"*"]);
            return u32::try_from(request.len() + 1).map_or(0, bit);
        }
        patterns.iter().fold(0, |echoed, arg| echoed | bit(*arg))
    }

    /// One name.
    fn change(
        &self,
        spec: &Spec,
        request: &Request<'_>,
        at: &KeyPosition,
        edits: &mut Edits,
    ) -> Result<(), Cause> {
        let name = request.arg(at.arg as usize);
        let subscribes = matches!(spec.effect, Effect::Subscribe | Effect::Unsubscribe);
        let place = match at.kind {
            KeyKind::Key | KeyKind::ShardChannel => Place::At(0),
            KeyKind::KeyPattern if self.prefix.text().contains(&b'*') => {
                return Err(Cause::StarInPrefix);
            }
            KeyKind::KeyPattern => Place::At(at.start as usize),
            KeyKind::KeyPrefix if name.is_none() => {
                // BCAST alone: the prefix is where the client's would.
                edits.append(b"PREFIX");
                edits.append(self.prefix.text());
                return Ok(());
            }
            KeyKind::KeyPrefix => Place::At(0),
            KeyKind::Channel => match of_channel(name.unwrap_or_default()) {
                // No client can forge what the server publishes, or count the subscribers of others.
                _ if at.access.write => Place::At(0),
                Place::Nowhere if !subscribes => Place::At(0),
                place @ (Place::At(_) | Place::Nowhere | Place::Refused) => place,
            },
            KeyKind::ChannelPattern if subscribes => match of_pattern(name.unwrap_or_default()) {
                // Unsubscribing from what was never subscribed to.
                Place::Refused if at.access == Access::NONE => Place::At(0),
                place @ (Place::At(_) | Place::Nowhere | Place::Refused) => place,
            },
            KeyKind::ChannelPattern => Place::At(0),
        };
        match place {
            Place::At(begin) => {
                let is_glob = at.kind == KeyKind::ChannelPattern;
                let text = if is_glob { self.prefix.glob() } else { self.prefix.text() };
                edits.insert(at.arg, u32::try_from(begin).unwrap_or(0), text);
                Ok(())
            }
            Place::Nowhere => Ok(()),
            Place::Refused => Err(Cause::ServerChannels),
        }
    }

    /// `PUBSUB CHANNELS` without a pattern.
    fn add_default(&self, spec: &Spec, request: &Request<'_>, edits: &mut Edits) {
        if spec.reach == Reach::ChannelScan && request.len() == 2 {
            edits.append_pieces(&[self.prefix.glob(), b"*"]);
        }
    }
}

/// An argument in [`Strip::echoed`]; those far behind are not repeated.
fn bit(arg: u32) -> u64 {
    1_u64.checked_shl(arg).unwrap_or(0)
}

const fn cause(error: KeyError) -> Cause {
    match error {
        KeyError::Syntax | KeyError::Refused => Cause::Syntax,
        KeyError::NotYetKnown => Cause::Incomplete,
    }
}

/// Bytes up to a NUL.
fn c_length(text: &[u8]) -> u32 {
    let length = memchr::memchr(0, text).unwrap_or(text.len());
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The server refuses a request with a wrong number of keys, each command with its own error, and the
/// client gets that error: this finds everything that could be a key there, to get the prefix or to be left away.
///
/// # Errors
///
/// When that is unknown, or the request is incomplete.
pub(crate) fn everything_behind(
    spec: &Spec,
    request: &Request<'_>,
    keys: &mut Vec<KeyPosition>,
) -> Result<(), Cause> {
    keys.clear();
    let key = |arg: usize| {
        let (kind, access) = (KeyKind::Key, Access::READ_WRITE);
        KeyPosition { arg: u32::try_from(arg).unwrap_or(u32::MAX), start: 0, len: 0, kind, access }
    };
    let mut first = None;
    for known in spec.keys {
        match *known {
            KeySpec::At { arg, .. } => keys.push(key(arg)),
            KeySpec::Counted { count, .. } => first = Some(count + 1),
            KeySpec::Streams => first = Some(streams_begin(request, |_| ()).map_err(cause)?),
            KeySpec::Span { .. }
            | KeySpec::Set
            | KeySpec::Bitfield
            | KeySpec::Sort { .. }
            | KeySpec::GeoStore { .. }
            | KeySpec::Migrate
            | KeySpec::Debug
            | KeySpec::Tracking
            | KeySpec::Unknown => return Err(Cause::Syntax),
        }
    }
    let first = first.ok_or(Cause::Syntax)?;
    if request.available() < request.len() {
        return Err(Cause::Incomplete);
    }
    keys.retain(|at| (at.arg as usize) < first);
    keys.extend((first..request.len()).map(key));
    Ok(())
}

#[cfg(test)]
mod tests;

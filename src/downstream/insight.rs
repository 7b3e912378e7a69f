//! Slow commands, hot keys and big keys of one thread: what of the traffic is looked at, and how keys
//! are shown.
//!
//! Owns: [`Insight`], [`first_key`]. Never knows: sockets, readers of the results.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::Audit;
use crate::base::limits;
use crate::command::{KeyKind, KeyPosition, KeySpec, Lookup, Spec, find_keys, lookup};
use crate::config;
use crate::policy::Policy;
use crate::resp::{Request, RequestLimits, RequestScanner, Scan, number};
use crate::telemetry::redact::KeyMask;
use crate::telemetry::{Found, HotKeys, Slow, SlowLog};
use crate::upstream::Notable;

/// What is listed for a key that is not to be shown.
const HIDDEN: &str = "(not shown)";

/// Everything that was found, for all connections of the thread.
#[derive(Debug)]
pub(super) struct Insight {
    slow: RefCell<SlowLog>,
    hot: RefCell<HotKeys>,
    keys: RefCell<Vec<KeyPosition>>,
    mask: KeyMask,
    /// How the audit log shows keys holds here too.
    audit: Option<Arc<Audit>>,
    /// From this time on a command is slow.
    threshold: Cell<Duration>,
    /// Slow commands or large replies are looked for.
    follows: Cell<bool>,
    /// One command of many is looked at, or large ones are.
    samples: Cell<bool>,
    /// Commands until the next one is looked at.
    until: Cell<u64>,
    /// A request from so many bytes on may hold a big value.
    large: Cell<usize>,
}

impl Insight {
    pub(super) fn new(
        settings: &config::Insight,
        seed: u64,
        mask: KeyMask,
        audit: Option<Arc<Audit>>,
    ) -> Self {
        let insight = Self {
            slow: RefCell::new(SlowLog::new(settings.slow.clone())),
            hot: RefCell::new(HotKeys::new(settings.hot.clone(), seed)),
            keys: RefCell::default(),
            mask,
            audit,
            threshold: Cell::new(Duration::MAX),
            follows: Cell::new(false),
            samples: Cell::new(false),
            until: Cell::new(1),
            large: Cell::new(usize::MAX),
        };
        insight.note_settings(settings);
        insight
    }

    fn note_settings(&self, settings: &config::Insight) {
        let threshold = settings.slow.threshold;
        self.threshold.set(if threshold.is_zero() { Duration::MAX } else { threshold });
        self.follows.set(!settings.slow.threshold.is_zero() || settings.hot.big > 0);
        self.samples.set(settings.hot.sample > 0 || settings.hot.big > 0);
        self.until.set(if settings.hot.sample == 0 { u64::MAX } else { 1 });
        let large = usize::try_from(settings.hot.big).unwrap_or(usize::MAX);
        self.large.set(if large == 0 { usize::MAX } else { large });
    }

    /// Other settings are in force. Keys that were counted otherwise are forgotten.
    pub(super) fn set(&self, settings: &config::Insight, seed: u64) {
        self.slow.borrow_mut().set(settings.slow.clone());
        let mut hot = self.hot.borrow_mut();
        if *hot.settings() != settings.hot {
            *hot = HotKeys::new(settings.hot.clone(), seed);
        }
        self.note_settings(settings);
    }

    #[inline]
    pub(super) const fn follows(&self) -> bool {
        self.follows.get()
    }

    /// Of which requests the connections to the server keep the key.
    pub(super) fn notable(&self) -> Notable {
        Notable { slow: self.threshold.get(), large: self.large.get(), key: key_place }
    }

    #[inline]
    pub(super) const fn samples(&self) -> bool {
        self.samples.get()
    }

    /// A command that may pass. Most are only counted.
    #[inline]
    pub(super) fn sample(
        &self,
        policy: &Policy,
        spec: Option<&'static Spec>,
        request: &Request<'_>,
        now: Instant,
    ) {
        let left = self.until.get();
        let small = request.announced().is_none() && request.raw().len() < self.large.get();
        if left > 1 && small {
            return self.until.set(left - 1);
        }
        self.look(policy, spec, request, now);
    }

    fn look(
        &self,
        policy: &Policy,
        spec: Option<&'static Spec>,
        request: &Request<'_>,
        now: Instant,
    ) {
        let mut hot = self.hot.borrow_mut();
        let drawn = self.until.get() <= 1;
        self.until.set(if drawn { hot.distance() } else { self.until.get() - 1 });
        let size = request.announced().unwrap_or_else(|| request.raw().len() as u64);
        let big = hot.is_big(size);
        let Some(spec) = spec.filter(|_| drawn || big) else { return };
        if big && let Some(key) = first_key(spec, request) {
            hot.note_size(policy.section(), key, size, now);
        }
        let mut keys = self.keys.borrow_mut();
        if drawn && find_keys(spec, request, &mut keys).is_ok() {
            let named =
                keys.iter().filter(|key| key.kind == KeyKind::Key).take(limits::COUNTED_KEYS_MAX);
            named.for_each(|key| hot.note(policy.section(), key.name(request), now));
        }
    }

    /// A reply of so many bytes has come for this key.
    pub(super) fn note_reply(&self, policy: &Policy, key: &[u8], bytes: u64, now: Instant) {
        let mut hot = self.hot.borrow_mut();
        if hot.is_big(bytes) {
            hot.note_size(policy.section(), key, bytes, now);
        }
    }

    #[inline]
    pub(super) fn takes(&self, total: Duration) -> bool {
        total >= self.threshold.get()
    }

    /// Whether a reply is late enough or large enough to be looked at.
    #[inline]
    pub(super) fn is_notable(&self, took: Duration, bytes: usize) -> bool {
        took >= self.threshold.get() || bytes >= self.large.get()
    }

    pub(super) fn note_slow(&self, slow: Slow) {
        self.slow.borrow_mut().note(slow);
    }

    /// A key as it may be shown, if it may be.
    pub(super) fn show(&self, key: &[u8]) -> Option<String> {
        match &self.audit {
            Some(audit) => audit.redaction().show(key),
            None => Some(self.mask.mark(key).to_string()),
        }
    }

    pub(super) fn slow(&self) -> Vec<Slow> {
        self.slow.borrow().entries().cloned().collect()
    }

    pub(super) fn forget_slow(&self) -> usize {
        self.slow.borrow_mut().reset()
    }

    /// What was found about keys, each shown as it may be.
    pub(super) fn hot(&self, now: Instant) -> Vec<Found> {
        let mut found = self.hot.borrow().found(now);
        let shown = |key: &[u8]| self.show(key).unwrap_or_else(|| HIDDEN.to_owned()).into_bytes();
        for of in &mut found {
            of.hot.iter_mut().for_each(|key| key.item = shown(&key.item).into());
            of.big.iter_mut().for_each(|(key, _)| *key = shown(key).into());
        }
        found
    }

    pub(super) fn forget_hot(&self) {
        self.hot.borrow_mut().reset();
    }
}

/// Where the first key is in the first of the requests in `bytes`, as far as it is compared.
fn key_place(bytes: &[u8]) -> Option<Range<usize>> {
    let mut scanner = RequestScanner::default();
    let Ok(Scan::Request { .. }) = scanner.scan(bytes, &RequestLimits::NONE) else { return None };
    let request = scanner.request(bytes);
    let Lookup::Command(spec) = lookup(&request) else { return None };
    let place = request.place(first_key_arg(spec, &request)?)?;
    Some(place.start..place.end.min(place.start + limits::HOT_KEY_BYTES_MAX))
}

/// The first key, where that needs no search.
pub(super) fn first_key<'a>(spec: &Spec, request: &Request<'a>) -> Option<&'a [u8]> {
    request.arg(first_key_arg(spec, request)?)
}

fn first_key_arg(spec: &Spec, request: &Request<'_>) -> Option<usize> {
    match *spec.keys.first()? {
        KeySpec::At { arg, kind: KeyKind::Key, .. } => Some(arg),
        KeySpec::Span { first, kind: KeyKind::Key, .. } => Some(first),
        KeySpec::Counted { count, .. } => {
            let keys = number::parse_i64(request.arg(count)?)?;
            (keys > 0).then_some(count + 1)
        }
        KeySpec::Set | KeySpec::Bitfield | KeySpec::Sort { .. } | KeySpec::GeoStore { .. } => {
            Some(1)
        }
        KeySpec::At { .. }
        | KeySpec::Span { .. }
        | KeySpec::Streams
        | KeySpec::Migrate
        | KeySpec::Debug
        | KeySpec::Tracking
        | KeySpec::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::resp::RequestBuf;

    #[test]
    fn key_of_a_sent_request_is_found_in_its_bytes() {
        let long = "k".repeat(2 * limits::HOT_KEY_BYTES_MAX);
        for (args, expected) in [
            (&["GET", "a"][..], Some("a")),
            (&["MSET", "a", "1", "b", "2"], Some("a")),
            (&["EVAL", "return 1", "2", "a", "b"], Some("a")),
            (&["EVAL", "return 1", "0", "value"], None),
            (&["EVAL", "return 1", "x", "value"], None),
            (&["OBJECT", "ENCODING", "a"], Some("a")),
            (&["SET", &long, "v"], Some(&long[..limits::HOT_KEY_BYTES_MAX])),
            (&["PING"], None),
            (&["NOTHING", "a"], None),
            (&["MULTI"], None),
        ] {
            let request = RequestBuf::from_args(args);
            let bytes = request.as_request().raw().to_vec();
            let place = key_place(&bytes);
            let found = place.map(|place| std::str::from_utf8(&bytes[place]).unwrap());
            assert_eq!(found, expected, "{args:?}");
        }
    }
}

//! Slow commands, hot keys and big keys of one thread: what of the traffic is looked at, and how keys
//! are shown.
//!
//! Owns: [`Insight`], [`Notes`], [`Counts`]. Never knows: sockets, who asks for what was found.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::meter::Tally;
use crate::command::{KeyAt, KeyKind, KeySpec, Spec, find_keys};
use crate::config;
use crate::policy::Policy;
use crate::resp::Request;
use crate::session::{Class, Completed};
use crate::telemetry::redact::KeyMask;
use crate::telemetry::{Found, HotKeys, KEY_BYTES_MAX, Slow, SlowLog};
use crate::traffic::Ticket;
use crate::upstream::Mailbox;

/// Keys of one command that are counted.
const KEYS_MAX: usize = 32;
/// Places kept allocated for an idle client.
const NOTES_KEPT: usize = 16;
/// A key up to this length costs no allocation.
const SHORT_BYTES: usize = 47;

/// Everything that was found, for all connections of the thread.
#[derive(Debug)]
pub(super) struct Insight {
    slow: RefCell<SlowLog>,
    hot: RefCell<HotKeys>,
    keys: RefCell<Vec<KeyAt>>,
    mask: KeyMask,
    /// Every command is followed until it is answered.
    follows: Cell<bool>,
    /// One command of many is looked at, or large ones are.
    samples: Cell<bool>,
    /// Commands until the next one is looked at.
    until: Cell<u64>,
    /// A request from so many bytes on may hold a big value.
    large: Cell<usize>,
}

impl Insight {
    pub(super) fn new(settings: &config::Insight, seed: u64, mask: KeyMask) -> Self {
        let insight = Self {
            slow: RefCell::new(SlowLog::new(settings.slow.clone())),
            hot: RefCell::new(HotKeys::new(settings.hot.clone(), seed)),
            keys: RefCell::default(),
            mask,
            follows: Cell::new(false),
            samples: Cell::new(false),
            until: Cell::new(1),
            large: Cell::new(usize::MAX),
        };
        insight.note_settings(settings);
        insight
    }

    fn note_settings(&self, settings: &config::Insight) {
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
            let named = keys.iter().filter(|key| key.kind == KeyKind::Key).take(KEYS_MAX);
            named.for_each(|key| hot.note(policy.section(), key.name(request), now));
        }
    }

    /// A reply of so many bytes has come for this key.
    fn note_reply(&self, policy: &Policy, key: &[u8], bytes: u64, now: Instant) {
        let mut hot = self.hot.borrow_mut();
        if hot.is_big(bytes) {
            hot.note_size(policy.section(), key, bytes, now);
        }
    }

    fn takes(&self, total: Duration) -> bool {
        self.slow.borrow().takes(total)
    }

    pub(super) fn note_slow(&self, slow: Slow) {
        self.slow.borrow_mut().note(slow);
    }

    /// A key as it may be shown.
    pub(super) fn show(&self, key: &[u8]) -> String {
        self.mask.mark(key).to_string()
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
        for of in &mut found {
            of.hot.iter_mut().for_each(|key| key.item = self.show(&key.item).into_bytes().into());
            of.big.iter_mut().for_each(|(key, _)| *key = self.show(key).into_bytes().into());
        }
        found
    }

    pub(super) fn forget_hot(&self) {
        self.hot.borrow_mut().reset();
    }
}

/// The first key, where that needs no search.
fn first_key<'a>(spec: &Spec, request: &Request<'a>) -> Option<&'a [u8]> {
    let arg = match *spec.keys.first()? {
        KeySpec::At { arg, kind: KeyKind::Key, .. } => arg,
        KeySpec::Span { first, kind: KeyKind::Key, .. } => first,
        KeySpec::Counted { count, .. } => count + 1,
        KeySpec::Set | KeySpec::Bitfield | KeySpec::Sort { .. } | KeySpec::GeoStore { .. } => 1,
        KeySpec::At { .. }
        | KeySpec::Span { .. }
        | KeySpec::Streams
        | KeySpec::Migrate
        | KeySpec::Debug
        | KeySpec::Tracking
        | KeySpec::Unknown => return None,
    };
    request.arg(arg)
}

/// A key, up to [`KEY_BYTES_MAX`].
#[derive(Debug)]
enum Key {
    Short(u8, [u8; SHORT_BYTES]),
    Long(Box<[u8]>),
}

impl Key {
    fn new(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT_BYTES];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(bytes);
                Self::Short(len, short)
            }
            _ => Self::Long(bytes.get(..KEY_BYTES_MAX).unwrap_or(bytes).into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

/// A command on its way.
#[derive(Debug)]
pub(super) struct Note {
    ticket: Ticket,
    spec: &'static Spec,
    key: Option<Key>,
    /// When it was sent, and how long it had waited before.
    pub at: Instant,
    pub waited: Duration,
}

/// A slow command, with what is known of its time.
#[derive(Debug)]
pub(super) struct Late {
    pub spec: &'static Spec,
    pub key: Option<String>,
    pub total: Duration,
    pub waiting: Duration,
    pub upstream: Duration,
    pub error: bool,
}

/// The commands of one client that are on their way, while every command is followed.
#[derive(Debug, Default)]
pub(super) struct Notes {
    line: VecDeque<Note>,
    /// Since when the request at hand has waited.
    begun: Option<Instant>,
    /// Slow ones that are to be written down.
    late: Vec<Late>,
}

/// What belongs to the counting of one client.
#[derive(Debug)]
pub(super) struct Counts {
    /// By its policy.
    pub tally: Tally,
    pub notes: Notes,
}

impl Counts {
    pub(super) fn new(tally: Tally) -> Self {
        Self { tally, notes: Notes::default() }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub ticket: Ticket,
    pub now: Instant,
    /// Of the time since it was sent: without a connection, and at the server.
    pub waited: Duration,
    pub upstream: Duration,
    pub bytes: usize,
    pub error: bool,
    /// It waited for others' writes, which is not slow.
    pub blocking: bool,
}

impl End {
    pub(super) fn of(done: &Completed, now: Instant, waited: Duration, upstream: Duration) -> Self {
        let Completed { ticket, bytes, error, class, .. } = *done;
        Self { ticket, now, waited, upstream, bytes, error, blocking: class == Class::Blocking }
    }
}

impl Notes {
    /// The request at hand has to wait.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
    }

    /// The request at hand was dealt with otherwise.
    pub(super) const fn forget_begin(&mut self) {
        self.begun = None;
    }

    /// The request at hand is sent.
    pub(super) fn send(
        &mut self,
        ticket: Ticket,
        spec: &'static Spec,
        request: &Request<'_>,
        now: Instant,
    ) {
        let waited = self.begun.take().map_or(Duration::ZERO, |since| now - since);
        let key = first_key(spec, request).map(Key::new);
        self.line.push_back(Note { ticket, spec, key, at: now, waited });
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// The command of this ticket is answered, or will not be.
    pub(super) fn end(&mut self, insight: &Insight, policy: &Policy, end: End) {
        while self.line.front().is_some_and(|note| note.ticket < end.ticket) {
            self.line.pop_front();
        }
        let Some(note) = self.line.pop_front_if(|note| note.ticket == end.ticket) else { return };
        if let Some(key) = &note.key {
            insight.note_reply(policy, key.bytes(), end.bytes as u64, end.now);
        }
        let total = note.waited + end.now.saturating_duration_since(note.at);
        if !end.blocking && insight.takes(total) {
            self.late.push(Late {
                spec: note.spec,
                key: note.key.map(|key| insight.show(key.bytes())),
                total,
                waiting: note.waited + end.waited,
                upstream: end.upstream,
                error: end.error,
            });
        }
    }

    /// The command of this ticket will not be answered: all its time was spent at the server, or on
    /// waiting for one.
    pub(super) fn lose(
        &mut self,
        insight: &Insight,
        policy: &Policy,
        done: &Completed,
        now: Instant,
        mailbox: &Mailbox,
    ) {
        let since = now.saturating_duration_since(done.at);
        let waited = mailbox.take_wait(done.ticket);
        self.end(insight, policy, End::of(done, now, waited, since.saturating_sub(waited)));
    }

    /// Nothing is on its way.
    pub(super) fn clear(&mut self) {
        self.line.clear();
        if self.line.capacity() > NOTES_KEPT {
            self.line = VecDeque::new();
        }
    }

    pub(super) fn take_late(&mut self) -> Vec<Late> {
        std::mem::take(&mut self.late)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.line.capacity() * size_of::<Note>()
    }
}

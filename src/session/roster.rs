//! All clients that are connected to this respgate, and what each shows of itself.
//!
//! Owns: [`Roster`], [`ClientEntry`], [`Figures`]. Never knows: sockets, commands, how a client is described.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::client_info::{ClientInfo, Form};
use super::peer::{Peer, PeerCertificate};
use super::users::Name;
use crate::base::limits;
use crate::command::Spec;
use crate::policy::{Blocked, Blocks, Policy, Prefix, Refusal, Subject};
use crate::resp::Protocol;
use crate::telemetry::ClientDisconnect;
use crate::traffic::Server;

/// What `flags=` shows of a client, in the order of the letters (redis networking.c
/// `catClientInfoString`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u16);

impl Marks {
    pub const MONITOR: Self = Self(1);
    pub const PUBSUB: Self = Self(1 << 1);
    pub const MULTI: Self = Self(1 << 2);
    pub const BLOCKED: Self = Self(1 << 3);
    pub const TRACKING: Self = Self(1 << 4);
    pub const BROKEN_REDIRECT: Self = Self(1 << 5);
    pub const BROADCAST: Self = Self(1 << 6);
    pub const DIRTY: Self = Self(1 << 7);
    pub const CLOSING: Self = Self(1 << 8);
    pub const UNIX: Self = Self(1 << 9);
    pub const READS_ONLY: Self = Self(1 << 10);
    pub const NO_EVICT: Self = Self(1 << 11);
    pub const NO_TOUCH: Self = Self(1 << 12);
    pub const IMPORT_SOURCE: Self = Self(1 << 13);
    pub const REPLICA: Self = Self(1 << 14);

    /// The letters, each at the place of its bit.
    const LETTERS: &'static [u8; 15] = b"OPxbtRBdcUreTIS";

    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn set(&mut self, other: Self, on: bool) {
        self.0 |= other.0 * on as u16;
    }

    pub(super) fn letters(self) -> impl Iterator<Item = u8> {
        let bits = self.0;
        let own = Self::LETTERS.iter().enumerate().filter(move |(at, _)| bits & (1 << at) != 0);
        own.map(|(_, letter)| *letter).chain((bits == 0).then_some(b'N'))
    }
}

/// What of a client changes with its requests. Written once a turn.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub database: u32,
    pub protocol: Protocol,
    /// The client has no state but those two, and the figures say so.
    pub usual: bool,
    pub channels: u64,
    pub patterns: u64,
    pub shards: u64,
    /// Commands queued since MULTI.
    pub queued: Option<u32>,
    /// Bytes of them.
    pub queued_bytes: usize,
    /// Keys named in WATCH.
    pub watched: u32,
    pub marks: Marks,
    pub command: Option<&'static Spec>,
    /// When bytes of it last arrived or were last written to it.
    pub active: Instant,
    /// Bytes of its requests that wait, room for more, and the arguments of the request at hand.
    pub unread: usize,
    pub room: usize,
    pub arguments: usize,
    /// Room for its replies, and those that it has not taken.
    pub reply_room: usize,
    pub unwritten: usize,
    /// All that is kept for it.
    pub held: usize,
    pub received: u64,
    pub sent: u64,
    pub commands: u64,
    /// The client that receives its invalidations: -1 without tracking, 0 for itself.
    pub redirect: i64,
    /// The number at the server of its pinned connection; 0 without.
    pub link: u64,
}

impl Figures {
    fn new(now: Instant) -> Self {
        Self {
            database: 0,
            protocol: Protocol::Resp2,
            usual: false,
            channels: 0,
            patterns: 0,
            shards: 0,
            queued: None,
            queued_bytes: 0,
            watched: 0,
            marks: Marks::default(),
            command: None,
            active: now,
            unread: 0,
            room: 0,
            arguments: 0,
            reply_room: 0,
            unwritten: 0,
            held: 0,
            received: 0,
            sent: 0,
            commands: 0,
            redirect: -1,
            link: 0,
        }
    }
}

/// One client's place on the roster.
#[derive(Debug)]
pub struct ClientEntry {
    pub id: u64,
    pub(super) peer: Peer,
    pub(super) since: Instant,
    figures: RefCell<Figures>,
    pub(super) client_info: RefCell<Option<Box<ClientInfo>>>,
    pub(super) user: RefCell<Name>,
    /// The policy in force for the client; only clients of the same one see each other.
    policy: Cell<usize>,
    killed: Cell<bool>,
    /// Why its connection is to end at the next boundary between replies, and when at the latest.
    retired: Cell<Option<(ClientDisconnect, Instant)>>,
    /// Either of both.
    is_to_end: Cell<bool>,
    /// What an operator has denied to it; the first is whether there is anything.
    is_blocked: Cell<bool>,
    blocked: RefCell<Option<Blocked>>,
    /// More is denied to it than before.
    newly_blocked: Cell<bool>,
    aimed: Cell<bool>,
    /// The client receives another one's invalidations, on its pinned connection.
    target: Cell<bool>,
    /// The client is to receive another one's invalidations, and has no pinned connection yet.
    wanted: Cell<bool>,
    /// The prefix of those keys.
    names: RefCell<Option<Arc<Prefix>>>,
}

impl ClientEntry {
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The user of the client.
    #[must_use]
    pub fn user(&self) -> Name {
        self.user.borrow().clone()
    }

    /// What the client calls itself, if it does, as far as operators are shown it.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let client_info = self.client_info.borrow();
        let name = client_info
            .as_ref()
            .map(|client_info| &client_info.name)
            .filter(|name| !name.is_empty())?;
        Some(shown(name))
    }

    /// Whether the client calls itself so.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let client_info = self.client_info.borrow();
        client_info.as_ref().map_or(&[][..], |client_info| &client_info.name) == name.as_bytes()
    }

    /// RESET: what the client's library said of itself stays (redis networking.c
    /// `clearClientConnectionState`).
    pub(super) fn forget_name(&self) {
        if let Some(client_info) = &mut *self.client_info.borrow_mut() {
            client_info.name = Vec::new();
        }
    }

    /// What the client has set of itself, to be changed.
    pub(super) fn client_info_mut(&self) -> RefMut<'_, ClientInfo> {
        RefMut::map(self.client_info.borrow_mut(), |client_info| {
            &mut **client_info.get_or_insert_default()
        })
    }

    /// Bytes that are kept of the client's own words.
    #[inline]
    pub(super) fn held_bytes(&self) -> usize {
        self.client_info.borrow().as_ref().map_or(0, |client_info| client_info.held_bytes())
    }

    #[must_use]
    pub fn figures(&self) -> Figures {
        *self.figures.borrow()
    }

    /// Writes what has changed in place: this happens once a turn of every client.
    #[inline]
    pub fn show(&self, write: impl FnOnce(&mut Figures)) {
        write(&mut self.figures.borrow_mut());
    }

    /// Another policy is in force.
    pub fn note_policy(&self, policy: &Arc<Policy>) {
        self.policy.set(Arc::as_ptr(policy).addr());
    }

    /// Whether another client has killed it.
    #[must_use]
    pub const fn is_killed(&self) -> bool {
        self.killed.get()
    }

    /// Whether its connection is to end: [`Self::is_killed`] or [`Self::retired`].
    #[must_use]
    pub const fn is_to_end(&self) -> bool {
        self.is_to_end.get()
    }

    /// Why its connection is to end once no reply is outstanding, and when in any case.
    #[must_use]
    pub const fn retired(&self) -> Option<(ClientDisconnect, Instant)> {
        self.retired.get()
    }

    /// Whether an operator has denied anything to it.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }

    /// Whether more is denied to it than when this was asked last.
    #[must_use]
    pub const fn take_newly_blocked(&self) -> bool {
        self.newly_blocked.replace(false)
    }

    /// Why it may not use a command, if an operator has denied it.
    #[must_use]
    #[inline]
    pub fn block_of(&self, spec: &'static Spec) -> Option<Refusal> {
        if !self.is_blocked.get() {
            return None;
        }
        self.blocked.borrow().as_ref().and_then(|blocked| blocked.refusal(spec))
    }

    /// An UNBLOCK for its pinned connection is in flight, which must not reach another client there.
    pub(super) fn aim(&self) {
        self.aimed.set(true);
    }

    /// Whether its pinned connection may be lent to others.
    #[must_use]
    pub const fn is_aimed_at(&self) -> bool {
        self.aimed.get()
    }

    /// The client has another pinned connection.
    pub fn forget_aim(&self) {
        self.aimed.set(false);
    }
}

/// Redirected invalidations.
impl ClientEntry {
    /// From now on its pinned connection stays: it receives another client's invalidations.
    pub(super) fn become_target(&self, names: Option<Arc<Prefix>>) {
        self.target.set(true);
        if names.is_some() {
            self.names.replace(names);
        }
    }

    /// Whether another client waits for it to have a pinned connection.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    /// The client has a pinned connection, which stays, or cannot have any.
    pub fn end_want(&self, stays: bool) {
        if self.wanted.take() {
            self.target.set(stays);
        }
    }

    pub(super) fn names(&self) -> Option<Arc<Prefix>> {
        self.names.borrow().clone()
    }

    pub(super) const fn is_target(&self) -> bool {
        self.target.get()
    }

    pub(super) fn end_target(&self) {
        self.target.set(false);
    }
}

/// All clients of one thread, in the order in which they came.
#[derive(Debug)]
pub struct Roster {
    entries: RefCell<BTreeMap<u64, Rc<ClientEntry>>>,
    now: Cell<Instant>,
    server: Cell<Server>,
    form: RefCell<Form>,
    /// Clients that must be woken.
    due: RefCell<Vec<u64>>,
    blocks: RefCell<Arc<Blocks>>,
}

impl Roster {
    #[must_use]
    pub fn new(now: Instant) -> Rc<Self> {
        Rc::new(Self {
            entries: RefCell::default(),
            now: Cell::new(now),
            server: Cell::default(),
            form: RefCell::default(),
            due: RefCell::default(),
            blocks: RefCell::default(),
        })
    }

    /// A client comes in.
    #[must_use]
    pub fn enter(&self, id: u64, peer: Peer, now: Instant) -> Rc<ClientEntry> {
        let entry = Rc::new(ClientEntry {
            id,
            peer,
            since: now,
            figures: RefCell::new(Figures::new(now)),
            client_info: RefCell::default(),
            user: RefCell::default(),
            policy: Cell::new(0),
            killed: Cell::new(false),
            retired: Cell::new(None),
            is_to_end: Cell::new(false),
            is_blocked: Cell::new(false),
            blocked: RefCell::default(),
            newly_blocked: Cell::new(false),
            aimed: Cell::new(false),
            target: Cell::new(false),
            wanted: Cell::new(false),
            names: RefCell::default(),
        });
        self.settle_blocks(&entry, true);
        let before = self.entries.borrow_mut().insert(id, Rc::clone(&entry));
        debug_assert!(before.is_none(), "two clients have one number");
        entry
    }

    /// The client has this user from here on.
    pub(super) fn note_user(&self, entry: &ClientEntry, user: &Name) {
        entry.user.replace(user.clone());
        self.settle_blocks(entry, true);
    }

    /// An operator denies this from here on, and nothing else; `more`: something was added.
    pub fn note_blocks(&self, blocks: &Arc<Blocks>, more: bool) {
        self.blocks.replace(Arc::clone(blocks));
        self.entries().iter().for_each(|entry| self.settle_blocks(entry, more));
    }

    fn settle_blocks(&self, entry: &ClientEntry, more: bool) {
        let user = entry.user.borrow();
        let client = Subject {
            user: user.as_str(),
            listener: &entry.peer.listener,
            uid: entry.peer.uid(),
            certificate: entry.peer.certificate().map(|own| (&*own.names, &*own.fingerprint)),
        };
        let blocked = self.blocks.borrow().of(client);
        entry.is_blocked.set(blocked.is_some());
        entry.newly_blocked.set(more && blocked.is_some());
        entry.blocked.replace(blocked);
    }

    /// Whether an operator has denied everything to those that show this certificate.
    #[must_use]
    pub fn blocks_certificate(&self, certificate: &PeerCertificate) -> bool {
        self.blocks.borrow().denies_certificate(&certificate.names, &certificate.fingerprint)
    }

    /// All clients, in the order in which they came.
    pub(super) fn entries(&self) -> Vec<Rc<ClientEntry>> {
        self.entries.borrow().values().map(Rc::clone).collect()
    }

    /// A client is gone.
    pub fn remove(&self, id: u64) {
        let entry = self.entries.borrow_mut().remove(&id);
        debug_assert!(entry.is_some(), "a client is removed twice");
    }

    /// What time it is in this turn.
    pub fn note_time(&self, now: Instant) {
        self.now.set(now);
    }

    pub(super) const fn now(&self) -> Instant {
        self.now.get()
    }

    pub(super) fn note_server(&self, server: Server) {
        self.server.set(server);
    }

    pub(super) const fn server(&self) -> Server {
        self.server.get()
    }

    pub(super) fn form(&self) -> Ref<'_, Form> {
        self.form.borrow()
    }

    pub(super) fn note_form(&self, form: Form) {
        *self.form.borrow_mut() = form;
    }

    /// The client of this number, if `own` may know of it.
    pub(super) fn find(&self, own: &ClientEntry, id: i64) -> Option<Rc<ClientEntry>> {
        let entries = self.entries.borrow();
        let entry = entries.get(&u64::try_from(id).ok()?)?;
        is_known(own, entry).then(|| Rc::clone(entry))
    }

    /// All clients of which `own` may know, in the order in which they came.
    pub(super) fn all(&self, own: &ClientEntry) -> Vec<Rc<ClientEntry>> {
        let entries = self.entries.borrow();
        entries.values().filter(|entry| is_known(own, entry)).map(Rc::clone).collect()
    }

    /// A client is to get a pinned connection.
    pub(super) fn want(&self, entry: &ClientEntry) {
        if !entry.wanted.replace(true) {
            self.due.borrow_mut().push(entry.id);
        }
    }

    /// A client is to be disconnected.
    pub(super) fn kill(&self, entry: &ClientEntry) {
        debug_assert!(!entry.is_killed(), "a client is killed twice");
        entry.killed.set(true);
        entry.is_to_end.set(true);
        self.due.borrow_mut().push(entry.id);
    }

    /// The connection of a client is to end: once no reply is outstanding, and at `until` in any case. One for which
    /// that was said before is only woken.
    pub fn retire(&self, id: u64, why: ClientDisconnect, until: Instant) {
        if let Some(entry) = self.entries.borrow().get(&id) {
            entry.retired.set(entry.retired.get().or(Some((why, until))));
            entry.is_to_end.set(true);
            self.due.borrow_mut().push(id);
        }
    }

    #[must_use]
    pub fn has_due(&self) -> bool {
        !self.due.borrow().is_empty()
    }

    /// Clients that must be woken, once.
    pub fn take_due(&self) -> Vec<u64> {
        std::mem::take(&mut *self.due.borrow_mut())
    }
}

/// What a client has set of itself, as far as operators are shown it: a name may be as long as an argument.
pub(super) fn shown(text: &[u8]) -> String {
    let most = limits::SHOWN_NAME_BYTES_MAX;
    let begin = text.get(..most).unwrap_or(text);
    debug_assert!(begin.len() <= most, "a name is shown as a whole however long it is");
    let end = if text.len() > most { "…" } else { "" };
    format!("{}{end}", String::from_utf8_lossy(begin))
}

fn is_known(own: &ClientEntry, entry: &ClientEntry) -> bool {
    entry.policy.get() == own.policy.get() && !entry.is_killed()
}

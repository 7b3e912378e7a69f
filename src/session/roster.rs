//! All clients that are connected to this respgate, and what each shows of itself.
//!
//! Owns: [`Roster`], [`ClientEntry`]. Never knows: sockets, commands, how a client is described.

use std::cell::{Cell, OnceCell, Ref, RefCell, RefMut};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use super::client_info::{ClientInfo, Form, shown};
use super::figures::{Figures, Marks};
use super::peer::{Peer, PeerCertificate};
use super::users::Name;
use crate::base::lazy_box::{Initial, LazyBox};
use crate::base::numbered::Numbered;
use crate::command::Spec;
use crate::policy::{Blocked, Blocks, Policy, Prefix, Refusal, Subject};
use crate::telemetry::ClientDisconnect;
use crate::traffic::Server;

/// What knows the figures of a client: its connection.
pub trait Source {
    /// `None`: it is the one at work.
    fn figures(&self) -> Option<Figures>;
}

/// One client's place on the roster.
pub struct ClientEntry {
    pub id: u64,
    pub(super) peer: Peer,
    pub(super) since: Instant,
    /// Bytes that it has sent and taken so far, and its commands.
    received: Cell<u64>,
    sent: Cell<u64>,
    commands: Cell<u64>,
    source: OnceCell<Weak<dyn Source>>,
    /// Bytes that are kept for it.
    held: Cell<usize>,
    /// The number at the server of its pinned connection; 0 without.
    link: Cell<u64>,
    user: Cell<Name>,
    /// The policy in force for the client; only clients of the same one see each other.
    policy: Cell<usize>,
    killed: Cell<bool>,
    /// Either of both.
    is_to_end: Cell<bool>,
    /// An operator has denied something to it.
    is_blocked: Cell<bool>,
    /// More is denied to it than before.
    newly_blocked: Cell<bool>,
    aimed: Cell<bool>,
    /// The client receives another one's invalidations, on its pinned connection.
    target: Cell<bool>,
    /// The client is to receive another one's invalidations, and has no pinned connection yet.
    wanted: Cell<bool>,
    /// The client has set its name or its library's.
    is_described: Cell<bool>,
    extras: RefCell<LazyBox<Extras>>,
}

/// What few clients have.
#[derive(Debug, Default)]
struct Extras {
    client_info: Option<Box<ClientInfo>>,
    /// Why its connection is to end at the next boundary between replies, and when at the latest.
    retired: Option<(ClientDisconnect, Instant)>,
    /// What an operator has denied to it.
    blocked: Option<Blocked>,
    /// The prefix of the keys of which another client's invalidations arrive here.
    names: Option<Arc<Prefix>>,
}

impl Initial for Extras {
    const INITIAL: &'static Self =
        &Self { client_info: None, retired: None, blocked: None, names: None };
}

impl fmt::Debug for ClientEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientEntry").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ClientEntry {
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The user of the client.
    #[must_use]
    pub fn user(&self) -> Name {
        let user = self.user.take();
        self.user.set(user.clone());
        user
    }

    /// What the client calls itself, if it does, as far as operators are shown it.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let client_info = self.client_info();
        let name = client_info
            .as_ref()
            .map(|client_info| &client_info.name)
            .filter(|name| !name.is_empty())?;
        Some(shown(name))
    }

    /// Whether the client calls itself so.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.client_info().as_ref().map_or(&[][..], |client_info| &client_info.name)
            == name.as_bytes()
    }

    /// RESET: the name and version of the client's library stay (redis networking.c
    /// `clearClientConnectionState`).
    pub(super) fn forget_name(&self) {
        if let Some(Extras { client_info: Some(client_info), .. }) =
            self.extras.borrow_mut().allocated_mut()
        {
            client_info.name = Vec::new();
        }
    }

    /// What the client has set of itself.
    pub(super) fn client_info(&self) -> Ref<'_, Option<Box<ClientInfo>>> {
        Ref::map(self.extras.borrow(), |extras| &extras.client_info)
    }

    /// What the client has set of itself, to be changed.
    pub(super) fn client_info_mut(&self) -> RefMut<'_, ClientInfo> {
        self.is_described.set(true);
        RefMut::map(self.extras.borrow_mut(), |extras| {
            &mut **extras.client_info.get_or_insert_default()
        })
    }

    /// Whether the client has set its name or its library's.
    pub(super) const fn is_described(&self) -> bool {
        self.is_described.get()
    }

    /// Bytes that are kept of the client's own words.
    pub(super) fn held_bytes(&self) -> usize {
        self.client_info().as_ref().map_or(0, |client_info| client_info.held_bytes())
    }

    /// From here on its figures are known.
    pub fn note_source(&self, source: Weak<dyn Source>) {
        let first = self.source.set(source);
        debug_assert!(first.is_ok(), "a client has two connections");
    }

    /// The figures of a client that is not at work: a session knows its own.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let source = self.source.get().map(Weak::upgrade);
        let is_closed = matches!(source, Some(None));
        source.flatten().and_then(|source| source.figures()).unwrap_or_else(|| {
            let mut figures = Figures::new(self.since);
            figures.marks.set(Marks::CLOSING, is_closed);
            figures
        })
    }

    /// The client has sent so many bytes, and with them so many commands.
    pub fn note_received(&self, bytes: usize, commands: u64) {
        self.received.set(self.received.get() + bytes as u64);
        self.commands.set(self.commands.get() + commands);
    }

    /// The client has taken so many bytes.
    pub fn note_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    pub(super) const fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) const fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(super) const fn commands(&self) -> u64 {
        self.commands.get()
    }

    /// So many bytes are kept for it.
    pub fn note_held(&self, bytes: usize) {
        self.held.set(bytes);
    }

    pub(super) const fn held(&self) -> usize {
        self.held.get()
    }

    /// Its pinned connection has this number at the server; 0: it has none.
    pub fn note_link(&self, link: u64) {
        self.link.set(link);
    }

    pub(super) const fn link(&self) -> u64 {
        self.link.get()
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
    pub fn retired(&self) -> Option<(ClientDisconnect, Instant)> {
        self.extras.borrow().retired
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
        self.extras.borrow().blocked.as_ref().and_then(|blocked| blocked.refusal(spec))
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
            self.extras.borrow_mut().names = names;
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
        self.extras.borrow().names.clone()
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
    entries: RefCell<Numbered<Rc<ClientEntry>>>,
    now: Cell<Instant>,
    searched: Cell<usize>,
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
            searched: Cell::new(0),
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
            received: Cell::new(0),
            sent: Cell::new(0),
            commands: Cell::new(0),
            source: OnceCell::new(),
            held: Cell::new(0),
            link: Cell::new(0),
            user: Cell::default(),
            policy: Cell::new(0),
            killed: Cell::new(false),
            is_to_end: Cell::new(false),
            is_blocked: Cell::new(false),
            newly_blocked: Cell::new(false),
            aimed: Cell::new(false),
            target: Cell::new(false),
            wanted: Cell::new(false),
            is_described: Cell::new(false),
            extras: RefCell::default(),
        });
        self.settle_blocks(&entry, true);
        let before = self.entries.borrow_mut().insert(id, Rc::clone(&entry));
        debug_assert!(before.is_none(), "two clients have one number");
        entry
    }

    /// The client has this user from here on.
    pub(super) fn note_user(&self, entry: &ClientEntry, user: &Name) {
        entry.user.set(user.clone());
        self.settle_blocks(entry, true);
    }

    /// An operator denies this from here on, and nothing else; `more`: something was added.
    pub fn note_blocks(&self, blocks: &Arc<Blocks>, more: bool) {
        self.blocks.replace(Arc::clone(blocks));
        self.entries().iter().for_each(|entry| self.settle_blocks(entry, more));
    }

    fn settle_blocks(&self, entry: &ClientEntry, more: bool) {
        let user = entry.user();
        let client = Subject {
            user: user.as_str(),
            listener: &entry.peer.listener,
            uid: entry.peer.uid(),
            certificate: entry.peer.certificate().map(|own| (&*own.names, &*own.fingerprint)),
        };
        let blocked = self.blocks.borrow().of(client);
        entry.is_blocked.set(blocked.is_some());
        entry.newly_blocked.set(more && blocked.is_some());
        let mut extras = entry.extras.borrow_mut();
        if blocked.is_some() || extras.allocated().is_some() {
            extras.blocked = blocked;
        }
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

    /// A client has disconnected.
    pub fn remove(&self, id: u64) {
        let entry = self.entries.borrow_mut().remove(id);
        debug_assert!(entry.is_some(), "a client is removed twice");
    }

    /// What time it is in this turn.
    pub fn note_time(&self, now: Instant) {
        self.now.set(now);
        self.searched.set(0);
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
        let entry = entries.get(u64::try_from(id).ok()?)?;
        is_known(own, entry).then(|| Rc::clone(entry))
    }

    /// All clients of which `own` may know, in the order in which they came, and how many were looked at.
    pub(super) fn search(&self, own: &ClientEntry) -> (Vec<Rc<ClientEntry>>, usize) {
        let entries = self.entries.borrow();
        self.searched.set(self.searched.get().saturating_add(entries.len()));
        let known = entries.values().filter(|entry| is_known(own, entry)).map(Rc::clone);
        (known.collect(), entries.len())
    }

    /// Clients that were looked at in this turn.
    pub(super) const fn searched(&self) -> usize {
        self.searched.get()
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

    /// Ends the connection of a client: once no reply is outstanding, and at `until` in any case. A connection that is
    /// to end already is only woken.
    pub fn retire(&self, id: u64, why: ClientDisconnect, until: Instant) {
        if let Some(entry) = self.entries.borrow().get(id) {
            entry.extras.borrow_mut().retired.get_or_insert((why, until));
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

fn is_known(own: &ClientEntry, entry: &ClientEntry) -> bool {
    entry.policy.get() == own.policy.get() && !entry.is_killed()
}

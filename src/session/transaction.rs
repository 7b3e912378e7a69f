//! What is queued between MULTI and EXEC.
//!
//! Owns: [`Transaction`], [`Block`], [`ExecFixup`]. Never knows: the commands that fill and empty it.

use bytes::BytesMut;

use super::greeted::Greeted;
use super::subscriptions::Kind;
use super::users::Name;
use crate::base::limits;
use crate::command::{Cost, Effect, Flags, Spec};
use crate::policy::Strip;
use crate::resp::{Request, RequestBuf, encode};
use crate::traffic::own;

/// Commands queued since MULTI.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// The word that began it, in the client's letters.
    multi: [u8; 5],
    wire: BytesMut,
    count: u32,
    aborted: bool,
    /// One of them may be answered by a push.
    pushes: bool,
    /// One of them may write.
    writes: bool,
    specials: Vec<(u32, ExecFixup)>,
    /// A queued command subscribes: what comes behind it may bring messages.
    receives_messages: bool,
    /// Commands behind that which only read.
    reads: Vec<u32>,
    /// Bytes of requests that are answered here, or are put into `wire` in the end.
    kept: usize,
    /// Bytes that the specials keep elsewhere.
    heap: usize,
    /// Patterns that EXEC will subscribe to.
    patterns: usize,
    /// The database of the newest SELECT.
    database: Option<u32>,
    /// Requests of the proxy's own.
    own: u32,
}

/// A transaction as it is sent.
#[derive(Debug)]
pub(super) struct Block {
    multi: [u8; 5],
    wire: BytesMut,
    /// Replies before that to EXEC.
    pub skip: u32,
    /// How many commands the client has queued.
    pub queued: u32,
    specials: Vec<(u32, ExecFixup)>,
    reads: Vec<u32>,
    receives_messages: bool,
}

impl Block {
    /// Whether EXEC's answer changes what is known here.
    pub(super) fn changes_session(&self) -> bool {
        let changes = |(_, special): &(u32, ExecFixup)| {
            !matches!(special, ExecFixup::Names(_) | ExecFixup::Swallow)
        };
        self.specials.iter().any(changes)
    }

    /// Whether EXEC's array goes to the client as it comes.
    pub(super) fn is_plain(&self) -> bool {
        self.specials.is_empty() && !self.receives_messages
    }

    /// MULTI, what is queued, and EXEC in the client's own letters, as MONITOR shows them.
    pub(super) fn write(&self, exec: &[u8], out: &mut BytesMut) {
        debug_assert!(self.queued < self.skip, "EXEC's reply is behind those to what is queued");
        debug_assert!(self.queued == 0 || !self.wire.is_empty(), "nothing is sent of them");
        encode::request(out, [self.multi.as_slice()]);
        out.extend_from_slice(&self.wire);
        encode::request(out, [exec]);
    }

    /// What is special about the commands in EXEC's array, and which only read.
    pub(super) fn take_specials(&mut self) -> (Vec<(u32, ExecFixup)>, Vec<u32>) {
        (std::mem::take(&mut self.specials), std::mem::take(&mut self.reads))
    }
}

/// A queued command whose reply, or effect on the session, is the proxy's.
#[derive(Debug)]
pub(super) enum ExecFixup {
    /// Answered here; on the wire a PING takes its place.
    Local(&'static Spec, RequestBuf),
    /// Executed there; the session has another number of subscriptions then. So many names are
    /// acknowledged, one by one; 0: all that there are.
    Acknowledged { kind: Kind, named: u32 },
    /// Executed there; on success the session is in that database.
    Select(u32),
    /// Executed there; on success the session tracks keys, or not any more. `redirect` is the client
    /// that shall receive them.
    Tracking { on: bool, broadcast: bool, redirect: i64 },
    /// Executed there; on success the session is another user's, or uses another protocol.
    Hello(Greeted),
    /// Executed there; on success a setting of the connection is switched.
    Manner(&'static Spec, bool),
    /// Executed there; the session has announced itself as a replica.
    Announced,
    /// Executed there; the answer names a client by its number, and perhaps keys.
    Renamed(Option<Strip>),
    /// The command names another client, whose number at the server is looked up when the transaction is sent; the
    /// number is at this place of the wire.
    Late { at: usize, request: RequestBuf },
    /// CLIENT REPLY; on the wire a PING takes its place.
    Reply(Talk),
    /// The command is not answered; on the wire a PING takes its place.
    Mute,
    /// The reply was decided when the command was queued; on the wire a PING takes its place.
    Decided(Box<[u8]>),
    /// The login was decided when it was queued; a PING takes its place, and the session gets this user.
    Become(Name),
    /// Names in its reply carry the prefix of the policy.
    Names(Strip),
    /// A request of the proxy's own: the client's array has no place for it.
    Swallow,
}

/// The setting of CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    On,
    Off,
    Skip,
}

impl ExecFixup {
    /// Whether the server is not asked: on the wire a PING takes its place.
    pub(super) const fn stays_here(&self) -> bool {
        matches!(
            self,
            Self::Local(..) | Self::Decided(_) | Self::Become(_) | Self::Reply(_) | Self::Mute
        )
    }

    /// Bytes that it keeps elsewhere, with what the allocator adds.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Local(_, request) | Self::Late { request, .. } => {
                request.held_bytes() + 2 * limits::ALLOCATION_BYTES
            }
            Self::Decided(reply) => reply.len() + limits::ALLOCATION_BYTES,
            Self::Hello(greeted) => greeted.name.as_ref().map_or(0, Vec::capacity),
            Self::Acknowledged { .. }
            | Self::Select(_)
            | Self::Tracking { .. }
            | Self::Manner(..)
            | Self::Announced
            | Self::Renamed(_)
            | Self::Reply(_)
            | Self::Mute
            | Self::Become(_)
            | Self::Names(_)
            | Self::Swallow => 0,
        }
    }

    /// Whether it changes the connection that it is executed on.
    pub(super) fn is_stateful(&self) -> bool {
        match self {
            Self::Select(_)
            | Self::Acknowledged { .. }
            | Self::Tracking { .. }
            | Self::Hello(_)
            | Self::Announced
            | Self::Manner(..) => true,
            Self::Late { request, .. } => !is_unblock(&request.as_request()),
            Self::Local(..)
            | Self::Decided(_)
            | Self::Reply(_)
            | Self::Mute
            | Self::Become(_)
            | Self::Renamed(_)
            | Self::Names(_)
            | Self::Swallow => false,
        }
    }
}

fn is_unblock(request: &Request<'_>) -> bool {
    request.arg(1).is_some_and(|word| word.eq_ignore_ascii_case(b"unblock"))
}

impl Transaction {
    pub(super) fn begun(word: Option<&[u8]>) -> Self {
        let multi = word.and_then(|word| word.try_into().ok()).unwrap_or(*b"MULTI");
        Self { multi, ..Self::default() }
    }

    /// The database that the commands queued so far lead to.
    pub(super) const fn database(&self) -> Option<u32> {
        self.database
    }

    /// How many commands the client has queued.
    pub(super) const fn queued(&self) -> u32 {
        debug_assert!(self.own <= self.count, "a companion without a command");
        self.count.saturating_sub(self.own)
    }

    pub(super) const fn is_aborted(&self) -> bool {
        self.aborted
    }

    pub(super) const fn patterns(&self) -> usize {
        self.patterns
    }

    /// Whether one of the commands may write.
    pub(super) const fn writes(&self) -> bool {
        self.writes
    }

    /// Whether it must not run on a connection of others.
    pub(super) fn is_stateful(&self) -> bool {
        self.pushes || self.specials.iter().any(|(_, special)| special.is_stateful())
    }

    /// Bytes of the commands as they are sent.
    pub(super) fn wire_bytes(&self) -> usize {
        self.wire.len()
    }

    /// A command is queued: `wire` is it as it is sent, and `companions` of its requests are the proxy's own.
    pub(super) fn push(
        &mut self,
        spec: &Spec,
        special: Option<ExecFixup>,
        request: &Request<'_>,
        wire: &[u8],
        companions: u32,
    ) {
        debug_assert!(!self.aborted, "EXEC will not run it");
        debug_assert!(!wire.is_empty(), "nothing is sent of it");
        self.check_invariants();
        match &special {
            Some(ExecFixup::Late { .. }) => self.kept += wire.len(),
            Some(ExecFixup::Hello(greeted)) => greeted.request(&mut self.wire),
            Some(special) if special.stays_here() => {
                encode::request(&mut self.wire, [own::PING]);
                self.kept += request.raw().len();
            }
            Some(_) | None => self.wire.extend_from_slice(wire),
        }
        if let Some(ExecFixup::Select(database)) = &special {
            self.database = Some(*database);
        }
        self.heap += special.as_ref().map_or(0, ExecFixup::heap_bytes);
        self.specials.extend(special.map(|special| (self.count, special)));
        if spec.cost == Cost::Patterns && spec.effect == Effect::Subscribe {
            self.patterns += request.len() - 1;
        }
        self.writes |= spec.may_write();
        self.pushes |= spec.effect == Effect::Pushes;
        if self.receives_messages && spec.flags.has(Flags::READONLY) {
            self.reads.push(self.count);
        }
        self.receives_messages |= spec.effect == Effect::Subscribe;
        self.count += 1;
        for _ in 0..companions {
            self.specials.push((self.count, ExecFixup::Swallow));
            self.count += 1;
        }
        self.own += companions;
    }

    /// The places that are noted are of commands that are queued.
    fn check_invariants(&self) {
        let queued = |at: u32| at < self.count;
        debug_assert!(self.specials.last().is_none_or(|(at, _)| queued(*at)), "of no command");
        debug_assert!(self.reads.last().is_none_or(|at| queued(*at)), "of no command");
        debug_assert!(
            self.reads.is_empty() || self.receives_messages,
            "nothing is mistaken for a message"
        );
        debug_assert!(!self.aborted || self.size() == 0, "something is kept of what will not run");
    }

    /// Commands that name another client, whose number is looked up when the transaction is sent.
    pub(super) fn late(&self) -> impl Iterator<Item = &RequestBuf> {
        self.specials.iter().filter_map(|(_, special)| {
            let ExecFixup::Late { request, .. } = special else { return None };
            Some(request)
        })
    }

    /// What is sent of them, and what is special about their replies, in their order.
    pub(super) fn put_late(&mut self, found: Vec<(BytesMut, Option<ExecFixup>)>) {
        debug_assert_eq!(self.late().count(), found.len(), "not all were looked up");
        if found.is_empty() {
            return;
        }
        let (mut wire, mut before, mut found) = (BytesMut::new(), 0, found.into_iter());
        for (index, special) in std::mem::take(&mut self.specials) {
            let ExecFixup::Late { at, .. } = special else {
                self.specials.push((index, special));
                continue;
            };
            let Some((late, special)) = found.next() else { continue };
            wire.extend_from_slice(self.wire.get(before..at).unwrap_or_default());
            wire.extend_from_slice(&late);
            before = at;
            self.specials.extend(special.map(|special| (index, special)));
        }
        self.heap = self.specials.iter().map(|(_, special)| special.heap_bytes()).sum();
        debug_assert!(before <= self.wire.len(), "one of them is behind the end");
        wire.extend_from_slice(self.wire.get(before..).unwrap_or_default());
        self.wire = wire;
        debug_assert!(found.next().is_none(), "one that was looked up has no place");
        self.check_invariants();
    }

    /// EXEC: it is sent.
    pub(super) fn into_block(self) -> Block {
        debug_assert!(!self.aborted && self.late().next().is_none(), "it cannot be sent");
        self.check_invariants();
        Block {
            queued: self.queued(),
            multi: self.multi,
            wire: self.wire,
            skip: self.count.saturating_add(1),
            specials: self.specials,
            reads: self.reads,
            receives_messages: self.receives_messages,
        }
    }

    /// EXEC will answer EXECABORT.
    pub(super) fn mark_aborted(&mut self) {
        self.aborted = true;
        self.wire = BytesMut::new();
        self.specials = Vec::new();
        self.reads = Vec::new();
        (self.kept, self.heap) = (0, 0);
        self.database = None;
        self.check_invariants();
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.wire.capacity()
            + self.heap
            + self.specials.capacity() * size_of::<(u32, ExecFixup)>()
            + self.reads.capacity() * size_of::<u32>()
    }

    /// What `limits.max_transaction` bounds.
    pub(super) fn size(&self) -> usize {
        self.wire.len()
            + self.kept
            + self.specials.len() * size_of::<(u32, ExecFixup)>()
            + self.reads.len() * size_of::<u32>()
    }
}

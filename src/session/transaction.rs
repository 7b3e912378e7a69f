//! What is queued between MULTI and EXEC.
//!
//! Owns: [`Transaction`], [`ExecFixup`]. Never knows: the commands that fill and empty it.

use bytes::BytesMut;

use super::greeted::Greeted;
use super::subscriptions::Kind;
use super::users::Name;
use crate::command::Spec;
use crate::policy::Strip;
use crate::resp::RequestBuf;

/// Commands queued since MULTI.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// The word that began it, in the client's letters.
    pub multi: [u8; 5],
    pub wire: BytesMut,
    pub count: u32,
    pub spoiled: bool,
    /// One of them may be answered by a push.
    pub pushes: bool,
    /// One of them may write.
    pub writes: bool,
    pub specials: Vec<(u32, ExecFixup)>,
    /// It subscribes: what comes behind may bring messages.
    pub hears: bool,
    /// Commands behind that which only read.
    pub reads: Vec<u32>,
    /// Bytes of requests that are answered here, or are put into `wire` in the end.
    pub kept: usize,
    /// Patterns that EXEC will subscribe to.
    pub patterns: usize,
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
    /// Executed there; on success the session is another user's, or speaks another protocol.
    Hello(Greeted),
    /// Executed there; on success a setting of the connection is switched.
    Manner(&'static Spec, bool),
    /// Executed there; the session has announced itself as a replica.
    Announced,
    /// Executed there; the answer names a client by its number, and perhaps keys.
    Renamed(Option<Strip>),
    /// It names another client, whose number at the server is looked up when the transaction is sent:
    /// it is at this place of the wire.
    Late { at: usize, request: RequestBuf },
    /// CLIENT REPLY; on the wire a PING takes its place.
    Reply(Talk),
    /// It is not answered; on the wire a PING takes its place.
    Mute,
    /// Decided when it was queued; on the wire a PING takes its place.
    Said(Box<[u8]>),
    /// The same, and the session is this user's.
    Become(Name),
    /// Names in its reply carry the prefix of the policy.
    Names(Strip),
    /// A request of the proxy's own: the client's array has no place for it.
    Swallow,
}

/// What CLIENT REPLY asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    On,
    Off,
    Skip,
}

impl Transaction {
    pub(super) fn begun(word: Option<&[u8]>) -> Self {
        let multi = word.and_then(|word| word.try_into().ok()).unwrap_or(*b"MULTI");
        Self { multi, ..Self::default() }
    }

    /// Where the commands queued so far lead.
    pub(super) fn database(&self) -> Option<u32> {
        self.specials.iter().rev().find_map(|(_, special)| match special {
            ExecFixup::Select(database) => Some(*database),
            ExecFixup::Local(..)
            | ExecFixup::Acknowledged { .. }
            | ExecFixup::Tracking { .. }
            | ExecFixup::Hello(_)
            | ExecFixup::Manner(..)
            | ExecFixup::Announced
            | ExecFixup::Renamed(_)
            | ExecFixup::Late { .. }
            | ExecFixup::Reply(_)
            | ExecFixup::Mute
            | ExecFixup::Said(_)
            | ExecFixup::Become(_)
            | ExecFixup::Names(_)
            | ExecFixup::Swallow => None,
        })
    }

    /// How many commands the client has queued.
    pub(super) fn queued(&self) -> u32 {
        let own = |(_, special): &&(u32, ExecFixup)| matches!(special, ExecFixup::Swallow);
        let own = u32::try_from(self.specials.iter().filter(own).count()).unwrap_or(u32::MAX);
        self.count.saturating_sub(own)
    }

    /// EXEC will answer EXECABORT.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
        self.wire = BytesMut::new();
        self.specials = Vec::new();
        self.reads = Vec::new();
        self.kept = 0;
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.wire.capacity()
            + self.kept
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

//! What a client shows of itself that changes with its requests.
//!
//! Owns: [`Figures`], [`StateFigures`], [`Marks`]. Never knows: sockets, how a client is described.

use std::time::Instant;

use crate::command::Spec;
use crate::resp::Protocol;

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

/// What is shown of the state that few clients have at any time.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateFigures {
    pub channels: u64,
    pub patterns: u64,
    pub shards: u64,
    /// Commands queued since MULTI.
    pub queued: Option<u32>,
    /// Bytes of them.
    pub queued_bytes: usize,
    /// Keys named in WATCH.
    pub watched: u32,
    /// The client that receives its invalidations: -1 without tracking, 0 for itself.
    pub redirect: i64,
}

impl Default for StateFigures {
    fn default() -> Self {
        Self {
            channels: 0,
            patterns: 0,
            shards: 0,
            queued: None,
            queued_bytes: 0,
            watched: 0,
            redirect: -1,
        }
    }
}

/// What of a client changes with its requests, at the moment in which another one looks.
#[derive(Clone, Debug)]
pub struct Figures {
    pub database: u32,
    pub protocol: Protocol,
    pub(super) state: StateFigures,
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
}

impl Figures {
    pub fn new(now: Instant) -> Self {
        Self {
            database: 0,
            protocol: Protocol::Resp2,
            state: StateFigures::default(),
            marks: Marks::default(),
            command: None,
            active: now,
            unread: 0,
            room: 0,
            arguments: 0,
            reply_room: 0,
            unwritten: 0,
        }
    }
}

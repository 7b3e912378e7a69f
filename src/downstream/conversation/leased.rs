//! The pinned connection as its conversation times it.
//!
//! Owns: [`Leased`]: whether there is one, since when what on it waits. Never knows: what travels on it.

use std::time::{Duration, Instant};

use super::bulk_pacer::BulkPacer;
use super::host::Host;
use super::progress::Progress;
use crate::base::limits;

/// Moments over which the connections of one grace go.
const GRACE_STEPS: u32 = 17;

#[derive(Debug)]
pub(super) struct Leased {
    /// The number of its client.
    id: u64,
    /// One is lent to this session.
    pub is_here: bool,
    /// How a large request moves on to it, and when the last one was complete.
    pub upload: Progress,
    pub uploaded_at: Instant,
    /// When it has answered the request before the oldest one on it.
    pub answered_at: Instant,
    /// When something came from it last.
    pub read_at: Instant,
    /// How a large value under way gives precedence to others.
    pub pacer: BulkPacer,
}

impl Leased {
    pub(super) fn new(id: u64, now: Instant) -> Self {
        Self {
            id,
            is_here: false,
            upload: Progress::default(),
            uploaded_at: now,
            answered_at: now,
            read_at: now,
            pacer: BulkPacer::default(),
        }
    }

    /// The last byte of a large request is sent, or discarded.
    pub(super) fn end_upload(&mut self, now: Instant) {
        debug_assert!(now >= self.uploaded_at, "one was complete later");
        self.upload.end();
        self.uploaded_at = now;
        self.check_invariants(now);
    }

    /// What holds whenever a method of its conversation returns.
    pub(super) fn check_invariants(&self, now: Instant) {
        debug_assert!(self.uploaded_at <= now, "a request will be complete later");
        debug_assert!(self.answered_at <= now, "a request will be answered later");
        debug_assert!(self.read_at <= now, "something will be read later");
        self.upload.check_invariants(now);
        self.pacer.check_invariants(now);
    }

    /// When the reply to a request that waits since `asked` has taken too long; `begun`: some of it came.
    pub(super) fn reply_deadline(
        &self,
        asked: Instant,
        begun: bool,
        timeout: Duration,
    ) -> Option<Instant> {
        debug_assert!(self.is_here, "no pinned connection answers");
        let asked = asked.max(self.uploaded_at).max(self.answered_at);
        let since = if begun { asked.max(self.read_at) } else { asked };
        debug_assert!(since >= asked, "it waits from before it could be answered");
        (!timeout.is_zero()).then(|| since + timeout)
    }

    /// Whether more of a large request may be put into its line.
    pub(super) fn has_room<H: Host>(&self, host: &H) -> bool {
        !self.is_here || host.unwritten() < limits::LEASE_UNSENT_BYTES_MAX
    }

    /// Whether it is to be read, while the client has so much unread.
    pub(super) const fn reads(&self, unread: usize) -> bool {
        self.is_here && unread < limits::LEASE_UNREAD_BYTES_MAX
    }

    /// Like [`Conversation::note_round`](super::Conversation::note_round); `moves`: a large reply goes on.
    pub(super) fn note_round<H: Host>(
        &mut self,
        moves: bool,
        served: u64,
        now: Instant,
        host: &H,
    ) -> Option<bool> {
        debug_assert!(self.is_here || host.unwritten() == 0, "bytes wait on no connection");
        if self.is_here && (moves || host.unwritten() >= limits::BULK_ROUND_BYTES) {
            return Some(self.pacer.note_round(served, now));
        }
        self.pacer.note_end();
        None
    }

    /// When it must be let go, if its identity or password was replaced. Clients are closed over the last
    /// quarter of the grace, each at its own time.
    pub(super) fn grace_end<H: Host>(&self, host: &H) -> Option<Instant> {
        debug_assert!(self.is_here || host.lease_outdated().is_none(), "no connection is outdated");
        let since = if self.is_here { host.lease_outdated()? } else { return None };
        let grace = host.pinned_grace();
        let step = grace / 4 / (GRACE_STEPS - 1);
        let steps = u32::try_from(self.id % u64::from(GRACE_STEPS)).unwrap_or_default();
        debug_assert!(step * steps <= grace, "the grace ends before it begins");
        (!grace.is_zero()).then(|| since + grace - step * steps)
    }

    /// When what was asked before the end of the grace must be answered, too.
    pub(super) fn grace_last<H: Host>(&self, host: &H) -> Option<Instant> {
        self.grace_end(host).map(|end| end + host.command_timeout())
    }

    /// Nothing more is asked on a connection that must go.
    pub(super) fn grace_is_over<H: Host>(&self, now: Instant, host: &H) -> bool {
        self.grace_end(host).is_some_and(|end| now >= end)
    }

    pub(super) fn grace_has_ended<H: Host>(&self, now: Instant, host: &H) -> bool {
        self.grace_last(host).is_some_and(|end| now >= end)
    }
}

//! The pinned connection as its conversation times it.
//!
//! Owns: [`Leased`]: whether there is one, since when what on it waits. Never knows: what travels on it.

use std::time::{Duration, Instant};

use super::bulk_pacer::BulkPacer;
use super::host::Host;
use super::progress::Progress;
use crate::base::lazy_box::{Initial, LazyBox};
use crate::base::limits;

/// Moments over which the connections of one grace go.
const GRACE_STEPS: u8 = 17;

#[derive(Debug)]
pub(super) struct Leased {
    /// The moment of these at which it goes.
    grace_step: u8,
    /// One is lent to this session.
    pub is_here: bool,
    pub loan: LazyBox<Loan>,
}

/// What is known of the pinned connections that a client has had.
#[derive(Debug, Default)]
pub(super) struct Loan {
    /// How a large request moves on to it, and when the last one was complete.
    pub upload: Progress,
    pub uploaded_at: Option<Instant>,
    /// When it has answered the request before the oldest one on it.
    pub answered_at: Option<Instant>,
    /// When something came from it last.
    pub read_at: Option<Instant>,
    /// How a large value under way gives precedence to others.
    pub pacer: BulkPacer,
}

impl Initial for Loan {
    const INITIAL: &'static Self = &Self {
        upload: Progress::NONE,
        uploaded_at: None,
        answered_at: None,
        read_at: None,
        pacer: BulkPacer::NEW,
    };
}

impl Leased {
    /// `id`: the number of the client.
    pub(super) fn new(id: u64) -> Self {
        let grace_step = u8::try_from(id % u64::from(GRACE_STEPS)).unwrap_or_default();
        Self { grace_step, is_here: false, loan: LazyBox::default() }
    }

    /// When the last large request was complete, or the client was accepted at `since`.
    pub(super) fn uploaded_at(&self, since: Instant) -> Instant {
        let at = self.loan.uploaded_at.unwrap_or(since);
        debug_assert!(at >= since, "a request was complete before its client came");
        at
    }

    /// So much of a large request was written to it.
    pub(super) fn note_uploaded(&mut self, wrote: usize, now: Instant) {
        debug_assert!(wrote == 0 || self.is_here, "bytes are written to no connection");
        if let Some(loan) = self.loan.allocated_mut() {
            loan.upload.note(wrote, now);
        }
    }

    /// The last byte of a large request is sent, or discarded.
    pub(super) fn end_upload(&mut self, now: Instant) {
        if let Some(loan) = self.loan.allocated_mut() {
            debug_assert!(Some(now) >= loan.uploaded_at, "one was complete later");
            loan.upload.end();
            loan.uploaded_at = Some(now);
        }
        self.check_invariants(now);
    }

    /// What holds whenever a method of its conversation returns.
    pub(super) fn check_invariants(&self, now: Instant) {
        let loan = &self.loan;
        debug_assert!(loan.uploaded_at <= Some(now), "a request will be complete later");
        debug_assert!(loan.answered_at <= Some(now), "a request will be answered later");
        debug_assert!(loan.read_at <= Some(now), "something will be read later");
        loan.upload.check_invariants(now);
        loan.pacer.check_invariants(now);
    }

    /// When the reply to a request that waits since `asked` has taken too long; `begun`: some of it came.
    pub(super) fn reply_deadline(
        &self,
        asked: Instant,
        begun: bool,
        timeout: Duration,
    ) -> Option<Instant> {
        debug_assert!(self.is_here, "no pinned connection answers");
        let Loan { uploaded_at, answered_at, read_at, .. } = *self.loan;
        let asked = [uploaded_at, answered_at].into_iter().flatten().fold(asked, Instant::max);
        let since = read_at.filter(|_| begun).map_or(asked, |read_at| asked.max(read_at));
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
            return Some(self.loan.pacer.note_round(served, now));
        }
        if let Some(loan) = self.loan.allocated_mut() {
            loan.pacer.note_end();
        }
        None
    }

    /// When it must be let go, if its identity or password was replaced. Clients are closed over the last
    /// quarter of the grace, each at its own time.
    pub(super) fn grace_end<H: Host>(&self, host: &H) -> Option<Instant> {
        debug_assert!(self.is_here || host.lease_outdated().is_none(), "no connection is outdated");
        let since = if self.is_here { host.lease_outdated()? } else { return None };
        let grace = host.pinned_grace();
        let step = grace / 4 / u32::from(GRACE_STEPS - 1);
        let steps = u32::from(self.grace_step);
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

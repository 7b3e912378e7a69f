//! What the session itself has asked for the request at the front of the client's bytes.
//!
//! Owns: [`PendingQuery`]. Never knows: how it goes on.

use bytes::BytesMut;

use crate::policy::KeyScan;
use crate::traffic::{Loss, Ticket};

/// A key scan in progress, or a query.
#[derive(Debug)]
pub(super) struct PendingQuery {
    scan: Option<Box<KeyScan>>,
    /// The request in flight.
    ticket: Ticket,
    arrived: Option<Arrived>,
}

#[derive(Debug)]
pub(super) enum Arrived {
    Page(BytesMut),
    Lost(Loss),
}

impl PendingQuery {
    /// A question that `ticket` will answer.
    pub(super) fn question(ticket: Ticket) -> Box<Self> {
        Box::new(Self { scan: None, ticket, arrived: None })
    }

    /// A key scan whose next page `ticket` will bring.
    pub(super) fn page(scan: Box<KeyScan>, ticket: Ticket) -> Box<Self> {
        Box::new(Self { scan: Some(scan), ticket, arrived: None })
    }

    pub(super) const fn is_scan(&self) -> bool {
        self.scan.is_some()
    }

    /// Whether its answer is still to come, and which.
    pub(super) fn awaits(&self) -> Option<Ticket> {
        self.arrived.is_none().then_some(self.ticket)
    }

    /// The answer, if it is here.
    pub(super) const fn arrived(&self) -> Option<&Arrived> {
        self.arrived.as_ref()
    }

    pub(super) fn into_parts(self) -> (Option<Box<KeyScan>>, Option<Arrived>) {
        (self.scan, self.arrived)
    }

    /// An answer to `ticket` is here; what asked for it may have been given up.
    pub(super) fn arrive(&mut self, ticket: Ticket, what: impl FnOnce() -> Arrived) {
        if self.ticket == ticket {
            debug_assert!(self.arrived.is_none(), "one question has two answers");
            self.arrived = Some(what());
        }
    }
}

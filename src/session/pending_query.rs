//! What the session itself has asked for the request at the front of the client's bytes.
//!
//! Owns: [`PendingQuery`]. Never knows: how it goes on.

use bytes::BytesMut;

use crate::policy::Walk;
use crate::traffic::{Loss, Ticket};

/// A walk under way, or a question.
#[derive(Debug)]
pub(super) struct PendingQuery {
    walk: Option<Box<Walk>>,
    /// The request on its way.
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
        Box::new(Self { walk: None, ticket, arrived: None })
    }

    /// A walk whose next page `ticket` will bring.
    pub(super) fn page(walk: Box<Walk>, ticket: Ticket) -> Box<Self> {
        Box::new(Self { walk: Some(walk), ticket, arrived: None })
    }

    pub(super) const fn is_walk(&self) -> bool {
        self.walk.is_some()
    }

    /// The answer, if it is here.
    pub(super) const fn arrived(&self) -> Option<&Arrived> {
        self.arrived.as_ref()
    }

    pub(super) fn into_parts(self) -> (Option<Box<Walk>>, Option<Arrived>) {
        (self.walk, self.arrived)
    }

    /// An answer to `ticket` is here; what asked for it may have been given up.
    pub(super) fn arrive(&mut self, ticket: Ticket, what: impl FnOnce() -> Arrived) {
        if self.ticket == ticket {
            debug_assert!(self.arrived.is_none(), "one question has two answers");
            self.arrived = Some(what());
        }
    }
}

//! What the session itself has asked for the request at the front of the client's bytes.
//!
//! Owns: [`PendingQuery`]. Never knows: how it goes on.

use bytes::BytesMut;

use crate::policy::Walk;
use crate::traffic::{Loss, Ticket};

/// A walk under way, or a question.
#[derive(Debug)]
pub(super) struct PendingQuery {
    pub walk: Option<Box<Walk>>,
    /// The request on its way.
    pub ticket: Ticket,
    pub arrived: Option<Arrived>,
}

#[derive(Debug)]
pub(super) enum Arrived {
    Page(BytesMut),
    Lost(Loss),
}

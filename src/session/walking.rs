//! A walk over the application's keys that is under way.
//!
//! Owns: [`Walking`]. Never knows: how it goes on.

use bytes::BytesMut;

use crate::policy::Walk;
use crate::traffic::{Loss, Ticket};

/// A walk under way for the request at the front of the client's bytes.
#[derive(Debug)]
pub(super) struct Walking {
    pub walk: Box<Walk>,
    /// The request on its way.
    pub ticket: Ticket,
    pub arrived: Option<Arrived>,
}

#[derive(Debug)]
pub(super) enum Arrived {
    Page(BytesMut),
    Lost(Loss),
}

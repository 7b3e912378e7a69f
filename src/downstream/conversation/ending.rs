//! The end of a client's connection that is decided, and where its output ends.
//!
//! Owns: [`Ending`]. Never knows: what decides it.

use std::time::Instant;

use crate::base::lazy_box::Initial;
use crate::telemetry::ClientDisconnect;

/// How a connection ends.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// The length of the output up to where half a reply ends that goes no further: nothing follows it.
    pub cut_at: Option<usize>,
    /// Why the connection is to be closed, and when at the latest.
    pub reason: Option<(ClientDisconnect, Instant)>,
}

impl Initial for Ending {
    const INITIAL: &'static Self = &Self { cut_at: None, reason: None };
}

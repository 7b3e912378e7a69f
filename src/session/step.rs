//! What a session wants done with a request, and where it travels.
//!
//! Owns: [`Step`], [`Route`], [`Cause`], [`WireLayout`]. Never knows: sessions, why a step is taken.

use std::time::Instant;

pub(crate) use crate::telemetry::PinCause as Cause;
use crate::traffic::{PoolKey, Skips, Ticket};

/// The connection that carries a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Shared(PoolKey),
    /// Behind other commands that the server holds, on the stalled connection.
    Stalled(PoolKey),
    Pinned,
}

/// What the connection must do with the request just presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The request is dealt with: its reply is in its place, or none will come.
    Done,
    /// Send the request as it is.
    Send { route: Route, ticket: Ticket, retry: bool },
    /// Send what [`RequestScratch::take_wire`](super::RequestScratch::take_wire) gives.
    SendWire { route: Route, ticket: Ticket, wire: WireLayout },
    /// Send what [`RequestScratch::take_wire`](super::RequestScratch::take_wire) gives, requests of the
    /// session's own, and present the same request again when a reply has arrived. `retry`: it may be
    /// executed twice without harm.
    Ask { route: Route, ticket: Ticket, skips: Skips, retry: bool },
    /// Nothing has changed: present the same request again when a reply has arrived.
    Wait,
    /// Nothing has changed: present the same request again at this time, or when
    /// the turn in the line for a slot of a limit has come.
    Pause(Instant),
    /// Nothing has changed: get a pinned connection, then present the same request again.
    Acquire(Cause),
    /// Make sure that a shared connection for this key works, then call
    /// [`Session::handle_opened`](super::Session::handle_opened).
    Open(PoolKey),
    /// The request is only a head and cannot be judged yet: collect the rest, present it whole.
    Collect,
    /// Close when everything before is answered and written.
    Close,
}

impl Step {
    /// Whether a step may be taken after which so many requests are in flight, where there were `before`:
    /// what is sent has a place in line, and what has changed nothing has none.
    pub(super) const fn puts_in_line(&self, before: usize, after: usize) -> bool {
        match self {
            Self::Send { .. } | Self::SendWire { .. } | Self::Ask { .. } => after > before,
            Self::Wait | Self::Pause(_) | Self::Acquire(_) | Self::Collect => after == before,
            Self::Done | Self::Open(_) | Self::Close => after <= before,
        }
    }

    /// Whether the same request comes again.
    #[must_use]
    pub const fn presents_again(&self) -> bool {
        matches!(
            self,
            Self::Wait | Self::Pause(_) | Self::Ask { .. } | Self::Acquire(_) | Self::Collect
        )
    }
}

/// How the bytes of [`RequestScratch::take_wire`](super::RequestScratch::take_wire) are to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WireLayout {
    /// Replies that come before the one that counts.
    pub skips: Skips,
    pub retry: bool,
    /// Where the request itself ends, or its head.
    pub split: usize,
    /// How much behind a head belongs to the request: it goes behind its last byte.
    pub rest: u32,
    /// Requests in what follows the whole request. Their replies belong to the next ticket, all but the
    /// last as those of requests sent ahead.
    pub companions: u32,
}

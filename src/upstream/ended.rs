//! How the time of one shared connection ended, in the words of the metrics and of the log.
//!
//! Owns: [`Ended`]. Never knows: connections, what follows.

use crate::telemetry::UpstreamDisconnect;

/// How the time of one connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The connection has no outstanding replies and its successor takes over, for this reason.
    Replaced(UpstreamDisconnect),
    /// The connection was not used for `idle_timeout`.
    Idle,
    /// The proxy shuts down.
    Closed,
    /// The connection was lost, or could not be trusted any more.
    Lost(UpstreamDisconnect),
}

impl Ended {
    /// `None`: the process ends.
    #[must_use]
    pub const fn reason(self) -> Option<UpstreamDisconnect> {
        match self {
            Self::Replaced(reason) | Self::Lost(reason) => Some(reason),
            Self::Idle => Some(UpstreamDisconnect::Idle),
            Self::Closed => None,
        }
    }

    /// Whether what the kernel has not delivered is discarded: requests on it were given up, and must
    /// not be executed behind later ones when the way to the server is free again.
    #[must_use]
    pub const fn discards(self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

/// Why a connection was lost, for the log.
pub(super) const fn cause(reason: UpstreamDisconnect) -> &'static str {
    match reason {
        UpstreamDisconnect::Eof => "the server closed it",
        UpstreamDisconnect::Reset => "it was reset",
        UpstreamDisconnect::Timeout | UpstreamDisconnect::Health => "the server does not answer",
        UpstreamDisconnect::Protocol => "the server's bytes cannot be trusted",
        UpstreamDisconnect::Defect => "an internal error ended its task",
        UpstreamDisconnect::Rotation
        | UpstreamDisconnect::MaxAge
        | UpstreamDisconnect::Failover
        | UpstreamDisconnect::Idle
        | UpstreamDisconnect::Dirty
        | UpstreamDisconnect::ClientLeft => "it was not answered before it had to be replaced",
    }
}

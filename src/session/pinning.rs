//! Why a session travels on a pinned connection.
//!
//! Owns: [`Pinning`]. Never knows: connections, what becomes of them.

use super::step::Cause;

/// What ties a session to its pinned connection; the strongest that holds, as what is stronger hides what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinning {
    /// Nothing: shared connections carry its requests.
    No,
    /// Its replies are large: a pinned connection is welcome, not needed.
    Large,
    /// The session watches keys there. Without the connection they may change unseen, and EXEC fails.
    Watching,
    /// State is there that cannot be had again: the session ends with the connection.
    Living(Cause),
}

impl Pinning {
    /// Whether its requests must go there.
    pub(super) const fn binds(self) -> bool {
        matches!(self, Self::Watching | Self::Living(_))
    }

    /// Whether the session ends with the connection.
    pub(super) const fn is_fatal(self) -> bool {
        matches!(self, Self::Living(_))
    }
}

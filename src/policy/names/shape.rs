//! Where a reply has names.
//!
//! Owns: [`Strip`], [`Shape`]. Never knows: bytes of replies, requests.

use std::sync::Arc;

use super::prefix::Prefix;

/// Where the names stand in one reply, and what to take off them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    pub(super) prefix: Arc<Prefix>,
    /// Arguments of the request with the prefix before them: bit `n` is argument `n`.
    pub(super) echoed: u64,
    /// Bytes of the key that an error ends with, as the client wrote it, up to a NUL.
    pub(super) key_bytes: u32,
    pub(super) shape: Shape,
}

/// Where a reply has names; all have them in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Shape {
    /// Nowhere else.
    #[default]
    Errors,
    /// `XGROUP`, `XINFO` and others about groups: nowhere else, but in errors also within a
    /// transaction; an error may end with the key.
    KeyAtEnd,
    /// `KEYS`: every element.
    Names,
    /// `PUBSUB CHANNELS`: the same, of channels.
    Channels,
    /// `SCAN`: every element of the second.
    Scan,
    /// `BLPOP`, `LMPOP`: the first element.
    First,
    /// `XREAD`: the first of each element, or the keys of a map.
    Streams,
    /// `PUBSUB NUMSUB`: every other element, channels.
    Pairs,
    /// `CLIENT TRACKINGINFO`: every element of the sixth.
    Tracking,
    /// `SUBSCRIBE` and the like: acknowledgements, which are not replies.
    Acknowledged,
    /// `INFO`: a text, of which some lines are left out.
    Report,
}

impl Shape {
    /// Whether the names are those of channels.
    pub(super) const fn has_channels(self) -> bool {
        matches!(self, Self::Channels | Self::Pairs)
    }
}

impl Strip {
    /// Names in errors alone.
    #[must_use]
    pub const fn of_errors(prefix: Arc<Prefix>) -> Self {
        Self { prefix, echoed: 0, key_bytes: 0, shape: Shape::Errors }
    }

    /// A report about the server, and names in errors.
    #[must_use]
    pub const fn of_report(prefix: Arc<Prefix>) -> Self {
        Self { prefix, echoed: 0, key_bytes: 0, shape: Shape::Report }
    }

    /// The prefix that was in force when the request was made.
    #[must_use]
    pub const fn prefix(&self) -> &Arc<Prefix> {
        &self.prefix
    }

    /// Whether nothing but an error has to be looked into.
    #[must_use]
    pub const fn is_for_errors(&self) -> bool {
        matches!(self.shape, Shape::Errors | Shape::Acknowledged)
    }

    /// Whether a reply that begins with this byte has to be looked into.
    #[must_use]
    pub const fn concerns(&self, kind: u8) -> bool {
        kind == b'-' || !matches!(self.shape, Shape::Errors | Shape::KeyAtEnd | Shape::Acknowledged)
    }
}

//! Where a reply has names of keys or channels.
//!
//! Owns: [`ReplyNames`]. Never knows: prefixes, bytes of replies.

use crate::config::ReplyKeys;

/// Where a reply has names of keys or channels; all have them in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyNames {
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
    /// `INFO`: a text, some lines of which are about others.
    Report,
}

impl ReplyNames {
    /// The names in replies of a command that a configuration declares.
    pub(super) const fn declared(keys: ReplyKeys) -> Self {
        match keys {
            ReplyKeys::None => Self::Errors,
            ReplyKeys::All => Self::Names,
            ReplyKeys::First => Self::First,
            ReplyKeys::Each => Self::Streams,
        }
    }

    /// Whether the names are those of channels.
    #[must_use]
    pub const fn has_channels(self) -> bool {
        matches!(self, Self::Channels | Self::Pairs)
    }
}

//! The end of the commands of one session that block.
//!
//! Owns: [`BlockEnd`]. Never knows: the commands, their replies.

use std::time::Instant;

use crate::command::Blocking;

/// When the commands that block on the pinned connection are all over by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum BlockEnd {
    #[default]
    Never,
    At(Instant),
}

impl BlockEnd {
    /// One more blocks for `time`: the first in line, or one behind others.
    pub(super) fn behind(self, time: Blocking, first: bool, now: Instant) -> Self {
        let begin = match self {
            _ if first => Some(now),
            Self::At(end) => Some(end.max(now)),
            Self::Never => None,
        };
        let end = match time {
            Blocking::No => begin,
            Blocking::For(time) => begin.and_then(|begin| begin.checked_add(time)),
            Blocking::Forever => None,
        };
        debug_assert!(end.is_none_or(|end| end >= now), "a command has blocked before it was sent");
        end.map_or(Self::Never, Self::At)
    }
}

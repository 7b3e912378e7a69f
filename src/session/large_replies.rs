//! Whether a client's next replies may be large, as one of its last was.
//!
//! Owns: [`LargeReplies`]. Never knows: replies, connections.

use crate::base::limits;

/// The memory of a large reply: so many commands more are taken for those that bring one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LargeReplies {
    left: u8,
}

impl LargeReplies {
    pub(super) const fn are_likely(self) -> bool {
        self.left > 0
    }

    /// One has come.
    pub(super) const fn note(&mut self) {
        self.left = limits::LARGE_REPLY_COMMANDS;
    }

    /// A command was sent of which it is not known.
    #[inline(always)]
    pub(super) const fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// The next large reply finds the session as it was before the first.
    pub(super) const fn forget(&mut self) {
        self.left = 0;
    }

    /// Like [`Self::forget`]; returns whether there was anything to forget.
    pub(super) const fn forgo(&mut self) -> bool {
        std::mem::replace(&mut self.left, 0) > 0
    }
}

//! The command that a client has sent last.
//!
//! Owns: [`RecentCommands`]. Never knows: its arguments.

use crate::command::Spec;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecentCommands {
    /// Of the request just presented, if it is one.
    at_hand: Option<&'static Spec>,
    /// The last one, as CLIENT LIST shows it.
    shown: Option<&'static Spec>,
}

impl RecentCommands {
    pub(super) const fn at_hand(&self) -> Option<&'static Spec> {
        self.at_hand
    }

    pub(super) const fn shown(&self) -> Option<&'static Spec> {
        self.shown
    }

    /// A request is this command.
    #[inline(always)]
    pub(super) const fn note(&mut self, spec: &'static Spec) {
        (self.at_hand, self.shown) = (Some(spec), Some(spec));
    }

    /// A request of a replica, of which nothing is shown, is this command.
    pub(super) const fn note_unshown(&mut self, spec: &'static Spec) {
        self.at_hand = Some(spec);
    }

    /// Another request is presented, of which it is not known yet.
    #[inline(always)]
    pub(super) const fn begin(&mut self) {
        self.at_hand = None;
    }
}

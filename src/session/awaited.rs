//! Requests in flight whose reply must arrive before the next request is judged.
//!
//! Owns: [`Awaited`]. Never knows: what is asked, replies.

/// At most one at a time: nothing is judged, so nothing is sent, before it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Awaited {
    #[default]
    Nothing,
    /// HELLO, SELECT, an EXEC that changes what is known here, or a script that may have to be sent again.
    Outcome,
    /// EXEC of so many commands, as CLIENT LIST shows it.
    Exec(u32),
}

impl Awaited {
    pub(super) const fn is_any(self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// How many commands the transaction has.
    pub(super) const fn commands(self) -> Option<u32> {
        match self {
            Self::Exec(commands) => Some(commands),
            Self::Nothing | Self::Outcome => None,
        }
    }

    /// This was sent.
    pub(super) fn begin(&mut self, what: Self) {
        debug_assert!(!self.is_any(), "something was sent before the outcome of another was known");
        debug_assert!(what.is_any(), "no outcome is awaited");
        debug_assert!(what.commands() != Some(0), "EXEC of nothing changes nothing");
        *self = what;
    }

    /// What was sent is answered, or will not be.
    pub(super) const fn end(&mut self) {
        *self = Self::Nothing;
    }
}

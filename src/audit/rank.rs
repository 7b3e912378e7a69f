//! The ranks of events: which of them have room in a queue when it is short.
//!
//! Owns: [`Rank`]. Never knows: events, queues.

/// Of which kind an event is. Each has some room that the ones before it cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// A command: others are held before there is no room for it.
    Command,
    /// A connection or a login.
    Client,
    /// What an operator does, a reload, start and stop.
    Operator,
}

impl Rank {
    /// The room that an event of this rank may use, in sixteenths of the queue.
    pub(super) const fn share(self) -> usize {
        match self {
            Self::Command => 14,
            Self::Client => 15,
            Self::Operator => 16,
        }
    }
}

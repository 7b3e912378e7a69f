//! What a command reaches beyond the keys and channels that it names.
//!
//! Owns: [`Reach`], [`PatternAt`], [`Does`]. Never knows: which keys are allowed, how a refusal is worded.

use super::Access;

/// What a request reaches that its arguments do not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Nothing: the client's own connection, and facts that are the same for every client.
    Named,
    /// Keys whose names fit a pattern: `KEYS`, `SCAN`.
    Scan(PatternAt),
    /// Another database, where `DB` names one: `COPY`.
    Copy,
    /// Another database: `MOVE`.
    Move,
    /// Another server, which gets keys under their whole names: `MIGRATE`.
    Migrate,
    /// Channels whose names fit a pattern: `PUBSUB CHANNELS`.
    ChannelScan,
    /// How many clients listen to the channels that are named: `PUBSUB NUMSUB`.
    ChannelCount,
    /// Changes of keys, by name and without their database: `CLIENT TRACKING`.
    Invalidations,
    /// A report about the server with figures of all clients in it: `INFO`.
    Report,
    /// Every key of the session's database.
    Database(Does),
    /// All databases, all clients, or the server itself.
    Server(Does),
}

/// Where a request has the pattern that names of keys must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PatternAt {
    /// Argument 1: `KEYS`.
    Argument,
    /// Behind `MATCH`, and none where it is not given: `SCAN`.
    Option,
}

/// What is done to that which is not named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Does {
    ShowsKeys,
    CountsKeys,
    RemovesKeys,
    MovesKeys,
    ReachesKeys,
    /// With their arguments.
    ShowsRequests,
    SendsData,
    ReplacesData,
    ExchangesDatabases,
    ShowsServer,
    ChangesServer,
    ShowsScripts,
    ChangesScripts,
}

impl Does {
    /// What a selector must allow on every key so that this is nothing new; `None`: it is not about
    /// keys.
    #[must_use]
    pub const fn access(self) -> Option<Access> {
        match self {
            Self::ShowsKeys | Self::CountsKeys | Self::ShowsRequests | Self::SendsData => {
                Some(Access::READ)
            }
            Self::RemovesKeys => Some(Access::WRITE),
            Self::MovesKeys | Self::ReachesKeys | Self::ReplacesData | Self::ExchangesDatabases => {
                Some(Access::READ_WRITE)
            }
            Self::ShowsServer | Self::ChangesServer | Self::ShowsScripts | Self::ChangesScripts => {
                None
            }
        }
    }
}

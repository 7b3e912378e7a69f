//! Whether a client is a replica of the server.
//!
//! Owns: [`Replication`]. Never knows: the commands that make it one.

/// How far a session has become a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Replication {
    #[default]
    No,
    /// The server knows the client's REPLCONF.
    Announced,
    /// After SYNC or PSYNC: what the server sends passes as it comes.
    Streaming,
}

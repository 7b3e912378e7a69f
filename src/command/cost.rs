//! What the server's work for a command grows with, beyond the request and the data that it names.
//!
//! Owns: [`Cost`]. Never knows: how much is allowed, sessions.

/// How much work one request can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cost {
    /// In proportion to the request and to the data that it names.
    Linear,
    /// Each key is compared with every key that the connection watches: `WATCH`.
    Watched,
    /// Each pattern is compared with every pattern of the connection: `PSUBSCRIBE`, `PUNSUBSCRIBE`.
    Patterns,
    /// Each prefix is compared with every other of the connection, and each write on the server with
    /// all of them: `CLIENT TRACKING`.
    Prefixes,
    /// A negative number in argument `arg` returns as many elements, however few there are:
    /// `SRANDMEMBER`.
    Repeats { arg: usize },
}

//! What one shared connection has decided.
//!
//! Owns: [`Action`]. Never knows: why, how it is carried out.

use crate::upstream::ended::Ended;

/// What the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial the connection that is to take over.
    DialSuccessor,
    /// Log in with the password in force.
    LogIn,
    /// The server has accepted that login, or has not.
    LoggedIn(bool),
    /// Dial another connection beside this one.
    DialRelief,
    /// Nothing comes of that any more.
    DropRelief,
    /// Let the successor, which is at hand, carry what this one holds up.
    MoveOver,
    /// Let another connection take everything new, if one more may be set aside.
    StepAside,
    /// The server has become silent, or answers again.
    Silent(bool),
    /// The server serves others but has not begun to answer the head of this line, or goes on.
    Stalled(bool),
    /// The server works.
    Proven,
    /// The server has answered a probe, or has not.
    HealthCheck(bool),
    /// The server has refused what completes a request that it has executed, and not for a while only.
    NotCompleted,
    /// The server reports that it is no primary.
    Misplaced,
    End(Ended),
}

//! What an operator may want to know of the server and the way to it.
//!
//! Owns: [`Condition`], [`LastError`]. Never knows: where it is shown.

use std::time::Instant;

/// What is known of the server and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub up: bool,
    /// The kind of the server, and its version.
    pub server: Option<String>,
    pub out_since: Option<Instant>,
    /// The last attempt to connect that failed: when, its code, its text, and what to do.
    pub last_error: Option<LastError>,
    /// No further attempt is made at this moment.
    pub breaker_open: bool,
}

/// An attempt to connect that failed.
#[derive(Clone, Debug)]
pub(crate) struct LastError {
    pub at: Instant,
    pub code: &'static str,
    pub cause: Box<str>,
    pub fix: Box<str>,
}

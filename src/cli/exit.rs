//! Exit codes that more than one verb returns.
//!
//! Owns: their numbers. Never knows: which verb returns one when (its help lists them).

/// Everything is as it should be.
pub(super) const SUCCESS: u8 = 0;
/// The configuration is invalid, or the answer to the question is no.
pub(super) const FAILURE: u8 = 1;
/// The command line is invalid.
pub(super) const USAGE: u8 = 2;
/// The server cannot be used.
pub(super) const UNUSABLE: u8 = 3;
/// No respgate answers.
pub(super) const NO_ANSWER: u8 = 3;
/// An internal error has ended the process.
pub(super) const BROKEN: u8 = 4;

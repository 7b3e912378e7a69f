//! Scripts of respgate's own that try to get past the guard.
//!
//! Owns: [`canary`], [`seal`]. Never knows: connections, how the answers are judged.

use std::sync::Arc;

use super::globals::Globals;
use super::prologue::{Guard, Guarded};

/// Every way out that is known, tried behind a prologue that lets nothing run. What succeeds has
/// escaped.
const CANARY: &str = include_str!("canary.lua");
/// Runs only on a server that puts scripts into a function by their text.
const UNSEALED: &str = "return 0 end redis.call('ECHO','x') do";

/// The script that tries to escape from respgate's own guard; it answers `kept` when nothing did.
#[must_use]
pub(crate) fn canary(globals: &Arc<Globals>) -> Vec<u8> {
    Guarded::new(Arc::new(Guard::closed()), Arc::clone(globals), 0).write(CANARY.as_bytes())
}

/// The script that must not compile.
#[must_use]
pub(crate) fn seal(globals: &Arc<Globals>) -> Vec<u8> {
    Guarded::new(Arc::new(Guard::closed()), Arc::clone(globals), 0).write(UNSEALED.as_bytes())
}

//! How a task that could go on for ever lets the others have their turn.
//!
//! Owns: [`yield_to_io`]. Never knows: what the task does.

use std::pin::pin;
use std::task::Context;

/// Wakes the task again only after the sockets were looked at. A task that merely wakes itself keeps
/// every waiting task whose socket has something: the runtime looks at sockets when no task is ready,
/// or after dozens of turns.
pub(crate) fn yield_to_io(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

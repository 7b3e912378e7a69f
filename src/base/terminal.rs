//! Whether a stream is a terminal, and whether it shows colours.
//!
//! Owns: [`wants_colours`]. Never knows: what is written.

use std::io::IsTerminal;

/// Colours only on a terminal that has them (`TERM` is not `dumb`), and never with `NO_COLOR`.
#[must_use]
pub(crate) fn wants_colours(stream: &impl IsTerminal) -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !plain && !dumb
}

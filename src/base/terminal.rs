//! What a terminal shows: whether it has colours, and which characters change more than their own place.
//!
//! Owns: [`wants_colours`], [`is_deceptive`]. Never knows: what is written.

use std::io::IsTerminal;

/// Colours only on a terminal that has them (`TERM` is not `dumb`), and never with `NO_COLOR`.
#[must_use]
pub(crate) fn wants_colours(stream: &impl IsTerminal) -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !plain && !dumb
}

/// Whether a character in a text of others changes how the rest of its line is shown: control characters, ends of
/// lines, and those that turn the direction of what follows.
#[must_use]
pub(crate) fn is_deceptive(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

//! What a terminal shows: whether it has colours, and which characters change more than their own place.
//!
//! Owns: [`wants_colours`], [`is_deceptive`], [`escape_json`]. Never knows: what is written.

use std::borrow::Cow;
use std::fmt::Write;
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

/// The same JSON (RFC 8259 §7), in which no text of others changes how the rest of its line is shown. Control
/// characters of ASCII are escaped in JSON already.
#[must_use]
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    let is_raw = |letter: char| !letter.is_ascii() && is_deceptive(letter);
    if !json.contains(is_raw) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        // All of these have four digits.
        if is_raw(letter) {
            // A String takes every text.
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    Cow::Owned(text)
}

//! What a terminal shows: whether it has colours, and which characters change more than their own place.
//!
//! Owns: [`wants_colours`], [`is_deceptive`], [`escape_text`], [`escape_json`]. Never knows: what is written.

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

/// The same text for people, in which no text of others changes how the rest of its line is shown. Its lines stay, and
/// with `colours` what colours a word.
#[must_use]
pub(crate) fn escape_text(text: &str, colours: bool) -> Cow<'_, str> {
    let is_raw = |letter: char| !matches!(letter, '\n' | '\t') && is_deceptive(letter);
    if !text.contains(is_raw) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for (at, letter) in text.char_indices() {
        if !is_raw(letter) || colours && text.get(at..).is_some_and(begins_colour) {
            escaped.push(letter);
        } else {
            escaped.extend(letter.escape_default());
        }
    }
    Cow::Owned(escaped)
}

/// Whether a text begins with the command to a terminal for one of the looks that respgate gives to words; others hide
/// what follows.
fn begins_colour(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [0x1b, b'[', b'0'..=b'2', b'm', ..] | [0x1b, b'[', b'3', b'1'..=b'3', b'm', ..]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_escaped_and_colours_and_lines_stay() {
        let raw = "\x1b[31mred\x1b[0m\ta\u{202e}b\u{9b}1m\r\n\x1b[2J\x1b[8m\x1b[\x1b]0;m";
        let shown = escape_text(raw, true);
        let rest = "\ta\\u{202e}b\\u{9b}1m\\r\n\\u{1b}[2J\\u{1b}[8m\\u{1b}[\\u{1b}]0;m";
        assert_eq!(shown, format!("\x1b[31mred\x1b[0m{rest}"));
        assert_eq!(escape_text(raw, false), format!("\\u{{1b}}[31mred\\u{{1b}}[0m{rest}"));
        assert!(matches!(escape_text("plain é\n", false), Cow::Borrowed("plain é\n")));
    }
}

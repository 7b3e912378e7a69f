//! Splits a line that a person typed into arguments, with Redis's quoting rules.
//!
//! Owns: [`split`]. Never knows: multibulk, where the line came from.

use super::error::{ProtocolError, Violation};

/// The arguments of `line` (without its line end), as `sdssplitargs` of Redis (sds.c) finds them.
/// A line of blanks has none.
///
/// # Errors
///
/// When a quote is not closed, or closed and not followed by a blank.
pub(super) fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let mut args = Vec::new();
    let mut rest = line;
    loop {
        let Some(start) = rest.iter().position(|&byte| !is_space(byte)) else { return Ok(args) };
        let (arg, after) = argument(rest.get(start..).unwrap_or_default())?;
        args.push(arg);
        rest = after;
    }
}

/// What C's `isspace` calls one.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// One argument from the front of `text`, and what follows it. A quote may open in its midst.
fn argument(text: &[u8]) -> Result<(Vec<u8>, &[u8]), ProtocolError> {
    debug_assert!(!text.first().is_none_or(|byte| is_space(*byte)), "an argument is there");
    // Grown in place, it would keep parts of a password in freed memory.
    let plain = text.iter().position(|&byte| is_space(byte)).unwrap_or(text.len());
    let mut arg = Vec::with_capacity(plain);
    let mut rest = text;
    loop {
        match rest {
            [] => return Ok((arg, rest)),
            [b' ' | b'\n' | b'\r' | b'\t', after @ ..] => return Ok((arg, after)),
            [quote @ (b'"' | b'\''), after @ ..] => {
                rest = quoted(after, *quote, &mut arg)?;
                if rest.first().is_some_and(|&byte| !is_space(byte)) {
                    return Err(ProtocolError::new(Violation::UnbalancedQuotes));
                }
                return Ok((arg, rest));
            }
            [byte, after @ ..] => {
                arg.push(*byte);
                rest = after;
            }
        }
    }
}

/// The text up to the closing `quote`, unescaped into `arg`; returns what follows the quote.
fn quoted<'a>(text: &'a [u8], quote: u8, arg: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    let double = quote == b'"';
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Err(ProtocolError::new(Violation::UnbalancedQuotes)),
            [b'\\', b'x', high, low, after @ ..]
                if double && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                arg.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] if double => {
                arg.push(unescape(*escaped));
                after
            }
            [b'\\', b'\'', after @ ..] if !double => {
                arg.push(b'\'');
                after
            }
            [byte, after @ ..] if *byte == quote => return Ok(after),
            [byte, after @ ..] => {
                arg.push(*byte);
                after
            }
        }
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    debug_assert!(digit.is_ascii_hexdigit(), "no digit");
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    fn check(line: &[u8], expected: &[&[u8]]) {
        assert_eq!(split(line).unwrap(), expected, "{}", line.escape_ascii());
    }

    /// Every line was answered the same by redis-server 7.0.15.
    #[test]
    fn inline_request_is_split_as_by_the_server() {
        check(b"", &[]);
        check(b" \t\r\x0b\x0c", &[]);
        check(b"SET a 1", &[b"SET", b"a", b"1"]);
        check(b"  SET\ta\r1  ", &[b"SET", b"a", b"1"]);
        check(b"PING \x0b\x0cx", &[b"PING", b"x"]);
        check(b"a\x0bb", &[b"a\x0bb"]);
        check(br#""PING""#, &[b"PING"]);
        check(br#"a"b c""#, &[b"ab c"]);
        check(br#"p "" ''"#, &[b"p", b"", b""]);
        check(br#"p "\x41\n\r\t\b\a\z\"\xzz""#, &[b"p", b"A\n\r\t\x08\x07z\"xzz"]);
        check(br"p 'a\'b\n'", &[b"p", br"a'b\n"]);
        check(br"p 'a\\b'", &[b"p", br"a\\b"]);
        check(br#"p \x41 "'" '"'"#, &[b"p", br"\x41", b"'", b"\""]);
    }

    #[test]
    fn inline_quotes_that_do_not_match_are_refused() {
        let lines: [&[u8]; 7] =
            [b"set \"a", b"set 'a", b"set \"a\"b", b"set 'a'b", b"\"", b"\"a\\", b"\"a\\\""];
        for line in lines {
            let error = split(line).unwrap_err();
            assert_eq!(error.kind, Violation::UnbalancedQuotes, "{}", line.escape_ascii());
        }
    }
}

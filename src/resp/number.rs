//! Reads and prints decimal numbers as the wire writes them: one spelling per value.
//!
//! Owns: every digit that is read or printed. Never knows: what a number counts.

use bytes::{BufMut, BytesMut};

/// Digits of the largest number that is read (Redis: `string2ll`, util.c).
const DIGITS_MAX: u8 = 19;

/// A length in its only spelling: digits alone, no leading zero, at most [`i64::MAX`].
#[must_use]
pub fn parse_length(text: &[u8]) -> Option<u64> {
    if text.first() == Some(&b'-') {
        return None;
    }
    parse_i64(text).and_then(|value| u64::try_from(value).ok())
}

/// A number as Redis accepts it in arguments (`string2ll`, util.c): an optional `-`, no `+`, no
/// leading zero, no blank, no `-0`.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let mut digits = Digits::default();
    for &byte in text {
        digits.push(byte)?;
    }
    digits.value()
}

/// Appends `value`.
pub(crate) fn write_u64(out: &mut BytesMut, value: u64) {
    let mut room = [0_u8; 20];
    let mut rest = value;
    let mut used = 0;
    for slot in room.iter_mut().rev() {
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        used += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    debug_assert!(rest == 0 && used > 0, "digits are missing");
    out.put_slice(room.get(room.len() - used..).unwrap_or_default());
}

/// Appends the line `<kind><value>\r\n`.
#[inline]
pub(crate) fn write_line(out: &mut BytesMut, kind: u8, value: u64) {
    let mut room = *b"                     \r\n";
    let (digits, _) = room.split_at_mut(21);
    let (mut rest, mut begin) = (value, digits.len());
    for slot in digits.iter_mut().rev() {
        begin -= 1;
        if rest == 0 && begin < 20 {
            *slot = kind;
            break;
        }
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    debug_assert!(room.get(begin) == Some(&kind), "the line begins with something else");
    out.extend_from_slice(room.get(begin..).unwrap_or_default());
}

/// Appends `value`, with a `-` before a negative one.
pub(crate) fn write_i64(out: &mut BytesMut, value: i64) {
    if value < 0 {
        out.put_u8(b'-');
    }
    write_u64(out, value.unsigned_abs());
}

/// A number whose digits arrive one by one.
#[derive(Clone, Copy, Debug, Default)]
struct Digits {
    magnitude: u64,
    count: u8,
    negative: bool,
}

impl Digits {
    #[inline]
    fn push(&mut self, byte: u8) -> Option<()> {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let begins = byte == b'-' && self.count == 0 && !self.negative;
            self.negative = true;
            return begins.then_some(());
        }
        let leading_zero = self.magnitude == 0 && (self.count > 0 || (digit == 0 && self.negative));
        if leading_zero || self.count == DIGITS_MAX {
            return None;
        }
        // Nineteen nines fit into 64 bits, so this cannot overflow.
        self.magnitude = self.magnitude * 10 + u64::from(digit);
        self.count += 1;
        debug_assert!(self.count <= DIGITS_MAX, "a number with too many digits");
        Some(())
    }

    #[inline]
    fn value(self) -> Option<i64> {
        match (self.count, self.negative) {
            (0, _) => None,
            (_, false) => i64::try_from(self.magnitude).ok(),
            (_, true) => 0_i64.checked_sub_unsigned(self.magnitude),
        }
    }
}

/// The number in the line at the front of `frame`, behind the byte that shows its kind, and the bytes behind that line.
#[inline]
pub(crate) fn leading_line(frame: &[u8]) -> Option<(i64, &[u8])> {
    let line = frame.get(1..)?;
    if let Some((number, used)) = short_line(line) {
        return Some((i64::try_from(number).ok()?, line.get(used..)?));
    }
    let end = memchr::memchr(b'\n', line)?;
    Some((parse_i64(line.get(..end.checked_sub(1)?)?)?, line.get(end + 1..)?))
}

/// The number in front of a CRLF when all of it is here and it has at most five digits, and the
/// bytes of its line: the short way for nearly every header of real traffic. What it declines is
/// not wrong, see [`NumberLine`].
#[inline(always)]
pub(super) fn short_line(line: &[u8]) -> Option<(usize, usize)> {
    match line {
        [a @ b'0'..=b'9', b'\r', b'\n', ..] => Some((usize::from(a - b'0'), 3)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Some((usize::from(a - b'0') * 10 + usize::from(b - b'0'), 4))
        }
        [b'1'..=b'9', _, _, ..] => line_of_digits(line),
        _ => None,
    }
}

#[inline(never)]
fn line_of_digits(line: &[u8]) -> Option<(usize, usize)> {
    let digits = line.iter().take(6).take_while(|byte| byte.is_ascii_digit());
    let (value, count) = digits
        .fold((0, 0), |(value, count), digit| (value * 10 + usize::from(digit - b'0'), count + 1));
    debug_assert!(count > 0 && value < 1_000_000, "more digits than are looked at");
    let [b'\r', b'\n', ..] = line.get(count..)? else { return None };
    (count < 6).then_some((value, count + 2))
}

/// Why a line with a number was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    /// Not a number in its only spelling.
    Number,
    /// The CR is not followed by LF.
    End,
}

/// Reads a number and the CRLF behind it, however its bytes are cut.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NumberLine {
    digits: Digits,
    carriage_return: bool,
}

impl NumberLine {
    /// Takes bytes from the front of `buf`: how many, and the number once its line ended, when the
    /// reader is ready for the next line.
    #[inline]
    pub(super) fn feed(&mut self, buf: &[u8]) -> Result<(usize, Option<i64>), BadLine> {
        // Nearly every line of real traffic is one digit, and it is there as a whole.
        if let [digit @ b'0'..=b'9', b'\r', b'\n', ..] = buf
            && self.digits.count == 0
            && !self.digits.negative
        {
            return Ok((3, Some(i64::from(digit - b'0'))));
        }
        self.feed_bytes(buf)
    }

    fn feed_bytes(&mut self, buf: &[u8]) -> Result<(usize, Option<i64>), BadLine> {
        let mut line = *self;
        for (index, &byte) in buf.iter().enumerate() {
            if line.carriage_return {
                let value = line.digits.value().ok_or(BadLine::Number)?;
                *self = Self::default();
                return if byte == b'\n' {
                    Ok((index + 1, Some(value)))
                } else {
                    Err(BadLine::End)
                };
            }
            if byte == b'\r' {
                line.digits.value().ok_or(BadLine::Number)?;
                line.carriage_return = true;
            } else {
                line.digits.push(byte).ok_or(BadLine::Number)?;
            }
        }
        *self = line;
        Ok((buf.len(), None))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[test]
    fn number_has_one_spelling() {
        let good: &[(&[u8], i64)] = &[
            (b"0", 0),
            (b"7", 7),
            (b"-1", -1),
            (b"1048576", 1_048_576),
            (b"9223372036854775807", i64::MAX),
            (b"-9223372036854775808", i64::MIN),
        ];
        for (text, value) in good {
            assert_eq!(parse_i64(text), Some(*value));
            let expected = u64::try_from(*value).ok();
            assert_eq!(parse_length(text), expected);
        }
        let bad: &[&[u8]] = &[
            b"",
            b"-",
            b"-0",
            b"00",
            b"01",
            b"-01",
            b"+1",
            b" 1",
            b"1 ",
            b"0x1",
            b"1e3",
            b"--1",
            b"1-",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"18446744073709551617",
            b"\x001",
        ];
        for text in bad {
            assert_eq!(parse_i64(text), None, "{text:?}");
            assert_eq!(parse_length(text), None, "{text:?}");
        }
    }

    #[test]
    fn lines_of_every_length() {
        let mut value = 0;
        for _ in 0..21 {
            let mut out = BytesMut::new();
            write_line(&mut out, b'$', value);
            assert_eq!(out, format!("${value}\r\n").as_bytes());
            value = value.saturating_mul(10).saturating_add(9);
        }
        assert_eq!(value, u64::MAX);
    }

    #[test]
    fn number_is_written_as_it_is_read() {
        for value in [0, 1, 9, 10, 99, 100, -1, -10, i64::MAX, i64::MIN] {
            let mut out = BytesMut::new();
            write_i64(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
            assert_eq!(parse_i64(&out), Some(value));
        }
        let mut out = BytesMut::new();
        write_u64(&mut out, u64::MAX);
        assert_eq!(out, u64::MAX.to_string().as_bytes());
    }

    /// The result of a whole line, the same for every way to cut it.
    fn line(text: &[u8]) -> Result<Option<i64>, BadLine> {
        let mut whole = NumberLine::default();
        let expected = whole.feed(text);
        for cut in 0..=text.len() {
            let (head, tail) = text.split_at(cut);
            let mut cut_line = NumberLine::default();
            let got = cut_line.feed(head).and_then(|(used, value)| match value {
                Some(value) => Ok((used, Some(value))),
                None => cut_line.feed(tail).map(|(more, value)| (used + more, value)),
            });
            assert_eq!(got, expected, "{text:?} cut at {cut}");
        }
        expected.map(|(used, value)| {
            assert_eq!(used, text.len().min(used));
            value
        })
    }

    #[test]
    fn short_way_agrees_with_the_long_one() {
        let alphabet = b"0129-\r\n";
        for number in 0..alphabet.len().pow(5) {
            let mut rest = number;
            let mut text = [0; 9];
            text[5..].copy_from_slice(b"\r\n\r\n");
            for byte in &mut text[..5] {
                *byte = alphabet[rest % alphabet.len()];
                rest /= alphabet.len();
            }
            let long = NumberLine::default().feed(&text).ok();
            if let Some((value, used)) = short_line(&text) {
                assert_eq!(long, Some((used, i64::try_from(value).ok())), "{text:?}");
            } else {
                let negative = matches!(long, Some((_, Some(value))) if value < 0);
                assert!(negative || long.is_none_or(|(_, value)| value.is_none()), "{text:?}");
            }
        }
        assert_eq!(short_line(b"99999\r\n"), Some((99_999, 7)));
        assert_eq!(short_line(b"100000\r\n"), None);
    }

    #[test]
    fn number_is_read_from_lines_cut_anywhere() {
        assert_eq!(line(b"5\r\nrest"), Ok(Some(5)));
        assert_eq!(line(b"1234567\r\nrest"), Ok(Some(1_234_567)));
        assert_eq!(line(b"-1\r\n"), Ok(Some(-1)));
        assert_eq!(line(b"12"), Ok(None));
        assert_eq!(line(b"12\r"), Ok(None));
        assert_eq!(line(b"\r\n"), Err(BadLine::Number));
        assert_eq!(line(b"-\r\n"), Err(BadLine::Number));
        assert_eq!(line(b"05\r\n"), Err(BadLine::Number));
        assert_eq!(line(b"5\n"), Err(BadLine::Number));
        assert_eq!(line(b"5\rx"), Err(BadLine::End));
        assert_eq!(line(b"9999999999999999999\r\n"), Err(BadLine::Number));
        assert_eq!(line(b"11111111111111111111"), Err(BadLine::Number));
    }
}

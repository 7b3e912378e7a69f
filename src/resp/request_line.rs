//! Finds the end of a line in a client's bytes as Redis does, and reads the number in it.
//!
//! Owns: [`LineFinder`]. Never knows: what a number counts, what follows the line.

use super::error::{ProtocolError, Violation};
use super::number::{parse_i64, short_line};
use super::request_limits::RequestLimits;

/// A kind of line with a number: the byte that begins it, and what may be wrong with it.
pub(super) struct Kind {
    byte: u8,
    wrong: Violation,
    too_big: Violation,
}

pub(super) const COUNT: Kind =
    Kind { byte: b'*', wrong: Violation::MultibulkLength, too_big: Violation::TooBigCount };
pub(super) const LENGTH: Kind =
    Kind { byte: b'$', wrong: Violation::BulkLength, too_big: Violation::TooBigLength };

/// A whole line with a number.
pub(super) struct Header {
    pub number: i64,
    /// Its bytes, with the two that end it.
    pub used: usize,
    /// The line ends with CRLF; a number has one spelling anyway.
    pub canonical: bool,
}

/// How far one line was searched for its end. No byte is searched twice.
#[derive(Default)]
pub(super) struct LineFinder {
    searched: usize,
    #[cfg(test)]
    pub examined: usize,
}

impl LineFinder {
    /// Ready for the next line.
    #[inline]
    pub(super) fn reset(&mut self) {
        self.searched = 0;
    }

    /// The line of this kind that begins at `at`; `None` while it cannot be judged.
    #[inline]
    pub(super) fn header(
        &mut self,
        buf: &[u8],
        at: usize,
        kind: &Kind,
        limits: &RequestLimits,
    ) -> Result<Option<Header>, ProtocolError> {
        if let Some([byte, digits @ ..]) = buf.get(at..)
            && *byte == kind.byte
            && let Some((number, used)) = short_line(digits)
        {
            self.searched = 0;
            #[cfg(test)]
            {
                self.examined += used;
            }
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            return Ok(Some(Header { number, used: 1 + used, canonical: true }));
        }
        self.uncommon_header(buf, at, kind, limits)
    }

    fn uncommon_header(
        &mut self,
        buf: &[u8],
        at: usize,
        kind: &Kind,
        limits: &RequestLimits,
    ) -> Result<Option<Header>, ProtocolError> {
        let Some(end) = self.end(buf, at, b'\r') else {
            // Redis looks at the length of what it has, not at that of the line, and not at all once
            // there is a CR.
            let is_ending = buf.get(at + self.searched) == Some(&b'\r');
            let is_long = buf.len().saturating_sub(at) > limits.max_inline_bytes;
            return if is_long && !is_ending {
                Err(ProtocolError::new(kind.too_big))
            } else {
                Ok(None)
            };
        };
        self.searched = 0;
        if limits.is_long_line(end - at) {
            return Err(ProtocolError::new(kind.too_big));
        }
        let byte = buf.get(at).copied().unwrap_or_default();
        if byte != kind.byte {
            return Err(ProtocolError::new(Violation::ExpectedBulk(byte)));
        }
        let number = parse_i64(buf.get(at + 1..end).unwrap_or_default());
        let number = number.ok_or_else(|| ProtocolError::new(kind.wrong))?;
        let canonical = buf.get(end + 1) == Some(&b'\n');
        Ok(Some(Header { number, used: end + 2 - at, canonical }))
    }

    /// Where the line that begins at `at` ends with `mark` and, if that is a CR, any byte more.
    /// Nothing is found behind a NUL (Redis: `strchr`).
    pub(super) fn end(&mut self, buf: &[u8], at: usize, mark: u8) -> Option<usize> {
        let from = at + self.searched;
        let rest = buf.get(from..).unwrap_or_default();
        let found = memchr::memchr2(mark, 0, rest);
        #[cfg(test)]
        {
            self.examined += found.map_or(rest.len(), |at| at + 1);
        }
        let end = from + found.unwrap_or(rest.len());
        debug_assert!(end - at >= self.searched, "a byte is searched twice");
        self.searched = end - at;
        let behind = usize::from(mark == b'\r');
        (buf.get(end) == Some(&mark) && end + behind < buf.len()).then_some(end)
    }
}

//! Finds where each reply of a server ends, without building values and without keeping a byte.
//!
//! Owns: [`ReplyScanner`]. Never knows: who asked, what a reply means.

use super::body::BulkBody;
use super::error::ReplyError;
use super::number::{NumberLine, short_line};
use crate::base::limits::{INLINE_BYTES_MAX, REPLY_DEPTH_MAX};

/// What [`ReplyScanner::advance`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Bytes at the front of the buffer that belong to the current reply.
    pub used: usize,
    /// The reply ends there.
    pub done: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Before the byte that names a type.
    #[default]
    Type,
    /// Where a length begins, or a `?` instead.
    Length,
    /// In a line with a number.
    Number,
    /// Before the letter of a boolean.
    Boolean,
    /// In a line of text, of which this many more bytes are accepted.
    Line(u64),
    /// In a body, or in a CRLF alone.
    Body(Then),
}

/// What is complete when a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Value,
    /// The header of a stream; its elements follow.
    Open(Tag),
    /// A piece of a streamed string; another follows.
    Chunk,
    /// The end of a stream.
    Close,
}

/// What the elements of a level are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Counted,
    /// Describes the value behind it and is none itself.
    Attribute,
    /// Ends with `.`
    Stream,
    /// Ends with `.` after an even number of elements; `left` is that number modulo 2.
    StreamedMap,
    /// Ends with `;0`
    StreamedString,
}

#[derive(Clone, Copy)]
struct Level {
    left: u32,
    tag: Tag,
}

/// Finds the ends of replies in RESP2 and RESP3, one reply after the other, in any pieces. After
/// an error it must not be used again.
///
/// Neither the length of a bulk nor that of a simple string has a cap: nothing is kept here, and a
/// shared connection must outlive a large honest reply to one of its clients.
pub struct ReplyScanner {
    state: State,
    /// Some bytes of the current reply were seen.
    begun: bool,
    /// An attribute has ended and its value must follow.
    attributed: bool,
    /// First byte of the reply, and of the value under way.
    kind: u8,
    value: u8,
    announced: Option<u64>,
    line: NumberLine,
    body: BulkBody,
    /// Open aggregates, and the most there were in the current reply.
    depth: usize,
    deepest: usize,
    levels: [Level; REPLY_DEPTH_MAX],
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self {
            state: State::Type,
            begun: false,
            attributed: false,
            kind: 0,
            value: 0,
            announced: None,
            line: NumberLine::default(),
            body: BulkBody::default(),
            depth: 0,
            deepest: 0,
            levels: [Level { left: 0, tag: Tag::Counted }; REPLY_DEPTH_MAX],
        }
    }
}

impl ReplyScanner {
    /// Takes bytes from the front of `buf`, up to the end of the current reply at most. It needs
    /// none of them again.
    ///
    /// # Errors
    ///
    /// When the bytes are not RESP. The connection is lost.
    pub fn advance(&mut self, buf: &[u8]) -> Result<Advance, ReplyError> {
        let mut used = 0;
        loop {
            let rest = buf.get(used..).unwrap_or_default();
            let Some(&first) = rest.first() else { return Ok(Advance { used, done: false }) };
            let complete = match self.state {
                State::Type => {
                    self.begin(first)?;
                    if let Some(whole) = self.whole(rest) {
                        used += whole;
                        true
                    } else {
                        used += 1;
                        false
                    }
                }
                State::Length if first == b'?' => {
                    used += 1;
                    self.state = self.line_end(Then::Open(self.stream_tag()));
                    false
                }
                State::Length | State::Number => {
                    self.state = State::Number;
                    let (taken, number) = self.line.feed(rest).map_err(|_| ReplyError::Number)?;
                    used += taken;
                    match number {
                        Some(number) => self.number(number)?,
                        None => false,
                    }
                }
                State::Boolean => {
                    used += 1;
                    if !matches!(first, b't' | b'f') {
                        return Err(ReplyError::Scalar);
                    }
                    self.state = self.line_end(Then::Value);
                    false
                }
                State::Line(left) => {
                    used += self.text(rest, left)?;
                    false
                }
                State::Body(then) => {
                    used += self.body.feed(rest).map_err(|_| ReplyError::LineEnd)?;
                    self.body.done() && self.body_ended(then)?
                }
            };
            if complete && self.complete() {
                return Ok(Advance { used, done: true });
            }
        }
    }

    /// The first byte of the current or just finished reply (`+ - $ * > …`); 0 before there is one.
    /// An attribute (`|`) belongs to the reply behind it and leaves the kind open.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// Whether some but not all bytes of a reply were seen.
    #[must_use]
    pub fn in_progress(&self) -> bool {
        self.begun
    }

    /// The length of the current or just finished reply if it is one string with a header, which
    /// is known before the string arrives.
    #[must_use]
    pub fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// How deep the current or just finished reply is nested; 0 for a scalar.
    pub(super) fn deepest(&self) -> usize {
        self.deepest
    }

    /// Begins a value with the byte of its type.
    fn begin(&mut self, byte: u8) -> Result<(), ReplyError> {
        if !self.begun {
            self.begun = true;
            self.kind = 0;
            self.announced = None;
            self.deepest = 0;
        }
        if !self.may_begin(byte) {
            return Err(ReplyError::Type(byte));
        }
        if self.depth == 0 && byte != b'|' {
            self.kind = byte;
        }
        self.attributed = false;
        self.value = byte;
        self.state = match byte {
            b'+' | b'-' => State::Line(u64::MAX),
            b',' | b'(' => State::Line(INLINE_BYTES_MAX as u64),
            b'$' | b'*' | b'%' | b'~' => State::Length,
            b':' | b'!' | b'=' | b'>' | b'|' | b';' => State::Number,
            b'#' => State::Boolean,
            b'_' => self.line_end(Then::Value),
            b'.' => self.line_end(Then::Close),
            _ => return Err(ReplyError::Type(byte)),
        };
        Ok(())
    }

    /// The short way: the bytes of the value at the front of `rest` when it is common, short and
    /// here as a whole.
    #[inline]
    fn whole(&mut self, rest: &[u8]) -> Option<usize> {
        match rest {
            [b'+', b'O', b'K', b'\r', b'\n', ..] => Some(5),
            [b':', line @ ..] => short_line(line).map(|(_, used)| 1 + used),
            [b'$', line @ ..] => {
                let (length, header) = short_line(line)?;
                let [b'\r', b'\n', ..] = line.get(header + length..)? else { return None };
                if self.depth == 0 {
                    self.announced = Some(length as u64);
                }
                Some(1 + header + length + 2)
            }
            _ => None,
        }
    }

    /// Whether a value of this type may stand here.
    #[inline]
    fn may_begin(&self, byte: u8) -> bool {
        // Nothing but a value may follow an attribute.
        if self.attributed && matches!(byte, b'|' | b'.') {
            return false;
        }
        let Some(level) = self.depth.checked_sub(1).and_then(|top| self.levels.get(top)) else {
            return !matches!(byte, b'.' | b';');
        };
        match (level.tag, byte) {
            (Tag::StreamedString, _) => byte == b';',
            // A push may stand in EXEC's array: SUBSCRIBE is acknowledged by one wherever it runs.
            (_, b';') => false,
            (Tag::Stream, b'.') => true,
            (Tag::StreamedMap, b'.') => level.left == 0,
            (Tag::Counted | Tag::Attribute, b'.') => false,
            (Tag::Counted | Tag::Attribute | Tag::Stream | Tag::StreamedMap, _) => true,
        }
    }

    /// Acts on the number behind the type's byte; says whether the value is complete.
    fn number(&mut self, number: i64) -> Result<bool, ReplyError> {
        if self.value == b':' || (number == -1 && matches!(self.value, b'$' | b'*')) {
            return Ok(true);
        }
        let count = u64::try_from(number).map_err(|_| ReplyError::Number)?;
        match self.value {
            b';' if count == 0 => {
                self.depth -= 1;
                Ok(true)
            }
            b';' => {
                self.body = BulkBody::new(count);
                self.state = State::Body(Then::Chunk);
                Ok(false)
            }
            b'$' | b'!' | b'=' => {
                if self.depth == 0 {
                    self.announced = Some(count);
                }
                self.body = BulkBody::new(count);
                self.state = State::Body(Then::Value);
                Ok(false)
            }
            b'|' if count == 0 => {
                self.attributed = true;
                self.state = State::Type;
                Ok(false)
            }
            _ if count == 0 => Ok(true),
            kind => {
                let elements = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                let tag = if kind == b'|' { Tag::Attribute } else { Tag::Counted };
                let count = u32::try_from(count).ok().and_then(|count| count.checked_mul(elements));
                self.open(count.ok_or(ReplyError::Number)?, tag)?;
                Ok(false)
            }
        }
    }

    /// Takes text up to the end of its line.
    #[inline]
    fn text(&mut self, rest: &[u8], left: u64) -> Result<usize, ReplyError> {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        let used = end.unwrap_or(rest.len());
        let left = left.checked_sub(used as u64).ok_or(ReplyError::Scalar)?;
        self.state = match end {
            None => State::Line(left),
            Some(_) => self.line_end(Then::Value),
        };
        Ok(used)
    }

    fn line_end(&mut self, then: Then) -> State {
        self.body = BulkBody::line_end();
        State::Body(then)
    }

    fn body_ended(&mut self, then: Then) -> Result<bool, ReplyError> {
        match then {
            Then::Value => Ok(true),
            Then::Open(tag) => self.open(0, tag).map(|()| false),
            Then::Chunk => {
                self.state = State::Type;
                Ok(false)
            }
            Then::Close => {
                self.depth -= 1;
                Ok(true)
            }
        }
    }

    fn stream_tag(&self) -> Tag {
        match self.value {
            b'$' => Tag::StreamedString,
            b'%' => Tag::StreamedMap,
            _ => Tag::Stream,
        }
    }

    fn open(&mut self, left: u32, tag: Tag) -> Result<(), ReplyError> {
        let level = self.levels.get_mut(self.depth).ok_or(ReplyError::Depth)?;
        *level = Level { left, tag };
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.state = State::Type;
        Ok(())
    }

    /// Counts a complete value in its aggregate, which may complete that one too; says whether the
    /// reply is complete.
    #[inline]
    fn complete(&mut self) -> bool {
        self.state = State::Type;
        while let Some(level) = self.depth.checked_sub(1).and_then(|top| self.levels.get_mut(top)) {
            match level.tag {
                Tag::Counted => {
                    level.left -= 1;
                    if level.left > 0 {
                        return false;
                    }
                    self.depth -= 1;
                }
                Tag::Attribute => {
                    level.left -= 1;
                    if level.left == 0 {
                        self.depth -= 1;
                        self.attributed = true;
                    }
                    return false;
                }
                Tag::StreamedMap => {
                    level.left ^= 1;
                    return false;
                }
                Tag::Stream | Tag::StreamedString => return false,
            }
        }
        self.begun = false;
        true
    }
}

impl std::fmt::Debug for ReplyScanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyScanner")
            .field("kind", &char::from(self.kind))
            .field("begun", &self.begun)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

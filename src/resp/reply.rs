//! Finds where each reply of a server ends, without building values and without keeping a byte.
//!
//! Owns: [`ReplyScanner`]. Never knows: requests, what a reply means.

use super::Protocol;
use super::body::BulkBody;
use super::error::ReplyError;
use super::number::{NumberLine, short_line};
use crate::base::limits::REPLY_STREAMS_MAX;

/// What [`ReplyScanner::advance`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Bytes at the front of the buffer that belong to the current reply.
    pub used: usize,
    /// The reply ends there.
    pub done: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the byte that names a type.
    Type,
    /// Where a length begins, or a `?` instead.
    Length,
    /// In a line with a number.
    Number,
    /// Before the letter of a boolean.
    Boolean,
    /// In a line of text; whether the byte before was a CR.
    Line(bool),
    /// In a body, or in a CRLF alone.
    Body(Then),
}

/// What is complete when a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Value,
    /// The header of a stream; its elements follow.
    Open(Stream),
    /// A piece of a streamed string; another follows.
    Chunk,
    /// The end of a stream.
    Close,
}

/// An aggregate or string whose header has no length.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// Ends with `.`
    Elements,
    /// Ends with `.` after an even number of elements; whether that is so.
    Pairs { even: bool },
    /// Ends with `;0`
    Text,
}

/// A stream under way, and the values that are due outside of it once it ends.
#[derive(Clone, Copy)]
struct Outer {
    stream: Stream,
    left: u64,
}

/// Finds the ends of replies, one reply after the other, in any pieces. After an error it must not
/// be used again.
///
/// Neither depth nor any length has a cap: the values that are due are one number, whatever they are
/// nested in, and no byte is kept. A shared connection must outlive every valid reply that
/// one of its clients can cause. Only streams, which no server of today sends, need a stack.
pub struct ReplyScanner {
    protocol: Protocol,
    state: State,
    /// Some bytes of the current reply were seen.
    begun: bool,
    /// The value under way is the reply itself, not one within it or in an attribute.
    outermost: bool,
    /// A push is part of the reply, or the reply is one.
    pushed: bool,
    /// First byte of the reply, and of the value under way.
    kind: u8,
    value: u8,
    announced: Option<u64>,
    line: NumberLine,
    body: BulkBody,
    /// Values that are due in the innermost stream, or in the reply.
    left: u64,
    streams: Vec<Outer>,
}

impl Default for ReplyScanner {
    /// For RESP3, which contains RESP2.
    fn default() -> Self {
        Self::new(Protocol::Resp3)
    }
}

impl ReplyScanner {
    /// In RESP2 the types of RESP3 are no replies.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            state: State::Type,
            begun: false,
            outermost: false,
            pushed: false,
            kind: 0,
            value: 0,
            announced: None,
            line: NumberLine::default(),
            body: BulkBody::default(),
            left: 0,
            streams: Vec::new(),
        }
    }

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
            let Some(&first) = rest.first() else {
                debug_assert_eq!(used, buf.len(), "bytes are left over");
                self.check_invariants();
                return Ok(Advance { used, done: false });
            };
            let complete = match self.state {
                State::Type if self.left == 0 && self.streams.is_empty() => {
                    debug_assert!(!self.begun, "a reply begins within another");
                    if let Some((whole, length)) = short(rest) {
                        (self.kind, self.pushed, self.announced) = (first, false, length);
                        return Ok(Advance { used: used + whole, done: true });
                    }
                    self.begin(first)?;
                    used += 1;
                    false
                }
                State::Type => {
                    // Within a reply, where such a value may be unless a stream begins there.
                    let inside = self.left > 0 && self.kind != 0;
                    if let Some((whole, _)) = short(rest).filter(|_| inside) {
                        used += whole;
                        true
                    } else {
                        self.begin(first)?;
                        used += 1;
                        false
                    }
                }
                State::Length if first == b'?' && self.protocol == Protocol::Resp3 => {
                    used += 1;
                    self.state = self.line_end(Then::Open(self.stream()));
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
                State::Line(ending) => {
                    let (taken, ended) = text(rest, ending);
                    used += taken;
                    self.state = State::Line(rest.get(taken - 1) == Some(&b'\r'));
                    ended
                }
                State::Body(then) => {
                    used += self.body.feed(rest).map_err(|_| ReplyError::LineEnd)?;
                    self.body.done() && self.body_ended(then)?
                }
            };
            if complete && self.complete() {
                self.check_invariants();
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

    /// Whether the bytes of the current or just finished reply that were seen hold a push. It may be
    /// part of a reply on a connection that subscribes within EXEC; anywhere else the server has
    /// written a message between the parts of a reply, and its end is unknown.
    #[must_use]
    pub fn has_push(&self) -> bool {
        self.pushed
    }

    /// What holds between two pieces.
    fn check_invariants(&self) {
        debug_assert!(self.begun || self.left == 0, "values are due after the reply");
        debug_assert!(self.begun || self.streams.is_empty(), "a stream after the reply");
        debug_assert!(self.begun || self.state == State::Type, "half a value after the reply");
        debug_assert!(self.streams.len() <= REPLY_STREAMS_MAX, "the stack is bounded");
        let ended = matches!(self.state, State::Body(_)) && self.body.done();
        debug_assert!(!ended, "it waits for more of a body that is here");
        let due = self.left > 0 || self.streams.last().is_some();
        debug_assert!(!self.begun || due, "it waits for no value");
    }

    /// Begins a value with the byte of its type.
    fn begin(&mut self, byte: u8) -> Result<(), ReplyError> {
        if !self.begun {
            self.begun = true;
            self.kind = 0;
            self.announced = None;
            self.pushed = false;
            self.left = 1;
        }
        let resp2 = matches!(byte, b'+' | b'-' | b':' | b'$' | b'*');
        if !(resp2 || self.protocol == Protocol::Resp3) || !self.may_begin(byte) {
            return Err(ReplyError::Type(byte));
        }
        // One more element of a stream.
        if self.left == 0 && !matches!(byte, b'.' | b';') {
            self.left = 1;
        }
        // The reply itself is due until it begins, so within an attribute more than one value is.
        self.outermost =
            self.kind == 0 && self.left == 1 && self.streams.is_empty() && byte != b'|';
        if self.outermost {
            self.kind = byte;
        }
        self.pushed |= byte == b'>';
        self.value = byte;
        self.state = match byte {
            b'+' | b'-' | b',' | b'(' => State::Line(false),
            b'$' | b'*' | b'%' | b'~' => State::Length,
            b':' | b'!' | b'=' | b'>' | b'|' | b';' => State::Number,
            b'#' => State::Boolean,
            b'_' => self.line_end(Then::Value),
            b'.' => self.line_end(Then::Close),
            _ => return Err(ReplyError::Type(byte)),
        };
        Ok(())
    }

    /// Whether a value of this type may be here.
    #[inline]
    fn may_begin(&self, byte: u8) -> bool {
        match self.streams.last() {
            Some(Outer { stream: Stream::Text, .. }) => byte == b';',
            Some(Outer { stream, .. }) if byte == b'.' => {
                self.left == 0 && *stream != Stream::Pairs { even: false }
            }
            Some(_) | None => !matches!(byte, b'.' | b';'),
        }
    }

    /// Acts on the number behind the type's byte; returns whether the value is complete.
    fn number(&mut self, number: i64) -> Result<bool, ReplyError> {
        if self.value == b':' || (number == -1 && matches!(self.value, b'$' | b'*')) {
            return Ok(true);
        }
        let count = u64::try_from(number).map_err(|_| ReplyError::Number)?;
        match self.value {
            b';' if count == 0 => {
                self.close();
                Ok(true)
            }
            b';' => {
                self.body = BulkBody::new(count);
                self.state = State::Body(Then::Chunk);
                Ok(false)
            }
            b'$' | b'!' | b'=' => {
                if self.outermost {
                    self.announced = Some(count);
                }
                self.body = BulkBody::new(count);
                self.state = State::Body(Then::Value);
                Ok(false)
            }
            // The elements are due instead of what holds them, or besides the value they describe.
            kind => {
                let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                let due = count.checked_mul(each).ok_or(ReplyError::Number)?;
                if due == 0 && kind != b'|' {
                    return Ok(true);
                }
                let left = self.left.saturating_sub(u64::from(kind != b'|'));
                self.left = left.checked_add(due).ok_or(ReplyError::Number)?;
                self.state = State::Type;
                Ok(false)
            }
        }
    }

    fn line_end(&mut self, then: Then) -> State {
        self.body = BulkBody::line_end();
        State::Body(then)
    }

    fn body_ended(&mut self, then: Then) -> Result<bool, ReplyError> {
        match then {
            Then::Value => Ok(true),
            Then::Open(stream) => self.open(stream).map(|()| false),
            Then::Chunk => {
                self.state = State::Type;
                Ok(false)
            }
            Then::Close => {
                self.close();
                Ok(true)
            }
        }
    }

    fn stream(&self) -> Stream {
        match self.value {
            b'$' => Stream::Text,
            b'%' => Stream::Pairs { even: true },
            _ => Stream::Elements,
        }
    }

    fn open(&mut self, stream: Stream) -> Result<(), ReplyError> {
        if self.streams.len() >= REPLY_STREAMS_MAX {
            return Err(ReplyError::Depth);
        }
        self.streams.push(Outer { stream, left: self.left });
        self.left = 0;
        self.state = State::Type;
        Ok(())
    }

    /// The innermost stream ends, which completes a value.
    fn close(&mut self) {
        debug_assert!(!self.streams.is_empty(), "the end of no stream");
        if let Some(outer) = self.streams.pop() {
            self.left = outer.left;
        }
    }

    /// Counts a complete value; returns whether the reply is complete.
    #[inline]
    fn complete(&mut self) -> bool {
        debug_assert!(self.left > 0, "a value that was not due");
        self.state = State::Type;
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return false;
        }
        match self.streams.last_mut() {
            None => {
                self.begun = false;
                true
            }
            Some(Outer { stream: Stream::Pairs { even }, .. }) => {
                *even = !*even;
                false
            }
            Some(_) => false,
        }
    }
}

/// The short way: the bytes of the value at the front of `rest` when it is common in both versions,
/// short and here as a whole; and its length if it is a string with a header.
#[inline]
fn short(rest: &[u8]) -> Option<(usize, Option<u64>)> {
    match rest {
        [b'+', b'O', b'K', b'\r', b'\n', ..] => Some((5, None)),
        [b':', line @ ..] => short_line(line).map(|(_, used)| (1 + used, None)),
        [b'$', line @ ..] => {
            let (length, header) = short_line(line)?;
            let [b'\r', b'\n', ..] = line.get(header + length..)? else { return None };
            Some((1 + header + length + 2, Some(length as u64)))
        }
        _ => None,
    }
}

/// How much of `rest` belongs to a line of text, and whether it ends there: with the first CRLF. The
/// text is data, so a CR or LF alone may be part of it.
#[inline]
fn text(rest: &[u8], mut ending: bool) -> (usize, bool) {
    let mut used = 0;
    while let Some(at) = rest.get(used..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let end = used + at;
        ending = end.checked_sub(1).map_or(ending, |before| rest.get(before) == Some(&b'\r'));
        used = end + 1;
        if ending {
            return (used, true);
        }
    }
    (rest.len(), false)
}

impl std::fmt::Debug for ReplyScanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyScanner")
            .field("kind", &char::from(self.kind))
            .field("begun", &self.begun)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

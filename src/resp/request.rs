//! A command as bytes: its arguments, and the canonical frame that holds them.
//!
//! Owns: [`Request`], [`RequestBuf`]. Never knows: what any command means, how bytes arrive.

use std::fmt;
use std::ops::Range;

use bytes::{BufMut, BytesMut};
use zeroize::Zeroize;

use super::{encode, number};

/// Where an argument is in its frame. A frame never exceeds 4 GiB
/// ([`crate::base::limits::REQUEST_BYTES_MAX`]), so 32 bits are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end, "it ends before it begins");
        let narrow = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    #[inline]
    pub(super) fn of(self, frame: &[u8]) -> &[u8] {
        frame.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One request, borrowed: at least one argument declared, its bytes canonical.
///
/// The head of a request with a large argument is one too: it knows how many arguments are
/// declared, but holds only those before the large one.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Spans are positions in it.
    pub(super) frame: &'a [u8],
    /// Where the first line begins in `frame`.
    pub(super) start: usize,
    pub(super) spans: &'a [Span],
    pub(super) declared: usize,
    pub(super) announced: Option<u64>,
}

impl<'a> Request<'a> {
    /// The declared number of arguments, the command's name included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a request is never empty")]
    pub fn len(&self) -> usize {
        self.declared
    }

    /// The number of arguments that are here; less than [`Self::len`] only in a head.
    #[must_use]
    pub fn available(&self) -> usize {
        self.spans.len()
    }

    /// Argument `i`; 0 is the command's name. `None` when it is not here.
    #[must_use]
    #[inline]
    pub fn arg(&self, i: usize) -> Option<&'a [u8]> {
        debug_assert!(self.spans.len() <= self.declared, "more arguments than declared");
        self.spans.get(i).map(|span| span.of(self.frame))
    }

    /// The arguments that are here.
    pub fn args(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let frame = self.frame;
        self.spans.iter().map(move |span| span.of(frame))
    }

    /// The canonical bytes of the whole request; of a head everything up to and including the
    /// header line of the large argument.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.frame.get(self.start..).unwrap_or_default()
    }

    /// Where the bytes of argument `i` are in [`Self::raw`]. `None` when it is not here.
    #[must_use]
    #[inline]
    pub fn place(&self, i: usize) -> Option<Range<usize>> {
        let span = self.spans.get(i)?;
        Some((span.start as usize).checked_sub(self.start)?..(span.end as usize) - self.start)
    }

    /// Where argument `i` begins in [`Self::raw`], its header included; behind the last one that is
    /// here, where it ends.
    #[must_use]
    #[inline]
    pub fn begin(&self, i: usize) -> usize {
        let before = i.min(self.spans.len()).checked_sub(1).and_then(|last| self.place(last));
        match before {
            Some(place) => place.end + 2,
            None => self.raw().iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1),
        }
    }

    /// The length of the large argument, if this is a head.
    #[must_use]
    pub fn announced(&self) -> Option<u64> {
        self.announced
    }
}

/// Shows sizes alone: arguments may be secrets.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("len", &self.len())
            .field("available", &self.available())
            .field("bytes", &self.raw().len())
            .field("announced", &self.announced)
            .finish()
    }
}

/// Room for `*<count>\r\n` in front of the arguments of a [`RequestBuf`].
const FIRST_LINE_BYTES: usize = 16;

/// An owned request in canonical form: for inline commands, queued commands and tests.
///
/// Without an argument the bytes are no request.
#[derive(Clone, Default)]
pub struct RequestBuf {
    bytes: BytesMut,
    /// Where the frame begins in `bytes`.
    start: usize,
    spans: Vec<Span>,
}

impl RequestBuf {
    /// The request with these arguments.
    pub fn from_args<I, A>(args: I) -> Self
    where
        I: IntoIterator<Item = A>,
        A: AsRef<[u8]>,
    {
        let mut request = Self::default();
        for arg in args {
            request.append(arg.as_ref());
        }
        if !request.is_empty() {
            request.write_count(request.spans.len());
        }
        request
    }

    /// Appends one argument; the frame is valid after each.
    pub fn push_arg(&mut self, arg: &[u8]) {
        self.append(arg);
        self.write_count(self.spans.len());
    }

    fn append(&mut self, arg: &[u8]) {
        self.make_room();
        encode::bulk(&mut self.bytes, arg);
        let end = self.bytes.len() - 2;
        let span = Span::new(end - arg.len(), end);
        debug_assert!(span.of(&self.bytes) == arg, "the span is of something else");
        self.spans.push(span);
    }

    /// Makes it the head of a request of `declared` arguments, whose next one has this length.
    pub(super) fn announce(&mut self, declared: usize, length: u64) {
        debug_assert!(declared > self.spans.len(), "the large argument was not declared");
        self.make_room();
        number::write_line(&mut self.bytes, b'$', length);
        self.write_count(declared);
    }

    fn make_room(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.put_bytes(0, FIRST_LINE_BYTES);
        }
    }

    /// Nothing of it stays in memory.
    pub(super) fn wipe(&mut self) {
        self.bytes.zeroize();
    }

    /// Bytes kept.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }

    /// Removes every argument and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.spans.clear();
    }

    /// Whether it has no argument, so that it is no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    #[must_use]
    pub fn as_request(&self) -> Request<'_> {
        Request {
            frame: &self.bytes,
            start: self.start,
            spans: &self.spans,
            declared: self.spans.len(),
            announced: None,
        }
    }

    /// Writes the first line, whose length depends on the count, so that it ends where the
    /// arguments begin.
    fn write_count(&mut self, count: usize) {
        let mut line = BytesMut::with_capacity(FIRST_LINE_BYTES);
        line.put_u8(b'*');
        number::write_u64(&mut line, count as u64);
        line.put_slice(b"\r\n");
        debug_assert!(line.len() <= FIRST_LINE_BYTES, "the first line has no room");
        self.start = FIRST_LINE_BYTES.saturating_sub(line.len());
        if let Some(room) = self.bytes.get_mut(self.start..FIRST_LINE_BYTES) {
            room.copy_from_slice(&line);
        }
    }
}

impl From<Request<'_>> for RequestBuf {
    fn from(request: Request<'_>) -> Self {
        Self::from_args(request.args())
    }
}

/// Shows sizes alone: arguments may be secrets.
impl fmt::Debug for RequestBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_request().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[test]
    fn request_is_canonical_at_every_length() {
        let mut request = RequestBuf::default();
        let mut body = String::new();
        for count in 1..=1100 {
            let arg = "x".repeat(count % 13);
            request.push_arg(arg.as_bytes());
            body += &format!("${}\r\n{arg}\r\n", arg.len());
            let seen = request.as_request();
            assert_eq!(seen.raw(), format!("*{count}\r\n{body}").as_bytes());
            assert_eq!((seen.len(), seen.available()), (count, count));
            assert_eq!(seen.arg(count - 1), Some(arg.as_bytes()));
            assert_eq!(seen.arg(0), Some(&b"x"[..]));
            assert_eq!(seen.arg(count), None);
        }
        request.clear();
        request.push_arg(b"PING");
        assert_eq!(request.as_request().raw(), b"*1\r\n$4\r\nPING\r\n");
        let copy = RequestBuf::from(request.as_request());
        assert!(copy.as_request().args().eq([b"PING"]));
    }

    #[test]
    fn positions_of_arguments() {
        let owned = RequestBuf::from_args(["SET", "", "k\r\n", &"v".repeat(100)]);
        let request = owned.as_request();
        let raw = request.raw();
        let mut expected = BytesMut::from("*4\r\n");
        for (i, arg) in request.args().enumerate() {
            assert_eq!(raw[..request.begin(i)], expected, "{i}");
            encode::bulk(&mut expected, arg);
            assert_eq!(raw.get(request.place(i).unwrap()), Some(arg), "{i}");
        }
        assert_eq!((request.begin(4), request.begin(9)), (raw.len(), raw.len()));
        assert_eq!(request.place(4), None);
    }

    #[test]
    fn debug_shows_no_argument() {
        let request = RequestBuf::from_args(["AUTH", "hunter2"]);
        let shown = format!("{request:?} {:?}", request.as_request());
        assert!(!shown.contains("hunter2") && !shown.contains("AUTH"), "{shown}");
    }
}

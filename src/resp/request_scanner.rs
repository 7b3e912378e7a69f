//! Turns the bytes of a client into requests, without copying and without beginning anew.
//!
//! Owns: [`RequestScanner`] and its limits. Never knows: what any command means, sockets.

use super::body::BulkBody;
use super::error::{ProtocolError, Violation};
use super::inline;
use super::number::{BadLine, NumberLine, short_line};
use super::request::{Request, RequestBuf, Span};
use crate::base::limits;

/// Spans that a scanner keeps between requests; those of a larger request are given back.
const SPANS_KEPT: usize = 64;

/// What a client may send. Every bound is at most the one of the same name in [`limits`].
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Arguments of a request.
    pub max_args: u32,
    /// A longer bulk is walked over ([`Scan::Oversize`]), not read.
    pub max_bulk_bytes: u64,
    /// An inline command without its line end.
    pub max_inline_bytes: usize,
    /// A bulk of at least this length is announced before it arrives ([`Scan::Head`]).
    pub large_bytes: u64,
    /// Before it is, arguments are bounded as in Redis 7 (networking.c).
    pub authenticated: bool,
}

/// What stands at the front of a client's bytes. `used` counts from the frame's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The frame is incomplete: scan again when the buffer has grown.
    More,
    /// `*0`, `*-1`, an empty line: drop these bytes, answer nothing.
    Ignored { used: usize },
    /// A whole request: take it with [`RequestScanner::request`], then drop its bytes.
    Request { used: usize },
    /// A large bulk begins behind these bytes. [`RequestScanner::request`] knows the arguments
    /// before it; the caller goes on with [`RequestScanner::collect`] or [`RequestScanner::pass`].
    Head { used: usize },
    /// A bulk over the limit begins behind these bytes. [`RequestScanner::request`] knows the
    /// arguments before it; the caller calls [`RequestScanner::pass`] and drops the frame.
    Oversize { used: usize, length: u64 },
}

/// What the front of the buffer holds of a request that is passed on, see
/// [`RequestScanner::pass`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// Bytes at the front of the buffer that belong to the request, and are well formed.
    pub used: usize,
    /// The request ends there.
    pub done: bool,
    /// The request has announced a bulk over the limit, here or before. Its server must not
    /// receive it; its end is still found.
    pub oversize: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Start,
    Inline,
    /// In the line that counts the arguments.
    Count,
    /// Where `$` must stand.
    Dollar,
    /// In the line with a bulk's length.
    Length,
    /// In a bulk that is collected.
    Bulk,
    /// Before a bulk that the caller has to decide about.
    Head,
    Oversize,
    /// In a bulk that is passed on.
    Passed,
    /// Behind a whole request.
    Whole,
}

/// Finds the requests in one client's bytes. After an error it must not be used again.
///
/// Between two requests it holds no memory worth counting.
#[derive(Default)]
pub struct RequestScanner {
    phase: Phase,
    /// Reads a request to its end once a large bulk was announced.
    collecting: bool,
    oversize: bool,
    /// Bytes of the frame that were read.
    position: usize,
    /// Arguments that the frame declared, and those whose end is still to come.
    declared: u32,
    missing: u32,
    line: NumberLine,
    /// The length of the bulk under way, and what is to come of one that is passed on.
    length: u64,
    body: BulkBody,
    spans: Vec<Span>,
    inline: Option<Box<RequestBuf>>,
    #[cfg(test)]
    examined: usize,
}

impl RequestScanner {
    /// Looks at what `buf` gained since the last call.
    ///
    /// `buf` begins at the first byte of the frame: the caller drops nothing before it is told to,
    /// and drops exactly what it is told before the next frame. After [`Scan::Request`] and
    /// [`Scan::Ignored`] the next call begins a new frame by itself; [`Self::reset`] between
    /// them gives memory back earlier.
    ///
    /// # Errors
    ///
    /// When the bytes are not a request. What was found before stands; the session must close.
    pub fn scan(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<Scan, ProtocolError> {
        if self.phase == Phase::Whole {
            self.reset();
        }
        loop {
            let rest = buf.get(self.position..).unwrap_or_default();
            match self.phase {
                Phase::Start => match rest.first() {
                    None => return Ok(Scan::More),
                    Some(b'*') => self.step(1, Phase::Count),
                    Some(_) => self.phase = Phase::Inline,
                },
                Phase::Inline => return self.scan_inline(buf, limits),
                Phase::Count => {
                    let (used, count) = self.number(rest, Violation::MultibulkLength)?;
                    self.position += used;
                    let Some(count) = count else { return Ok(Scan::More) };
                    if count <= 0 {
                        let used = self.position;
                        self.reset();
                        return Ok(Scan::Ignored { used });
                    }
                    self.declared = checked_count(count, limits)?;
                    self.missing = self.declared;
                    self.phase = Phase::Dollar;
                    self.collect_ready(buf, limits)?;
                }
                Phase::Dollar => match rest.first() {
                    None => return Ok(Scan::More),
                    Some(b'$') => self.step(1, Phase::Length),
                    Some(&other) => return Err(ProtocolError::new(Violation::ExpectedBulk(other))),
                },
                Phase::Length => {
                    let (used, length) = self.number(rest, Violation::BulkLength)?;
                    self.position += used;
                    let Some(length) = length else { return Ok(Scan::More) };
                    self.length = checked_length(length, limits)?;
                    self.phase = if self.length > limits.max_bulk_bytes {
                        Phase::Oversize
                    } else if self.length >= limits.large_bytes && !self.collecting {
                        Phase::Head
                    } else {
                        Phase::Bulk
                    };
                }
                Phase::Bulk => {
                    if !self.collect_bulk(buf)? {
                        return Ok(Scan::More);
                    }
                    self.collect_ready(buf, limits)?;
                }
                Phase::Head => return Ok(Scan::Head { used: self.position }),
                Phase::Oversize => {
                    return Ok(Scan::Oversize { used: self.position, length: self.length });
                }
                Phase::Whole => return Ok(Scan::Request { used: self.position }),
                Phase::Passed => {
                    debug_assert!(false, "scan() while body() is due");
                    return Ok(Scan::More);
                }
            }
        }
    }

    /// The request at the front of `buf`, the same that [`Self::scan`] saw; valid after
    /// [`Scan::Request`], and as a head after [`Scan::Head`] and [`Scan::Oversize`].
    #[must_use]
    pub fn request<'a>(&'a self, buf: &'a [u8]) -> Request<'a> {
        if let Some(inline) = &self.inline {
            return inline.as_request();
        }
        let announced = matches!(self.phase, Phase::Head | Phase::Oversize).then_some(self.length);
        Request {
            frame: buf.get(..self.position).unwrap_or_default(),
            start: 0,
            spans: &self.spans,
            declared: self.declared as usize,
            announced,
        }
    }

    /// After [`Scan::Head`]: goes on until the request is whole in the buffer, without another
    /// head.
    pub fn collect(&mut self) {
        debug_assert_eq!(self.phase, Phase::Head, "collect() without a head");
        self.collecting = true;
        self.phase = Phase::Bulk;
    }

    /// After [`Scan::Head`] or [`Scan::Oversize`]: the caller drops the `used` bytes and lets
    /// [`Self::body`] find the end of the request.
    pub fn pass(&mut self) {
        debug_assert!(
            matches!(self.phase, Phase::Head | Phase::Oversize),
            "pass() without a large bulk"
        );
        self.oversize = self.phase == Phase::Oversize;
        self.spans = Vec::new();
        self.body = BulkBody::new(self.length);
        self.phase = Phase::Passed;
    }

    /// After [`Self::pass`]: how much of `buf` belongs to the rest of the request. The caller drops
    /// it, or passes it on, and comes back with what follows until the request is done.
    ///
    /// # Errors
    ///
    /// When the rest is malformed. None of `buf` may be passed on; the session must close.
    pub fn body(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<Body, ProtocolError> {
        let mut used = 0;
        while self.phase != Phase::Whole {
            let rest = buf.get(used..).unwrap_or_default();
            let Some(&first) = rest.first() else { break };
            match self.phase {
                Phase::Passed => {
                    used +=
                        self.body.feed(rest).map_err(|_| ProtocolError::new(Violation::LineEnd))?;
                    if self.body.done() {
                        self.missing -= 1;
                        self.phase = if self.missing == 0 { Phase::Whole } else { Phase::Dollar };
                    }
                }
                Phase::Dollar if first == b'$' => {
                    used += 1;
                    self.phase = Phase::Length;
                }
                Phase::Dollar => return Err(ProtocolError::new(Violation::ExpectedBulk(first))),
                Phase::Length => {
                    let (taken, length) = self.number(rest, Violation::BulkLength)?;
                    used += taken;
                    if let Some(length) = length {
                        let length = checked_length(length, limits)?;
                        self.oversize |= length > limits.max_bulk_bytes;
                        self.body = BulkBody::new(length);
                        self.phase = Phase::Passed;
                    }
                }
                Phase::Start
                | Phase::Inline
                | Phase::Count
                | Phase::Bulk
                | Phase::Head
                | Phase::Oversize
                | Phase::Whole => {
                    debug_assert!(false, "body() without pass()");
                    break;
                }
            }
        }
        Ok(Body { used, done: self.phase == Phase::Whole, oversize: self.oversize })
    }

    /// Ready for the next frame. To be called once the bytes of a request are dropped, so that a
    /// silent client keeps nothing.
    pub fn reset(&mut self) {
        self.phase = Phase::Start;
        self.collecting = false;
        self.oversize = false;
        self.position = 0;
        self.line = NumberLine::default();
        self.spans.clear();
        if self.spans.capacity() > SPANS_KEPT {
            self.spans = Vec::new();
        }
        self.inline = None;
    }

    /// Whether no frame has begun, or the last one is whole.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Start | Phase::Whole)
    }

    #[inline]
    fn step(&mut self, used: usize, next: Phase) {
        self.position += used;
        self.phase = next;
    }

    /// Reads on in a line with a number; `wrong` names a bad one.
    #[inline]
    fn number(
        &mut self,
        rest: &[u8],
        wrong: Violation,
    ) -> Result<(usize, Option<i64>), ProtocolError> {
        let read = self.line.feed(rest).map_err(|bad| match bad {
            BadLine::Number => ProtocolError::new(wrong),
            BadLine::End => ProtocolError::new(Violation::LineEnd),
        })?;
        #[cfg(test)]
        {
            self.examined += read.0;
        }
        Ok(read)
    }

    /// Steps over arguments that are here as a whole and of a common length, which is nearly all
    /// there are. Whatever is uncommon stays for the phases of [`Self::scan`] to judge; they look
    /// once more at the few bytes of its header, and at no other.
    #[inline]
    fn collect_ready(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<(), ProtocolError> {
        let uncommon = limits.large_bytes.min(limits.max_bulk_bytes);
        let uncommon = uncommon.min(limits::UNAUTHENTICATED_BULK_BYTES_MAX);
        let named = !self.spans.is_empty();
        let (mut position, mut missing) = (self.position, self.missing);
        let mut rest = buf.get(position..).unwrap_or_default();
        while missing > 0
            && let [b'$', line @ ..] = rest
            && let Some((length, line_bytes)) = short_line(line)
            && (length as u64) < uncommon
            && let Some((_, after)) = line.split_at_checked(line_bytes + length)
            && let [b'\r', b'\n', after @ ..] = after
        {
            let start = position + 1 + line_bytes;
            self.spans.push(Span::new(start, start + length));
            position = start + length + 2;
            missing -= 1;
            rest = after;
        }
        #[cfg(test)]
        {
            let declined = buf.len().saturating_sub(position).min(8);
            self.examined += position - self.position + declined;
        }
        if !named && let Some(name) = self.spans.first() {
            refuse_http(name.of(buf))?;
        }
        if position > limits::REQUEST_BYTES_MAX {
            return Err(ProtocolError::new(Violation::TooBigRequest));
        }
        self.position = position;
        self.missing = missing;
        if missing == 0 {
            self.phase = Phase::Whole;
        }
        Ok(())
    }

    /// Steps over a bulk once it is there with its CRLF; says whether it is.
    #[inline]
    fn collect_bulk(&mut self, buf: &[u8]) -> Result<bool, ProtocolError> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let start = self.position;
        let end = start.saturating_add(length);
        if end > limits::REQUEST_BYTES_MAX {
            return Err(ProtocolError::new(Violation::TooBigRequest));
        }
        match buf.get(end..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Ok(false),
            _ => return Err(ProtocolError::new(Violation::LineEnd)),
        }
        let span = Span::new(start, end);
        if self.spans.is_empty() {
            refuse_http(span.of(buf))?;
        }
        self.spans.push(span);
        self.missing -= 1;
        self.step(length + 2, if self.missing == 0 { Phase::Whole } else { Phase::Dollar });
        Ok(true)
    }

    fn scan_inline(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<Scan, ProtocolError> {
        let rest = buf.get(self.position..).unwrap_or_default();
        let found = memchr::memchr2(b'\n', 0, rest);
        #[cfg(test)]
        {
            self.examined += found.map_or(rest.len(), |at| at + 1);
        }
        let end = self.position + found.unwrap_or(rest.len());
        if end > limits.max_inline_bytes {
            return Err(ProtocolError::new(Violation::TooBigInline));
        }
        self.position = end;
        if found.is_none() {
            return Ok(Scan::More);
        }
        if buf.get(end) == Some(&0) {
            return Err(ProtocolError::new(Violation::InlineNul));
        }
        let used = end + 1;
        let args = inline::split(buf.get(..end).unwrap_or_default())?;
        if args.is_empty() {
            self.reset();
            return Ok(Scan::Ignored { used });
        }
        if args.len() > limits.max_args as usize {
            return Err(ProtocolError::new(Violation::MultibulkLength));
        }
        refuse_http(args.first().map_or(&[], Vec::as_slice))?;
        self.inline = Some(Box::new(RequestBuf::from_args(args)));
        self.step(1, Phase::Whole);
        Ok(Scan::Request { used })
    }
}

/// Shows where it stands and no byte of a client.
impl std::fmt::Debug for RequestScanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestScanner")
            .field("phase", &self.phase)
            .field("position", &self.position)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

fn checked_count(count: i64, limits: &RequestLimits) -> Result<u32, ProtocolError> {
    let Some(count) = u32::try_from(count).ok().filter(|count| *count <= limits.max_args) else {
        return Err(ProtocolError::new(Violation::MultibulkLength));
    };
    if !limits.authenticated && count > limits::UNAUTHENTICATED_ARGS_MAX {
        return Err(ProtocolError::new(Violation::UnauthenticatedMultibulkLength));
    }
    Ok(count)
}

#[inline]
fn checked_length(length: i64, limits: &RequestLimits) -> Result<u64, ProtocolError> {
    let Some(length) = u64::try_from(length).ok().filter(|bytes| *bytes <= limits::BULK_BYTES_MAX)
    else {
        return Err(ProtocolError::new(Violation::BulkLength));
    };
    if !limits.authenticated && length > limits::UNAUTHENTICATED_BULK_BYTES_MAX {
        return Err(ProtocolError::new(Violation::UnauthenticatedBulkLength));
    }
    Ok(length)
}

/// Refuses the names of commands that a browser was made to send (Redis: `post` and `host:` in its
/// command table, any case). `Host:` needs no blank behind it in HTTP, and no command begins so.
#[inline]
fn refuse_http(name: &[u8]) -> Result<(), ProtocolError> {
    let http = match name {
        [b'P' | b'p', ..] => name.eq_ignore_ascii_case(b"POST"),
        [b'H' | b'h', ..] => name.get(..5).is_some_and(|it| it.eq_ignore_ascii_case(b"Host:")),
        _ => false,
    };
    if http { Err(ProtocolError::new(Violation::CrossProtocol)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;

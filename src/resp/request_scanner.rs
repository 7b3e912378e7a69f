//! Turns the bytes of a client into requests, without copying and without beginning anew.
//!
//! Owns: [`RequestScanner`] and its limits. Never knows: what any command means, sockets.

use zeroize::Zeroizing;

use super::cross_protocol::refuse_http;
use super::error::{ProtocolError, Violation};
use super::inline;
use super::ready_arguments::step_over;
use super::request::{Request, RequestBuf, Span};
use super::request_limits::RequestLimits;
use super::request_line::{COUNT, Kind, LENGTH, LineFinder};
use crate::base::limits;

const LINE_END: &[u8] = b"\r\n";
/// What follows a bulk.
const BULK_END_BYTES: u64 = LINE_END.len() as u64;

/// What is at the front of a client's bytes. `used` counts from the frame's first byte.
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
    /// In the line with a bulk's length.
    Length,
    /// In a bulk that is collected.
    Bulk,
    /// Before a bulk that the caller has to decide about.
    Head,
    Oversize,
    /// In a bulk that is passed on, or in the two bytes behind it.
    Passed,
    /// Behind a whole request.
    Whole,
}

/// Finds the requests in one client's bytes, exactly as Redis 7.0 finds them (networking.c,
/// `processInlineBuffer` and `processMultibulkBuffer`): a line is judged once its end is here, its
/// end is a CR and any byte, any two bytes end a bulk, and a NUL hides what follows it in a line.
/// What is handed out is canonical all the same. After an error it must not be used again.
///
/// Between two requests it holds no memory worth counting.
#[derive(Default)]
pub struct RequestScanner {
    phase: Phase,
    /// Reads a request to its end once a large bulk was announced.
    collecting: bool,
    oversize: bool,
    /// The frame is spelled otherwise than a canonical one: it must be written anew.
    respell: bool,
    /// Bytes of the frame that were read.
    position: usize,
    /// What was seen of the line under way.
    line: LineFinder,
    /// Arguments that the frame declared, and those whose end is still to come.
    declared: u32,
    missing: u32,
    /// The length of the bulk under way, or what is to come of one that is passed on.
    length: u64,
    spans: Vec<Span>,
    /// The request, where its own bytes are not canonical.
    own: Option<Box<RequestBuf>>,
    #[cfg(test)]
    examined: usize,
}

impl RequestScanner {
    /// Looks at what `buf` gained since the last call.
    ///
    /// `buf` begins at the first byte of the frame: the caller drops nothing before a result allows it,
    /// and drops exactly the bytes used before the next frame. After [`Scan::Request`] and
    /// [`Scan::Ignored`] the next call begins a new frame by itself; [`Self::reset`] between
    /// them gives memory back earlier.
    ///
    /// # Errors
    ///
    /// When the bytes are not a request. What was found before is valid; the session must close.
    #[inline(always)]
    pub fn scan(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<Scan, ProtocolError> {
        if self.phase == Phase::Whole {
            self.reset();
        }
        if self.phase == Phase::Start && self.scan_common(buf, limits) {
            return Ok(Scan::Request { used: self.position });
        }
        self.scan_phases(buf, limits)
    }

    /// Looks at a frame from its beginning, if it begins as nearly all do; returns whether the request is whole. What is
    /// uncommon or not here yet stays for [`Self::scan_phases`].
    #[inline(always)]
    fn scan_common(&mut self, buf: &[u8], limits: &RequestLimits) -> bool {
        let [b'*', count @ b'1'..=b'9', b'\r', b'\n', ..] = buf else { return false };
        let count = u32::from(count - b'0');
        // So few are permitted before a login, too.
        if count > limits.max_args {
            return false;
        }
        debug_assert!(self.position == 0 && self.spans.is_empty(), "a frame has begun already");
        self.declared = count;
        let common = limits.common_bulk_bytes();
        (self.position, self.missing) = step_over(buf, 4, count, common, &mut self.spans);
        if self.missing > 0 {
            self.phase = Phase::Length;
            return false;
        }
        self.phase = Phase::Whole;
        if self.conclude(buf).is_err() {
            // What refuses it looks at it from its beginning.
            self.reset();
            return false;
        }
        true
    }

    fn scan_phases(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<Scan, ProtocolError> {
        loop {
            match self.phase {
                Phase::Start => match buf.get(self.position) {
                    None => return Ok(Scan::More),
                    Some(b'*') => self.phase = Phase::Count,
                    Some(_) => self.phase = Phase::Inline,
                },
                Phase::Inline => match self.scan_inline(buf, limits)? {
                    Some(scan) => return Ok(scan),
                    None => self.phase = Phase::Whole,
                },
                Phase::Count => {
                    let Some((count, used)) = self.header(buf, self.position, &COUNT, limits)?
                    else {
                        return Ok(Scan::More);
                    };
                    self.position += used;
                    if count <= 0 {
                        let used = self.position;
                        self.reset();
                        return Ok(Scan::Ignored { used });
                    }
                    self.declared = limits.checked_count(count)?;
                    self.missing = self.declared;
                    self.phase = Phase::Length;
                    self.collect_ready(buf, limits)?;
                }
                Phase::Length => {
                    let Some((length, used)) = self.header(buf, self.position, &LENGTH, limits)?
                    else {
                        return Ok(Scan::More);
                    };
                    self.position += used;
                    self.length = limits.checked_length(length)?;
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
                Phase::Head => {
                    self.conclude(buf)?;
                    return Ok(Scan::Head { used: self.position });
                }
                Phase::Oversize => {
                    self.conclude(buf)?;
                    return Ok(Scan::Oversize { used: self.position, length: self.length });
                }
                Phase::Whole => {
                    self.conclude(buf)?;
                    return Ok(Scan::Request { used: self.position });
                }
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
        let announced = matches!(self.phase, Phase::Head | Phase::Oversize).then_some(self.length);
        let declared = self.declared as usize;
        if let Some(own) = &self.own {
            return Request { declared, announced, ..own.as_request() };
        }
        let frame = buf.get(..self.position).unwrap_or_default();
        Request { frame, start: 0, spans: &self.spans, declared, announced }
    }

    /// After [`Scan::Head`]: goes on until the request is whole in the buffer, without another
    /// head.
    pub fn collect(&mut self) {
        debug_assert_eq!(self.phase, Phase::Head, "collect() without a head");
        self.collecting = true;
        self.own = None;
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
        self.own = None;
        self.pass_bulk(self.length);
    }

    fn pass_bulk(&mut self, length: u64) {
        self.length = length.saturating_add(BULK_END_BYTES);
        self.phase = Phase::Passed;
    }

    /// After [`Self::pass`]: how much of `buf` belongs to the rest of the request. The caller drops
    /// that, keeps the rest at the front of what follows, and comes back until the request is done.
    /// `emit` gets the same in canonical form, and nothing of a line that was not judged.
    ///
    /// # Errors
    ///
    /// When the rest is malformed. The request must not be sent; the session must close.
    pub fn body(
        &mut self,
        buf: &[u8],
        limits: &RequestLimits,
        mut emit: impl FnMut(&[u8]),
    ) -> Result<Body, ProtocolError> {
        let mut used = 0;
        loop {
            let rest = buf.get(used..).unwrap_or_default();
            match self.phase {
                Phase::Passed if rest.is_empty() => break,
                Phase::Passed => used += self.pass_on(rest, &mut emit),
                Phase::Length => {
                    self.check_room(limits)?;
                    let Some((length, taken)) = self.header(buf, used, &LENGTH, limits)? else {
                        break;
                    };
                    let length = limits.checked_length(length)?;
                    self.oversize |= length > limits.max_bulk_bytes;
                    // A number has one spelling, so only the end of its line may differ.
                    emit(buf.get(used..used + taken - LINE_END.len()).unwrap_or_default());
                    emit(LINE_END);
                    used += taken;
                    self.pass_bulk(length);
                }
                Phase::Whole => break,
                Phase::Start
                | Phase::Inline
                | Phase::Count
                | Phase::Bulk
                | Phase::Head
                | Phase::Oversize => {
                    debug_assert!(false, "body() without pass()");
                    break;
                }
            }
        }
        Ok(Body { used, done: self.phase == Phase::Whole, oversize: self.oversize })
    }

    /// Takes bytes of a bulk that is passed on, and the two behind it, whatever they are.
    fn pass_on(&mut self, rest: &[u8], emit: &mut impl FnMut(&[u8])) -> usize {
        let inside = self.length.saturating_sub(BULK_END_BYTES);
        let inside = usize::try_from(inside).unwrap_or(usize::MAX).min(rest.len());
        if inside > 0 {
            emit(rest.get(..inside).unwrap_or_default());
            self.length -= inside as u64;
        }
        if self.length > BULK_END_BYTES {
            return inside;
        }
        let behind = usize::try_from(self.length).unwrap_or_default().min(rest.len() - inside);
        self.length -= behind as u64;
        if self.length == 0 {
            emit(LINE_END);
            self.missing -= 1;
            self.phase = if self.missing == 0 { Phase::Whole } else { Phase::Length };
        }
        inside + behind
    }

    /// Ready for the next frame. To be called once the bytes of a request are dropped, so that a
    /// silent client keeps nothing.
    pub fn reset(&mut self) {
        self.phase = Phase::Start;
        self.collecting = false;
        self.oversize = false;
        self.respell = false;
        self.position = 0;
        self.line.reset();
        self.spans.clear();
        if self.spans.capacity() > limits::REQUEST_SPANS_KEPT {
            self.spans = Vec::new();
        }
        // A person types passwords, too.
        if let Some(mut own) = self.own.take() {
            own.wipe();
        }
    }

    /// Bytes kept for the request under way.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let own = self.own.as_ref().map_or(0, |own| own.held_bytes());
        own + self.spans.capacity() * size_of::<Span>()
    }

    /// Whether no frame has begun, or the last one is whole.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Start | Phase::Whole)
    }

    /// The number in the line that begins at `at`, and the bytes of that line with its end; `None`
    /// while it cannot be judged.
    #[inline]
    fn header(
        &mut self,
        buf: &[u8],
        at: usize,
        kind: &'static Kind,
        limits: &RequestLimits,
    ) -> Result<Option<(i64, usize)>, ProtocolError> {
        let Some(header) = self.line.header(buf, at, kind, limits)? else {
            return Ok(None);
        };
        self.respell |= !header.canonical;
        Ok(Some((header.number, header.used)))
    }

    /// Steps over arguments that are here as a whole and of a common length and spelling, which is
    /// nearly all there are. Whatever is uncommon stays for the phases of [`Self::scan`] to judge;
    /// they look once more at the few bytes of its header, and at no other.
    #[inline]
    fn collect_ready(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<(), ProtocolError> {
        let room = limits.max_args.saturating_sub(self.declared - self.missing);
        let beyond = self.missing.saturating_sub(room);
        let (most, common) = (self.missing - beyond, limits.common_bulk_bytes());
        let (position, missing) = step_over(buf, self.position, most, common, &mut self.spans);
        #[cfg(test)]
        {
            let declined = buf.len().saturating_sub(position).min(8);
            self.examined += position - self.position + declined;
        }
        if position > limits::REQUEST_BYTES_MAX {
            return Err(ProtocolError::new(Violation::TooBigRequest));
        }
        self.position = position;
        self.missing = missing + beyond;
        if self.missing == 0 {
            self.phase = Phase::Whole;
            return Ok(());
        }
        self.check_room(limits)
    }

    /// Whether the next argument is one too many.
    fn check_room(&self, limits: &RequestLimits) -> Result<(), ProtocolError> {
        if self.declared - self.missing < limits.max_args {
            return Ok(());
        }
        Err(ProtocolError::new(Violation::TooManyArguments(limits.max_args)))
    }

    /// Steps over a bulk once it is there with the two bytes behind it; returns whether it is.
    #[inline]
    fn collect_bulk(&mut self, buf: &[u8]) -> Result<bool, ProtocolError> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let start = self.position;
        let end = start.saturating_add(length);
        if end > limits::REQUEST_BYTES_MAX {
            return Err(ProtocolError::new(Violation::TooBigRequest));
        }
        let Some(behind) = buf.get(end..end + LINE_END.len()) else { return Ok(false) };
        self.respell |= behind != LINE_END;
        self.spans.push(Span::new(start, end));
        self.missing -= 1;
        self.position = end + LINE_END.len();
        self.phase = if self.missing == 0 { Phase::Whole } else { Phase::Length };
        Ok(true)
    }

    /// A request, or a head, is here.
    #[inline(always)]
    fn conclude(&mut self, buf: &[u8]) -> Result<(), ProtocolError> {
        if self.respell && self.own.is_none() {
            self.respell(buf);
        }
        let name = match &self.own {
            None => self.spans.first().map(|span| span.of(buf)),
            Some(own) => own.as_request().arg(0),
        };
        refuse_http(name.unwrap_or_default())
    }

    /// Writes the request anew, in its only canonical spelling.
    #[cold]
    fn respell(&mut self, buf: &[u8]) {
        let mut own = RequestBuf::from_args(self.spans.iter().map(|span| span.of(buf)));
        if matches!(self.phase, Phase::Head | Phase::Oversize) {
            own.announce(self.declared as usize, self.length);
        }
        self.own = Some(Box::new(own));
    }

    /// `None` once the line is a request.
    fn scan_inline(
        &mut self,
        buf: &[u8],
        limits: &RequestLimits,
    ) -> Result<Option<Scan>, ProtocolError> {
        let too_big = Err(ProtocolError::new(Violation::TooBigInline));
        let Some(end) = self.line.end(buf, 0, b'\n') else {
            return if buf.len() > limits.max_inline_bytes {
                too_big
            } else {
                Ok(Some(Scan::More))
            };
        };
        if limits.is_long_line(end) {
            return too_big;
        }
        let line = buf.get(..end).unwrap_or_default();
        let args = Zeroizing::new(inline::split(line.strip_suffix(b"\r").unwrap_or(line))?);
        self.line.reset();
        self.position = end + 1;
        if args.is_empty() {
            let used = self.position;
            self.reset();
            return Ok(Some(Scan::Ignored { used }));
        }
        self.declared = u32::try_from(args.len()).unwrap_or(u32::MAX);
        if self.declared > limits.max_args {
            return Err(ProtocolError::new(Violation::TooManyArguments(limits.max_args)));
        }
        self.own = Some(Box::new(RequestBuf::from_args(args.iter())));
        Ok(None)
    }
}

/// Shows the position and no byte of a client.
impl std::fmt::Debug for RequestScanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestScanner")
            .field("phase", &self.phase)
            .field("position", &self.position)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

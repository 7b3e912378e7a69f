//! Taking the prefix off the names in replies, as the bytes arrive.
//!
//! Owns: [`Stripper`]. Never knows: requests, sessions.
//!
//! Names are found by their position in the reply, never by what they look like; a value that
//! begins with the prefix stays as it is. Apart from the beginning of one name nothing is kept.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::super::report;
use super::error_text;
use super::hidden::Hidden;
use super::shape::Strip;
use crate::base::{client_text, limits};
use crate::command::ReplyNames;
use crate::resp::{ReplyScanner, encode, number};

impl Strip {
    /// A text in which the server names a guarded script, with the client's name for it.
    fn write_as_client(&self, text: &[u8], out: &mut BytesMut) {
        let digests = self.digests.as_deref();
        let found = digests.and_then(|digests| {
            memchr::memmem::rfind(text, &digests.server).map(|at| (at, digests))
        });
        let Some((at, digests)) = found else { return out.put_slice(text) };
        out.put_slice(text.get(..at).unwrap_or_default());
        out.put_slice(&digests.client);
        out.put_slice(text.get(at + digests.server.len()..).unwrap_or_default());
    }

    /// A whole reply.
    pub fn frame(&self, frame: &[u8], out: &mut BytesMut) {
        Stripper::default().feed(self, frame, out);
    }

    /// A list without the names that are hidden.
    fn write_visible(&self, hidden: &Hidden, frame: &[u8], out: &mut BytesMut) {
        match hidden.visible(self.names, self.prefix.text(), frame) {
            Some(list) => Self { hidden: None, ..self.clone() }.frame(&list, out),
            None => encode::error(out, client_text::FOREIGN_NAME),
        }
    }

    /// What a place of the reply holds.
    const fn role(&self, outer: Option<&Level>, inner: Option<&Level>) -> Role {
        let Some(outer) = outer else { return Role::Opens };
        match (self.names, inner) {
            (ReplyNames::Names | ReplyNames::Channels, None) => Role::Name,
            (ReplyNames::First, None) if outer.index == 0 => Role::Name,
            (ReplyNames::Pairs, None) if outer.index % 2 == 0 => Role::Name,
            (ReplyNames::Scan, None) if outer.index == 1 => Role::Opens,
            (ReplyNames::Tracking, None) if outer.index == 5 => Role::Opens,
            (ReplyNames::Streams, None) if !outer.is_map => Role::Opens,
            (ReplyNames::Streams, None) if outer.index % 2 == 0 => Role::Name,
            (ReplyNames::Scan | ReplyNames::Tracking, Some(_)) => Role::Name,
            (ReplyNames::Streams, Some(inner)) if inner.index == 0 => Role::Name,
            _ => Role::Other,
        }
    }

    /// How many bytes of a name show where the prefix is.
    fn head(&self) -> usize {
        if self.names.has_channels() {
            self.prefix.channel_head()
        } else {
            self.prefix.text().len()
        }
    }

    fn find(&self, head: &[u8]) -> Option<Range<usize>> {
        if self.names.has_channels() {
            return self.prefix.in_channel(head);
        }
        let text = self.prefix.text();
        head.starts_with(text).then_some(0..text.len())
    }
}

/// What a place of a reply may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Name,
    /// An aggregate that has names within.
    Opens,
    Other,
}

/// An aggregate under way.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    left: u64,
    index: u64,
    is_map: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Step {
    /// Before a value.
    #[default]
    Value,
    /// In the first line of a name or an aggregate.
    Header,
    /// In a name of so many bytes, of which the first are not all here.
    Head(u64),
    /// A number of bytes that are sent to the client.
    Body(u64),
    /// A number of bytes that are dropped.
    Drop(u64),
    /// In a value that goes to the client as it is.
    Pass,
    /// In a value that does not.
    Skip,
    /// In a text that is looked into as a whole.
    Text,
    /// In an error instead of a reply.
    Error,
    Done,
}

/// One reply to the client. Its bytes are known to be RESP.
#[derive(Debug, Default)]
pub struct Stripper {
    step: Step,
    /// A line, or the beginning of a name, of which more is to come.
    held: Vec<u8>,
    /// The end of a value that is not looked into.
    scanner: ReplyScanner,
    levels: [Level; 2],
    depth: usize,
}

impl Stripper {
    /// The next reply may come.
    pub fn reset(&mut self) {
        self.step = Step::Value;
        self.held.clear();
        self.scanner = ReplyScanner::default();
        self.depth = 0;
    }

    /// Bytes kept.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// The next piece of the reply.
    pub fn feed(&mut self, strip: &Strip, chunk: &[u8], out: &mut BytesMut) {
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            let used = match self.step {
                Step::Value => {
                    self.begin(strip, *first, out);
                    0
                }
                Step::Header => self.header(strip, rest, out),
                Step::Head(length) => self.head(strip, length, rest, out),
                Step::Body(left) => {
                    let (used, body) = front(rest, left);
                    out.put_slice(body);
                    self.step = Step::Body(left - used as u64);
                    self.complete_if(left == used as u64);
                    used
                }
                Step::Drop(left) => {
                    let (used, _) = front(rest, left);
                    self.step = Step::Drop(left - used as u64);
                    self.complete_if(left == used as u64);
                    used
                }
                Step::Pass | Step::Skip => self.value(rest, out),
                Step::Text => self.text(strip, rest, out),
                Step::Error => self.error(strip, rest, out),
                Step::Done => {
                    debug_assert!(false, "one reply at a time");
                    rest.len()
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Before the value that begins with this byte; takes nothing.
    fn begin(&mut self, strip: &Strip, first: u8, out: &mut BytesMut) {
        let outer = self.levels.first().filter(|_| self.depth > 0);
        let inner = self.levels.get(1).filter(|_| self.depth > 1);
        let is_outermost = outer.is_none();
        let is_report = strip.names == ReplyNames::Report && is_outermost;
        self.step = match (strip.role(outer, inner), first) {
            (_, b'-') if is_outermost => Step::Error,
            (_, b'*' | b'~') if is_outermost && strip.hidden.is_some() => Step::Text,
            (_, b'$' | b'=') if is_report => Step::Text,
            (_, b'$') if is_outermost && strip.loaded => Step::Text,
            _ if is_report => Step::Skip,
            (Role::Opens, b'*' | b'~' | b'>' | b'%') | (Role::Name, b'$') => Step::Header,
            (Role::Name, b'_' | b':' | b',' | b'#' | b'(') | (Role::Other, _) => Step::Pass,
            (Role::Opens, first) if first != b'|' => Step::Pass,
            (Role::Name | Role::Opens, _) => {
                encode::error(out, client_text::FOREIGN_NAME);
                Step::Skip
            }
        };
        if is_report && matches!(self.step, Step::Skip) {
            encode::error(out, client_text::NO_REPORT);
        }
        if let Step::Pass | Step::Skip | Step::Text = self.step {
            self.scanner = ReplyScanner::default();
        }
    }

    /// In the line of a name or an aggregate.
    fn header(&mut self, strip: &Strip, rest: &[u8], out: &mut BytesMut) -> usize {
        let Some(end) = memchr::memchr(b'\n', rest) else {
            self.held.extend_from_slice(rest);
            return rest.len();
        };
        let (line, _) = rest.split_at_checked(end + 1).unwrap_or((rest, &[]));
        if self.held.is_empty() {
            self.opened(strip, line, out);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(line);
            self.opened(strip, &held, out);
            held.clear();
            self.held = held;
        }
        line.len()
    }

    fn opened(&mut self, strip: &Strip, line: &[u8], out: &mut BytesMut) {
        let kind = line.first().copied().unwrap_or_default();
        let count = line.get(1..line.len().saturating_sub(2)).and_then(number::parse_i64);
        match count.map(u64::try_from) {
            Some(Ok(length)) if kind == b'$' => {
                self.step = Step::Head(length);
                if length == 0 {
                    self.named(strip, 0, b"", out);
                }
            }
            Some(Ok(count)) if count > 0 => {
                out.put_slice(line);
                let is_map = kind == b'%';
                let left = if is_map { count.saturating_mul(2) } else { count };
                if let Some(level) = self.levels.get_mut(self.depth) {
                    *level = Level { left, index: 0, is_map };
                    self.depth += 1;
                }
                self.step = Step::Value;
            }
            Some(_) => {
                out.put_slice(line);
                self.complete_if(true);
            }
            // A form that no server uses here (`*?`).
            None => {
                encode::error(out, client_text::FOREIGN_NAME);
                self.scanner = ReplyScanner::default();
                let _ = self.scanner.advance(line);
                self.step = Step::Skip;
            }
        }
    }

    /// In the beginning of a name.
    fn head(&mut self, strip: &Strip, length: u64, rest: &[u8], out: &mut BytesMut) -> usize {
        let needed = usize::try_from(length).unwrap_or(usize::MAX).min(strip.head());
        let missing = needed.saturating_sub(self.held.len());
        let (used, piece) = front(rest, missing as u64);
        if self.held.is_empty() && used == needed {
            self.named(strip, length, piece, out);
            return used;
        }
        self.held.extend_from_slice(piece);
        if used == missing {
            let mut held = std::mem::take(&mut self.held);
            self.named(strip, length, &held, out);
            held.clear();
            self.held = held;
        }
        used
    }

    /// The beginning of a name is here.
    fn named(&mut self, strip: &Strip, length: u64, head: &[u8], out: &mut BytesMut) {
        let left = length - head.len() as u64 + 2;
        let Some(found) = strip.find(head) else {
            encode::error(out, client_text::FOREIGN_NAME);
            self.step = Step::Drop(left);
            return;
        };
        out.put_u8(b'$');
        number::write_u64(out, length - found.len() as u64);
        out.put_slice(b"\r\n");
        out.put_slice(head.get(..found.start).unwrap_or_default());
        out.put_slice(head.get(found.end..).unwrap_or_default());
        self.step = Step::Body(left);
    }

    /// In a value that is not looked into.
    fn value(&mut self, rest: &[u8], out: &mut BytesMut) -> usize {
        let seen = self.scanner.advance(rest);
        debug_assert!(seen.is_ok(), "replies are checked before");
        let (used, done) = seen.map_or((rest.len(), true), |seen| (seen.used, seen.done));
        if let Step::Pass = self.step {
            out.put_slice(rest.get(..used).unwrap_or_default());
        }
        self.complete_if(done);
        used
    }

    /// In a report, a list of which some names are left out, or the name of a script.
    fn text(&mut self, strip: &Strip, rest: &[u8], out: &mut BytesMut) -> usize {
        let seen = self.scanner.advance(rest);
        let (used, done) = seen.map_or((rest.len(), true), |seen| (seen.used, seen.done));
        self.held.extend_from_slice(rest.get(..used).unwrap_or_default());
        let (most, instead) = match strip.hidden {
            Some(_) => (limits::HIDDEN_LIST_BYTES_MAX, client_text::LONG_LIST),
            None => (limits::SERVER_REPORT_BYTES_MAX, client_text::NO_REPORT),
        };
        if self.held.len() > most {
            encode::error(out, instead);
            self.held = Vec::new();
            self.step = Step::Skip;
        } else if done && strip.loaded {
            strip.write_as_client(&std::mem::take(&mut self.held), out);
        } else if done {
            let held = std::mem::take(&mut self.held);
            match &strip.hidden {
                Some(hidden) => strip.write_visible(hidden, &held, out),
                None => write_report(&held, out),
            }
        }
        self.complete_if(done);
        used
    }

    fn error(&mut self, strip: &Strip, rest: &[u8], out: &mut BytesMut) -> usize {
        let used = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        self.held.extend_from_slice(rest.get(..used).unwrap_or_default());
        if self.held.ends_with(b"\r\n") {
            match &strip.digests {
                Some(_) => {
                    let mut line = BytesMut::new();
                    error_text::strip(strip, &self.held, &mut line);
                    strip.write_as_client(&line, out);
                }
                None => error_text::strip(strip, &self.held, out),
            }
            self.held = Vec::new();
            self.step = Step::Done;
        }
        used
    }

    /// Counts a complete value in its aggregate, which may complete that one too.
    fn complete_if(&mut self, done: bool) {
        if !done {
            return;
        }
        self.step = Step::Done;
        while let Some(level) = self.depth.checked_sub(1).and_then(|top| self.levels.get_mut(top)) {
            level.left -= 1;
            level.index += 1;
            if level.left > 0 {
                self.step = Step::Value;
                return;
            }
            self.depth -= 1;
        }
    }
}

/// A bulk string, or a verbatim string of RESP3, with the lines that stay.
fn write_report(frame: &[u8], out: &mut BytesMut) {
    let begin = memchr::memchr(b'\n', frame).map_or(frame.len(), |end| end + 1);
    let (header, body) = frame.split_at_checked(begin).unwrap_or((frame, &[]));
    let Some(body) = body.strip_suffix(b"\r\n") else {
        // Null.
        return out.put_slice(header);
    };
    let mut own = BytesMut::with_capacity(body.len());
    let kind = if header.starts_with(b"=") { body.get(..4).unwrap_or_default() } else { b"" };
    own.put_slice(kind);
    report::write_own(body.get(kind.len()..).unwrap_or_default(), &mut own);
    number::write_line(out, header.first().copied().unwrap_or(b'$'), own.len() as u64);
    out.put_slice(&own);
    out.put_slice(b"\r\n");
}

/// At most so many bytes of what is here.
fn front(rest: &[u8], most: u64) -> (usize, &[u8]) {
    let used = usize::try_from(most).unwrap_or(usize::MAX).min(rest.len());
    (used, rest.get(..used).unwrap_or_default())
}

#[cfg(test)]
mod tests;

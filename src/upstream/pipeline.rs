//! The requests of many sessions on one connection, and which reply belongs to whom.
//!
//! Owns: [`Pipeline`]: the bytes to write, the line of those who wait, the framing of replies. Never
//! knows: sockets, clocks, what a request asks.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf, BytesMut};

use crate::resp::{ReplyError, ReplyScanner};
use crate::traffic::{Loss, Ticket};

/// Bytes of a reply that make a slow reader of it hold up others.
const LARGE_BYTES: usize = 64 * 1024;

/// One request in line.
#[derive(Debug)]
struct Entry<W> {
    owner: W,
    ticket: Ticket,
    /// Its bytes in `Pipeline::bytes`.
    len: usize,
    /// Replies that belong to it but that its owner does not want.
    skip: u32,
    /// Those that have arrived.
    skipped: u32,
    /// The first of them was not `+OK`: what follows did not run as a transaction.
    refused: bool,
    /// May be executed twice without harm.
    retry: bool,
    attempts: u8,
    /// Its owner was told that it takes too long; the late reply goes nowhere.
    abandoned: bool,
    at: Instant,
}

/// A reply, or a piece of one, and whose it is.
#[derive(Debug)]
pub struct Delivery<'a, W> {
    pub owner: &'a W,
    pub ticket: Ticket,
    pub bytes: &'a [u8],
    /// The reply's first byte.
    pub kind: u8,
    pub done: bool,
    /// The MULTI before it was refused.
    pub refused: bool,
    /// The length that the reply's own header announces, when it is a single string.
    pub announced: u64,
    pub at: Instant,
}

/// Why a connection cannot be trusted any more. It is closed, never repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A reply that nobody asked for.
    Surplus,
    /// A push on a connection that many share.
    Push,
    /// Not RESP.
    Framing(ReplyError),
}

/// First in, first out: the order of RESP.
#[derive(Debug)]
pub struct Pipeline<W> {
    /// Every request that is not fully answered, in line; kept until then so that it can be sent again.
    bytes: BytesMut,
    written: usize,
    line: VecDeque<Entry<W>>,
    scanner: ReplyScanner,
    /// Some of the reply in progress has been handed out.
    begun: bool,
    /// Bytes of it that have come.
    begun_bytes: usize,
}

impl<W> Default for Pipeline<W> {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            written: 0,
            line: VecDeque::new(),
            scanner: ReplyScanner::default(),
            begun: false,
            begun_bytes: 0,
        }
    }
}

impl<W> Pipeline<W> {
    /// Puts a request in line.
    pub fn push(
        &mut self,
        owner: W,
        ticket: Ticket,
        request: &[u8],
        skip: u32,
        retry: bool,
        at: Instant,
    ) {
        self.bytes.extend_from_slice(request);
        let len = request.len();
        self.line.push_back(Entry {
            owner,
            ticket,
            len,
            skip,
            skipped: 0,
            refused: false,
            retry,
            attempts: 0,
            abandoned: false,
            at,
        });
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.line.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Bytes kept for requests in line.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What is to be written next.
    #[must_use]
    pub fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// The rest of a request that is written in part.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        let mut end = 0;
        for entry in &self.line {
            if end >= self.written {
                break;
            }
            end += entry.len;
        }
        self.bytes.get(self.written..end).unwrap_or_default()
    }

    /// When the request was put in line that has waited longest.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Instant> {
        self.line.front().map(|entry| entry.at)
    }

    /// Notes that `count` bytes of [`Self::unwritten`] were written.
    pub fn wrote(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.bytes.len());
    }

    /// Whose large reply has come in part.
    pub fn reader(&self) -> Option<&W> {
        let large = self.begun && self.begun_bytes >= LARGE_BYTES;
        self.line.front().filter(|entry| large && !entry.abandoned).map(|entry| &entry.owner)
    }

    /// Everybody in line.
    pub fn owners(&self) -> impl Iterator<Item = &W> {
        self.line.iter().map(|entry| &entry.owner)
    }

    /// Whether the server owes a reply.
    #[must_use]
    pub const fn owed(&self) -> bool {
        self.written > 0
    }

    /// Takes bytes from the server and hands out what is in them.
    ///
    /// # Errors
    ///
    /// When the bytes do not fit what was asked; the connection must be closed.
    pub fn handle_bytes(
        &mut self,
        mut bytes: &[u8],
        mut deliver: impl FnMut(Delivery<'_, W>),
    ) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let advance = self.scanner.advance(bytes).map_err(Broken::Framing)?;
            let (piece, rest) = bytes.split_at_checked(advance.used).unwrap_or((bytes, &[]));
            bytes = rest;
            let kind = self.scanner.kind();
            if kind == b'>' {
                return Err(Broken::Push);
            }
            let Some(entry) = self.line.front_mut().filter(|_| self.written > 0) else {
                return Err(Broken::Surplus);
            };
            if entry.skipped < entry.skip {
                entry.refused |= entry.skipped == 0 && kind != b'+';
                entry.skipped += u32::from(advance.done);
                continue;
            }
            if self.written < entry.len {
                // An answer to half a request is none.
                return Err(Broken::Surplus);
            }
            if !entry.abandoned {
                deliver(Delivery {
                    owner: &entry.owner,
                    ticket: entry.ticket,
                    bytes: piece,
                    kind,
                    done: advance.done,
                    refused: entry.refused,
                    announced: self.scanner.announced().unwrap_or(0),
                    at: entry.at,
                });
            }
            self.begun = !advance.done;
            self.begun_bytes = if advance.done { 0 } else { self.begun_bytes + piece.len() };
            if advance.done {
                self.retire_front();
            }
        }
        Ok(())
    }

    fn retire_front(&mut self) {
        let Some(entry) = self.line.pop_front() else { return };
        debug_assert!(self.written >= entry.len, "a reply came before its request was written");
        self.bytes.advance(entry.len.min(self.bytes.len()));
        self.written = self.written.saturating_sub(entry.len);
        if self.line.is_empty() && self.bytes.capacity() > crate::base::limits::READ_BYTES {
            self.bytes = BytesMut::new();
        }
    }

    /// Requests put in line before `before` have waited too long: each is reported once, and its
    /// reply, when it comes, goes nowhere.
    pub fn expire(&mut self, before: Instant, mut report: impl FnMut(&W, Ticket)) {
        for (index, entry) in self.line.iter_mut().enumerate() {
            if entry.at >= before {
                break;
            }
            // Half a reply cannot be taken back: its owner gets the rest, or the loss.
            let begun = index == 0 && self.begun;
            if !entry.abandoned && !begun {
                entry.abandoned = true;
                report(&entry.owner, entry.ticket);
            }
        }
    }

    /// The connection is gone. What was not written, or may be executed twice, stays in line for the
    /// next connection; everything else is reported lost.
    pub fn handle_loss(&mut self, retries: u8, mut report: impl FnMut(&W, Ticket, Loss)) -> usize {
        let old = std::mem::take(&mut self.bytes);
        let line = std::mem::take(&mut self.line);
        let (written, begun) = (self.written, self.begun);
        let mut start = 0;
        let mut again = 0;
        for (index, mut entry) in line.into_iter().enumerate() {
            let end = start + entry.len;
            let sent = end <= written;
            let started = begun && index == 0;
            if !entry.abandoned {
                if started {
                    report(&entry.owner, entry.ticket, Loss::Truncated);
                } else if !sent || (entry.retry && entry.attempts < retries) {
                    entry.attempts += u8::from(sent);
                    entry.skipped = 0;
                    entry.refused = false;
                    again += usize::from(sent);
                    self.bytes.extend_from_slice(old.get(start..end).unwrap_or_default());
                    self.line.push_back(entry);
                } else {
                    report(&entry.owner, entry.ticket, Loss::OutcomeUnknown);
                }
            }
            start = end;
        }
        self.written = 0;
        self.begun = false;
        self.begun_bytes = 0;
        self.scanner = ReplyScanner::default();
        again
    }

    /// Gives up everything put in line before `before` while there is no connection.
    pub fn give_up(&mut self, before: Option<Instant>, mut report: impl FnMut(&W, Ticket)) {
        debug_assert_eq!(self.written, 0, "only without a connection");
        while let Some(entry) = self.line.front() {
            if before.is_some_and(|before| entry.at >= before) {
                break;
            }
            if !entry.abandoned {
                report(&entry.owner, entry.ticket);
            }
            self.bytes.advance(entry.len.min(self.bytes.len()));
            self.line.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Instant {
        crate::base::clock::now()
    }

    fn pushed(requests: &[(&'static str, bool)]) -> Pipeline<&'static str> {
        let mut pipeline = Pipeline::default();
        for (i, (name, retry)) in requests.iter().enumerate() {
            pipeline.push(*name, Ticket(i as u64), name.as_bytes(), 0, *retry, at());
        }
        pipeline
    }

    fn write(pipeline: &mut Pipeline<&'static str>, count: usize) {
        pipeline.wrote(count);
    }

    fn feed(
        pipeline: &mut Pipeline<&'static str>,
        bytes: &str,
    ) -> (Vec<String>, Result<(), Broken>) {
        let mut seen = Vec::new();
        let result = pipeline.handle_bytes(bytes.as_bytes(), |delivery| {
            let text = String::from_utf8_lossy(delivery.bytes).into_owned();
            seen.push(format!("{} {text:?} {}", delivery.owner, delivery.done));
        });
        (seen, result)
    }

    fn lose(pipeline: &mut Pipeline<&'static str>, retries: u8) -> Vec<String> {
        let mut lost = Vec::new();
        pipeline.handle_loss(retries, |owner, _, loss| lost.push(format!("{owner} {loss:?}")));
        lost
    }

    #[test]
    fn replies_go_to_their_owners_in_order_and_in_pieces() {
        let mut p = pushed(&[("a", true), ("b", true)]);
        write(&mut p, 2);
        assert_eq!(
            feed(&mut p, "+1\r\n$3\r\nx").0,
            ["a \"+1\\r\\n\" true", "b \"$3\\r\\nx\" false"]
        );
        assert_eq!(feed(&mut p, "yz\r\n").0, ["b \"yz\\r\\n\" true"]);
        assert!(p.is_empty() && !p.owed());
    }

    #[test]
    fn what_nobody_asked_for_breaks_the_connection() {
        assert_eq!(feed(&mut pushed(&[]), "+1\r\n").1, Err(Broken::Surplus));
        assert_eq!(
            feed(&mut pushed(&[("a", true)]), "+1\r\n").1,
            Err(Broken::Surplus),
            "not written yet"
        );
        let mut p = pushed(&[("a", true)]);
        write(&mut p, 1);
        assert_eq!(feed(&mut p, ">1\r\n+x\r\n").1, Err(Broken::Push));
        let mut p = pushed(&[("a", true)]);
        write(&mut p, 1);
        assert!(matches!(feed(&mut p, "hello\r\n").1, Err(Broken::Framing(_))));
    }

    #[test]
    fn a_loss_keeps_what_is_safe_and_reports_the_rest() {
        let mut p = pushed(&[
            ("get1", true),
            ("set2", false),
            ("get3", true),
            ("set4", false),
            ("set5", false),
        ]);
        write(&mut p, 14);
        assert_eq!(lose(&mut p, 3), ["set2 OutcomeUnknown"]);
        assert_eq!(
            p.unwritten(),
            b"get1get3set4set5",
            "set4 was cut, set5 not begun: never executed"
        );
    }

    #[test]
    fn a_reply_that_has_begun_is_truncated_and_retries_end() {
        let mut p = pushed(&[("get1", true), ("get2", true)]);
        write(&mut p, 8);
        assert_eq!(feed(&mut p, "$5\r\nab").1, Ok(()));
        assert_eq!(lose(&mut p, 1), ["get1 Truncated"]);
        write(&mut p, 4);
        assert_eq!(lose(&mut p, 1), ["get2 OutcomeUnknown"]);
        assert!(p.is_empty());
    }

    #[test]
    fn the_late_reply_of_an_abandoned_request_goes_nowhere() {
        let mut p = pushed(&[("a", true), ("b", true)]);
        write(&mut p, 2);
        let mut late = Vec::new();
        p.expire(at() + std::time::Duration::from_secs(1), |owner, _| late.push(*owner));
        assert_eq!(late, ["a", "b"]);
        p.push("c", Ticket(2), b"c", 0, true, at());
        write(&mut p, 1);
        assert_eq!(feed(&mut p, "+1\r\n+2\r\n+3\r\n").0, ["c \"+3\\r\\n\" true"]);
    }

    #[test]
    fn half_a_request_is_not_answered() {
        let mut p = pushed(&[("get1", true), ("get2", true)]);
        write(&mut p, 6);
        assert_eq!(feed(&mut p, "+1\r\n").0, ["get1 \"+1\\r\\n\" true"]);
        assert_eq!(p.unfinished(), b"t2");
        assert_eq!(feed(&mut p, "+2\r\n").1, Err(Broken::Surplus));
    }

    #[test]
    fn a_block_that_is_sent_again_swallows_all_its_replies_again() {
        let mut p = Pipeline::default();
        p.push("t", Ticket(0), b"MULTI..EXEC", 2, false, at());
        p.wrote(7);
        assert_eq!(feed(&mut p, "+OK\r\n+QUEUED\r\n"), (vec![], Ok(())));
        assert!(lose(&mut p, 0).is_empty());
        write(&mut p, 11);
        assert_eq!(
            feed(&mut p, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n").0,
            ["t \"*1\\r\\n+OK\\r\\n\" true"]
        );
    }

    #[test]
    fn a_block_whose_multi_is_refused_is_marked() {
        let mut p = Pipeline::default();
        p.push("t", Ticket(0), b"MULTI..EXEC", 2, false, at());
        p.push("u", Ticket(1), b"GET", 0, false, at());
        p.wrote(14);
        let mut refused = Vec::new();
        for piece in ["-NOPERM no", " MULTI\r\n+OK\r\n-ERR EXEC with", "out MULTI\r\n$-1\r\n"] {
            let taken = p.handle_bytes(piece.as_bytes(), |delivery| {
                refused.push((*delivery.owner, delivery.refused, delivery.done));
            });
            assert_eq!(taken, Ok(()));
        }
        assert_eq!(refused, [("t", true, false), ("t", true, true), ("u", false, true)]);
    }

    #[test]
    fn a_block_swallows_the_replies_nobody_wants() {
        let mut p = Pipeline::default();
        p.push("t", Ticket(0), b"MULTI..EXEC", 2, false, at());
        p.wrote(11);
        assert_eq!(
            feed(&mut p, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n").0,
            ["t \"*1\\r\\n+OK\\r\\n\" true"]
        );
    }
}

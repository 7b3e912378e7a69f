//! The requests of one session on a connection of its own: nothing of them is sent again, some are never
//! answered, and of a large one the rest follows as the client sends it.
//!
//! Owns: [`PinnedLine`]. Never knows: sockets, clocks, which frames are replies.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Broken, Delivery, Frame, Pipeline};
use crate::base::limits;
use crate::resp::{Protocol, ReplyScanner};
use crate::traffic::{Loss, PoolKey, Skips, Ticket};
use crate::upstream::not_primary::Sign;

/// What the session that has a pinned connection has asked there, and what is known of the server.
#[derive(Debug)]
pub struct PinnedLine {
    pipeline: Pipeline<()>,
    opened_at: Instant,
    /// The server has sent a frame.
    has_replied: bool,
    /// A push came within a reply, so that where replies begin is unknown from here on; or what was written may
    /// not arrive.
    doubtful: bool,
    /// An answer of the server shows that it is no primary, or not ready.
    sign: Option<Sign>,
    /// Requests in line that complete others.
    companions: VecDeque<Companion>,
    /// The one that is to be sent on another connection: what it completes is answered.
    outstanding: Option<Companion>,
}

/// A request that completes the one before it, and can be repeated once that one is answered.
#[derive(Debug)]
pub(crate) struct Companion {
    pub key: PoolKey,
    ticket: Ticket,
    pub bytes: Box<[u8]>,
    pub skips: Skips,
}

/// A piece of a frame at the front of what the server has sent.
#[derive(Clone, Copy, Debug)]
pub struct FramePiece {
    pub used: usize,
    /// The frame's first byte.
    pub kind: u8,
    /// The frame ends with this piece.
    pub done: bool,
    /// The server had sent nothing before.
    pub first: bool,
}

/// What a piece of a reply is to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The session does not want it.
    Unwanted,
    /// The piece is of the reply to this request; `large`: on a shared connection it would hold up others.
    Wanted { ticket: Ticket, large: bool },
    /// The server has refused a command queued for this request first, with this line.
    Refusal(Ticket, &'a [u8]),
    /// The piece ends the reply to a transaction whose MULTI was refused.
    MultiRefused(Ticket),
    /// Nothing was asked that it could answer.
    Unexpected,
}

impl PinnedLine {
    /// For a connection that was opened at that time.
    #[must_use]
    pub fn new(opened_at: Instant) -> Self {
        let pipeline = Pipeline {
            pinned: true,
            scanner: ReplyScanner::default(),
            ..Pipeline::new(Protocol::Resp3)
        };
        Self {
            pipeline,
            opened_at,
            has_replied: false,
            doubtful: false,
            sign: None,
            companions: VecDeque::new(),
            outstanding: None,
        }
    }

    /// Puts a request in line.
    pub fn push(&mut self, ticket: Ticket, request: &[u8], skips: Skips, at: Instant) {
        debug_assert!(!self.pipeline.is_open(), "half a request is before it");
        self.pipeline.push((), ticket, request, skips, false, at);
        self.pipeline.check_invariants();
    }

    /// Puts a request in line that completes the one before it, in the database of `key`.
    pub fn push_companion(
        &mut self,
        key: PoolKey,
        ticket: Ticket,
        request: &[u8],
        skips: Skips,
        at: Instant,
    ) {
        let companion = Companion { key, ticket, bytes: request.into(), skips };
        self.companions.push_back(companion);
        self.push(ticket, request, skips, at);
        debug_assert!(self.companions.len() <= self.pipeline.len(), "more complete than are");
    }

    /// More of the request that was put in line last follows.
    pub fn begin_body(&mut self) {
        debug_assert!(!self.pipeline.is_open(), "its body has begun");
        debug_assert!(!self.pipeline.ends_answered(), "what is not answered has no body");
        self.pipeline.set_open(true);
    }

    pub fn append(&mut self, bytes: &[u8]) {
        debug_assert!(self.pipeline.is_open(), "no request goes on");
        self.pipeline.append(bytes);
    }

    /// The request that was put in line last is whole.
    pub fn end_body(&mut self) {
        debug_assert!(self.pipeline.is_open(), "no request goes on");
        self.pipeline.set_open(false);
        self.pipeline.retire_written();
    }

    /// The request of which more follows.
    #[must_use]
    pub fn open_ticket(&self) -> Option<Ticket> {
        self.pipeline.open_ticket()
    }

    /// Puts bytes in line that the server does not answer.
    pub fn pass_on(&mut self, bytes: &[u8], at: Instant) {
        debug_assert!(!self.pipeline.is_open(), "half a request is before them");
        // However much of it waits takes one place, as only its bytes are counted.
        if self.pipeline.ends_answered() {
            return self.pipeline.append(bytes);
        }
        self.pipeline.push((), Ticket::default(), bytes, Skips::NONE, false, at);
        self.pipeline.note_answered();
        debug_assert!(self.pipeline.ends_answered(), "it waits for a reply that does not come");
    }

    /// What is to be written next.
    #[must_use]
    pub fn unwritten(&self) -> &[u8] {
        &self.pipeline.bytes
    }

    /// Memory for requests in line: what is not written of them, and what is known of each.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let companion = |it: &Companion| size_of::<Companion>() + it.bytes.len();
        self.pipeline.held_bytes() + self.companions.iter().map(companion).sum::<usize>()
    }

    /// Whether the server has sent anything.
    #[must_use]
    pub const fn has_replied(&self) -> bool {
        self.has_replied
    }

    /// Notes that so many bytes of it were written.
    pub fn wrote(&mut self, count: usize) {
        debug_assert!(count > 0, "nothing was written");
        self.pipeline.drop_written(count);
    }

    /// The next piece of a frame at the front of `bytes`.
    ///
    /// # Errors
    ///
    /// When that is no frame; the connection must be closed.
    pub fn frame(&mut self, bytes: &[u8]) -> Result<FramePiece, Broken> {
        let Frame { used, kind, done } = self.pipeline.frame(bytes)?;
        self.doubtful |= self.pipeline.scanner.has_push() && kind != b'>';
        debug_assert!(done != self.has_begun(), "a frame ends and goes on");
        let first = !std::mem::replace(&mut self.has_replied, true);
        Ok(FramePiece { used, kind, done, first })
    }

    /// What a piece of a reply is to the session, as the frames say that were before it; a frame may also be
    /// handed in as a whole. `see` is shown what goes to the session.
    pub fn match_reply(
        &mut self,
        (piece, kind, done): (&[u8], u8, bool),
        large_bytes: u64,
        now: Instant,
        mut see: impl FnMut(&Delivery<'_, ()>),
    ) -> Reply<'_> {
        debug_assert!(!piece.is_empty(), "nothing is no part of a reply");
        let (mut reply, mut sign, mut refuses) = (Reply::Unwanted, None, None);
        let mut answered = None;
        let taken = self.pipeline.take_reply::<true>(piece, kind, done, &mut None, |delivery| {
            let ticket = delivery.ticket;
            sign = delivery.sign();
            see(&delivery);
            answered = Some(ticket).filter(|_| delivery.done);
            if delivery.skipped {
                refuses = Some(ticket);
            } else if !delivery.refused {
                reply = Reply::Wanted { ticket, large: delivery.is_large(large_bytes) };
            } else if done {
                reply = Reply::MultiRefused(ticket);
            }
        });
        self.companions.pop_front_if(|companion| Some(companion.ticket) == answered);
        self.pipeline.check_invariants();
        debug_assert!(refuses.is_none() || reply == Reply::Unwanted, "two replies in one piece");
        debug_assert!(now >= self.opened_at, "it was opened later");
        if sign.is_some() {
            // While there is no other server, each connection is kept for a while.
            let age = now.saturating_duration_since(self.opened_at);
            let old = age >= limits::POOLED_CONNECTION_AGE_MIN;
            self.sign = self.sign.or_else(|| sign.filter(|_| old));
        }
        match (taken, refuses) {
            (Err(_), _) => Reply::Unexpected,
            (Ok(()), Some(ticket)) => Reply::Refusal(ticket, self.pipeline.first_error.line()),
            (Ok(()), None) => reply,
        }
    }

    /// The oldest request is answered by what is no reply. Returns whether it was not answered before: else the
    /// connection must be closed.
    #[must_use]
    pub fn acknowledge(&mut self) -> bool {
        debug_assert!(!self.has_begun(), "half a message acknowledges");
        let waits = self.pipeline.awaits_reply();
        if waits {
            self.pipeline.retire_pinned();
        }
        self.pipeline.check_invariants();
        waits
    }

    /// The connection is gone, or is given up. Returns what becomes of each request that is not answered, oldest
    /// first: of those that were sent whole this is `why`, the others were not executed.
    pub fn take_losses(&mut self, why: Loss) -> Vec<(Ticket, Loss)> {
        self.doubtful |= !self.is_quiet();
        let losses = self.pipeline.take_losses(why);
        let first = losses.first().map(|(ticket, _)| *ticket);
        self.outstanding =
            self.companions.pop_front_if(|companion| Some(companion.ticket) == first);
        self.companions.clear();
        debug_assert!(
            self.outstanding.is_none() || !losses.is_empty(),
            "what is outstanding is answered"
        );
        losses
    }

    /// What completes a request that was answered, and is lost itself: it is to be sent on another connection.
    pub(crate) fn take_outstanding(&mut self) -> Option<Companion> {
        self.outstanding.take()
    }

    /// What was written may not arrive.
    pub const fn mark_doubtful(&mut self) {
        self.doubtful = true;
    }

    /// What the server has said that may make it the wrong one.
    #[must_use]
    pub(in crate::upstream) const fn sign(&self) -> Option<Sign> {
        self.sign
    }

    /// Whether a frame has come in part.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.pipeline.scanner.in_progress()
    }

    /// Whether nothing is under way, so that something else can be asked.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let quiet = self.pipeline.is_empty() && !self.has_begun();
        debug_assert!(!quiet || !self.pipeline.begun, "half a reply has come to nothing");
        quiet
    }

    /// Whether the server can be asked something else there, if it is to be asked.
    #[must_use]
    pub(in crate::upstream) fn is_askable(&self) -> bool {
        self.is_quiet() && !self.doubtful
    }

    /// Whether it is as if the connection had never been lent.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let clean = self.is_askable() && self.sign.is_none();
        let written = self.pipeline.bytes.is_empty();
        debug_assert!(!clean || written, "bytes of no request are still to be written");
        // What the next session gets has none of them, whatever has happened.
        clean && written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> (PinnedLine, Instant) {
        let now = crate::base::clock::now();
        (PinnedLine::new(now), now)
    }

    fn write(line: &mut PinnedLine) -> Vec<u8> {
        let bytes = line.unwritten().to_vec();
        line.wrote(bytes.len());
        bytes
    }

    /// What each piece of a reply in `bytes` is to the session.
    fn receive(line: &mut PinnedLine, mut bytes: &[u8], now: Instant) -> Vec<String> {
        let mut replies = Vec::new();
        while !bytes.is_empty() {
            let received = line.frame(bytes).unwrap();
            let (piece, rest) = bytes.split_at(received.used);
            bytes = rest;
            let reply =
                line.match_reply((piece, received.kind, received.done), 1 << 16, now, |_| ());
            replies.push(format!("{reply:?}"));
        }
        replies
    }

    #[test]
    fn pinned_requests_are_kept_until_they_are_written_and_answered_in_their_order() {
        let (mut line, now) = line();
        assert!(line.is_clean());
        line.push(Ticket(1), b"GET", Skips::NONE, now);
        line.push(Ticket(2), b"PING WAIT", Skips::ahead(1), now);
        assert_eq!(write(&mut line), b"GETPING WAIT");
        assert!(line.unwritten().is_empty() && !line.is_quiet());
        let wanted = |ticket: u64| format!("Wanted {{ ticket: Ticket({ticket}), large: false }}");
        assert_eq!(
            receive(&mut line, b"$-1\r\n+PONG\r\n:1", now),
            [wanted(1), "Unwanted".to_owned(), wanted(2)]
        );
        assert!(line.has_begun());
        assert_eq!(receive(&mut line, b"\r\n", now), [wanted(2)]);
        assert!(line.is_clean());
        assert_eq!(receive(&mut line, b"+more\r\n", now), ["Unexpected"]);
    }

    #[test]
    fn refused_transaction_is_reported_once_it_is_over() {
        let (mut line, now) = line();
        line.push(Ticket(1), b"MULTI GET EXEC", Skips::of_transaction(2), now);
        line.push(Ticket(2), b"MULTI GET EXEC", Skips::of_transaction(2), now);
        write(&mut line);
        let received = receive(&mut line, b"-NOPERM a\r\n+OK\r\n-ERR EXEC with", now);
        assert_eq!(received, ["Unwanted", "Unwanted", "Unwanted"]);
        assert_eq!(receive(&mut line, b"out MULTI\r\n", now), ["MultiRefused(Ticket(1))"]);
        let received = receive(&mut line, b"+OK\r\n-OOM a\r\n-EXECABORT\r\n", now);
        assert_eq!(received.len(), 3);
        assert!(received[1].starts_with("Refusal(Ticket(2), ["), "{received:?}");
        assert!(received[2].starts_with("Wanted { ticket: Ticket(2)"), "{received:?}");
    }

    #[test]
    fn body_that_is_refused_early_is_written_to_its_end_and_not_answered_again() {
        let (mut line, now) = line();
        line.push(Ticket(1), b"*3 SET k $9", Skips::NONE, now);
        line.begin_body();
        write(&mut line);
        line.append(b"12345");
        assert_eq!(write(&mut line), b"12345");
        assert!(receive(&mut line, b"-ERR too long\r\n", now)[0].starts_with("Wanted"));
        assert!(!line.is_quiet(), "its rest is to come");
        assert_eq!(receive(&mut line, b"+OK\r\n", now), ["Unexpected"]);
        line.append(b"6789");
        line.end_body();
        assert!(!line.is_quiet());
        assert_eq!(write(&mut line), b"6789");
        assert!(line.is_quiet());
    }

    #[test]
    fn losses_are_unknown_only_of_what_was_sent_whole() {
        let unsent = Loss::OutcomeUnknown.of_unsent();
        for (wrote, begun, expected) in [
            (0, false, [unsent, unsent, unsent]),
            (2, false, [unsent, unsent, unsent]),
            (3, false, [Loss::OutcomeUnknown, unsent, unsent]),
            (3, true, [Loss::Truncated, unsent, unsent]),
            (20, true, [Loss::Truncated, unsent, unsent]),
            (21, false, [Loss::OutcomeUnknown, Loss::OutcomeUnknown, unsent]),
            (30, false, [Loss::OutcomeUnknown, Loss::OutcomeUnknown, unsent]),
        ] {
            let (mut line, now) = line();
            line.push(Ticket(1), b"GET", Skips::NONE, now);
            line.push(Ticket(2), b"MULTI INCR k EXEC\n", Skips::of_transaction(2), now);
            line.push(Ticket(3), b"*3 SET k ", Skips::NONE, now);
            line.begin_body();
            if wrote > 0 {
                line.wrote(wrote);
            }
            if begun {
                receive(&mut line, b"$9\r\nhal", now);
            }
            let lost = line.take_losses(Loss::OutcomeUnknown);
            let tickets = (1..).map(Ticket);
            assert_eq!(lost, tickets.zip(expected).collect::<Vec<_>>(), "{wrote} bytes were sent");
            assert!(line.unwritten().is_empty() && !line.is_clean());
        }
    }

    #[test]
    fn companion_is_outstanding_once_what_it_completes_is_answered() {
        let key = PoolKey { protocol: Protocol::Resp2, database: 3 };
        for (wrote, replies, outstanding) in [
            (9, "", None),
            (9, "+OK\r\n", Some(&b"EXPIRE"[..])),
            (3, "+OK\r\n", Some(b"EXPIRE")),
            (9, "+OK\r\n:1\r\n", None),
            (2, "", None),
        ] {
            let (mut line, now) = line();
            line.push(Ticket(1), b"SET", Skips::NONE, now);
            line.push_companion(key, Ticket(2), b"EXPIRE", Skips::NONE, now);
            assert!(line.held_bytes() > 2 * b"EXPIRE".len());
            line.wrote(wrote);
            receive(&mut line, replies.as_bytes(), now);
            line.take_losses(Loss::OutcomeUnknown);
            let taken = line.take_outstanding();
            assert_eq!(
                taken.as_ref().map(|taken| &*taken.bytes),
                outstanding,
                "{wrote} {replies:?}"
            );
            assert!(
                taken.is_none_or(|taken| taken.key == key) && line.take_outstanding().is_none()
            );
        }
    }

    #[test]
    fn losses_by_time_leave_out_what_was_not_sent_and_what_is_answered() {
        let (mut line, now) = line();
        line.push(Ticket(1), b"GET", Skips::NONE, now);
        line.push(Ticket(2), b"*3 SET k $9", Skips::NONE, now);
        line.begin_body();
        write(&mut line);
        line.append(b"12345");
        receive(&mut line, b"$-1\r\n-ERR too long\r\n", now);
        assert_eq!(line.take_losses(Loss::TimedOut), [], "both are answered");
        for at in 3..5 {
            line.push(Ticket(at), b"GET", Skips::NONE, now);
        }
        line.wrote(5);
        let lost = line.take_losses(Loss::TimedOut);
        assert_eq!(lost, [(Ticket(3), Loss::TimedOut), (Ticket(4), Loss::Abandoned)]);
    }

    #[test]
    fn stream_is_gone_once_it_is_written() {
        let (mut line, now) = line();
        line.pass_on(b"REPLCONF ACK 1", now);
        line.pass_on(b"REPLCONF ACK 2", now);
        assert_eq!(line.pipeline.len(), 1, "it takes one place");
        line.wrote(20);
        assert!(!line.is_quiet());
        assert_eq!(write(&mut line), b"NF ACK 2");
        assert!(line.is_quiet());
    }

    #[test]
    fn acknowledged_request_makes_room_for_the_reply_to_the_next() {
        let (mut line, now) = line();
        line.push(Ticket(1), b"SUBSCRIBE a b", Skips::NONE, now);
        line.push(Ticket(2), b"PING", Skips::NONE, now);
        write(&mut line);
        assert!(line.acknowledge());
        assert!(receive(&mut line, b"+PONG\r\n", now)[0].contains("Ticket(2)"));
        assert!(!line.acknowledge(), "nothing is asked");
    }

    #[test]
    fn request_is_acknowledged_once_although_not_all_of_it_is_written() {
        let (mut line, now) = line();
        line.push(Ticket(1), b"SUBSCRIBE a", Skips::NONE, now);
        line.push(Ticket(2), b"SUBSCRIBE b", Skips::NONE, now);
        assert!(line.acknowledge(), "the server may end a subscription by itself");
        line.wrote(4);
        assert!(!line.acknowledge(), "the other one is not asked yet");
        write(&mut line);
        assert!(line.acknowledge() && line.is_clean());
    }

    #[test]
    fn replica_is_doubted_once_the_connection_is_old_enough() {
        let (mut line, now) = line();
        let later = now + limits::POOLED_CONNECTION_AGE_MIN;
        for (at, doubted) in [(now, false), (later, true)] {
            line.push(Ticket(1), b"SET", Skips::NONE, at);
            write(&mut line);
            receive(&mut line, b"-READONLY no\r\n", at);
            assert_eq!((line.sign().is_some(), line.is_clean()), (doubted, !doubted));
        }
    }
}

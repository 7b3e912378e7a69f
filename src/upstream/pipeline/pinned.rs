//! The requests of one session on a connection of its own: nothing of them is sent again, some are never
//! answered, and of a large one the rest follows as the client sends it.
//!
//! Owns: [`PinnedLine`]. Never knows: sockets, clocks, which frames are replies.

use std::collections::VecDeque;
use std::time::Instant;

use super::delivery::Refusal;
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
    /// How the server has refused the request that was answered last, those that complete others aside.
    refused: Option<Refusal>,
    /// The answer that comes is such a refusal.
    refusing: Option<Refusal>,
    /// Memory for those.
    companion_bytes: usize,
    /// The one that is to be sent on another connection: what it completes is answered, and it is lost or refused.
    outstanding: Option<Companion>,
}

/// A request that completes the one before it, and can be repeated once that one is answered.
#[derive(Clone, Debug)]
pub(crate) struct Companion {
    pub key: PoolKey,
    ticket: Ticket,
    pub bytes: Box<[u8]>,
    pub skips: Skips,
    /// Another connection carries the request already: a part of it was refused.
    is_repeated: bool,
}

impl Companion {
    fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
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
            refused: None,
            refusing: None,
            companion_bytes: 0,
            outstanding: None,
        }
    }

    /// Puts a request in line.
    pub fn push(&mut self, ticket: Ticket, request: &[u8], skips: Skips, at: Instant) {
        debug_assert!(self.open_ticket().is_none(), "half a request is before it");
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
        let bytes = request.into();
        let companion = Companion { key, ticket, bytes, skips, is_repeated: false };
        self.companion_bytes += companion.held_bytes();
        self.companions.push_back(companion);
        self.push(ticket, request, skips, at);
        debug_assert!(self.companions.len() <= self.pipeline.len(), "more complete than are");
    }

    /// More of the request that was put in line last follows.
    pub fn begin_body(&mut self) {
        debug_assert!(self.open_ticket().is_none(), "its body has begun");
        debug_assert!(!self.pipeline.ends_answered(), "what is not answered has no body");
        self.pipeline.set_open(true);
    }

    pub fn append(&mut self, bytes: &[u8]) {
        debug_assert!(self.open_ticket().is_some(), "no request goes on");
        self.pipeline.append(bytes);
    }

    /// The request that was put in line last is whole.
    pub fn end_body(&mut self) {
        debug_assert!(self.open_ticket().is_some(), "no request goes on");
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
        debug_assert!(self.open_ticket().is_none(), "half a request is before them");
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
        self.pipeline.held_bytes() + self.companion_bytes
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

    /// What a piece of a reply is for the session, which the frames before it determine; a frame may also be
    /// passed as a whole. `see` is called with what is delivered to the session.
    pub fn match_reply(
        &mut self,
        (piece, kind, done): (&[u8], u8, bool),
        large_bytes: u64,
        now: Instant,
        mut see: impl FnMut(&Delivery<'_, ()>),
    ) -> Reply<'_> {
        debug_assert!(!piece.is_empty(), "nothing is no part of a reply");
        let (mut reply, mut sign, mut refuses) = (Reply::Unwanted, None, None);
        let (mut answered, mut refusal) = (None, None);
        let taken = self.pipeline.take_reply::<true>(piece, kind, done, &mut None, |delivery| {
            let ticket = delivery.ticket;
            sign = delivery.sign();
            refusal = delivery.refusal();
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
        self.refusing = self.refusing.or(refusal);
        if answered.is_some() {
            let refusal = std::mem::take(&mut self.refusing);
            match self.take_companion(answered) {
                None => self.refused = refusal,
                Some(companion) => self.handle_completed(companion, refusal),
            }
        } else if done && kind == b'-' {
            self.handle_skipped();
        }
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

    /// What completes a request is answered. If it alone is refused, another connection may carry it, or report it.
    fn handle_completed(&mut self, companion: Companion, refusal: Option<Refusal>) {
        let refused = refusal.is_some_and(|refusal| self.is_outstanding_after(refusal));
        debug_assert!(companion.ticket > Ticket::default(), "it completes nothing");
        if refused && !companion.is_repeated {
            debug_assert!(self.outstanding.is_none(), "the one before is forgotten");
            self.outstanding = Some(companion);
        }
    }

    /// Whether what completes the last request is to be sent elsewhere when it is refused so.
    fn is_outstanding_after(&self, refusal: Refusal) -> bool {
        match refusal {
            Refusal::ForNow => self.refused != Some(Refusal::ForNow),
            Refusal::ForGood => self.refused.is_none(),
        }
    }

    /// An error that is not the reply itself may refuse a part of what completes a request.
    fn handle_skipped(&mut self) {
        let skipped = self.pipeline.first_error.take_skipped();
        debug_assert!(self.companions.len() <= self.pipeline.len(), "more complete than are");
        let refused = [Refusal::ForNow, Refusal::ForGood]
            .into_iter()
            .any(|refusal| skipped.include(refusal) && self.is_outstanding_after(refusal));
        let first = self.pipeline.line.front().map(|entry| entry.ticket);
        let mut companion = self.companions.front_mut().filter(|it| Some(it.ticket) == first);
        if let Some(companion) = companion.take_if(|it| refused && !it.is_repeated) {
            debug_assert!(self.outstanding.is_none(), "the one before is forgotten");
            companion.is_repeated = true;
            self.outstanding = Some(companion.clone());
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

    /// The connection is lost, or is given up. Returns what becomes of each request that is not answered, oldest
    /// first: of those that were sent whole this is `why`, the others were not executed.
    pub fn take_losses(&mut self, why: Loss) -> Vec<(Ticket, Loss)> {
        self.doubtful |= !self.is_quiet();
        let losses = self.pipeline.take_losses(why);
        let first = losses.first().map(|(ticket, _)| *ticket);
        let lost = self.take_companion(first);
        let is_missing = |it: &Companion| self.refused != Some(Refusal::ForNow) && !it.is_repeated;
        let lost = lost.filter(is_missing);
        self.outstanding = self.outstanding.take().or(lost);
        (self.companions, self.companion_bytes) = (VecDeque::new(), 0);
        losses
    }

    /// Removes the oldest companion, if it is the request of `ticket`.
    fn take_companion(&mut self, ticket: Option<Ticket>) -> Option<Companion> {
        let taken = self.companions.pop_front_if(|companion| Some(companion.ticket) == ticket)?;
        debug_assert!(self.companion_bytes >= taken.held_bytes(), "a companion was not counted");
        self.companion_bytes -= taken.held_bytes();
        if self.companions.is_empty() && self.companions.capacity() > limits::EMPTY_LINE_ENTRIES_MAX
        {
            self.companions = VecDeque::new();
        }
        Some(taken)
    }

    /// What completes a request that was answered, and is lost or refused itself: it is to be sent on another connection.
    /// Asked for behind each error and behind each loss.
    pub(crate) fn take_outstanding(&mut self) -> Option<Companion> {
        self.outstanding.take()
    }

    /// What was written may not arrive.
    pub const fn mark_doubtful(&mut self) {
        self.doubtful = true;
    }

    /// A reply which shows that the server may not be the primary.
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
mod tests;

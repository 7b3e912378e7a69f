//! Requests that leave the line without a reply: their connection is lost, another one carries them, they have
//! waited too long, their clients have given them up, or the line is dissolved.
//!
//! Owns: how they leave the line. Never knows: when that is right, how long is too long, whose they are.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Pipeline;
use super::deferred::Deferred;
use super::entry::Entry;
use crate::resp::{Protocol, ReplyScanner};
use crate::traffic::{Loss, Ticket};

impl<W> Pipeline<W> {
    /// The connection is lost. What was not written, or may be executed twice, stays in line for the
    /// next connection; everything else is reported lost, with what was asked, except what is the proxy's
    /// own. Returns how many of these were sent as often as they may be.
    pub fn handle_loss(
        &mut self,
        mut may_repeat: impl FnMut(u8) -> bool,
        mut report: impl FnMut(&W, Ticket, Loss, &[u8]),
    ) -> usize {
        let old = std::mem::take(&mut self.bytes);
        let line = std::mem::take(&mut self.line);
        debug_assert!(!self.pinned, "nothing is sent again on a pinned connection");
        let (written, begun) = (self.written, self.begun);
        let kept = line.len();
        let mut start = 0;
        let (mut exhausted, mut gone) = (0, 0);
        // Whether the outcome of the request before is unknown; whether everything before is the proxy's own.
        let (mut doubtful, mut first) = (false, true);
        for (index, mut entry) in line.into_iter().enumerate() {
            let end = start + entry.len;
            let request = old.get(start..end).unwrap_or_default();
            let sent = end <= written;
            let mut started = begun && index == 0 && !entry.completes;
            // What it completes may not, or must not, have been executed.
            let orphan = entry.companion && (doubtful || entry.void);
            entry.abandoned &= !entry.completes;
            // What it completes was answered, after it was itself given up, or its reply is cut.
            let outstanding = first && entry.is_completing() && (started || entry.abandoned);
            if let Some(owner) = (self.completion)().filter(|_| outstanding) {
                if started && !entry.abandoned {
                    report(&entry.owner, entry.ticket, Loss::Truncated, request);
                }
                (entry, started) = (entry.completing(owner), false);
            }
            first &= entry.own;
            doubtful |= !entry.own;
            if !entry.abandoned && !entry.own {
                if started {
                    gone += 1;
                    report(&entry.owner, entry.ticket, Loss::Truncated, request);
                } else if !orphan && (!sent || entry.retry && may_repeat(entry.attempts)) {
                    doubtful = false;
                    entry.attempts += u8::from(sent);
                    entry.skips = entry.skips.anew();
                    self.bytes.extend_from_slice(request);
                    self.line.push_back(entry);
                } else {
                    gone += 1;
                    exhausted += usize::from(entry.attempts > 0);
                    report(&entry.owner, entry.ticket, Loss::OutcomeUnknown, request);
                }
            } else {
                gone += 1;
            }
            start = end;
        }
        debug_assert_eq!(gone + self.line.len(), kept, "each request is lost or kept");
        let own = |entry: &Entry<W>| entry.own || entry.abandoned;
        debug_assert!(!self.line.iter().any(own), "what ends with its connection is sent again");
        self.secrets.wipe(old);
        self.secrets.clear();
        self.written = 0;
        self.abandoned = 0;
        self.begun = false;
        self.begun_bytes = 0;
        self.first_error = Default::default();
        self.scanner = ReplyScanner::new(self.protocol);
        self.check_invariants();
        exhausted
    }

    /// The request put in line last completes one that was answered, and no owner waits for it.
    pub fn note_completes(&mut self) {
        debug_assert!(!self.line.is_empty(), "no request was put in line");
        if let Some(entry) = self.line.back_mut() {
            entry.completes = true;
        }
        self.check_invariants();
    }

    /// What completes requests that were answered, or may have been: the requests. A defect loses them with the line.
    pub fn completions(&self) -> impl Iterator<Item = &[u8]> {
        let (mut start, mut before, mut first) = (0, false, true);
        let in_line = self.line.iter().filter_map(move |entry| {
            let request = self.bytes.get(start..start + entry.len);
            start += entry.len;
            // The reply to the oldest may have been handed out.
            let completes = entry.is_completing() && (first || before || entry.completes);
            if !entry.own {
                (before, first) = (first && self.written > 0, false);
            }
            request.filter(|_| completes)
        });
        in_line.chain(self.deferred.as_deref().into_iter().flat_map(Deferred::requests))
    }

    /// Whether the server has refused some of them for good since that was last asked.
    pub(in crate::upstream) fn take_refused(&mut self) -> bool {
        self.deferred.as_mut().is_some_and(|deferred| deferred.take_refused())
    }

    /// For a shared connection, where what completes others and is refused may be sent again for an owner of its own.
    #[must_use]
    pub fn completing(protocol: Protocol, completion: fn() -> Option<W>) -> Self {
        Self { completion, ..Self::new(protocol) }
    }

    /// Puts what was deferred in line again when its pause is over.
    pub fn put_deferred(&mut self, now: Instant) {
        if let Some((bytes, line)) = self.deferred.as_mut().and_then(|it| it.take_due(now)) {
            self.bytes.extend_from_slice(&bytes);
            self.line.extend(line.into_iter().map(|entry| Entry { at: now, ..entry }));
            self.check_invariants();
        }
    }

    /// Puts all of `others` in line, which are not written.
    pub fn put_behind(&mut self, others: Self) {
        debug_assert_eq!(others.written, 0, "another connection answers them");
        self.abandoned += others.abandoned;
        self.bytes.extend_from_slice(&others.bytes);
        self.line.extend(others.line);
        self.check_invariants();
    }

    /// What is deferred is sent on the connection of `next`, which carries what has moved over.
    pub fn pass_deferred(&mut self, next: &mut Self) {
        debug_assert!(next.deferred.is_none(), "what is deferred there is forgotten");
        next.deferred = self.deferred.take();
    }

    /// Takes out, while there is no connection, everything that owners wait for. What completes a request that was
    /// answered stays.
    pub fn take_waiting(&mut self) -> Self {
        debug_assert_eq!(self.written, 0, "only without a connection");
        let mut taken = Self::new(self.protocol);
        let (line, mut bytes) = (std::mem::take(&mut self.line), std::mem::take(&mut self.bytes));
        self.abandoned = 0;
        // What comes first and completes another request follows one that was answered.
        let mut first = true;
        for entry in line {
            let request = bytes.split_to(entry.len.min(bytes.len()));
            first &= entry.completes || entry.companion;
            let owner = if first || entry.completes { (self.completion)() } else { None };
            if let Some(owner) = owner {
                self.bytes.extend_from_slice(&request);
                self.line.push_back(entry.completing(owner));
            }
            if !entry.completes && !entry.abandoned {
                taken.bytes.extend_from_slice(&request);
                taken.line.push_back(entry);
            }
        }
        self.check_invariants();
        taken.check_invariants();
        taken
    }

    /// A connection is there again, on which nothing is written yet. Requests whose owner has ended are
    /// forgotten; the others wait for their replies from now on. `waited` gets each one's wait, and what
    /// was asked.
    pub fn restart(
        &mut self,
        now: Instant,
        is_gone: impl Fn(&W) -> bool,
        mut waited: impl FnMut(&W, Ticket, Duration, &[u8]),
    ) {
        // Replies would be those to other requests, perhaps of other clients. What crashes here is closed.
        assert_eq!(self.written, 0, "only on a new connection");
        debug_assert!(!self.begun, "half a reply of another connection");
        // What is the proxy's own is about one connection alone; what comes first and completes another request
        // is wanted although its owner has ended: that request was answered.
        let first = self.line.iter().position(|entry| !entry.own);
        let outstanding =
            first.filter(|first| self.line.get(*first).is_some_and(|it| it.companion));
        let is_gone = |index: usize, entry: &Entry<W>| {
            let stays = entry.completes || outstanding == Some(index);
            entry.own || (is_gone(&entry.owner) && !stays)
        };
        let gone = self.line.iter().enumerate().any(|(index, entry)| is_gone(index, entry));
        let old = if gone { std::mem::take(&mut self.bytes) } else { BytesMut::new() };
        let (mut start, bytes, abandoned) = (0, &mut self.bytes, &mut self.abandoned);
        let mut index = 0..;
        self.line.retain_mut(|entry| {
            let end = start + entry.len;
            let keep = !index.next().is_some_and(|index| is_gone(index, entry));
            *abandoned -= usize::from(entry.abandoned && !keep);
            if keep {
                debug_assert!(entry.at <= now, "a request was put in line later");
                let time = now.saturating_duration_since(entry.at);
                let from: &[u8] = if gone { &old } else { bytes };
                let request = from.get(start..end).unwrap_or_default();
                waited(&entry.owner, entry.ticket, time, request);
                entry.at = now;
            }
            if keep && gone {
                bytes.extend_from_slice(old.get(start..end).unwrap_or_default());
            }
            start = end;
            keep
        });
        self.secrets.wipe(old);
        self.secrets.clear();
        self.check_invariants();
    }

    /// Takes out what another connection can carry instead, in its order: what is not written, and
    /// what may be executed twice, but for the oldest. An owner (`id` distinguishes them) of
    /// which anything else is written keeps all its places: its requests would overtake each other.
    pub fn move_over(&mut self, id: impl Fn(&W) -> Option<usize>) -> Self
    where
        W: Clone,
    {
        let bound = self.bound(&id);
        self.take_out(|_, entry| {
            let id = id(&entry.owner);
            !entry.abandoned && id.is_some_and(|id| bound.binary_search(&id).is_err())
        })
    }

    /// Takes out the requests that `moves` names, by their places in line. The replies to those that are written go
    /// nowhere.
    pub(super) fn take_out(&mut self, moves: impl Fn(usize, &Entry<W>) -> bool) -> Self
    where
        W: Clone,
    {
        let before = (self.line.len(), self.abandoned);
        let old = std::mem::take(&mut self.bytes);
        let (mut moved, mut start, mut index) = (Self::new(self.protocol), 0, 0..);
        let (written, bytes, abandoned) = (self.written, &mut self.bytes, &mut self.abandoned);
        self.line.retain_mut(|entry| {
            let (sent, end) = (start < written, start + entry.len);
            let request = old.get(start..end).unwrap_or_default();
            start = end;
            let moves = index.next().is_some_and(|index| moves(index, entry));
            if moves {
                let attempts = entry.attempts.saturating_add(u8::from(sent));
                moved.bytes.extend_from_slice(request);
                let skips = entry.skips.anew();
                moved.line.push_back(Entry { attempts, skips, ..entry.clone() });
                // The reply to what is written already goes nowhere, and what has moved completes what it did.
                (entry.abandoned, entry.companion) = (true, false);
                *abandoned += usize::from(sent);
            }
            if sent || !moves {
                bytes.extend_from_slice(request);
            }
            sent || !moves
        });
        self.secrets.wipe(old);
        let doubled = self.abandoned - before.1;
        debug_assert_eq!(self.line.len() + moved.line.len(), before.0 + doubled, "one is missing");
        debug_assert!(moved.written == 0 && moved.abandoned == 0, "what has moved is not new");
        debug_assert!(!moved.line.iter().any(|entry| entry.own), "what is about one has moved");
        moved.completion = self.completion;
        self.check_invariants();
        moved.check_invariants();
        moved
    }

    /// The owners with a request that is written and must be answered here; in ascending order.
    fn bound(&self, id: &impl Fn(&W) -> Option<usize>) -> Vec<usize> {
        let (mut bound, mut end) = (Vec::new(), 0);
        for (index, entry) in self.line.iter().enumerate() {
            if end >= self.written {
                break;
            }
            end += entry.len;
            let whole = end <= self.written;
            let elsewhere = entry.retry && whole && index > 0;
            if !entry.abandoned && !elsewhere {
                bound.extend(id(&entry.owner));
            }
        }
        debug_assert!(end >= self.written, "what is written is not in line");
        bound.sort_unstable();
        bound.dedup();
        bound
    }

    /// Forgets what was put in line before `before`, is not written, and whose owner `is_gone`; each is
    /// reported. A request that belongs to one that is written goes with it.
    pub fn forget(
        &mut self,
        before: Instant,
        is_gone: impl Fn(&W) -> bool,
        mut report: impl FnMut(&W, Ticket),
    ) {
        let (mut start, mut previous) = (0, false);
        let old = std::mem::take(&mut self.bytes);
        let (written, bytes, abandoned) = (self.written, &mut self.bytes, &mut self.abandoned);
        self.line.retain(|entry| {
            let (unsent, end) = (start >= written, start + entry.len);
            let request = old.get(start..end).unwrap_or_default();
            start = end;
            let belongs = entry.companion && !previous;
            previous = unsent && entry.at < before && !belongs && is_gone(&entry.owner);
            if !previous {
                bytes.extend_from_slice(request);
                return true;
            }
            debug_assert!(!entry.own, "what is the proxy's own is given up");
            if entry.abandoned {
                *abandoned -= 1;
            } else {
                report(&entry.owner, entry.ticket);
            }
            false
        });
        self.secrets.wipe(old);
        self.check_invariants();
    }

    /// Whether there is anything to [`Self::forget`].
    pub fn forgets(&self, before: Instant, is_gone: impl Fn(&W) -> bool) -> bool {
        let mut start = 0;
        let mut line = self.line.iter().take_while(|entry| entry.at < before);
        line.any(|entry| {
            let unsent = start >= self.written;
            start += entry.len;
            unsent && !entry.companion && is_gone(&entry.owner)
        })
    }

    /// Everything in line is lost, by a defect: what was written may have been executed, and the reply to the
    /// oldest may have been handed out in part.
    pub fn into_losses(self) -> impl Iterator<Item = (W, Ticket, Loss)> {
        let (written, mut start) = (self.written, 0);
        let losses = self.line.into_iter().map(move |entry| {
            let loss = match start {
                0 if written > 0 => Loss::Truncated,
                _ if start < written => Loss::OutcomeUnknown,
                _ => Loss::Abandoned,
            };
            start += entry.len;
            (entry, loss)
        });
        losses
            .filter(|(entry, _)| !entry.abandoned)
            .map(|(entry, loss)| (entry.owner, entry.ticket, loss))
    }

    /// The connection of one session is lost, or is given up. Returns what becomes of each request that waits for
    /// an answer, oldest first: of those that were sent whole this is `why`, the others were not executed.
    pub(super) fn take_losses(&mut self, why: Loss) -> Vec<(Ticket, Loss)> {
        debug_assert!(self.pinned, "a shared connection has a successor");
        let (written, begun) = (std::mem::take(&mut self.written), std::mem::take(&mut self.begun));
        let (mut end, mut losses) = (0, Vec::new());
        for (index, entry) in std::mem::take(&mut self.line).into_iter().enumerate() {
            end += entry.len;
            let is_whole = end <= written && !entry.open;
            let is_cut = begun && index == 0 && why == Loss::OutcomeUnknown;
            let loss = match (is_whole, is_cut) {
                (false, _) => why.of_unsent(),
                (true, true) => Loss::Truncated,
                (true, false) => why,
            };
            if !entry.answered {
                losses.push((entry.ticket, loss));
            }
        }
        self.bytes = BytesMut::new();
        self.begun_bytes = 0;
        self.first_error = Default::default();
        self.scanner = ReplyScanner::new(self.protocol);
        self.check_invariants();
        losses
    }

    /// Everything in line, from the oldest on: whose it is, and whether it is a transaction.
    pub fn into_requests(self) -> impl Iterator<Item = (W, Ticket, bool)> {
        let waits = self.line.into_iter().filter(|entry| !entry.abandoned);
        waits.map(|entry| (entry.owner, entry.ticket, entry.skips.transacts()))
    }

    /// Requests put in line before `before` have waited too long: each is reported once, with what was
    /// asked, and its reply, when it comes, goes nowhere. The reply to what is the proxy's own counts
    /// however late it is. What completes a request that was answered waits on, for the owner that `completes` has.
    pub fn expire(
        &mut self,
        before: Instant,
        completes: impl Fn() -> Option<W>,
        mut report: impl FnMut(&W, Ticket, &[u8]),
    ) {
        let mut start = 0;
        for (index, entry) in self.line.iter_mut().enumerate() {
            if entry.at >= before {
                break;
            }
            let request = self.bytes.get(start..start + entry.len).unwrap_or_default();
            start += entry.len;
            // Half a reply cannot be taken back: its owner gets the rest, or the loss.
            let begun = index == 0 && self.begun;
            if !entry.abandoned && !begun && !entry.own {
                entry.abandoned = true;
                self.abandoned += 1;
                report(&entry.owner, entry.ticket, request);
                // It comes first: the request before it was answered.
                let outstanding = index == 0 && entry.companion && !entry.void;
                if let Some(owner) = completes().filter(|_| outstanding) {
                    (entry.owner, entry.companion, entry.completes) = (owner, false, true);
                }
            }
        }
        self.check_invariants();
    }

    /// Gives up everything put in line before `before` while there is no connection; each is reported
    /// with what was asked. What completes a request that was answered stays where `keeps` has an owner for it, and is
    /// reported if a session waits for it. Returns how many of those given up were sent before.
    pub fn give_up(
        &mut self,
        before: Option<Instant>,
        keeps: impl Fn() -> Option<W>,
        mut report: impl FnMut(&W, Ticket, &[u8]),
    ) -> usize {
        debug_assert_eq!(self.written, 0, "only without a connection");
        let mut sent = 0;
        let (mut kept, mut kept_bytes) = (VecDeque::new(), BytesMut::new());
        // What comes first and completes another request follows one that was answered.
        let mut first = true;
        while let Some(mut entry) =
            self.line.pop_front_if(|entry| before.is_none_or(|before| entry.at < before))
        {
            debug_assert!(entry.len <= self.bytes.len(), "a request is longer than what is kept");
            debug_assert!(!entry.own, "it is about one connection alone");
            let request = self.bytes.split_to(entry.len.min(self.bytes.len()));
            let completes = entry.completes || (first && entry.companion);
            let owner = if completes { keeps() } else { None };
            first &= owner.is_some();
            if !entry.abandoned && (owner.is_none() || !entry.completes) {
                report(&entry.owner, entry.ticket, &request);
            }
            self.abandoned -= usize::from(entry.abandoned);
            if let Some(owner) = owner {
                (entry.owner, entry.companion, entry.completes) = (owner, false, true);
                entry.abandoned = false;
                kept_bytes.extend_from_slice(&request);
                kept.push_back(entry);
            } else {
                sent += usize::from(entry.attempts > 0);
            }
        }
        debug_assert!(before.is_some() || self.line.is_empty(), "not all of it is given up");
        if before.is_none() && keeps().is_none() {
            let deferred = self.deferred.take().unwrap_or_default();
            let requests = deferred.line.iter().zip(deferred.requests());
            requests.for_each(|(entry, it)| report(&entry.owner, entry.ticket, it));
        }
        if !kept.is_empty() {
            kept_bytes.extend_from_slice(&self.bytes);
            kept.append(&mut self.line);
            (self.bytes, self.line) = (kept_bytes, kept);
        }
        self.check_invariants();
        sent
    }

    /// Whether only requests are in line whose owners wait no longer, or the proxy's own.
    pub fn is_given_up(&self) -> bool {
        self.line.iter().all(|entry| entry.abandoned || entry.own)
    }

    /// Whether a part of a reply to the oldest request has come.
    pub(in crate::upstream) fn has_begun(&self) -> bool {
        self.scanner.in_progress()
    }

    /// How much has come of the reply that goes on.
    pub(in crate::upstream) fn reply_bytes(&self) -> Option<usize> {
        self.begun.then_some(self.begun_bytes)
    }

    /// Whether a request is written that must not be written again, and whose owner still waits for it.
    pub fn has_outstanding_writes(&self) -> bool {
        let mut end = 0;
        self.line.iter().any(|entry| {
            end += entry.len;
            end <= self.written && !entry.retry && !entry.abandoned && !entry.own
        })
    }
}

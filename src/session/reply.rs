//! Replies and losses that come from the server: each finds the place of its request.
//!
//! Owns: the matching of replies to places. Never knows: connections; what a request asked.

use bytes::BytesMut;

use super::completed::Completed;
use super::exec_reply::ExecReply;
use super::queue::Class;
use super::queue::{Expect, Remote};
use super::residue::Residue;
use super::script_cache::{NoscriptRetry, Resend};
use super::state::{Route, Session, UnexpectedReply};
use super::{client_text, subscriptions};
use crate::base::limits;
use crate::resp::{Protocol, encode};
use crate::traffic::{Loss, Ticket};

impl Session {
    /// A piece of the reply to `ticket` from a shared connection. `kind` is the reply's first byte;
    /// `done`: the reply ends with this piece. A reply without a waiting request is dropped.
    pub fn handle_reply(
        &mut self,
        ticket: Ticket,
        chunk: &[u8],
        kind: u8,
        done: bool,
        out: &mut BytesMut,
    ) -> Option<Completed> {
        let front = self.queue.front()?;
        if front.ticket != ticket {
            debug_assert!(ticket < front.ticket, "a reply overtook an earlier one");
            return None;
        }
        self.begin_script(kind);
        let front = self.queue.front()?;
        if !front.passes(kind) {
            self.partial.extend_from_slice(chunk);
            if !done {
                return None;
            }
            let frame = std::mem::take(&mut self.partial);
            return self.handle_reply_frame(kind, &frame, out);
        }
        self.pass_on(chunk, kind, done, out)
    }

    /// A piece of whatever the pinned connection says.
    ///
    /// # Errors
    ///
    /// When nothing was asked that this could answer: the connection must be closed.
    pub fn handle_pinned(
        &mut self,
        chunk: &[u8],
        kind: u8,
        done: bool,
        out: &mut BytesMut,
    ) -> Result<Option<Completed>, UnexpectedReply> {
        if !self.begun
            && self.expects_replies_alone(kind)
            && self.queue.peek().is_some_and(|front| front.skip == 0)
        {
            self.begin_script(kind);
        }
        if self.is_plain(kind) {
            return Ok(self.pass_on(chunk, kind, done, out));
        }
        self.partial.extend_from_slice(chunk);
        if !done {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.partial);
        self.handle_pinned_frame(kind, &frame, out)
    }

    /// Whether nothing but the reply to the oldest request can be what the pinned connection says.
    fn expects_replies_alone(&self, kind: u8) -> bool {
        let stateful = self.subscriptions.any()
            || self.subscriptions.pending > 0
            || self.tracking
            || self.monitor
            || kind == b'>';
        !stateful && self.partial.is_empty()
    }

    /// Whether what the pinned connection says needs not be looked at as a whole.
    fn is_plain(&self, kind: u8) -> bool {
        let plain = |front: &Remote| front.passes(kind) && front.skip == 0;
        self.begun || (self.expects_replies_alone(kind) && self.queue.peek().is_some_and(plain))
    }

    /// Whether a piece of what the pinned connection says is for the client as it is:
    /// [`Self::handle_passed`] then tells of it.
    #[must_use]
    pub fn passes_pinned(&self, kind: u8) -> bool {
        let named = |front: &Remote| matches!(&front.expect, Expect::Names(s) if s.concerns(kind));
        self.is_plain(kind) && !self.queue.front_silent() && !self.queue.peek().is_some_and(named)
    }

    /// A piece of `bytes` bytes has gone on to the client.
    pub fn handle_passed(
        &mut self,
        bytes: usize,
        kind: u8,
        done: bool,
        out: &mut BytesMut,
    ) -> Option<Completed> {
        self.reply_bytes += bytes;
        self.begun = !done;
        if done { self.finish(kind == b'-' || kind == b'!', out) } else { None }
    }

    fn handle_pinned_frame(
        &mut self,
        kind: u8,
        frame: &[u8],
        out: &mut BytesMut,
    ) -> Result<Option<Completed>, UnexpectedReply> {
        if self.farewell && self.in_flight() == 0 {
            // It has killed itself: this reply is the last that it gets.
            return Ok(None);
        }
        let continued = |front: &Remote| matches!(&front.expect, Expect::Exec(e) if e.has_begun());
        if self.queue.peek().is_some_and(continued) {
            return Ok(self.handle_reply_frame(b'*', frame, out));
        }
        if self.monitor && subscriptions::is_monitor_line(frame) {
            if !subscriptions::is_own_line(frame) {
                out.extend_from_slice(frame);
            }
            return Ok(None);
        }
        // A reply asked for before the first SUBSCRIBE may look like a message.
        let acknowledges = |front: &mut Remote| matches!(front.expect, Expect::Acks { .. });
        let in_pubsub = self.subscriptions.any() || self.queue.front().is_some_and(acknowledges);
        if kind == b'>' || (kind == b'*' && self.protocol == Protocol::Resp2 && in_pubsub) {
            match subscriptions::classify(frame) {
                subscriptions::Frame::Ack { kind, subscribe, total } => {
                    return Ok(self.acknowledge(kind, subscribe, total, frame, out));
                }
                subscriptions::Frame::Message => {
                    self.write_push(frame, out);
                    return Ok(None);
                }
                subscriptions::Frame::Other if kind == b'>' && self.take_broken(frame, out) => {
                    return Ok(None);
                }
                subscriptions::Frame::Other if kind == b'>' => {
                    self.write_push(frame, out);
                    return Ok(None);
                }
                subscriptions::Frame::Other => {}
            }
        }
        let Some(front) = self.queue.front() else { return Err(UnexpectedReply) };
        if front.skip > 0 {
            front.skip -= 1;
            if matches!(front.expect, Expect::Block | Expect::Exec(_)) {
                let opened = *front.opened.get_or_insert(kind == b'+');
                self.residue.note_if(!opened, Residue::Poisoned);
                front.note_refusal(frame);
            }
            return Ok(None);
        }
        Ok(self.handle_reply_frame(kind, frame, out))
    }

    /// A message without a request, with the client's own names.
    pub(super) fn write_push(&self, frame: &[u8], out: &mut BytesMut) {
        match self.names.clone().or_else(|| self.seat.names()) {
            Some(prefix) => prefix.push(frame, out),
            None => out.extend_from_slice(frame),
        }
    }

    /// An acknowledgement belongs to the oldest SUBSCRIBE or UNSUBSCRIBE; the server may also end a
    /// subscription by itself.
    fn acknowledge(
        &mut self,
        kind: subscriptions::Kind,
        subscribe: bool,
        total: u64,
        frame: &[u8],
        out: &mut BytesMut,
    ) -> Option<Completed> {
        let before = self.subscriptions.count(kind);
        self.subscriptions.note(kind, total);
        self.write_push(frame, out);
        let front = self.queue.front()?;
        let Expect::Acks { named, left, kind: expected, subscribe: direction } = &mut front.expect
        else {
            return None;
        };
        if *expected != kind || *direction != subscribe {
            return None;
        }
        self.subscriptions.settle(kind, subscribe, 1);
        let due = left.unwrap_or_else(|| {
            if *named > 0 { *named } else { u32::try_from(before).unwrap_or(u32::MAX).max(1) }
        });
        *left = Some(due.saturating_sub(1));
        if due > 1 {
            return None;
        }
        self.subscriptions.pending -= 1;
        self.finish(false, out)
    }

    /// A script that answers anything but an error is there: its reply needs not be looked into.
    fn begin_script(&mut self, kind: u8) {
        let Some(front) = self.queue.front() else { return };
        if kind == b'-' || kind == b'!' || !matches!(front.expect, Expect::Script(_)) {
            return;
        }
        if let Expect::Script(replay) = std::mem::replace(&mut front.expect, Expect::Plain) {
            self.executing &= !replay.held;
            let replays = self.replays.get_or_insert_default();
            replays.calls &= !replay.held;
            replay.note_run(&mut replays.seen);
            front.expect = replay.strip.map_or(Expect::Plain, Expect::Names);
        }
    }

    /// The oldest place's script answers an error: it is passed on, or the script is sent again.
    fn forget_script(
        &mut self,
        mut replay: Box<NoscriptRetry>,
        frame: &[u8],
        alone: bool,
        out: &mut BytesMut,
    ) -> Option<Completed> {
        self.executing &= !replay.held;
        let silent = self.queue.front_silent();
        let front = self.queue.front()?;
        if let Some(wire) = replay.again(frame, alone) {
            let resend = Resend { ticket: front.ticket, retry: front.class == Class::Read, wire };
            front.expect = Expect::Script(replay);
            self.executing = true;
            self.replays.get_or_insert_default().resend = Some(resend);
            return None;
        }
        if let Some(replays) = self.replays.as_mut().filter(|_| replay.held) {
            replays.calls = false;
        }
        match replay.strip {
            _ if silent => {}
            Some(strip) => strip.frame(frame, out),
            None => out.extend_from_slice(frame),
        }
        self.finish(true, out)
    }

    fn take_selected(&mut self, database: u32, ok: bool) {
        self.executing = false;
        if ok {
            self.database = database;
            self.residue.note(Residue::Dirty);
        }
    }

    /// A whole reply to the oldest place, which wants to look into it.
    fn handle_reply_frame(
        &mut self,
        kind: u8,
        frame: &[u8],
        out: &mut BytesMut,
    ) -> Option<Completed> {
        let error = kind == b'-' || kind == b'!';
        let ok = kind == b'+';
        self.reply_bytes = frame.len();
        let silent = self.queue.front_silent();
        let alone = self.queue.in_flight() == 1;
        self.begin_script(kind);
        let front = self.queue.front()?;
        let ticket = front.ticket;
        if front.opened == Some(false) {
            return self.end_unopened(out);
        }
        let (mut hidden, mut own) = (silent, false);
        let told = front.refusal.take().and_then(|line| client_text::aborted(frame, &line));
        let frame = told.as_deref().unwrap_or(frame);
        if let Some(executed) = self.awaited_exec() {
            return self.take_executed(executed, frame, silent, out);
        }
        let front = self.queue.front()?;
        match std::mem::replace(&mut front.expect, Expect::Plain) {
            Expect::Plain | Expect::Exec(_) => {}
            Expect::Block => self.distrust_exec(frame),
            Expect::Hidden => {
                (hidden, own) = (true, true);
                // It still watches: a later EXEC there would answer nil without a reason.
                self.residue.note_if(!ok, Residue::Poisoned);
            }
            // Any answer is life.
            Expect::Alive => (hidden, own) = (true, true),
            Expect::Page => {
                (hidden, own) = (true, true);
                self.take_page(ticket, frame);
            }
            Expect::Names(strip) => {
                if !silent {
                    strip.frame(frame, out);
                }
                hidden = true;
            }
            Expect::Acks { named, left, kind, subscribe } => {
                self.subscriptions.pending -= 1;
                self.subscriptions.settle(kind, subscribe, left.unwrap_or(named));
            }
            Expect::Watch => {
                // Refused, what is watched there is unknown.
                self.residue.note_if(!ok, Residue::Dirty);
            }
            Expect::Select(database) => self.take_selected(database, ok),
            Expect::Script(replay) => return self.forget_script(replay, frame, alone, out),
            expect @ (Expect::Hello(_) | Expect::Redirect(_) | Expect::Tracking { .. }) => {
                let mut reply = BytesMut::new();
                self.take_own(expect, frame, &mut reply);
                if !silent {
                    out.extend_from_slice(&reply);
                }
                hidden = true;
            }
            Expect::Own(reply) => {
                self.take_own_reply(reply, kind, frame, silent, out);
                hidden = true;
            }
            Expect::Manner { spec, on } => self.take_manner(spec, on, ok),
            Expect::Monitor => {
                self.monitor = ok;
                self.residue.note(Residue::Dirty);
            }
        }
        if !hidden {
            out.extend_from_slice(frame);
        }
        // A question of the proxy's own is no request of the client.
        self.finish(error, out).map(|completed| Completed { own, ..completed })
    }

    fn take_executed(
        &mut self,
        mut executed: Box<ExecReply>,
        frame: &[u8],
        silent: bool,
        out: &mut BytesMut,
    ) -> Option<Completed> {
        self.distrust_exec(frame);
        if !self.complete_exec(&mut executed, frame, silent, out) {
            // What did not fit into the array follows behind it.
            self.queue.front()?.expect = Expect::Exec(executed);
            return None;
        }
        // Another one may be on its way behind one that changes nothing.
        if executed.holds {
            (self.executing, self.executes) = (false, None);
        }
        let error = frame.starts_with(b"-") || frame.starts_with(b"!");
        self.finish(error, out)
    }

    /// The server has refused a queued command of the transaction behind `ticket`.
    pub fn note_refusal(&mut self, ticket: Ticket, line: &[u8]) {
        if let Some(front) = self.queue.front().filter(|front| front.ticket == ticket) {
            front.note_refusal(line);
        }
    }

    /// MULTI was refused: EXEC's own error says less than what has happened.
    fn end_unopened(&mut self, out: &mut BytesMut) -> Option<Completed> {
        let held = |front: &Remote| matches!(&front.expect, Expect::Exec(e) if e.holds);
        if self.queue.peek().is_some_and(held) {
            (self.executing, self.executes) = (false, None);
        }
        if !self.queue.front_silent() {
            encode::error(out, client_text::MULTI_REFUSED);
        }
        self.finish(true, out).map(|completed| Completed { unopened: true, ..completed })
    }

    /// After an EXEC that failed in any way but one, its connection may still watch or queue.
    fn distrust_exec(&mut self, frame: &[u8]) {
        let failed = frame.starts_with(b"-") && !frame.starts_with(b"-EXECABORT");
        self.residue.note_if(
            failed && self.flight == Route::Pinned && self.own.is_none(),
            Residue::Poisoned,
        );
    }

    /// The common case: a piece of a reply goes to the client as it came.
    fn pass_on(
        &mut self,
        chunk: &[u8],
        kind: u8,
        done: bool,
        out: &mut BytesMut,
    ) -> Option<Completed> {
        let silent = self.queue.front_silent();
        match self.queue.front().map(|front| &front.expect) {
            _ if silent => {}
            Some(Expect::Names(strip)) if strip.concerns(kind) => {
                let stripper = self.stripper.get_or_insert_default();
                if !self.begun {
                    stripper.reset();
                }
                stripper.feed(strip, chunk, out);
            }
            _ => out.extend_from_slice(chunk),
        }
        self.handle_passed(chunk.len(), kind, done, out)
    }

    fn finish(&mut self, error: bool, out: &mut BytesMut) -> Option<Completed> {
        let remote = self.queue.pop(out)?;
        self.settle_replays();
        self.window = self.window.saturating_add(1);
        let last = std::mem::take(&mut self.reply_bytes);
        self.reply_size = last.max(self.reply_size - self.reply_size / 8);
        Some(Completed { bytes: last, ..completed(&remote, error) })
    }

    /// A reply of at least `limits.large_bytes` came on a shared connection: the next commands of
    /// this session travel on a pinned one, where no other client waits behind their replies.
    pub const fn note_large_reply(&mut self) {
        self.window = limits::WINDOW_START;
        self.large_reply_credit = limits::LARGE_REPLY_COMMANDS;
    }

    /// The request behind `ticket` will get no reply. Returns what the statistics want to know;
    /// `None` when no request waits for it any more.
    pub fn handle_loss(
        &mut self,
        ticket: Ticket,
        loss: Loss,
        out: &mut BytesMut,
    ) -> Option<Completed> {
        if self.queue.peek().is_some_and(|front| front.ticket == ticket) {
            self.partial.clear();
            self.begun = false;
        }
        let missed = self.answer_miss(ticket, loss, out);
        let is_miss = missed.is_some();
        let remote = if let Some(remote) = missed {
            remote
        } else if self.ends_with(loss) {
            // HELLO or SELECT behind it will not be answered either.
            self.opening = None;
            self.queue.cut_off(ticket, out)?
        } else {
            self.queue.replace(ticket, out, |out| encode::error(out, client_text::loss(loss)))?
        };
        self.settle_replays();
        let executes = matches!(&remote.expect, Expect::Exec(executed) if executed.holds);
        if executes || matches!(remote.expect, Expect::Select(_) | Expect::Hello(_)) {
            (self.executing, self.executes) = (false, None);
        } else if let Expect::Script(replay) = &remote.expect {
            self.executing &= !replay.held;
        } else if matches!(remote.expect, Expect::Page) {
            self.lose_page(ticket, loss);
        }
        let unopened = loss == Loss::MultiRefused;
        Some(Completed { unopened, ..completed(&remote, !is_miss) })
    }

    /// The pinned connection is gone with everything on it. Returns whether the session must end,
    /// because state of it was there that cannot be had again, and the requests that will get no reply.
    pub fn handle_lease_lost(&mut self, loss: Loss, out: &mut BytesMut) -> (bool, Vec<Completed>) {
        let close = self.ends_with(loss);
        self.end_exec(out);
        let fatal = self.own.is_some()
            || self.state_lost_with_lease()
            || (!self.partial.is_empty() && self.flight == Route::Pinned)
            || (close && self.watching);
        let pinned = self.flight == Route::Pinned;
        let tickets = if pinned { self.queue.waiting() } else { Vec::new() };
        let lost = tickets.into_iter().filter_map(|ticket| self.handle_loss(ticket, loss, out));
        let lost = lost.collect();
        self.large_reply_credit = 0;
        self.handle_lease_gone();
        (fatal, lost)
    }

    /// Whether the client's connection is to be closed, once what is before in line is answered: the
    /// server cannot be reached, or could not in time.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.queue.is_cut()
    }
}

const fn completed(remote: &Remote, error: bool) -> Completed {
    let Remote { command, class, at, ticket, .. } = *remote;
    Completed { command, class, at, ticket, bytes: 0, error, unopened: false, own: false }
}

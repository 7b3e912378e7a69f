//! One client connection: the task that reads, writes, waits and sleeps for a conversation.
//!
//! Owns: [`Connection`]: the client's socket, and in which order things are asked for. Never knows: what is
//! decided of what comes.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::task::coop::has_budget_remaining;
use tokio::time::Sleep;

use super::access;
use super::account::{Account, report_end};
use super::client_stream::ClientStream;
use super::conversation::{
    Arrivals, Conversation, PendingStep, Through, check_invariants, deadline, expire,
    handle_pinned, handle_through, lose_lease, release_if_free,
};
use super::links::{Links, purpose_of};
use super::metrics::Place;
use super::worker::Worker;
use crate::base::clock;
use crate::base::late_wake::LateWake;
use crate::base::lazy_box::LazyBox;
use crate::base::live::Live;
use crate::session::{Cause, LimiterRegistry, ListenerAccess, Peer};
use crate::telemetry::ClientDisconnect;
use crate::traffic::{Facts, Loss, OpenFailure, PoolKey};
use crate::upstream::{Delivery, Lease, yield_to_io};

/// Rounds of one connection before other tasks get their turn.
const ROUNDS_PER_TURN: u32 = 3;

/// The future that the conversation's pending step waits for.
enum Pending {
    Lease(Pin<Box<dyn Future<Output = Result<Lease, OpenFailure>>>>),
    Open(Pin<Box<dyn Future<Output = Result<Facts, OpenFailure>>>>),
}

/// The task around one conversation.
pub(super) struct Connection<S> {
    stream: S,
    pub(super) conversation: Conversation,
    pub(super) links: Links,
    pending: Option<Box<Pending>>,
    /// The stream may keep some of what was written: TLS does when the socket is full.
    unflushed: bool,
    /// The socket had nothing more when it was asked, and will wake the task.
    socket_empty: bool,
    timer: Option<Pin<Box<Sleep>>>,
    late_wake: LazyBox<LateWake>,
    account: Account,
}

impl<S: ClientStream> Connection<S> {
    pub(super) fn new(
        id: u64,
        stream: S,
        worker: Rc<Worker>,
        live_access: Live<ListenerAccess>,
        limiter_registry: &LimiterRegistry,
        peer: Peer,
        place: Rc<Place>,
    ) -> Rc<RefCell<Self>> {
        let now = clock::now();
        let limits = worker.limits.get();
        let (links, session) =
            Links::new(id, worker, live_access, limiter_registry, (peer, place), now);
        let (entry, account) = (Rc::clone(&links.entry), Account::new(&links));
        let connection = Self {
            stream,
            conversation: Conversation::new(links.entry.id, session, limits, now),
            links,
            pending: None,
            unflushed: false,
            socket_empty: false,
            timer: None,
            late_wake: LazyBox::default(),
            account,
        };
        let connection = Rc::new(RefCell::new(connection));
        let source: Weak<RefCell<Self>> = Rc::downgrade(&connection);
        entry.note_source(source);
        connection
    }

    /// Serves the client until it disconnects; returns the reason.
    pub(super) fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<ClientDisconnect> {
        let why = ready!(self.poll(cx));
        report_end(why, self.links.entry.id, self.account.bytes, self.conversation.output().len());
        if why == ClientDisconnect::UpstreamLost {
            self.links.worker.upstream.note_client_closed();
        }
        Poll::Ready(why)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ClientDisconnect> {
        let now = clock::now();
        self.conversation.begin_turn(now);
        self.links.worker.roster.note_time(now);
        let polled = self.take_turn(cx);
        check_invariants(&self.conversation);
        self.links.count_in_flight(self.conversation.unanswered());
        polled
    }

    fn take_turn(&mut self, cx: &mut Context<'_>) -> Poll<ClientDisconnect> {
        self.links.worker.forget_wall_time();
        self.socket_empty &= self.stream.is_quiet();
        access::notice(&mut self.conversation, &mut self.links);
        if self.links.entry.is_to_end() {
            access::end(&mut self.conversation, &self.links.entry);
        }
        for _ in 0..ROUNDS_PER_TURN {
            let mut progress = self.take_replies(cx);
            if !self.is_simple() {
                progress |= self.poll_lease(cx);
                progress |= self.poll_pending(cx);
                // What the replies have made of the pinned connection comes before the next request.
                release_if_free(&mut self.conversation, &mut self.links);
            }
            self.notice_cut();
            progress |= self.read_client(cx);
            self.notice_cut();
            if let Some(answered) = self.conversation.session_mut().take_degraded() {
                self.links.count_degraded(self.conversation.session_mut(), answered);
            }
            if self.conversation.has_lease() {
                release_if_free(&mut self.conversation, &mut self.links);
            }
            match self.write(cx) {
                Ok(wrote) => progress |= wrote,
                Err(why) => return Poll::Ready(why),
            }
            if let Some(why) = self.account.settle(&self.conversation, &self.links) {
                return Poll::Ready(why);
            }
            if let Some(why) = self.conversation.poll_end(!self.unflushed, &self.links) {
                return Poll::Ready(why);
            }
            let idles = self.socket_empty && self.conversation.is_consumed();
            if !progress || (idles && self.is_simple()) {
                return self.poll_timer(cx);
            }
            let served = self.links.worker.shared_requests();
            match self.conversation.note_round(served, &self.links) {
                Some(true) => return self.poll_timer(cx),
                Some(false) => break,
                None => {}
            }
        }
        yield_to_io(cx);
        Poll::Pending
    }

    fn is_simple(&self) -> bool {
        self.conversation.is_simple() && self.pending.is_none()
    }

    #[inline(always)]
    fn notice_cut(&mut self) {
        self.conversation.notice_cut(&self.links);
        if self.pending.is_some() && self.conversation.pending_step() == PendingStep::No {
            self.pending = None;
        }
    }

    /// Puts what the shared connection delivered into its places.
    #[inline(always)]
    fn take_replies(&mut self, cx: &Context<'_>) -> bool {
        let Self { conversation, links, .. } = self;
        if !links.mailbox.has_news() && conversation.is_up_to_date() && links.is_up_to_date() {
            conversation.note_undelivered();
            return false;
        }
        self.take_arrivals(cx)
    }

    fn take_arrivals(&mut self, cx: &Context<'_>) -> bool {
        let Self { conversation, links, .. } = self;
        let (mailbox, now) = (Rc::clone(&links.mailbox), conversation.now());
        let (mut any, mut look) = (false, links.look());
        let overflow = mailbox.drain(cx.waker(), |items, bytes| {
            any = true;
            let mut arrivals = Arrivals::begin(conversation);
            for item in items {
                match item {
                    Delivery::Piece { ticket, len, kind, done } => {
                        let piece = (ticket, len, kind, done);
                        let done = arrivals.take_piece(conversation, bytes, piece, links);
                        if let Some(done) = done {
                            links.count_completed(done, &mut look, now);
                        }
                    }
                    Delivery::Refusal { ticket, len } => {
                        let line = arrivals.take_bytes(conversation, bytes, len, links);
                        conversation.session_mut().note_refusal(ticket, line);
                    }
                    Delivery::Lost(ticket, loss) => {
                        arrivals.take_bytes(conversation, bytes, 0, links);
                        let lost = conversation.handle_loss(ticket, loss);
                        links.count_lost(lost, loss, now);
                    }
                }
            }
            arrivals.end(conversation, bytes);
        });
        links.count_look(&look, now);
        if let Some(number) = mailbox.take_moved() {
            links.shared = links.worker.upstream.numbered(number);
        }
        if mailbox.take_large() {
            conversation.session_mut().note_large_reply();
        }
        let overflow = overflow.then(|| match mailbox.is_evicted() {
            true => ClientDisconnect::MemoryBudget,
            false => ClientDisconnect::OutputLimit,
        });
        conversation.handle_delivered(any, overflow, links);
        links.note_delivered(conversation);
        any
    }

    /// Writes and reads the pinned connection. Returns whether anything happened.
    fn poll_lease(&mut self, cx: &mut Context<'_>) -> bool {
        if self.conversation.is_paused() {
            return false;
        }
        let mut progress = false;
        if let Some((lease, _)) = self.links.lease.as_deref_mut() {
            let before = lease.unwritten();
            match lease.poll_write(cx) {
                Poll::Ready(Err(_)) => {
                    lose_lease(&mut self.conversation, Loss::OutcomeUnknown, &mut self.links);
                    return true;
                }
                Poll::Ready(Ok(())) | Poll::Pending => {
                    let wrote = before - lease.unwritten();
                    progress |= wrote > 0;
                    self.conversation.handle_uploaded(wrote);
                }
            }
        }
        if !self.conversation.reads_lease() {
            return progress;
        }
        let mut scratch = self.links.worker.take_scratch();
        let lease = self.links.lease.as_deref_mut();
        match lease.map(|(lease, _)| lease.poll_read(cx, &mut scratch)) {
            None | Some(Poll::Pending) => {}
            Some(Poll::Ready(Ok(count))) => {
                progress = true;
                let mut rest = scratch.get(..count).unwrap_or_default();
                while let Some(through) =
                    handle_pinned(&mut self.conversation, &mut rest, &mut self.links)
                {
                    self.write_through(cx, &through);
                }
            }
            Some(Poll::Ready(Err(_))) => {
                progress = true;
                lose_lease(&mut self.conversation, Loss::OutcomeUnknown, &mut self.links);
            }
        }
        self.links.worker.return_scratch(scratch);
        progress
    }

    /// Writes what need not be copied; what the client does not take of it waits.
    fn write_through(&mut self, cx: &mut Context<'_>, through: &Through<'_>) {
        let mut written = 0;
        if self.conversation.output().is_empty()
            && let Poll::Ready(Ok(count)) = Pin::new(&mut self.stream).poll_write(cx, through.bytes)
        {
            written = count;
            self.unflushed = true;
            self.links.count_written(count);
        }
        handle_through(&mut self.conversation, through, written, &mut self.links);
    }

    /// What the conversation waits for besides replies. Returns whether its wait is over.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.conversation.now();
        let over = match self.conversation.pending_step() {
            PendingStep::No | PendingStep::Reply => {
                self.pending = None;
                return false;
            }
            PendingStep::Pause(until) => {
                let turn = self.conversation.session().turn();
                now >= until || turn.is_some_and(|turn| turn.poll(cx.waker()))
            }
            PendingStep::Room(until) => {
                let (auditor, id) = (self.links.worker.auditor.as_ref(), self.links.entry.id);
                let room = auditor.is_none_or(|own| own.poll_room(id, cx.waker()));
                now >= until || room
            }
            PendingStep::Lease(cause) => return self.poll_acquire(cause, cx),
            PendingStep::Open(key) => return self.poll_open(key, cx),
        };
        if over {
            self.conversation.handle_pause_over();
        }
        over
    }

    fn poll_acquire(&mut self, cause: Cause, cx: &mut Context<'_>) -> bool {
        let Self { conversation, links, pending, .. } = self;
        if !matches!(pending.as_deref(), Some(Pending::Lease(_))) {
            let (upstream, key) =
                (Rc::clone(&links.worker.upstream), conversation.lease_key(cause));
            let (purpose, holder) = (purpose_of(cause), links.holder());
            let eager = conversation.session().answers_misses();
            let lease = Box::pin(async move { upstream.lease(key, purpose, holder, eager).await });
            *pending = Some(Box::new(Pending::Lease(lease)));
        }
        let Some(Pending::Lease(lease)) = pending.as_deref_mut() else { return false };
        let Poll::Ready(lease) = lease.as_mut().poll(cx) else { return false };
        *pending = None;
        match lease {
            Ok(lease) => {
                links.take_lease(lease, cause);
                conversation.handle_lease();
            }
            Err(failure) => {
                links.entry.end_want(false);
                conversation.handle_lease_failed(&failure, links);
            }
        }
        true
    }

    fn poll_open(&mut self, key: PoolKey, cx: &mut Context<'_>) -> bool {
        let Self { conversation, links, pending, .. } = self;
        if !matches!(pending.as_deref(), Some(Pending::Open(_))) {
            let upstream = Rc::clone(&links.worker.upstream);
            let open = Box::pin(async move { upstream.open(key).await });
            *pending = Some(Box::new(Pending::Open(open)));
        }
        let Some(Pending::Open(open)) = pending.as_deref_mut() else { return false };
        let Poll::Ready(opened) = open.as_mut().poll(cx) else { return false };
        *pending = None;
        conversation.handle_opened(opened, links);
        true
    }

    /// Another client waits for this one to have a pinned connection, on which it shall receive the
    /// other's keys. Returns whether anything happened.
    fn serve_want(&mut self) -> bool {
        if self.conversation.has_lease() {
            self.links.entry.end_want(true);
            return true;
        }
        self.conversation.want_lease()
    }

    /// Takes what can be taken: what is kept, then what the socket has. Returns whether anything
    /// happened.
    fn read_client(&mut self, cx: &mut Context<'_>) -> bool {
        // A transaction or HELLO that is answered may have made the client another user.
        self.conversation.settle_user(&mut self.links);
        let mut progress = self.conversation.handle_pending(&mut self.links);
        progress |= self.links.entry.is_wanted() && self.serve_want();
        if self.reads() {
            let mut scratch = self.links.worker.take_scratch();
            let read = match self.stream.read_now(&mut scratch) {
                Some(read) => Poll::Ready(read),
                None => self.stream.poll_fill(cx, &mut scratch),
            };
            let filled = self.handle_read(read, &scratch);
            progress |= filled.is_some();
            // That the socket is empty is known then: no system call, but the waker is registered.
            if filled.is_some_and(|filled| filled < scratch.len()) && self.reads() {
                let read = self.stream.poll_fill(cx, &mut scratch);
                progress |= self.handle_read(read, &scratch).is_some();
            }
            self.links.worker.return_scratch(scratch);
        }
        progress
    }

    /// Whether the socket is to be asked.
    fn reads(&self) -> bool {
        !self.socket_empty && self.conversation.wants_bytes(&self.links)
    }

    /// Takes in what a read has found at the beginning of `scratch`; returns how much, if anything.
    fn handle_read(&mut self, read: Poll<io::Result<usize>>, scratch: &[u8]) -> Option<usize> {
        match read {
            Poll::Pending => {
                // Without budget tokio has not asked the socket, and has woken the task for that.
                self.socket_empty = has_budget_remaining();
                None
            }
            Poll::Ready(Ok(filled)) if filled > 0 => {
                self.conversation.note_received();
                access::refresh(&mut self.conversation, &mut self.links);
                let bytes = scratch.get(..filled).unwrap_or_default();
                self.conversation.handle_bytes(bytes, &mut self.links);
                Some(filled)
            }
            Poll::Ready(end) => {
                self.links.note_left(self.conversation.session().in_flight() > 0);
                match end {
                    Ok(_) => self.conversation.handle_eof(),
                    Err(_) => self.conversation.handle_reset(),
                }
                Some(0)
            }
        }
    }

    /// Writes as much as the client takes.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, ClientDisconnect> {
        let mut wrote = 0;
        if !self.conversation.output().is_empty() {
            wrote = self.stream.write_now(self.conversation.output());
            self.conversation.advance_output(wrote);
        }
        while !self.conversation.output().is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, self.conversation.output()) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.conversation.advance_output(count);
                    wrote += count;
                }
                Poll::Ready(_) => return Err(ClientDisconnect::Reset),
                Poll::Pending => break,
            }
        }
        if wrote > 0 || self.unflushed {
            let flushed = Pin::new(&mut self.stream).poll_flush(cx);
            if let Poll::Ready(Err(_)) = flushed {
                return Err(ClientDisconnect::Reset);
            }
            self.unflushed = flushed.is_pending();
        }
        if wrote > 0 {
            self.links.count_written(wrote);
        }
        if let Some(buffer) = self.conversation.handle_written(wrote) {
            self.links.worker.buffers.put(buffer);
        }
        self.links.mailbox.note_unread(self.conversation.output().len());
        Ok(wrote > 0)
    }

    /// Waits for the next thing to happen, with the earliest deadline as an end.
    #[inline(always)]
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<ClientDisconnect> {
        let Some(deadline) = deadline(&self.conversation, &self.links) else {
            self.timer = None;
            self.late_wake.allocated_mut().into_iter().for_each(LateWake::is_in_time);
            return Poll::Pending;
        };
        self.await_deadline(deadline, cx)
    }

    fn await_deadline(
        &mut self,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<ClientDisconnect> {
        let now = self.conversation.now();
        let mut wake_at = deadline;
        if now < deadline {
            self.late_wake.allocated_mut().into_iter().for_each(LateWake::is_in_time);
        } else if let Some(until) = self.late_wake.defers(deadline, now) {
            wake_at = until;
        } else {
            if let Some(why) = expire(&mut self.conversation, &mut self.links) {
                return Poll::Ready(why);
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(wake_at.into())));
        if timer.deadline() != wake_at.into() {
            timer.as_mut().reset(wake_at.into());
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.links.close(self.conversation.session_mut());
        self.links.worker.buffers.adjust(self.account.bytes, 0);
    }
}

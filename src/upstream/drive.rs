//! Drives one connection that is up: reads and writes together, watches over silence and age.
//!
//! Owns: the order of writing, reading and waiting. Never knows: sessions, what a request asks, how a
//! connection is made.

mod relief;
mod succession;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

use super::dial::Link;
use super::ended::Ended;
use super::env::{Env, PROOF};
use super::misplaced::{Question, Sign, Suspicion, sign, sign_within};
use super::pipeline::{Broken, Delivery};
use super::shared::{Inner, Owner, Shared};
use super::stall::Stall;
use super::turn::give_way;
use crate::base::{clock, limits};
use crate::resp::Protocol;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{Loss, PoolKey, Ticket};
pub(super) use relief::Beside;
use succession::{Dialing, QUESTION, Successor, due};

/// How often a busy connection is looked at.
const BUSY_TICK: Duration = Duration::from_millis(25);
/// Reads in a row before other tasks get their turn.
const READS_PER_TURN: u32 = 4;
/// A client that has this much to read, and more to come of one reply, is slow.
const SLOW_READER_BYTES: usize = 2 * 1024 * 1024;
/// An answer that is longer says nothing.
const ANSWER_MAX: usize = 16 * 1024;

struct Driver<'a> {
    shared: &'a Rc<Shared>,
    env: &'a Rc<Env>,
    beside: Beside<'a>,
    link: Link,
    read: Box<[u8]>,
    timer: Pin<Box<Sleep>>,
    timer_at: Instant,
    born: Instant,
    /// Whether the server is the primary that is wanted.
    suspicion: Suspicion,
    /// The answer to the question about it, as far as it has come.
    answer: Vec<u8>,
    last_read: Instant,
    last_use: Instant,
    /// A PING of the proxy's own is in line since then.
    probe: Option<Instant>,
    /// That PING was not answered in time: nothing more is written, and requests that cannot be sent
    /// again are given up at their own time.
    silent: bool,
    /// The server has answered a request.
    answered: bool,
    /// It has answered, or the connection has lived for long enough: the server works.
    proven: bool,
    write_blocked: bool,
    flush_pending: bool,
    last_batch_owners: u32,
    successor: Option<Successor>,
    /// Why there is to be one.
    replaced_for: UpstreamDisconnect,
    /// The successor must be a primary.
    elsewhere: bool,
    /// Whether the head of the line holds up the others, and another connection that is dialed then.
    stall: Stall,
    held: bool,
    relief: Option<Dialing>,
    /// What the server said to it that is busy with a script, and when.
    busy: Option<(Box<[u8]>, Instant)>,
    ended: Option<Ended>,
}

/// Serves the connection until it ends. Returns whether the server has answered a request besides.
pub(super) async fn drive(
    shared: &Rc<Shared>,
    env: &Rc<Env>,
    beside: Beside<'_>,
    link: Link,
) -> (Ended, bool) {
    let now = clock::now();
    env.metrics.serving(shared.is_aside(), 1);
    let mut driver = Driver {
        shared,
        env,
        beside,
        link,
        read: vec![0; limits::READ_BYTES].into_boxed_slice(),
        timer: Box::pin(tokio::time::sleep(BUSY_TICK)),
        timer_at: now + BUSY_TICK,
        born: now,
        suspicion: Suspicion::new(now),
        answer: Vec::new(),
        last_read: now,
        last_use: now,
        probe: None,
        silent: false,
        answered: false,
        proven: false,
        write_blocked: false,
        flush_pending: false,
        last_batch_owners: 0,
        successor: None,
        replaced_for: UpstreamDisconnect::Rotation,
        elsewhere: false,
        stall: Stall::default(),
        held: false,
        relief: None,
        busy: None,
        ended: None,
    };
    let ended = driver.serve().await;
    driver.note_silence(false);
    ended.reason().into_iter().for_each(|reason| env.metrics.ended(reason));
    env.metrics.serving(shared.is_aside(), -1);
    shared.note_stalled(false);
    if !matches!(ended, Ended::Lost(_)) {
        let _ = tokio::time::timeout(Duration::from_secs(1), driver.link.stream.shutdown()).await;
    }
    (ended, driver.answered)
}

impl Driver<'_> {
    async fn serve(&mut self) -> Ended {
        loop {
            poll_fn(|cx| self.poll_wait(cx)).await;
            if let Some(ended) = self.ended.take() {
                return ended;
            }
            // Others may be about to add to this write: after a batch, or while replies are owed,
            // every task that is ready gets one turn first. A lone client pays nothing.
            if self.may_write() && (self.last_batch_owners > 1 || self.owed()) {
                tokio::task::yield_now().await;
            }
            poll_fn(|cx| {
                self.write(cx);
                Poll::Ready(())
            })
            .await;
            if let Some(ended) = self.ended.take() {
                return ended;
            }
        }
    }

    fn owed(&self) -> bool {
        self.shared.inner.borrow().pipeline.owed()
    }

    fn may_write(&self) -> bool {
        !self.write_blocked
            && !due(&self.shared.inner.borrow().pipeline, &self.successor, self.waits()).is_empty()
    }

    /// Reads whatever is there; ready when there is something to write or the connection has ended.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.read(cx);
        if self.write_blocked || self.flush_pending {
            self.write(cx);
        }
        self.poll_timer(cx);
        self.poll_successor(cx);
        self.poll_relief(cx);
        if self.ended.is_none() {
            let mut inner = self.shared.inner.borrow_mut();
            let idle = inner.pipeline.is_empty();
            if idle && inner.closing {
                self.ended = Some(Ended::Closed);
            } else if inner.retire && self.successor.is_none() {
                inner.retire = false;
                self.replaced_for = UpstreamDisconnect::Rotation;
                self.successor = Some(Successor::Dialing(self.dial()));
                cx.waker().wake_by_ref();
            }
            inner.waker = Some(cx.waker().clone());
        }
        if self.ended.is_some() || self.may_write() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the reader of a long reply must catch up first. New requests go elsewhere from then
    /// on; while others are in line behind the reply, nothing waits and the reader's limit decides.
    fn awaits_reader(&mut self, cx: &Context<'_>) -> bool {
        let slow = |inner: &Inner| matches!(inner.pipeline.reader(), Some(Some(it)) if it.backlog() >= SLOW_READER_BYTES);
        if !slow(&self.shared.inner.borrow()) {
            return false;
        }
        self.step_aside();
        let inner = self.shared.inner.borrow();
        let Some(Some(reader)) = inner.pipeline.reader() else { return false };
        let is_reader = |owner: &Owner| owner.as_ref().is_some_and(|it| Rc::ptr_eq(it, reader));
        let others = inner.pipeline.owners().any(|owner| !is_reader(owner));
        if others {
            return false;
        }
        reader.wait_for_reader(cx.waker());
        self.last_read = clock::now();
        true
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        for _ in 0..READS_PER_TURN {
            if self.awaits_reader(cx) {
                return;
            }
            let mut buf = ReadBuf::new(&mut self.read);
            match Pin::new(&mut self.link.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    let filled = buf.filled().len();
                    self.handle_bytes(filled);
                }
                Poll::Ready(Ok(())) => self.lose(UpstreamDisconnect::Eof),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "upstream connection failed");
                    self.lose(UpstreamDisconnect::Reset);
                }
            }
            if self.ended.is_some() {
                return;
            }
        }
        give_way(cx);
    }

    fn handle_bytes(&mut self, filled: usize) {
        let now = clock::now();
        self.last_read = now;
        let bytes = self.read.get(..filled).unwrap_or_default();
        let env = self.env;
        env.metrics.received(filled);
        let (mut internal, mut answered) = (false, false);
        let mut seen: Option<Sign> = None;
        let (answer, stall) = (&mut self.answer, &mut self.stall);
        let mut inner = self.shared.inner.borrow_mut();
        let result = inner.pipeline.handle_bytes(bytes, |delivery: Delivery<'_, Owner>| {
            let Some(mailbox) = delivery.owner else {
                internal |= delivery.done;
                if delivery.ticket == QUESTION {
                    let room = ANSWER_MAX.saturating_sub(answer.len());
                    answer.extend_from_slice(delivery.bytes.get(..room).unwrap_or(delivery.bytes));
                    answered |= delivery.done;
                }
                return;
            };
            if delivery.kind == b'-' {
                env.metrics.error_line(delivery.bytes);
                seen = seen.or_else(|| sign(delivery.bytes));
            } else if delivery.block && delivery.kind == b'*' {
                seen = seen.or_else(|| sign_within(delivery.bytes));
            }
            if delivery.skipped {
                return mailbox.deliver_refusal(delivery.ticket, delivery.bytes);
            }
            if delivery.announced >= env.large_bytes
                || delivery.bytes.len() as u64 >= env.large_bytes
            {
                mailbox.note_large();
            }
            let mut micros = 0;
            if delivery.done {
                let took = env.metrics.elapsed(delivery.at, now);
                env.metrics.answered(took);
                micros = env.micros(took);
                if delivery.again {
                    env.metrics.retried();
                }
                stall.note_reply(took);
            }
            if delivery.refused {
                if delivery.done {
                    mailbox.lose(delivery.ticket, Loss::MultiRefused);
                }
                return;
            }
            let Delivery { ticket, bytes, kind, done, .. } = delivery;
            mailbox.deliver_timed(ticket, bytes, kind, done, micros);
        });
        self.shared.settle_charge(&mut inner);
        drop(inner);
        if internal {
            env.metrics.health_check(true);
        }
        self.note_heard();
        self.note_flow();
        if let Some(sign) = seen {
            self.suspicion.note_sign(sign);
            self.ask(now);
        }
        if answered {
            self.take_answer(now);
        }
        if let Err(broken) = result {
            self.distrust(broken);
        }
    }

    /// The server has said something.
    fn note_heard(&mut self) {
        self.probe = None;
        self.note_silence(false);
        self.answered = true;
        self.note_proven();
    }

    /// Whether nothing new is written, because the server is silent or the head of the line is not
    /// answered.
    const fn waits(&self) -> bool {
        self.silent || self.held
    }

    fn note_silence(&mut self, silent: bool) {
        if std::mem::replace(&mut self.silent, silent) != silent {
            self.env.note_silence(silent);
        }
    }

    fn note_proven(&mut self) {
        if !std::mem::replace(&mut self.proven, true) {
            self.shared.inner.borrow_mut().down_since = None;
            self.env.note_proven();
        }
    }

    fn distrust(&mut self, broken: Broken) {
        let reason = match broken {
            Broken::Surplus => "a reply that nobody asked for",
            Broken::Push => "a push on a shared connection",
            Broken::Framing(_) => "bytes that are not RESP",
        };
        tracing::error!(
            code = "UPS-E001",
            reason,
            "upstream connection closed: it cannot be trusted"
        );
        self.lose(UpstreamDisconnect::Protocol);
    }

    fn lose(&mut self, reason: UpstreamDisconnect) {
        self.ended = Some(Ended::Lost(reason));
    }

    /// Writes everything in line as far as the socket takes it.
    fn write(&mut self, cx: &mut Context<'_>) {
        if self.ended.is_some() {
            return;
        }
        self.write_blocked = false;
        let mut inner = self.shared.inner.borrow_mut();
        let mut wrote = false;
        loop {
            let bytes = due(&inner.pipeline, &self.successor, self.waits());
            if bytes.is_empty() {
                break;
            }
            match Pin::new(&mut self.link.stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    inner.pipeline.wrote(count);
                    self.env.metrics.sent(count);
                    wrote = true;
                }
                Poll::Ready(_) => {
                    drop(inner);
                    return self.lose(UpstreamDisconnect::Reset);
                }
                Poll::Pending => {
                    self.write_blocked = true;
                    break;
                }
            }
        }
        if wrote {
            self.last_batch_owners = std::mem::take(&mut inner.batch_owners);
            self.env.metrics.batch(std::mem::take(&mut inner.batch));
        }
        drop(inner);
        if wrote || self.flush_pending {
            match Pin::new(&mut self.link.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flush_pending = false,
                Poll::Ready(Err(_)) => return self.lose(UpstreamDisconnect::Reset),
                Poll::Pending => self.flush_pending = true,
            }
        }
        if wrote && self.timer_at > clock::now() + BUSY_TICK * 2 {
            self.set_timer(cx, BUSY_TICK);
        }
        if wrote {
            self.last_use = self.last_read.max(self.last_use);
        }
    }

    fn set_timer(&mut self, cx: &mut Context<'_>, after: Duration) {
        self.timer_at = clock::now() + after;
        self.timer.as_mut().reset(self.timer_at.into());
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) {
        if self.timer.as_mut().poll(cx).is_pending() || self.ended.is_some() {
            return;
        }
        let now = clock::now();
        self.check(now);
        let pool = &self.env.settings.pool;
        let busy = !self.shared.inner.borrow().pipeline.is_empty()
            || self.successor.is_some()
            || self.suspicion.is_waiting();
        let idle_check = pool.health_check_interval.min(pool.idle_timeout).max(BUSY_TICK);
        let proof = (self.born + PROOF).saturating_duration_since(now);
        if proof.is_zero() {
            self.note_proven();
        }
        let rest = if self.proven { idle_check } else { idle_check.min(proof) };
        self.set_timer(cx, if busy { BUSY_TICK } else { rest });
    }

    /// Looks after time: late replies, silence, age.
    fn check(&mut self, now: Instant) {
        let pool = &self.env.settings.pool;
        let mut inner = self.shared.inner.borrow_mut();
        if let Some(before) =
            now.checked_sub(pool.command_timeout).filter(|_| !pool.command_timeout.is_zero())
        {
            let env = self.env;
            // A slow answer is awaited no longer; a silent server is an outage.
            let loss = if self.silent { Loss::OutcomeUnknown } else { Loss::TimedOut };
            inner.pipeline.expire(before, |owner, ticket| {
                env.metrics.timed_out();
                if let Some(mailbox) = owner {
                    mailbox.lose(ticket, loss);
                }
            });
            self.shared.settle_charge(&mut inner);
        }
        // A server that owes nothing may be silent as long as it likes.
        let heard = inner
            .pipeline
            .waiting_since()
            .map_or(self.last_read, |since| since.max(self.last_read));
        let silent = now.saturating_duration_since(heard);
        let (busy, owed) = (!inner.pipeline.is_empty(), inner.pipeline.owed());
        if busy {
            self.last_use = now;
        }
        // Set aside, it is known that the server is well: what waits there waits its own time.
        let waits = self.shared.is_stalled() && !pool.command_timeout.is_zero();
        let given_up = self.shared.is_aside() && inner.pipeline.is_given_up(Option::is_none);
        let health_due = !busy && silent >= pool.health_check_interval;
        let stalled = busy && silent >= pool.stall_timeout;
        if stalled && given_up {
            drop(inner);
            return self.lose(UpstreamDisconnect::Timeout);
        }
        match self.probe {
            Some(since) if now.saturating_duration_since(since) >= pool.connect_timeout => {
                // What was written and must not be written again is given up at its own time.
                let owes = inner.pipeline.owes_writes(Option::is_some);
                drop(inner);
                self.note_silence(true);
                // What is new finds another way, if there is one.
                self.step_aside();
                if pool.command_timeout.is_zero() || !owes {
                    self.env.metrics.health_check(false);
                    return self.lose(UpstreamDisconnect::Health);
                }
                return;
            }
            Some(_) => {}
            None if health_due || (stalled && !waits) => {
                inner.pipeline.push_next(None, Ticket::default(), Question::Ping.wire(), now);
                self.probe = Some(now);
            }
            None => {}
        }
        drop(inner);
        self.ask(now);
        self.watch_stall(now, owed.then_some(heard));
        let home = self.shared.key() == PoolKey { protocol: Protocol::Resp2, database: 0 };
        if !busy && !home && now.saturating_duration_since(self.last_use) >= pool.idle_timeout {
            self.ended = Some(Ended::Idle);
        }
        self.check_age(now);
    }
}

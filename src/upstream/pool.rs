//! Pinned connections: how many there are, which lie idle, who waits for one.
//!
//! Owns: [`Pool`] and the task that keeps it warm. Never knows: what they are lent for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};

use super::context::UpstreamContext;
use super::dial::ServerConnection;
use super::not_primary::{Question, Sign, Verdict};
use super::reply_buffer::ReplyBuffer;
use super::shares::{Shares, Use};
use crate::base::clock;
use crate::resp::Protocol;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{Loss, OpenFailure, PoolKey, Unavailable};

/// Between two questions whether the server is the right one.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Idle {
    link: ServerConnection,
    since: Instant,
    checked: Instant,
}

/// The right to one pinned connection; dropped, it is free for the next.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Rc<Pool>,
    purpose: Use,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.shares.borrow_mut().give_back(self.purpose);
        self.pool.grant();
    }
}

/// A place in the line for a connection, while its owner waits.
struct Place<'a> {
    pool: &'a Pool,
    purpose: Use,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pool.shares.borrow_mut().leave(self.purpose, self.number);
        self.pool.waiting.borrow_mut().remove(&self.number);
    }
}

/// The pinned connections of one server.
#[derive(Debug)]
pub struct Pool {
    context: Rc<UpstreamContext>,
    idle: RefCell<Vec<Idle>>,
    shares: RefCell<Shares>,
    /// Where those who wait are given theirs, by their number in `shares`.
    waiting: RefCell<HashMap<u64, oneshot::Sender<Permit>>>,
    leased: Cell<usize>,
    last_key: Cell<PoolKey>,
    /// Told when fewer than `min_idle` are left.
    drained: Notify,
    /// Whether its server is the right one was asked last then; nobody asks while it is being asked.
    doubted: Cell<Option<Instant>>,
    asking: Cell<bool>,
}

impl Pool {
    pub(super) fn new(context: Rc<UpstreamContext>) -> Rc<Self> {
        let settings = &context.settings.pool;
        let shares = RefCell::new(Shares::new(settings.max_connections, settings.mode));
        let last_key = Cell::new(PoolKey { protocol: Protocol::Resp2, database: 0 });
        Rc::new(Self {
            context,
            idle: RefCell::default(),
            shares,
            waiting: RefCell::default(),
            leased: Cell::new(0),
            last_key,
            drained: Notify::new(),
            doubted: Cell::new(None),
            asking: Cell::new(false),
        })
    }

    /// The right to one more connection for this use, once it has room among `max_connections`.
    async fn permit(self: &Rc<Self>, purpose: Use) -> Option<Permit> {
        if self.shares.borrow_mut().take(purpose) {
            return Some(Permit { pool: Rc::clone(self), purpose });
        }
        let (sender, receiver) = oneshot::channel();
        let number = self.shares.borrow_mut().wait(purpose);
        self.waiting.borrow_mut().insert(number, sender);
        let _place = Place { pool: self, purpose, number };
        receiver.await.ok()
    }

    /// Whether a connection for this use could be had without waiting for others.
    pub(super) fn has_room_for(&self, purpose: Use) -> bool {
        self.shares.borrow().is_free_for(purpose)
    }

    /// Whether anybody waits for a connection.
    pub(super) fn is_waited_for(&self) -> bool {
        self.shares.borrow().is_waited_for()
    }

    /// Gives what is free to those who wait.
    fn grant(self: &Rc<Self>) {
        loop {
            let granted = self.shares.borrow_mut().grant();
            let Some((purpose, number)) = granted else { return };
            let permit = Permit { pool: Rc::clone(self), purpose };
            let sender = self.waiting.borrow_mut().remove(&number);
            // One who has just gone does not take it: dropped, it is free for the next.
            drop(sender.map(|sender| sender.send(permit)));
        }
    }

    /// The right to one more connection, and the connection.
    ///
    /// # Errors
    ///
    /// When both together take longer than `acquire_timeout`; while the server cannot be reached,
    /// `outage_wait`.
    pub(super) async fn obtain(
        self: &Rc<Self>,
        key: PoolKey,
        purpose: Use,
    ) -> Result<(Permit, ServerConnection), OpenFailure> {
        let usual = self.context.settings.pool.acquire_timeout;
        match self.context.bounded(usual, self.permit_and_link(key, purpose)).await {
            Some(result) => result,
            None => Err(OpenFailure::Loss(Loss::Unavailable(self.lack(purpose)))),
        }
    }

    /// An idle connection or a new one, once there are fewer than `max_connections`.
    async fn permit_and_link(
        self: &Rc<Self>,
        key: PoolKey,
        purpose: Use,
    ) -> Result<(Permit, ServerConnection), OpenFailure> {
        self.last_key.set(key);
        loop {
            let Some(permit) = self.permit(purpose).await else {
                return Err(OpenFailure::Loss(Loss::Unavailable(Unavailable::Exhausted)));
            };
            if let Some(link) = self.take_idle(key) {
                return Ok((permit, link));
            }
            match self.context.dial(key).await {
                Ok(link) => return Ok((permit, link)),
                Err(error) => {
                    if let Some(line) = error.server_line {
                        return Err(OpenFailure::Refused(line));
                    }
                }
            }
        }
    }

    /// Why no connection could be had in time.
    fn lack(&self, purpose: Use) -> Unavailable {
        if self.context.outage_since().is_some() {
            self.context.last_failure()
        } else if !self.has_room_for(purpose) {
            Unavailable::Exhausted
        } else {
            Unavailable::Timeout
        }
    }

    /// A connection on loan has answered.
    pub(super) fn note_answer(&self) {
        self.context.note_proven();
    }

    /// The server, or the way to it, has ended a connection on loan.
    pub(super) fn note_death(&self, answered: bool, born: Instant) {
        self.context.note_death(answered, born);
    }

    /// A connection is closed.
    pub(super) fn note_closed(&self, reason: UpstreamDisconnect) {
        self.context.metrics.ended(reason);
    }

    pub(super) fn note_sent(&self, bytes: usize) {
        self.context.metrics.sent(bytes);
    }

    pub(super) fn note_received(&self, bytes: usize) {
        self.context.metrics.received(bytes);
    }

    pub(super) fn note_error_line(&self, line: &[u8]) {
        self.context.metrics.error_line(line);
    }

    pub(super) fn note_answered(&self, after: Duration) {
        self.context.metrics.answered(after);
    }

    pub(super) fn note_timeouts(&self, count: usize) {
        (0..count).for_each(|_| self.context.metrics.timed_out());
    }

    pub(super) fn note_lent(&self) {
        self.leased.set(self.leased.get() + 1);
        self.note_sizes();
        if self.spares(self.last_key.get()) < self.context.settings.pool.min_idle {
            self.drained.notify_one();
        }
    }

    fn has_room(&self) -> bool {
        self.shares.borrow().taken() < self.context.settings.pool.max_connections
    }

    fn spares(&self, key: PoolKey) -> usize {
        self.idle.borrow().iter().filter(|idle| idle.link.key == key).count()
    }

    fn take_idle(&self, key: PoolKey) -> Option<ServerConnection> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let at = idle.iter().rposition(|idle| idle.link.key == key)?;
            let mut candidate = idle.remove(at);
            if !self.is_current(&candidate.link) {
                self.note_closed(UpstreamDisconnect::Rotation);
            } else if !is_silent(&mut candidate.link) {
                self.note_closed(UpstreamDisconnect::Eof);
            } else {
                return Some(candidate.link);
            }
        }
    }

    pub(super) fn is_current(&self, link: &ServerConnection) -> bool {
        self.context.is_current(link)
    }

    /// Whether a connection may stay with the session that has it.
    pub(super) fn may_stay(&self, link: &ServerConnection) -> bool {
        self.context.may_stay(link)
    }

    pub(super) fn put(&self, link: ServerConnection) {
        let mut idle = self.idle.borrow_mut();
        if !self.is_current(&link) {
            self.note_closed(UpstreamDisconnect::Rotation);
        } else if idle.len() >= self.context.settings.pool.max_idle {
            self.note_closed(UpstreamDisconnect::Idle);
        } else {
            let now = clock::now();
            idle.push(Idle { link, since: now, checked: now });
        }
    }

    pub(super) fn note_returned(&self) {
        self.leased.set(self.leased.get().saturating_sub(1));
        self.note_sizes();
    }

    fn note_sizes(&self) {
        self.context.metrics.pinned(self.idle.borrow().len(), self.leased.get());
    }

    /// Drops every idle connection that was made with an identity no longer in force.
    pub(super) fn retire(&self) {
        self.keep_idle(UpstreamDisconnect::Rotation, |idle| self.context.is_current(&idle.link));
        self.note_sizes();
    }

    /// Closes the idle connections that `keeps` does not name.
    fn keep_idle(&self, reason: UpstreamDisconnect, keeps: impl FnMut(&Idle) -> bool) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain(keeps);
        (idle.len()..before).for_each(|_| self.note_closed(reason));
    }

    /// A connection on whose server something was said that only a server says that is no primary, or
    /// a script: the server is asked, and its answer decides about the idle connections.
    pub(super) fn doubt(self: &Rc<Self>, mut link: ServerConnection, sign: Sign) {
        let now = clock::now();
        let recent = |at: Instant| now.saturating_duration_since(at) < DOUBT_PAUSE;
        if self.asking.get() || self.doubted.get().is_some_and(recent) {
            return self.note_closed(UpstreamDisconnect::Failover);
        }
        self.asking.set(true);
        self.doubted.set(Some(now));
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let wait = pool.context.settings.pool.connect_timeout;
            let verdict = tokio::time::timeout(wait, ask(&mut link, sign)).await;
            pool.asking.set(false);
            match verdict {
                Ok(Some(Verdict::Move)) => {
                    pool.note_closed(UpstreamDisconnect::Failover);
                    pool.close_older(now);
                }
                Ok(Some(Verdict::Stay)) => pool.put(link),
                Ok(Some(Verdict::Ask(_)) | None) | Err(_) => {
                    pool.note_closed(UpstreamDisconnect::Health);
                }
            }
        });
    }

    /// Drops every idle connection made before `before`: it leads to a server that is no primary.
    pub(super) fn close_older(&self, before: Instant) {
        self.keep_idle(UpstreamDisconnect::Failover, |idle| idle.link.born > before);
        self.note_sizes();
        self.drained.notify_one();
    }

    /// Keeps `min_idle` connections warm, checks idle ones and closes those idle for too long.
    pub(super) async fn keep(self: Rc<Self>) {
        let settings = &self.context.settings.pool;
        let period = settings.health_check_interval.min(settings.idle_timeout) / 2;
        let (mut pause, mut failed) = (Duration::ZERO, false);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.drained.notified(), if !failed => {}
            }
            pause = period.max(Duration::from_millis(100));
            failed = false;
            self.retire();
            self.close_old();
            self.check_idle().await;
            let key = self.last_key.get();
            let idle = self.spares(key);
            if idle < settings.min_idle && !self.context.may_dial() {
                (pause, failed) = (Duration::from_secs(1).min(period), true);
            } else if idle < settings.min_idle && self.has_room() {
                match self.context.dial(key).await {
                    Ok(link) => {
                        self.put(link);
                        if idle + 1 < settings.min_idle {
                            pause = Duration::ZERO;
                        }
                    }
                    Err(_) => (pause, failed) = (Duration::from_secs(1).min(period), true),
                }
            }
            self.note_sizes();
        }
    }

    fn close_old(&self) {
        let settings = &self.context.settings.pool;
        let now = clock::now();
        let mut spare = self.idle.borrow().len().saturating_sub(settings.min_idle);
        self.keep_idle(UpstreamDisconnect::Idle, |idle| {
            let old = now.saturating_duration_since(idle.since) >= settings.idle_timeout;
            let close = old && spare > 0;
            spare -= usize::from(close);
            !close
        });
    }

    /// Sends PING on every idle connection that was silent for a whole interval; any reply is life.
    async fn check_idle(&self) {
        let settings = &self.context.settings.pool;
        loop {
            let now = clock::now();
            let due = {
                let mut idle = self.idle.borrow_mut();
                let at = idle.iter().position(|idle| {
                    now.saturating_duration_since(idle.checked) >= settings.health_check_interval
                });
                at.map(|at| idle.remove(at))
            };
            let Some(mut due) = due else { return };
            due.checked = now;
            let alive = tokio::time::timeout(settings.connect_timeout, ping(&mut due.link)).await;
            let alive = matches!(alive, Ok(Ok(())));
            self.context.metrics.health_check(alive);
            if alive {
                self.idle.borrow_mut().push(due);
            } else {
                self.note_closed(UpstreamDisconnect::Health);
            }
        }
    }
}

/// Whether the server has said nothing, not even goodbye, since the connection was last used.
fn is_silent(link: &mut ServerConnection) -> bool {
    let mut byte = [0; 1];
    let mut buf = tokio::io::ReadBuf::new(&mut byte);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let stream = std::pin::Pin::new(&mut link.stream);
    tokio::io::AsyncRead::poll_read(stream, &mut cx, &mut buf).is_pending()
}

async fn ping(link: &mut ServerConnection) -> std::io::Result<()> {
    reply_to(link, Question::Ping.wire()).await.map(drop)
}

/// What the server's answer to a question about the sign means.
async fn ask(link: &mut ServerConnection, sign: Sign) -> Option<Verdict> {
    let protocol = link.key.protocol;
    let mut question = Question::about(sign);
    // HELLO may be followed by ROLE.
    for _ in 0..2 {
        let reply = reply_to(link, question.wire()).await.ok()?;
        match question.judge(&reply, protocol) {
            Verdict::Ask(next) => question = next,
            verdict @ (Verdict::Stay | Verdict::Move) => return Some(verdict),
        }
    }
    None
}

/// The one reply to one request, on a connection on which nothing else is said.
async fn reply_to(link: &mut ServerConnection, request: &[u8]) -> std::io::Result<BytesMut> {
    link.stream.write_all(request).await?;
    link.stream.flush().await?;
    let mut replies = ReplyBuffer::default();
    loop {
        if link.stream.read_buf(replies.bytes_mut()).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let reply = replies.take_bytes().map_err(|_| std::io::ErrorKind::InvalidData)?;
        if let Some(reply) = reply {
            let whole = replies.is_empty();
            return whole.then_some(reply).ok_or_else(|| std::io::ErrorKind::InvalidData.into());
        }
    }
}

//! Pinned connections: how many there are, which lie idle, who waits for one.
//!
//! Owns: [`Pool`] and the task that keeps it warm. Never knows: what they are lent for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::dial::Link;
use super::env::Env;
use crate::base::clock;
use crate::resp::Protocol;
use crate::traffic::{Loss, OpenFailure, PoolKey};

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
    checked: Instant,
}

/// The pinned connections of one server.
#[derive(Debug)]
pub struct Pool {
    env: Rc<Env>,
    idle: RefCell<Vec<Idle>>,
    permits: Arc<Semaphore>,
    leased: Cell<usize>,
    last_key: Cell<PoolKey>,
    /// Told when fewer than `min_idle` are left.
    drained: Notify,
}

impl Pool {
    pub(super) fn new(env: Rc<Env>) -> Rc<Self> {
        let permits = Arc::new(Semaphore::new(env.settings.pool.max_connections));
        let last_key = Cell::new(PoolKey { protocol: Protocol::Resp2, database: 0 });
        Rc::new(Self {
            env,
            idle: RefCell::default(),
            permits,
            leased: Cell::new(0),
            last_key,
            drained: Notify::new(),
        })
    }

    /// The right to one more connection, once there are fewer than `max_connections`.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let wait = self.env.settings.pool.acquire_timeout;
        let acquired = tokio::time::timeout(wait, Arc::clone(&self.permits).acquire_owned()).await;
        acquired.ok()?.ok()
    }

    /// An idle connection or a new one.
    pub(super) async fn link(&self, key: PoolKey) -> Result<Link, OpenFailure> {
        self.last_key.set(key);
        if let Some(link) = self.take_idle(key) {
            return Ok(link);
        }
        self.env.dial(key).await.map_err(|error| {
            self.env.note_dial_failure(&error);
            let loss = Loss::Unavailable(error.what);
            error.server_line.map_or(OpenFailure::Loss(loss), OpenFailure::Refused)
        })
    }

    pub(super) fn note_lent(&self) {
        self.leased.set(self.leased.get() + 1);
        self.note_sizes();
        if self.spares(self.last_key.get()) < self.env.settings.pool.min_idle {
            self.drained.notify_one();
        }
    }

    fn spares(&self, key: PoolKey) -> usize {
        self.idle.borrow().iter().filter(|idle| idle.link.key == key).count()
    }

    fn take_idle(&self, key: PoolKey) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let at = idle.iter().rposition(|idle| idle.link.key == key)?;
            let mut candidate = idle.remove(at);
            if self.is_current(&candidate.link) && is_silent(&mut candidate.link) {
                return Some(candidate.link);
            }
        }
    }

    pub(super) fn is_current(&self, link: &Link) -> bool {
        self.env.is_current(link)
    }

    pub(super) fn put(&self, link: Link) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.env.settings.pool.max_idle && self.is_current(&link) {
            let now = clock::now();
            idle.push(Idle { link, since: now, checked: now });
        }
    }

    pub(super) fn note_returned(&self) {
        self.leased.set(self.leased.get().saturating_sub(1));
        self.note_sizes();
    }

    fn note_sizes(&self) {
        self.env.metrics.pinned(self.idle.borrow().len(), self.leased.get());
    }

    /// Drops every idle connection that was made with an identity no longer in force.
    pub(super) fn retire(&self) {
        self.idle.borrow_mut().retain(|idle| self.env.is_current(&idle.link));
        self.note_sizes();
    }

    /// Drops every idle connection made before `before`: it leads to a server that is no primary.
    pub(super) fn close_older(&self, before: Instant) {
        self.idle.borrow_mut().retain(|idle| idle.link.born > before);
        self.note_sizes();
        self.drained.notify_one();
    }

    /// Keeps `min_idle` connections warm, checks idle ones and closes those idle for too long.
    pub(super) async fn keep(self: Rc<Self>) {
        let settings = &self.env.settings.pool;
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
            if idle < settings.min_idle && self.permits.available_permits() > 0 {
                match self.env.dial(key).await {
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
        let settings = &self.env.settings.pool;
        let now = clock::now();
        let mut idle = self.idle.borrow_mut();
        let mut spare = idle.len().saturating_sub(settings.min_idle);
        idle.retain(|idle| {
            let old = now.saturating_duration_since(idle.since) >= settings.idle_timeout;
            let close = old && spare > 0;
            spare -= usize::from(close);
            !close
        });
    }

    /// Sends PING on every idle connection that was silent for a whole interval; any reply is life.
    async fn check_idle(&self) {
        let settings = &self.env.settings.pool;
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
            self.env.metrics.health_check(alive);
            if alive {
                self.idle.borrow_mut().push(due);
            }
        }
    }
}

/// Whether the server has said nothing, not even goodbye, since the connection was last used.
fn is_silent(link: &mut Link) -> bool {
    let mut byte = [0; 1];
    let mut buf = tokio::io::ReadBuf::new(&mut byte);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let stream = std::pin::Pin::new(&mut link.stream);
    tokio::io::AsyncRead::poll_read(stream, &mut cx, &mut buf).is_pending()
}

async fn ping(link: &mut Link) -> std::io::Result<()> {
    link.stream.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
    link.stream.flush().await?;
    let mut scanner = crate::resp::ReplyScanner::default();
    let mut scratch = [0; 512];
    loop {
        let count = link.stream.read(&mut scratch).await?;
        let bytes = scratch.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let advance = scanner.advance(bytes).map_err(|_| std::io::ErrorKind::InvalidData)?;
        if advance.done {
            let whole = advance.used == bytes.len();
            return if whole { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) };
        }
    }
}

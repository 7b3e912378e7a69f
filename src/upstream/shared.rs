//! One logical shared connection: who waits on it, and whether it is up. It outlives the sockets that
//! serve it.
//!
//! Owns: [`Shared`]. Never knows: sockets, sessions, what a request asks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use tokio::sync::oneshot;

use super::failure::DialError;
use super::pipeline::Pipeline;
use super::reply_to::Mailbox;
use crate::traffic::{Facts, Loss, OpenFailure, PoolKey, Ticket, Unavailable};

/// Bytes of requests that wait for one shared connection at most.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Requests that wait for one shared connection at most.
const QUEUE_LEN_MAX: usize = 1 << 20;
/// After this many failed attempts in a row, new requests fail at once instead of waiting.
const BREAKER_FAILURES: u32 = 3;
/// What a dead or living shared connection has in line; the owner is `None` for the proxy's own PING.
pub(super) type Owner = Option<Rc<Mailbox>>;

#[derive(Debug)]
pub(super) struct Inner {
    pub pipeline: Pipeline<Owner>,
    /// The task that drives the connection.
    pub waker: Option<Waker>,
    pub facts: Option<Facts>,
    openers: Vec<oneshot::Sender<Result<Facts, OpenFailure>>>,
    failures: u32,
    last_failure: Unavailable,
    /// Sessions that put something in line since the last write.
    pub batch_owners: u32,
    last_owner: usize,
    /// The connection is to be replaced by a new one.
    pub retire: bool,
    pub closing: bool,
}

/// One logical shared connection: it outlives the sockets that serve it.
#[derive(Debug)]
pub struct Shared {
    key: PoolKey,
    aside: Cell<bool>,
    pub(super) inner: RefCell<Inner>,
}

impl Shared {
    /// Nothing is dialed before somebody asks.
    pub(super) fn new(key: PoolKey) -> Rc<Self> {
        Rc::new(Self {
            key,
            aside: Cell::new(false),
            inner: RefCell::new(Inner {
                pipeline: Pipeline::default(),
                waker: None,
                facts: None,
                openers: Vec::new(),
                failures: 0,
                last_failure: Unavailable::Connect,
                batch_owners: 0,
                last_owner: 0,
                retire: false,
                closing: false,
            }),
        })
    }

    #[must_use]
    pub const fn key(&self) -> PoolKey {
        self.key
    }

    /// Whether it is taken up by one slow reader: it answers those in line, and another one takes
    /// its place for everything new.
    #[must_use]
    pub const fn is_aside(&self) -> bool {
        self.aside.get()
    }

    pub(super) fn set_aside(&self, aside: bool) {
        self.aside.set(aside);
    }

    /// Puts a request in line; `skip` replies come before the one that counts.
    ///
    /// # Errors
    ///
    /// When it cannot be expected to be sent in time; nothing was queued.
    pub fn send(
        &self,
        owner: &Rc<Mailbox>,
        ticket: Ticket,
        request: &[u8],
        skip: u32,
        retry: bool,
        at: Instant,
    ) -> Result<(), Unavailable> {
        let mut inner = self.inner.borrow_mut();
        if inner.failures >= BREAKER_FAILURES {
            return Err(inner.last_failure);
        }
        if inner.pipeline.held_bytes() > QUEUE_BYTES_MAX || inner.pipeline.len() > QUEUE_LEN_MAX {
            return Err(Unavailable::Overloaded);
        }
        let address = Rc::as_ptr(owner).addr();
        if inner.last_owner != address || inner.batch_owners == 0 {
            inner.last_owner = address;
            inner.batch_owners += 1;
        }
        inner.pipeline.push(Some(Rc::clone(owner)), ticket, request, skip, retry, at);
        inner.wake();
        Ok(())
    }

    /// What the server said of itself, if the connection is up.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        self.inner.borrow().facts.clone()
    }

    /// Waits until the connection is up.
    ///
    /// # Errors
    ///
    /// The reason of the first attempt that fails.
    pub async fn open(&self) -> Result<Facts, OpenFailure> {
        let receiver = {
            let mut inner = self.inner.borrow_mut();
            if let Some(facts) = &inner.facts {
                return Ok(facts.clone());
            }
            if inner.failures >= BREAKER_FAILURES {
                return Err(OpenFailure::Loss(Loss::Unavailable(inner.last_failure)));
            }
            let (sender, receiver) = oneshot::channel();
            inner.openers.push(sender);
            inner.wake();
            receiver
        };
        let gone = OpenFailure::Loss(Loss::Unavailable(Unavailable::Connect));
        receiver.await.unwrap_or(Err(gone))
    }

    /// Replaces the connection by a new one as soon as that is up, without losing a reply.
    pub fn retire(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.retire = true;
        inner.wake();
    }

    /// Ends the task once nothing is in line.
    pub fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.closing = true;
        inner.wake();
    }

    /// Whether new requests fail at once, and whether the connection is to end.
    pub(super) fn standing(&self) -> (bool, bool) {
        let inner = self.inner.borrow();
        (inner.is_open(), inner.closing)
    }

    #[must_use]
    pub fn is_up(&self) -> bool {
        self.inner.borrow().facts.is_some()
    }

    /// Requests in line.
    #[must_use]
    pub fn in_line(&self) -> usize {
        self.inner.borrow().pipeline.len()
    }
}

impl Inner {
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn wanted(&self) -> bool {
        !self.pipeline.is_empty() || !self.openers.is_empty() || self.failures > 0
    }

    pub(super) fn up(&mut self, facts: &Facts) {
        self.facts = Some(facts.clone());
        self.failures = 0;
        self.retire = false;
        for opener in self.openers.drain(..) {
            let _ = opener.send(Ok(facts.clone()));
        }
    }

    pub(super) fn failed(&mut self, error: &DialError) {
        self.facts = None;
        self.failures = self.failures.saturating_add(1);
        self.last_failure = error.what;
        let failure = match &error.server_line {
            Some(line) => {
                // The server is well; it is this database that it does not have.
                self.failures = 0;
                OpenFailure::Refused(line.clone())
            }
            None => OpenFailure::Loss(Loss::Unavailable(error.what)),
        };
        for opener in self.openers.drain(..) {
            let _ = opener.send(Err(failure.clone()));
        }
    }
}

impl Inner {
    /// Whether new requests fail at once.
    pub(super) const fn is_open(&self) -> bool {
        self.failures >= BREAKER_FAILURES
    }
}

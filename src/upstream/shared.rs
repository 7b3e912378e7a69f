//! One logical shared connection: the sessions that wait on it, and whether it is up. It outlives the sockets that
//! serve it.
//!
//! Owns: [`Shared`]. Never knows: sockets, sessions, the meaning of a request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use tokio::sync::oneshot;

use super::connector::{Connector, Turn};
use super::context::UpstreamContext;
use super::line::Line;
use super::mailbox::Mailbox;
use super::owner::Owner;
use super::pipeline::Pipeline;
use super::pipeline::pinned::Companion;
use crate::base::client_text;
use crate::base::clock;
use crate::base::limits;
use crate::traffic::{Facts, Loss, OpenFailure, Outgoing, PoolKey, Ticket, Unavailable};

#[derive(Debug)]
pub(super) struct Inner {
    pub line: Line<Rc<Mailbox>>,
    /// The task that drives the connection.
    pub waker: Option<Waker>,
    /// What the server reported about itself, while there is a connection.
    facts: Option<Facts>,
    waiters: Vec<oneshot::Sender<Result<Facts, OpenFailure>>>,
    /// Bytes of the pipeline that the memory budget knows of.
    charged: usize,
    /// Sessions that put something in line since the last write.
    pub batch_owners: u32,
    /// Requests put in line since the last write.
    pub batch: u64,
    /// Requests whose owner waits no longer, as the metric has it.
    tombstones: usize,
    last_owner: usize,
    /// When a request was put in line last, or the line was made.
    used_at: Instant,
}

/// One logical shared connection: it outlives the sockets that serve it.
#[derive(Debug)]
pub(crate) struct Shared {
    key: PoolKey,
    number: u64,
    /// The connection is dialed again whenever it is lost, although nothing waits for it.
    keep: bool,
    /// There is no place for its key: it refuses whatever it is asked.
    refuses: bool,
    aside: Cell<bool>,
    stalled: Cell<bool>,
    /// A connection serves it.
    serves: Cell<bool>,
    /// Commands that wait for a connection, as the metric has it.
    depth: Cell<usize>,
    context: Rc<UpstreamContext>,
    pub(super) inner: RefCell<Inner>,
}

impl Shared {
    /// With `keep` it is dialed at once and whenever it is lost, else when a request needs it.
    pub(super) fn new(key: PoolKey, keep: bool, context: Rc<UpstreamContext>) -> Rc<Self> {
        Self::make(key, keep, false, context)
    }

    /// One that has no task and no connection. Sessions stop using it at once, as one that was set aside.
    pub(super) fn refusing(key: PoolKey, context: Rc<UpstreamContext>) -> Rc<Self> {
        let shared = Self::make(key, false, true, context);
        shared.set_aside();
        shared
    }

    fn make(key: PoolKey, keep: bool, refuses: bool, context: Rc<UpstreamContext>) -> Rc<Self> {
        Rc::new(Self {
            key,
            number: context.next_number(),
            keep,
            refuses,
            aside: Cell::new(false),
            stalled: Cell::new(false),
            serves: Cell::new(false),
            depth: Cell::new(0),
            context,
            inner: RefCell::new(Inner {
                line: Line::new(key.protocol, keep),
                waker: None,
                facts: None,
                waiters: Vec::new(),
                charged: 0,
                batch_owners: 0,
                batch: 0,
                tombstones: 0,
                last_owner: 0,
                used_at: clock::now(),
            }),
        })
    }

    /// Another one for the same key, which is to take everything new. Where this one is to end, so is that.
    pub(super) fn beside(&self) -> Rc<Self> {
        let other = Self::new(self.key, self.keep, Rc::clone(&self.context));
        other.inner.borrow_mut().line.closing = self.inner.borrow().line.closing;
        other
    }

    /// Distinguishes it from every other.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    #[must_use]
    pub(crate) const fn key(&self) -> PoolKey {
        self.key
    }

    /// Whether it is occupied by one slow reader or one long command: it answers those in line, and
    /// another one has taken its place for everything new, for good.
    #[must_use]
    pub(crate) const fn is_aside(&self) -> bool {
        self.aside.get()
    }

    pub(super) fn set_aside(&self) {
        if !self.aside.replace(true) && self.serves.get() {
            self.context.metrics.set_aside();
        }
    }

    /// A connection has begun or ended to serve it.
    pub(super) fn note_serving(&self, serves: bool) {
        debug_assert_ne!(self.serves.get(), serves, "each change is noted once");
        self.serves.set(serves);
        self.context.metrics.serving(self.is_aside(), if serves { 1 } else { -1 });
    }

    /// Whether the server serves others, but has not begun to answer the head of this line for a while.
    pub(super) const fn is_stalled(&self) -> bool {
        self.stalled.get()
    }

    pub(super) fn note_stalled(&self, stalled: bool) {
        self.stalled.set(stalled);
    }

    /// Puts a request in line. Without a connection it waits for one.
    ///
    /// # Errors
    ///
    /// When it cannot be expected to be sent in time; nothing was queued.
    pub(crate) fn send(
        &self,
        owner: &Rc<Mailbox>,
        request: Outgoing<'_>,
    ) -> Result<(), Unavailable> {
        let mut inner = self.inner.borrow_mut();
        if !inner.line.is_up() {
            if self.refuses {
                return Err(Unavailable::Exhausted);
            }
            let (outage, passable) = (self.context.outage_since(), self.context.may_dial());
            let patience = self.context.patience_of(request.eager);
            if inner.line.refuses(patience, outage, passable, request.at) {
                return Err(self.context.last_failure());
            }
            self.context.note_waiting(1);
        }
        match self.admit(&mut inner, request.bytes.len(), request.share) {
            // What completes a request is not left out once that one is in line.
            Err(why) if !request.companion => return Err(why),
            Ok(()) | Err(_) => {}
        }
        let address = Rc::as_ptr(owner).addr();
        if inner.last_owner != address || inner.batch_owners == 0 {
            inner.last_owner = address;
            inner.batch_owners += 1;
        }
        inner.batch += 1;
        inner.used_at = request.at;
        let Outgoing { ticket, bytes, skips, retry, companion, at, .. } = request;
        inner.line.pipeline.push(Owner::Session(Rc::clone(owner)), ticket, bytes, skips, retry, at);
        if companion {
            inner.line.pipeline.note_companion();
        }
        inner.wake();
        Ok(())
    }

    /// Puts in line what completes a request that was answered. It waits until there is a connection.
    ///
    /// # Errors
    ///
    /// When there is no place for it; nothing was queued.
    pub(super) fn complete(&self, it: &Companion, now: Instant) -> Result<(), Unavailable> {
        if self.refuses {
            return Err(Unavailable::Exhausted);
        }
        let mut inner = self.inner.borrow_mut();
        self.admit(&mut inner, it.bytes.len(), 0)?;
        inner.batch += 1;
        inner.used_at = now;
        let pipeline = &mut inner.line.pipeline;
        pipeline.push(Owner::Completion, Ticket::default(), &it.bytes, it.skips, true, now);
        pipeline.note_completes();
        inner.wake();
        Ok(())
    }

    /// Whether one more request has room in line, of a session that has sent `share` bytes.
    #[inline]
    fn admit(&self, inner: &mut Inner, bytes: usize, share: usize) -> Result<(), Unavailable> {
        let pipeline = &inner.line.pipeline;
        if pipeline.request_bytes() > limits::QUEUE_BYTES_MAX
            || pipeline.len() > limits::QUEUE_LEN_MAX
        {
            return Err(Unavailable::Overloaded);
        }
        let after = pipeline.held_bytes() + bytes;
        if after >= inner.charged + limits::CHARGE_STEP_BYTES {
            let within = self.context.buffers.adjust(inner.charged, after);
            inner.charged = after;
            if !within
                && (share > limits::FAIR_SHARE_BYTES || after > self.context.buffers.cap() / 2)
            {
                return Err(Unavailable::Overloaded);
            }
        }
        Ok(())
    }

    /// The memory budget and the metrics get to know how much is still in line.
    pub(super) fn settle_charge(&self, inner: &mut Inner) {
        let abandoned = inner.line.pipeline.abandoned();
        if abandoned != inner.tombstones {
            self.context.metrics.tombstones(difference(inner.tombstones, abandoned));
            inner.tombstones = abandoned;
        }
        let held = inner.line.held_bytes();
        if inner.charged >= held + limits::CHARGE_STEP_BYTES || (held == 0 && inner.charged > 0) {
            self.context.buffers.adjust(inner.charged, held);
            inner.charged = held;
        }
    }

    /// Sets how many commands wait for a connection; returns the change.
    pub(super) fn replace_depth(&self, depth: usize) -> i64 {
        difference(self.depth.replace(depth), depth)
    }

    /// What the server reported about itself, if the connection is up.
    #[must_use]
    pub(crate) fn facts(&self) -> Option<Facts> {
        self.inner.borrow().facts.clone()
    }

    /// Waits until the connection is up, however long that takes.
    ///
    /// # Errors
    ///
    /// When the server refuses the database.
    pub(super) async fn open(&self) -> Result<Facts, OpenFailure> {
        let receiver = {
            let mut inner = self.inner.borrow_mut();
            if let Some(facts) = &inner.facts {
                return Ok(facts.clone());
            }
            let (sender, receiver) = oneshot::channel();
            inner.waiters.retain(|opener| !opener.is_closed());
            inner.waiters.push(sender);
            inner.wake();
            receiver
        };
        let gone = OpenFailure::Loss(Loss::Unavailable(Unavailable::Connect));
        receiver.await.unwrap_or(Err(gone))
    }

    /// Replaces the connection by a new one as soon as that is up, without losing a reply.
    pub(crate) fn retire(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.line.retire = true;
        inner.wake();
    }

    /// Ends the task once nothing is in line.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.line.closing = true;
        inner.wake();
    }

    /// Whether a connection is to be made: something waits for one, or one is always to be there.
    pub(super) fn wanted(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        inner.waiters.retain(|opener| !opener.is_closed());
        let asked = !inner.waiters.is_empty();
        inner.line.is_wanted(asked)
    }

    /// What is to be done while there is no connection.
    pub(super) fn poll_connector(&self, connector: &mut Connector, now: Instant) -> Turn {
        let mut inner = self.inner.borrow_mut();
        inner.waiters.retain(|opener| !opener.is_closed());
        let asked = !inner.waiters.is_empty();
        connector.poll(&mut inner.line, asked, self.context.patience, now)
    }

    /// Waits until something is asked of the line.
    pub(super) async fn changed(&self) {
        let mut waits = true;
        std::future::poll_fn(|cx| {
            if !std::mem::take(&mut waits) {
                return Poll::Ready(());
            }
            self.inner.borrow_mut().waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        self.inner.borrow().line.is_up()
    }

    /// When a request was put in line last; none while any is outstanding, or where the connection is kept.
    pub(super) fn unused_since(&self) -> Option<Instant> {
        let mut inner = self.inner.borrow_mut();
        inner.waiters.retain(|opener| !opener.is_closed());
        let outstanding = !inner.waiters.is_empty() || !inner.line.pipeline.is_empty();
        (!self.keep && !outstanding).then_some(inner.used_at)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        self.context.buffers.adjust(inner.charged, 0);
        self.context.metrics.tombstones(difference(inner.tombstones, 0));
    }
}

impl Inner {
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// A connection is there.
    pub(super) fn up(&mut self, facts: &Facts) {
        self.facts = Some(facts.clone());
        self.answer_openers(&Ok(facts.clone()));
    }

    /// The connection is lost.
    pub(super) fn down(&mut self) {
        self.facts = None;
    }

    pub(super) fn answer_openers(&mut self, result: &Result<Facts, OpenFailure>) {
        for opener in self.waiters.drain(..) {
            let _ = opener.send(result.clone());
        }
    }
}

/// By how much a gauge changes.
fn difference(before: usize, after: usize) -> i64 {
    let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
    number(after) - number(before)
}

/// Gives requests that were not sent the answer that the server gives to every client at this moment.
pub(super) fn answer_all(line: Pipeline<Owner<Rc<Mailbox>>>, error: &[u8]) {
    let (error, now) = ([b"-", error, b"\r\n"].concat(), clock::now());
    let aborted = format!("-{}\r\n", client_text::EXECABORT);
    for (owner, ticket, block) in line.into_requests() {
        let Some(mailbox) = owner.into_session() else { continue };
        if block {
            mailbox.deliver_refusal(ticket, &error, now);
        }
        mailbox.deliver(ticket, if block { aborted.as_bytes() } else { &error }, b'-', true, now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config;
    use crate::resp::Protocol;
    use crate::telemetry::Metrics;
    use crate::traffic::Skips;
    use crate::upstream::Buffers;
    use crate::upstream::credentials::Credentials;
    use crate::upstream::dial::Dialer;
    use crate::upstream::target::Target;

    const KEY: PoolKey = PoolKey { protocol: Protocol::Resp2, database: 0 };

    #[test]
    fn full_line_takes_what_completes_the_request_that_has_filled_it() {
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream]\naddress = \"127.0.0.1:1\"\n\
                    insecure_plaintext = true\n";
        let settings = config::parse(text, "test", []).unwrap().upstream;
        let credentials = Credentials::open(&settings.auth).unwrap();
        let target = Target::of(&settings).unwrap();
        let dialer = Dialer::new(target, &settings, None, credentials);
        let buffers = Buffers::new(1 << 30);
        let metrics = Arc::new(Metrics::default());
        let context =
            UpstreamContext::new(settings, 65_536, dialer, metrics, Rc::clone(&buffers), 1);
        let (shared, owner) = (Shared::new(KEY, false, context), Mailbox::new(1000, buffers));
        let bytes = vec![0; limits::QUEUE_BYTES_MAX + 1];
        let send = |bytes: &[u8], companion| {
            let (ticket, skips, retry, share, eager) = (Ticket(1), Skips::NONE, true, 0, false);
            let at = clock::now();
            let request = Outgoing { ticket, bytes, skips, retry, companion, share, at, eager };
            shared.send(&owner, request)
        };
        assert_eq!(send(&bytes, false), Ok(()));
        assert_eq!(send(b"EXPIRE", true), Ok(()), "the write is in line");
        assert_eq!(send(b"SET", false), Err(Unavailable::Overloaded));
    }
}

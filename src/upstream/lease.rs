//! One upstream connection lent to one session, which drives it from its own task.
//!
//! Owns: [`Lease`]. Never knows: why it was lent, what travels on it.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::ServerConnection;
use super::holder::Holder;
use super::not_primary::{Sign, sign, sign_within};
use super::pool::{Claim, Pool};
use super::shares::Use;
use super::yield_to_io::yield_to_io;
use crate::base::clock;
use crate::base::limits;
use crate::resp::ReplyScanner;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{OpenFailure, PoolKey};

/// The right to a pinned connection. Dropped, it closes the connection; [`Lease::give_back`] is for
/// one that provably carries no state.
#[derive(Debug)]
pub(crate) struct Lease {
    link: Option<ServerConnection>,
    out: BytesMut,
    scanner: ReplyScanner,
    pool: Rc<Pool>,
    outdated: Option<Instant>,
    /// The server has answered a request on this loan.
    answered: bool,
    /// A push came within a reply, so that where replies begin is unknown from here on; or the client has closed,
    /// and the kernel drops what is not acknowledged.
    doubtful: bool,
    /// What was said on it: the server may not be the primary that is wanted.
    sign: Option<Sign>,
    /// Why it is closed, when it is not given back.
    closed_for: UpstreamDisconnect,
    _claim: Claim,
}

impl Lease {
    /// Borrows a connection from the pool.
    ///
    /// # Errors
    ///
    /// When none can be had within `acquire_timeout`, or `outage_wait` while the server cannot be
    /// reached.
    pub(super) async fn acquire(
        pool: Rc<Pool>,
        key: PoolKey,
        purpose: Use,
        holder: Holder,
        eager: bool,
    ) -> Result<Self, OpenFailure> {
        let (claim, link) = pool.obtain(key, purpose, holder, eager).await?;
        Ok(Self {
            link: Some(link),
            out: BytesMut::new(),
            scanner: ReplyScanner::default(),
            pool,
            outdated: None,
            answered: false,
            doubtful: false,
            sign: None,
            closed_for: UpstreamDisconnect::Dirty,
            _claim: claim,
        })
    }

    /// Its number at the server; 0 when that is not known.
    #[must_use]
    pub(crate) fn client_id(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.client_id)
    }

    /// Puts bytes in line to be written.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Bytes not yet written.
    #[must_use]
    pub(crate) fn unwritten(&self) -> usize {
        self.out.len()
    }

    /// Since when it is known that the identity and password in force are others than its own.
    #[must_use]
    pub(crate) fn outdated_since(&mut self, now: Instant) -> Option<Instant> {
        let link = self.link.as_ref()?;
        if self.outdated.is_none() && !self.pool.may_stay(link) {
            self.outdated = Some(now);
        }
        self.outdated
    }

    /// As [`Self::outdated_since`] said last.
    #[must_use]
    pub(crate) const fn outdated(&self) -> Option<Instant> {
        self.outdated
    }

    /// Writes as much as the socket takes, up to [`limits::LEASE_WRITE_BYTES_MAX`] in one turn;
    /// ready when nothing is left. The caller looks in again while there is.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamDisconnect>> {
        let written = ready!(self.poll_send(cx));
        Poll::Ready(written.map_err(|reason| self.die(reason)))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamDisconnect>> {
        let Self { link: Some(link), out, pool, .. } = self else {
            return Poll::Ready(Err(UpstreamDisconnect::Eof));
        };
        let mut wrote = 0;
        while !out.is_empty() {
            if wrote >= limits::LEASE_WRITE_BYTES_MAX {
                yield_to_io(cx);
                return Poll::Pending;
            }
            let count = ready!(link.stream.poll_send(cx, out))?;
            pool.metrics().sent(count);
            wrote += count;
            out.advance(count);
        }
        if out.capacity() > limits::READ_BYTES * 4 {
            *out = BytesMut::new();
        }
        link.stream.poll_sent(cx)
    }

    /// Reads once into `scratch`.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<usize, UpstreamDisconnect>> {
        let Some(link) = &mut self.link else { return Poll::Ready(Err(UpstreamDisconnect::Eof)) };
        let read = ready!(link.stream.poll_receive(cx, scratch));
        if let Ok(count) = read {
            self.pool.metrics().received(count);
        }
        Poll::Ready(read.map_err(|reason| self.die(reason)))
    }

    /// Says that nothing more will be asked, and waits until the server has ended the connection: it has carried
    /// out what it was asked then, or never will.
    pub(crate) async fn run_out(mut self) {
        self.out = BytesMut::new();
        let Some(link) = &mut self.link else { return };
        if link.stream.shutdown().await.is_err() {
            return;
        }
        let mut unread = vec![0; limits::ABANDONED_READ_BYTES];
        while let Ok(1..) = link.stream.read(&mut unread).await {}
    }

    /// The server, or the way to it, has ended the connection.
    fn die(&mut self, reason: UpstreamDisconnect) -> UpstreamDisconnect {
        if let Some(link) = self.link.take() {
            self.pool.note_death(self.answered, link.born);
            self.pool.note_closed(reason);
        }
        reason
    }

    /// The next piece of a reply at the front of `bytes`: its length, the reply's first byte, and
    /// whether the reply ends with it. `None` when the bytes are not RESP.
    pub(crate) fn next_piece(&mut self, bytes: &[u8]) -> Option<(usize, u8, bool)> {
        let begins = !self.scanner.in_progress();
        let advance = self.scanner.advance(bytes).ok()?;
        if !std::mem::replace(&mut self.answered, true) {
            self.pool.note_answer();
        }
        self.doubtful |= self.scanner.has_push() && self.scanner.kind() != b'>';
        if self.scanner.kind() == b'-' {
            if begins {
                self.pool.metrics().error_line(bytes.get(..advance.used).unwrap_or(bytes));
            }
            self.note_sign(sign(bytes));
        }
        Some((advance.used, self.scanner.kind(), advance.done))
    }

    /// The same for a piece of the array that answers EXEC.
    pub(crate) fn look_into(&mut self, piece: &[u8]) {
        self.note_sign(sign_within(piece));
    }

    /// While there is no other server, each connection is kept for a while.
    fn note_sign(&mut self, sign: Option<Sign>) {
        let Some(sign) = sign else { return };
        let born = self.link.as_ref().map(|link| link.born);
        if born.is_some_and(|born| {
            clock::now().saturating_duration_since(born) >= limits::POOLED_CONNECTION_AGE_MIN
        }) {
            self.sign = Some(sign);
        }
    }

    /// Whether another connection leads to the primary, perhaps.
    #[must_use]
    pub(crate) const fn says_not_primary(&self) -> bool {
        self.sign.is_some()
    }

    /// The announced length of the reply in progress, when it is a single string.
    #[must_use]
    pub(crate) fn announced(&self) -> u64 {
        self.scanner.announced().unwrap_or(0)
    }

    /// A request on it was answered after this time.
    pub(crate) fn note_answered(&self, after: Duration) {
        self.pool.metrics().answered(after);
    }

    /// So many requests on it were not answered in time.
    pub(crate) fn note_timeouts(&self, count: usize) {
        (0..count).for_each(|_| self.pool.metrics().timed_out());
    }

    /// It is given up while the server owes replies: what the kernel has not delivered is discarded.
    pub(crate) fn abort(&self) {
        if let Some(link) = &self.link {
            link.stream.abort();
        }
    }

    /// The client has closed: [`Stream::drop_unacknowledged`](super::stream::Stream::drop_unacknowledged).
    pub(crate) fn note_left(&mut self) {
        self.doubtful = true;
        if let Some(link) = &self.link {
            link.stream.drop_unacknowledged();
        }
    }

    /// Why it will be closed.
    pub(crate) const fn close_for(&mut self, reason: UpstreamDisconnect) {
        self.closed_for = reason;
    }

    /// Returns the connection for another session: it is as if it had never been lent.
    pub(crate) fn give_back(mut self) {
        let clean = self.sign.is_none()
            && !self.doubtful
            && self.out.is_empty()
            && !self.scanner.in_progress();
        if let Some(link) = self.link.take_if(|_| clean) {
            self.pool.put(link);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A connection on which something is under way cannot be asked.
        let asks = self.out.is_empty() && !self.scanner.in_progress();
        match (self.link.take(), self.sign) {
            (None, _) => {}
            (Some(link), Some(sign)) if asks => self.pool.doubt(link, sign),
            (Some(_), _) => self.pool.note_closed(self.closed_for),
        }
    }
}

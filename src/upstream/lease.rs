//! One upstream connection lent to one session, which drives it from its own task.
//!
//! Owns: [`Lease`]. Never knows: why it was lent, what travels on it.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::ServerConnection;
use super::holder::Holder;
use super::pipeline::pinned::{Companion, FramePiece, PinnedLine, Reply};
use super::pool::{Claim, Pool};
use super::shares::Use;
use super::yield_to_io::yield_to_io;
use crate::base::limits;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{Loss, OpenFailure, PoolKey, Ticket};

/// The right to a pinned connection. Dropped, it closes the connection; [`Lease::give_back`] is for
/// one that provably carries no state.
#[derive(Debug)]
pub(crate) struct Lease {
    link: Option<ServerConnection>,
    line: PinnedLine,
    pool: Rc<Pool>,
    outdated: Option<Instant>,
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
            line: PinnedLine::new(link.opened_at),
            link: Some(link),
            pool,
            outdated: None,
            closed_for: UpstreamDisconnect::Dirty,
            _claim: claim,
        })
    }

    /// Its number at the server; 0 when that is not known.
    #[must_use]
    pub(crate) fn client_id(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.client_id)
    }

    /// What was asked on it, and what more is put in line.
    pub(crate) const fn line(&mut self) -> &mut PinnedLine {
        &mut self.line
    }

    /// Bytes not yet written.
    #[must_use]
    pub(crate) fn unwritten(&self) -> usize {
        self.line.unwritten().len()
    }

    /// Memory for what is in its line.
    #[must_use]
    pub(crate) fn held_bytes(&self) -> usize {
        self.line.held_bytes()
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

    /// The last result of [`Self::outdated_since`].
    #[must_use]
    pub(crate) const fn outdated(&self) -> Option<Instant> {
        self.outdated
    }

    /// Writes as much as the socket takes, up to [`limits::LEASE_WRITE_BYTES_MAX`] in one turn;
    /// ready when nothing is left. The caller looks in again while there is.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamDisconnect>> {
        let written = ready!(self.poll_send(cx));
        Poll::Ready(written.map_err(|reason| self.die(reason)))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamDisconnect>> {
        let Self { link: Some(link), line, pool, .. } = self else {
            return Poll::Ready(Err(UpstreamDisconnect::Eof));
        };
        let mut wrote = 0;
        while let out @ [_, ..] = line.unwritten() {
            if wrote >= limits::LEASE_WRITE_BYTES_MAX {
                yield_to_io(cx);
                return Poll::Pending;
            }
            let count = ready!(link.stream.poll_send(cx, out))?;
            pool.metrics().sent(count);
            wrote += count;
            line.wrote(count);
        }
        link.stream.poll_sent(cx)
    }

    /// Reads once into `scratch`.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
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

    /// Closes the sending side, and waits until the server has ended the connection: it has carried
    /// out what it was asked then, or never will.
    pub(crate) async fn run_out(mut self) {
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
            self.pool.note_connection_lost(self.line.has_replied(), link.opened_at);
            self.pool.note_closed(reason);
        }
        reason
    }

    /// The next piece of a frame at the front of `bytes`. `None` when that is no frame.
    pub(crate) fn frame(&mut self, bytes: &[u8]) -> Option<FramePiece> {
        let received = self.line.frame(bytes).ok()?;
        if received.first {
            self.pool.note_answer();
        }
        Some(received)
    }

    /// What a piece of a reply is to the session; [`PinnedLine::match_reply`].
    pub(crate) fn match_reply(
        &mut self,
        piece: (&[u8], u8, bool),
        large_bytes: u64,
        now: Instant,
    ) -> Reply<'_> {
        let metrics = self.pool.metrics();
        self.line.match_reply(piece, large_bytes, now, |delivery| {
            if let Some(line) = delivery.error {
                metrics.error_line(line);
            }
        })
    }

    /// Whether another connection leads to the primary, perhaps.
    #[must_use]
    pub(crate) const fn reports_not_primary(&self) -> bool {
        self.line.sign().is_some()
    }

    /// A request on it was answered after this time.
    pub(crate) fn note_answered(&self, after: Duration) {
        self.pool.metrics().answered(after, 1);
    }

    /// Gives the connection up: what becomes of each request on it, by [`PinnedLine::take_losses`].
    pub(crate) fn take_losses(&mut self, why: Loss) -> Vec<(Ticket, Loss)> {
        let losses = self.line.take_losses(why);
        let late = losses.iter().filter(|(_, loss)| *loss == Loss::TimedOut);
        late.for_each(|_| self.pool.metrics().timed_out());
        losses
    }

    /// What completes a request that was answered, and was refused or lost with the connection.
    pub(crate) fn take_outstanding(&mut self) -> Option<Companion> {
        self.line.take_outstanding()
    }

    /// Closes the connection while replies are outstanding: what the kernel has not delivered is discarded.
    pub(crate) fn abort(&self) {
        if let Some(link) = &self.link {
            link.stream.abort();
        }
    }

    /// The client has closed: [`Stream::drop_unacknowledged`](super::stream::Stream::drop_unacknowledged).
    pub(crate) fn note_left(&mut self) {
        self.line.mark_doubtful();
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
        let clean = self.line.is_clean();
        if let Some(link) = self.link.take_if(|_| clean) {
            self.pool.put(link);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A connection on which something is under way cannot be asked.
        let is_askable = self.line.is_askable();
        match (self.link.take(), self.line.sign()) {
            (None, _) => {}
            (Some(link), Some(sign)) if is_askable => self.pool.doubt(link, sign),
            (Some(_), _) => self.pool.note_closed(self.closed_for),
        }
    }
}

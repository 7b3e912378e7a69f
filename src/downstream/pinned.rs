//! A session's pinned connection: driven from the session's own task, with the client's own pace.
//!
//! Owns: when it is read, written, returned, dropped. Never knows: what travels on it.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Body, Connection, PendingStep};
use crate::session::LeaseFate;
use crate::telemetry::{ClientDisconnect, UpstreamDisconnect};
use crate::traffic::Loss;
use crate::upstream::Lease;

/// Unread bytes of the client above which its pinned connection is not read.
const UNREAD_BYTES_MAX: usize = 256 * 1024;
/// A client that is silent for this long gives back what it holds for large replies alone.
const REST: Duration = Duration::from_secs(1);
/// Moments over which the connections of one grace go.
const GRACE_STEPS: u32 = 17;
/// As much as one TLS record: a round that moves it is a long one.
const BULK_BYTES: usize = 16 * 1024;
/// Unsent bytes of a large request above which the client is not read.
const UNSENT_BYTES_MAX: usize = 128 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn lease_has_room(&self) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.0.unwritten() < UNSENT_BYTES_MAX)
    }

    /// Whether a large value is under way: each round is long, so others come between them.
    pub(super) fn moves_bulk(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| {
            self.session.reply_has_begun()
                || lease.0.unwritten() >= BULK_BYTES
                || self.out.len() >= BULK_BYTES
        })
    }

    /// Writes and reads the pinned connection. Returns whether anything happened.
    pub(super) fn poll_lease(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if self.pacer.is_resting(self.now) {
            return false;
        }
        if let Some(lease) = &mut self.lease {
            let before = lease.0.unwritten();
            match lease.0.poll_write(cx) {
                Poll::Ready(Err(_)) => {
                    self.lose_lease(Loss::OutcomeUnknown);
                    return true;
                }
                Poll::Ready(Ok(())) | Poll::Pending => {
                    let wrote = before - lease.0.unwritten();
                    progress |= wrote > 0;
                    self.upload.note(wrote, self.now);
                }
            }
        }
        if self.out.len() >= UNREAD_BYTES_MAX || self.lease.is_none() {
            return progress;
        }
        let mut scratch = self.worker.take_scratch();
        let read = self.lease.as_mut().map(|lease| lease.0.poll_read(cx, &mut scratch));
        match read {
            None | Some(Poll::Pending) => {}
            Some(Poll::Ready(Ok(count))) => {
                progress = true;
                self.lease_heard = self.now;
                self.take_pinned(cx, scratch.get(..count).unwrap_or_default());
            }
            Some(Poll::Ready(Err(_))) => {
                progress = true;
                self.lose_lease(Loss::OutcomeUnknown);
            }
        }
        self.worker.return_scratch(scratch);
        progress
    }

    fn take_pinned(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) {
        if self.session.is_streaming() {
            return self.write_through(cx, bytes);
        }
        while !bytes.is_empty() {
            let Some(lease) = &mut self.lease else { return };
            let Ok((used, kind, done)) = lease.0.next_piece(bytes) else {
                return self.close_untrusted();
            };
            if lease.0.announced() >= self.limits.large_bytes {
                self.session.note_large_reply();
            }
            let (piece, rest) = bytes.split_at_checked(used).unwrap_or((bytes, &[]));
            bytes = rest;
            if kind == b'*' && self.session.awaits_exec() {
                lease.0.look_into(piece);
            }
            if piece.len() >= BULK_BYTES && self.session.passes_pinned(kind) {
                self.write_through(cx, piece);
                let Self { session, out, .. } = self;
                if let Some(completed) = session.handle_passed(piece.len(), kind, done, out) {
                    self.count_pinned(completed);
                }
                continue;
            }
            match self.session.handle_pinned(piece, kind, done, &mut self.out) {
                Ok(Some(completed)) => self.count_pinned(completed),
                Ok(None) => {}
                Err(_) => return self.close_untrusted(),
            }
        }
        self.resend();
        if matches!(self.waiting, PendingStep::Reply) {
            self.waiting = PendingStep::No;
        }
        if self.session.in_flight() == 0 {
            self.sent_bytes = 0;
        }
    }

    fn close_untrusted(&mut self) {
        tracing::error!(code = "UPS-E001", "pinned connection closed: it cannot be trusted");
        if let Some((lease, _)) = self.lease.as_deref_mut() {
            lease.close_for(UpstreamDisconnect::Protocol);
        }
        self.lose_lease(Loss::OutcomeUnknown);
    }

    /// The pinned connection is gone.
    pub(super) fn lose_lease(&mut self, loss: Loss) {
        let Some(mut lease) = self.lease.take() else { return };
        self.worker.metrics.pinned(lease.1, -1);
        lease.0.abort();
        let waited = self.session.in_flight();
        let (begun, said) = (self.session.reply_has_begun(), self.out.len());
        let streamed = self.session.is_streaming();
        let fatal = self.session.handle_lease_lost(loss, &mut self.out);
        let lost = waited - self.session.in_flight();
        self.worker.metrics.lost(loss, lost);
        if loss == Loss::TimedOut {
            lease.0.note_timeouts(lost);
            lease.0.close_for(UpstreamDisconnect::Timeout);
        }
        if self.passing == Body::ToLease {
            self.passing = Body::Away;
        }
        if matches!(self.waiting, PendingStep::Reply) {
            self.waiting = PendingStep::No;
        }
        if begun || streamed {
            // Whatever followed half a reply would be taken for its rest.
            self.out.truncate(said);
        }
        if fatal && streamed {
            // A backup ends with the connection: what the client has not read yet belongs to it, and may
            // be read as slowly as the rest was.
            self.end(ClientDisconnect::UpstreamLost);
            self.allow_slow_end();
        } else if fatal || begun {
            self.end_now(ClientDisconnect::UpstreamLost);
        }
    }

    /// Half a request is on the pinned connection and the rest must not follow.
    pub(super) fn abandon_pinned(&mut self) {
        self.lose_lease(Loss::Abandoned);
    }

    /// Gives the pinned connection back as soon as nothing of this session is on it.
    pub(super) fn release_if_free(&mut self) {
        if self.lease.is_none() || matches!(self.waiting, PendingStep::Lease(..)) {
            return;
        }
        self.move_over();
        if self.passing == Body::ToLease {
            return;
        }
        if self.session.keeps_idle_lease() && self.worker.upstream.lease_is_waited_for() {
            self.session.forget_large_reply();
        }
        let need = if self.presented.is_some() && !self.session.must_discard_lease() {
            LeaseFate::Keep
        } else {
            self.session.lease_need(self.worker.dedicated)
        };
        if need == LeaseFate::Keep {
            return;
        }
        let Some(lease) = self.take_lease() else { return };
        // An UNBLOCK that is on its way to it must not meet another session.
        if need == LeaseFate::Return && !self.seat.is_aimed_at() {
            lease.give_back();
        }
    }

    /// Lets go of a pinned connection whose identity or password was replaced: at once when nothing of
    /// this session is on it, when the grace is over if nothing but state is. A command that blocks
    /// ends with the grace, and its client is disconnected as by a server that restarts; any other is
    /// answered first, within the time it has. A connection to a server that is no primary goes, too,
    /// but state stays on it.
    fn move_over(&mut self) {
        let Some((lease, _)) = self.lease.as_deref_mut() else { return };
        if lease.outdated_since(self.now).is_none() && !lease.says_not_primary() {
            return;
        }
        if self.passing == Body::ToLease {
            if self.grace_last().is_some_and(|end| self.now >= end) {
                self.end_now(ClientDisconnect::Rotation);
            }
        } else if self.session.has_left_lease() {
            if let Some(mut lease) = self.take_lease() {
                lease.close_for(UpstreamDisconnect::Rotation);
            }
        } else if self.grace_is_over() {
            let late = self.grace_last().is_some_and(|end| self.now >= end);
            if self.session.is_blocked() || (late && self.session.in_flight() > 0) {
                self.end_now(ClientDisconnect::Rotation);
            } else if self.session.state_lost_with_lease() {
                self.end(ClientDisconnect::Rotation);
            } else if self.session.in_flight() == 0 {
                // Nothing was asked; what was watched is lost, and EXEC will say so.
                self.lose_lease(Loss::Abandoned);
            }
        }
    }

    /// The pinned connection is this session's no more.
    fn take_lease(&mut self) -> Option<Lease> {
        let (lease, cause) = *self.lease.take()?;
        self.worker.metrics.pinned(cause, -1);
        self.session.handle_lease_gone();
        Some(lease)
    }

    /// When a pinned connection whose identity or password was replaced must go. Clients leave over
    /// the last quarter of the grace, each at its own time.
    pub(super) fn grace_end(&self) -> Option<Instant> {
        let since = self.lease.as_ref()?.0.outdated()?;
        let grace = self.worker.upstream.pinned_grace();
        let step = grace / 4 / (GRACE_STEPS - 1);
        let steps = u32::try_from(self.id % u64::from(GRACE_STEPS)).unwrap_or_default();
        (!grace.is_zero()).then(|| since + grace - step * steps)
    }

    /// When what was asked before the end of the grace must be answered, too.
    pub(super) fn grace_last(&self) -> Option<Instant> {
        self.grace_end().map(|end| end + self.worker.upstream.command_timeout())
    }

    /// Nothing more is asked on a connection that must go.
    pub(super) fn grace_is_over(&self) -> bool {
        self.grace_end().is_some_and(|end| self.now >= end)
    }

    /// When the oldest request on the pinned connection has waited too long for its reply, or for the
    /// rest of it: after the time for which it blocks, and after the reply before it.
    pub(super) fn lease_deadline(&self) -> Option<Instant> {
        self.lease.as_ref()?;
        let timeout = self.worker.upstream.command_timeout();
        if timeout.is_zero() || self.passing == Body::ToLease || !self.out.is_empty() {
            return None;
        }
        let asked = self.session.pinned_since()?.max(self.uploaded_at).max(self.lease_turn);
        let begun = self.session.reply_has_begun();
        let since = if begun { asked.max(self.lease_heard) } else { asked };
        Some(since + timeout)
    }

    /// When the server is asked for a sign of life, on a connection that only listens and has been silent.
    pub(super) fn probe_deadline(&self) -> Option<Instant> {
        let bounded = !self.worker.upstream.command_timeout().is_zero();
        let asks = self.lease.is_some()
            && bounded
            && matches!(self.waiting, PendingStep::No)
            && self.passing == Body::No
            && self.presented.is_none()
            && self.session.only_listens();
        asks.then(|| self.lease_heard + self.worker.upstream.health_check_interval())
    }

    /// When the rest of a large request has failed to come, or to go on to the server, for too long.
    pub(super) fn upload_deadline(&self) -> Option<Instant> {
        let timeout = self.worker.upstream.command_timeout();
        let passes = self.passing == Body::ToLease && !timeout.is_zero();
        self.upload.deadline(timeout).filter(|_| passes)
    }

    /// When the pinned connection has been kept long enough for replies that do not come.
    pub(super) fn rest_deadline(&self) -> Option<Instant> {
        let rests =
            self.lease.is_some() && !self.worker.dedicated && self.session.keeps_idle_lease();
        (rests && self.out.is_empty()).then(|| self.last_heard + REST)
    }

    pub(super) fn expire_lease(&mut self) {
        if self.probe_deadline().is_some_and(|deadline| self.now >= deadline)
            && let Some((lease, _)) = self.lease.as_deref_mut()
        {
            lease.push(self.session.ask_alive(self.now));
        }
        if self.rest_deadline().is_some_and(|deadline| self.now >= deadline) {
            self.session.forget_large_reply();
        }
        if self.upload_deadline().is_some_and(|deadline| self.now >= deadline) {
            tracing::warn!(
                code = "CLI-E003",
                "large request abandoned: no more of it moved for upstream.pool.command_timeout"
            );
            self.abandon_pinned();
        }
        if self.lease_deadline().is_some_and(|deadline| self.now >= deadline) {
            let silent = self.worker.upstream.is_silent();
            self.lose_lease(if silent { Loss::OutcomeUnknown } else { Loss::TimedOut });
        }
    }
}

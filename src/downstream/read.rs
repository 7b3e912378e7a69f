//! From a client's bytes to requests.
//!
//! Owns: reading and framing. Never knows: what becomes of a request, replies.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Body, Connection, PendingStep};
use crate::base::limits;
use crate::resp::{ProtocolError, RequestLimits, Scan};
use crate::telemetry::ClientDisconnect;

/// Bytes kept for a client whose next request has to wait.
const PENDING_BYTES_MAX: usize = limits::READ_BYTES;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes what can be taken: what is kept, then what the socket has. Returns whether anything
    /// happened.
    pub(super) fn intake(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        // A transaction or HELLO that is answered may have made the client another user.
        self.settle_user();
        progress |= self.seat.is_wanted() && self.serve_want();
        if !self.pending.is_empty() && self.accepts() {
            let kept = std::mem::take(&mut self.pending);
            let used = self.consume(&kept);
            // What it waits for has to be asked once more before the task may sleep.
            progress |= used > 0 || !matches!(self.waiting, PendingStep::No);
            self.keep(kept, used);
        }
        if self.reads() {
            let mut scratch = self.worker.take_scratch();
            // A read that did not fill the buffer has emptied the socket: the second one finds
            // nothing, without a system call, and leaves word to be woken.
            for _ in 0..2 {
                let filled = self.read(cx, &mut scratch);
                progress |= filled.is_some();
                if filled.is_none_or(|filled| filled == scratch.len()) || !self.reads() {
                    break;
                }
            }
            self.worker.return_scratch(scratch);
        }
        progress
    }

    /// Whether the socket is to be asked.
    fn reads(&self) -> bool {
        !self.socket_empty && !self.eof && self.ending.is_none() && self.wants_more()
    }

    /// Reads once and takes in what was there; returns how much, or nothing when that was nothing.
    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Option<usize> {
        let mut buf = ReadBuf::new(scratch);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
        let filled = buf.filled().len();
        match read {
            Poll::Pending => {
                self.socket_empty = true;
                return None;
            }
            Poll::Ready(Ok(())) if filled > 0 => {
                self.heard();
                self.on_bytes(scratch.get(..filled).unwrap_or_default());
            }
            Poll::Ready(Ok(())) => {
                self.eof = true;
                self.mailbox.note_left();
            }
            Poll::Ready(Err(_)) => {
                self.eof = true;
                self.mailbox.note_left();
                self.end_now(ClientDisconnect::Reset);
            }
        }
        Some(filled)
    }

    fn on_bytes(&mut self, bytes: &[u8]) {
        self.refresh_door();
        if self.ending.is_some() || self.deaf {
            return;
        }
        if self.pending.is_empty() && self.accepts() {
            let used = self.consume(bytes);
            if let Some(rest) = bytes.get(used..)
                && !rest.is_empty()
                && self.ending.is_none()
                && !self.deaf
            {
                self.pending.extend_from_slice(rest);
            }
            return;
        }
        self.pending.extend_from_slice(bytes);
        if self.accepts() {
            let kept = std::mem::take(&mut self.pending);
            let used = self.consume(&kept);
            self.keep(kept, used);
        }
    }

    fn keep(&mut self, mut kept: BytesMut, used: usize) {
        if used < kept.len() && self.ending.is_none() && !self.deaf {
            kept.advance(used);
            self.pending = kept;
        }
    }

    /// Whether the next request may be looked at.
    fn accepts(&self) -> bool {
        matches!(self.waiting, PendingStep::No)
            && self.ending.is_none()
            && !self.session.is_cut()
            && self.out.len() + self.session.waiting_bytes() < self.limits.output_soft_bytes
            && (self.passing != Body::ToLease || self.lease_has_room())
            && (self.passing != Body::No || !self.grace_is_over())
            && !self.shared.as_ref().is_some_and(|shared| shared.is_aside())
            && (self.session.in_flight() == 0
                || (self.sent_bytes < self.limits.max_in_flight_bytes
                    && !self.worker.buffers.is_over()))
    }

    /// Whether the socket is read: a request under way may grow, one that waits may not.
    fn wants_more(&self) -> bool {
        if self.accepts() && self.presented.is_none() {
            true
        } else {
            self.pending.len() < PENDING_BYTES_MAX || self.reads_on()
        }
    }

    /// Whether requests that cannot be looked at yet are read all the same. A client that takes
    /// nothing of its replies may be one that first sends all it has to say: not read, it would wait
    /// for ever. What is kept of it then is bounded as unread replies are.
    fn reads_on(&self) -> bool {
        self.outlet.quiet_at().is_some_and(|at| self.now >= at)
            && self.pending.len() + self.out.len() < self.limits.output_hard_bytes
            && self.worker.buffers.has_room()
    }

    /// Consumes requests from the front of `bytes`; returns how many bytes are done with.
    fn consume(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        let mut commands = 0;
        while self.accepts() {
            let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) else { break };
            let before = done;
            let outcome = if self.passing == Body::No {
                self.next(rest, &mut commands)
            } else {
                self.pass(rest)
            };
            match outcome {
                Ok(used) => done += used,
                Err(error) => {
                    self.malformed(&error);
                    break;
                }
            }
            if done == before {
                break;
            }
        }
        self.worker.metrics.received(done, commands);
        self.passed.received += done as u64;
        self.passed.commands += commands;
        done
    }

    /// The frame at the front of `bytes`. 0: it has to wait, or is incomplete.
    pub(super) fn next(
        &mut self,
        bytes: &[u8],
        commands: &mut u64,
    ) -> Result<usize, ProtocolError> {
        if let Some((used, head)) = self.presented {
            return Ok(self.present(bytes, used, head, commands));
        }
        let limits = self.request_limits();
        match self.scanner.scan(bytes, &limits)? {
            Scan::More => Ok(0),
            Scan::Ignored { used } => {
                self.session.handle_nothing();
                Ok(used)
            }
            Scan::Request { used } => Ok(self.present(bytes, used, false, commands)),
            Scan::Head { used } => Ok(self.present(bytes, used, true, commands)),
            Scan::Oversize { used, .. } if self.session.is_streaming() => {
                self.worker.metrics.malformed("too_large");
                self.end_now(ClientDisconnect::ProtocolError);
                Ok(used)
            }
            Scan::Oversize { used, length } => {
                let (own, limit) = (self.argument_max, self.limits.max_bulk_bytes);
                self.session.handle_oversize(length, own, limit, &mut self.out);
                self.worker.metrics.malformed("too_large");
                self.worker.metrics.command(None, &self.counts.tally);
                self.count_own_answer();
                self.scanner.pass();
                self.passing = Body::Away;
                Ok(used)
            }
        }
    }

    fn request_limits(&self) -> RequestLimits {
        RequestLimits {
            max_args: self.limits.max_args,
            max_bulk_bytes: self.limits.max_bulk_bytes.min(self.argument_max.unwrap_or(u64::MAX)),
            max_inline_bytes: self.limits.max_inline_bytes,
            large_bytes: self.limits.large_bytes,
            authenticated: self.session.is_authenticated(),
        }
    }

    /// The rest of a large request.
    fn pass(&mut self, bytes: &[u8]) -> Result<usize, ProtocolError> {
        let limits = self.request_limits();
        let Self { scanner, lease, passing, .. } = self;
        let mut lease = lease.as_mut().filter(|_| *passing == Body::ToLease);
        let body = scanner.body(bytes, &limits, |piece| {
            if let Some(lease) = &mut lease {
                lease.0.push(piece);
            }
        })?;
        if body.oversize && self.passing == Body::ToLease {
            self.abandon_pinned();
        }
        if body.done {
            self.session.handle_whole(&mut self.out);
            if self.passing == Body::ToLease
                && let Some(lease) = &mut self.lease
            {
                lease.0.push(&self.tail);
            }
            self.tail = Box::default();
            self.argument_max = None;
            self.passing = Body::No;
            self.upload.end();
            self.uploaded_at = self.now;
            self.scanner.reset();
        }
        Ok(body.used)
    }

    /// The client's last request is no request.
    pub(super) fn malformed(&mut self, error: &ProtocolError) {
        self.worker.metrics.malformed(error.label());
        if error.is_cross_protocol() {
            tracing::warn!(
                code = "CLI-E005",
                client = self.id,
                "client disconnected: it sent the command POST or Host:, as a browser does in a cross-protocol attack"
            );
            // Redis drops what is not written yet, too.
            self.out.clear();
            return self.end_now(ClientDisconnect::ProtocolError);
        }
        if self.session.is_streaming() {
            return self.end_now(ClientDisconnect::ProtocolError);
        }
        let sent = match self.passing {
            Body::ToLease => 1 + usize::from(!self.tail.is_empty()),
            Body::Away | Body::No => 0,
        };
        self.session.handle_withdrawal(sent);
        if self.out.is_empty() && self.session.is_mute() {
            return self.ignore_client();
        }
        self.session.handle_protocol_error(&error.message(), &mut self.out);
        self.end(ClientDisconnect::ProtocolError);
    }

    /// Nothing more of this client is read as requests, and the connection stays until it leaves: a
    /// Redis that may not answer does not close either (networking.c, `setProtocolError`).
    fn ignore_client(&mut self) {
        self.deaf = true;
        self.pending = BytesMut::new();
        self.presented = None;
        self.passing = Body::No;
        self.scanner.reset();
    }
}

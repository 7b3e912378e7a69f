//! From a client's bytes to requests, and from a session's steps to connections.
//!
//! Owns: reading, framing, presenting. Never knows: replies, what a command means.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Connection, Passing, Waiting};
use crate::base::limits;
use crate::resp::{ProtocolError, RequestLimits, Scan};
use crate::session::{self, Cause, Route, Step};
use crate::telemetry::ClientDisconnect;
use crate::traffic::{Loss, OpenFailure, PoolKey, Ticket, Unavailable};
use crate::upstream::Shared;

/// Bytes kept for a client whose next request has to wait.
const PENDING_BYTES_MAX: usize = limits::READ_BYTES;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes what can be taken: what is kept, then what the socket has. Returns whether anything
    /// happened.
    pub(super) fn intake(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if !self.pending.is_empty() && self.accepts() {
            let kept = std::mem::take(&mut self.pending);
            let used = self.consume(&kept);
            progress |= used > 0;
            self.keep(kept, used);
        }
        if self.socket_empty || self.eof || self.ending.is_some() || !self.wants_more() {
            return progress;
        }
        let mut scratch = self.shell.take_scratch();
        let mut buf = ReadBuf::new(&mut scratch);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
        let filled = buf.filled().len();
        match read {
            Poll::Pending => self.socket_empty = true,
            Poll::Ready(Ok(())) if filled > 0 => {
                self.heard();
                self.take_in(scratch.get(..filled).unwrap_or_default());
                progress = true;
            }
            Poll::Ready(result) => {
                let why =
                    if result.is_ok() { ClientDisconnect::Client } else { ClientDisconnect::Reset };
                self.eof = true;
                if why == ClientDisconnect::Reset {
                    self.end_now(why);
                }
                progress = true;
            }
        }
        self.shell.return_scratch(scratch);
        progress
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.shell.policy.refresh(&mut self.policy);
        if self.pending.is_empty() && self.accepts() {
            let used = self.consume(bytes);
            if let Some(rest) = bytes.get(used..)
                && !rest.is_empty()
                && self.ending.is_none()
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
        if used < kept.len() && self.ending.is_none() {
            kept.advance(used);
            self.pending = kept;
        }
    }

    /// Whether the next request may be looked at.
    fn accepts(&self) -> bool {
        matches!(self.waiting, Waiting::No)
            && self.ending.is_none()
            && self.out.len() < self.limits.output_soft_bytes
            && (self.passing != Passing::ToLease || self.lease_has_room())
            && (self.passing != Passing::No || !self.grace_is_over())
            && !self.shared.as_ref().is_some_and(|shared| shared.is_aside())
            && (self.sent_bytes < self.limits.max_in_flight_bytes || self.session.in_flight() == 0)
    }

    /// Whether the socket is read: a request under way may grow, one that waits may not.
    fn wants_more(&self) -> bool {
        if self.accepts() && self.presented.is_none() {
            true
        } else {
            self.pending.len() < PENDING_BYTES_MAX
        }
    }

    /// Consumes requests from the front of `bytes`; returns how many bytes are done with.
    fn consume(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        let mut commands = 0;
        while self.accepts() {
            let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) else { break };
            let before = done;
            let outcome = if self.passing == Passing::No {
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
        self.shell.meter.received(done, commands);
        done
    }

    /// The frame at the front of `bytes`. 0: it has to wait, or is incomplete.
    fn next(&mut self, bytes: &[u8], commands: &mut u64) -> Result<usize, ProtocolError> {
        if let Some((used, head)) = self.presented {
            return Ok(self.present(bytes, used, head, commands));
        }
        let limits = self.request_limits();
        match self.scanner.scan(bytes, &limits)? {
            Scan::More => Ok(0),
            Scan::Ignored { used } => Ok(used),
            Scan::Request { used } => Ok(self.present(bytes, used, false, commands)),
            Scan::Head { used } => Ok(self.present(bytes, used, true, commands)),
            Scan::Oversize { used, length } => {
                let Self { session, shell, auth, policy, limits, now, lease, out, .. } = self;
                let ctx = session::Context {
                    policy,
                    auth,
                    limits,
                    dedicated: shell.dedicated,
                    valkey: shell.upstream.is_valkey(),
                    has_lease: lease.is_some(),
                    now: *now,
                };
                session.handle_oversize(length, &ctx, out);
                self.shell.meter.malformed("too_large");
                self.scanner.pass();
                self.passing = Passing::Away;
                Ok(used)
            }
        }
    }

    fn request_limits(&self) -> RequestLimits {
        RequestLimits {
            max_args: self.limits.max_args,
            max_bulk_bytes: self.limits.max_bulk_bytes,
            max_inline_bytes: self.limits.max_inline_bytes,
            large_bytes: self.limits.large_bytes,
            authenticated: self.session.is_authenticated(),
        }
    }

    /// Shows a request to the session and does what it says.
    fn present(&mut self, bytes: &[u8], used: usize, head: bool, commands: &mut u64) -> usize {
        let step = {
            let Self { session, shell, auth, policy, limits, now, lease, out, scanner, .. } = self;
            if out.capacity() == 0 {
                *out = shell.buffers.get();
            }
            let ctx = session::Context {
                policy,
                auth,
                limits,
                dedicated: shell.dedicated,
                valkey: shell.upstream.is_valkey(),
                has_lease: lease.is_some(),
                now: *now,
            };
            let request = scanner.request(bytes);
            session.handle_request(&request, &ctx, &mut shell.judge.borrow_mut(), out)
        };
        match step {
            Step::Wait => {
                self.presented = Some((used, head));
                self.waiting = Waiting::Reply;
                return 0;
            }
            Step::Acquire(cause) => {
                self.presented = Some((used, head));
                self.acquire(cause);
                return 0;
            }
            Step::Collect => {
                self.presented = None;
                self.scanner.collect();
                // The scanner goes on behind the head; nothing is consumed.
                return self.collect_on(bytes, commands);
            }
            Step::Done => {}
            Step::Open(key) => self.open(key),
            Step::Close => self.end(ClientDisconnect::Client),
            Step::Send { route, ticket, retry } => {
                let shared =
                    if let Route::Shared(key) = route { Some(self.shared(key)) } else { None };
                let wire = self.scanner.request(bytes).raw();
                self.sent_bytes += wire.len();
                if let Some(shared) = shared {
                    let sent = shared.send(&self.mailbox, ticket, wire, 0, retry, self.now);
                    self.check_sent(ticket, sent);
                } else if let Some(lease) = &mut self.lease {
                    lease.0.push(wire);
                }
                if head && self.lease.is_some() {
                    self.passing = Passing::ToLease;
                }
            }
            Step::SendWire { route, ticket, skip } => self.send_wire(route, ticket, skip),
        }
        self.presented = None;
        if self.lease.is_some() && self.session.drops_lease(self.shell.dedicated) {
            self.settle_lease();
        }
        *commands += 1;
        self.count_presented();
        if head {
            self.scanner.pass();
            if self.passing == Passing::No {
                self.passing = Passing::Away;
            }
        } else {
            self.scanner.reset();
        }
        used
    }

    fn count_presented(&mut self) {
        let meter = &self.shell.meter;
        meter.command(self.session.take_command());
        if let Some(ok) = self.session.take_auth() {
            meter.authenticated(ok);
        }
        if let Some(refusal) = self.session.take_refused() {
            meter.refused(&refusal);
        }
    }

    fn collect_on(&mut self, bytes: &[u8], commands: &mut u64) -> usize {
        match self.next(bytes, commands) {
            Ok(used) => used,
            Err(error) => {
                self.malformed(&error);
                0
            }
        }
    }

    fn send_wire(&mut self, route: Route, ticket: Ticket, skip: u32) {
        let wire = self.session.take_wire();
        self.sent_bytes += wire.len();
        match route {
            Route::Pinned => {
                if let Some(lease) = &mut self.lease {
                    lease.0.push(&wire);
                }
            }
            Route::Shared(key) => {
                let shared = self.shared(key);
                let sent = shared.send(&self.mailbox, ticket, &wire, skip, false, self.now);
                self.check_sent(ticket, sent);
            }
        }
    }

    fn check_sent(&mut self, ticket: Ticket, sent: Result<(), Unavailable>) {
        if let Err(why) = sent {
            self.session.handle_loss(ticket, Loss::Unavailable(why), &mut self.out);
            self.shell.meter.lost(false);
        }
    }

    fn shared(&mut self, key: PoolKey) -> Rc<Shared> {
        match &self.shared {
            Some(shared) if shared.key() == key => Rc::clone(shared),
            _ => {
                let shared = self.shell.upstream.shared(key);
                self.shared = Some(Rc::clone(&shared));
                shared
            }
        }
    }

    fn acquire(&mut self, cause: Cause) {
        let (upstream, key) = (Rc::clone(&self.shell.upstream), self.session.key());
        self.waiting = Waiting::Lease(cause, Box::pin(async move { upstream.lease(key).await }));
    }

    fn open(&mut self, key: PoolKey) {
        let shared = self.shell.upstream.known(key);
        match shared.and_then(|shared| shared.facts()) {
            Some(facts) => self.session.handle_opened(Ok(facts), &mut self.out),
            None => {
                let upstream = Rc::clone(&self.shell.upstream);
                self.waiting = Waiting::Open(Box::pin(async move { upstream.open(key).await }));
            }
        }
    }

    /// What the session waits for besides replies.
    pub(super) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.waiting {
            Waiting::No | Waiting::Reply => false,
            Waiting::Lease(cause, lease) => {
                let cause = *cause;
                let Poll::Ready(lease) = lease.as_mut().poll(cx) else { return false };
                self.waiting = Waiting::No;
                match lease {
                    Ok(lease) => {
                        self.shell.meter.pinned(cause, 1);
                        self.lease = Some(Box::new((lease, cause)));
                    }
                    Err(failure) => self.refuse_presented(&failure),
                }
                true
            }
            Waiting::Open(open) => {
                let Poll::Ready(opened) = open.as_mut().poll(cx) else { return false };
                self.waiting = Waiting::No;
                self.session.handle_opened(opened, &mut self.out);
                true
            }
        }
    }

    /// The presented request needs a connection that cannot be had.
    fn refuse_presented(&mut self, failure: &OpenFailure) {
        let loss = match failure {
            OpenFailure::Loss(loss) => *loss,
            OpenFailure::Refused(_) => Loss::Unavailable(Unavailable::Protocol),
        };
        let Some((used, head)) = self.presented.take() else { return };
        self.session.handle_unavailable(loss, &mut self.out);
        self.shell.meter.lost(false);
        self.pending.advance(used.min(self.pending.len()));
        if head {
            self.scanner.pass();
            self.passing = Passing::Away;
        } else {
            self.scanner.reset();
        }
    }

    /// The rest of a large request.
    fn pass(&mut self, bytes: &[u8]) -> Result<usize, ProtocolError> {
        let body = self.scanner.body(bytes, &self.request_limits())?;
        if self.passing == Passing::ToLease {
            if body.oversize {
                self.abandon_pinned();
            } else if let Some(lease) = &mut self.lease {
                lease.0.push(bytes.get(..body.used).unwrap_or_default());
            }
        }
        if body.done {
            self.passing = Passing::No;
            self.scanner.reset();
        }
        Ok(body.used)
    }

    /// The client's last request is no request.
    fn malformed(&mut self, error: &ProtocolError) {
        self.shell.meter.malformed(error.label());
        if self.passing == Passing::ToLease {
            self.abandon_pinned();
        }
        if error.is_cross_protocol() {
            return self.end_now(ClientDisconnect::ProtocolError);
        }
        let message = error.message();
        self.session.handle_protocol_error(&format!("ERR {message}"), &mut self.out);
        self.end(ClientDisconnect::ProtocolError);
    }
}

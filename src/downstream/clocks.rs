//! How long a client connection may rest in each of its states.
//!
//! Owns: the deadlines and what follows when one has passed. Never knows: what a request asks, sockets.
//!
//! | A client that | has until |
//! |---|---|
//! | has not logged in | `limits.login_timeout` |
//! | is idle | `limits.idle_timeout` |
//! | has sent a part of a request, or leaves replies unread | `limits.transfer_timeout` |
//! | leaves replies unread that hold up more than itself | `limits.output_soft_time` |
//! | waits for a reply on its pinned connection | `upstream.pool.command_timeout` |
//! | waits for a reply on a shared connection | the same, kept by that connection |
//! | hears nothing while it is subscribed | `upstream.pool.health_check_interval`, and the server's answer to a PING |
//! | sends a large request | `upstream.pool.command_timeout` |
//! | waits for a pinned connection | `upstream.pool.acquire_timeout` |
//! | waits for its turn under a limit | `policy.limit.max_delay` |
//! | keeps a pinned connection of an older identity | `upstream.pool.pinned_grace` |
//! | is to be closed | five seconds |
//!
//! A blocked client waits as long as the server lets it, a subscribed one as long as the server answers.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Body, Connection, PendingStep};
use crate::telemetry::ClientDisconnect;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn login_deadline(&self) -> Option<Instant> {
        let limit = self.limits.login_timeout;
        let waits = !limit.is_zero() && !self.session.is_authenticated();
        waits.then(|| self.since + limit)
    }

    /// When no more of a request has come, or no reply was read, for too long.
    fn transfer_deadline(&self) -> Option<Instant> {
        let limit = self.limits.transfer_timeout;
        if limit.is_zero() {
            return None;
        }
        let sends = !self.scanner.is_idle() || self.passing == Body::Away;
        let awaited = matches!(self.waiting, PendingStep::No) && self.presented.is_none();
        let request = (sends && awaited && self.session.in_flight() == 0)
            .then(|| self.last_heard + limit)
            .filter(|_| self.passing != Body::ToLease);
        request.into_iter().chain(self.outlet.deadline(limit)).min()
    }

    fn idle_deadline(&self) -> Option<Instant> {
        let idle = self.limits.idle_timeout;
        let idles = self.session.is_idle() && self.presented.is_none();
        (!idle.is_zero() && idles).then(|| self.last_heard + idle)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_simple()
            && !self.outlet.is_measured()
            && self.ending.is_none()
            && self.scanner.is_idle()
            && self.passing == Body::No
            && self.session.is_authenticated()
        {
            return self.idle_deadline();
        }
        let ending = self.ending.map(|(_, until)| until);
        let later = |moment: &Instant| *moment > self.now;
        let grace = self.grace_end().filter(later);
        let last = self.grace_last().filter(later);
        let rest = self.pacer.rests_until().filter(later);
        let quiet = self.outlet.quiet_at().filter(later);
        let lease = [self.lease_deadline(), self.upload_deadline(), self.rest_deadline(), grace];
        let lease = lease.into_iter().chain([self.probe_deadline()]);
        let rest = [last, rest, quiet, self.outlet_deadline()];
        let pause = match self.waiting {
            PendingStep::Pause(until) | PendingStep::Room(until) => Some(until),
            PendingStep::No
            | PendingStep::Reply
            | PendingStep::Lease(..)
            | PendingStep::Open(_) => None,
        };
        let own = [self.idle_deadline(), self.login_deadline(), self.transfer_deadline()];
        let own = own.into_iter().chain([ending, pause]);
        own.chain(lease).chain(rest).flatten().min()
    }

    /// When the client has left its replies unread for too long, while that holds up more than
    /// itself: buffers, a connection to the server, or its own requests, which nothing else would end.
    fn outlet_deadline(&self) -> Option<Instant> {
        let holds_lease = self.lease.is_some()
            && !self.worker.dedicated
            && !self.session.state_lost_with_lease()
            && self.session.in_flight() > 0;
        let holds = holds_lease
            || self.out.len() > self.limits.output_soft_bytes
            || !self.pending.is_empty()
            || self.mailbox.holds_up()
            || self.shared.as_ref().is_some_and(|shared| shared.is_aside());
        self.outlet.deadline(self.limits.output_soft_time).filter(|_| holds)
    }

    /// A deadline has passed; whose, and what follows.
    pub(super) fn expire(&mut self) -> Option<ClientDisconnect> {
        let now = self.now;
        if let Some((why, until)) = self.ending
            && now >= until
        {
            return Some(why);
        }
        if self.outlet_deadline().is_some_and(|deadline| now >= deadline) {
            return Some(ClientDisconnect::OutputLimit);
        }
        if self.idle_deadline().is_some_and(|deadline| now >= deadline) {
            return Some(ClientDisconnect::Idle);
        }
        if self.login_deadline().is_some_and(|deadline| now >= deadline) {
            return Some(ClientDisconnect::LoginTimeout);
        }
        if self.transfer_deadline().is_some_and(|deadline| now >= deadline) {
            return Some(ClientDisconnect::Stalled);
        }
        self.expire_lease();
        None
    }
}

//! When the events of one client connection are counted.
//!
//! Owns: that each command, reply and loss is counted once, whichever connection carried it. Never
//! knows: metrics, decisions.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::auditor::Who;
use super::connection::Connection;
use super::worker::Worker;
use crate::base::clock;
use crate::session::{Class, Completed, Held, Login};
use crate::telemetry::{Slow, Times, UpstreamDisconnect};
use crate::traffic::{Loss, Ticket};
use crate::upstream::Lease;

/// How long a command counts whose client is gone, where nothing limits its time.
const WORK_MAX: Duration = Duration::from_secs(300);

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A request was presented and is dealt with: answered, refused or sent.
    pub(super) fn count_presented(&mut self) {
        let (worker, request_scratch) = (&self.worker, self.worker.request_scratch.borrow());
        let (metrics, own_error) = (&worker.metrics, self.session.take_own_error());
        metrics.command(self.session.take_command(), &self.counts.tally);
        if let Some(refusal) = request_scratch.refused() {
            metrics.refused(refusal, &self.counts.tally);
        } else if request_scratch.probed() {
            metrics.answered(true);
        } else if let Some(error) = own_error {
            metrics.answered(error);
        }
        if let Some(refusal) = request_scratch.observed() {
            metrics.observed(refusal);
        }
    }

    /// The client may have tried to log in.
    #[inline]
    pub(super) fn count_login(&mut self) {
        if let Some(login) = self.session.take_login() {
            self.note_login(login);
        }
    }

    fn note_login(&mut self, login: Login) {
        let (worker, ok) = (&self.worker, login == Login::Right);
        worker.metrics.authenticated(ok);
        let who = Who { seat: &self.seat, listener: &self.access.listener };
        if let Some(auditor) = &worker.auditor {
            auditor.authenticated(&who, ok);
        }
        if let Login::Wrong(user) = login {
            let mut refusals = worker.refusals.borrow_mut();
            refusals.log_login(self.now, who.listener, who.seat.peer(), user.as_ref());
        }
    }

    /// An answer of the proxy's own came later than its request was presented.
    pub(super) fn count_own_answer(&mut self) {
        if let Some(error) = self.session.take_own_error() {
            self.worker.metrics.answered(error);
        }
    }

    /// The request that was presented could not be sent, and was answered with an error.
    pub(super) fn count_unavailable(&mut self) {
        self.session.take_own_error();
        self.worker.metrics.command(self.session.take_command(), &self.counts.tally);
        self.worker.metrics.lost(Loss::OutcomeUnknown, 1);
    }

    /// A request is on its way to the server.
    pub(super) fn note_sent(&mut self, ticket: Ticket, bytes: &[u8]) {
        if let Some(spec) = self.session.command() {
            let request = self.scanner.request(bytes);
            self.counts.notes.send(ticket, spec, &request, self.now);
        }
    }

    /// Writes down the commands that were found to be slow.
    pub(super) fn report_slow(&mut self) {
        if !self.counts.notes.has_late() {
            return;
        }
        for late in self.counts.notes.take_late() {
            let times = Times::split(late.total, late.waiting, late.upstream);
            self.worker.insight.note_slow(Slow {
                id: 0,
                at: clock::unix_ms(),
                command: late.spec.name,
                key: late.key,
                policy: self.policy.section().into(),
                listener: self.access.listener.clone(),
                user: self.session.user_name().into(),
                client: self.id,
                database: self.session.key().database,
                times,
                error: late.error,
            });
        }
    }

    /// A request is answered by the pinned connection.
    pub(super) fn count_pinned(&mut self, done: Completed) {
        self.lease_turn = self.now;
        self.worker.completed(done, self.now);
        if !self.counts.notes.is_empty() {
            // A large request was on its way only when the client had sent all of it.
            let sent = done.at.max(self.uploaded_at);
            let Self { counts, worker, policy, now, .. } = self;
            let parts = || {
                let waited = sent.saturating_duration_since(done.at);
                (waited, now.saturating_duration_since(sent))
            };
            counts.notes.end(&worker.insight, policy, &done, *now, parts);
            self.report_slow();
        }
        if done.class != Class::Blocking
            && !done.own
            && let Some((lease, _)) = self.lease.as_deref()
        {
            lease.note_answered(self.now.saturating_duration_since(done.at));
        }
    }

    /// Brings the number of unanswered commands up to date, once a turn.
    pub(super) fn count_in_flight(&mut self) {
        let now = self.session.in_flight() + usize::from(self.presented.is_some());
        let before = std::mem::replace(&mut self.passed.in_flight, now);
        if before != now {
            self.worker.metrics.in_flight(before, now);
        }
    }
}

/// The connection ends, by a panic of its task, too: its pinned connection closes, and what it waited for
/// is not answered.
impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        let (held, asks_lease) = (self.session.take_held(), self.session.asks_lease());
        self.mailbox.close();
        let mut lease = self.lease.take().map(|lease| *lease);
        if let Some((lease, cause)) = &mut lease {
            lease.close_for(UpstreamDisconnect::ClientLeft);
            self.worker.metrics.pinned(*cause, -1);
        }
        match lease {
            Some((lease, _)) if asks_lease && !held.is_empty() => {
                outlive(&self.worker, lease, held)
            }
            _ => held.into_iter().for_each(|(ticket, held)| {
                self.mailbox.keep(ticket, Box::new(held));
            }),
        }
        self.worker.metrics.canceled(self.session.in_flight());
        self.worker.metrics.in_flight(self.passed.in_flight, 0);
        self.worker.buffers.adjust(self.accounted, 0);
    }
}

/// What the server may be at work on still holds its places in the limits: until the server has ended the
/// connection, which it does behind the last command, or the time of a command has passed.
fn outlive(worker: &Worker, lease: Lease, held: Vec<(Ticket, Held)>) {
    let timeout = worker.upstream.command_timeout();
    let timeout = if timeout.is_zero() { WORK_MAX } else { timeout };
    tokio::task::spawn_local(async move {
        let _ = tokio::time::timeout(timeout, lease.run_out()).await;
        drop(held);
    });
}

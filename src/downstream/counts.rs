//! When the events of one client connection are counted.
//!
//! Owns: that each command, reply and loss is counted once, whichever connection carried it. Never
//! knows: metrics, decisions.

use tokio::io::{AsyncRead, AsyncWrite};

use super::auditor::Who;
use super::connection::Connection;
use super::insight::End;
use crate::base::clock;
use crate::session::{Class, Completed};
use crate::telemetry::{Slow, Times, UpstreamDisconnect};
use crate::traffic::{Loss, Ticket};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A request was presented and is dealt with: answered, refused or sent.
    pub(super) fn count_presented(&mut self) {
        let (shell, desk) = (&self.shell, self.shell.desk.borrow());
        let (meter, own_error) = (&shell.meter, self.session.take_own_error());
        meter.command(self.session.take_command(), &self.counts.tally);
        if let Some(ok) = self.session.take_auth() {
            meter.authenticated(ok);
            if let Some(auditor) = &shell.auditor {
                let who = Who { seat: &self.seat, listener: &self.door.listener };
                auditor.authenticated(&who, ok);
            }
        }
        if let Some(refusal) = desk.refused() {
            meter.refused(refusal, &self.counts.tally);
        } else if desk.probed() {
            meter.answered(true);
        } else if let Some(error) = own_error {
            meter.answered(error);
        }
        if let Some(refusal) = desk.observed() {
            meter.observed(refusal);
        }
    }

    /// An answer of the proxy's own came later than its request was presented.
    pub(super) fn count_own_answer(&mut self) {
        if let Some(error) = self.session.take_own_error() {
            self.shell.meter.answered(error);
        }
    }

    /// The request that was presented could not be sent, and was answered with an error.
    pub(super) fn count_unavailable(&mut self) {
        self.session.take_own_error();
        self.shell.meter.command(self.session.take_command(), &self.counts.tally);
        self.shell.meter.lost(Loss::OutcomeUnknown, 1);
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
        for late in self.counts.notes.take_late() {
            let times = Times::split(late.total, late.waiting, late.upstream);
            self.shell.insight.note_slow(Slow {
                id: 0,
                at: clock::unix_ms(),
                command: late.spec.name,
                key: late.key,
                policy: self.policy.section().into(),
                listener: self.door.listener.clone(),
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
        self.shell.completed(done, self.now);
        if !self.counts.notes.is_empty() {
            // A large request was on its way only when the client had sent all of it.
            let sent = done.at.max(self.uploaded_at);
            let waited = sent.saturating_duration_since(done.at);
            let end = End::of(&done, self.now, waited, self.now.saturating_duration_since(sent));
            self.counts.notes.end(&self.shell.insight, &self.policy, end);
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
            self.shell.meter.in_flight(before, now);
        }
    }
}

/// The connection ends, by a panic of its task, too: its pinned connection closes, and what it waited for
/// is not answered.
impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.mailbox.close();
        if let Some(mut lease) = self.lease.take() {
            lease.0.close_for(UpstreamDisconnect::ClientLeft);
            self.shell.meter.pinned(lease.1, -1);
        }
        self.shell.meter.canceled(self.session.in_flight());
        self.shell.meter.in_flight(self.passed.in_flight, 0);
        self.shell.buffers.adjust(self.accounted, 0);
    }
}

//! When the events of one client connection are counted.
//!
//! Owns: that each command, reply and loss is counted once, whichever connection carried it. Never
//! knows: metrics, decisions.

use std::time::Instant;

use super::conversation::Conversation;
use super::links::Links;
use super::notes::Notes;
use super::worker::Worker;
use crate::base::clock;
use crate::base::limits;
use crate::command::Spec;
use crate::session::{Cause, Class, Completed, Denial, HeldSlot, Judged, Login, Session};
use crate::telemetry::{Slow, Times, UpstreamDisconnect};
use crate::traffic::{Loss, Ticket};
use crate::upstream::Lease;

/// Replies that are taken at once. They were asked for in this order: when the first is not slow, none is, so that none
/// is looked at.
pub(super) struct Look {
    first: bool,
    each: bool,
    /// The last one, and how many alike were taken with it: those are counted together.
    last: Option<Completed>,
    alike: u64,
}

impl Links {
    /// A request was presented and is dealt with: answered, refused or sent.
    #[inline(always)]
    pub(super) fn count_presented(&self, judged: &Judged) {
        let metrics = &self.worker.metrics;
        metrics.command(judged.command, &self.counts.tally);
        match (judged.denial(), judged.answered) {
            (Some(Denial::Refused(refusal)), _) => metrics.refused(refusal, &self.counts.tally),
            (Some(Denial::Probe), _) => metrics.answered(true),
            (Some(Denial::Observed(refusal)), answered) => {
                metrics.observed(refusal);
                if let Some(error) = answered {
                    metrics.answered(error);
                }
            }
            (None, Some(error)) => metrics.answered(error),
            (None, None) => {}
        }
    }

    pub(super) fn count_login(&self, login: Login, now: Instant) {
        let (worker, ok) = (&self.worker, login == Login::Right);
        worker.metrics.authenticated(ok);
        if let Some(auditor) = &worker.auditor {
            auditor.authenticated(&self.entry, ok);
        }
        let user = match &login {
            Login::Right => return,
            Login::Wrong(user) => user.as_ref(),
            Login::WrongAtServer => {
                // It is answered already; those that come next wait.
                let _ = self.limiters.note_wrong_login(now);
                None
            }
        };
        let mut refusals = worker.refusals.borrow_mut();
        refusals.log_login(now, self.entry.peer(), user);
    }

    /// Counts misses and errors that were answered because the server cannot be reached.
    pub(super) fn count_degraded(&self, session: &mut Session, (missed, failed): (u32, u32)) {
        self.worker.metrics.degraded(missed, failed);
        let since = self.worker.upstream.out_since();
        if session.note_outage(since)
            && let Some(auditor) = &self.worker.auditor
        {
            auditor.degraded(&self.entry);
        }
    }

    /// The request that was presented could not be sent, and was answered with an error.
    pub(super) fn count_unavailable(&self, command: Option<&'static Spec>) {
        self.worker.metrics.command(command, &self.counts.tally);
        self.worker.metrics.lost(Loss::OutcomeUnknown, 1);
    }

    /// How the replies are looked at that are taken at once.
    #[inline]
    pub(super) fn look(&self) -> Look {
        let first = self.worker.insight.follows();
        let each = first && (self.mailbox.has_remarks() || !self.counts.is_empty());
        Look { first, each, last: None, alike: 0 }
    }

    /// Counts the replies that were taken last.
    #[inline(always)]
    pub(super) fn count_look(&self, look: &Look, now: Instant) {
        if let Some(last) = look.last {
            self.worker.completed(last, look.alike, now);
        }
    }

    /// A shared connection has answered a request.
    #[inline(always)]
    pub(super) fn count_completed(&mut self, done: Completed, look: &mut Look, now: Instant) {
        if look.last.is_some_and(|last| last.counts_as(&done)) {
            look.alike += 1;
        } else {
            self.count_look(look, now);
            (look.last, look.alike) = (Some(done), 1);
        }
        if std::mem::take(&mut look.first) {
            look.each |= self.worker.insight.takes(now.saturating_duration_since(done.at));
        }
        if look.each {
            let Self { counts, worker, policy, mailbox, .. } = self;
            counts.notes.end(&worker.insight, policy, &done, now, mailbox);
        }
    }

    /// A request on a shared connection will get no reply.
    pub(super) fn count_lost(&mut self, lost: Option<Completed>, loss: Loss, now: Instant) {
        let Self { counts, worker, policy, mailbox, .. } = self;
        let Some(done) = lost else { return };
        if worker.insight.follows() {
            counts.notes.end(&worker.insight, policy, &done, now, mailbox);
        }
        if loss == Loss::MultiRefused {
            worker.completed(done, 1, now);
        } else {
            worker.metrics.lost(loss, 1);
        }
    }

    /// Requests on the pinned connection will get no reply; the client had sent all of them at `sent`.
    pub(super) fn count_lost_pinned(
        &mut self,
        session: &Session,
        lost: &[(Completed, Loss)],
        sent: Instant,
        now: Instant,
    ) {
        let Self { counts, worker, policy, .. } = self;
        for (done, loss) in lost {
            worker.metrics.lost(*loss, 1);
            counts.notes.end_pinned(&worker.insight, policy, done, now, done.at.max(sent));
        }
        self.report_slow(session);
    }

    /// Whether [`Self::note_delivered`] would change nothing while nothing is delivered.
    #[inline(always)]
    pub(super) fn is_up_to_date(&self) -> bool {
        self.counts.is_empty() && !self.shared.as_ref().is_some_and(|shared| shared.is_aside())
    }

    /// Everything that a shared connection has delivered was counted.
    #[inline(always)]
    pub(super) fn note_delivered(&mut self, conversation: &Conversation) {
        self.report_slow(conversation.session());
        if conversation.session().in_flight() == 0 {
            self.counts.notes.allocated_mut().into_iter().for_each(Notes::clear);
            if self.mailbox.has_remarks() {
                self.mailbox.forget_remarks();
            }
            self.shared.take_if(|shared| shared.is_aside());
        }
    }

    /// Writes down the commands that were found to be slow.
    #[inline(always)]
    fn report_slow(&mut self, session: &Session) {
        if self.counts.notes.allocated().is_some_and(Notes::has_late) {
            self.report_late(session);
        }
    }

    #[cold]
    fn report_late(&mut self, session: &Session) {
        for late in self.counts.notes.take_late() {
            let times = Times::split(late.total, late.waiting, late.upstream);
            self.worker.insight.note_slow(Slow {
                id: 0,
                at: clock::unix_ms(),
                command: late.command.name,
                key: late.key,
                policy: self.policy.section().into(),
                listener: (&*self.entry.peer().listener).into(),
                user: session.user_name().into(),
                client: self.entry.id,
                database: session.key().database,
                times,
                error: late.error,
            });
        }
    }

    /// A request is answered by the pinned connection; the client had sent all of it at `sent`.
    pub(super) fn count_pinned(
        &mut self,
        session: &Session,
        done: Completed,
        sent: Instant,
        now: Instant,
    ) {
        self.worker.completed(done, 1, now);
        if !self.counts.is_empty() {
            let Self { counts, worker, policy, .. } = self;
            counts.notes.end_pinned(&worker.insight, policy, &done, now, sent);
            self.report_slow(session);
        }
        if done.class != Class::Blocking
            && !done.own
            && let Some((lease, _)) = self.lease.as_deref()
        {
            lease.note_answered(now.saturating_duration_since(done.at));
        }
    }

    /// The client has taken so many bytes.
    pub(super) fn count_written(&mut self, bytes: usize) {
        self.worker.metrics.transmitted(bytes);
        self.entry.note_sent(bytes);
    }

    /// Brings the number of unanswered commands up to date, once a turn.
    pub(super) fn count_in_flight(&mut self, now: usize) {
        let before = std::mem::replace(&mut self.in_flight, now);
        if before != now {
            self.worker.metrics.in_flight(before, now);
        }
    }

    /// The pinned connection, which is no longer the client's.
    pub(super) fn part_from_lease(&mut self) -> Option<(Lease, Cause)> {
        self.entry.note_link(0);
        self.lease.take().map(|lease| *lease)
    }

    /// The connection ends, by a panic of its task, too: its pinned connection closes, and what it waited
    /// for is not answered.
    pub(super) fn close(&mut self, session: &mut Session) {
        let (held, has_pinned_requests) = (session.take_held(), session.has_pinned_requests());
        self.mailbox.close();
        let mut lease = self.part_from_lease();
        if let Some((lease, cause)) = &mut lease {
            lease.close_for(UpstreamDisconnect::ClientLeft);
            lease.take_losses(Loss::Abandoned);
            lease.take_outstanding().iter().for_each(|it| self.worker.upstream.complete(it));
            self.worker.metrics.pinned(*cause, -1);
        }
        match lease {
            Some((lease, _)) if has_pinned_requests && !held.is_empty() => {
                outlive(&self.worker, lease, held)
            }
            _ => held.into_iter().for_each(|(ticket, held)| {
                self.mailbox.keep(ticket, Box::new(held));
            }),
        }
        self.worker.metrics.canceled(session.in_flight());
        self.worker.metrics.in_flight(self.in_flight, 0);
    }
}

/// What the server may be at work on still holds its places in the limits: until the server has ended the
/// connection, which it does behind the last command, or the time of a command has passed.
fn outlive(worker: &Worker, lease: Lease, held: Vec<(Ticket, HeldSlot)>) {
    let timeout = worker.upstream.command_timeout();
    let timeout = if timeout.is_zero() { limits::ABANDONED_WORK_TIMEOUT } else { timeout };
    tokio::task::spawn_local(async move {
        let _ = tokio::time::timeout(timeout, lease.run_out()).await;
        drop(held);
    });
}

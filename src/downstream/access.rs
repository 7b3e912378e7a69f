//! Which policy is in force for a client: its user's, under the listener's current access rules.
//!
//! Owns: when it is looked up again. Never knows: users, what a policy says.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Body, Connection, PendingStep};
use crate::command::{self, Effect, Spec};
use crate::policy::Policy;
use crate::session::Marks;
use crate::telemetry::ClientDisconnect;
use crate::traffic::{Facts, OpenFailure};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes up what a reload has put in force. Redis cuts off the clients of a deleted user (acl.c
    /// `ACLFreeUserAndKillClients`), and of a changed one those that may no longer hear what they are
    /// subscribed to (`ACLKillPubsubClientsIfNeeded`). Here that is whoever is subscribed to anything,
    /// as soon as anything may no longer be heard.
    pub(super) fn refresh_door(&mut self) {
        if !self.live_access.refresh(&mut self.access) {
            return;
        }
        let old = Arc::clone(&self.policy);
        self.settle_policy();
        if self.session.is_streaming() && !Arc::ptr_eq(&old, &self.policy) {
            // What is streamed is not asked for any more, so it is not judged again.
            return self.end_now(ClientDisconnect::Auth);
        }
        if self.session.subscribes()
            && !Arc::ptr_eq(&old, &self.policy)
            && !self.policy.keeps_subscriptions_of(&old)
        {
            self.end_now(ClientDisconnect::Auth);
        }
    }

    /// As [`Self::refresh_door`], for a client that says nothing.
    pub(super) fn notice_doors(&mut self) {
        let changes = self.worker.access_changes();
        if std::mem::replace(&mut self.access_seen, changes) != changes {
            self.refresh_door();
        }
        if self.seat.take_newly_blocked() {
            self.notice_block();
        }
    }

    /// An operator has denied more to this client: what it has queued is judged by other rules now, and
    /// what was asked once and goes on ends with the connection.
    fn notice_block(&mut self) {
        self.session.handle_new_policy();
        let denied = |spec: &'static Spec| self.seat.block_of(spec).is_some();
        let any = |effect| command::all().iter().filter(|spec| spec.effect == effect).any(denied);
        let monitors = self.seat.figures().marks.has(Marks::MONITOR);
        let goes_on = (self.session.subscribes() && any(Effect::Subscribe))
            || (monitors && any(Effect::Monitor))
            || (self.session.is_streaming() && any(Effect::Replicate { streams: true }))
            || (self.session.is_blocked() && self.session.shown_command().is_some_and(denied));
        if goes_on {
            self.end_now(ClientDisconnect::Blocked);
        }
    }

    /// The request just presented may have made the client another user.
    pub(super) fn settle_user(&mut self) {
        if self.session.take_user_is_new() {
            self.count_login();
            self.settle_policy();
        }
    }

    /// What the session waited for is decided.
    pub(super) fn opened(&mut self, opened: Result<Facts, OpenFailure>) {
        self.session.handle_opened(opened, &mut self.out);
        self.count_own_answer();
        self.settle_user();
    }

    /// Whoever waits for one of the old policy's limits is judged by the new one.
    fn take_policy(&mut self, policy: Arc<Policy>) {
        // What it has used of its own limits is kept for when it comes back to that policy.
        self.limiters = self.limiter_registry.limiters(&policy, self.seat.peer(), self.now);
        self.seat.note_policy(&policy);
        self.worker.guard_scripts_of(&policy);
        self.counts.tally = self.worker.metrics.tally(&policy);
        self.policy = policy;
        self.session.handle_new_policy();
        self.session.forget_admission();
        if matches!(self.waiting, PendingStep::Pause(_)) {
            self.waiting = PendingStep::No;
        }
    }

    fn settle_policy(&mut self) {
        match self.session.policy(&self.access) {
            Some(policy) if Arc::ptr_eq(&policy, &self.policy) => {}
            Some(policy) => self.take_policy(policy),
            // Who waits for others' writes, or is in the middle of a request, would wait for ever.
            None if self.session.is_blocked() || self.passing == Body::ToLease => {
                self.end_now(ClientDisconnect::Auth);
            }
            None => self.end(ClientDisconnect::Auth),
        }
    }
}

//! One shared connection that is up: when it is probed, given up, replaced or relieved, and what of its
//! line is written.
//!
//! Owns: [`Connection`], [`Action`]. Never knows: sockets, clocks, sessions, how a connection
//! is made.

mod action;
mod relogin;
mod replacement;
mod timing;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ended::Ended;
use super::not_primary::{Question, Sign, Suspicion};
use super::owner::Owner;
use super::pipeline::{Broken, Delivery, Note, Pipeline};
use super::stall::Stall;
use crate::base::limits;
use crate::resp::Protocol;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{Loss, PoolKey, Ticket};
pub use action::Action;
pub use relogin::Freshness;
use relogin::Relogin;
use replacement::Succession;
pub(super) use replacement::{Relief, Successor};
pub use timing::Timing;
pub(super) use timing::jittered;

pub use crate::base::limits::BUSY_TICK;

/// The connection that shows whether the server is reachable is never idle.
pub const HOME: PoolKey = PoolKey { protocol: Protocol::Resp2, database: 0 };

/// What is true of a connection without being its own doing.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// The connection was set aside: another one takes everything new.
    pub aside: bool,
    /// One more connection may be set aside.
    pub room: bool,
    pub freshness: Freshness,
}

/// The clocks and the state of one shared connection, from its login to its end. Its line outlives it
/// and is an argument.
#[derive(Debug)]
pub(super) struct Connection {
    timing: Timing,
    key: PoolKey,
    opened_at: Instant,
    last_read: Instant,
    /// When a session's request was last put in line or answered.
    last_use: Instant,
    /// When the clocks are to be looked at.
    timer_at: Instant,
    /// The timer is due within [`BUSY_TICK`].
    ticking: bool,
    /// A PING of the proxy's own is in line since then.
    probe: Option<Instant>,
    /// The PING was not answered in time: nothing more is written, and requests that cannot be sent again are given up
    /// at their own time.
    silent: bool,
    /// The server has answered a request.
    answered: bool,
    /// The server has answered, or the connection has lived for long enough: the server works.
    proven: bool,
    /// Whether the server is the primary that is wanted.
    suspicion: Suspicion,
    /// The answer to the question about it, as far as it has come.
    answer: Vec<u8>,
    succession: Succession,
    relogin: Relogin,
    /// Why there is to be a successor.
    replaced_for: UpstreamDisconnect,
    /// The successor must be a primary.
    elsewhere: bool,
    /// Whether the head of the line holds up the others, and another connection that is dialed then.
    stall: Stall,
    held: bool,
    relief: bool,
    stalled: bool,
    /// When the server replied that it is busy with a script.
    busy_since: Option<Instant>,
    actions: VecDeque<Action>,
    ended: bool,
}

impl Connection {
    #[must_use]
    pub(super) fn new(timing: Timing, key: PoolKey, now: Instant) -> Self {
        Self {
            timing,
            key,
            opened_at: now,
            last_read: now,
            last_use: now,
            timer_at: now + BUSY_TICK,
            ticking: true,
            probe: None,
            silent: false,
            answered: false,
            proven: false,
            suspicion: Suspicion::new(now),
            answer: Vec::new(),
            succession: Succession::No,
            relogin: Relogin::default(),
            replaced_for: UpstreamDisconnect::Rotation,
            elsewhere: false,
            stall: Stall::default(),
            held: false,
            relief: false,
            stalled: false,
            busy_since: None,
            actions: VecDeque::new(),
            ended: false,
        }
    }

    /// What is to be done next. After [`Action::End`] there is nothing more.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub(super) const fn poll_timeout(&self) -> Instant {
        self.timer_at
    }

    /// Whether that is soon enough for a connection with something in line.
    #[must_use]
    pub(super) const fn is_ticking(&self) -> bool {
        self.ticking
    }

    /// Whether the server has answered a request on it.
    #[must_use]
    pub(super) const fn has_answered(&self) -> bool {
        self.answered
    }

    #[must_use]
    pub(super) const fn is_silent(&self) -> bool {
        self.silent
    }

    /// Whether a successor is at hand.
    #[must_use]
    pub(super) const fn has_successor(&self) -> bool {
        matches!(self.succession, Succession::Ready(_))
    }

    #[must_use]
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// How long nothing has arrived.
    #[must_use]
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_read)
    }

    /// What is to be written next: with a successor at hand, or while the server is silent or holds up
    /// the line, no new request, but the rest of one that the server has in part.
    #[must_use]
    pub(super) fn due<'a, W>(&self, pipeline: &'a Pipeline<Owner<W>>) -> &'a [u8] {
        if self.silent || self.held || matches!(self.succession, Succession::Ready(_)) {
            pipeline.unfinished()
        } else {
            pipeline.unwritten()
        }
    }

    /// While nothing new is written, requests of clients that have left before are no longer meant: a driver
    /// that timed out sends it again on another connection, and both would be executed. Requests put in line
    /// before this time are [forgotten](Pipeline::forget) then.
    #[must_use]
    pub(super) fn forgets_before(&self, now: Instant) -> Option<Instant> {
        (self.silent || self.held).then(|| now.checked_sub(limits::ABANDONED_REQUEST_AGE)).flatten()
    }

    /// Takes bytes from the server. Each reply, or piece of one, of a session is delivered with the time
    /// that it took once it is complete.
    ///
    /// # Errors
    ///
    /// When the bytes do not fit what was asked; the connection has ended.
    pub(super) fn handle_bytes<W>(
        &mut self,
        pipeline: &mut Pipeline<Owner<W>>,
        bytes: &[u8],
        now: Instant,
        note: Option<Note<'_, Owner<W>>>,
        mut deliver: impl FnMut(&W, &Delivery<'_, Owner<W>>, Duration),
    ) -> Result<(), Broken> {
        debug_assert!(!self.ended, "nothing is read on a connection that has ended");
        debug_assert!(!bytes.is_empty(), "the end of a connection is no piece of a reply");
        self.last_read = now;
        let (mut alive, mut answered, mut used) = (false, false, false);
        let mut seen: Option<Sign> = None;
        let mut accepted = None;
        let Self { answer, stall, .. } = self;
        // Requests that were put in line together are often answered together.
        let (mut since, mut took) = (now, Duration::ZERO);
        let result = pipeline.handle_bytes(bytes, note, |delivery| {
            let session = match delivery.owner {
                Owner::Session(session) => session,
                Owner::Probe => return alive |= delivery.done,
                Owner::Relogin if delivery.done => {
                    return accepted = Some(delivery.kind == b'+');
                }
                Owner::Relogin => return,
                Owner::Completion => return seen = seen.or_else(|| delivery.sign()),
                Owner::Role => {
                    let room = limits::PROBE_REPLY_BYTES_MAX.saturating_sub(answer.len());
                    answer.extend_from_slice(delivery.bytes.get(..room).unwrap_or(delivery.bytes));
                    return answered |= delivery.done;
                }
            };
            used = true;
            seen = seen.or_else(|| delivery.sign());
            if delivery.done && (delivery.at != since || took.is_zero()) {
                since = delivery.at;
                took = now.saturating_duration_since(since);
                stall.note_reply(took);
            }
            deliver(session, &delivery, took);
        });
        if used {
            self.last_use = now;
        }
        if alive {
            self.actions.push_back(Action::HealthCheck(true));
        }
        if pipeline.take_refused() {
            self.actions.push_back(Action::NotCompleted);
        }
        accepted.into_iter().for_each(|accepted| self.handle_relogin(accepted));
        self.note_arrival();
        if self.stall.note_arrival(pipeline.reply_bytes(), bytes.len(), now) {
            self.note_flow();
        }
        if result.is_err() {
            self.lose(UpstreamDisconnect::Protocol);
        } else {
            if let Some(sign) = seen {
                self.suspicion.note_sign(sign);
                self.ask(pipeline, now);
            }
            if answered {
                self.take_answer(pipeline, now);
            }
        }
        self.check_invariants(pipeline);
        result
    }

    /// The connection was closed or reset, or cannot be written.
    pub(super) fn handle_closed(&mut self, reason: UpstreamDisconnect) {
        self.lose(reason);
        debug_assert!(self.ended, "a connection that is closed serves");
    }

    /// Something in line was written, or could not be for the moment. Needed only while the timer
    /// [is not near](Self::is_ticking).
    pub(super) fn handle_written(&mut self, now: Instant) {
        if self.timer_at > now + BUSY_TICK * 2 {
            self.timer_at = now + BUSY_TICK;
        }
        self.ticking = true;
        debug_assert!(self.timer_at <= now + BUSY_TICK * 2, "what is in line is not looked after");
    }

    /// The reader of a long reply is slow: what is new goes elsewhere. Returns whether nothing is read until it has
    /// caught up, since it is alone in line, or full; meanwhile the server is not silent.
    pub(super) fn handle_slow_reader(&mut self, alone: bool, is_full: bool, now: Instant) -> bool {
        debug_assert!(!self.ended, "nothing is read on a connection that has ended");
        self.actions.push_back(Action::StepAside);
        let young = || self.stall.reply_is_younger(limits::FULL_READER_AGE, now);
        let waits = alone || (is_full && young());
        debug_assert!(now >= self.last_read, "something was read later");
        self.last_read = if waits { now } else { self.last_read };
        waits
    }

    /// Looks after time: late replies, silence, the head of the line, idleness, age.
    pub(super) fn handle_timeout<W>(
        &mut self,
        pipeline: &mut Pipeline<Owner<W>>,
        around: Around,
        now: Instant,
        report: impl FnMut(&W, Ticket, Loss, &[u8]),
    ) {
        if self.ended {
            return;
        }
        debug_assert!(now >= self.opened_at, "it was made later");
        if self.expire(pipeline, now, report) && self.silent {
            // Delivered later, it would be executed behind what its session has asked since.
            self.actions.push_back(Action::HealthCheck(false));
            self.lose(UpstreamDisconnect::Health);
            return;
        }
        if self.check_silence(pipeline, around, now) {
            self.check_age(around, now);
        }
        if self.is_overdue(now) {
            self.lose(UpstreamDisconnect::Rotation);
        }
        if now >= self.opened_at + limits::CONNECTION_PROOF {
            self.note_proven();
        }
        self.ticking = !pipeline.is_empty()
            || !matches!(self.succession, Succession::No)
            || self.suspicion.is_waiting();
        let check = self.timing.health_check_interval.min(self.timing.idle_timeout).max(BUSY_TICK);
        let proof = (self.opened_at + limits::CONNECTION_PROOF).saturating_duration_since(now);
        let rest = if self.proven { check } else { check.min(proof) };
        self.timer_at = now + if self.ticking { BUSY_TICK } else { rest };
        debug_assert!(self.timer_at > now, "the clocks are looked at without a pause");
        self.check_invariants(pipeline);
    }

    /// Gives up what has waited for its reply for `command_timeout`. Returns whether there was any.
    fn expire<W>(
        &self,
        pipeline: &mut Pipeline<Owner<W>>,
        now: Instant,
        mut report: impl FnMut(&W, Ticket, Loss, &[u8]),
    ) -> bool {
        let timeout = self.timing.command_timeout;
        let Some(before) = now.checked_sub(timeout).filter(|_| !timeout.is_zero()) else {
            return false;
        };
        let mut any = false;
        // A slow answer is awaited no longer; a silent server is an outage.
        let loss = if self.silent { Loss::OutcomeUnknown } else { Loss::TimedOut };
        let completes = || Some(Owner::Completion);
        pipeline.expire(before, completes, |owner, ticket, request| {
            if let Some(session) = owner.session() {
                any = true;
                report(session, ticket, loss, request);
            }
        });
        any
    }

    /// Probes a server that is silent, gives it up, or lets another connection carry on. Returns whether
    /// the connection serves on as it did.
    fn check_silence<W>(
        &mut self,
        pipeline: &mut Pipeline<Owner<W>>,
        around: Around,
        now: Instant,
    ) -> bool {
        let timing = self.timing;
        debug_assert!(self.last_read <= now && self.last_use <= now, "it will be used");
        // A server without outstanding replies may be silent for any time.
        let arrived =
            pipeline.waiting_since().map_or(self.last_read, |since| since.max(self.last_read));
        let silent = now.saturating_duration_since(arrived);
        let (busy, outstanding) = (!pipeline.is_empty(), pipeline.has_outstanding_replies());
        if !pipeline.owners().all(Owner::is_own) {
            self.last_use = now;
        }
        // Set aside, it is known that the server is well: what waits there waits its own time.
        let waits = self.stalled && !timing.command_timeout.is_zero();
        let given_up = around.aside && pipeline.is_given_up();
        let health_due = !busy && silent >= timing.health_check_interval;
        let stalled = busy && silent >= timing.stall_timeout;
        if stalled && given_up {
            self.lose(UpstreamDisconnect::Timeout);
            return false;
        }
        // Before anything of the proxy's own is put in line.
        let unused = now.saturating_duration_since(self.last_use) >= timing.idle_timeout;
        if !busy && self.key != HOME && unused {
            self.end(Ended::Idle);
            return false;
        }
        match self.probe {
            Some(since) if now.saturating_duration_since(since) >= timing.connect_timeout => {
                // What was written and must not be written again is given up at its own time.
                let outstanding_writes = pipeline.has_outstanding_writes();
                debug_assert!(busy, "a server without outstanding replies may be silent");
                self.note_silence(true);
                if !around.aside && around.room {
                    // What is new finds another way, if there is one.
                    self.actions.push_back(Action::StepAside);
                }
                if timing.command_timeout.is_zero() || !outstanding_writes {
                    self.actions.push_back(Action::HealthCheck(false));
                    self.lose(UpstreamDisconnect::Health);
                }
                return false;
            }
            Some(_) => {}
            None if health_due || (stalled && !waits) => {
                pipeline.push_next(Owner::Probe, Ticket::default(), Question::Ping.wire(), now);
                self.probe = Some(now);
                debug_assert!(!pipeline.is_empty(), "the probe is not in line");
            }
            None => {}
        }
        self.ask(pipeline, now);
        self.watch_stall(around, outstanding.then_some(arrived), now);
        true
    }

    /// Looks at what others have asked of the connection, and whether its successor may take over.
    pub(super) fn handle_turn<W>(
        &mut self,
        pipeline: &Pipeline<Owner<W>>,
        closing: bool,
        retire: &mut bool,
        freshness: impl FnOnce() -> Freshness,
        now: impl FnOnce() -> Instant,
    ) {
        if self.ended {
            return;
        }
        if matches!(self.succession, Succession::Ready(_)) && !pipeline.has_outstanding_replies() {
            self.end(Ended::Replaced(self.replaced_for));
        } else if closing && pipeline.is_empty() {
            self.end(Ended::Closed);
        } else if *retire && matches!(self.succession, Succession::No) && !self.relief {
            *retire = false;
            self.check_freshness(freshness(), now());
        }
        self.check_invariants(pipeline);
    }

    /// The server has sent something.
    fn note_arrival(&mut self) {
        self.probe = None;
        self.note_silence(false);
        self.answered = true;
        self.note_proven();
        debug_assert!(!self.silent && self.proven, "a server that answers works");
    }

    fn note_silence(&mut self, silent: bool) {
        if std::mem::replace(&mut self.silent, silent) != silent {
            self.actions.push_back(Action::Silent(silent));
        }
    }

    fn note_proven(&mut self) {
        if !std::mem::replace(&mut self.proven, true) {
            self.actions.push_back(Action::Proven);
        }
    }

    fn lose(&mut self, reason: UpstreamDisconnect) {
        self.end(Ended::Lost(reason));
    }

    /// Only the first end counts.
    fn end(&mut self, ended: Ended) {
        if !std::mem::replace(&mut self.ended, true) {
            self.actions.push_back(Action::End(ended));
        }
        let ends = self.actions.iter().filter(|action| matches!(action, Action::End(_)));
        debug_assert!(ends.count() <= 1, "a connection ends twice");
    }

    /// What holds whenever a `handle_…` returns.
    fn check_invariants<W>(&self, pipeline: &Pipeline<Owner<W>>) {
        if self.ended {
            return;
        }
        debug_assert!(!self.silent || self.probe.is_some(), "only a probe proves silence");
        debug_assert!(
            !self.held || pipeline.has_outstanding_replies(),
            "only outstanding replies hold up a line"
        );
        debug_assert!(self.busy_since.is_none() || self.held, "a busy server holds up the line");
        debug_assert!(self.last_use >= self.opened_at && self.last_read >= self.opened_at);
        debug_assert!(self.actions.len() < 64, "actions are carried out at once");
        debug_assert!(!self.answered || self.proven, "a server that has answered works");
        let overlong = self.answer.len() > limits::PROBE_REPLY_BYTES_MAX;
        debug_assert!(!overlong, "an answer is longer than what is kept of it");
        if pipeline.len() > 64 {
            return;
        }
        let probes = pipeline.owners().filter(|owner| matches!(owner, Owner::Probe)).count();
        debug_assert!(self.probe.is_none() || probes > 0, "a probe is not in line");
        let roles = pipeline.owners().filter(|owner| matches!(owner, Owner::Role)).count();
        debug_assert!(roles <= 1, "the server is asked for its role twice at once");
        debug_assert_eq!(roles > 0, self.suspicion.is_asking(), "a question is in line or is not");
    }
}

#[cfg(test)]
mod tests;

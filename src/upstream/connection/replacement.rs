//! The connection that carries on in the place of one, or beside it: when it is looked for, and when it
//! takes over.
//!
//! Owns: [`Succession`], the questions about the server's role, relief from a line that is held up. Never
//! knows: how a connection is made.

use std::time::Instant;

use super::{Action, Around, BUSY_TICK, Connection, Freshness};
use crate::base::limits;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::Ticket;
use crate::upstream::not_primary::{Question, Verdict};
use crate::upstream::owner::Owner;
use crate::upstream::pipeline::Pipeline;
use crate::upstream::stall::Advice;

/// The next connection in the place of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Succession {
    No,
    Dialing,
    /// Since then; nothing is written any more, and it takes over when every outstanding reply has arrived.
    Ready(Instant),
    /// An attempt failed; the next one not before then.
    Failed(Instant),
}

/// How the attempt to dial a successor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Successor {
    Primary,
    Replica,
    Failed,
}

/// How the attempt to dial another connection beside this one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Relief {
    Up,
    /// The server is busy with a script, and answers so to every client.
    Busy,
    Failed,
}

impl Connection {
    /// Sends the question for the server's role when there is reason to.
    pub(super) fn ask<W>(&mut self, pipeline: &mut Pipeline<Owner<W>>, now: Instant) {
        if self.succession == Succession::No
            && let Some(question) = self.suspicion.question(now)
        {
            self.put_question(pipeline, question, now);
        }
    }

    fn put_question<W>(
        &mut self,
        pipeline: &mut Pipeline<Owner<W>>,
        question: Question,
        now: Instant,
    ) {
        debug_assert!(!self.ended, "nothing is asked on a connection that has ended");
        debug_assert!(self.suspicion.is_asking(), "a question that is not expected");
        self.answer.clear();
        pipeline.push_own(Owner::Role, Ticket::default(), question.wire(), now);
    }

    pub(super) fn take_answer<W>(&mut self, pipeline: &mut Pipeline<Owner<W>>, now: Instant) {
        let answer = std::mem::take(&mut self.answer);
        match self.suspicion.take_answer(&answer, self.key.protocol, now) {
            Verdict::Ask(question) => self.put_question(pipeline, question, now),
            Verdict::Stay => {}
            // The name is looked up again: the present primary takes over.
            Verdict::Move if self.succession == Succession::No => {
                self.actions.push_back(Action::Misplaced);
                self.look_for_successor(UpstreamDisconnect::Failover);
                self.elsewhere = true;
            }
            Verdict::Move => {}
        }
    }

    pub(super) fn look_for_successor(&mut self, reason: UpstreamDisconnect) {
        debug_assert!(!matches!(self.succession, Succession::Ready(_)), "there is one");
        debug_assert!(self.succession != Succession::Dialing, "two are dialed at once");
        debug_assert!(!self.ended, "the next one is made by its line");
        debug_assert!(!self.elsewhere, "the attempt before is not over");
        if std::mem::take(&mut self.relief) {
            // One connection is enough for both.
            self.actions.push_back(Action::DropRelief);
        }
        self.succession = Succession::Dialing;
        self.replaced_for = reason;
        self.actions.push_back(Action::DialSuccessor);
    }

    /// The attempt to dial a successor has ended. Returns whether the new connection is kept.
    pub(in crate::upstream) fn handle_successor(
        &mut self,
        successor: Successor,
        now: Instant,
    ) -> bool {
        debug_assert_eq!(self.succession, Succession::Dialing, "only one that was asked for");
        let elsewhere = std::mem::take(&mut self.elsewhere);
        self.succession = match successor {
            // No better than this one.
            Successor::Replica | Successor::Failed if elsewhere => {
                self.suspicion.back_off(now);
                Succession::No
            }
            Successor::Failed => Succession::Failed(now + limits::REPLACEMENT_RETRY_INTERVAL),
            Successor::Primary | Successor::Replica => Succession::Ready(now),
        };
        debug_assert!(!self.elsewhere, "the next one may be any server again");
        debug_assert!(self.succession != Succession::Dialing, "the attempt has ended");
        matches!(self.succession, Succession::Ready(_))
    }

    /// Looks for a successor when this connection is too old or was made with another identity; with another
    /// password it logs in again.
    pub(super) fn check_age(&mut self, around: Around, now: Instant) {
        let max = self.timing.max_age;
        let old = !max.is_zero() && now.saturating_duration_since(self.opened_at) >= max;
        let looks = match self.succession {
            Succession::No => true,
            Succession::Failed(until) => now >= until,
            Succession::Dialing | Succession::Ready(_) => false,
        };
        // What relieves the line takes everything new.
        if around.aside || !looks || self.relief {
            return;
        }
        if old {
            self.look_for_successor(UpstreamDisconnect::MaxAge);
        } else {
            self.check_freshness(around.freshness, now);
        }
    }

    /// Logs in again where the password alone is another, or looks for a successor.
    pub(super) fn check_freshness(&mut self, freshness: Freshness, now: Instant) {
        match freshness {
            Freshness::Current => {}
            Freshness::NewPassword if !self.relogin.has_failed(now) => {
                if self.relogin.is_due(now) {
                    self.actions.push_back(Action::LogIn);
                }
            }
            Freshness::NewPassword | Freshness::Outdated => {
                self.look_for_successor(UpstreamDisconnect::Rotation);
            }
        }
    }

    /// The server has answered the login with another password.
    pub(super) fn handle_relogin(&mut self, accepted: bool) {
        self.relogin.handle_reply(accepted);
        self.actions.push_back(Action::LoggedIn(accepted));
    }

    /// Whether a successor that is ready has waited for too long.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let Succession::Ready(since) = self.succession else { return false };
        debug_assert!(since <= now && since >= self.opened_at, "it is ready at another time");
        now.saturating_duration_since(since) > limits::REPLACED_CONNECTION_TIMEOUT
    }

    /// Looks at how long the head of the line has been silent; `None`: no reply is outstanding.
    pub(super) fn watch_stall(
        &mut self,
        around: Around,
        silent_since: Option<Instant>,
        now: Instant,
    ) {
        let advice = silent_since.map_or(Advice::Flow, |since| self.stall.advise(now, since));
        self.held = advice != Advice::Flow;
        if !self.held {
            if std::mem::take(&mut self.relief) {
                self.actions.push_back(Action::DropRelief);
            }
            self.note_flow();
        }
        let due = advice == Advice::Relieve && !self.relief && !around.aside && around.room;
        match self.succession {
            _ if !due => {}
            // It relieves the line when it is there.
            Succession::Dialing => {}
            Succession::Ready(_) => {
                self.stall.note_attempt(now);
                self.actions.push_back(Action::MoveOver);
            }
            Succession::No | Succession::Failed(_) => {
                self.stall.note_attempt(now);
                self.relief = true;
                self.actions.push_back(Action::DialRelief);
            }
        }
        let dialing = self.succession == Succession::Dialing;
        debug_assert!(!self.relief || !dialing, "two connections are dialed for one");
        debug_assert!(!self.relief || self.held, "a line that flows needs no relief");
        debug_assert!(!self.stalled || self.held, "a line that flows is not stalled");
    }

    /// The server has sent something: requests in line are being answered.
    pub(super) fn note_flow(&mut self) {
        self.held = false;
        self.busy_since = None;
        self.note_stalled(false, false);
    }

    /// The head of the line waits although the server serves others, or does not; `begun`: a part of its reply has come.
    /// What is behind half a reply is not held by the server.
    fn note_stalled(&mut self, stalled: bool, begun: bool) {
        if std::mem::replace(&mut self.stalled, stalled) != stalled {
            self.actions.push_back(Action::Stalled(stalled && !begun));
        }
    }

    /// The attempt to dial another connection beside this one has ended. Returns whether what another
    /// connection can carry moves over to it; the server was slow for every client, or cannot be reached,
    /// when it does not. Another connection may have taken this one's place meanwhile: it needs no third. `begun`: a part
    /// of the reply has come that is awaited.
    pub(in crate::upstream) fn handle_relief(
        &mut self,
        relief: Relief,
        begun: bool,
        (aside, room): (bool, bool),
        now: Instant,
    ) -> bool {
        debug_assert!(self.relief || self.ended, "no relief was asked for");
        self.relief = false;
        if self.ended || !self.held {
            return false;
        }
        match relief {
            Relief::Up if room && !aside => {
                self.note_stalled(true, begun);
                true
            }
            Relief::Busy => {
                debug_assert!(self.busy_since.is_none_or(|at| at <= now), "it will be busy");
                self.busy_since = Some(now);
                false
            }
            Relief::Up | Relief::Failed => false,
        }
    }

    /// What another connection can carry moves over to the successor, if it may.
    pub(in crate::upstream) fn moves_over(&mut self, begun: bool, aside: bool, room: bool) -> bool {
        let ready = matches!(self.succession, Succession::Ready(_));
        let moves = ready && self.held && !self.ended && !aside && room;
        if moves {
            self.succession = Succession::No;
            self.note_stalled(true, begun);
        }
        moves
    }

    /// Whether requests that could move over get the answer that the server gives to every client at this moment.
    #[must_use]
    pub(in crate::upstream) fn is_busy(&self, now: Instant) -> bool {
        self.busy_since.is_some_and(|since| now < since + limits::BUSY_SCRIPT_TIME)
    }

    /// Whether that is to be asked.
    #[must_use]
    pub(in crate::upstream) const fn may_be_busy(&self) -> bool {
        self.busy_since.is_some()
    }
}

const _: () = assert!(BUSY_TICK.as_millis() < limits::REPLACEMENT_RETRY_INTERVAL.as_millis());

#[cfg(test)]
mod tests;

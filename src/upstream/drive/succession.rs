//! The next connection in the place of one: when it is looked for, and when it takes over.
//!
//! Owns: [`Successor`], the questions about the server's role. Never knows: how a connection is read and
//! written.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::Driver;
use crate::base::clock;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{PoolKey, Ticket};
use crate::upstream::dial::Link;
use crate::upstream::ended::Ended;
use crate::upstream::env::Env;
use crate::upstream::failure::DialError;
use crate::upstream::misplaced::{Question, Verdict, is_primary};
use crate::upstream::pipeline::Pipeline;
use crate::upstream::shared::Owner;

/// A connection that is to be replaced may take this long to answer what it owes.
const REPLACE_PATIENCE: Duration = Duration::from_secs(30);
/// The ticket of a question about the server's role; [`Ticket::default`] is that of a PING.
pub(super) const QUESTION: Ticket = Ticket(1);

pub(super) type Dialing = Pin<Box<dyn Future<Output = Result<Link, DialError>>>>;

pub(super) enum Successor {
    Dialing(Dialing),
    /// Nothing is written any more; it takes over when everything owed is answered.
    Ready(Box<Link>, Instant),
    /// An attempt failed; the next one not before then.
    Failed(Instant),
}

/// What this connection writes next: with a successor at hand, or while something `waits` for the server
/// to speak, no new request, but the rest of one that the server has in part.
pub(super) fn due<'a>(
    pipeline: &'a Pipeline<Owner>,
    successor: &Option<Successor>,
    waits: bool,
) -> &'a [u8] {
    match successor {
        _ if waits => pipeline.unfinished(Option::is_none),
        Some(Successor::Ready(..)) => pipeline.unfinished(Option::is_none),
        Some(Successor::Dialing(_) | Successor::Failed(_)) | None => pipeline.unwritten(),
    }
}

impl Driver<'_> {
    pub(super) fn dial(&self) -> Dialing {
        let (env, key): (Rc<Env>, PoolKey) = (Rc::clone(self.env), self.shared.key());
        Box::pin(async move { env.dial(key).await })
    }

    /// Asks for the server's role when there is reason to.
    pub(super) fn ask(&mut self, now: Instant) {
        if self.successor.is_none()
            && let Some(question) = self.suspicion.question(now)
        {
            self.put_question(question, now);
        }
    }

    fn put_question(&mut self, question: Question, now: Instant) {
        self.answer.clear();
        let mut inner = self.shared.inner.borrow_mut();
        inner.pipeline.push(None, QUESTION, question.wire(), 0, false, now);
    }

    pub(super) fn take_answer(&mut self, now: Instant) {
        let answer = std::mem::take(&mut self.answer);
        let protocol = self.shared.key().protocol;
        match self.suspicion.take_answer(&answer, protocol, now) {
            Verdict::Ask(question) => self.put_question(question, now),
            Verdict::Stay => {}
            // The name is looked up again: whoever is the primary takes over.
            Verdict::Move if self.successor.is_none() => {
                tracing::info!("the server is no primary any more; its name is looked up again");
                self.successor = Some(Successor::Dialing(self.dial()));
                self.replaced_for = UpstreamDisconnect::Failover;
                self.elsewhere = true;
            }
            Verdict::Move => {}
        }
    }

    /// Looks for a successor when this connection is too old or was made with another identity.
    pub(super) fn check_age(&mut self, now: Instant) {
        let pool = &self.env.settings.pool;
        let old =
            !pool.max_age.is_zero() && now.saturating_duration_since(self.born) >= pool.max_age;
        let outdated = !self.env.is_current(&self.link);
        let aside = self.shared.is_aside();
        let pausing = matches!(self.successor, Some(Successor::Failed(until)) if now < until);
        if (old || outdated)
            && !aside
            && (self.successor.is_none()
                || matches!(self.successor, Some(Successor::Failed(_))) && !pausing)
        {
            self.successor = Some(Successor::Dialing(self.dial()));
            let reason =
                if outdated { UpstreamDisconnect::Rotation } else { UpstreamDisconnect::MaxAge };
            self.replaced_for = reason;
        }
    }

    /// A new connection takes over when the old one has answered everything.
    pub(super) fn poll_successor(&mut self, cx: &mut Context<'_>) {
        if let Some(Successor::Dialing(dialing)) = &mut self.successor
            && let Poll::Ready(link) = dialing.as_mut().poll(cx)
        {
            let now = clock::now();
            let elsewhere = std::mem::take(&mut self.elsewhere);
            self.successor = match link {
                Ok(link) if elsewhere && !is_primary(link.facts.role.as_bytes()) => {
                    // No better than this one.
                    self.suspicion.rest(now);
                    None
                }
                Ok(link) => Some(Successor::Ready(Box::new(link), now)),
                Err(_) if elsewhere => {
                    self.suspicion.rest(now);
                    None
                }
                Err(_) => Some(Successor::Failed(now + Duration::from_secs(1))),
            };
        }
        let Some(Successor::Ready(_, since)) = &self.successor else { return };
        if self.ended.is_some() {
            return;
        }
        if !self.owed() {
            if let Some(Successor::Ready(link, _)) = self.successor.take() {
                self.ended = Some(Ended::Replaced(link, self.replaced_for));
            }
        } else if clock::now().saturating_duration_since(*since) > REPLACE_PATIENCE {
            self.lose(UpstreamDisconnect::Rotation);
        }
    }
}

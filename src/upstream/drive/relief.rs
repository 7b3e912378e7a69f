//! Another connection beside one whose head of line holds it up.
//!
//! Owns: when it is dialed and what moves over to it. Never knows: how long is too long, how a connection
//! is read and written.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{Driver, Successor};
use crate::base::clock;
use crate::upstream::dial::Link;
use crate::upstream::registry::Registry;
use crate::upstream::shared::{Owner, Shared, answer_all};
use crate::upstream::stall::Advice;

/// What a server says that is busy with a script holds for this long: it is asked every second.
const BUSY_MAX: Duration = Duration::from_millis(1500);

/// The other shared connections, and how a further one begins.
#[derive(Clone, Copy)]
pub(in crate::upstream) struct Beside<'a> {
    pub registry: &'a Registry,
    /// With a connection that is up, or without.
    pub begin: &'a dyn Fn(&Rc<Shared>, Option<Link>),
}

fn id_of(owner: &Owner) -> Option<usize> {
    owner.as_ref().map(|mailbox| Rc::as_ptr(mailbox).addr())
}

impl Driver<'_> {
    /// Looks at how long the head of the line has been silent; `None`: nothing is owed.
    pub(super) fn watch_stall(&mut self, now: Instant, silent_since: Option<Instant>) {
        let advice = silent_since.map_or(Advice::Flow, |since| self.stall.advise(now, since));
        self.held = advice != Advice::Flow;
        if !self.held {
            self.relief = None;
            self.note_flow();
        }
        if advice == Advice::Relieve
            && self.relief.is_none()
            && !self.shared.is_aside()
            && !matches!(self.successor, Some(Successor::Ready(..)))
            && self.beside.registry.has_room()
        {
            self.stall.note_attempt(now);
            let (env, key) = (Rc::clone(self.env), self.shared.key());
            self.relief = Some(Box::pin(async move { env.dial_beside(key).await }));
        }
    }

    /// The server has said something: it goes on.
    pub(super) fn note_flow(&mut self) {
        self.held = false;
        self.busy = None;
        self.shared.note_stalled(false);
    }

    /// What can be said of requests that another connection could carry, if there were one.
    fn answer(&self, busy: &[u8]) {
        let mut inner = self.shared.inner.borrow_mut();
        let line = inner.pipeline.move_over(id_of);
        self.shared.settle_charge(&mut inner);
        drop(inner);
        answer_all(line, busy);
    }

    /// Another connection that is up proves that the server serves others: it takes everything new.
    pub(super) fn poll_relief(&mut self, cx: &mut Context<'_>) {
        if let Some((line, since)) = self.busy.take()
            && clock::now() < since + BUSY_MAX
        {
            self.answer(&line);
            self.busy = Some((line, since));
        }
        let Some(relief) = &mut self.relief else { return };
        let Poll::Ready(link) = relief.as_mut().poll(cx) else { return };
        self.relief = None;
        match link {
            Ok(link) if self.held && self.ended.is_none() && self.beside.registry.has_room() => {
                self.hand_over(link);
            }
            // The server was slow for everybody, or cannot be reached: this connection goes on.
            Ok(_) => {}
            Err(error) => {
                if let Some(line) = error.busy_line().filter(|_| self.held) {
                    self.answer(line);
                    self.busy = Some((line.into(), clock::now()));
                }
                tracing::debug!(
                    phase = error.label,
                    cause = %error.text,
                    "no second connection beside one that is held up"
                );
            }
        }
    }

    fn hand_over(&mut self, link: Link) {
        let next = self.shared.beside();
        let (moved, waiting) = {
            let mut inner = self.shared.inner.borrow_mut();
            let moved = inner.pipeline.move_over(id_of);
            self.shared.settle_charge(&mut inner);
            (moved, inner.pipeline.len())
        };
        for mailbox in moved.owners().flatten() {
            mailbox.note_moved(next.number());
        }
        tracing::info!(
            moved = moved.len(),
            waiting,
            seconds = clock::now().saturating_duration_since(self.last_read).as_secs_f32(),
            "a command holds up a shared connection; another one carries the rest"
        );
        next.inner.borrow_mut().pipeline = moved;
        self.shared.note_stalled(true);
        (self.beside.begin)(&next, Some(link));
        self.set_aside(&next);
    }

    /// Another connection takes everything new, if one more may be set aside.
    pub(super) fn step_aside(&self) {
        if !self.shared.is_aside() && self.beside.registry.has_room() {
            let next = self.shared.beside();
            (self.beside.begin)(&next, None);
            self.set_aside(&next);
        }
    }

    fn set_aside(&self, next: &Rc<Shared>) {
        self.beside.registry.replace(self.shared, next);
        self.env.metrics.set_aside();
    }
}

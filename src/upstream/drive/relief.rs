//! Another connection beside one whose head of line holds it up.
//!
//! Owns: what moves over to it. Never knows: when it is dialed, how a connection is read and written.

use std::rc::Rc;
use std::task::{Context, Poll};

use super::Driver;
use crate::base::clock;
use crate::upstream::connection::Relief;
use crate::upstream::dial::ServerConnection;
use crate::upstream::registry::Registry;
use crate::upstream::shared::{Owner, Shared, answer_all};

/// The other shared connections, and how a further one begins.
#[derive(Clone, Copy)]
pub(in crate::upstream) struct Beside<'a> {
    pub registry: &'a Registry,
    /// With a connection that is up, or without.
    pub begin: &'a dyn Fn(&Rc<Shared>, Option<ServerConnection>),
}

fn id_of(owner: &Owner) -> Option<usize> {
    owner.as_ref().map(|mailbox| Rc::as_ptr(mailbox).addr())
}

impl Driver<'_> {
    /// Another connection that is up proves that the server serves others: it takes everything new.
    pub(super) fn poll_relief(&mut self, cx: &mut Context<'_>) {
        self.answer_busy();
        let Some(relief) = &mut self.relief else { return };
        let Poll::Ready(link) = relief.as_mut().poll(cx) else { return };
        self.relief = None;
        let (room, aside) = (self.beside.registry.has_room(), self.shared.is_aside());
        let now = clock::now();
        match link {
            Ok(link) => {
                if self.connection.handle_relief(Relief::Up, aside, room, now) {
                    self.act(cx);
                    self.hand_over(link);
                }
            }
            Err(error) => {
                tracing::debug!(
                    phase = error.label,
                    cause = %error.text,
                    "no second connection beside one that is held up"
                );
                let line = error.busy_line();
                let relief = if line.is_some() { Relief::Busy } else { Relief::Failed };
                self.connection.handle_relief(relief, aside, room, now);
                self.busy = line.unwrap_or_default().into();
                self.answer_busy();
            }
        }
    }

    /// What can be said of requests that another connection could carry, if there were one.
    fn answer_busy(&self) {
        if self.connection.may_be_busy() && self.connection.is_busy(clock::now()) {
            let mut inner = self.shared.inner.borrow_mut();
            let line = inner.line.pipeline.move_over(id_of);
            self.shared.settle_charge(&mut inner);
            drop(inner);
            answer_all(line, &self.busy);
        }
    }

    fn hand_over(&mut self, link: ServerConnection) {
        let next = self.shared.beside();
        let (moved, waiting) = {
            let mut inner = self.shared.inner.borrow_mut();
            let moved = inner.line.pipeline.move_over(id_of);
            self.shared.settle_charge(&mut inner);
            (moved, inner.line.pipeline.len())
        };
        for mailbox in moved.owners().flatten() {
            mailbox.note_moved(next.number());
        }
        tracing::info!(
            moved = moved.len(),
            waiting,
            seconds = self.connection.silence(clock::now()).as_secs_f32(),
            "a command holds up a shared connection; another one carries the rest"
        );
        next.inner.borrow_mut().line.pipeline = moved;
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
        self.context.metrics.set_aside();
    }
}

//! Another connection beside one whose head of line holds it up.
//!
//! Owns: [`Beside`]: how it takes over; [`holds_back`]. Never knows: when it is dialed, what moves over to it.

use std::rc::Rc;
use std::time::Duration;

use crate::upstream::carrier::Dialed;
use crate::upstream::dial::ServerConnection;
use crate::upstream::drive::serving::report_lost;
use crate::upstream::failure::DialError;
use crate::upstream::mailbox::Mailbox;
use crate::upstream::not_primary::is_primary;
use crate::upstream::owner::Owner;
use crate::upstream::pipeline::Pipeline;
use crate::upstream::registry::Registry;
use crate::upstream::shared::Shared;

/// Whether a client that has left may have repeated, on the connection that carries everything new, a request
/// that is still in flight on this one.
pub(super) fn holds_back(pipeline: &Pipeline<Owner<Rc<Mailbox>>>) -> bool {
    pipeline.owners().filter_map(Owner::session).any(|mailbox| mailbox.has_left())
}

/// The other shared connections, and how a further one begins.
#[derive(Clone, Copy)]
pub(in crate::upstream) struct Beside<'a> {
    pub registry: &'a Registry<Shared>,
    /// With a connection that is up, or without.
    pub begin: &'a dyn Fn(&Rc<Shared>, Option<ServerConnection>),
}

impl Beside<'_> {
    /// Requests that another connection can carry move over to `link`, which takes everything new, too.
    pub(super) fn hand_over(
        self,
        from: &Rc<Shared>,
        moved: Pipeline<Owner<Rc<Mailbox>>>,
        link: ServerConnection,
        silence: Duration,
    ) {
        let next = from.beside();
        for mailbox in moved.owners().filter_map(Owner::session) {
            mailbox.note_moved(next.number());
        }
        tracing::info!(
            moved = moved.len(),
            waiting = from.inner.borrow().line.pipeline.len(),
            seconds = silence.as_secs_f32(),
            "a command holds up a shared connection; another one carries the rest"
        );
        debug_assert!(next.number() != from.number(), "a line moves over to itself");
        debug_assert!(next.inner.borrow().line.pipeline.is_empty(), "requests in line are lost");
        debug_assert!(!moved.has_outstanding_replies(), "replies come on another connection");
        next.inner.borrow_mut().line.pipeline = moved;
        (self.begin)(&next, Some(link));
        self.set_aside(from, &next);
    }

    /// Another connection takes everything new, if one more may be set aside.
    pub(super) fn step_aside(self, from: &Rc<Shared>) {
        if !from.is_aside() && self.registry.has_room() {
            let next = from.beside();
            (self.begin)(&next, None);
            self.set_aside(from, &next);
        }
    }

    /// The session whose large reply is being received reads slowly, and others wait behind it. What it has asked
    /// besides follows on a connection of its own, if there may be one more.
    pub(super) fn detach_reader(self, from: &Rc<Shared>) {
        let mut inner = from.inner.borrow_mut();
        let reader = inner.line.pipeline.reader().and_then(Owner::session);
        let is_near_limit = reader.is_some_and(|reader| reader.is_near_limit());
        if is_near_limit && from.is_aside() && self.registry.has_room() {
            inner.line.detach_reader(id_of);
        }
    }

    /// Begins the connection that carries what was taken out of the line, once its session has the rest.
    #[inline]
    pub(super) fn carry_detached(self, from: &Rc<Shared>) {
        let room = self.registry.has_room();
        let detached = from.inner.borrow_mut().line.take_detached(room, id_of);
        detached.into_iter().for_each(|detached| self.begin_beside(from, detached));
    }

    fn begin_beside(self, from: &Rc<Shared>, detached: Pipeline<Owner<Rc<Mailbox>>>) {
        if detached.owners().filter_map(Owner::session).all(|mailbox| mailbox.is_closed()) {
            let session = |(owner, ticket, loss): (Owner<_>, _, _)| {
                owner.into_session().map(|mailbox| (mailbox, ticket, loss))
            };
            return report_lost(detached.into_losses().filter_map(session).collect());
        }
        tracing::debug!(
            requests = detached.len(),
            "a client reads large replies slowly; it gets the next ones on another connection"
        );
        let next = from.beside();
        for mailbox in detached.owners().filter_map(Owner::session) {
            mailbox.note_moved(next.number());
        }
        next.inner.borrow_mut().line.pipeline = detached;
        debug_assert!(!next.inner.borrow().line.pipeline.has_outstanding_replies(), "sent before");
        self.registry.insert_aside(&next);
        debug_assert!(next.is_aside() && !next.is_up(), "what is new goes there");
        (self.begin)(&next, None);
    }

    fn set_aside(self, from: &Rc<Shared>, next: &Rc<Shared>) {
        debug_assert!(from.key() == next.key(), "another database, or another RESP");
        self.registry.replace(from, next);
        debug_assert!(from.is_aside() && !next.is_aside(), "what is new goes to the old one");
    }
}

/// How an attempt to dial a further connection ended, in the words of the carrier.
pub(super) fn outcome(dialed: Result<ServerConnection, DialError>) -> Dialed<ServerConnection> {
    match dialed {
        Ok(link) => Dialed::Up { primary: is_primary(link.facts.role.as_bytes()), link },
        Err(error) if error.busy_line().is_some() => Dialed::Busy,
        Err(_) => Dialed::Failed,
    }
}

/// Distinguishes one session from another.
pub(super) fn id_of(mailbox: &Rc<Mailbox>) -> usize {
    Rc::as_ptr(mailbox).addr()
}

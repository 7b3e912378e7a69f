//! The figures of clients, as they are when one of them looks.
//!
//! Owns: [`figures_of`], [`Seen`]. Never knows: sockets, how a client is described, which ones are chosen.

use std::time::Instant;

use super::figures::{Figures, Marks, StateFigures};
use super::roster::ClientEntry;
use super::state::Session;
use crate::command::Spec;
use crate::resp::Request;

/// What of this session is shown; the other figures are the connection's.
pub(crate) fn figures_of(session: &Session, active: Instant) -> Figures {
    let transaction = session.transaction.as_ref();
    let queued = transaction.map(|transaction| transaction.queued());
    let queued = queued.or_else(|| session.awaited.commands());
    let Session { listening, watch, .. } = session;
    let (channels, patterns, shards) = listening.subscriptions.counts();
    let mut marks = Marks::default();
    marks.set(Marks::MONITOR, listening.monitors());
    marks.set(Marks::PUBSUB, listening.subscriptions.any());
    marks.set(Marks::MULTI, queued.is_some());
    marks.set(Marks::BLOCKED, session.is_blocked() && !listening.is_streaming());
    marks.set(Marks::REPLICA, listening.is_streaming());
    marks.set(Marks::TRACKING, listening.tracking.is_on());
    marks.set(Marks::BROADCAST, listening.tracking.is_broadcast());
    marks.set(Marks::BROKEN_REDIRECT, listening.tracking.is_broken());
    session.flags.mark(&mut marks);
    marks.set(Marks::DIRTY, watch.is_lost());
    marks.set(Marks::UNIX, session.entry.peer.is_unix);
    Figures {
        database: session.dialect.database(),
        protocol: session.dialect.protocol(),
        state: StateFigures {
            channels,
            patterns,
            shards,
            queued,
            queued_bytes: transaction.map_or(0, |transaction| transaction.size()),
            watched: watch.keys(),
            redirect: listening.tracking.redirect().unwrap_or(-1),
        },
        marks,
        command: session.commands.shown(),
        ..Figures::new(active)
    }
}

/// The figures of all clients, as one of them sees them: its own show the request at hand.
pub(super) struct Seen<'a> {
    own: &'a ClientEntry,
    pub figures: Figures,
    pub now: Instant,
}

impl<'a> Seen<'a> {
    pub(super) fn by(session: &'a Session, spec: &'static Spec, request: &Request<'_>) -> Self {
        let now = session.roster.now();
        let mut figures = figures_of(session, now);
        // Within a transaction it is EXEC that runs.
        if session.awaited.commands().is_none() {
            figures.command = Some(spec);
        }
        figures.unread = request.raw().len();
        figures.arguments = request.args().map(<[u8]>::len).sum();
        Self { own: &session.entry, figures, now }
    }

    pub(super) fn of(&self, entry: &ClientEntry) -> Figures {
        if entry.id == self.own.id { self.figures.clone() } else { entry.figures() }
    }
}

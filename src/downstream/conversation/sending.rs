//! From a session's steps to lines of connections: what is sent, and what becomes of what cannot be.
//!
//! Owns: [`Sending`]: how much one client has on its way. Never knows: why something is sent, sockets.

use std::time::Instant;

use bytes::BytesMut;

use super::host::Host;
use crate::session::{Route, Session, WireLayout};
use crate::traffic::{Loss, Outgoing, Ticket, Unavailable};

#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Bytes sent since nothing was in flight.
    pub bytes: usize,
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub route: Route,
    pub ticket: Ticket,
    pub now: Instant,
}

impl Sending {
    /// A request as the client sent it.
    #[inline(always)]
    pub(super) fn send<H: Host>(
        &mut self,
        Way { route, ticket, now: at }: Way,
        bytes: &[u8],
        retry: bool,
        (session, out): (&mut Session, &mut BytesMut),
        host: &mut H,
    ) {
        self.bytes += bytes.len();
        if route == Route::Pinned {
            return host.push(bytes);
        }
        let (skip, companion, share) = (0, false, self.bytes);
        let eager = session.answers_misses();
        let request = Outgoing { ticket, bytes, skip, retry, companion, share, at, eager };
        let sent = host.send(route, request);
        check(ticket, sent, session, out, host);
    }

    /// What the session wrote itself, or the policy instead of the client's bytes. Returns what is to follow
    /// behind the last byte of a request of which this is the `head`.
    pub(super) fn send_wire<H: Host>(
        &mut self,
        Way { route, ticket, now: at }: Way,
        how: WireLayout,
        wire: &[u8],
        head: bool,
        (session, out): (&mut Session, &mut BytesMut),
        host: &mut H,
    ) -> Box<[u8]> {
        self.bytes += wire.len();
        let (own, behind) = wire.split_at_checked(how.split).unwrap_or((wire, &[]));
        if route == Route::Pinned {
            host.push(own);
            if head {
                return behind.into();
            }
            host.push(behind);
            return Box::default();
        }
        let (share, eager) = (self.bytes, session.answers_misses());
        let (skip, retry, companion) = (how.skip, how.retry, false);
        let request = Outgoing { ticket, bytes: own, skip, retry, companion, share, at, eager };
        let mut sent = host.send(route, request);
        check(ticket, sent, session, out, host);
        if let Some(skip) = how.companions.checked_sub(1) {
            let (ticket, bytes) = (ticket.next(), behind);
            let (retry, companion) = (true, true);
            let request = Outgoing { ticket, bytes, skip, retry, companion, share, at, eager };
            sent = sent.and_then(|()| host.send(route, request));
            check(ticket, sent, session, out, host);
        }
        Box::default()
    }

    /// A reply came: when it was the last one, nothing is on its way.
    pub(super) const fn note_reply(&mut self, session: &Session) {
        if session.in_flight() == 0 {
            self.bytes = 0;
        }
    }
}

/// What could not be sent is answered with an error.
#[inline(always)]
fn check<H: Host>(
    ticket: Ticket,
    sent: Result<(), Unavailable>,
    session: &mut Session,
    out: &mut BytesMut,
    host: &mut H,
) {
    if let Err(why) = sent {
        session.handle_loss(ticket, Loss::Unavailable(why), out);
        host.not_sent(Loss::Unavailable(why));
    }
}

//! From a session's steps to lines of connections: what is sent, and what becomes of what cannot be.
//!
//! Owns: [`Sending`]: how much one client has in flight. Never knows: why something is sent, sockets.

use std::time::Instant;

use bytes::BytesMut;

use super::host::Host;
use crate::session::{Route, Session, WireLayout};
use crate::traffic::{Loss, Outgoing, PoolKey, Skips, Ticket, Unavailable};

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
        debug_assert!(session.is_streaming() || session.in_flight() > 0, "it has no place in line");
        if route == Route::Pinned {
            debug_assert!(host.line().is_some(), "no pinned connection is here");
            let Some(line) = host.line() else { return };
            return match session.is_streaming() {
                true => line.pass_on(bytes, at),
                false => line.push(ticket, bytes, Skips::NONE, at),
            };
        }
        let (skips, companion, share) = (Skips::NONE, false, self.bytes);
        let eager = session.answers_misses();
        let request = Outgoing { ticket, bytes, skips, retry, companion, share, at, eager };
        let sent = host.send(route, request);
        self.check(ticket, sent, (session, out), host);
    }

    /// A question of the session's own to the pinned connection.
    pub(super) fn ask<H: Host>(&mut self, ticket: Ticket, bytes: &[u8], at: Instant, host: &mut H) {
        self.bytes += bytes.len();
        let line = host.line();
        debug_assert!(line.is_some(), "no pinned connection is here");
        line.into_iter().for_each(|line| line.push(ticket, bytes, Skips::NONE, at));
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
    ) -> Option<Rest> {
        self.bytes += wire.len();
        let (own, behind) = wire.split_at_checked(how.split).unwrap_or((wire, &[]));
        debug_assert!(!own.is_empty(), "an empty request");
        debug_assert!(head || (how.companions > 0) != behind.is_empty(), "bytes of no request");
        debug_assert!(session.in_flight() > usize::from(how.companions > 0), "it has no place");
        let (share, eager) = (self.bytes, session.answers_misses());
        let (skips, retry, companion) = (how.skips, how.retry, false);
        let request = Outgoing { ticket, bytes: own, skips, retry, companion, share, at, eager };
        let sent = put((route, session.key()), request, host);
        self.check(ticket, sent, (session, out), host);
        let before_last = how.companions.checked_sub(1);
        let skips = before_last.map(Skips::ahead);
        let ticket = ticket.next();
        if head && !behind.is_empty() {
            debug_assert!(
                usize::try_from(how.rest).is_ok_and(|rest| rest <= behind.len()),
                "more completes it than there is"
            );
            let rest = usize::try_from(how.rest).unwrap_or(usize::MAX).min(behind.len());
            return Some(Rest { bytes: behind.into(), rest, ticket, skips });
        }
        let (skips, bytes, retry, companion) = (skips?, behind, true, true);
        let request = Outgoing { ticket, bytes, skips, retry, companion, share, at, eager };
        let sent = sent.and_then(|()| put((route, session.key()), request, host));
        self.check(ticket, sent, (session, out), host);
        None
    }

    /// What could not be sent is answered with an error.
    #[inline(always)]
    fn check<H: Host>(
        &mut self,
        ticket: Ticket,
        sent: Result<(), Unavailable>,
        (session, out): (&mut Session, &mut BytesMut),
        host: &mut H,
    ) {
        if let Err(why) = sent {
            let before = session.in_flight();
            host.lend_buffer(out);
            session.handle_loss(ticket, Loss::Unavailable(why), out);
            debug_assert!(session.in_flight() < before, "what is not sent waits for its reply");
            host.not_sent(Loss::Unavailable(why));
            self.note_reply(session);
        }
    }

    /// What holds whenever a method of its conversation returns.
    pub(super) fn check_invariants(&self, session: &Session) {
        let sends = session.in_flight() > 0 || session.is_streaming();
        debug_assert!(sends || self.bytes == 0, "bytes are in flight without a request");
    }

    /// A reply came: when it was the last one, nothing is in flight.
    pub(super) const fn note_reply(&mut self, session: &Session) {
        if session.in_flight() == 0 {
            self.bytes = 0;
        }
    }
}

/// What follows behind the last byte of a large request, which the client has not sent yet.
#[derive(Debug)]
pub(super) struct Rest {
    bytes: Box<[u8]>,
    /// So many of them belong to the request; the others are requests of the proxy's own that complete it.
    rest: usize,
    ticket: Ticket,
    /// The replies to these before the last one; `None`: there are none.
    skips: Option<Skips>,
}

impl Rest {
    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), rest: 0, ticket: Ticket::default(), skips: Some(Skips::NONE) }
    }

    /// Whether further requests follow.
    pub(super) const fn has_companions(&self) -> bool {
        self.skips.is_some()
    }
}

/// The last byte of a large request has come, in the database of `key`; `rest` follows it.
pub(super) fn end_body<H: Host>(rest: Option<&Rest>, key: PoolKey, at: Instant, host: &mut H) {
    let Some(line) = host.line() else { return };
    let Some(Rest { bytes, rest, ticket, skips }) = rest else { return line.end_body() };
    debug_assert!(*rest <= bytes.len(), "more completes it than there is");
    debug_assert!(*rest == bytes.len() || skips.is_some(), "all of it belongs to something");
    let (own, behind) = bytes.split_at_checked(*rest).unwrap_or((bytes, &[]));
    line.append(own);
    line.end_body();
    if let Some(skips) = skips {
        line.push_companion(key, *ticket, behind, *skips, at);
    }
}

/// Puts a request into the line of its connection.
#[inline(always)]
fn put<H: Host>(
    (route, key): (Route, PoolKey),
    request: Outgoing<'_>,
    host: &mut H,
) -> Result<(), Unavailable> {
    if route != Route::Pinned {
        return host.send(route, request);
    }
    let Outgoing { ticket, bytes, skips, companion, at, .. } = request;
    let line = host.line();
    debug_assert!(line.is_some(), "no pinned connection is here");
    line.into_iter().for_each(|line| match companion {
        true => line.push_companion(key, ticket, bytes, skips, at),
        false => line.push(ticket, bytes, skips, at),
    });
    Ok(())
}

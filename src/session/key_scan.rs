//! `DBSIZE` and `FLUSHDB` over the application's own keys: the client's request waits while page
//! after page is asked for, one at a time, so that no other client waits for long.
//!
//! Owns: the way of a page through the session. Never knows: what a page holds.

use bytes::BytesMut;

use super::client_text;
use super::pending_query::{Arrived, PendingQuery};
use super::queue::{Class, Expect};
use super::state::{Context, Session, Step};
use crate::policy::{KeyScan, Next, Walk};
use crate::resp::{Request, encode};
use crate::traffic::{Loss, Ticket};

impl Session {
    /// The request is presented again whenever a reply has arrived. What it asked for is sent by
    /// [`Step::Ask`]; in the end the answer is local.
    pub(super) fn walk(
        &mut self,
        fresh: Box<Walk>,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        if self.transaction.is_some() {
            return self.refuse_text(client_text::NOT_IN_MULTI_HERE, out);
        }
        if !fits(fresh.sweep(), request) {
            return self.refuse_text(client_text::SYNTAX, out);
        }
        self.query.take_if(|query| query.walk.is_none());
        // A connection must be at hand before anything changes.
        let (route, cause) = (self.usual_route(ctx), self.cause(ctx));
        if self.query.as_ref().is_some_and(|query| query.arrived.is_none()) {
            return Step::Wait;
        }
        if let Err(step) = self.passable(route, cause, ctx) {
            return step;
        }
        let wire = ctx.request_scratch.fresh_wire();
        let (next, walk) = match self.query.take() {
            None => {
                let mut walk = fresh;
                walk.ask(wire);
                (Next::Ask, walk)
            }
            Some(query) => {
                let PendingQuery { walk, arrived, .. } = *query;
                let mut walk = walk.unwrap_or(fresh);
                match arrived {
                    Some(Arrived::Page(frame)) => (walk.take(&frame, wire), walk),
                    Some(Arrived::Lost(loss)) => {
                        let mut line = BytesMut::new();
                        encode::error(&mut line, client_text::loss(loss));
                        (Next::Failed((*line).into()), walk)
                    }
                    None => (Next::Ask, walk),
                }
            }
        };
        match next {
            Next::Ask => {}
            Next::Done(found) => {
                self.answer(out, |out| match walk.sweep() {
                    KeyScan::Count => {
                        encode::integer(out, i64::try_from(found).unwrap_or(i64::MAX))
                    }
                    KeyScan::Remove => encode::simple(out, client_text::OK),
                });
                return Step::Done;
            }
            Next::Failed(line) => {
                self.answer(out, |out| out.extend_from_slice(&line));
                return Step::Done;
            }
        }
        match self.enqueue(route, cause, Expect::Page, 0, Class::Other, ctx) {
            Ok(ticket) => {
                self.query =
                    Some(Box::new(PendingQuery { walk: Some(walk), ticket, arrived: None }));
                Step::Ask { route, ticket, skip: 0, retry: false }
            }
            Err(step) => {
                debug_assert!(false, "it was passable before");
                step
            }
        }
    }

    /// The reply to a request of the walk's own.
    pub(super) fn take_page(&mut self, ticket: Ticket, frame: &[u8]) {
        self.arrive(ticket, || Arrived::Page(frame.into()));
    }

    /// It will never come.
    pub(super) fn lose_page(&mut self, ticket: Ticket, loss: Loss) {
        self.arrive(ticket, || Arrived::Lost(loss));
    }

    fn arrive(&mut self, ticket: Ticket, what: impl FnOnce() -> Arrived) {
        // The walk that asked may have been given up.
        if let Some(query) = self.query.as_mut().filter(|query| query.ticket == ticket) {
            query.arrived = Some(what());
        }
    }
}

/// Redis db.c, `getFlushCommandFlags`.
fn fits(sweep: KeyScan, request: &Request<'_>) -> bool {
    let option = request.arg(1).unwrap_or_default();
    let is_known = option.eq_ignore_ascii_case(b"async") || option.eq_ignore_ascii_case(b"sync");
    request.len() == 1 || (sweep == KeyScan::Remove && request.len() == 2 && is_known)
}

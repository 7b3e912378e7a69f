//! `DBSIZE` and `FLUSHDB` over the application's own keys: the client's request waits while page
//! after page is asked for, one at a time, so that no other client waits for long.
//!
//! Owns: the way of a page through the session. Never knows: what a page holds.

use bytes::BytesMut;

use super::client_text;
use super::context::Context;
use super::expect::Expect;
use super::pending_query::{Arrived, PendingQuery};
use super::queue::Class;
use super::state::Session;
use super::step::Step;
use crate::policy::{KeyScan, Next, ScanAction};
use crate::resp::{Request, encode};
use crate::traffic::Skips;

/// The request is presented again whenever a reply has arrived. What it asked for is sent by
/// [`Step::Ask`]; in the end the answer is local.
pub(super) fn scan(
    session: &mut Session,
    fresh: Box<KeyScan>,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if session.transaction.is_some() {
        return session.refuse_text(client_text::NOT_IN_MULTI_HERE, out);
    }
    if !fits(fresh.action(), request) {
        return session.refuse_text(client_text::SYNTAX, out);
    }
    session.query.take_if(|query| !query.is_scan());
    // A connection must be at hand before anything changes.
    let (route, cause) = (session.usual_route(ctx), session.cause(ctx));
    if session.query.as_ref().is_some_and(|query| query.arrived().is_none()) {
        return Step::Wait;
    }
    if let Err(step) = session.passable(route, cause, ctx) {
        return step;
    }
    let wire = ctx.request_scratch.fresh_wire();
    let (next, scan) = match session.query.take() {
        None => {
            let mut scan = fresh;
            scan.ask(wire);
            (Next::Ask, scan)
        }
        Some(query) => {
            let (scan, arrived) = query.into_parts();
            let mut scan = scan.unwrap_or(fresh);
            match arrived {
                Some(Arrived::Page(frame)) => (scan.take(&frame, wire), scan),
                Some(Arrived::Lost(loss)) => {
                    let mut line = BytesMut::new();
                    encode::error(&mut line, client_text::loss(loss));
                    (Next::Failed((*line).into()), scan)
                }
                None => (Next::Ask, scan),
            }
        }
    };
    match next {
        Next::Ask => {}
        Next::Done(found) => {
            session.answer(out, |out| match scan.action() {
                ScanAction::Count => encode::integer(out, i64::try_from(found).unwrap_or(i64::MAX)),
                ScanAction::Remove => encode::simple(out, client_text::OK),
            });
            return Step::Done;
        }
        Next::Failed(line) => {
            session.answer(out, |out| out.extend_from_slice(&line));
            return Step::Done;
        }
    }
    match session.enqueue(route, cause, Expect::Page, Class::Other, ctx) {
        Ok(ticket) => {
            debug_assert!(session.query.is_none(), "two pages are asked for at once");
            session.query = Some(PendingQuery::page(scan, ticket));
            Step::Ask { route, ticket, skips: Skips::NONE, retry: false }
        }
        Err(step) => {
            debug_assert!(false, "it was passable before");
            step
        }
    }
}

/// Redis db.c, `getFlushCommandFlags`.
fn fits(action: ScanAction, request: &Request<'_>) -> bool {
    let option = request.arg(1).unwrap_or_default();
    let is_known = option.eq_ignore_ascii_case(b"async") || option.eq_ignore_ascii_case(b"sync");
    request.len() == 1 || (action == ScanAction::Remove && request.len() == 2 && is_known)
}

//! SUBSCRIBE, UNSUBSCRIBE, MONITOR and WAIT: the session moves to a connection of its own.
//!
//! Owns: what is expected in return. Never knows: frames, channel names.

use super::context::Context;
use super::expect::Expect;
use super::queue::Class;
use super::state::{Session, send_wire};
use super::step::{Cause, Route, Step};
use super::subscriptions::Kind;
use crate::command::{Blocking, Effect, KeyKind, KeySpec, Spec, blocking};
use crate::resp::{Request, encode};
use crate::traffic::{Skips, own};

pub(super) fn subscribe(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Step {
    let subscribe = spec.effect == Effect::Subscribe;
    let kind = kind_of(spec);
    let named = u32::try_from(request.len() - 1).unwrap_or(u32::MAX);
    let left = None;
    let expect = Expect::Acks { named, left, kind, subscribe };
    match session.enqueue(Route::Pinned, Cause::Subscribe, expect, Class::Other, ctx) {
        Ok(ticket) => {
            session.listening.subscriptions.ask(kind, subscribe, named);
            Step::Send { route: Route::Pinned, ticket, retry: false }
        }
        Err(step) => step,
    }
}

pub(super) fn start_monitor(session: &mut Session, ctx: &mut Context<'_>) -> Step {
    session.send(Route::Pinned, Cause::Monitor, Expect::Monitor, Class::Other, ctx)
}

/// A command that may wait so long, on the session's own connection.
pub(super) fn block(session: &mut Session, time: Blocking, ctx: &mut Context<'_>) -> Step {
    let first = session.in_flight() == 0;
    let (route, cause) = (Route::Pinned, Cause::Blocking);
    let step = session.send(route, cause, Expect::Plain, Class::Blocking, ctx);
    if matches!(step, Step::Send { .. }) {
        session.replies.note_block(time, first, ctx.now);
    }
    step
}

/// WAIT and WAITAOF count what their own connection wrote; on a connection where a PING has just
/// been executed, that is everything the server wrote so far, which includes what this session
/// wrote (redis replication.c `waitCommand`, server.c `c->woff`).
pub(super) fn wait(
    session: &mut Session,
    spec: &Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Step {
    let first = session.in_flight() == 0;
    let ticket = match session.enqueue(
        Route::Pinned,
        Cause::Blocking,
        Expect::Plain,
        Class::Blocking,
        ctx,
    ) {
        Ok(ticket) => ticket,
        Err(step) => return step,
    };
    session.replies.note_block(blocking(spec, request), first, ctx.now);
    let wire = ctx.request_scratch.fresh_wire();
    encode::request(wire, [own::PING]);
    wire.extend_from_slice(request.raw());
    send_wire(Route::Pinned, ticket, Skips::ahead(1))
}

/// The family of subscriptions that a command is about.
pub(super) fn kind_of(spec: &Spec) -> Kind {
    match spec.keys.first().and_then(KeySpec::kind) {
        Some(KeyKind::ChannelPattern) => Kind::Pattern,
        Some(KeyKind::ShardChannel) => Kind::Shard,
        _ => Kind::Channel,
    }
}

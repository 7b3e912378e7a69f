//! Commands between MULTI and EXEC on a session's own connection: the server queues them.
//!
//! Owns: what the server is sent of them. Never knows: when the transaction begins and ends.

use bytes::BytesMut;

use super::bounds::prefixes;
use super::context::Context;
use super::expect::Expect;
use super::late::{self, Late};
use super::own::{OwnReply, SentCommand};
use super::state::{Session, send_wire};
use super::step::Step;
use super::transaction::ExecFixup;
use super::{client_text, own_state, queued, track};
use crate::command::{Cost, Effect, Flags, Local, Spec};
use crate::resp::{Request, encode};
use crate::traffic::{Skips, own};

/// What the server is sent of a command that it is to queue.
pub(super) struct Sent {
    special: Option<ExecFixup>,
    /// `None`: the request as it is.
    wire: Option<BytesMut>,
}

/// Why a command is not queued.
pub(super) enum Unqueued {
    Refused(String),
    /// This comes first.
    First(Step),
}

/// What the server is sent of a command that it is to queue, and what is special about the reply.
pub(super) fn sent_to_own(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Result<Sent, Unqueued> {
    let as_it_is = |special| Ok(Sent { special, wire: None });
    let own = matches!(spec.effect, Effect::Auth | Effect::Local(_));
    if own && own_state::goes_to_own(spec, ctx) {
        return as_it_is(None);
    }
    if spec.effect == Effect::Hello && ctx.auth.is_off() {
        let (greeted, has_login) = own_state::read_hello(session, request, ctx);
        if has_login {
            session.own.get_or_insert_default().bind();
        }
        return as_it_is(Some(ExecFixup::Hello(greeted)));
    }
    let mut wire = BytesMut::new();
    if ctx.valkey && spec.effect == Effect::Local(Local::Reply) {
        return Err(Unqueued::Refused(client_text::not_in_multi(spec.name, true)));
    }
    let special = queued::special_of(session, spec, request, ctx);
    match special.map_err(|text| Unqueued::Refused(text.to_owned()))? {
        Some(ExecFixup::Late { request, .. }) => {
            let late = match late::look_up(session, &request.as_request(), ctx.valkey) {
                Ok(late) => late,
                Err(target) => match track::await_target(session, &target, ctx) {
                    None => Late::without(&target),
                    Some(step) => return Err(Unqueued::First(step)),
                },
            };
            session.listening.tracking.end_wait();
            late.aim(session);
            Ok(Sent { special: late.special, wire: Some(late.wire) })
        }
        Some(ExecFixup::Hello(mut greeted)) => {
            greeted.is_numbered = own_state::is_numbered(session, ctx);
            greeted.request_named(&mut wire);
            Ok(Sent { special: Some(ExecFixup::Hello(greeted)), wire: Some(wire) })
        }
        Some(special) if special.stays_here() => {
            encode::request(&mut wire, [own::PING]);
            Ok(Sent { special: Some(special), wire: Some(wire) })
        }
        special => as_it_is(special),
    }
}

pub(super) fn queue_own(
    session: &mut Session,
    sent: Sent,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let Sent { special, wire } = sent;
    let strip = ctx.request_scratch.grant.strip.take().filter(|strip| !strip.is_for_errors());
    let special = special.or_else(|| strip.map(ExecFixup::Names));
    let size = request.raw().len() as u64 + request.announced().unwrap_or(0);
    let bytes = session.own.as_ref().map_or(0, |own| own.bytes()).saturating_add(size);
    if bytes > ctx.limits.max_transaction_bytes as u64 {
        return session.refuse_text(client_text::MULTI_TOO_LARGE, out);
    }
    let changes = special.is_some();
    let database = match &special {
        Some(ExecFixup::Select(database)) => Some(*database),
        Some(_) | None => None,
    };
    let receives_messages = session.own.as_ref().is_some_and(|own| own.receives_messages());
    let reads = receives_messages && spec.flags.has(Flags::READONLY);
    let special = special.map(Box::new);
    let mut step = session.send_own(Expect::Own(OwnReply::Queued { special, reads }), ctx);
    let Step::Send { route, ticket, .. } = step else { return step };
    if let Some(wire) = wire {
        *ctx.request_scratch.fresh_wire() = wire;
        step = send_wire(route, ticket, Skips::NONE);
    } else if matches!(spec.effect, Effect::Auth | Effect::Local(_)) {
        session.note_sent_own(spec, request, own_state::binds(spec));
    }
    if spec.effect == Effect::Tracking {
        let tracking = &mut session.listening.tracking;
        tracking.note_prefixes(track::turns_on(request), prefixes(request));
    }
    let subscribes = spec.effect == Effect::Subscribe;
    let is_pattern = subscribes && spec.cost == Cost::Patterns;
    let patterns = if is_pattern { request.len() - 1 } else { 0 };
    let own = session.own.get_or_insert_default();
    own.note_sent(SentCommand { bytes: size, special: changes, database, subscribes, patterns });
    step
}

//! `pool.mode = "session"`: what a client sets on its connection, and its transactions, go to the
//! connection that is its own at the server.
//!
//! Owns: which commands go there and what they change here. Never knows: sessions that share connections.

use bytes::BytesMut;

use super::awaited::Awaited;
use super::context::Context;
use super::expect::Expect;
use super::greeted::Greeted;
use super::own::OwnReply;
use super::own_queue::Unqueued;
use super::queue::Class;
use super::residue::Residue;
use super::state::{Session, send_wire};
use super::step::{Cause, Route, Step};
use super::{hello, login, own_queue, own_state};
use crate::command::{Effect, Spec};
use crate::resp::{Request, encode};
use crate::traffic::{Skips, own};

/// Whether the session has a connection of its own to which everything about it goes. Rules that
/// change requests need a transaction that is queued here.
fn owns_connection(session: &mut Session, ctx: &Context<'_>) -> bool {
    if session.own.as_ref().is_some_and(|own| own.transacts()) {
        return true;
    }
    let owns = ctx.dedicated && ctx.policy.leaves_requests_alone();
    match (owns, &mut session.own) {
        (true, None) => session.own = Some(Box::default()),
        (false, Some(_)) if session.transaction.is_none() => session.own = None,
        _ => {}
    }
    owns && session.transaction.is_none()
}

/// A permitted command, if it is one that goes to the session's own connection.
pub(super) fn dispatch_own(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Option<Step> {
    if !ctx.dedicated && session.own.is_none() || !owns_connection(session, ctx) {
        return None;
    }
    if let Some(step) = introduce(session, ctx) {
        return Some(step);
    }
    if session.own.as_ref().is_some_and(|own| own.transacts()) {
        return dispatch_queued(session, spec, request, ctx, out);
    }
    if request.announced().is_some() {
        return None;
    }
    if let Some(step) = login::hold_at_server(&mut session.user, spec, request, ctx) {
        return Some(step);
    }
    if spec.effect == Effect::Multi {
        Some(own_multi(session, ctx))
    } else if matches!(spec.effect, Effect::Exec | Effect::Discard) {
        Some(session.send_own(Expect::Plain, ctx))
    } else if matches!(spec.effect, Effect::Watch | Effect::Unwatch) {
        let step = session.send_own(Expect::Watch, ctx);
        if matches!(step, Step::Send { .. }) {
            if spec.effect == Effect::Watch {
                session.watch.add(request.len() - 1);
            } else {
                session.watch.end();
            }
        }
        Some(step)
    } else if spec.effect == Effect::Hello {
        Some(own_hello(session, request, ctx, out))
    } else {
        own_state::goes_to_own(spec, ctx).then(|| send_state(session, spec, request, ctx))
    }
}

/// A command about the connection.
fn send_state(
    session: &mut Session,
    spec: &Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Step {
    let is_login = spec.effect == Effect::Auth;
    let expect = if is_login { Expect::Own(OwnReply::Login) } else { Expect::Plain };
    let step = session.send_own(expect, ctx);
    if matches!(step, Step::Send { .. }) {
        session.note_sent_own(spec, request, own_state::binds(spec));
    }
    step
}

/// Sends a new connection the name and library that the client has set.
fn introduce(session: &mut Session, ctx: &mut Context<'_>) -> Option<Step> {
    let own = session.own.as_ref().filter(|own| own.is_nameless())?;
    debug_assert!(!own.transacts(), "a transaction does not move");
    let client_info = session.entry.client_info();
    let words = client_info.as_deref().map_or_else(Vec::new, |client_info| {
        let [name, lib_name, lib_ver] =
            [&client_info.name, &client_info.lib_name, &client_info.lib_ver]
                .map(|text| text.as_slice());
        let commands: [&[&[u8]]; 3] = [
            &[own::CLIENT, b"SETNAME", name],
            &[own::CLIENT, b"SETINFO", b"lib-name", lib_name],
            &[own::CLIENT, b"SETINFO", b"lib-ver", lib_ver],
        ];
        let commands =
            commands.into_iter().filter(|words| words.last().is_some_and(|w| !w.is_empty()));
        commands
            .map(|words| words.iter().map(|word| word.to_vec()).collect())
            .collect::<Vec<Vec<_>>>()
    });
    drop(client_info);
    let Some(skip) = u32::try_from(words.len()).ok().and_then(|count| count.checked_sub(1)) else {
        session.own.get_or_insert_default().note_named();
        return None;
    };
    let ticket =
        match session.enqueue(Route::Pinned, Cause::Session, Expect::Page, Class::Other, ctx) {
            Ok(ticket) => ticket,
            Err(step) => return Some(step),
        };
    session.own.get_or_insert_default().note_named();
    debug_assert!(words.len() <= 3, "a client sets three things of itself");
    let wire = ctx.request_scratch.fresh_wire();
    for request in &words {
        encode::request(wire, request.iter().map(Vec::as_slice));
    }
    Some(Step::Ask { route: Route::Pinned, ticket, skips: Skips::ahead(skip), retry: false })
}

fn own_multi(session: &mut Session, ctx: &mut Context<'_>) -> Step {
    let step = session.send_own(Expect::Own(OwnReply::Multi), ctx);
    if matches!(step, Step::Send { .. }) {
        session.own.get_or_insert_default().begin_transaction();
    }
    step
}

/// A command between MULTI and EXEC. The server reports of most whether they are queued.
fn dispatch_queued(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Option<Step> {
    let asked = session.own.as_ref().is_some_and(|own| own.awaits_multi());
    if asked
        && !spec.effect.leaves_nothing()
        && !matches!(spec.effect, Effect::Exec | Effect::Discard)
    {
        // Without MULTI it would be carried out at once.
        return Some(Step::Wait);
    }
    if request.announced().is_some() && !spec.effect.leaves_nothing() {
        return Some(Step::Collect);
    }
    if matches!(spec.effect, Effect::Multi | Effect::Watch) {
        return Some(session.send_own(Expect::Plain, ctx));
    } else if spec.effect == Effect::Exec {
        return Some(own_exec(session, request, ctx));
    } else if spec.effect == Effect::Discard {
        let step = session.send_own(Expect::Plain, ctx);
        if matches!(step, Step::Send { .. }) {
            end_own_transaction(session);
        }
        return Some(step);
    } else if matches!(spec.effect, Effect::Quit | Effect::Reset) {
        return None;
    }
    Some(match own_queue::sent_to_own(session, spec, request, ctx) {
        Ok(sent) => own_queue::queue_own(session, sent, spec, request, ctx, out),
        Err(Unqueued::Refused(text)) => session.refuse_text(text, out),
        Err(Unqueued::First(step)) => step,
    })
}

fn own_exec(session: &mut Session, request: &Request<'_>, ctx: &mut Context<'_>) -> Step {
    let (aborted, special, asked) = session.own.as_ref().map_or((false, false, false), |own| {
        (own.is_aborted(), own.changes_session(), own.awaits_multi())
    });
    if aborted && asked {
        // Was MULTI refused, EXEC is answered otherwise.
        return Step::Wait;
    }
    if aborted {
        return exec_aborted(session, request, ctx);
    }
    let follows = special || session.receives_messages();
    let expect = if follows { Expect::Own(OwnReply::Exec) } else { Expect::Plain };
    let step = session.send(Route::Pinned, Cause::Session, expect, Class::Write, ctx);
    if matches!(step, Step::Send { .. }) {
        if follows {
            session.awaited.begin(Awaited::Outcome);
        }
        end_own_transaction(session);
    }
    step
}

/// EXEC after something was refused here. A command without its argument, which the server refuses,
/// makes it refuse EXEC as well, in its own words.
fn exec_aborted(session: &mut Session, request: &Request<'_>, ctx: &mut Context<'_>) -> Step {
    let expect = Expect::Plain;
    match session.enqueue(Route::Pinned, Cause::Session, expect, Class::Other, ctx) {
        Ok(ticket) => {
            end_own_transaction(session);
            let wire = ctx.request_scratch.fresh_wire();
            encode::request(wire, [b"GET".as_slice()]);
            wire.extend_from_slice(request.raw());
            send_wire(Route::Pinned, ticket, Skips::ahead(1))
        }
        Err(step) => step,
    }
}

/// EXEC of a client that is subscribed: the server refuses it and lets go of what was watched.
pub(super) fn own_exec_refused(session: &mut Session, ctx: &mut Context<'_>) -> Step {
    let step = session.send_own(Expect::Plain, ctx);
    if matches!(step, Step::Send { .. }) {
        end_own_transaction(session);
    }
    step
}

/// EXEC that the rules refuse, answered with this text. The server drops what it has queued.
pub(super) fn abort_own(session: &mut Session, text: &[u8], ctx: &mut Context<'_>) -> Step {
    let expect = Expect::Own(OwnReply::Abort(text.into()));
    match session.enqueue(Route::Pinned, Cause::Session, expect, Class::Other, ctx) {
        Ok(ticket) => {
            end_own_transaction(session);
            encode::request(ctx.request_scratch.fresh_wire(), [b"DISCARD".as_slice()]);
            send_wire(Route::Pinned, ticket, Skips::NONE)
        }
        Err(step) => step,
    }
}

fn end_own_transaction(session: &mut Session) {
    session.watch.end();
    if let Some(own) = &mut session.own {
        own.end_transaction();
    }
}

/// HELLO changes the protocol of the connection itself. A password for respgate's own login is not
/// the server's to see.
fn own_hello(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let mut wire = BytesMut::new();
    let greeted = if ctx.auth.is_off() {
        let (greeted, has_login) = own_state::read_hello(session, request, ctx);
        if has_login {
            session.own.get_or_insert_default().bind();
        }
        greeted
    } else {
        match hello::judge_hello(session, request, ctx) {
            Ok(greeted) => {
                greeted.request_named(&mut wire);
                Greeted { is_numbered: own_state::is_numbered(session, ctx), ..greeted }
            }
            Err(text) => {
                session.answer(out, |out| encode::error(out, text.as_bytes()));
                return Step::Done;
            }
        }
    };
    let expect = Expect::Own(OwnReply::Hello(Box::new(greeted)));
    let ticket = match session.enqueue(Route::Pinned, Cause::Session, expect, Class::Other, ctx) {
        Ok(ticket) => ticket,
        Err(step) => return step,
    };
    session.awaited.begin(Awaited::Outcome);
    session.residue.note(Residue::Dirty);
    if wire.is_empty() {
        return Step::Send { route: Route::Pinned, ticket, retry: false };
    }
    *ctx.request_scratch.fresh_wire() = wire;
    send_wire(Route::Pinned, ticket, Skips::NONE)
}

/// The server's reply to one of these; what the client gets of it.
pub(super) fn take_own_reply(
    session: &mut Session,
    reply: OwnReply,
    kind: u8,
    frame: &[u8],
    silent: bool,
    out: &mut BytesMut,
) {
    let mut discarded = BytesMut::new();
    let out = if silent { &mut discarded } else { out };
    let own = session.own.get_or_insert_default();
    match reply {
        OwnReply::Multi => {
            own.take_multi(kind == b'+');
        }
        OwnReply::Queued { special, reads } => {
            if frame.starts_with(b"+QUEUED") {
                own.note_queued(special, reads);
            }
        }
        OwnReply::Exec => debug_assert!(false, "taken as that of any transaction"),
        OwnReply::Abort(text) if kind == b'+' => return encode::error(out, text),
        OwnReply::Abort(_) => {}
        OwnReply::Login => session.user.note_server_answer(frame),
        OwnReply::Hello(greeted) => {
            session.awaited.end();
            session.user.note_server_answer(frame);
            if kind != b'-' {
                return hello::take_hello(session, *greeted, frame, out);
            }
        }
    }
    out.extend_from_slice(frame);
}

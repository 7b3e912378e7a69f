//! MULTI, EXEC, DISCARD, WATCH: a transaction is queued here and sent as one contiguous block.
//!
//! Owns: when a transaction runs and what its answer is. Never knows: connections; policy beyond an
//! aborted flag.

use std::sync::Arc;

use bytes::BytesMut;

use super::awaited::Awaited;
use super::bounds::prefixes;
use super::context::Context;
use super::exec_reply::ExecReply;
use super::expect::Expect;
use super::late::{self, Late};
use super::multi_permission::MultiPermission;
use super::pending_query::{Arrived, PendingQuery};
use super::queue::Class;
use super::residue::Residue;
use super::state::{Session, send_wire};
use super::step::{Cause, Route, Step};
use super::transaction::{ExecFixup, Transaction};
use super::{client_text, dedicated, queued, track};
use crate::command::{Effect, Spec};
use crate::policy::Grant;
use crate::resp::{Protocol, Request, encode};
use crate::traffic::{Loss, Skips, own};

pub(super) fn multi(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if session.transaction.is_some() {
        // Not a rejection: the transaction stays good (redis multi.c `multiCommand`).
        session.answer(out, |out| encode::error(out, client_text::MULTI_NESTED.as_bytes()));
        return Step::Done;
    }
    match may_transact(session, ctx) {
        Ok(true) => {
            session.transaction = Some(Box::new(Transaction::begun(request.arg(0))));
            session.answer(out, |out| encode::simple(out, client_text::OK));
            Step::Done
        }
        Ok(false) => session.refuse_text(client_text::MULTI_DENIED, out),
        Err(step) => step,
    }
}

/// Whether MULTI may be promised to the client. Refused once, it is asked for again each time:
/// the server's rules may be others. Where it cannot be asked, what was seen last decides.
///
/// # Errors
///
/// With the step to be taken before it is known.
pub(super) fn may_transact(session: &mut Session, ctx: &mut Context<'_>) -> Result<bool, Step> {
    let known = ctx.multi_permission.known();
    // An empty transaction would end a WATCH, and what is pushed comes between.
    if known == Some(true) || session.pinning().binds() {
        return Ok(known != Some(false));
    }
    session.query.take_if(|query| query.is_scan());
    let taken = match session.query.as_ref().map(|query| query.arrived()) {
        None => return Err(ask_for_multi(session, ctx)),
        Some(None) => return Err(Step::Wait),
        Some(Some(Arrived::Page(frame))) => MultiPermission::read_exec(frame),
        Some(Some(Arrived::Lost(loss))) => (*loss == Loss::MultiRefused).then_some(false),
    };
    session.query = None;
    debug_assert!(session.transaction.is_none(), "the answer is of another transaction");
    if let Some(taken) = taken {
        ctx.multi_permission.note(taken);
    }
    // Where it is unknown, the reply of the transaction shows it.
    Ok(taken != Some(false))
}

fn ask_for_multi(session: &mut Session, ctx: &mut Context<'_>) -> Step {
    let (route, cause) = (session.usual_route(ctx), session.cause(ctx));
    let ticket = match session.enqueue(route, cause, Expect::Page, Class::Other, ctx) {
        Ok(ticket) => ticket,
        Err(step) => return step,
    };
    let block = ctx.request_scratch.fresh_wire();
    encode::request(block, [own::MULTI]);
    encode::request(block, [own::EXEC]);
    session.query = Some(PendingQuery::question(ticket));
    // An empty transaction changes nothing, however often it runs.
    Step::Ask { route, ticket, skips: Skips::of_transaction(1), retry: true }
}

/// A permitted command inside MULTI.
pub(super) fn queue_command(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if request.announced().is_some() {
        return Step::Collect;
    }
    if ctx.request_scratch.grant.scan.is_some() {
        return session.refuse_text(client_text::NOT_IN_MULTI_HERE, out);
    }
    let special = match queued::special_of(session, spec, request, ctx) {
        Ok(special) => special,
        Err(text) => return session.refuse_text(text, out),
    };
    if spec.effect == Effect::Tracking {
        let tracking = &mut session.listening.tracking;
        tracking.note_prefixes(track::turns_on(request), prefixes(request));
    }
    let Some(transaction) = &mut session.transaction else { return Step::Done };
    if !transaction.is_aborted() {
        let Grant { changed, companions, .. } = ctx.request_scratch.grant;
        let size = if changed { ctx.request_scratch.wire().len() } else { request.raw().len() };
        if transaction.size() + size > ctx.limits.max_transaction_bytes {
            return session.refuse_text(client_text::MULTI_TOO_LARGE, out);
        }
        let strip = ctx.request_scratch.grant.strip.take();
        if let (true, Some(strip)) = (names_stay(spec), &strip) {
            session.listening.set_names(Some(Arc::clone(strip.prefix())));
        }
        // An unknown command ends the transaction; of other errors only those of some commands contain names.
        let strip = strip.filter(|strip| !strip.is_for_errors());
        let special = match special {
            Some(ExecFixup::Renamed(_)) => Some(ExecFixup::Renamed(strip)),
            special => special.or_else(|| strip.map(ExecFixup::Names)),
        };
        let wire = if changed { &**ctx.request_scratch.wire() } else { request.raw() };
        transaction.push(spec, special, request, wire, companions);
    }
    session.answer(out, |out| encode::simple(out, client_text::QUEUED));
    Step::Done
}

pub(super) fn exec(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if let Some(step) = catch_up(session, ctx) {
        return step;
    }
    let Some(transaction) = &session.transaction else {
        // The watch stays (redis multi.c `execCommand`).
        session.answer(out, |out| encode::error(out, client_text::EXEC_ALONE.as_bytes()));
        return Step::Done;
    };
    if transaction.is_aborted() {
        return end_without_execution(session, ctx, out, |out, _| {
            encode::error(out, client_text::EXECABORT.as_bytes());
        });
    }
    if session.watch.is_lost() {
        return end_without_execution(session, ctx, out, encode::null_array);
    }
    let stateful = transaction.is_stateful();
    let large =
        u64::try_from(transaction.wire_bytes()).unwrap_or(u64::MAX) >= ctx.limits.large_bytes;
    let usual = session.route(transaction.writes(), ctx);
    let (route, cause) = if usual == Route::Pinned {
        (Route::Pinned, session.cause(ctx))
    } else if stateful || large {
        (Route::Pinned, if large { Cause::Large } else { Cause::Multi })
    } else {
        (usual, Cause::Multi)
    };
    if let Err(step) = session.passable(route, cause, ctx) {
        return step;
    }
    if let Err(step) = put_late(session, ctx) {
        return step;
    }
    let Some(transaction) = session.transaction.take() else { return Step::Done };
    let mut block = transaction.into_block();
    let changes = block.changes_session();
    let expect = if block.is_plain() && !session.receives_messages() {
        Expect::Block
    } else {
        let (specials, reads) = block.take_specials();
        Expect::Exec(Box::new(ExecReply::new(specials, reads, changes)))
    };
    let ticket = match session.enqueue(route, cause, expect, Class::Write, ctx) {
        Ok(ticket) => ticket,
        Err(step) => {
            debug_assert!(false, "it was passable before the transaction was taken");
            return step;
        }
    };
    debug_assert!(route == Route::Pinned || !stateful, "others would meet what it leaves there");
    session.watch.end();
    if changes {
        session.awaited.begin(Awaited::Exec(block.queued));
    }
    block.write(request.arg(0).unwrap_or(b"EXEC"), ctx.request_scratch.fresh_wire());
    send_wire(route, ticket, Skips::of_transaction(block.skip))
}

/// Puts what is sent of commands that name another client into the transaction.
///
/// # Errors
///
/// With the step to be taken before all of those clients can be named; nothing has changed then.
fn put_late(session: &mut Session, ctx: &Context<'_>) -> Result<(), Step> {
    let Some(mut transaction) = session.transaction.take() else { return Ok(()) };
    // All clients that it names have the same time to get a pinned connection.
    let (mut found, mut pause, mut is_over) = (Vec::new(), None, false);
    for request in transaction.late() {
        let late = match late::look_up(session, &request.as_request(), ctx.valkey) {
            Ok(late) => late,
            Err(target) => {
                if is_over {
                    target.end_want(false);
                } else {
                    match track::await_target(session, &target, ctx) {
                        None => is_over = true,
                        waits => pause = waits,
                    }
                }
                Late::without(&target)
            }
        };
        found.push(late);
    }
    debug_assert!(pause.is_none() || !is_over, "one client has more time than another");
    if pause.is_none() {
        session.listening.tracking.end_wait();
        found.iter().for_each(|late| late.aim(session));
        transaction.put_late(found.into_iter().map(|late| (late.wire, late.special)).collect());
    }
    session.transaction = Some(transaction);
    pause.map_or(Ok(()), Err)
}

/// EXEC that is itself refused ends the transaction (redis multi.c `execCommandAbort`).
pub(super) fn abort_exec(
    session: &mut Session,
    text: &[u8],
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let reason = text.strip_prefix(b"ERR ").unwrap_or(text);
    let words = [client_text::EXECABORT_BECAUSE.as_bytes(), reason].concat();
    if session.transacts_on_own() {
        return dedicated::abort_own(session, &words, ctx);
    }
    end_without_execution(session, ctx, out, |out, _| encode::error(out, words))
}

/// EXEC or DISCARD that runs nothing; what was watched is let go.
pub(super) fn end_without_execution(
    session: &mut Session,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut, Protocol),
) -> Step {
    let protocol = session.dialect.protocol();
    if !session.watch.is_on() {
        session.transaction = None;
        session.watch.forget_loss();
        session.answer(out, |out| write(out, protocol));
        return Step::Done;
    }
    if protocol == Protocol::Resp2 && session.listening.subscriptions.any() {
        // A subscriber may not send UNWATCH.
        session.watch.abandon();
        session.residue.note(Residue::Poisoned);
        session.transaction = None;
        session.answer(out, |out| write(out, protocol));
        return Step::Done;
    }
    match send_unwatch(session, Expect::Hidden, ctx) {
        Ok(step) => {
            session.transaction = None;
            session.answer(out, |out| write(out, protocol));
            step
        }
        Err(step) => step,
    }
}

pub(super) fn discard(session: &mut Session, ctx: &mut Context<'_>, out: &mut BytesMut) -> Step {
    if session.transaction.is_none() {
        session.answer(out, |out| encode::error(out, client_text::DISCARD_ALONE.as_bytes()));
        return Step::Done;
    }
    end_without_execution(session, ctx, out, |out, _| encode::simple(out, client_text::OK))
}

pub(super) fn watch(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if session.transaction.is_some() {
        session.answer(out, |out| encode::error(out, client_text::WATCH_INSIDE.as_bytes()));
        return Step::Done;
    }
    // While it watches MULTI cannot be asked for.
    if (!ctx.has_lease || ctx.dedicated)
        && let Err(step) = may_transact(session, ctx)
    {
        return step;
    }
    if let Some(step) = catch_up(session, ctx) {
        return step;
    }
    let step = session.send(Route::Pinned, Cause::Watch, Expect::Watch, Class::Other, ctx);
    if matches!(step, Step::Send { .. }) {
        session.watch.add(request.len() - 1);
    }
    step
}

pub(super) fn unwatch(session: &mut Session, ctx: &mut Context<'_>, out: &mut BytesMut) -> Step {
    session.watch.forget_loss();
    if !session.watch.is_on() {
        session.answer(out, |out| encode::simple(out, client_text::OK));
        return Step::Done;
    }
    send_unwatch(session, Expect::Watch, ctx).unwrap_or_else(|step| step)
}

/// Lets go of what is still watched, before more is or it spoils a transaction.
fn catch_up(session: &mut Session, ctx: &mut Context<'_>) -> Option<Step> {
    if !session.watch.is_stale() {
        return None;
    }
    let expect = Expect::Page;
    match session.enqueue(Route::Pinned, Cause::Watch, expect, Class::Other, ctx) {
        Ok(ticket) => {
            session.watch.unwatch();
            encode::request(ctx.request_scratch.fresh_wire(), [own::UNWATCH]);
            Some(Step::Ask { route: Route::Pinned, ticket, skips: Skips::NONE, retry: false })
        }
        Err(step) => Some(step),
    }
}

fn send_unwatch(
    session: &mut Session,
    expect: Expect,
    ctx: &mut Context<'_>,
) -> Result<Step, Step> {
    let hidden = matches!(expect, Expect::Hidden);
    let ticket = session.enqueue(Route::Pinned, Cause::Watch, expect, Class::Other, ctx)?;
    session.watch.unwatch();
    let word = if hidden { own::UNWATCH } else { b"UNWATCH" };
    encode::request(ctx.request_scratch.fresh_wire(), [word]);
    Ok(send_wire(Route::Pinned, ticket, Skips::NONE))
}

/// Whether names that it brings later carry the prefix of the policy of this moment.
fn names_stay(spec: &Spec) -> bool {
    matches!(spec.effect, Effect::Subscribe | Effect::Unsubscribe | Effect::Tracking)
}

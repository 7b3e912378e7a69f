//! The order of everything that is asked about a request, and where each kind of command goes.
//!
//! Owns: [`judge`]. Never knows: connections, how a command is carried out.

use std::time::Instant;

use bytes::BytesMut;

use super::admission::Halt;
use super::context::Context;
use super::expect::Expect;
use super::judged::Denial;
use super::listening::Listening;
use super::queue::Class;
use super::residue::Residue;
use super::state::Session;
use super::step::{Cause, Route, Step, WireLayout};
use super::{
    bounds, client_text, dedicated, forward, hello, key_scan, local, login, multi, pubsub,
    replication, script, subscriptions, track,
};
use crate::command::{Blocking, Effect, Flags, Local, Spec, blocking};
use crate::policy::{self, EvalContext, Grant, Refusal, Rule};
use crate::resp::{Request, encode};
use crate::traffic::{Loss, Skips};

#[inline(always)]
pub(super) fn judge(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    debug_assert!(session.opening.is_none(), "no request while one waits for a connection");
    if session.is_streaming() {
        return replication::judge_streaming(session, request, ctx);
    }
    if session.awaited.is_any() {
        session.retries.note_waiting();
        return Step::Wait;
    }
    if session.farewell {
        // It was killed within a transaction: nothing more of it is read.
        return Step::Close;
    }
    let known = policy::known(ctx.policy.lookup(request));
    if let Ok(spec) = known
        && !local::serves(spec, ctx.server)
    {
        let word = request.arg(1).unwrap_or_default();
        return session.refuse_text(client_text::no_subcommand(spec.name, word), out);
    }
    let known = known.and_then(|spec| policy::arity(spec, request).map(|()| spec));
    let spec = match known {
        Ok(spec) => spec,
        // The words for an unknown command repeat its arguments.
        Err(refusal) if refusal.rule == Rule::Unknown && request.announced().is_some() => {
            return Step::Collect;
        }
        Err(refusal) => return refuse(session, refusal, request, ctx, out),
    };
    session.commands.note(spec);
    session.outage.note_policy(ctx.policy.answers_misses());
    if !session.user.is_authenticated() && !spec.flags.has(Flags::NO_AUTH) {
        return reject(session, spec, client_text::NOAUTH, ctx, out);
    }
    if let Some(refusal) = session.entry.block_of(spec) {
        return refuse(session, refusal, request, ctx, out);
    }
    let own_words = !ctx.valkey
        && matches!(spec.effect, Effect::Watch | Effect::Multi | Effect::Local(Local::Reply));
    if session.transaction.is_some() && spec.flags.has(Flags::NO_MULTI) && !own_words {
        let text = client_text::not_in_multi(spec.name, ctx.valkey);
        return session.refuse_text(text, out);
    }
    let moment = EvalContext { database: database_then(session), unix_ms: ctx.unix_ms };
    let decided = match spec.script {
        None => ctx.policy.permit(spec, request, &moment, &mut ctx.request_scratch.scratch),
        Some(script) => script::permit(session, script, spec, request, &moment, ctx),
    };
    match decided {
        Ok(_) if names_have_changed(session, spec, ctx) => {
            session.refuse_text(client_text::PREFIX_CHANGED, out)
        }
        Ok(grant) => permitted(session, spec, grant, request, ctx, out),
        Err(refusal) if refusal.rule == Rule::Incomplete => Step::Collect,
        Err(refusal) => refuse(session, refusal, request, ctx, out),
    }
}

/// The policy permits it.
#[inline(always)]
fn permitted(
    session: &mut Session,
    spec: &'static Spec,
    grant: Grant,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if let Some(observed) = &grant.observed {
        ctx.request_scratch.denial = Some(Denial::Observed(**observed));
    }
    if let Some(text) = bounds::excess(session, spec, request, ctx) {
        return session.refuse_text(text, out);
    }
    match admit(session, spec, ctx) {
        Ok(()) => {}
        Err(Halt::Until(until)) => return Step::Pause(until),
        Err(Halt::Refused(refusal)) => return refuse(session, refusal, request, ctx, out),
    }
    match ctx.request_scratch.guarding {
        Ok(()) => session.retries.end_wait(),
        Err(None) => match session.retries.await_server(ctx.now) {
            Some(again) => return Step::Pause(again),
            None => return session.refuse_text(client_text::SCRIPTS_NOT_YET, out),
        },
        Err(Some(why)) => {
            return refuse(session, Refusal::unguarded(spec, why), request, ctx, out);
        }
    }
    let changed = grant.changed;
    ctx.request_scratch.set_grant(grant);
    let step = if changed {
        dispatch_changed(session, spec, request, ctx, out)
    } else {
        dispatch(session, spec, request, ctx, out)
    };
    if let Step::Acquire(cause) = step
        && session.outage.answers_misses()
    {
        // What blocks would come again at once.
        let reads = !matches!(cause, Cause::Blocking) && !session.is_in_transaction();
        session.outage.note_wait(if reads { spec.miss.reply(request) } else { None });
    }
    let remembers = ctx.policy.retries_noscript() || ctx.policy.guards();
    if remembers && !step.presents_again() {
        script::note_script(spec, request, ctx);
    }
    step
}

#[inline(always)]
fn admit(session: &mut Session, spec: &'static Spec, ctx: &mut Context<'_>) -> Result<(), Halt> {
    if ctx.limiters.is_empty() {
        return Ok(());
    }
    let queued = session.is_in_transaction();
    session.admissions.admit(spec, queued, ctx)
}

/// The database in which the request at hand will run: a transaction may go to another.
fn database_then(session: &Session) -> u32 {
    let queued = session.transaction.as_ref().and_then(|transaction| transaction.database());
    let sent = session.own.as_ref().and_then(|own| own.database());
    queued.or(sent).unwrap_or_else(|| session.dialect.database())
}

/// Whether the policy puts another prefix before names than when this session subscribed or
/// began to track: messages without a request have the old one.
fn names_have_changed(session: &Session, spec: &Spec, ctx: &Context<'_>) -> bool {
    session.listening.allocated().is_some_and(Listening::brings_names)
        && !spec.keys.is_empty()
        && session.listening.names().map(|names| &**names) != ctx.policy.prefix()
}

/// The policy's no.
fn refuse(
    session: &mut Session,
    refusal: Refusal,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let probe = refusal.is_probe(request);
    let denial = if probe { Denial::Probe } else { Denial::Refused(refusal) };
    ctx.request_scratch.denial = Some(denial);
    session.query = None;
    let mut text = BytesMut::new();
    refusal.write_text(request, &mut text);
    // A driver's question is no event.
    if let Some(event) = ctx.request_scratch.reference.filter(|_| !probe) {
        text.extend_from_slice(format!(" (event {event:016x})").as_bytes());
    }
    match refusal.spec {
        Some(spec) if spec.effect == Effect::Exec => multi::abort_exec(session, &text, ctx, out),
        Some(_) | None => session.refuse_text(&text, out),
    }
}

/// The request at hand gets no connection.
pub(super) fn answer_unavailable(session: &mut Session, loss: Loss, out: &mut BytesMut) {
    if session.outage.ends_with(loss) {
        return session.replies.queue.cut();
    }
    if let Some(miss) = session.outage.take_miss(loss) {
        let protocol = session.dialect.protocol();
        return session.answer(out, |out| miss.write(out, protocol));
    }
    session.outage.note_failed(loss);
    let text = client_text::loss(loss);
    if session.commands.at_hand().is_some_and(|spec| spec.effect == Effect::Exec) {
        // Redis server.c `rejectCommand`, with or without MULTI before it. No key is watched: a session with
        // watched keys has its connection at hand.
        session.transaction = None;
        let reason = text.strip_prefix("ERR ").unwrap_or(&text);
        let line = [client_text::EXECABORT_BECAUSE, reason].concat();
        return session.answer(out, |out| encode::error(out, line));
    }
    session.refuse_text(&text, out);
}

/// A command that Redis would not run here.
fn reject(
    session: &mut Session,
    spec: &Spec,
    text: &str,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if spec.effect == Effect::Exec {
        multi::abort_exec(session, text.as_bytes(), ctx, out)
    } else {
        session.refuse_text(text, out)
    }
}

/// A request that the policy has changed: whatever would send it sends the scratch's wire instead.
fn dispatch_changed(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let Grant { split, rest, companions, .. } = ctx.request_scratch.grant;
    let step = dispatch(session, spec, request, ctx, out);
    if let Step::Send { route, ticket, retry } = step {
        let wire = WireLayout { skips: Skips::NONE, retry, split, rest, companions };
        return Step::SendWire { route, ticket, wire };
    }
    step
}

fn dispatch(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if session.dialect.is_resp2() && !session.listening.subscriptions.allows(spec) {
        if session.listening.subscriptions.is_pending() {
            return Step::Wait;
        }
        if session.listening.subscriptions.any()
            && spec.effect == Effect::Exec
            && session.own.is_some()
        {
            return dedicated::own_exec_refused(session, ctx);
        }
        if session.listening.subscriptions.any() {
            let text = subscriptions::modal_refusal(spec);
            return reject(session, spec, &text, ctx, out);
        }
    }
    if let Some(until) = hold_wrong(session, spec, request, ctx) {
        return Step::Pause(until);
    }
    if let Some(step) = dedicated::dispatch_own(session, spec, request, ctx, out) {
        return step;
    }
    if session.transaction.is_some()
        && !matches!(
            spec.effect,
            Effect::Multi
                | Effect::Exec
                | Effect::Discard
                | Effect::Watch
                | Effect::Quit
                | Effect::Reset
        )
    {
        return multi::queue_command(session, spec, request, ctx, out);
    }
    if let Some(scan) = ctx.request_scratch.grant.scan.take() {
        return key_scan::scan(session, scan, request, ctx, out);
    }
    if request.announced().is_some() && !spec.effect.leaves_nothing() {
        return Step::Collect;
    }
    match spec.effect {
        Effect::Shared | Effect::Ping | Effect::Pushes => {
            forward::forward(session, spec, request, ctx)
        }
        Effect::Local(local) => local::answer_local(session, local, spec, request, ctx, out),
        Effect::Auth => hello::auth(session, request, ctx, out),
        Effect::Hello => hello::hello(session, request, ctx, out),
        Effect::Reset => hello::reset(session, ctx, out),
        Effect::Quit => {
            session.answer(out, |out| encode::simple(out, client_text::OK));
            Step::Close
        }
        Effect::Select => hello::select(session, request, ctx, out),
        Effect::Multi => multi::multi(session, request, ctx, out),
        Effect::Exec => multi::exec(session, request, ctx, out),
        Effect::Discard => multi::discard(session, ctx, out),
        Effect::Watch => multi::watch(session, request, ctx, out),
        Effect::Unwatch => multi::unwatch(session, ctx, out),
        Effect::Block(_) => match blocking(spec, request) {
            Blocking::No => forward::forward(session, spec, request, ctx),
            time @ (Blocking::For(_) | Blocking::Forever) => pubsub::block(session, time, ctx),
        },
        Effect::Wait => pubsub::wait(session, spec, request, ctx),
        Effect::Subscribe | Effect::Unsubscribe => pubsub::subscribe(session, spec, request, ctx),
        Effect::Monitor => pubsub::start_monitor(session, ctx),
        Effect::Tracking | Effect::Caching => track::track(session, spec, request, ctx, out),
        Effect::Release => release(session, ctx),
        Effect::Replicate { .. } => replication::replicate(session, spec, request, ctx),
        Effect::Never => session.refuse_text(client_text::NEVER, out),
    }
}

/// When the login at hand is answered, if it is wrong and that is later; a right one goes on at once. The request
/// that comes again is wrong still, whatever a reload has changed.
fn hold_wrong(
    session: &mut Session,
    spec: &Spec,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Option<Instant> {
    if !login::is_compared(spec, request, ctx) {
        return None;
    }
    let until = match session.user.wrong_until() {
        Some(until) => until,
        None => {
            let user = login::wrong_user(session, spec, request, ctx)?;
            let until = ctx.limiters.note_wrong_login(ctx.now);
            session.user.hold_wrong(user, until);
            until
        }
    };
    (ctx.now < until).then_some(until)
}

/// A command that frees the server, on a connection that nothing else is asked on: it need not be
/// in the session's database.
fn release(session: &mut Session, ctx: &mut Context<'_>) -> Step {
    let own = ctx.dedicated || session.pinning().binds();
    let step = session.send(Route::Pinned, Cause::Release, Expect::Plain, Class::Other, ctx);
    session.residue.note_if(!own && matches!(step, Step::Send { .. }), Residue::Poisoned);
    step
}

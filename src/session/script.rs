//! `EVALSHA` of a script that the server may have lost, and the replies that show which scripts it has.
//!
//! Owns: when a session's further requests are held for a script. Never knows: which scripts may run,
//! connections.

use std::rc::Rc;
use std::sync::Arc;

use super::awaited::Awaited;
use super::context::Context;
use super::expect::Expect;
use super::queue::Class;
use super::script_cache::{NoscriptRetry, Script};
use super::state::Session;
use super::step::{Cause, Route, Step};
use crate::base::sha1::Sha1;
use crate::command::{self, Flags, Spec};
use crate::policy::guard::{GlobalsSource, GuardFailure, digests};
use crate::policy::{EvalContext, Grant, Guarded, Refusal, Shaped};
use crate::resp::Request;

const EVAL: &str = "EVAL";
const EVALSHA: &str = "EVALSHA";

/// What goes before scripts under the policy of this moment.
///
/// # Errors
///
/// With [`None`] when the server has not been asked yet, else why no script may run there.
pub(super) fn guarded(ctx: &Context<'_>) -> Result<Option<Guarded>, Option<GuardFailure>> {
    let Some(guard) = ctx.policy.guard() else { return Ok(None) };
    match ctx.globals.and_then(GlobalsSource::globals) {
        None => Err(None),
        Some(Err(why)) => Err(Some(why)),
        Some(Ok(globals)) => {
            let repeats = ctx.limits.max_repeated;
            Ok(Some(Guarded::new(Arc::clone(guard), globals, repeats)))
        }
    }
}

/// Whether a request that concerns scripts is permitted, and as what. The scratch gets to know whether its script can be
/// guarded, if it is to be.
///
/// # Errors
///
/// The errors of [`Policy::permit`](crate::policy::Policy::permit).
pub(super) fn permit(
    session: &Session,
    what: command::Script,
    spec: &'static Spec,
    request: &Request<'_>,
    moment: &EvalContext,
    ctx: &mut Context<'_>,
) -> Result<Grant, Refusal> {
    let policy = ctx.policy;
    // A text is not read before it is known that it may be sent at all.
    let observed = policy.admit(spec, request, moment, &mut ctx.request_scratch.scratch)?;
    ctx.request_scratch.guarding = guard_script(session, what, request, ctx);
    policy.grant(observed, spec, request, moment, &mut ctx.request_scratch.scratch)
}

/// Notes in the scratch what goes to the server instead of a script, if scripts are guarded.
///
/// # Errors
///
/// The errors of [`guarded`].
fn guard_script(
    session: &Session,
    what: command::Script,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Result<(), Option<GuardFailure>> {
    let shaped = match what {
        command::Script::Text { arg } => {
            let Some(guarded) = guarded(ctx)? else { return Ok(()) };
            let Some(text) = request.arg(arg) else { return Ok(()) };
            guard_text(session, text, arg, guarded, request, ctx)
        }
        command::Script::Digest => {
            let Some(guarded) = guarded(ctx)? else { return Ok(()) };
            let Some(named) = request.arg(1) else { return Ok(()) };
            match Sha1::parse(named).and_then(|name| ctx.scripts.find(name)) {
                Some(script) => {
                    let shaped = guard_name(session, &script, &guarded, request, ctx);
                    ctx.request_scratch.script = Some((script, guarded));
                    shaped
                }
                None => Shaped::Named(None),
            }
        }
        command::Script::Exists => {
            let Some(guarded) = guarded(ctx)? else { return Ok(()) };
            let name = |named| {
                let script = ctx.scripts.find(Sha1::parse(named)?)?;
                Some(ctx.scripts.digests(&script, &guarded))
            };
            Shaped::Asked(request.args().skip(2).map(name).collect())
        }
        command::Script::Function | command::Script::Shows | command::Script::Change { .. } => {
            return Ok(());
        }
    };
    ctx.request_scratch.scratch.guarded = shaped;
    Ok(())
}

/// `EVAL`, `SCRIPT LOAD`: the text behind its guard, or the name by which the server has it.
fn guard_text(
    session: &Session,
    text: &[u8],
    arg: usize,
    guarded: Guarded,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Shaped {
    let script = ctx.scripts.remember(text);
    let loads = arg != 1;
    if let Some(script) = script.as_ref().filter(|_| !loads && may_call(session, request, ctx))
        && ctx.scripts.has_run(script, &guarded, ctx.epoch)
    {
        let read_only = request.arg(0).is_some_and(|word| word.len() > EVAL.len());
        let digests = ctx.scripts.digests(script, &guarded);
        ctx.request_scratch.script = Some((Rc::clone(script), guarded));
        return Shaped::Called { digests, read_only };
    }
    let written = guarded.write(text);
    let digests = match script {
        Some(script) => {
            let digests = ctx.scripts.digests(&script, &guarded);
            ctx.scripts.note_sent(&script, &guarded, ctx.epoch);
            ctx.request_scratch.script = Some((script, guarded));
            digests
        }
        None => digests(Sha1::of(text), Sha1::of(&written)),
    };
    let arg = u32::try_from(arg).unwrap_or(u32::MAX);
    Shaped::Text { arg, text: written, digests, loads }
}

/// `EVALSHA`: in a transaction nothing can be sent again, so a script that went to the server behind other
/// rules, or to another server, goes with its text there.
fn guard_name(
    session: &Session,
    script: &Script,
    guarded: &Guarded,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Shaped {
    let digests = ctx.scripts.digests(script, guarded);
    let may_spell = ctx.policy.retries_noscript() && request.announced().is_none();
    if !session.is_in_transaction()
        || !may_spell
        || ctx.scripts.note_sent(script, guarded, ctx.epoch)
    {
        return Shaped::Named(Some(digests));
    }
    let read_only = request.arg(0).is_some_and(|word| word.len() > EVALSHA.len());
    Shaped::Spelled { text: script.written(guarded), digests, read_only }
}

/// Whether `EVAL` may go as `EVALSHA`: alone, so that it can be sent again in its place.
fn may_call(session: &Session, request: &Request<'_>, ctx: &Context<'_>) -> bool {
    let queued = session.is_in_transaction();
    let pipelines = session.retries.pipelines();
    !queued && !pipelines && request.announced().is_none() && !is_large(request, ctx)
}

/// The request at hand has been dealt with: what it shows about scripts.
pub(super) fn note_script(spec: &Spec, request: &Request<'_>, ctx: &mut Context<'_>) {
    match spec.script {
        // A guarded one is known already.
        Some(command::Script::Text { arg }) if !ctx.policy.guards() => {
            if let Some(text) = request.arg(arg) {
                ctx.scripts.remember(text);
            }
        }
        Some(command::Script::Change { forgets: true }) => ctx.scripts.forget(),
        Some(_) | None => {}
    }
}

/// The script that the request runs and what goes before it, if it is known here and its reply wants to be looked at.
fn script_of(
    what: command::Script,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Option<(Rc<Script>, Option<Guarded>)> {
    let known = ctx.request_scratch.script.take();
    let known = known.map(|(script, guarded)| (script, Some(guarded)));
    match (what, &ctx.request_scratch.scratch.guarded) {
        (_, Shaped::Called { .. } | Shaped::Text { loads: false, .. }) => known,
        (command::Script::Digest, _) if !ctx.policy.retries_noscript() => None,
        // Where scripts are guarded none is sent again without what goes before it.
        (command::Script::Digest, _) if ctx.policy.guards() => known,
        (command::Script::Digest, _) => {
            let script = ctx.scripts.find(Sha1::parse(request.arg(1)?)?)?;
            Some((script, None))
        }
        _ => None,
    }
}

/// A request that runs a script which is known here.
pub(super) fn forward_known(
    session: &mut Session,
    what: command::Script,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Option<Step> {
    let known = script_of(what, request, ctx)?;
    if matches!(ctx.request_scratch.scratch.guarded, Shaped::Text { .. }) {
        return forward_text(session, known, spec, request, ctx);
    }
    Some(forward_script(session, known, spec, request, ctx))
}

/// A guarded script with its text: from its answer it is known that the server has it.
fn forward_text(
    session: &mut Session,
    (script, guarded): (Rc<Script>, Option<Guarded>),
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Option<Step> {
    let guarded = guarded?;
    if request.announced().is_some() || is_large(request, ctx) {
        return None;
    }
    let (route, cause) = (session.route(spec.may_write(), ctx), session.cause(ctx));
    let expect = Expect::Script(Box::new(NoscriptRetry::of_text(script, guarded, ctx.epoch)));
    Some(match session.enqueue(route, cause, expect, Class::of(spec), ctx) {
        Ok(ticket) => {
            session.large_replies.spend();
            session.retries.note_text();
            Step::Send { route, ticket, retry: spec.may_repeat() }
        }
        Err(step) => step,
    })
}

/// A script by its name, with what is needed to send it again.
fn forward_script(
    session: &mut Session,
    (script, guarded): (Rc<Script>, Option<Guarded>),
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Step {
    let called = matches!(ctx.request_scratch.scratch.guarded, Shaped::Called { .. });
    let held = called || !session.retries.has_seen(&script, ctx.scripts, ctx.epoch);
    // A large argument passes without being stored as long as the server has the script.
    let streamed = request.announced().is_some();
    if streamed && held {
        return Step::Collect;
    }
    let large = streamed || is_large(request, ctx);
    let (route, cause) = if large {
        (Route::Pinned, Cause::Large)
    } else {
        (session.route(spec.may_write(), ctx), session.cause(ctx))
    };
    if let Err(step) = session.passable(route, cause, ctx) {
        return step;
    }
    let Grant { changed, split, .. } = ctx.request_scratch.grant;
    let changed = ctx.request_scratch.wire().get(..split).filter(|_| changed);
    let wire = changed.unwrap_or_else(|| request.raw());
    let wire = (!streamed).then_some(wire);
    let read_only = spec.flags.has(Flags::READONLY);
    let mut retry =
        NoscriptRetry::new((script, guarded), ctx.epoch, held, read_only, request.len(), wire);
    retry.called = called;
    let kept = retry.kept_bytes();
    let class = Class::of(spec);
    match session.enqueue(route, cause, Expect::Script(Box::new(retry)), class, ctx) {
        Ok(ticket) => {
            if held {
                session.awaited.begin(Awaited::Outcome);
            }
            session.retries.note_name(kept, called);
            if !large {
                session.large_replies.spend();
            }
            Step::Send { route, ticket, retry: class == Class::Read }
        }
        Err(step) => step,
    }
}

/// Whether a request travels where no other client waits behind it.
fn is_large(request: &Request<'_>, ctx: &Context<'_>) -> bool {
    u64::try_from(request.raw().len()).unwrap_or(u64::MAX) >= ctx.limits.large_bytes
}

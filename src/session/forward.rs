//! Commands that the server answers and that change nothing here.
//!
//! Owns: [`forward`]. Never knows: scripts beyond where they are known, other commands.

use super::context::Context;
use super::expect::Expect;
use super::queue::Class;
use super::script;
use super::state::Session;
use super::step::{Cause, Route, Step};
use crate::command::{Effect, Spec};
use crate::resp::Request;

/// A command without state: on the shared connection, unless the session is pinned or the
/// command large.
pub(super) fn forward(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Step {
    if let Some(what) = spec.script
        && let Some(step) = script::forward_known(session, what, spec, request, ctx)
    {
        return step;
    }
    let large = request.announced().is_some()
        || spec.effect == Effect::Pushes
        || u64::try_from(request.raw().len()).unwrap_or(u64::MAX) >= ctx.limits.large_bytes;
    let class = Class::of(spec);
    if large {
        let step = session.send(Route::Pinned, Cause::Large, Expect::Plain, class, ctx);
        if let Step::Send { ticket, .. } = step
            && session.outage.answers_misses()
        {
            session.replies.queue.note_miss(ticket, spec.miss.reply(request));
        }
        return step;
    }
    let route = session.route(spec.may_write(), ctx);
    // Only a pinned connection that is missing is asked for with a cause.
    let cause = if route == Route::Pinned { session.cause(ctx) } else { Cause::Large };
    match session.enqueue(route, cause, Expect::Plain, class, ctx) {
        Ok(ticket) => {
            if session.outage.answers_misses() {
                session.replies.queue.note_miss(ticket, spec.miss.reply(request));
            }
            session.large_replies.spend();
            Step::Send { route, ticket, retry: spec.may_repeat() }
        }
        Err(step) => step,
    }
}

//! REPLCONF, SYNC and PSYNC: a client that becomes a replica of the server, or copies its data as one.
//!
//! Owns: which commands such a client may still send. Never knows: the stream itself, which passes unread.

use super::context::Context;
use super::expect::Expect;
use super::judged::Denial;
use super::queue::Class;
use super::residue::Residue;
use super::state::Session;
use super::step::{Cause, Route, Step};
use crate::command::{Effect, Spec};
use crate::policy::{self, EvalContext};
use crate::resp::Request;
use crate::traffic::Ticket;

pub(super) fn replicate(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Step {
    if session.in_flight() > 0 {
        return Step::Wait;
    }
    if spec.effect == (Effect::Replicate { streams: false }) {
        if has_no_reply(request) {
            session.reply_mode.silence();
            return Step::Done;
        }
        let cause = Cause::Replication;
        let step = session.send(Route::Pinned, cause, Expect::Plain, Class::Other, ctx);
        if matches!(step, Step::Send { .. }) {
            session.listening.announce();
            session.residue.note(Residue::Dirty);
        }
        return step;
    }
    if let Err(step) = session.passable(Route::Pinned, Cause::Replication, ctx) {
        return step;
    }
    session.listening.stream();
    session.residue.note(Residue::Dirty);
    pass_on_request()
}

/// A request of a client that is streaming. The server would carry out any command of a replica,
/// so only those of replication go on; after any other the connection is closed, because an error
/// cannot be distinguished from the stream.
pub(super) fn judge_streaming(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Step {
    let Ok(spec) = policy::known(ctx.policy.lookup(request)) else { return Step::Close };
    session.commands.note_unshown(spec);
    if !matches!(spec.effect, Effect::Replicate { .. }) {
        return Step::Close;
    }
    if request.announced().is_some() {
        return Step::Collect;
    }
    if session.entry.block_of(spec).is_some() {
        return Step::Close;
    }
    let moment = EvalContext { database: session.dialect.database(), unix_ms: ctx.unix_ms };
    match ctx.policy.permit(spec, request, &moment, &mut ctx.request_scratch.scratch) {
        Ok(_) => pass_on_request(),
        Err(refusal) => {
            ctx.request_scratch.denial = Some(Denial::Refused(refusal));
            Step::Close
        }
    }
}

/// Nothing waits for a reply to it.
const fn pass_on_request() -> Step {
    Step::Send { route: Route::Pinned, ticket: Ticket(0), retry: false }
}

/// Redis replication.c `replconfCommand`: ACK and GETACK are never answered, and mean nothing before SYNC.
pub(super) fn has_no_reply(request: &Request<'_>) -> bool {
    let silent =
        |word: &[u8]| word.eq_ignore_ascii_case(b"ack") || word.eq_ignore_ascii_case(b"getack");
    // One option without its value is a syntax error.
    !request.len().is_multiple_of(2) && request.args().skip(1).step_by(2).any(silent)
}

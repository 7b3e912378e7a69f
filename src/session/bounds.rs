//! Requests that ask the server for work out of proportion to their size.
//!
//! Owns: what one client may hold on its connection, and ask for at once. Never knows: which commands
//! those are, connections.

use super::client_text;
use super::context::Context;
use super::state::Session;
use crate::command::{Cost, Effect, Spec, is_word};
use crate::config::ClientLimits;
use crate::resp::{Request, number};

/// Why the request at hand costs the server more than a client may; `None`: it does not.
#[inline(always)]
pub(super) fn excess(
    session: &Session,
    spec: &Spec,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Option<String> {
    if spec.cost == Cost::Linear { None } else { excess_of(session, spec, request, ctx) }
}

fn excess_of(
    session: &Session,
    spec: &Spec,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Option<String> {
    let names = request.len().saturating_sub(1);
    match spec.cost {
        Cost::Linear => None,
        Cost::Watched => {
            let held = session.watch.keys() as usize;
            let all = names.saturating_add(held);
            let max = ctx.limits.max_watched;
            (all > max).then(|| client_text::too_many_watched(all, max))
        }
        Cost::Patterns => {
            let queued = session.transaction.as_ref().map_or(0, |queued| queued.patterns());
            let sent = session.own.as_ref().map_or(0, |own| own.patterns());
            let queued = queued.saturating_add(sent);
            let held = session.listening.subscriptions.patterns_at_most().saturating_add(queued);
            if spec.effect == Effect::Subscribe {
                over_patterns(names, held, "patterns", ctx.limits)
            } else {
                over_comparisons(names, held, ctx.limits)
            }
        }
        Cost::Prefixes => over_patterns(
            prefixes(request),
            session.listening.tracking.prefixes(),
            "prefixes",
            ctx.limits,
        ),
        Cost::Repeats { arg } => {
            let asked = number::parse_i64(request.arg(arg)?)?;
            // The server itself answers these: "value is out of range" (redis t_zset.c).
            let least = if request.len() > arg + 1 { -(i64::MAX / 2) } else { -i64::MAX };
            if asked < least {
                return None;
            }
            let count =
                asked.checked_neg().map_or(u64::MAX, |count| u64::try_from(count).unwrap_or(0));
            let max = ctx.limits.max_repeated;
            (count > max as u64).then(|| client_text::too_many_repeated(spec.name, count, max))
        }
    }
}

fn over_patterns(more: usize, held: usize, what: &str, limits: &ClientLimits) -> Option<String> {
    let (all, max) = (held.saturating_add(more), limits.max_patterns);
    (all > max).then(|| client_text::too_many_patterns(all, what, max))
}

/// UNSUBSCRIBE adds nothing: what is bounded is how often the server compares two patterns.
fn over_comparisons(named: usize, held: usize, limits: &ClientLimits) -> Option<String> {
    let max = limits.max_patterns;
    let many = named.saturating_mul(held) > max.saturating_mul(max);
    many.then(|| client_text::too_many_compared(named, held, max))
}

/// How many prefixes a `CLIENT TRACKING` names, or a few more.
pub(super) fn prefixes(request: &Request<'_>) -> usize {
    request.args().skip(3).filter(|word| is_word(word, b"prefix")).count()
}

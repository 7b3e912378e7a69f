//! CLIENT TRACKING, CACHING and other settings of the connection itself: they are made on a connection
//! of the session's own, which then stays.
//!
//! Owns: what of them is sent, and whose numbers are in it. Never knows: connections, what is tracked.

use std::rc::Rc;

use bytes::BytesMut;

use super::bounds::prefixes;
use super::context::Context;
use super::expect::Expect;
use super::queue::Class;
use super::residue::Residue;
use super::roster::ClientEntry;
use super::state::{Session, send_wire};
use super::step::{Cause, Route, Step};
use super::{client_text, hello};
use crate::command::{Effect, Local, Spec, is_word};
use crate::policy::Strip;
use crate::resp::{Request, RequestLimits, RequestScanner, Scan, encode, number};
use crate::traffic::Skips;

/// A number that no client of a server has: of it the server reports in its own words, and at its own
/// moment, that there is no such client.
const NOBODY: i64 = i64::MAX;

type Words = Vec<Vec<u8>>;

/// A CLIENT TRACKING with the numbers at the server.
pub(super) struct Aim {
    pub words: Words,
    /// The client that shall receive the invalidations, by its number here.
    pub redirect: i64,
    pub entry: Option<Rc<ClientEntry>>,
}

pub(super) fn track(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if spec.effect == Effect::Caching {
        return session.send(Route::Pinned, Cause::Tracking, Expect::Plain, Class::Other, ctx);
    }
    let on = turns_on(request);
    let off = request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"off"));
    // With further options the server answers, which judges those first.
    if !on && !off && request.len() == 3 {
        session.answer(out, |out| encode::error(out, client_text::SYNTAX));
        return Step::Done;
    }
    // With a pinned connection ON may be in flight.
    if !on && !session.listening.tracking.is_on() && !ctx.has_lease && request.len() == 3 {
        session.answer(out, |out| encode::simple(out, client_text::OK));
        return Step::Done;
    }
    // The number is the server's where CLIENT ID is.
    let own = session.own.is_some() && ctx.policy.is_unbounded();
    if redirects(request) && !own {
        return track_for_another(session, on, request, ctx, out);
    }
    let expect = Expect::Tracking { on, broadcast: is_broad(request), redirect: 0 };
    let step = session.send(Route::Pinned, Cause::Tracking, expect, Class::Other, ctx);
    if matches!(step, Step::Send { .. }) {
        session.listening.tracking.note_prefixes(on, prefixes(request));
    }
    step
}

/// REDIRECT: the client of that number is one of respgate's, which has another at the server.
fn track_for_another(
    session: &mut Session,
    on: bool,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    if let Err(step) = session.passable(Route::Pinned, Cause::Tracking, ctx) {
        return step;
    }
    let Aim { words, redirect, entry } = match aim_redirect(session, words_of(request, ctx)) {
        Ok(aim) => {
            session.listening.tracking.end_wait();
            aim
        }
        Err(target) => {
            return match await_target(session, &target, ctx) {
                Some(step) => step,
                None => session.refuse_text(client_text::tracking_target(target.id), out),
            };
        }
    };
    let expect = Expect::Tracking { on, broadcast: is_broad(request), redirect };
    let route = Route::Pinned;
    let ticket = match session.enqueue(route, Cause::Tracking, expect, Class::Other, ctx) {
        Ok(ticket) => ticket,
        Err(step) => return step,
    };
    session.listening.tracking.note_prefixes(on, prefixes(request));
    if let Some(entry) = entry.filter(|_| on) {
        entry.become_target(session.listening.names().cloned());
    }
    encode::request(ctx.request_scratch.fresh_wire(), words.iter().map(Vec::as_slice));
    send_wire(route, ticket, Skips::NONE)
}

/// Puts the numbers at the server into a CLIENT TRACKING.
///
/// # Errors
///
/// With the client that has none yet.
pub(super) fn aim_redirect(session: &Session, mut words: Words) -> Result<Aim, Rc<ClientEntry>> {
    let (mut redirect, mut entry) = (0, None);
    let mut at = 3;
    while at < words.len() {
        let is = |name: &[u8]| words.get(at).is_some_and(|word| is_word(word, name));
        let step = if is(b"redirect") || is(b"prefix") { 2 } else { 1 };
        let value = words.get(at + 1).and_then(|word| number::parse_i64(word));
        if let (true, Some(id)) = (is(b"redirect"), value) {
            let there = match session.roster.find(&session.entry, id) {
                None => NOBODY,
                Some(target) => {
                    let link = target.link();
                    if link == 0 {
                        return Err(target);
                    }
                    (redirect, entry) = (id, Some(target));
                    i64::try_from(link).unwrap_or(NOBODY)
                }
            };
            if let Some(word) = words.get_mut(at + 1) {
                *word = there.to_string().into_bytes();
            }
        }
        at += step;
    }
    Ok(Aim { words, redirect, entry })
}

/// The other client gets a pinned connection first; `None`: it has got none in time.
pub(super) fn await_target(
    session: &mut Session,
    target: &ClientEntry,
    ctx: &Context<'_>,
) -> Option<Step> {
    let Some(again) = session.listening.tracking.await_target(ctx.now) else {
        target.end_want(false);
        return None;
    };
    session.roster.want(target);
    Some(Step::Pause(again))
}

/// The server's answer to what is about the pinned connection itself, as the client shall see it.
pub(super) fn take_own(session: &mut Session, expect: Expect, frame: &[u8], out: &mut BytesMut) {
    let error = frame.starts_with(b"-") || frame.starts_with(b"!");
    match expect {
        Expect::Hello(_) if error => {
            session.awaited.end();
            out.extend_from_slice(frame);
        }
        Expect::Hello(greeted) => {
            session.awaited.end();
            hello::take_hello(session, *greeted, frame, out);
        }
        Expect::Redirect(Some(strip)) => {
            let mut own = BytesMut::new();
            session.listening.tracking.rename(frame, &mut own);
            strip.frame(&own, out);
        }
        Expect::Redirect(None) => session.listening.tracking.rename(frame, out),
        Expect::Tracking { on, broadcast, redirect } => {
            session.residue.note(Residue::Dirty);
            match session.listening.names().cloned().filter(|_| error) {
                Some(prefix) => Strip::of_errors(prefix).frame(frame, out),
                None => out.extend_from_slice(frame),
            }
            if !error {
                session.listening.tracking.note(on, broadcast, redirect);
            }
        }
        Expect::Plain
        | Expect::Block
        | Expect::Hidden
        | Expect::Alive
        | Expect::Page
        | Expect::Names(_)
        | Expect::Acks { .. }
        | Expect::Watch
        | Expect::Select(_)
        | Expect::Exec(_)
        | Expect::Script(_)
        | Expect::Manner { .. }
        | Expect::Own(_)
        | Expect::Monitor => debug_assert!(false, "not about the connection itself"),
    }
}

/// CLIENT NO-EVICT, NO-TOUCH and IMPORT-SOURCE.
pub(super) fn set_manner(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let word = request.arg(2).unwrap_or_default();
    let on = word.eq_ignore_ascii_case(b"on");
    let off = word.eq_ignore_ascii_case(b"off");
    // Whether it can be at all comes first.
    let imports = spec.effect == Effect::Local(Local::ImportSource);
    if !on && !off && !imports {
        session.answer(out, |out| encode::error(out, client_text::SYNTAX));
        return Step::Done;
    }
    let has = session.flags.any() || ctx.has_lease;
    if !on && !has && !imports {
        session.answer(out, |out| encode::simple(out, client_text::OK));
        return Step::Done;
    }
    let expect = Expect::Manner { spec, on };
    session.send(Route::Pinned, Cause::Session, expect, Class::Other, ctx)
}

/// Whether one of the options is REDIRECT.
pub(super) fn redirects(request: &Request<'_>) -> bool {
    request.args().skip(3).any(|option| is_word(option, b"redirect"))
}

/// Whether a CLIENT TRACKING turns it on.
pub(super) fn turns_on(request: &Request<'_>) -> bool {
    request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"on"))
}

/// Whether CLIENT TRACKING is for all keys, read or not.
pub(super) fn is_broad(request: &Request<'_>) -> bool {
    request.args().skip(3).any(|word| is_word(word, b"bcast"))
}

pub(super) fn words_of_request(request: &Request<'_>) -> Words {
    request.args().map(<[u8]>::to_vec).collect()
}

/// The request's words, with the prefix where the policy puts one.
pub(super) fn words_of(request: &Request<'_>, ctx: &mut Context<'_>) -> Words {
    if !ctx.request_scratch.grant.changed {
        return words_of_request(request);
    }
    let wire = ctx.request_scratch.wire();
    let limits = RequestLimits {
        max_args: ctx.limits.max_args,
        max_bulk_bytes: u64::MAX,
        max_inline_bytes: 0,
        large_bytes: u64::MAX,
        authenticated: true,
    };
    let mut scanner = RequestScanner::default();
    match scanner.scan(wire, &limits) {
        Ok(Scan::Request { .. }) => words_of_request(&scanner.request(wire)),
        _ => words_of_request(request),
    }
}

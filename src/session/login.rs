//! Attempts to log in: each is judged once, and a wrong one beyond a few is answered later.
//!
//! Owns: when a wrong login is answered. Never knows: how a password is compared, how many others were
//! wrong.

use super::context::Context;
use super::state::Session;
use super::step::Step;
use super::{client_text, hello};
use crate::command::{Effect, Spec};
use crate::resp::Request;

/// The step to be taken before a wrong login is answered. A right one goes on at once. The request that
/// comes again is wrong still, whatever a reload has changed.
pub(super) fn hold_login(
    session: &mut Session,
    spec: &Spec,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Option<Step> {
    let is_login = matches!(spec.effect, Effect::Auth | Effect::Hello);
    if !is_login || !ctx.auth.compares() || request.announced().is_some() {
        return None;
    }
    let until = match session.user.wrong_until() {
        Some(until) => until,
        None => {
            let wrong =
                |(user, password): &(&[u8], &[u8])| ctx.auth.admit(user, password).is_none();
            let refused = if spec.effect == Effect::Hello {
                hello::judge_hello(session, request, ctx).err()
            } else {
                hello::check_auth(session, request, ctx).err().map(str::to_owned)
            };
            refused.filter(|text| text == client_text::WRONGPASS)?;
            let (user, _) = credentials(spec, request, ctx).find(wrong)?;
            let until = ctx.limiters.note_wrong_login(ctx.now);
            session.user.hold_wrong(ctx.auth.known(user), until);
            until
        }
    };
    (ctx.now < until).then_some(Step::Pause(until))
}

/// The step to be taken before a login is sent that the server judges: it waits while too many were wrong
/// lately, on all connections of the listener.
pub(super) fn hold_login_at_server(
    session: &mut Session,
    spec: &Spec,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Option<Step> {
    let says_who =
        spec.effect == Effect::Auth || (spec.effect == Effect::Hello && request.len() > 2);
    if !says_who || !ctx.auth.is_off() {
        return None;
    }
    let until = session.user.hold_unjudged(|| ctx.limiters.next_login_at(ctx.now));
    (ctx.now < until).then_some(Step::Pause(until))
}

/// The server has judged a login.
pub(super) fn note_server_login(session: &mut Session, reply: &[u8]) {
    if reply.starts_with(b"-WRONGPASS") {
        session.user.note_wrong_at_server();
    }
}

/// What a request says to log in: a user and a password, in HELLO perhaps several.
fn credentials<'a>(
    spec: &Spec,
    request: &'a Request<'a>,
    ctx: &Context<'_>,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let single = match (spec.effect, request.arg(1), request.arg(2), request.len()) {
        (Effect::Auth, Some(password), None, 2) if !ctx.auth.has_no_password() => {
            Some((b"default".as_slice(), password))
        }
        (Effect::Auth, Some(user), Some(password), 3) => Some((user, password)),
        _ => None,
    };
    let mut at = if spec.effect == Effect::Hello { 2 } else { usize::MAX };
    let several = std::iter::from_fn(move || {
        loop {
            let option = request.arg(at)?;
            let (first, second) = (request.arg(at + 1), request.arg(at + 2));
            if option.eq_ignore_ascii_case(b"auth") {
                at += 3;
                return first.zip(second);
            }
            if !option.eq_ignore_ascii_case(b"setname") {
                return None;
            }
            at += 2;
        }
    });
    single.into_iter().chain(several)
}

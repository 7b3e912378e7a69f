//! Attempts to log in: each is judged once, and a wrong one beyond a few is answered later.
//!
//! Owns: which logins are wrong, and which wait. Never knows: how a password is compared, how many others were
//! wrong.

use super::context::Context;
use super::state::Session;
use super::step::Step;
use super::user::ClientUser;
use super::users::Name;
use super::{client_text, hello};
use crate::command::{Effect, Spec};
use crate::resp::Request;

/// Whether a request is a login whose password is compared here.
pub(super) fn is_compared(spec: &Spec, request: &Request<'_>, ctx: &Context<'_>) -> bool {
    let is_login = matches!(spec.effect, Effect::Auth | Effect::Hello);
    is_login && ctx.auth.compares() && request.announced().is_none()
}

/// Whether such a login is wrong: the user that it names, if there is one.
pub(super) fn wrong_user(
    session: &Session,
    spec: &Spec,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Option<Option<Name>> {
    debug_assert!(is_compared(spec, request, ctx), "no password is compared");
    let wrong = |(user, password): &(&[u8], &[u8])| ctx.auth.admit(user, password).is_none();
    let refused = if spec.effect == Effect::Hello {
        hello::judge_hello(session, request, ctx).err()
    } else {
        hello::check_auth(session, request, ctx).err().map(str::to_owned)
    };
    refused.filter(|text| text == client_text::WRONGPASS)?;
    let (user, _) = credentials(spec, request, ctx).find(wrong)?;
    Some(ctx.auth.known(user))
}

/// The step to be taken before a login is sent that the server judges: it waits while too many were wrong
/// lately, on all connections of the listener.
pub(super) fn hold_at_server(
    user: &mut ClientUser,
    spec: &Spec,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Option<Step> {
    let has_login =
        spec.effect == Effect::Auth || (spec.effect == Effect::Hello && request.len() > 2);
    if !has_login || !ctx.auth.is_off() {
        return None;
    }
    let until = user.hold_unjudged(|| ctx.limiters.next_login_at(ctx.now));
    (ctx.now < until).then_some(Step::Pause(until))
}

/// What a request contains to log in: a user and a password, in HELLO perhaps several.
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

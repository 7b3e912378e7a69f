//! Attempts to log in: each is judged once, and a wrong one beyond a few is answered later.
//!
//! Owns: when a wrong login is answered. Never knows: how a password is compared, how many others were
//! wrong.

use super::access::Login;
use super::client_text;
use super::state::{Context, Session, Step};
use super::users::Name;
use crate::command::{Effect, Spec};
use crate::resp::Request;

impl Session {
    /// What came of an attempt to log in, once.
    pub const fn take_login(&mut self) -> Option<Login> {
        self.login.take()
    }

    /// A login was refused that [`Self::hold_login`] has not seen: no password is compared here, but there is no
    /// user but `default`.
    pub(super) fn note_refused_login(&mut self, text: &str) {
        if text == client_text::WRONGPASS && self.wrong_until.is_none() {
            self.login = Some(Login::Wrong(None));
        }
    }

    /// The step to be taken before a login is sent that the server judges: it waits while too many were wrong
    /// lately, on all connections of the listener.
    pub(super) fn hold_login_at_server(
        &mut self,
        spec: &Spec,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Option<Step> {
        let says_who = match spec.effect {
            Effect::Auth => true,
            Effect::Hello => request.len() > 2,
            _ => false,
        };
        if !says_who || !ctx.auth.is_off() {
            return None;
        }
        let wait = || ctx.limiters.next_login_at(ctx.now);
        let until = *self.wrong_until.get_or_insert_with(wait);
        (ctx.now < until).then_some(Step::Pause(until))
    }

    /// The server has judged a login.
    pub(super) fn note_server_login(&mut self, reply: &[u8]) {
        if reply.starts_with(b"-WRONGPASS") {
            self.login = Some(Login::WrongAtServer);
        }
    }

    /// As whom the client goes on that has said the right password.
    pub(super) fn log_in(&mut self, user: Name) {
        self.become_user(user, true);
        self.login = Some(Login::Right);
    }

    /// The step to be taken before a wrong login is answered. A right one goes on at once. The request that
    /// comes again is wrong still, whatever a reload has changed.
    pub(super) fn hold_login(
        &mut self,
        spec: &Spec,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Option<Step> {
        let is_login = matches!(spec.effect, Effect::Auth | Effect::Hello);
        if !is_login || !ctx.auth.compares() || request.announced().is_some() {
            return None;
        }
        let until = match self.wrong_until {
            Some(until) => until,
            None => {
                let wrong =
                    |(user, password): &(&[u8], &[u8])| ctx.auth.admit(user, password).is_none();
                let refused = if spec.effect == Effect::Hello {
                    self.judge_hello(request, ctx).err()
                } else {
                    self.check_auth(request, ctx).err().map(str::to_owned)
                };
                refused.filter(|text| text == client_text::WRONGPASS)?;
                let (user, _) = credentials(spec, request, ctx).find(wrong)?;
                self.login = Some(Login::Wrong(ctx.auth.known(user)));
                *self.wrong_until.insert(ctx.limiters.note_wrong_login(ctx.now))
            }
        };
        (ctx.now < until).then_some(Step::Pause(until))
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

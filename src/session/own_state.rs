//! What a client sets on its connection, where that is its own at the server.
//!
//! Owns: which commands go there, what they leave there. Never knows: transactions, how a request is dispatched.

use super::context::Context;
use super::greeted::Greeted;
use super::state::Session;
use crate::command::{Effect, Local, Spec};
use crate::resp::{Protocol, Request};

/// Whether the server's answer about the connection is the client's own.
pub(super) fn goes_to_own(spec: &Spec, ctx: &Context<'_>) -> bool {
    if spec.effect == Effect::Auth {
        return ctx.auth.is_off();
    }
    let Effect::Local(local) = spec.effect else { return false };
    match local {
        Local::WhoAmI => ctx.auth.is_off(),
        Local::Reply => false,
        // These reach connections of others, or return a number by which they are reached.
        Local::List
        | Local::Kill
        | Local::Unblock
        | Local::Id
        | Local::Info
        | Local::GetRedirect
        | Local::TrackingInfo => ctx.policy.is_unbounded(),
        Local::Asking
        | Local::ReadOnly
        | Local::ReadWrite
        | Local::Capa
        | Local::GetName
        | Local::Help
        | Local::ImportSource
        | Local::NoEvict
        | Local::NoTouch
        | Local::SetInfo
        | Local::SetName => true,
    }
}

/// Whether it leaves on the connection what cannot be made again on another one; names can.
pub(super) fn binds(spec: &Spec) -> bool {
    match spec.effect.local() {
        Some(
            Local::SetName
            | Local::SetInfo
            | Local::GetName
            | Local::Info
            | Local::List
            | Local::GetRedirect
            | Local::TrackingInfo
            | Local::WhoAmI,
        ) => false,
        Some(
            Local::Asking
            | Local::ReadOnly
            | Local::ReadWrite
            | Local::Capa
            | Local::Help
            | Local::Id
            | Local::ImportSource
            | Local::Kill
            | Local::NoEvict
            | Local::NoTouch
            | Local::Reply
            | Local::Unblock,
        )
        | None => true,
    }
}

/// Whether the client's number is that of its connection at the server.
pub(super) fn is_numbered(session: &Session, ctx: &Context<'_>) -> bool {
    session.own.is_some() && ctx.policy.is_unbounded()
}

/// The settings of a HELLO, where the server judges it: the protocol, a name, whether as another user.
pub(super) fn read_hello(
    session: &Session,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> (Greeted, bool) {
    let protocol = match request.arg(1) {
        Some(b"2") => Protocol::Resp2,
        Some(b"3") => Protocol::Resp3,
        Some(_) | None => session.dialect.protocol(),
    };
    let (mut name, mut has_login, mut at) = (None, false, 2);
    while let Some(option) = request.arg(at) {
        if option.eq_ignore_ascii_case(b"auth") {
            has_login = true;
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") {
            name = request.arg(at + 1).map(<[u8]>::to_vec);
            at += 2;
        } else {
            break;
        }
    }
    let is_numbered = is_numbered(session, ctx);
    (Greeted { protocol, name, user: None, is_numbered }, has_login)
}

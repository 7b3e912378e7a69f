//! The user, protocol and database of a client: HELLO, AUTH, SELECT, RESET.
//!
//! Owns: the session's protocol, database and authentication. Never knows: how the
//! server is reached; passwords of the upstream.

use bytes::BytesMut;

use super::awaited::Awaited;
use super::client_info::is_valid_name;
use super::client_text;
use super::context::Context;
use super::expect::Expect;
use super::greeted::Greeted;
use super::queue::Class;
use super::reply_mode::ReplyMode;
use super::residue::Residue;
use super::state::{PendingOpen, Session, send_wire};
use super::step::{Cause, Route, Step};
use super::users::Name;
use crate::resp::{Protocol, Request, encode, number};
use crate::traffic::{Facts, OpenFailure, PoolKey, Skips};

/// Databases a request may name at all; the server knows how many there are.
const DATABASE_MAX: i64 = i32::MAX as i64;

/// Redis acl.c `authCommand`.
pub(super) fn auth(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let text = judge_auth(session, request, ctx);
    session.answer(out, |out| match text {
        Ok(()) => encode::simple(out, client_text::OK),
        Err(text) => encode::error(out, text.as_bytes()),
    });
    if let Err(text) = text {
        session.user.note_refused(text);
    }
    Step::Done
}

pub(super) fn judge_auth(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Result<(), &'static str> {
    let name = check_auth(session, request, ctx)?;
    session.user.log_in(name, &session.roster, &session.entry);
    Ok(())
}

/// The user after the command.
pub(super) fn check_auth(
    session: &Session,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Result<Name, &'static str> {
    let (user, password) = match (request.arg(1), request.arg(2), request.len()) {
        (Some(password), None, 2) => {
            if ctx.auth.has_no_password() {
                return Err(client_text::NO_PASSWORD_SET);
            }
            (b"default".as_slice(), password)
        }
        (Some(user), Some(password), 3) => (user, password),
        _ => return Err(client_text::SYNTAX),
    };
    admit_as(session, user, password, ctx)
}

fn admit_as(
    session: &Session,
    user: &[u8],
    password: &[u8],
    ctx: &Context<'_>,
) -> Result<Name, &'static str> {
    let admitted = ctx.auth.admit(user, password).filter(|_| session.user.wrong_until().is_none());
    let name = admitted.ok_or(client_text::WRONGPASS)?;
    may_become(session, &name)?;
    Ok(name)
}

/// What a subscription brings carries the prefix of the policy it was made under, and only that
/// can be taken off.
///
/// # Errors
///
/// With the words for the client.
pub(super) fn may_become(session: &Session, user: &Name) -> Result<(), &'static str> {
    let Session { listening, user: own, .. } = session;
    let stays = listening.names().is_some() && listening.brings_names();
    if stays && user != own.name() { Err(client_text::USER_STAYS) } else { Ok(()) }
}

/// Redis networking.c `helloCommand`.
pub(super) fn hello(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let greeted = match judge_hello(session, request, ctx) {
        Ok(greeted) => greeted,
        Err(text) => {
            session.answer(out, |out| encode::error(out, text.as_bytes()));
            session.user.note_refused(&text);
            return Step::Done;
        }
    };
    if greeted.protocol != session.dialect.protocol()
        && (session.pinning().binds() || ctx.has_lease)
    {
        if session.in_flight() > 0 {
            return Step::Wait;
        }
        if session.pinning().binds() {
            if session.listening.replicates() {
                return session.refuse_text(client_text::HELLO_OF_REPLICA, out);
            }
            return hello_on_lease(session, greeted, ctx);
        }
        session.large_replies.forget();
        session.residue.note_if(ctx.has_lease, Residue::Poisoned);
    }
    let key = PoolKey { protocol: greeted.protocol, database: session.dialect.database() };
    session.opening = Some(Box::new(PendingOpen::Hello(greeted)));
    Step::Open(key)
}

/// What is on the pinned connection stays there: it is that connection which changes.
fn hello_on_lease(session: &mut Session, greeted: Greeted, ctx: &mut Context<'_>) -> Step {
    let cause = session.cause(ctx);
    let mut wire = BytesMut::new();
    greeted.request(&mut wire);
    let expect = Expect::Hello(Box::new(greeted));
    let ticket = match session.enqueue(Route::Pinned, cause, expect, Class::Other, ctx) {
        Ok(ticket) => ticket,
        Err(step) => return step,
    };
    session.awaited.begin(Awaited::Outcome);
    ctx.request_scratch.fresh_wire().unsplit(wire);
    send_wire(Route::Pinned, ticket, Skips::NONE)
}

/// The server's answer to HELLO on the pinned connection, with the client's own number.
pub(super) fn take_hello(
    session: &mut Session,
    greeted: Greeted,
    frame: &[u8],
    out: &mut BytesMut,
) {
    session.residue.note(Residue::Dirty);
    let is_numbered = greeted.is_numbered;
    become_greeted(session, greeted);
    if is_numbered {
        return out.extend_from_slice(frame);
    }
    let mark: &[u8] = b"$2\r\nid\r\n:";
    let found = frame.windows(mark.len()).position(|part| part == mark);
    let found = found.and_then(|at| frame.split_at_checked(at + mark.len()));
    let Some((head, tail)) = found else { return out.extend_from_slice(frame) };
    let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
    out.extend_from_slice(head);
    number::write_u64(out, session.entry.id);
    out.extend_from_slice(tail.get(digits..).unwrap_or_default());
}

pub(super) fn become_greeted(session: &mut Session, greeted: Greeted) {
    let Greeted { protocol, name, user, .. } = greeted;
    session.dialect.set_protocol(protocol);
    if let Some(user) = user {
        session.user.log_in(user, &session.roster, &session.entry);
    }
    if let Some(name) = name {
        session.entry.client_info_mut().name = name;
    }
}

pub(super) fn judge_hello(
    session: &Session,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Result<Greeted, String> {
    let mut protocol = session.dialect.protocol();
    if let Some(version) = request.arg(1) {
        protocol = match number::parse_i64(version) {
            None => return Err(client_text::PROTO_NOT_INTEGER.to_owned()),
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(client_text::NOPROTO.to_owned()),
        };
    }
    let (mut name, mut admitted, mut at) = (None, None, 2);
    while let Some(option) = request.arg(at) {
        let rest = request.len() - at - 1;
        if option.eq_ignore_ascii_case(b"auth") && rest >= 2 {
            let user = request.arg(at + 1).unwrap_or_default();
            let password = request.arg(at + 2).unwrap_or_default();
            admitted = Some(admit_as(session, user, password, ctx)?);
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && rest >= 1 {
            let value = request.arg(at + 1).unwrap_or_default();
            if !is_valid_name(value) {
                return Err(client_text::BAD_NAME.to_owned());
            }
            name = Some(value.to_vec());
            at += 2;
        } else {
            return Err(client_text::hello_option(encode::echo(option)));
        }
    }
    if !session.user.is_authenticated() && admitted.is_none() {
        return Err(client_text::HELLO_NOAUTH.to_owned());
    }
    debug_assert!(
        session.user.is_authenticated() || admitted.is_some(),
        "the client has not logged in"
    );
    Ok(Greeted { protocol, name, user: admitted, is_numbered: false })
}

/// Redis db.c `selectCommand`.
pub(super) fn select(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let database = match parse_database(request.arg(1).unwrap_or_default()) {
        Ok(database) => database,
        Err(text) => {
            session.answer(out, |out| encode::error(out, text.as_bytes()));
            return Step::Done;
        }
    };
    if ctx.has_lease || session.usual_route(ctx) == Route::Pinned {
        let expect = Expect::Select(database);
        let step = session.send(Route::Pinned, Cause::Session, expect, Class::Other, ctx);
        if matches!(step, Step::Send { .. }) {
            session.awaited.begin(Awaited::Outcome);
        }
        return step;
    }
    session.opening = Some(Box::new(PendingOpen::Select(database)));
    Step::Open(PoolKey { protocol: session.dialect.protocol(), database })
}

/// The outcome of [`Step::Open`].
pub(super) fn take_opened(
    session: &mut Session,
    opened: Result<Facts, OpenFailure>,
    out: &mut BytesMut,
) {
    let Some(opening) = session.opening.take() else { return };
    match (*opening, opened) {
        (PendingOpen::Select(database), Ok(_)) => {
            session.dialect.select(database);
            session.answer(out, |out| encode::simple(out, client_text::OK));
        }
        (PendingOpen::Hello(greeted), Ok(facts)) => {
            let (protocol, id) = (greeted.protocol, session.entry.id);
            become_greeted(session, greeted);
            session.answer(out, |out| write_hello(out, protocol, id, &facts));
        }
        (_, Err(OpenFailure::Refused(line))) => {
            session.answer(out, |out| encode::error(out, &line))
        }
        (_, Err(OpenFailure::Loss(loss))) if session.outage.ends_with(loss) => {
            session.replies.queue.cut()
        }
        (_, Err(OpenFailure::Loss(loss))) => {
            let text = client_text::loss(loss);
            session.answer(out, |out| encode::error(out, text.as_bytes()));
        }
    }
}

/// Redis networking.c `resetCommand`: as if the client had just connected.
pub(super) fn reset(session: &mut Session, ctx: &mut Context<'_>, out: &mut BytesMut) -> Step {
    if session.in_flight() > 0 {
        return Step::Wait;
    }
    if session.reply_mode == ReplyMode::Off {
        // It ends before the answer; a SKIP is for the answer.
        session.reply_mode = ReplyMode::On;
    }
    session.answer(out, |out| encode::simple(out, client_text::RESET));
    session.begin_anew(ctx.auth, ctx.has_lease);
    debug_assert!(session.is_settled() && !session.is_in_transaction(), "something is left");
    Step::Done
}

/// The number of a database, as far as it can be judged without the server.
pub(super) fn parse_database(text: &[u8]) -> Result<u32, &'static str> {
    let Some(number) = number::parse_i64(text) else { return Err(client_text::NOT_INTEGER) };
    if !(-DATABASE_MAX - 1..=DATABASE_MAX).contains(&number) {
        return Err(client_text::NOT_INTEGER);
    }
    u32::try_from(number).map_err(|_| client_text::DB_RANGE)
}

/// The answer to HELLO (redis networking.c `helloCommand`), with the session's own id.
fn write_hello(out: &mut BytesMut, protocol: Protocol, id: u64, facts: &Facts) {
    let bulk = |out: &mut BytesMut, text: &str| encode::bulk(out, text.as_bytes());
    let zone = facts.availability_zone.as_ref().filter(|zone| !zone.is_empty());
    encode::map(out, 7 + usize::from(zone.is_some()), protocol);
    bulk(out, "server");
    bulk(out, &facts.server);
    bulk(out, "version");
    bulk(out, &facts.version);
    bulk(out, "proto");
    encode::integer(out, if protocol == Protocol::Resp3 { 3 } else { 2 });
    bulk(out, "id");
    encode::integer(out, i64::try_from(id).unwrap_or(i64::MAX));
    bulk(out, "mode");
    bulk(out, &facts.mode);
    bulk(out, "role");
    bulk(out, &facts.role);
    bulk(out, "modules");
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => &facts.modules_resp2,
        Protocol::Resp3 => &facts.modules_resp3,
    });
    if let Some(zone) = zone {
        bulk(out, "availability_zone");
        bulk(out, zone);
    }
}

//! Commands that respgate answers itself, because the answer is about the client's connection and
//! the client's connection is respgate's.
//!
//! Owns: what CLIENT answers about this session. Never knows: upstream connections, other sessions.

use bytes::BytesMut;

use super::access::Auth;
use super::answer_room::AnswerRoom;
use super::client_info::is_valid_name;
use super::context::Context;
use super::expect::Expect;
use super::queue::Class;
use super::reply_mode::ReplyMode;
use super::state::Session;
use super::step::{Cause, Route, Step};
use super::{client_text, clients, forward, track};
use crate::base::limits;
use crate::command::{Effect, Local, Spec};
use crate::resp::{Request, encode};
use crate::traffic::Server;

pub(super) fn answer_local(
    session: &mut Session,
    local: Local,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    match local {
        Local::Reply => return client_reply(session, request, out),
        Local::Help => return forward::forward(session, spec, request, ctx),
        Local::Unblock => return clients::unblock(session, request, ctx, out),
        Local::GetRedirect | Local::TrackingInfo
            if session.listening.tracking.is_on() || ctx.has_lease =>
        {
            let expect = Expect::Redirect(None);
            return session.send(Route::Pinned, Cause::Tracking, expect, Class::Other, ctx);
        }
        Local::NoEvict | Local::NoTouch | Local::ImportSource => {
            return track::set_manner(session, spec, request, ctx, out);
        }
        Local::ReadOnly | Local::ReadWrite => session.roster.note_server(ctx.server),
        // Requests in flight may change what is shown.
        Local::Info | Local::List | Local::Kill
            if session.in_flight() > 0 && session.replies.is_pinned() =>
        {
            return Step::Wait;
        }
        // Others are served before the next search.
        Local::List | Local::Kill
            if session.roster.searched() >= limits::SEARCHED_CLIENTS_PER_TURN =>
        {
            return Step::Pause(ctx.now + limits::CLIENT_SEARCH_PAUSE);
        }
        Local::Info | Local::List | Local::Kill => {
            if let Err(step) = clients::learn_form(session, ctx) {
                return step;
            }
        }
        Local::WhoAmI
        | Local::Asking
        | Local::Capa
        | Local::GetName
        | Local::GetRedirect
        | Local::Id
        | Local::SetInfo
        | Local::SetName
        | Local::TrackingInfo => {}
    }
    let mut reply = BytesMut::new();
    let room = AnswerRoom::default();
    write_local(session, spec, request, (Some(ctx.auth), room), &mut reply);
    session.answer(out, |out| out.extend_from_slice(&reply));
    if session.farewell { Step::Close } else { Step::Done }
}

/// Redis networking.c `clientCommand`, REPLY.
fn client_reply(session: &mut Session, request: &Request<'_>, out: &mut BytesMut) -> Step {
    let mode = request.arg(2).unwrap_or_default();
    if mode.eq_ignore_ascii_case(b"on") {
        session.reply_mode = ReplyMode::On;
        session.answer(out, |out| encode::simple(out, client_text::OK));
    } else if mode.eq_ignore_ascii_case(b"off") {
        session.reply_mode = ReplyMode::Off;
    } else if mode.eq_ignore_ascii_case(b"skip") {
        session.reply_mode.skip();
    } else {
        session.answer(out, |out| encode::error(out, client_text::SYNTAX.as_bytes()));
    }
    Step::Done
}

/// The answer itself, of which no more than is short goes beyond `room`; also for places inside EXEC's array, where
/// `auth` is not at hand. Returns what is left of the room for answers about clients.
pub(super) fn write_local(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    (auth, room): (Option<&Auth>, AnswerRoom),
    out: &mut BytesMut,
) -> AnswerRoom {
    let error = |out: &mut BytesMut, text: &str| encode::error(out, text.as_bytes());
    let option = request.arg(2).unwrap_or_default();
    let Effect::Local(local) = spec.effect else {
        error(out, client_text::NEVER);
        return room;
    };
    match local {
        Local::WhoAmI => encode::bulk(out, session.user.name().as_str().as_bytes()),
        Local::Id => encode::integer(out, i64::try_from(session.entry.id).unwrap_or(i64::MAX)),
        Local::GetName | Local::Info if session.entry.held_bytes() >= room.bytes() => {
            error(out, client_text::LONG_ANSWER);
            return room.closed();
        }
        Local::GetName => match &*session.entry.client_info() {
            Some(client_info) if !client_info.name.is_empty() => {
                encode::bulk(out, &client_info.name)
            }
            _ => encode::null(out, session.dialect.protocol()),
        },
        Local::SetName if is_valid_name(option) => {
            session.entry.client_info_mut().name = option.to_vec();
            encode::simple(out, client_text::OK);
        }
        Local::SetName => error(out, client_text::BAD_NAME),
        Local::SetInfo => set_info(session, option, request.arg(3).unwrap_or_default(), out),
        Local::Info => clients::write_info(session, spec, request, out),
        Local::List => return clients::write_list(session, spec, request, (auth, room), out),
        Local::Kill => return clients::write_kill(session, spec, request, (auth, room), out),
        Local::Capa => {
            // Valkey networking.c `clientCapaCommand`: what it does not know does no harm.
            if request.args().skip(2).any(|word| word.eq_ignore_ascii_case(b"redirect")) {
                session.entry.client_info_mut().capa = "r";
            }
            encode::simple(out, client_text::OK);
        }
        Local::GetRedirect => encode::integer(out, -1),
        Local::TrackingInfo => write_no_tracking(session, out),
        // Valkey takes them although it is no cluster; a Redis does not.
        Local::ReadOnly | Local::ReadWrite if session.roster.server().valkey => {
            session.flags.set_reads_only(local == Local::ReadOnly);
            encode::simple(out, client_text::OK);
        }
        Local::ReadOnly | Local::ReadWrite | Local::Asking => error(out, client_text::NO_CLUSTER),
        // What is answered by other means, and what the server is asked.
        Local::Help
        | Local::ImportSource
        | Local::NoEvict
        | Local::NoTouch
        | Local::Reply
        | Local::Unblock => error(out, client_text::NEVER),
    }
    room
}

/// Redis 7.2 networking.c `clientSetinfoCommand`.
fn set_info(session: &mut Session, option: &[u8], value: &[u8], out: &mut BytesMut) {
    let lib_name = option.eq_ignore_ascii_case(b"lib-name");
    if !lib_name && !option.eq_ignore_ascii_case(b"lib-ver") {
        let text = client_text::unknown_client_info(encode::echo(option));
        return encode::error(out, text.as_bytes());
    }
    if !is_valid_name(value) {
        let text = client_text::bad_client_info(encode::echo(option));
        return encode::error(out, text.as_bytes());
    }
    let mut client_info = session.entry.client_info_mut();
    if lib_name {
        client_info.lib_name = value.to_vec();
    } else {
        client_info.lib_ver = value.to_vec();
    }
    encode::simple(out, client_text::OK);
}

/// Redis networking.c `clientCommand`, TRACKINGINFO of a client without tracking.
fn write_no_tracking(session: &Session, out: &mut BytesMut) {
    encode::map(out, 3, session.dialect.protocol());
    encode::bulk(out, b"flags");
    encode::set(out, 1, session.dialect.protocol());
    encode::bulk(out, b"off");
    encode::bulk(out, b"redirect");
    encode::integer(out, -1);
    encode::bulk(out, b"prefixes");
    encode::array(out, 0);
}

/// What Redis does not have.
const NEVER_THERE: (u16, u16) = (u16::MAX, 0);

/// Whether a command that is answered here is one of this server's.
pub(super) fn serves(spec: &Spec, server: Server) -> bool {
    let Effect::Local(local) = spec.effect else { return true };
    match local {
        Local::SetInfo | Local::NoTouch => server.has((7, 2), (7, 2)),
        Local::Capa => server.has(NEVER_THERE, (8, 0)),
        Local::ImportSource => server.has(NEVER_THERE, (8, 1)),
        Local::WhoAmI
        | Local::Asking
        | Local::ReadOnly
        | Local::ReadWrite
        | Local::GetName
        | Local::GetRedirect
        | Local::Help
        | Local::Id
        | Local::Info
        | Local::Kill
        | Local::List
        | Local::NoEvict
        | Local::Reply
        | Local::SetName
        | Local::TrackingInfo
        | Local::Unblock => true,
    }
}

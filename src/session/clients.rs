//! CLIENT INFO, LIST, KILL and UNBLOCK: what a client sees of those with the same policy, and does to
//! them.
//!
//! Owns: the answers. Never knows: how a client is described, which options choose it.

use std::rc::Rc;

use bytes::BytesMut;

use super::access::Auth;
use super::answer_room::AnswerRoom;
use super::client_filter::Filter;
use super::client_info::Form;
use super::client_line::write_line;
use super::context::Context;
use super::expect::Expect;
use super::pending_query::{Arrived, PendingQuery};
use super::queue::Class;
use super::roster::ClientEntry;
use super::seen::Seen;
use super::state::{Session, send_wire};
use super::step::Step;
use super::{client_text, late};
use crate::command::Spec;
use crate::resp::{Protocol, Request, encode, number};
use crate::traffic::{Skips, own};

/// The server describes a connection of respgate's own, once, so that respgate describes clients
/// as this server does.
pub(super) fn learn_form(session: &mut Session, ctx: &mut Context<'_>) -> Result<(), Step> {
    session.roster.note_server(ctx.server);
    // What is pushed would come between.
    if session.roster.form().is_of(ctx.server) || session.pinning().binds() {
        return Ok(());
    }
    session.query.take_if(|query| query.is_scan());
    let form = match session.query.as_ref().map(|query| query.arrived()) {
        None => return Err(ask_for_form(session, ctx)),
        Some(None) => return Err(Step::Wait),
        Some(Some(Arrived::Page(frame))) => {
            text_of(frame).and_then(|line| Form::learn(ctx.server, line))
        }
        Some(Some(Arrived::Lost(_))) => None,
    };
    session.query = None;
    session.roster.note_form(form.unwrap_or_else(|| Form::of(ctx.server)));
    Ok(())
}

fn ask_for_form(session: &mut Session, ctx: &mut Context<'_>) -> Step {
    let (route, cause) = (session.usual_route(ctx), session.cause(ctx));
    let ticket = match session.enqueue(route, cause, Expect::Page, Class::Other, ctx) {
        Ok(ticket) => ticket,
        Err(step) => return step,
    };
    encode::request(ctx.request_scratch.fresh_wire(), [own::CLIENT, b"INFO"]);
    session.query = Some(PendingQuery::question(ticket));
    Step::Ask { route, ticket, skips: Skips::NONE, retry: true }
}

/// Redis networking.c `clientCommand`, INFO.
pub(super) fn write_info(
    session: &Session,
    spec: &'static Spec,
    request: &Request<'_>,
    out: &mut BytesMut,
) {
    let seen = Seen::by(session, spec, request);
    let mut text = String::new();
    with_form(session, |form| {
        write_line(form, (&session.entry, &seen.figures), seen.now, &mut text);
    });
    write_text(out, text.as_bytes(), session.dialect.protocol());
}

fn with_form(session: &Session, write: impl FnOnce(&Form)) {
    let known = session.roster.form();
    if known.is_of(session.roster.server()) {
        write(&known);
    } else {
        write(&Form::of(session.roster.server()));
    }
}

/// LIST: the clients of the same policy, if their lines have room.
pub(super) fn write_list(
    session: &Session,
    spec: &'static Spec,
    request: &Request<'_>,
    (auth, room): (Option<&Auth>, AnswerRoom),
    out: &mut BytesMut,
) -> AnswerRoom {
    if room.bytes() == 0 {
        encode::error(out, client_text::LONG_ANSWER);
        return room;
    }
    let seen = Seen::by(session, spec, request);
    let found = match Filter::of_list(request, session.roster.server(), auth) {
        Ok(found) => found,
        Err(line) => {
            encode::error(out, line);
            return room;
        }
    };
    let searched = match found {
        Ok(filter) => search(session, &filter, &seen, room),
        Err(ids) => {
            let listed = ids.into_iter().filter_map(|id| session.roster.find(&session.entry, id));
            Some((listed.collect(), room))
        }
    };
    let Some((entries, room)) = searched else {
        encode::error(out, client_text::LONG_SEARCH);
        return room;
    };
    let (mut text, mut fits) = (String::new(), true);
    with_form(session, |form| {
        fits = entries.iter().all(|entry| {
            // A name may be as long as all lines together.
            let has_room = text.len() + entry.held_bytes() < room.bytes();
            if has_room {
                write_line(form, (entry, &seen.of(entry)), seen.now, &mut text);
            }
            has_room && text.len() <= room.bytes()
        });
    });
    debug_assert!(!fits || text.len() <= room.bytes(), "what has no room is sent");
    if fits {
        write_text(out, text.as_bytes(), session.dialect.protocol());
        room
    } else {
        encode::error(out, client_text::LONG_ANSWER);
        room.closed()
    }
}

/// The clients that a filter fits, in the order in which they came, and the room that is left. `None`: there was too
/// much to look at.
fn search(
    session: &Session,
    filter: &Filter,
    seen: &Seen<'_>,
    room: AnswerRoom,
) -> Option<(Vec<Rc<ClientEntry>>, AnswerRoom)> {
    if !room.has_search() {
        return None;
    }
    let own = &session.entry;
    let (mut found, searched) = match filter.ids() {
        Some(ids) => {
            (ids.iter().filter_map(|id| session.roster.find(own, *id)).collect(), ids.len())
        }
        None => session.roster.search(own),
    };
    found.retain(|entry: &Rc<ClientEntry>| {
        !(filter.skip_me && entry.id == own.id) && filter.fits(entry, || seen.of(entry), seen.now)
    });
    debug_assert!(found.is_sorted_by_key(|entry| entry.id), "they are shown in another order");
    Some((found, room.after_search(searched)))
}

/// KILL. A client that kills itself reads the answer first.
pub(super) fn write_kill(
    session: &mut Session,
    spec: &'static Spec,
    request: &Request<'_>,
    (auth, room): (Option<&Auth>, AnswerRoom),
    out: &mut BytesMut,
) -> AnswerRoom {
    let filter = match Filter::of_kill(request, session.roster.server(), auth) {
        Ok(filter) => filter,
        Err(line) => {
            encode::error(out, line);
            return room;
        }
    };
    let seen = Seen::by(session, spec, request);
    let Some((found, room)) = search(session, &filter, &seen, room) else {
        encode::error(out, client_text::LONG_SEARCH);
        return room;
    };
    let killed = i64::try_from(found.len()).unwrap_or(i64::MAX);
    for entry in found {
        if entry.id == session.entry.id {
            session.farewell = true;
        } else {
            session.roster.kill(&entry);
        }
    }
    match (request.len(), killed) {
        (3, 0) => encode::error(out, client_text::NO_SUCH_CLIENT),
        (3, _) => encode::simple(out, client_text::OK),
        _ => encode::integer(out, killed),
    }
    room
}

/// UNBLOCK: the server does it, to the connection that the blocked client has there, so that
/// nothing which is given to that client at the same moment is lost.
pub(super) fn unblock(
    session: &mut Session,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
    out: &mut BytesMut,
) -> Step {
    let target = match late::unblockable(request, ctx.valkey) {
        Ok(target) => target,
        Err(text) => {
            session.answer(out, |out| encode::error(out, text));
            return Step::Done;
        }
    };
    let Some((link, reason)) = late::blocked(session, target, request) else {
        session.answer(out, |out| encode::integer(out, 0));
        return Step::Done;
    };
    let (route, cause) = (session.usual_route(ctx), session.cause(ctx));
    let ticket = match session.enqueue(route, cause, Expect::Plain, Class::Other, ctx) {
        Ok(ticket) => ticket,
        Err(step) => return step,
    };
    let link = link.to_string();
    let words: [&[u8]; 4] = [b"CLIENT", b"UNBLOCK", link.as_bytes(), reason];
    encode::request(ctx.request_scratch.fresh_wire(), words);
    send_wire(route, ticket, Skips::NONE)
}

/// Text for people: a verbatim string in RESP3 (redis networking.c `addReplyVerbatim`).
fn write_text(out: &mut BytesMut, text: &[u8], protocol: Protocol) {
    match protocol {
        Protocol::Resp2 => encode::bulk(out, text),
        Protocol::Resp3 => {
            out.extend_from_slice(b"=");
            number::write_u64(out, text.len() as u64 + 4);
            out.extend_from_slice(b"\r\ntxt:");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The text in a reply of that kind.
fn text_of(frame: &[u8]) -> Option<&[u8]> {
    let head = frame.iter().position(|byte| *byte == b'\n')? + 1;
    let body = frame.get(head..)?.strip_suffix(b"\r\n")?;
    match frame.first()? {
        b'$' => Some(body),
        b'=' => body.strip_prefix(b"txt:"),
        _ => None,
    }
}

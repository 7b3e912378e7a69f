//! Commands inside MULTI that are the session's own, or change it: what is queued for them, and what
//! becomes of the server's answers.
//!
//! Owns: the ways of [`ExecFixup`]. Never knows: when a transaction runs, connections.

use bytes::BytesMut;

use super::context::Context;
use super::residue::Residue;
use super::state::Session;
use super::transaction::{ExecFixup, Talk};
use super::{client_text, hello, own_state, pubsub, replication, track};
use crate::command::{Effect, Local, Spec};
use crate::policy::Strip;
use crate::resp::{Request, RequestBuf, encode};

/// An error of the proxy itself, as the reply in the place of the command.
fn decided_error(text: &str) -> ExecFixup {
    let mut line = BytesMut::new();
    encode::error(&mut line, text.as_bytes());
    ExecFixup::Decided(Box::from(&*line))
}

/// What is special about a permitted command inside MULTI.
///
/// # Errors
///
/// With the words for one that cannot be queued.
pub(super) fn special_of(
    session: &Session,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &mut Context<'_>,
) -> Result<Option<ExecFixup>, &'static str> {
    let argument = |at| request.arg(at).unwrap_or_default();
    Ok(match spec.effect {
        Effect::Local(local) => special_of_local(session, local, spec, request, ctx),
        Effect::Select => hello::parse_database(argument(1)).ok().map(ExecFixup::Select),
        Effect::Subscribe | Effect::Unsubscribe => {
            let named = u32::try_from(request.len() - 1).unwrap_or(u32::MAX);
            Some(ExecFixup::Acknowledged { kind: pubsub::kind_of(spec), named })
        }
        Effect::Auth => match hello::check_auth(session, request, ctx) {
            Ok(name) => Some(ExecFixup::Become(name)),
            Err(text) => Some(decided_error(text)),
        },
        Effect::Hello => match hello::judge_hello(session, request, ctx) {
            Ok(greeted) => Some(ExecFixup::Hello(greeted)),
            Err(text) => Some(decided_error(&text)),
        },
        Effect::Monitor => Some(decided_error(client_text::MONITOR_IN_MULTI)),
        Effect::Caching => None,
        Effect::Tracking if track::redirects(request) && !own_state::is_numbered(session, ctx) => {
            Some(late(session, &track::words_of(request, ctx)))
        }
        Effect::Tracking => {
            let (on, broadcast) = (track::turns_on(request), track::is_broad(request));
            Some(ExecFixup::Tracking { on, broadcast, redirect: 0 })
        }
        Effect::Replicate { .. } if replication::has_no_reply(request) => Some(ExecFixup::Mute),
        Effect::Replicate { .. } => Some(ExecFixup::Announced),
        Effect::Never => return Err(client_text::NOT_IN_MULTI_HERE),
        Effect::Shared
        | Effect::Ping
        | Effect::Pushes
        | Effect::Block(_)
        | Effect::Wait
        | Effect::Unwatch
        | Effect::Release => None,
        Effect::Multi
        | Effect::Exec
        | Effect::Discard
        | Effect::Watch
        | Effect::Quit
        | Effect::Reset => {
            debug_assert!(false, "never queued");
            None
        }
    })
}

fn special_of_local(
    session: &Session,
    local: Local,
    spec: &'static Spec,
    request: &Request<'_>,
    ctx: &Context<'_>,
) -> Option<ExecFixup> {
    let on = request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"on"));
    match local {
        Local::Help => None,
        Local::Unblock => Some(late(session, &track::words_of_request(request))),
        Local::Reply => Some(match request.arg(2).unwrap_or_default() {
            word if word.eq_ignore_ascii_case(b"on") => ExecFixup::Reply(Talk::On),
            word if word.eq_ignore_ascii_case(b"off") => ExecFixup::Reply(Talk::Off),
            word if word.eq_ignore_ascii_case(b"skip") => ExecFixup::Reply(Talk::Skip),
            _ => decided_error(client_text::SYNTAX),
        }),
        Local::NoEvict | Local::NoTouch | Local::ImportSource => Some(ExecFixup::Manner(spec, on)),
        // What was queued before may begin or end it.
        Local::GetRedirect | Local::TrackingInfo => Some(ExecFixup::Renamed(None)),
        Local::WhoAmI
        | Local::Asking
        | Local::ReadOnly
        | Local::ReadWrite
        | Local::Capa
        | Local::GetName
        | Local::Id
        | Local::Info
        | Local::Kill
        | Local::List
        | Local::SetInfo
        | Local::SetName => {
            session.roster.note_server(ctx.server);
            Some(ExecFixup::Local(spec, RequestBuf::from_args(request.args())))
        }
    }
}

/// A command that names another client, at the end of what is queued so far.
fn late(session: &Session, words: &[Vec<u8>]) -> ExecFixup {
    let at = session.transaction.as_ref().map_or(0, |transaction| transaction.wire_bytes());
    ExecFixup::Late { at, request: RequestBuf::from_args(words) }
}

/// What the server answered in the place of a special command.
pub(super) fn complete_special(
    session: &mut Session,
    special: ExecFixup,
    element: &[u8],
    out: &mut BytesMut,
) {
    let ok = element.starts_with(b"+");
    match special {
        ExecFixup::Decided(reply) => return out.extend_from_slice(&reply),
        ExecFixup::Become(name) => {
            return match hello::may_become(session, &name) {
                Ok(()) => {
                    session.user.log_in(name, &session.roster, &session.entry);
                    encode::simple(out, client_text::OK);
                }
                Err(text) => encode::error(out, text.as_bytes()),
            };
        }
        ExecFixup::Renamed(None) => return session.listening.tracking.rename(element, out),
        ExecFixup::Renamed(Some(strip)) => {
            let mut own = BytesMut::new();
            session.listening.tracking.rename(element, &mut own);
            return strip.frame(&own, out);
        }
        ExecFixup::Names(strip) => return strip.frame(element, out),
        ExecFixup::Swallow | ExecFixup::Mute => return,
        ExecFixup::Hello(greeted) => {
            if element.starts_with(b"-") {
                return out.extend_from_slice(element);
            }
            return hello::take_hello(session, greeted, element, out);
        }
        ExecFixup::Select(database) if ok => session.dialect.select(database),
        ExecFixup::Tracking { on, broadcast, redirect } if ok => {
            session.listening.tracking.note(on, broadcast, redirect);
        }
        ExecFixup::Announced => session.listening.announce(),
        ExecFixup::Manner(spec, on) if ok => session.flags.note(spec, on),
        // Its error names prefixes as the server knows them.
        ExecFixup::Tracking { .. } if session.listening.names().is_some() => {
            let names = session.listening.names().cloned().map(Strip::of_errors);
            return names.into_iter().for_each(|strip| strip.frame(element, out));
        }
        ExecFixup::Select(_)
        | ExecFixup::Tracking { .. }
        | ExecFixup::Manner(..)
        | ExecFixup::Acknowledged { .. } => {}
        ExecFixup::Late { .. } | ExecFixup::Reply(_) | ExecFixup::Local(..) => {
            debug_assert!(false, "looked up before, or dealt with elsewhere");
        }
    }
    session.residue.note(Residue::Dirty);
    out.extend_from_slice(element);
}

//! EXEC's array: which of its frames belongs to which command, and what the client gets of them.
//!
//! Owns: the way of each frame. Never knows: what a special command does, when a transaction runs.

use bytes::BytesMut;

use super::exec_reply::ExecReply;
use super::expect::Expect;
use super::local;
use super::own::OwnReply;
use super::queued;
use super::reply_mode::ReplyMode;
use super::residue::Residue;
use super::state::Session;
use super::subscriptions::{self, Frame, classify};
use super::transaction::{ExecFixup, Talk};
use crate::resp::{ReplyScanner, encode, number};

/// Takes a frame of EXEC's answer. Returns whether it is whole: then all of it is in `out`.
pub(super) fn complete_exec(
    session: &mut Session,
    executed: &mut ExecReply,
    frame: &[u8],
    silent: bool,
    out: &mut BytesMut,
) -> bool {
    let mut rest = frame;
    let count = match executed.count {
        Some(count) => count,
        None => {
            let header = frame.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let (head, elements) = frame.split_at_checked(header).unwrap_or((frame, &[]));
            let count = head.strip_prefix(b"*").and_then(|head| head.strip_suffix(b"\r\n"));
            let count = count.and_then(number::parse_i64).and_then(|n| u32::try_from(n).ok());
            let Some(count) = count else {
                if !silent {
                    out.extend_from_slice(frame);
                }
                return true;
            };
            executed.muted = silent;
            executed.count = Some(count);
            if !silent {
                let swallowed = executed.specials.iter();
                let swallowed = swallowed.filter(|(_, s)| matches!(s, ExecFixup::Swallow)).count();
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                encode::array(&mut executed.out, count.saturating_sub(swallowed));
            }
            rest = elements;
            count
        }
    };
    while !rest.is_empty() && executed.index < count {
        let mut scanner = ReplyScanner::default();
        let Ok(advance) = scanner.advance(rest) else { break };
        if !advance.done {
            break;
        }
        let (element, after) = rest.split_at_checked(advance.used).unwrap_or((rest, &[]));
        complete_element(session, executed, element);
        rest = after;
    }
    if executed.index < count {
        return false;
    }
    if executed.skips_next {
        session.reply_mode.skip();
    }
    out.extend_from_slice(&executed.out);
    true
}

/// A message without a request, with the client's own names.
pub(super) fn write_push(session: &Session, frame: &[u8], out: &mut BytesMut) {
    match session.listening.names().cloned().or_else(|| session.entry.names()) {
        Some(prefix) => prefix.push(frame, out),
        None => out.extend_from_slice(frame),
    }
}

/// The transaction whose answer is due, if one is.
pub(super) fn awaited_exec(session: &mut Session) -> Option<Box<ExecReply>> {
    let front = session.replies.queue.front()?;
    if matches!(front.expect, Expect::Own(OwnReply::Exec)) {
        front.expect = Expect::Plain;
        return Some(Box::new(session.own.get_or_insert_default().executed()));
    }
    session.replies.queue.take_executed()
}

/// The session's own connection ends within EXEC's array, as that of a client that has killed itself:
/// what came of it is the client's.
pub(super) fn end_exec(session: &mut Session, out: &mut BytesMut) {
    let silent = session.replies.queue.front_silent();
    if session.own.is_none() {
        return;
    }
    let Some(mut executed) = awaited_exec(session) else { return };
    let partial = session.replies.take_partial();
    if partial.starts_with(b"*") || executed.has_begun() {
        if !complete_exec(session, &mut executed, &partial, silent, out) {
            out.extend_from_slice(&executed.out);
        }
        if let Some(ticket) = session.replies.queue.waiting().first() {
            session.replies.queue.cut_off(*ticket, out);
        }
    }
}

fn complete_element(session: &mut Session, executed: &mut ExecReply, element: &[u8]) {
    if session.listening.monitors() && subscriptions::is_monitor_line(element) {
        if !subscriptions::is_own_line(element) {
            executed.out.extend_from_slice(element);
        }
        return;
    }
    let frame = classify(element);
    let due = executed.specials.front().filter(|(at, _)| *at == executed.index);
    if let (Some((_, ExecFixup::Acknowledged { named, kind })), Frame::Ack { kind: of, .. }) =
        (due, &frame)
        && kind == of
    {
        let (named, kind) = (*named, *kind);
        return complete_acknowledgement(session, executed, named, kind, element);
    }
    let pushed = element.starts_with(b">")
        || (session.dialect.is_resp2()
            && session.listening.subscriptions.any()
            && frame == Frame::Message
            && executed.reads.binary_search(&executed.index).is_err());
    if pushed {
        return write_push(session, element, &mut executed.out);
    }
    // A server that has acknowledged some of the names answers with all of them.
    executed.left = None;
    match executed.special() {
        Some(ExecFixup::Reply(talk)) => complete_reply(session, executed, talk),
        Some(special) => {
            let mut own = BytesMut::new();
            let here = special.stays_here();
            if let ExecFixup::Local(spec, request) = &special {
                let (request, room) = (request.as_request(), (None, executed.room));
                executed.room = local::write_local(session, spec, &request, room, &mut own);
            } else {
                queued::complete_special(session, special, element, &mut own);
            }
            if here {
                executed.room = executed.room.after_answer(own.len());
            }
            executed.put(&own);
            // Nothing follows the answer to a client that has killed itself.
            executed.muted |= session.farewell;
        }
        None => executed.put(element),
    }
    executed.index += 1;
}

/// One of the names of SUBSCRIBE or UNSUBSCRIBE. Nothing suppresses it.
fn complete_acknowledgement(
    session: &mut Session,
    executed: &mut ExecReply,
    named: u32,
    kind: subscriptions::Kind,
    element: &[u8],
) {
    let before = u32::try_from(session.listening.subscriptions.count(kind)).unwrap_or(u32::MAX);
    let due = executed.left.unwrap_or_else(|| if named > 0 { named } else { before.max(1) });
    if let Frame::Ack { total, .. } = classify(element) {
        session.listening.subscriptions.note(kind, total);
    }
    session.residue.note(Residue::Dirty);
    write_push(session, element, &mut executed.out);
    executed.left = due.checked_sub(1).filter(|left| *left > 0);
    if executed.left.is_none() {
        executed.specials.pop_front();
        executed.index += 1;
    }
}

/// Redis networking.c `clientCommand`, REPLY.
fn complete_reply(session: &mut Session, executed: &mut ExecReply, talk: Talk) {
    match talk {
        Talk::On => {
            (session.reply_mode, executed.muted) = (ReplyMode::On, session.farewell);
            executed.put(b"+OK\r\n");
        }
        Talk::Off => (session.reply_mode, executed.muted) = (ReplyMode::Off, true),
        Talk::Skip => executed.skips_next |= session.reply_mode != ReplyMode::Off,
    }
}

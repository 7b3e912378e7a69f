//! Replies and losses that come from the server: each finds the place of its request.
//!
//! Owns: the matching of replies to places. Never knows: connections; what a request asked.

use bytes::BytesMut;

use super::awaited::Awaited;
use super::completed::Completed;
use super::exec_reply::ExecReply;
use super::expect::Expect;
use super::pending_query::Arrived;
use super::queue::Class;
use super::remote::Remote;
use super::replies::completed;
use super::residue::Residue;
use super::script_cache::{NoscriptRetry, Resend};
use super::state::Session;
use super::{array, client_text, dedicated, subscriptions, track};
use crate::command::Spec;
use crate::resp::encode;
use crate::traffic::{Loss, Ticket};

/// A piece of the reply to `ticket`. `kind` is the reply's first byte;
/// `done`: the reply ends with this piece. A reply without a waiting request is dropped.
pub(super) fn take(
    session: &mut Session,
    ticket: Ticket,
    chunk: &[u8],
    kind: u8,
    done: bool,
    out: &mut BytesMut,
) -> Option<Completed> {
    let front = session.replies.queue.front()?;
    if front.ticket != ticket {
        debug_assert!(ticket < front.ticket, "a reply overtook an earlier one");
        return None;
    }
    begin_script(session, kind);
    let front = session.replies.queue.front()?;
    if !front.passes(kind) {
        if done && !session.replies.is_collecting() {
            return handle_reply_frame(session, kind, chunk, out);
        }
        let frame = session.replies.collect(chunk, done)?;
        return handle_reply_frame(session, kind, &frame, out);
    }
    pass_on(session, chunk, kind, done, out)
}

/// How the session sorts a piece of what arrives on the pinned connection.
#[derive(Debug)]
pub enum Sorted {
    /// The piece belongs to a reply.
    Reply,
    /// The piece completes this frame, of which it was not known before whether it is a reply.
    Frame(BytesMut),
    /// The piece is kept until it is known whether the frame is a reply.
    Kept,
    /// The piece is the last of what acknowledges the oldest request.
    Acknowledged(Completed),
    /// The piece is no reply, or belongs to one behind its end, which it may have completed.
    Unasked(Option<Completed>),
}

/// Whether a piece of what arrives on the pinned connection belongs to a reply. Messages, acknowledgements and lines of
/// MONITOR do not, which only the whole frame shows.
pub(super) fn sort(
    session: &mut Session,
    chunk: &[u8],
    kind: u8,
    done: bool,
    out: &mut BytesMut,
) -> Sorted {
    let replies = &session.replies;
    if replies.framing().unwrap_or_else(|| expects_replies_alone(session, kind)) {
        session.replies.note_framing(true, done);
        return Sorted::Reply;
    }
    session.replies.note_framing(false, done);
    let Some(frame) = session.replies.collect(chunk, done) else { return Sorted::Kept };
    take_unasked(session, kind, &frame, out).unwrap_or(Sorted::Frame(frame))
}

/// Whether nothing but the reply to the oldest request can be what arrives on the pinned connection.
fn expects_replies_alone(session: &Session, kind: u8) -> bool {
    let confusing = session.listening.confuses_replies() || kind == b'>';
    let continued = |front: &Remote| matches!(&front.expect, Expect::Exec(e) if e.has_begun());
    !confusing && session.replies.queue.peek().is_some_and(|front| !continued(front))
}

/// Whether the reply to the oldest request is for the client as it is: [`Session::handle_passed`] then reports
/// each piece.
#[must_use]
pub(super) fn passes(session: &Session, kind: u8) -> bool {
    let passes = |front: &Remote| {
        let named = matches!(&front.expect, Expect::Names(strip) if strip.concerns(kind));
        front.passes(kind) && !named
    };
    !session.replies.queue.front_silent() && session.replies.queue.peek().is_some_and(passes)
}

/// A piece of `bytes` bytes has gone on to the client.
pub(super) fn note_passed(
    session: &mut Session,
    bytes: usize,
    kind: u8,
    done: bool,
    out: &mut BytesMut,
) -> Option<Completed> {
    session.replies.note_passed(bytes, done);
    if done { finish(session, kind == b'-' || kind == b'!', out) } else { None }
}

/// What arrives on the pinned connection, if it is no reply.
fn take_unasked(
    session: &mut Session,
    kind: u8,
    frame: &[u8],
    out: &mut BytesMut,
) -> Option<Sorted> {
    if session.farewell && session.in_flight() == 0 {
        // It has killed itself: this reply is the last that it gets.
        return Some(Sorted::Unasked(None));
    }
    let continued = |front: &Remote| matches!(&front.expect, Expect::Exec(e) if e.has_begun());
    if session.replies.queue.peek().is_some_and(continued) {
        return Some(Sorted::Unasked(handle_reply_frame(session, b'*', frame, out)));
    }
    if session.listening.monitors() && subscriptions::is_monitor_line(frame) {
        if !subscriptions::is_own_line(frame) {
            out.extend_from_slice(frame);
        }
        return Some(Sorted::Unasked(None));
    }
    // A reply asked for before the first SUBSCRIBE may look like a message.
    let acknowledges = |front: &mut Remote| matches!(front.expect, Expect::Acks { .. });
    let in_pubsub = session.listening.subscriptions.any()
        || session.replies.queue.front().is_some_and(acknowledges);
    if kind != b'>' && !(kind == b'*' && session.dialect.is_resp2() && in_pubsub) {
        return None;
    }
    match subscriptions::classify(frame) {
        subscriptions::Frame::Ack { kind, subscribe, total } => {
            let completed = acknowledge(session, kind, subscribe, total, frame, out);
            return Some(completed.map_or(Sorted::Unasked(None), Sorted::Acknowledged));
        }
        subscriptions::Frame::Message => array::write_push(session, frame, out),
        subscriptions::Frame::Other if kind != b'>' => return None,
        subscriptions::Frame::Other => {
            if !session.listening.tracking.take_broken(frame, out) {
                array::write_push(session, frame, out);
            }
        }
    }
    Some(Sorted::Unasked(None))
}

/// An acknowledgement belongs to the oldest SUBSCRIBE or UNSUBSCRIBE; the server may also end a
/// subscription by itself.
fn acknowledge(
    session: &mut Session,
    kind: subscriptions::Kind,
    subscribe: bool,
    total: u64,
    frame: &[u8],
    out: &mut BytesMut,
) -> Option<Completed> {
    let before = session.listening.subscriptions.count(kind);
    session.listening.subscriptions.note(kind, total);
    array::write_push(session, frame, out);
    let front = session.replies.queue.front()?;
    let Expect::Acks { named, left, kind: expected, subscribe: direction } = &mut front.expect
    else {
        return None;
    };
    if *expected != kind || *direction != subscribe {
        return None;
    }
    session.listening.subscriptions.settle(kind, subscribe, 1);
    let due = left.unwrap_or_else(|| {
        if *named > 0 { *named } else { u32::try_from(before).unwrap_or(u32::MAX).max(1) }
    });
    *left = Some(due.saturating_sub(1));
    if due > 1 {
        return None;
    }
    session.listening.subscriptions.end_asked();
    finish(session, false, out)
}

/// A script that answers anything but an error is there: its reply needs not be looked into.
fn begin_script(session: &mut Session, kind: u8) {
    let Some(front) = session.replies.queue.front() else { return };
    if kind == b'-' || kind == b'!' || !matches!(front.expect, Expect::Script(_)) {
        return;
    }
    if let Expect::Script(retry) = std::mem::replace(&mut front.expect, Expect::Plain) {
        session.retries.note_run(&retry);
        if retry.held {
            session.awaited.end();
        }
        front.expect = retry.strip.map_or(Expect::Plain, Expect::Names);
    }
}

/// The oldest place's script answers an error: it is passed on, or the script is sent again.
fn forget_script(
    session: &mut Session,
    mut retry: Box<NoscriptRetry>,
    frame: &[u8],
    alone: bool,
    out: &mut BytesMut,
) -> Option<Completed> {
    if retry.held {
        session.awaited.end();
    }
    let silent = session.replies.queue.front_silent();
    let lost = retry.lost(frame);
    let again = lost.is_some().then(|| retry.again(alone)).flatten();
    lost.into_iter().for_each(|news| session.retries.note_lost(news));
    let front = session.replies.queue.front()?;
    if let Some(wire) = again {
        let resend = Resend { ticket: front.ticket, retry: front.class == Class::Read, wire };
        front.expect = Expect::Script(retry);
        session.awaited.begin(Awaited::Outcome);
        session.retries.resend(resend);
        return None;
    }
    session.retries.note_error(&retry);
    match retry.strip {
        _ if silent => {}
        Some(strip) => strip.frame(frame, out),
        None => out.extend_from_slice(frame),
    }
    finish(session, true, out)
}

fn take_selected(session: &mut Session, database: u32, ok: bool) {
    session.awaited.end();
    if ok {
        session.dialect.select(database);
        session.residue.note(Residue::Dirty);
    }
}

/// A whole reply to the oldest place, which wants to look into it.
fn handle_reply_frame(
    session: &mut Session,
    kind: u8,
    frame: &[u8],
    out: &mut BytesMut,
) -> Option<Completed> {
    let error = kind == b'-' || kind == b'!';
    let ok = kind == b'+';
    session.replies.note_frame(frame.len());
    let silent = session.replies.queue.front_silent();
    let alone = session.replies.queue.in_flight() == 1;
    begin_script(session, kind);
    let front = session.replies.queue.front()?;
    let ticket = front.ticket;
    let (mut hidden, mut own) = (silent, false);
    let written = front.refusal.take().and_then(|line| client_text::aborted(frame, &line));
    let frame = written.as_deref().unwrap_or(frame);
    if let Some(executed) = array::awaited_exec(session) {
        return take_executed(session, executed, frame, silent, out);
    }
    let front = session.replies.queue.front()?;
    match std::mem::replace(&mut front.expect, Expect::Plain) {
        Expect::Plain | Expect::Exec(_) => {}
        Expect::Block => note_exec_failure(session, frame),
        Expect::Hidden => {
            (hidden, own) = (true, true);
            // It still watches: a later EXEC there would answer nil without a reason.
            session.residue.note_if(!ok, Residue::Poisoned);
        }
        // Any answer is life.
        Expect::Alive => (hidden, own) = (true, true),
        Expect::Page => {
            (hidden, own) = (true, true);
            arrive(session, ticket, || Arrived::Page(frame.into()));
        }
        Expect::Names(strip) => {
            if !silent {
                strip.frame(frame, out);
            }
            hidden = true;
        }
        Expect::Acks { named, left, kind, subscribe } => {
            session.listening.subscriptions.end_asked();
            session.listening.subscriptions.settle(kind, subscribe, left.unwrap_or(named));
        }
        Expect::Watch => {
            // Refused, what is watched there is unknown.
            session.residue.note_if(!ok, Residue::Dirty);
        }
        Expect::Select(database) => take_selected(session, database, ok),
        Expect::Script(replay) => return forget_script(session, replay, frame, alone, out),
        expect @ (Expect::Hello(_) | Expect::Redirect(_) | Expect::Tracking { .. }) => {
            let mut reply = BytesMut::new();
            track::take_own(session, expect, frame, &mut reply);
            if !silent {
                out.extend_from_slice(&reply);
            }
            hidden = true;
        }
        Expect::Own(reply) => {
            dedicated::take_own_reply(session, reply, kind, frame, silent, out);
            hidden = true;
        }
        Expect::Manner { spec, on } => take_manner(session, ok.then_some((spec, on))),
        Expect::Monitor => {
            session.listening.note_monitor(ok);
            session.residue.note(Residue::Dirty);
        }
    }
    if !hidden {
        out.extend_from_slice(frame);
    }
    // A question of the proxy's own is no request of the client.
    finish(session, error, out).map(|completed| Completed { own, ..completed })
}

/// A setting of the connection was asked for; it is switched if the server accepts it.
fn take_manner(session: &mut Session, switched: Option<(&'static Spec, bool)>) {
    session.residue.note(Residue::Dirty);
    if let Some((spec, on)) = switched {
        session.flags.note(spec, on);
    }
}

fn take_executed(
    session: &mut Session,
    mut executed: Box<ExecReply>,
    frame: &[u8],
    silent: bool,
    out: &mut BytesMut,
) -> Option<Completed> {
    note_exec_failure(session, frame);
    if !array::complete_exec(session, &mut executed, frame, silent, out) {
        // What did not fit into the array follows behind it.
        session.replies.queue.put_executed(executed);
        return None;
    }
    // Another one may be in flight behind one that changes nothing.
    if executed.holds {
        session.awaited.end();
    }
    let error = frame.starts_with(b"-") || frame.starts_with(b"!");
    finish(session, error, out)
}

/// After an EXEC that failed in any way but one, its connection may still watch or queue.
fn note_exec_failure(session: &mut Session, frame: &[u8]) {
    let failed = frame.starts_with(b"-") && !frame.starts_with(b"-EXECABORT");
    session
        .residue
        .note_if(failed && session.replies.is_pinned() && session.own.is_none(), Residue::Poisoned);
}

/// The common case: a piece of a reply goes to the client as it came.
fn pass_on(
    session: &mut Session,
    chunk: &[u8],
    kind: u8,
    done: bool,
    out: &mut BytesMut,
) -> Option<Completed> {
    session.replies.pass_on(chunk, kind, out);
    note_passed(session, chunk.len(), kind, done, out)
}

/// The oldest request is answered.
fn finish(session: &mut Session, error: bool, out: &mut BytesMut) -> Option<Completed> {
    let completed = session.replies.finish(error, out)?;
    settle(session);
    Some(completed)
}

/// When nothing is in flight, nothing is kept to be sent again.
#[inline(always)]
fn settle(session: &mut Session) {
    if session.in_flight() == 0 {
        session.retries.settle();
    }
}

/// The request behind `ticket` will get no reply. Returns what the statistics want to know;
/// `None` when no request waits for it any more.
pub(super) fn lose(
    session: &mut Session,
    ticket: Ticket,
    loss: Loss,
    out: &mut BytesMut,
) -> Option<Completed> {
    if session.replies.queue.peek().is_some_and(|front| front.ticket == ticket) {
        session.replies.cut_reply();
    }
    let (protocol, queue) = (session.dialect.protocol(), &mut session.replies.queue);
    let missed = session.outage.answer_miss((ticket, loss), protocol, queue, out);
    let is_miss = missed.is_some();
    let remote = if let Some(remote) = missed {
        remote
    } else if session.outage.ends_with(loss) {
        // HELLO or SELECT behind it will not be answered either.
        session.opening = None;
        session.replies.queue.cut_off(ticket, out)?
    } else {
        session
            .replies
            .queue
            .arrive(ticket, out, |out| encode::error(out, client_text::loss(loss)))?
    };
    settle(session);
    if remote.expect.holds_others() {
        session.awaited.end();
    }
    if matches!(remote.expect, Expect::Page) {
        arrive(session, ticket, || Arrived::Lost(loss));
    }
    if let Expect::Acks { named, left, kind, subscribe } = remote.expect {
        session.listening.subscriptions.end_asked();
        session.listening.subscriptions.settle(kind, subscribe, left.unwrap_or(named));
    }
    let unopened = loss == Loss::MultiRefused;
    // What it watches and queues is unknown.
    let transacts = matches!(remote.expect, Expect::Block | Expect::Exec(_));
    session
        .residue
        .note_if(unopened && transacts && session.replies.is_pinned(), Residue::Poisoned);
    Some(Completed { unopened, ..completed(&remote, !is_miss) })
}

/// The pinned connection is lost with everything on it. Returns whether the session must end,
/// because state of it was there that cannot be had again, and the requests that will get no reply.
pub(super) fn lose_pinned(
    session: &mut Session,
    why: Loss,
    losses: &[(Ticket, Loss)],
    out: &mut BytesMut,
) -> (bool, Vec<(Completed, Loss)>) {
    let close = session.outage.ends_with(why);
    array::end_exec(session, out);
    let fatal = session.ends_with_lease()
        || (session.replies.is_collecting() && session.replies.is_pinned())
        || (close && session.watch.is_on());
    let pinned = session.replies.is_pinned();
    let tickets = if pinned { session.replies.queue.waiting() } else { Vec::new() };
    let lost = tickets.into_iter().filter_map(|ticket| {
        let at = losses.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        let loss = at.ok().and_then(|at| losses.get(at)).map_or(why, |(_, loss)| *loss);
        lose(session, ticket, loss, out).map(|completed| (completed, loss))
    });
    let lost = lost.collect();
    if fatal {
        // HELLO behind it will not be answered either.
        session.opening = None;
    }
    session.large_replies.forget();
    session.lose_lease();
    (fatal, lost)
}

/// What the session itself asked for is here, or will not come.
fn arrive(session: &mut Session, ticket: Ticket, what: impl FnOnce() -> Arrived) {
    if let Some(query) = &mut session.query {
        query.arrive(ticket, what);
    }
}

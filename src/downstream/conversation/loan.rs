//! The pinned connection of a conversation: what arrives on it, and how it stops being the session's: given back,
//! closed, or lost.
//!
//! Owns: [`handle_pinned`], [`Through`], [`handle_through`], [`release_if_free`], [`lose_lease`]. Never knows: sockets,
//! what a reply means, how a connection is had.

use super::host::{Host, LeaseEnd, Notice, PendingStep};
use super::inbound::Body;
use super::sending::Rest;
use super::state::Conversation;
use crate::base::limits;
use crate::session::{Completed, LeaseFate, Sorted};
use crate::telemetry::ClientDisconnect;
use crate::traffic::Loss;
use crate::upstream::{FramePiece, PinnedLine, Reply};

/// What of a reply goes to the client as it is, so that it needs no copy.
#[derive(Clone, Copy, Debug)]
pub struct Through<'a> {
    pub bytes: &'a [u8],
    /// The reply it is a piece of: its first byte, and whether it ends; `None` within a stream.
    reply: Option<(u8, bool)>,
}

/// Bytes have come from the pinned connection. Takes from their front until they end, or some are to
/// go on to the client as they are: the caller then writes what it can of those, reports it to
/// [`handle_through`], and calls again.
pub fn handle_pinned<'a, H: Host>(
    of: &mut Conversation,
    rest: &mut &'a [u8],
    host: &mut H,
) -> Option<Through<'a>> {
    of.leased.loan.read_at = Some(of.now);
    if of.session.is_streaming() {
        let bytes = std::mem::take(rest);
        return (!bytes.is_empty()).then_some(Through { bytes, reply: None });
    }
    while !rest.is_empty() {
        if !of.leased.is_here {
            return None;
        }
        let Some(FramePiece { used, kind, done, .. }) = host.frame(rest) else {
            close_untrusted(of, host);
            return None;
        };
        debug_assert!(used > 0 && used <= rest.len(), "a piece is some of it");
        let (bytes, behind) = rest.split_at_checked(used).unwrap_or((rest, &[]));
        *rest = behind;
        match of.session.sort_pinned(bytes, kind, done, &mut of.out) {
            Sorted::Reply => {
                let through = take_pinned(of, bytes, kind, done, host);
                if through.is_some() {
                    return through;
                }
            }
            Sorted::Frame(frame) => {
                if let Some(through) = take_pinned(of, &frame, kind, true, host) {
                    handle_through(of, &through, 0, host);
                }
            }
            Sorted::Kept => {}
            Sorted::Acknowledged(completed) => {
                let is_asked = host.line().is_some_and(PinnedLine::acknowledge);
                complete_pinned(of, Some(completed), host);
                if !is_asked {
                    close_untrusted(of, host);
                    return None;
                }
            }
            Sorted::Unasked(completed) => complete_pinned(of, completed, host),
        }
    }
    of.resend(host);
    if let Some(login) = of.session.take_login() {
        host.logged_in(login, of.now);
    }
    if matches!(of.inbound.waiting(), PendingStep::Reply) {
        of.inbound.end_wait();
    }
    of.sending.note_reply(&of.session);
    of.check_invariants();
    None
}

/// Takes a piece of a reply, unless it is to go on as it is.
fn take_pinned<'a, H: Host>(
    of: &mut Conversation,
    bytes: &'a [u8],
    kind: u8,
    done: bool,
    host: &mut H,
) -> Option<Through<'a>> {
    debug_assert!(of.leased.is_here, "no pinned connection answers");
    let completed = match host.match_reply((bytes, kind, done), of.limits.large_bytes, of.now) {
        Reply::Unwanted => None,
        Reply::Wanted { ticket, large } => {
            if large {
                of.session.note_large_reply();
            }
            if bytes.len() >= limits::BULK_ROUND_BYTES && of.session.passes_on(kind) {
                return Some(Through { bytes, reply: Some((kind, done)) });
            }
            of.session.handle_reply(ticket, bytes, kind, done, &mut of.out)
        }
        Reply::Refusal(ticket, line) => {
            of.session.note_refusal(ticket, line);
            None
        }
        Reply::MultiRefused(ticket) => {
            of.session.handle_loss(ticket, Loss::MultiRefused, &mut of.out)
        }
        Reply::Unexpected => {
            close_untrusted(of, host);
            None
        }
    };
    if done && kind == b'-' {
        host.complete_refused();
    }
    complete_pinned(of, completed, host);
    None
}

/// The client has taken `written` of what was to go on to it; the others wait.
pub fn handle_through<H: Host>(
    of: &mut Conversation,
    through: &Through<'_>,
    written: usize,
    host: &mut H,
) {
    debug_assert!(written <= through.bytes.len(), "no more than there is is written");
    let rest = through.bytes.get(written..).unwrap_or_default();
    of.handle_written_through(written > 0, rest);
    if let Some((kind, done)) = through.reply {
        let length = through.bytes.len();
        let completed = of.session.handle_passed(length, kind, done, &mut of.out);
        complete_pinned(of, completed, host);
        debug_assert_eq!(of.session.reply_has_begun(), !done, "a reply ends in its middle");
        of.check_invariants();
    }
}

fn complete_pinned<H: Host>(of: &mut Conversation, completed: Option<Completed>, host: &mut H) {
    if let Some(completed) = completed {
        debug_assert!(completed.at <= of.now, "a reply comes before its request");
        of.leased.loan.answered_at = Some(of.now);
        // A large request was in flight only when the client had sent all of it.
        let sent = completed.at.max(of.leased.uploaded_at(of.session.since()));
        host.completed(&of.session, completed, sent, of.now);
    }
}

/// The pinned connection was closed, or is given up: `why` is the loss of the requests that were sent whole.
pub fn lose_lease<H: Host>(of: &mut Conversation, why: Loss, host: &mut H) {
    if !std::mem::replace(&mut of.leased.is_here, false) {
        return;
    }
    let waited = of.session.in_flight();
    debug_assert!(
        !matches!(of.inbound.waiting(), PendingStep::Lease(_)),
        "it waits for what it has"
    );
    let (begun, length) = (of.session.reply_has_begun(), of.out.len());
    let streamed = of.session.is_streaming();
    let losses = host.take_losses(why);
    let (fatal, lost) = of.session.handle_lease_lost(why, &losses, &mut of.out);
    host.lost(&of.session, &lost, of.leased.uploaded_at(of.session.since()), of.now);
    // The end of the client's connection takes what is behind it along.
    host.lose_lease(why, waited - of.session.in_flight() - lost.len());
    of.inbound.stop_forwarding();
    debug_assert!(
        !of.session.has_pinned_requests(),
        "a request waits on a connection that is closed"
    );
    debug_assert!(of.inbound.body != Body::Forward, "a body goes on to no connection");
    if matches!(of.inbound.waiting(), PendingStep::Reply) {
        of.inbound.end_wait();
    }
    if begun || streamed {
        // A client would take what follows half a reply for its rest.
        of.out.truncate(length);
    }
    of.sending.note_reply(&of.session);
    if fatal || begun {
        of.end_lost();
    }
    of.check_invariants();
}

/// No more of the large request under way is sent on the pinned connection: it was not executed. Requests before it
/// are answered, then the connection is closed; at once where the session ends with it: `why` is the loss of those
/// requests then.
pub(super) fn abandon_upload<H: Host>(of: &mut Conversation, why: Loss, host: &mut H) {
    debug_assert!(of.inbound.body == Body::Forward, "no request goes on");
    let completed = of.inbound.rest().is_some_and(Rest::has_companions);
    let Some(ticket) = host.line().and_then(|line| line.open_ticket()) else { return };
    of.inbound.stop_forwarding();
    if of.session.has_begun_reply(ticket) {
        return lose_lease(of, why, host);
    }
    let mut lost = Vec::new();
    for ticket in [Some(ticket), completed.then(|| ticket.next())].into_iter().flatten() {
        let request = of.session.handle_loss(ticket, Loss::Abandoned, &mut of.out);
        lost.extend(request.map(|completed| (completed, Loss::Abandoned)));
    }
    of.session.note_half_request();
    of.sending.note_reply(&of.session);
    host.lost(&of.session, &lost, of.leased.uploaded_at(of.session.since()), of.now);
    if of.session.ends_with_lease() {
        return lose_lease(of, why, host);
    }
    release_if_free(of, host);
}

/// The server sent a reply on the pinned connection that belongs to no request.
pub(super) fn close_untrusted<H: Host>(of: &mut Conversation, host: &mut H) {
    host.notice(Notice::Untrusted);
    // What was to be sent again is lost with the others.
    host.with_scripts(|scripts| of.session.take_resend(scripts));
    lose_lease(of, Loss::OutcomeUnknown, host);
}

/// Gives the pinned connection back as soon as nothing of this session is on it.
pub fn release_if_free<H: Host>(of: &mut Conversation, host: &mut H) {
    if !of.leased.is_here || matches!(of.inbound.waiting(), PendingStep::Lease(_)) {
        return;
    }
    release_outdated(of, host);
    if of.inbound.body == Body::Forward {
        return;
    }
    if of.session.keeps_idle_lease() && host.lease_is_waited_for() {
        of.session.forget_large_reply();
    }
    let need = if of.inbound.presented().is_some() && !of.session.must_discard_lease() {
        LeaseFate::Keep
    } else {
        of.session.lease_need(host.is_dedicated())
    };
    match need {
        LeaseFate::Keep => {}
        LeaseFate::Return => end_lease(of, LeaseEnd::Returned, host),
        LeaseFate::Drop => end_lease(of, LeaseEnd::Dropped, host),
    }
    of.check_invariants();
}

/// Lets go of a pinned connection whose identity or password was replaced: at once when nothing of this
/// session is on it, when the grace is over if nothing but state is. A command that blocks ends with the
/// grace, and its client is disconnected as by a server that restarts; any other is answered first, in its
/// own time. A connection to a server that is no primary goes, too, but state stays on it.
fn release_outdated<H: Host>(of: &mut Conversation, host: &mut H) {
    if host.lease_outdated_since(of.now).is_none() && !host.lease_reports_not_primary() {
        return;
    }
    if of.inbound.body == Body::Forward {
        if of.leased.grace_has_ended(of.now, host) {
            of.end_now(ClientDisconnect::Rotation);
        }
    } else if of.session.has_left_lease() {
        end_lease(of, LeaseEnd::Replaced, host);
    } else if of.leased.grace_is_over(of.now, host) {
        let late = of.leased.grace_has_ended(of.now, host);
        if of.session.is_blocked() || (late && of.session.in_flight() > 0) {
            of.end_now(ClientDisconnect::Rotation);
        } else if of.session.state_lost_with_lease() {
            of.end(ClientDisconnect::Rotation);
        } else if of.session.in_flight() == 0 {
            // No request is in flight. The watched keys are lost, and EXEC will report that.
            lose_lease(of, Loss::Abandoned, host);
        }
    }
}

/// The pinned connection is this session's no more.
fn end_lease<H: Host>(of: &mut Conversation, end: LeaseEnd, host: &mut H) {
    debug_assert!(!of.session.has_pinned_requests(), "a pinned connection goes under its requests");
    if std::mem::replace(&mut of.leased.is_here, false) {
        of.session.handle_lease_gone();
        debug_assert!(!of.session.has_pinned_requests() && !of.leased.is_here, "it is still used");
        host.end_lease(end);
        of.check_invariants();
    }
}

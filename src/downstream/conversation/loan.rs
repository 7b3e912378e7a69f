//! How a pinned connection stops being a session's: given back, closed, or lost.
//!
//! Owns: [`release_if_free`], [`lose_lease`]. Never knows: what travels on it, how one is had.

use super::host::{Host, LeaseEnd, Notice, PendingStep};
use super::inbound::Body;
use super::state::Conversation;
use crate::session::LeaseFate;
use crate::telemetry::ClientDisconnect;
use crate::traffic::Loss;

/// The pinned connection is gone, or is given up.
pub fn lose_lease<H: Host>(of: &mut Conversation, loss: Loss, host: &mut H) {
    if !std::mem::replace(&mut of.leased.is_here, false) {
        return;
    }
    let waited = of.session.in_flight();
    let (begun, said) = (of.session.reply_has_begun(), of.out.len());
    let streamed = of.session.is_streaming();
    let (fatal, lost) = of.session.handle_lease_lost(loss, &mut of.out);
    host.lost(&of.session, &lost, of.leased.uploaded_at, of.now);
    host.lose_lease(loss, waited - of.session.in_flight());
    of.inbound.stop_forwarding();
    if matches!(of.waiting, PendingStep::Reply) {
        of.waiting = PendingStep::No;
    }
    if begun || streamed {
        // Whatever followed half a reply would be taken for its rest.
        of.out.truncate(said);
    }
    if fatal || begun {
        of.end_lost();
    }
}

/// The pinned connection has said what belongs to no request.
pub(super) fn close_untrusted<H: Host>(of: &mut Conversation, host: &mut H) {
    host.notice(Notice::Untrusted);
    // What was to be sent again is lost with the others.
    host.with_scripts(|scripts| of.session.take_resend(scripts));
    lose_lease(of, Loss::OutcomeUnknown, host);
}

/// Gives the pinned connection back as soon as nothing of this session is on it.
pub fn release_if_free<H: Host>(of: &mut Conversation, host: &mut H) {
    if !of.leased.is_here || matches!(of.waiting, PendingStep::Lease(_)) {
        return;
    }
    release_outdated(of, host);
    if of.inbound.body == Body::Forward {
        return;
    }
    if of.session.keeps_idle_lease() && host.lease_is_waited_for() {
        of.session.forget_large_reply();
    }
    let need = if of.inbound.presented.is_some() && !of.session.must_discard_lease() {
        LeaseFate::Keep
    } else {
        of.session.lease_need(host.is_dedicated())
    };
    match need {
        LeaseFate::Keep => {}
        LeaseFate::Return => end_lease(of, LeaseEnd::Returned, host),
        LeaseFate::Drop => end_lease(of, LeaseEnd::Dropped, host),
    }
}

/// Lets go of a pinned connection whose identity or password was replaced: at once when nothing of this
/// session is on it, when the grace is over if nothing but state is. A command that blocks ends with the
/// grace, and its client is disconnected as by a server that restarts; any other is answered first, in its
/// own time. A connection to a server that is no primary goes, too, but state stays on it.
fn release_outdated<H: Host>(of: &mut Conversation, host: &mut H) {
    if host.lease_outdated_since(of.now).is_none() && !host.lease_says_not_primary() {
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
            // Nothing was asked; what was watched is lost, and EXEC will say so.
            lose_lease(of, Loss::Abandoned, host);
        }
    }
}

/// The pinned connection is this session's no more.
fn end_lease<H: Host>(of: &mut Conversation, end: LeaseEnd, host: &mut H) {
    debug_assert!(!of.session.asks_lease(), "a pinned connection goes under its requests");
    if std::mem::replace(&mut of.leased.is_here, false) {
        of.session.handle_lease_gone();
        host.end_lease(end);
    }
}

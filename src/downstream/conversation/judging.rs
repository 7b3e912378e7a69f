//! The question to the session, what is to be done with a request.
//!
//! Owns: [`hold`], [`judge`], [`awaited`], and what follows when it may not be judged.
//! Never knows: what is done, framing.

use std::time::Instant;

use super::host::{Hold, Host, Moment, PendingStep};
use super::inbound::{Body, Presented};
use super::state::Conversation;
use crate::session::{Judged, Step};

/// The session's judgement of the request at the front of `bytes`.
#[inline(always)]
pub(super) fn judge<H: Host>(of: &mut Conversation, bytes: &[u8], host: &mut H) -> Judged {
    debug_assert!(!of.inbound.is_waiting(), "judged while it waits");
    debug_assert!(!of.is_ending() && !of.session.is_cut(), "a request behind the end");
    debug_assert!(of.inbound.body == Body::No, "a request within another one");
    let Conversation { session, inbound, out, leased, limits, now, .. } = of;
    let request = inbound.request(bytes);
    let (key, has_lease) = (session.key(), leased.is_here);
    let prefers_lease = session.prefers_lease();
    let moment = Moment { limits, key, has_lease, prefers_lease, now: *now };
    let judged = host.with_context(&moment, |ctx| session.handle_request(&request, ctx, out));
    // A request may have a companion.
    debug_assert!(
        session.in_flight() <= limits.max_in_flight + 1,
        "more are in flight than may be"
    );
    host.judged(session, &request, &judged, *now);
    judged
}

/// Whether the request at hand may be judged now, for the audit log.
#[inline(always)]
pub(super) fn hold<H: Host>(of: &Conversation, host: &mut H) -> Hold {
    // An answer would be a part of the replication stream.
    if of.session.is_streaming() { Hold::No } else { host.hold(of.now) }
}

/// The request at hand is refused, for the audit log has no room for it.
#[cold]
pub(super) fn refuse_unaudited(of: &mut Conversation) -> Judged {
    of.session.handle_unaudited(&mut of.out)
}

/// The request at hand is judged when the audit log has room for it. Nothing of it is consumed: 0 bytes.
#[cold]
pub(super) fn wait_for_room(of: &mut Conversation, presented: Presented, until: Instant) -> usize {
    debug_assert!(until >= of.now, "a wait is over before it begins");
    debug_assert!(presented.used > 0, "an empty request waits");
    of.session.note_incomplete(false);
    of.inbound.set_argument_max(None);
    of.inbound.keep_presented(presented);
    of.inbound.wait_for(PendingStep::Room(until));
    0
}

/// What a request waits for that is to be judged again.
pub(super) const fn awaited(step: &Step) -> PendingStep {
    debug_assert!(step.presents_again(), "a request that is dealt with waits");
    match *step {
        Step::Pause(until) => PendingStep::Pause(until),
        Step::Acquire(cause) => PendingStep::Lease(cause),
        Step::Ask { .. }
        | Step::Wait
        | Step::Collect
        | Step::Done
        | Step::Open(_)
        | Step::Close
        | Step::Send { .. }
        | Step::SendWire { .. } => PendingStep::Reply,
    }
}

//! The question to the session, what is to be done with a request.
//!
//! Owns: [`judge`]. Never knows: what is done, framing.

use super::host::{Hold, Host, Moment, PendingStep};
use super::state::Conversation;
use crate::session::{Judged, Step};

/// What the session says of the request at the front of `bytes`, and what that waits for if it is to be
/// judged again.
#[inline(always)]
pub(super) fn judge<H: Host>(
    of: &mut Conversation,
    bytes: &[u8],
    host: &mut H,
) -> (Judged, PendingStep) {
    debug_assert!(of.waiting == PendingStep::No, "judged while it waits");
    // An answer would be a part of the replication stream.
    if !of.session.is_streaming() {
        match host.hold(of.now) {
            Hold::No => {}
            Hold::Wait(until) => {
                return (Judged::only(Step::Pause(until)), PendingStep::Room(until));
            }
            Hold::Refuse => {
                host.lend_buffer(&mut of.out);
                return (of.session.handle_unaudited(&mut of.out), PendingStep::No);
            }
        }
    }
    host.lend_buffer(&mut of.out);
    let Conversation { session, inbound, out, leased, limits, now, .. } = of;
    let request = inbound.request(bytes);
    let (key, has_lease) = (session.key(), leased.is_here);
    let moment = Moment { limits, key, has_lease, now: *now };
    let judged = host.with_context(&moment, |ctx| session.handle_request(&request, ctx, out));
    host.judged(session, &request, &judged, *now);
    let pending = match judged.step {
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
    };
    (judged, pending)
}

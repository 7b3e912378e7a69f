//! What holds of a conversation between two calls, whatever has happened.
//!
//! Owns: [`check_invariants`]. Never knows: what happens.

use super::host::PendingStep;
use super::inbound::Presented;
use super::state::Conversation;

/// Debug builds and the simulation crash where it does not hold.
pub fn check_invariants(of: &Conversation) {
    of.session.check_invariants();
    of.check_invariants();
    of.sending.check_invariants(&of.session);
    let inbound = &of.inbound;
    let kept = |it: &Presented| it.used <= inbound.pending.len();
    debug_assert!(
        inbound.presented().as_ref().is_none_or(kept),
        "a request that waits is not kept"
    );
    let (waits, ends) = (inbound.presented().is_some(), of.is_ending());
    let timed = matches!(of.inbound.waiting(), PendingStep::Pause(_) | PendingStep::Room(_));
    debug_assert!(ends || waits || !timed, "nothing waits until then");
    debug_assert!(ends || waits || of.session.turn().is_none(), "a slot waits for no request");
    let replies = of.inbound.waiting() == PendingStep::Reply;
    debug_assert!(ends || !replies || of.session.in_flight() > 0, "a reply to nothing is awaited");
    let streams = of.session.is_streaming();
    debug_assert!(ends || of.has_lease() || !streams, "a stream comes on no connection");
    debug_assert!(of.ending.cut_at.is_none() || ends, "a client goes on behind half a reply");
}

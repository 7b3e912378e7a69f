//! What holds of a conversation between two calls, whatever has happened.
//!
//! Owns: [`check_invariants`]. Never knows: what happens.

use super::inbound::Body;
use super::state::Conversation;

/// Debug builds and the simulation crash where it does not hold.
pub fn check_invariants(of: &Conversation) {
    let (session, inbound) = (&of.session, &of.inbound);
    session.check_invariants();
    debug_assert!(
        inbound.body != Body::Forward || of.leased.is_here || of.ending.is_some(),
        "a body goes on to no connection"
    );
    debug_assert!(
        inbound.presented.is_none() || inbound.body == Body::No,
        "a request waits behind half a request"
    );
    debug_assert!(
        of.leased.is_here || !session.asks_lease(),
        "requests wait on a pinned connection that is not here"
    );
    debug_assert!(
        of.ending.is_none() || inbound.pending.is_empty(),
        "bytes are kept of a client that is not listened to any more"
    );
    debug_assert!(of.cut_at.is_none_or(|at| at <= of.out.len()), "cut behind the end");
}

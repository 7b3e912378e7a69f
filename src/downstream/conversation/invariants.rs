//! What holds of a conversation between two calls, whatever has happened.
//!
//! Owns: [`check_invariants`]. Never knows: what happens.

use super::state::Conversation;

/// Debug builds and the simulation crash where it does not hold.
pub fn check_invariants(of: &Conversation) {
    of.session.check_invariants();
    of.check_invariants();
}

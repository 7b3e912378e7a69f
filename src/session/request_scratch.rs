//! What is being made of the request at hand. One for all sessions of a thread: between two requests
//! there is nothing on it but room.
//!
//! Owns: [`RequestScratch`]. Never knows: why a request is permitted, refused or changed; sessions.

use std::rc::Rc;

use bytes::BytesMut;

use super::judged::Denial;
use super::script_cache::Script;
use crate::policy::guard::GuardFailure;
use crate::policy::{Grant, Guarded, Scratch};

/// What is known so far of the request that is judged, and room for what is sent of it.
#[derive(Debug)]
pub struct RequestScratch {
    /// Its `wire` is what is sent when that is not what the client sent.
    pub(super) scratch: Scratch,
    pub(super) grant: Grant,
    /// What the policy has against the request.
    pub(super) denial: Option<Denial>,
    /// Whether the script that is run can be guarded, if one is: not when the server has not been asked yet, and not
    /// where a script would reach further.
    pub(super) guarding: Result<(), Option<GuardFailure>>,
    /// The script that is run and what goes before it, if it is known and guarded.
    pub(super) script: Option<(Rc<Script>, Guarded)>,
    /// What the error of a refused request ends with, so that it is found in the audit log.
    pub(super) reference: Option<u64>,
}

impl Default for RequestScratch {
    fn default() -> Self {
        Self {
            scratch: Scratch::default(),
            grant: Grant::default(),
            denial: None,
            guarding: Ok(()),
            script: None,
            reference: None,
        }
    }
}

impl RequestScratch {
    /// Clears it for the next request.
    pub(super) fn clear(&mut self) {
        self.set_grant(Grant::default());
        self.denial = None;
        self.guarding = Ok(());
        if self.script.is_some() {
            self.script = None;
        }
        // A request that was queued, not sent, has left its bytes here.
        self.scratch.trim();
    }

    /// What the policy permits. Most grants are plain, as the one before was: those are not copied.
    #[inline]
    pub(super) fn set_grant(&mut self, grant: Grant) {
        if !(grant.is_plain() && self.grant.is_plain()) {
            self.grant = grant;
        }
    }

    /// A refusal of the next request carries the id of this audit event.
    pub const fn refer_to(&mut self, event: Option<u64>) {
        self.reference = event;
    }

    /// The bytes of [`Step::SendWire`](super::Step::SendWire) and [`Step::Ask`](super::Step::Ask),
    /// once. [`Self::reuse`] takes the buffer back.
    pub fn take_wire(&mut self) -> BytesMut {
        self.scratch.take_wire()
    }

    pub fn reuse(&mut self, wire: BytesMut) {
        self.scratch.reuse(wire);
    }

    /// An empty buffer for a request of the session's own.
    pub(super) fn fresh_wire(&mut self) -> &mut BytesMut {
        let wire = self.scratch.wire();
        wire.clear();
        wire
    }

    pub(super) fn wire(&mut self) -> &mut BytesMut {
        self.scratch.wire()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_request_leaves_no_room_behind() {
        let mut request_scratch = RequestScratch::default();
        request_scratch.fresh_wire().extend_from_slice(&[0; 1024]);
        request_scratch.clear();
        assert!(request_scratch.wire().capacity() >= 1024, "small ones share their room");
        request_scratch.fresh_wire().extend_from_slice(&vec![0; 1 << 20]);
        request_scratch.clear();
        assert_eq!(request_scratch.wire().capacity(), 0);
        let mut wire = request_scratch.take_wire();
        wire.extend_from_slice(&vec![0; 1 << 20]);
        request_scratch.reuse(wire);
        assert_eq!(request_scratch.wire().capacity(), 0);
    }
}

//! What is being made of the request at hand. One for all sessions of a thread: between two requests
//! there is nothing on it but room.
//!
//! Owns: [`RequestScratch`]. Never knows: why a request is permitted, refused or changed; sessions.

use bytes::BytesMut;

use crate::policy::{Grant, Refusal, Scratch};

/// The request that was presented last, judged. What is to be known of it is asked for before the
/// next one.
#[derive(Debug, Default)]
pub struct RequestScratch {
    /// Its `wire` is what is sent when that is not what the client sent.
    pub(super) scratch: Scratch,
    pub(super) grant: Grant,
    pub(super) refused: Option<Refusal>,
    /// The answer was an error of the server's own kind, and no denial.
    pub(super) probed: bool,
    /// What the error of a refused request ends with, so that it is found in the audit log.
    pub(super) reference: Option<u64>,
    /// It passed only because a rule is observed: that rule's refusal.
    pub(super) observed: Option<Refusal>,
}

impl RequestScratch {
    /// Clears it for the next request.
    pub fn clear(&mut self) {
        self.grant = Grant::default();
        self.refused = None;
        self.probed = false;
        self.observed = None;
        // A request that was queued, not sent, has left its bytes here.
        self.scratch.trim();
    }

    /// The refusal of the request just presented.
    #[must_use]
    pub const fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// A refusal of the next request says that it is the audit event of this id.
    pub const fn refer_to(&mut self, event: Option<u64>) {
        self.reference = event;
    }

    /// Whether the request just presented was a driver's question that no server knows.
    #[must_use]
    pub const fn probed(&self) -> bool {
        self.probed
    }

    /// The refusal that the request just presented would have met, were its rule not observed.
    #[must_use]
    pub const fn observed(&self) -> Option<&Refusal> {
        self.observed.as_ref()
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

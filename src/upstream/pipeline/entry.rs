//! One request in line of a connection, until it is answered.
//!
//! Owns: [`Entry`]. Never knows: its bytes, its place in line.

use std::time::Instant;

use super::delivery::Refusal;
use crate::traffic::{Skipped, Skips, Ticket};

/// One request in line.
#[derive(Clone, Debug)]
pub(super) struct Entry<W> {
    pub owner: W,
    pub ticket: Ticket,
    /// Its bytes in `Pipeline::bytes`.
    pub len: usize,
    /// Replies that belong to it but that its owner does not want.
    pub skips: Skipped,
    /// May be executed twice without harm.
    pub retry: bool,
    pub attempts: u8,
    /// The request completes the one before it, and is repeated only if that one's outcome is known.
    pub companion: bool,
    /// The server has not executed the request that this one completes.
    pub void: bool,
    /// The server has answered the request that this one completes with an error about that request.
    pub failed: bool,
    /// The request completes one that was answered, and no owner waits for it: it stays until it is answered.
    pub completes: bool,
    /// Its owner got a time-out; the late reply is dropped.
    pub abandoned: bool,
    /// The proxy's own: it is about this connection and ends with it.
    pub own: bool,
    /// Its bytes are wiped when it is answered.
    pub secret: bool,
    /// More of it follows.
    pub open: bool,
    /// Nothing answers it any more, although not all of it is written.
    pub answered: bool,
    pub at: Instant,
}

impl<W> Entry<W> {
    /// A request of `len` bytes.
    pub(super) const fn new(
        owner: W,
        ticket: Ticket,
        len: usize,
        skips: Skips,
        retry: bool,
        at: Instant,
    ) -> Self {
        Self {
            owner,
            ticket,
            len,
            skips: Skipped::none_of(skips),
            retry,
            attempts: 0,
            companion: false,
            void: false,
            failed: false,
            completes: false,
            abandoned: false,
            own: false,
            secret: false,
            open: false,
            answered: false,
            at,
        }
    }

    /// The same request for an owner that waits for nothing: it completes one that was answered.
    pub(super) fn completing<V>(&self, owner: V) -> Entry<V> {
        let skips = self.skips.anew();
        let entry = Entry::new(owner, Ticket::default(), self.len, Skips::NONE, true, self.at);
        Entry { skips, completes: true, attempts: self.attempts, ..entry }
    }

    /// Whether, once it is the oldest in line, it completes a request that the server has executed, perhaps in part.
    pub(super) const fn is_completing(&self) -> bool {
        self.completes || (self.companion && !self.void)
    }

    /// The server has refused the request before it: if it completes that one, it is sent on no other connection, or
    /// is nothing to report if it is refused, too.
    pub(super) fn note_refused_before(&mut self, refusal: Refusal) {
        debug_assert!(!self.own, "what is the proxy's own completes nothing");
        self.void |= self.companion && refusal == Refusal::ForNow;
        self.failed |= self.companion && refusal == Refusal::ForGood;
    }

    /// What holds whatever happens to the line.
    pub(super) fn check_invariants(&self) {
        debug_assert!(self.own || !self.secret, "a secret is not the proxy's own");
        debug_assert!(!self.own || self.attempts == 0, "what is the proxy's own is sent again");
        debug_assert!(!self.own || !self.abandoned, "what is the proxy's own is given up");
        debug_assert!(
            !self.own || !self.companion,
            "what is the proxy's own completes another one"
        );
        debug_assert!(!self.completes || self.retry, "what completes another one is not repeated");
        debug_assert!(!self.completes || !self.own, "it is about no connection");
        debug_assert!(!self.completes || !self.companion, "what it completes is in line");
        debug_assert!(self.len > 0 || self.open, "a request of no byte");
    }
}

//! What is queued between MULTI and EXEC.
//!
//! Owns: [`Transaction`], [`Executed`]. Never knows: the commands that fill and empty it.

use bytes::BytesMut;

use crate::command::Spec;
use crate::resp::RequestBuf;

/// Commands queued since MULTI.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub wire: BytesMut,
    pub count: u32,
    pub spoiled: bool,
    pub specials: Vec<(u32, Special)>,
}

/// A queued command whose reply, or effect on the session, is the proxy's.
#[derive(Debug)]
pub(super) enum Special {
    /// Answered here; on the wire a PING stands in its place.
    Local(&'static Spec, RequestBuf),
    /// Executed there; the session has another number of subscriptions then.
    Acknowledged,
    /// Executed there; on success the session is in that database.
    Select(u32),
}

/// What is left to do when EXEC's array arrives.
#[derive(Debug)]
pub(super) struct Executed(pub Vec<(u32, Special)>);

impl Transaction {
    /// EXEC will answer EXECABORT.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
        self.wire = BytesMut::new();
        self.specials = Vec::new();
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.wire.capacity()
    }
}

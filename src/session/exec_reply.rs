//! How far EXEC's array has come.
//!
//! Owns: [`ExecReply`]. Never knows: the session, what a special command does.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::client_text;
use super::transaction::ExecFixup;
use crate::base::limits;

/// What is left to do of EXEC's array. An array has a place for every command, and a server puts more
/// into it: an acknowledgement for each name of SUBSCRIBE, messages, lines of MONITOR. What does not fit
/// follows behind its end.
#[derive(Debug, Default)]
pub(super) struct ExecReply {
    /// Each with the number of its command, in order.
    pub specials: VecDeque<(u32, ExecFixup)>,
    /// Nothing is judged before it is answered.
    pub holds: bool,
    /// Commands that read and publish nothing: what looks like a message is their reply.
    pub reads: Vec<u32>,
    /// Commands in the array; `None`: it has not begun.
    pub count: Option<u32>,
    /// The command whose reply is next, and acknowledgements that it has left.
    pub index: u32,
    pub left: Option<u32>,
    /// Nothing but messages and acknowledgements reaches the client.
    pub muted: bool,
    pub skips_next: bool,
    /// Bytes of the commands that respgate itself has answered.
    answered: usize,
    /// The client gets all of it at once.
    pub out: BytesMut,
}

impl ExecReply {
    pub(super) fn new(specials: Vec<(u32, ExecFixup)>, reads: Vec<u32>, holds: bool) -> Self {
        debug_assert!(specials.is_sorted_by_key(|(at, _)| *at), "they are looked for in order");
        debug_assert!(reads.is_sorted(), "they are looked for in order");
        Self { specials: specials.into(), reads, holds, ..Self::default() }
    }

    /// Whether the array has begun, so that the next frame belongs to it.
    pub(super) const fn has_begun(&self) -> bool {
        self.count.is_some()
    }

    pub(super) fn special(&mut self) -> Option<ExecFixup> {
        let index = self.index;
        let due = |(at, _): &(u32, ExecFixup)| *at >= index;
        debug_assert!(self.specials.front().is_none_or(due), "one was passed by");
        self.specials.pop_front_if(|(at, _)| *at == index).map(|(_, special)| special)
    }

    /// How long the answer to a command that respgate itself answers may be.
    pub(super) const fn room(&self) -> usize {
        debug_assert!(self.count.is_some(), "nothing is answered before the array has begun");
        limits::CLIENT_ANSWER_BYTES_MAX.saturating_sub(self.answered)
    }

    /// Respgate has answered a command itself. One for which there was no room is the last that is tried.
    pub(super) fn note_answered(&mut self, answer: &[u8]) {
        let is_full = answer
            .strip_prefix(b"-")
            .is_some_and(|text| text.starts_with(client_text::LONG_ANSWER.as_bytes()));
        let bytes = if is_full { limits::CLIENT_ANSWER_BYTES_MAX } else { answer.len() };
        self.answered = self.answered.saturating_add(bytes);
        debug_assert!(!is_full || self.room() == 0, "another is tried");
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        debug_assert!(self.left.is_none(), "acknowledgements are still to come");
        debug_assert!(self.count.is_none_or(|count| self.index < count), "it has no place");
        if !self.muted {
            self.out.extend_from_slice(bytes);
        }
    }
}

//! How far EXEC's array has come.
//!
//! Owns: [`ExecReply`]. Never knows: the session, what a special command does.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::answer_room::AnswerRoom;
use super::transaction::ExecFixup;

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
    /// Room for answers of respgate's own.
    pub room: AnswerRoom,
    /// Bytes that the specials keep elsewhere.
    kept: usize,
    /// The client gets all of it at once.
    pub out: BytesMut,
}

impl ExecReply {
    pub(super) fn new(specials: Vec<(u32, ExecFixup)>, reads: Vec<u32>, holds: bool) -> Self {
        debug_assert!(specials.is_sorted_by_key(|(at, _)| *at), "they are looked for in order");
        debug_assert!(reads.is_sorted(), "they are looked for in order");
        let kept = specials.iter().map(|(_, special)| special.heap_bytes()).sum();
        Self { specials: specials.into(), reads, holds, kept, ..Self::default() }
    }

    /// Whether the array has begun, so that the next frame belongs to it.
    pub(super) const fn has_begun(&self) -> bool {
        self.count.is_some()
    }

    pub(super) fn special(&mut self) -> Option<ExecFixup> {
        let index = self.index;
        let due = |(at, _): &(u32, ExecFixup)| *at >= index;
        debug_assert!(self.specials.front().is_none_or(due), "one was passed by");
        let (_, special) = self.specials.pop_front_if(|(at, _)| *at == index)?;
        debug_assert!(self.kept >= special.heap_bytes(), "what it keeps was not counted");
        self.kept = self.kept.saturating_sub(special.heap_bytes());
        Some(special)
    }

    /// Bytes that are kept until the array is whole.
    pub(super) fn held_bytes(&self) -> usize {
        self.kept
            + self.specials.capacity() * size_of::<(u32, ExecFixup)>()
            + self.reads.capacity() * size_of::<u32>()
            + self.out.capacity()
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        debug_assert!(self.left.is_none(), "acknowledgements are still to come");
        debug_assert!(self.count.is_none_or(|count| self.index < count), "it has no place");
        if !self.muted {
            self.out.extend_from_slice(bytes);
        }
    }
}

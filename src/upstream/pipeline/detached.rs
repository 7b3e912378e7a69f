//! Requests of a session that reads large replies slowly: another connection carries those that can wait for it.
//!
//! Owns: [`Detached`]. Never knows: sockets, clocks, how slow is too slow.

use super::Pipeline;
use super::entry::Entry;

/// Requests that were taken out of a line, and whose they are.
#[derive(Debug)]
pub(in crate::upstream) struct Detached<W> {
    owner: usize,
    pub requests: Pipeline<W>,
}

impl<W: Clone> Detached<W> {
    /// Takes out the requests of the owner (`id` distinguishes them) that is receiving a reply: those behind the last
    /// one that has to be answered here. `None`: there are no such requests.
    pub(in crate::upstream) fn of_reader(
        line: &mut Pipeline<W>,
        id: impl Fn(&W) -> Option<usize>,
    ) -> Option<Self> {
        let owner = id(&line.line.front()?.owner)?;
        debug_assert!(line.begun, "nothing is being received");
        let is_own = |entry: &Entry<W>| !entry.abandoned && id(&entry.owner) == Some(owner);
        let (mut first, mut end) = (1, 0);
        for (index, entry) in line.line.iter().enumerate() {
            let (unsent, follows) = (end >= line.written, entry.companion && index == first);
            end += entry.len;
            let may_move = unsent || (entry.retry && end <= line.written);
            if is_own(entry) && (!may_move || follows) {
                first = index + 1;
            }
        }
        let moves = |index: usize, entry: &Entry<W>| index >= first && is_own(entry);
        if !line.line.iter().enumerate().any(|(index, entry)| moves(index, entry)) {
            return None;
        }
        let requests = line.take_out(moves);
        debug_assert!(!requests.is_empty(), "nothing was taken out");
        debug_assert!(
            requests.line.iter().all(|entry| id(&entry.owner) == Some(owner)),
            "of others"
        );
        debug_assert!(line.has_outstanding_replies(), "what is being received has no request");
        Some(Self { owner, requests })
    }
}

impl<W> Detached<W> {
    /// Whether their owner waits for nothing else that is in `line`: they may be sent on another connection.
    pub(in crate::upstream) fn may_follow(
        &self,
        line: &Pipeline<W>,
        id: impl Fn(&W) -> Option<usize>,
    ) -> bool {
        debug_assert!(self.requests.written == 0, "they are sent already");
        let waits = |entry: &Entry<W>| !entry.abandoned && id(&entry.owner) == Some(self.owner);
        !line.line.iter().any(waits)
    }
}

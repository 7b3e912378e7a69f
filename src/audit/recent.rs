//! The last entries of the audit log, in memory.
//!
//! Owns: [`Recent`], [`Since`]. Never knows: sinks, chain, its readers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Draft;
use crate::base::limits;

/// The last entries, the oldest first, each with a number of its own.
#[derive(Debug, Default)]
pub(super) struct Recent {
    drafts: VecDeque<Arc<Draft>>,
    bytes: usize,
    /// The number of the newest entry; the first one has 1.
    newest: u64,
}

/// The entries behind one that was read before.
#[derive(Debug, Default)]
pub(crate) struct Since {
    /// The oldest first.
    pub drafts: Vec<Arc<Draft>>,
    /// Entries between that one and these that are kept no more.
    pub missed: u64,
    /// The number of the newest entry; behind it the next reading begins.
    pub newest: u64,
}

impl Recent {
    pub(super) fn push(&mut self, draft: Arc<Draft>) {
        self.newest += 1;
        self.bytes += draft.bytes();
        self.drafts.push_back(draft);
        while self.drafts.len() > limits::AUDIT_RECENT_MAX
            || self.bytes > limits::AUDIT_RECENT_BYTES_MAX
        {
            let Some(oldest) = self.drafts.pop_front() else { return };
            self.bytes -= oldest.bytes();
        }
    }

    /// What came behind the entry with this number, as far as it is kept.
    pub(super) fn since(&self, number: u64) -> Since {
        let kept = self.drafts.len() as u64;
        let before_kept = self.newest - kept;
        let skipped = number.saturating_sub(before_kept).min(kept);
        let drafts = self.drafts.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX));
        Since {
            drafts: drafts.map(Arc::clone).collect(),
            missed: before_kept.saturating_sub(number),
            newest: self.newest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(recent: &mut Recent, bytes: usize) {
        recent.push(Arc::new(Draft { id: String::new(), members: "x".repeat(bytes) }));
    }

    #[test]
    fn last_entries_are_bounded_by_number_and_by_bytes() {
        let mut recent = Recent::default();
        (0..2 * limits::AUDIT_RECENT_MAX).for_each(|_| push(&mut recent, 10));
        assert_eq!(recent.drafts.len(), limits::AUDIT_RECENT_MAX);
        (0..100).for_each(|_| push(&mut recent, 100_000));
        assert!(recent.bytes <= limits::AUDIT_RECENT_BYTES_MAX && recent.drafts.len() == 10);
        assert_eq!(recent.bytes, recent.drafts.iter().map(|draft| draft.bytes()).sum::<usize>());
    }

    #[test]
    fn reader_gets_each_entry_once_and_learns_how_many_it_missed() {
        let mut recent = Recent::default();
        let look = |recent: &Recent, number| {
            let Since { drafts, missed, newest } = recent.since(number);
            (drafts.len(), missed, newest)
        };
        assert_eq!(look(&recent, 0), (0, 0, 0));
        (0..3).for_each(|_| push(&mut recent, 10));
        assert_eq!(look(&recent, 0), (3, 0, 3));
        assert_eq!(look(&recent, 2), (1, 0, 3));
        assert_eq!(look(&recent, 3), (0, 0, 3));
        assert_eq!(look(&recent, 9), (0, 0, 3), "a number of another process");
        (0..limits::AUDIT_RECENT_MAX + 4).for_each(|_| push(&mut recent, 10));
        assert_eq!(look(&recent, 3), (limits::AUDIT_RECENT_MAX, 4, 1007));
    }
}

//! The clients of all threads: how many there are, and the number of the next.
//!
//! Owns: [`Clients`]. Never knows: their names, which thread serves them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// One for the process. It is written when a client comes or goes, never for a command.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    count: AtomicUsize,
    last_id: AtomicU64,
}

impl Clients {
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// A place for one more while there are fewer than `max`: its number, which no other client ever had.
    pub(super) fn enter(&self, max: usize) -> Option<u64> {
        let more = |count: usize| (count < max).then(|| count + 1);
        self.count.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(self.last_id.fetch_add(1, Relaxed) + 1)
    }

    /// One that had entered has disconnected.
    pub(super) fn remove(&self) {
        let before = self.count.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a client that is removed was added before");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn threads_together_never_have_more_clients_than_permitted_and_no_number_twice() {
        let clients = Clients::default();
        let numbers: Vec<u64> = std::thread::scope(|scope| {
            let enter = || (0..1000).filter_map(|_| clients.enter(1500)).collect::<Vec<u64>>();
            let threads = [scope.spawn(enter), scope.spawn(enter)];
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        });
        assert_eq!((numbers.len(), clients.count()), (1500, 1500));
        let distinct: HashSet<u64> = numbers.iter().copied().collect();
        assert_eq!(distinct.len(), numbers.len());
        clients.remove();
        assert_eq!(clients.enter(1500), Some(1501));
        assert_eq!(clients.enter(1500), None);
    }
}

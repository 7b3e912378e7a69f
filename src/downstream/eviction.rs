//! The choice of clients that make room when all together keep more than the budget permits.
//!
//! Owns: [`Holder`], [`choose`]. Never knows: connections, how a client is ended.

use std::cmp::Reverse;
use std::time::Duration;

use crate::base::limits;

/// A client as far as the budget is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub id: u64,
    pub bytes: usize,
    /// How long it has sent and taken nothing.
    pub still: Duration,
    pub logged_in: bool,
}

impl Holder {
    /// Bytes times stillness: the largest that moves least weighs most.
    fn weight(&self) -> u128 {
        let steps = self.still.as_millis() / limits::EVICTION_IDLE_TIME.as_millis();
        (self.bytes as u128).saturating_mul(1 + steps)
    }
}

/// The clients to be ended so that `excess` bytes become free, as far as ending clients frees them: those
/// that are not logged in before all others, then by weight.
pub(super) fn choose(mut holders: Vec<Holder>, excess: usize) -> Vec<u64> {
    holders.retain(|holder| holder.bytes >= limits::EVICTION_BYTES_MIN);
    holders.sort_unstable_by_key(|holder| (holder.logged_in, Reverse(holder.weight())));
    let mut freed = 0_usize;
    let enough = holders.iter().take_while(|holder| {
        let wanted = freed < excess;
        freed = freed.saturating_add(holder.bytes);
        wanted
    });
    enough.map(|holder| holder.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(id: u64, kib: usize, still_ms: u64, logged_in: bool) -> Holder {
        Holder { id, bytes: kib * 1024, still: Duration::from_millis(still_ms), logged_in }
    }

    #[test]
    fn eviction_takes_those_before_login_first() {
        let holders =
            vec![holder(1, 9000, 60_000, true), holder(2, 16, 0, false), holder(3, 32, 0, false)];
        assert_eq!(choose(holders.clone(), 1), [3]);
        assert_eq!(choose(holders.clone(), 40 * 1024), [3, 2]);
        assert_eq!(choose(holders, 49 * 1024), [3, 2, 1]);
    }

    #[test]
    fn eviction_takes_the_largest_that_moves_least() {
        let busy = holder(1, 3000, 0, true);
        let still = holder(2, 1000, 1000, true);
        assert_eq!(choose(vec![busy, still], 1), [2], "a third of the size, but idle");
        assert_eq!(choose(vec![busy, holder(2, 10, 1000, true)], 1), [1], "too small to matter");
        assert_eq!(choose(vec![busy, still], 2000 * 1024), [2, 1]);
    }

    #[test]
    fn eviction_never_takes_who_keeps_next_to_nothing() {
        let small = (0..100).map(|id| holder(id, 3, 60_000, id % 2 == 0)).collect();
        assert!(choose(small, usize::MAX).is_empty());
    }

    #[test]
    fn eviction_closes_no_client_for_nothing() {
        assert!(choose(vec![holder(1, 9000, 0, true)], 0).is_empty());
    }
}

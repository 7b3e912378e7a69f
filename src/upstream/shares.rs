//! How pinned connections are shared out among what they are used for, so that no use takes them all.
//!
//! Owns: [`Use`], [`Shares`]. Never knows: connections, clocks, tasks.

use std::collections::BTreeSet;

use crate::base::limits;
use crate::config::PoolMode;

/// What a pinned connection is used for, as far as one use must leave room for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// WATCH, a transaction, any other state of a connection.
    State,
    /// A command that blocks.
    Block,
    /// Subscriptions, MONITOR.
    Listen,
    /// A large value.
    Large,
    /// A command that frees the server: it has a few connections beyond the others'.
    Release,
}

const ALL: [Use; USES] = [Use::State, Use::Block, Use::Listen, Use::Large];
const USES: usize = 4;
/// Each use has this part of all connections to itself.
const RESERVE_PART: usize = 16;

/// How many of all pinned connections one use may have.
#[must_use]
pub const fn most_for_one_use(max: usize) -> usize {
    max - (USES - 1) * reserve(max)
}

/// Connections that each use finds free, whatever the others have taken.
const fn reserve(max: usize) -> usize {
    if max >= limits::RESERVED_CONNECTIONS_MIN { max.div_ceil(RESERVE_PART) } else { 0 }
}

/// What one use has taken, and who waits for more.
#[derive(Debug, Default)]
struct Share {
    taken: usize,
    /// Those who wait, by number: the lowest came first.
    line: BTreeSet<u64>,
}

/// Who has a connection and who waits for one.
#[derive(Debug)]
pub(super) struct Shares {
    max: usize,
    reserve: usize,
    state: Share,
    block: Share,
    listen: Share,
    large: Share,
    release: Share,
}

impl Shares {
    /// In session mode a connection serves every use in turn, so nothing is reserved.
    pub(super) fn new(max: usize, mode: PoolMode) -> Self {
        let reserve = if mode == PoolMode::Shared { reserve(max) } else { 0 };
        debug_assert!(reserve * USES <= max, "the reserves fit");
        let [state, block, listen, large, release] = std::array::from_fn(|_| Share::default());
        Self { max, reserve, state, block, listen, large, release }
    }

    const fn of(&self, purpose: Use) -> &Share {
        match purpose {
            Use::State => &self.state,
            Use::Block => &self.block,
            Use::Listen => &self.listen,
            Use::Large => &self.large,
            Use::Release => &self.release,
        }
    }

    const fn of_mut(&mut self, purpose: Use) -> &mut Share {
        match purpose {
            Use::State => &mut self.state,
            Use::Block => &mut self.block,
            Use::Listen => &mut self.listen,
            Use::Large => &mut self.large,
            Use::Release => &mut self.release,
        }
    }

    pub(super) fn taken(&self) -> usize {
        ALL.iter().map(|purpose| self.of(*purpose).taken).sum()
    }

    /// Whether one may be taken at once, without passing anybody who waits.
    pub(super) fn is_free_for(&self, purpose: Use) -> bool {
        self.of(purpose).line.is_empty() && self.fits(purpose)
    }

    fn fits(&self, purpose: Use) -> bool {
        if purpose == Use::Release {
            return self.release.taken < limits::RELEASE_CONNECTIONS_MAX;
        }
        let others = ALL.iter().filter(|other| **other != purpose);
        let kept: usize =
            others.map(|other| self.reserve.saturating_sub(self.of(*other).taken)).sum();
        self.taken() + kept < self.max
    }

    /// Takes one, if it is free.
    pub(super) fn take(&mut self, purpose: Use) -> bool {
        let free = self.is_free_for(purpose);
        self.of_mut(purpose).taken += usize::from(free);
        debug_assert!(self.taken() <= self.max, "no more than there are");
        free
    }

    /// The last place in the line: `number` is higher than any before.
    pub(super) fn wait(&mut self, purpose: Use, number: u64) {
        let line = &mut self.of_mut(purpose).line;
        debug_assert!(line.last().is_none_or(|last| *last < number), "the line has an order");
        line.insert(number);
    }

    /// The owner of this number waits no longer.
    pub(super) fn leave(&mut self, purpose: Use, number: u64) {
        let was_in_line = self.of_mut(purpose).line.remove(&number);
        debug_assert!(was_in_line, "only who waits leaves the line");
    }

    /// A connection is free again. [`Self::grant`] says who gets it.
    pub(super) fn give_back(&mut self, purpose: Use) {
        let share = self.of_mut(purpose);
        debug_assert!(share.taken > 0, "only what was taken is given back");
        share.taken = share.taken.saturating_sub(1);
    }

    /// Takes one for the first of those who wait and may have one; its number.
    pub(super) fn grant(&mut self) -> Option<u64> {
        let first = |purpose: &Use| {
            let number = self.of(*purpose).line.first()?;
            self.fits(*purpose).then_some((*purpose, *number))
        };
        let uses = ALL.iter().chain(&[Use::Release]);
        let (purpose, number) = uses.filter_map(first).min_by_key(|(_, number)| *number)?;
        let share = self.of_mut(purpose);
        share.line.remove(&number);
        share.taken += 1;
        Some(number)
    }

    /// Whether anybody waits.
    pub(super) fn is_waited_for(&self) -> bool {
        ALL.iter().any(|purpose| !self.of(*purpose).line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(max: usize) -> Shares {
        Shares::new(max, PoolMode::Shared)
    }

    fn take_all(shares: &mut Shares, purpose: Use) -> usize {
        (0..).take_while(|_| shares.take(purpose)).count()
    }

    #[test]
    fn one_use_leaves_each_other_its_reserve() {
        for (max, most) in [(256, 208), (16, 13), (9, 6), (8, 5)] {
            let mut shares = shares(max);
            assert_eq!(take_all(&mut shares, Use::Listen), most, "of {max}");
            assert_eq!(most_for_one_use(max), most);
            for other in [Use::State, Use::Block, Use::Large] {
                assert!(shares.is_free_for(other) && shares.take(other), "{other:?} of {max}");
            }
            while shares.take(Use::State) || shares.take(Use::Block) || shares.take(Use::Large) {}
            assert_eq!(shares.taken(), max, "nothing is left unused by those who may");
        }
    }

    #[test]
    fn few_connections_or_those_of_sessions_are_not_shared_out() {
        assert_eq!(take_all(&mut shares(7), Use::Block), 7);
        assert_eq!(take_all(&mut Shares::new(256, PoolMode::Session), Use::State), 256);
    }

    #[test]
    fn a_use_below_its_reserve_keeps_only_the_rest_from_others() {
        let mut shares = shares(16);
        assert!(shares.take(Use::Block), "its reserve is used");
        assert_eq!(take_all(&mut shares, Use::Large), 13);
        assert!(!shares.is_free_for(Use::Block) && shares.is_free_for(Use::State));
    }

    #[test]
    fn what_frees_the_server_has_connections_beyond_all_others() {
        let mut shares = shares(8);
        while shares.take(Use::State) || shares.take(Use::Block) {}
        assert_eq!(take_all(&mut shares, Use::Release), limits::RELEASE_CONNECTIONS_MAX);
        shares.wait(Use::Release, 0);
        assert_eq!(shares.grant(), None);
        shares.give_back(Use::Release);
        assert_eq!(shares.grant(), Some(0));
    }

    #[test]
    fn those_who_wait_are_served_in_their_order_as_far_as_their_use_has_room() {
        let mut shares = shares(8);
        assert_eq!(take_all(&mut shares, Use::Block), 5);
        shares.wait(Use::Block, 1);
        shares.wait(Use::Block, 2);
        assert_eq!(shares.grant(), None);
        assert!(shares.is_waited_for());
        assert_eq!(take_all(&mut shares, Use::State), 1, "others do not wait behind them");
        assert_eq!(take_all(&mut shares, Use::Large), 1);
        shares.wait(Use::Large, 3);
        shares.give_back(Use::Block);
        assert_eq!(shares.grant(), Some(1));
        assert_eq!(shares.grant(), None);
        shares.leave(Use::Block, 2);
        shares.give_back(Use::Block);
        assert_eq!(shares.grant(), Some(3));
        assert!(!shares.is_waited_for());
        shares.wait(Use::State, 4);
        assert!(!shares.take(Use::State), "nobody passes one who waits");
        shares.leave(Use::State, 4);
    }
}

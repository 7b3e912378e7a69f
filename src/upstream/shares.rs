//! How pinned connections are shared out among their uses and their holders, so that no
//! use, user or listener takes them all.
//!
//! Owns: [`Use`], [`Shares`]. Never knows: connections, clocks, tasks.

use std::collections::{BTreeMap, BTreeSet};

use super::holder::{Holder, Holders};
use crate::base::limits;
use crate::config::PoolMode;

/// What a pinned connection is used for, as far as one use must not take all.
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

/// What one use has taken, and the holders that wait for more.
#[derive(Debug, Default)]
struct Share {
    taken: usize,
    /// The waiting holders, by number: of each holder the lowest came first.
    lines: BTreeMap<Holder, BTreeSet<u64>>,
}

/// The holders that have a connection or wait for one.
#[derive(Debug)]
pub(super) struct Shares {
    max: usize,
    reserve: usize,
    state: Share,
    block: Share,
    listen: Share,
    large: Share,
    release: Share,
    holders: Holders,
}

impl Shares {
    /// In session mode a connection serves every use in turn, so nothing is reserved.
    pub(super) fn new(max: usize, mode: PoolMode) -> Self {
        let reserve = if mode == PoolMode::Shared { reserve(max) } else { 0 };
        debug_assert!(reserve * USES <= max, "the reserves fit");
        debug_assert!(max == 0 || most_for_one_use(max) > 0, "a use has none");
        let [state, block, listen, large, release] = std::array::from_fn(|_| Share::default());
        let holders = Holders::new(max < limits::RESERVED_CONNECTIONS_MIN);
        Self { max, reserve, state, block, listen, large, release, holders }
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

    /// Among so many listeners they are shared out.
    pub(super) const fn share_among(&mut self, listeners: usize) {
        self.holders.share_among(listeners);
    }

    /// Whether a connection is free for this use and no session waits for one. The part that each user and listener
    /// leaves free is not considered.
    pub(super) fn is_free_for(&self, purpose: Use) -> bool {
        self.of(purpose).lines.is_empty() && self.room_for(purpose) > 0
    }

    /// Whether one is free for this use and holder, without passing another of the same that waits.
    pub(super) fn is_free_for_holder(&self, purpose: Use, holder: &Holder) -> bool {
        !self.of(purpose).lines.contains_key(holder) && self.fits(purpose, holder)
    }

    /// How many are free for this use.
    fn room_for(&self, purpose: Use) -> usize {
        if purpose == Use::Release {
            return limits::RELEASE_CONNECTIONS_MAX.saturating_sub(self.release.taken);
        }
        let others = ALL.iter().filter(|other| **other != purpose);
        let kept: usize =
            others.map(|other| self.reserve.saturating_sub(self.of(*other).taken)).sum();
        debug_assert!(kept <= (USES - 1) * self.reserve, "more is kept free than reserved");
        self.max.saturating_sub(self.taken() + kept)
    }

    fn fits(&self, purpose: Use, holder: &Holder) -> bool {
        let room = self.room_for(purpose);
        let fits = purpose == Use::Release || self.holders.may_take(holder, room);
        debug_assert!(room > 0 || purpose == Use::Release || !fits, "there is none");
        fits && room > 0
    }

    /// Takes one, if this holder may have it. It overtakes no waiting one: [`Self::grant`] has left none of them
    /// that may have one.
    pub(super) fn take(&mut self, purpose: Use, holder: &Holder) -> bool {
        let free = self.is_free_for_holder(purpose, holder);
        debug_assert!(!free || self.room_for(purpose) > 0, "one is taken that is not there");
        if free {
            self.note_taken(purpose, holder);
        }
        free
    }

    fn note_taken(&mut self, purpose: Use, holder: &Holder) {
        self.of_mut(purpose).taken += 1;
        if purpose != Use::Release {
            self.holders.note_taken(holder);
        }
        self.check_invariants();
    }

    /// What holds whenever one was taken, given back, or has come into the line or left it.
    fn check_invariants(&self) {
        debug_assert!(self.taken() <= self.max, "no more than there are");
        let held = self.taken();
        debug_assert_eq!(held, self.holders.taken(), "a connection has no holder");
        let release = self.release.taken;
        debug_assert!(release <= limits::RELEASE_CONNECTIONS_MAX, "no more than there are");
        let most = self.max - (USES - 1) * self.reserve;
        debug_assert!(ALL.iter().all(|of| self.of(*of).taken <= most), "others find none");
        let waits = |of: &Use| self.of(*of).lines.values().all(|line| !line.is_empty());
        debug_assert!(ALL.iter().all(waits), "a holder has an empty line");
        debug_assert!(waits(&Use::Release), "a holder has an empty line");
    }

    /// The last place in the line: `number` is higher than any before.
    pub(super) fn wait(&mut self, purpose: Use, holder: &Holder, number: u64) {
        let line = self.of_mut(purpose).lines.entry(holder.clone()).or_default();
        debug_assert!(line.last().is_none_or(|last| *last < number), "the line has an order");
        line.insert(number);
        self.check_invariants();
    }

    /// The owner of this number waits no longer.
    pub(super) fn remove(&mut self, purpose: Use, holder: &Holder, number: u64) {
        let lines = &mut self.of_mut(purpose).lines;
        let Some(line) = lines.get_mut(holder) else {
            debug_assert!(false, "only a waiting holder is removed from the line");
            return;
        };
        let was_in_line = line.remove(&number);
        debug_assert!(was_in_line, "only a waiting holder is removed from the line");
        if line.is_empty() {
            lines.remove(holder);
        }
        self.check_invariants();
    }

    /// A connection is free again. [`Self::grant`] decides which holder gets it.
    pub(super) fn give_back(&mut self, purpose: Use, holder: &Holder) {
        let share = self.of_mut(purpose);
        debug_assert!(share.taken > 0, "only what was taken is given back");
        share.taken = share.taken.saturating_sub(1);
        if purpose != Use::Release {
            self.holders.note_given_back(holder);
        }
        self.check_invariants();
    }

    /// Takes one for the first waiting holder that may have one; its number.
    pub(super) fn grant(&mut self) -> Option<u64> {
        let mut first: Option<(u64, Use, &Holder)> = None;
        for purpose in ALL.into_iter().chain([Use::Release]) {
            for (holder, line) in &self.of(purpose).lines {
                let earlier =
                    line.first().filter(|number| first.is_none_or(|(n, ..)| **number < n));
                if let Some(number) = earlier.filter(|_| self.fits(purpose, holder)) {
                    first = Some((*number, purpose, holder));
                }
            }
        }
        let (number, purpose, holder) = first.map(|(number, of, who)| (number, of, who.clone()))?;
        let passed = |of: &Use| self.of(*of).lines.get(&holder).and_then(|line| line.first());
        debug_assert!(passed(&purpose) == Some(&number), "it overtakes one of its own");
        debug_assert!(self.fits(purpose, &holder), "it is granted what it may not have");
        self.remove(purpose, &holder, number);
        self.note_taken(purpose, &holder);
        Some(number)
    }

    /// How many wait, for any use.
    pub(super) fn waiting(&self) -> usize {
        let all = ALL.iter().chain([&Use::Release]);
        all.flat_map(|purpose| self.of(*purpose).lines.values()).map(BTreeSet::len).sum()
    }

    /// Whether a holder waits.
    pub(super) fn is_waited_for(&self) -> bool {
        ALL.iter().any(|purpose| !self.of(*purpose).lines.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(max: usize) -> Shares {
        Shares::new(max, PoolMode::Shared)
    }

    /// A client of the only listener, which needs no login.
    fn anyone() -> Holder {
        Holder { user: None, listener: "one".into() }
    }

    fn user(name: &str, listener: &str) -> Holder {
        Holder { user: Some(name.into()), listener: listener.into() }
    }

    fn take(shares: &mut Shares, purpose: Use) -> bool {
        shares.take(purpose, &anyone())
    }

    fn take_all(shares: &mut Shares, purpose: Use) -> usize {
        take_all_for(shares, purpose, &anyone())
    }

    fn take_all_for(shares: &mut Shares, purpose: Use, holder: &Holder) -> usize {
        (0..).take_while(|_| shares.take(purpose, holder)).count()
    }

    #[test]
    fn use_leaves_each_other_its_reserve() {
        for (max, most) in [(256, 208), (16, 13), (9, 6), (8, 5)] {
            let mut shares = shares(max);
            assert_eq!(take_all(&mut shares, Use::Listen), most, "of {max}");
            assert_eq!(most_for_one_use(max), most);
            for other in [Use::State, Use::Block, Use::Large] {
                assert!(
                    shares.is_free_for(other) && take(&mut shares, other),
                    "{other:?} of {max}"
                );
            }
            while take(&mut shares, Use::State)
                || take(&mut shares, Use::Block)
                || take(&mut shares, Use::Large)
            {}
            assert_eq!(
                shares.taken(),
                max,
                "no free connection is kept from a holder that may have it"
            );
        }
    }

    #[test]
    fn few_connections_or_those_of_sessions_are_not_shared_out() {
        assert_eq!(take_all(&mut shares(7), Use::Block), 7);
        assert_eq!(take_all(&mut Shares::new(256, PoolMode::Session), Use::State), 256);
    }

    #[test]
    fn use_below_its_reserve_keeps_only_the_rest_from_others() {
        let mut shares = shares(16);
        assert!(take(&mut shares, Use::Block), "its reserve is used");
        assert_eq!(take_all(&mut shares, Use::Large), 13);
        assert!(!shares.is_free_for(Use::Block) && shares.is_free_for(Use::State));
    }

    #[test]
    fn release_commands_have_connections_beyond_all_others() {
        let mut shares = shares(8);
        while take(&mut shares, Use::State) || take(&mut shares, Use::Block) {}
        assert_eq!(take_all(&mut shares, Use::Release), limits::RELEASE_CONNECTIONS_MAX);
        shares.wait(Use::Release, &anyone(), 0);
        assert_eq!(shares.grant(), None);
        shares.give_back(Use::Release, &anyone());
        assert_eq!(shares.grant(), Some(0));
    }

    #[test]
    fn waiters_are_served_in_order_as_far_as_their_use_has_room() {
        let mut shares = shares(8);
        assert_eq!(take_all(&mut shares, Use::Block), 5);
        shares.wait(Use::Block, &anyone(), 1);
        shares.wait(Use::Block, &anyone(), 2);
        assert_eq!(shares.grant(), None);
        assert!(shares.is_waited_for());
        assert_eq!(take_all(&mut shares, Use::State), 1, "others do not wait behind them");
        assert_eq!(take_all(&mut shares, Use::Large), 1);
        shares.wait(Use::Large, &anyone(), 3);
        shares.give_back(Use::Block, &anyone());
        assert_eq!(shares.grant(), Some(1));
        assert_eq!(shares.grant(), None);
        shares.remove(Use::Block, &anyone(), 2);
        shares.give_back(Use::Block, &anyone());
        assert_eq!(shares.grant(), Some(3));
        assert!(!shares.is_waited_for());
        shares.wait(Use::State, &anyone(), 4);
        assert!(!take(&mut shares, Use::State), "no request overtakes a waiting one");
        shares.remove(Use::State, &anyone(), 4);
    }

    #[test]
    fn user_with_all_that_it_may_have_leaves_some_for_others_in_each_use() {
        for max in [8, 16, 64, 256] {
            for (greedy, other) in ALL.iter().flat_map(|one| ALL.map(|other| (*one, other))) {
                let mut shares = shares(max);
                let first = take_all_for(&mut shares, greedy, &user("first", "one"));
                assert!(first + 1 >= most_for_one_use(max) * 3 / 4, "{first} of {max}");
                let share = take_all_for(&mut shares, other, &user("other", "one"));
                assert!(share > 0, "{other:?} of {max} behind {greedy:?}");
            }
            let mut shares = shares(max);
            let all = ALL.map(|of| take_all_for(&mut shares, of, &user("first", "one")));
            assert!(all.iter().all(|taken| *taken > 0), "it has some for each use: {all:?}");
            assert!(take_all_for(&mut shares, Use::Block, &user("other", "one")) > 0, "of {max}");
        }
    }

    #[test]
    fn listener_with_all_that_it_may_have_leaves_some_for_another() {
        let mut shares = shares(256);
        shares.share_among(2);
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let one = names.map(|name| take_all_for(&mut shares, Use::Block, &user(name, "one")));
        let one: usize = one.iter().sum();
        assert_eq!(one, 195, "of 208");
        assert_eq!(take_all_for(&mut shares, Use::Block, &user("a", "two")), 0, "the same user");
        let two = Holder { user: None, listener: "two".into() };
        assert_eq!(take_all_for(&mut shares, Use::Block, &two), 12);
        let mut alone = self::shares(256);
        assert_eq!(take_all(&mut alone, Use::Block), 208, "there is no other listener");
    }

    #[test]
    fn waiters_of_a_user_with_too_many_hold_up_no_other() {
        let mut shares = shares(16);
        let (first, other) = (user("first", "one"), user("other", "one"));
        assert_eq!(take_all_for(&mut shares, Use::Block, &first), 11);
        shares.wait(Use::Block, &first, 1);
        assert_eq!(shares.grant(), None);
        assert!(shares.take(Use::Block, &other), "it is not behind those of another");
        shares.wait(Use::Block, &other, 2);
        shares.give_back(Use::Block, &first);
        assert_eq!(shares.grant(), Some(2), "that one has fewer");
        shares.give_back(Use::Block, &other);
        assert_eq!(shares.grant(), None, "what is free is for others");
        shares.give_back(Use::Block, &first);
        assert_eq!(shares.grant(), Some(1));
    }
}

//! The shared connections: those that carry new requests, and those that only receive outstanding replies.
//!
//! Owns: [`Registry`]. Never knows: sockets, sessions, why a connection is replaced.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use super::shared::Shared;
use crate::base::limits;
use crate::traffic::PoolKey;

pub use crate::base::limits::ASIDE_MAX;
/// Connections that are stalled at once when the server holds a kind of commands (`CLIENT PAUSE WRITE`).
const STALLED_MIN: usize = 2;

/// What is registered, as far as it matters here.
pub trait Member {
    fn key(&self) -> PoolKey;
    fn number(&self) -> u64;
    /// Whether the server serves others, but has not begun to answer the head of its line for a while.
    fn is_stalled(&self) -> bool;
    /// Whether there is no connection and nothing waits for one.
    fn is_idle(&self) -> bool;
    /// When the last request was put in line; none while any waits, or where the connection is to be there always.
    fn unused_since(&self) -> Option<Instant>;
    /// Takes nothing new, and ends after the last outstanding reply.
    fn retire(&self);
}

impl Member for Shared {
    fn key(&self) -> PoolKey {
        self.key()
    }

    fn number(&self) -> u64 {
        self.number()
    }

    fn is_stalled(&self) -> bool {
        self.is_stalled()
    }

    fn is_idle(&self) -> bool {
        !self.is_up() && !self.wanted()
    }

    fn unused_since(&self) -> Option<Instant> {
        self.unused_since()
    }

    fn retire(&self) {
        self.set_aside();
        self.close();
    }
}

/// What a session gets that has no connection of a key.
#[derive(Debug)]
pub enum Place<M> {
    /// One that is there.
    Known(Rc<M>),
    /// Another one is made and [registered](Registry::insert); `first`: the key has none yet.
    New { first: bool },
    /// All places are taken by keys that are in use.
    Full,
}

#[derive(Debug)]
pub struct Registry<M> {
    /// Connections of each key, `upstream.pool.connections` at most; never none.
    current: RefCell<HashMap<PoolKey, Vec<Rc<M>>>>,
    aside: RefCell<Vec<Rc<M>>>,
    width: usize,
    /// Of all keys together.
    max: usize,
    /// The number of the one that the next session gets.
    turn: Cell<usize>,
}

impl<M: Member> Registry<M> {
    #[must_use]
    pub fn new(width: usize, max: usize) -> Self {
        debug_assert!(width > 0 && max > 0, "a key without a connection carries nothing");
        let (current, aside) = (RefCell::default(), RefCell::default());
        Self { current, aside, width, max, turn: Cell::new(0) }
    }

    /// What a session gets that has none of this key: as many are made as the key may have, and then each serves in
    /// turn. If need be, one that is not in use makes room.
    pub fn place(&self, key: PoolKey, now: Instant) -> Place<M> {
        if !self.is_complete(key) && self.has_place(now) {
            return Place::New { first: self.is_empty(key) };
        }
        self.next(key).map_or(Place::Full, Place::Known)
    }

    /// Whether the key has none.
    pub(super) fn is_empty(&self, key: PoolKey) -> bool {
        !self.current.borrow().contains_key(&key)
    }

    /// Whether one more may be made, if need be in the place of one that is not in use.
    pub(super) fn has_place(&self, now: Instant) -> bool {
        self.len() < self.max || self.forget_idle(now)
    }

    /// The connections of one key, in the order of their registration.
    #[must_use]
    pub fn of(&self, key: PoolKey) -> Vec<Rc<M>> {
        self.current.borrow().get(&key).cloned().unwrap_or_default()
    }

    /// Whether the key has as many as it may have.
    fn is_complete(&self, key: PoolKey) -> bool {
        self.current.borrow().get(&key).is_some_and(|all| all.len() >= self.width)
    }

    /// The one that a session gets which has none of this key: each in turn.
    fn next(&self, key: PoolKey) -> Option<Rc<M>> {
        let current = self.current.borrow();
        let all = current.get(&key)?;
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        all.get(turn % all.len().max(1)).map(Rc::clone)
    }

    pub fn insert(&self, shared: &Rc<M>) {
        let mut current = self.current.borrow_mut();
        let all = current.entry(shared.key()).or_default();
        all.push(Rc::clone(shared));
        debug_assert!(all.len() <= self.width, "no more than configured");
        drop(current);
        self.check_invariants();
    }

    /// What holds whenever one has come or gone.
    fn check_invariants(&self) {
        let (current, aside) = (self.current.borrow(), self.aside.borrow());
        debug_assert!(current.values().all(|all| !all.is_empty()), "a key has none");
        let own = |(key, all): (&PoolKey, &Vec<Rc<M>>)| all.iter().all(|one| one.key() == *key);
        debug_assert!(current.iter().all(own), "a connection serves another key");
        let is_aside = |one: &Rc<M>| aside.iter().any(|other| Rc::ptr_eq(one, other));
        debug_assert!(
            !current.values().flatten().any(is_aside),
            "what is set aside takes new ones"
        );
    }

    /// Removes a key. Sessions stop using its connections.
    pub fn remove(&self, key: PoolKey) {
        let removed = self.current.borrow_mut().remove(&key);
        removed.iter().flatten().for_each(|member| member.retire());
        self.check_invariants();
    }

    /// Forgets one that is not in use: the oldest that has no connection, else the one that was used longest ago, so
    /// that no client keeps a place by being there. Returns whether there was one.
    fn forget_idle(&self, now: Instant) -> bool {
        let mut current = self.current.borrow_mut();
        // A map has no order.
        let all =
            current.iter().flat_map(|(key, all)| all.iter().enumerate().map(move |at| (key, at)));
        let unused = all.filter_map(|(key, (at, member))| {
            let last = if member.is_idle() { None } else { Some(member.unused_since()?) };
            let quiet = last.map(|last| now.saturating_duration_since(last));
            let gives_way = quiet.is_none_or(|quiet| quiet >= limits::SHARED_QUIET_MIN);
            gives_way.then(|| ((last, member.number()), (*key, at)))
        });
        let found = unused.min_by_key(|(order, _)| *order).map(|(_, found)| found);
        let forgotten = found.and_then(|(key, at)| {
            let all = current.get_mut(&key)?;
            let member = all.remove(at);
            if all.is_empty() {
                current.remove(&key);
            }
            Some(member)
        });
        drop(current);
        // Sessions stop using it.
        let forgotten = forgotten.inspect(|member| member.retire()).is_some();
        self.check_invariants();
        forgotten
    }

    /// How many there are, of all keys together.
    fn len(&self) -> usize {
        self.current.borrow().values().map(Vec::len).sum()
    }

    /// All of them, those set aside too.
    pub(super) fn all(&self) -> Vec<Rc<M>> {
        let aside = self.aside.borrow();
        self.current.borrow().values().flatten().chain(aside.iter()).map(Rc::clone).collect()
    }

    /// The one with this number, if it has not ended.
    pub(super) fn numbered(&self, number: u64) -> Option<Rc<M>> {
        self.all().into_iter().find(|shared| shared.number() == number)
    }

    /// Whether one more may be set aside.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.aside.borrow().len() < ASIDE_MAX
    }

    /// `new` takes the place of `old`, which ends after its last outstanding reply.
    pub fn replace(&self, old: &Rc<M>, new: &Rc<M>) {
        old.retire();
        self.aside.borrow_mut().push(Rc::clone(old));
        let mut current = self.current.borrow_mut();
        let all = current.entry(old.key()).or_default();
        match all.iter_mut().find(|member| Rc::ptr_eq(member, old)) {
            Some(member) => *member = Rc::clone(new),
            None => all.push(Rc::clone(new)),
        }
        drop(current);
        self.check_invariants();
    }

    /// `member` takes nothing new from the beginning.
    pub fn insert_aside(&self, member: &Rc<M>) {
        debug_assert!(self.has_room(), "more are set aside than may be");
        member.retire();
        self.aside.borrow_mut().push(Rc::clone(member));
        self.check_invariants();
    }

    /// Its task has ended.
    pub fn forget(&self, shared: &Rc<M>) {
        self.aside.borrow_mut().retain(|aside| !Rc::ptr_eq(aside, shared));
        self.check_invariants();
    }

    /// Where commands wait that the server holds, if it does: what may write goes behind the others
    /// that wait, instead of stopping one connection after the other.
    #[must_use]
    pub fn lane(&self, key: PoolKey) -> Option<Rc<M>> {
        let aside = self.aside.borrow();
        let mut stalled = aside.iter().filter(|shared| shared.key() == key && shared.is_stalled());
        let last = stalled.next_back()?;
        (stalled.count() + 1 >= STALLED_MIN).then(|| Rc::clone(last))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::base::clock;
    use crate::resp::Protocol;

    #[derive(Debug, Default)]
    struct Fake {
        database: u32,
        stalled: Cell<bool>,
        busy: Cell<bool>,
        unused_since: Cell<Option<Instant>>,
        retired: Cell<bool>,
    }

    impl Member for Fake {
        fn key(&self) -> PoolKey {
            PoolKey { database: self.database, ..KEY }
        }

        fn number(&self) -> u64 {
            0
        }

        fn is_stalled(&self) -> bool {
            self.stalled.get()
        }

        fn is_idle(&self) -> bool {
            !self.busy.get()
        }

        fn unused_since(&self) -> Option<Instant> {
            self.unused_since.get()
        }

        fn retire(&self) {
            self.retired.set(true);
        }
    }

    const KEY: PoolKey = PoolKey { protocol: Protocol::Resp2, database: 0 };

    #[test]
    fn connections_are_set_aside_up_to_the_room() {
        let registry = Registry::new(1, 8);
        let first = Rc::new(Fake::default());
        registry.insert(&first);
        let mut current = Rc::clone(&first);
        for _ in 0..ASIDE_MAX {
            assert!(registry.has_room());
            let next = Rc::new(Fake::default());
            registry.replace(&current, &next);
            assert!(current.retired.get() && !next.retired.get());
            current = next;
        }
        assert!(!registry.has_room());
        assert_eq!((registry.len(), registry.all().len()), (1, 1 + ASIDE_MAX));
        registry.forget(&first);
        assert!(registry.has_room());
    }

    #[test]
    fn unused_key_makes_room_for_another() {
        let registry = Registry::new(1, 8);
        let members: Vec<Rc<Fake>> = (0..3)
            .map(|database| Rc::new(Fake { database, busy: Cell::new(true), ..Fake::default() }))
            .collect();
        members.iter().for_each(|member| registry.insert(member));
        let now = clock::now();
        assert!(!registry.forget_idle(now), "all are in use");
        members[1].busy.set(false);
        assert!(registry.forget_idle(now));
        assert!(members[1].retired.get() && registry.of(members[1].key()).is_empty());
        assert_eq!(registry.len(), 2);
    }

    #[test]
    fn connection_that_was_used_longest_ago_makes_room_once_it_is_quiet() {
        let registry = Registry::new(1, 3);
        let now = clock::now();
        let fake = |database, unused_since: Option<Duration>| {
            let unused_since = Cell::new(unused_since.map(|time| now - time));
            Rc::new(Fake { database, busy: Cell::new(true), unused_since, ..Fake::default() })
        };
        let quiet = limits::SHARED_QUIET_MIN;
        let [busy, later, longest] =
            [fake(0, None), fake(1, Some(quiet)), fake(2, Some(quiet * 2))];
        [&busy, &later, &longest].into_iter().for_each(|member| registry.insert(member));
        let other = PoolKey { database: 3, ..KEY };
        let is_new = |now| matches!(registry.place(other, now), Place::New { first: true });
        assert!(is_new(now) && longest.retired.get() && !later.retired.get());
        registry.insert(&fake(3, Some(Duration::ZERO)));
        let known = registry.place(PoolKey { database: 1, ..KEY }, now);
        assert!(matches!(known, Place::Known(_)) && !later.retired.get());
        let other = PoolKey { database: 4, ..KEY };
        let before = now - Duration::from_millis(1);
        assert!(matches!(registry.place(other, before), Place::Full), "none is quiet for so long");
        assert!(matches!(registry.place(other, now), Place::New { first: true }));
        assert!(later.retired.get() && !busy.retired.get());
    }

    #[test]
    fn sessions_get_each_of_several_in_turn() {
        let registry = Registry::new(2, 8);
        let fake = || Rc::new(Fake { busy: Cell::new(true), ..Fake::default() });
        let (one, two, three) = (fake(), fake(), fake());
        assert!(registry.next(KEY).is_none() && !registry.is_complete(KEY));
        registry.insert(&one);
        assert!(!registry.is_complete(KEY));
        registry.insert(&two);
        assert!(registry.is_complete(KEY) && registry.len() == 2);
        let turns = |count| (0..count).map(|_| registry.next(KEY).unwrap()).collect::<Vec<_>>();
        let count = |one: &Rc<Fake>| turns(10).iter().filter(|own| Rc::ptr_eq(own, one)).count();
        assert_eq!((count(&one), count(&two)), (5, 5));
        registry.replace(&one, &three);
        assert_eq!((count(&one), count(&two), count(&three)), (0, 5, 5));
        two.busy.set(false);
        assert!(registry.forget_idle(clock::now()) && two.retired.get() && registry.len() == 1);
        registry.remove(KEY);
        assert!(three.retired.get() && registry.of(KEY).is_empty() && registry.len() == 0);
    }

    #[test]
    fn commands_wait_together_once_a_second_connection_is_stalled() {
        let registry = Registry::new(1, 8);
        let (one, two, three) =
            (Rc::new(Fake::default()), Rc::new(Fake::default()), Rc::new(Fake::default()));
        registry.insert(&one);
        one.stalled.set(true);
        registry.replace(&one, &two);
        assert!(registry.lane(KEY).is_none(), "it may be one command alone");
        two.stalled.set(true);
        registry.replace(&two, &three);
        assert!(registry.lane(KEY).is_some_and(|lane| Rc::ptr_eq(&lane, &two)));
        assert!(registry.lane(PoolKey { database: 1, ..KEY }).is_none());
        one.stalled.set(false);
        assert!(registry.lane(KEY).is_none(), "the server goes on");
    }
}

//! Limits that are shared: a dropped slot is free again, and a waiting request is woken.
//!
//! Owns: [`Limiter`], [`Slot`], [`Waiter`], [`Admission`], [`HeldSlot`]. Never knows: commands, clocks, how
//! much of a limit is used, what becomes of requests that may not pass.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use super::limit_usage::{LimitUsage, Place};
use crate::policy::{Limit, Refusal};

/// A limit as its users share it.
#[derive(Debug)]
pub(super) struct Limiter {
    usage: RefCell<LimitUsage<Rc<Turn>>>,
    /// The limiter counts the commands of one client alone.
    is_own: bool,
}

/// How one that waits for a slot learns that it has one.
#[derive(Debug, Default)]
struct Turn {
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One of the commands that may be in flight at once; dropped, it is free for the next.
#[derive(Debug)]
pub(super) struct Slot(Rc<Limiter>);

/// A request that waits for a slot. Dropped, the line closes up.
#[derive(Debug)]
pub(crate) struct Waiter {
    limiter: Rc<Limiter>,
    turn: Rc<Turn>,
    /// `None`: it has left the line.
    place: Cell<Option<Place>>,
}

/// What the request at hand has been given; kept while it waits for whatever else.
#[derive(Debug)]
pub(super) struct Admission {
    /// Since when the request waits.
    pub since: Instant,
    /// Its last token comes then.
    pub until: Instant,
    /// Limits whose slots it has, or does not need.
    pub passed: usize,
    pub queued: Option<Waiter>,
    pub slots: Vec<Slot>,
    /// What it would be refused for, were that rule not only observed.
    pub observed: Option<Refusal>,
}

/// What a request holds of limits whose client has disconnected before its reply. Dropped, others may take it.
#[derive(Debug)]
pub struct HeldSlot(#[allow(dead_code, reason = "given back when dropped")] Box<Admission>);

impl HeldSlot {
    /// `None`: it holds nothing that others wait for.
    pub(super) fn of(admission: Box<Admission>) -> Option<Self> {
        (!admission.slots.is_empty()).then_some(Self(admission))
    }
}

impl Admission {
    pub(super) const fn new(now: Instant) -> Self {
        let slots = Vec::new();
        Self { since: now, until: now, passed: 0, queued: None, slots, observed: None }
    }
}

impl Limiter {
    pub(super) fn new(limit: &Limit, now: Instant) -> Rc<Self> {
        let usage = RefCell::new(LimitUsage::new(limit, now));
        Rc::new(Self { usage, is_own: limit.per_client })
    }

    /// Microseconds until a token is there.
    pub(super) fn wait_us(&self, now: Instant) -> u64 {
        self.usage.borrow().wait_us(now)
    }

    pub(super) fn take_token(&self, now: Instant) {
        self.usage.borrow_mut().take_token(now);
    }

    /// Whether it is one client's own and another one would differ from it: of commands in flight,
    /// and of tokens as they are at `now`, or were when the last one was taken.
    pub(super) fn is_own_and_used(&self, now: Option<Instant>) -> bool {
        self.is_own && self.usage.borrow().is_any(now)
    }

    /// Whether the next request would have to wait.
    pub(super) fn is_full(&self, most: u32) -> bool {
        self.usage.borrow().is_full(most)
    }

    /// A slot, if one is free.
    pub(super) fn enter(self: &Rc<Self>, most: u32) -> Option<Slot> {
        self.usage.borrow_mut().enter(most).then(|| Slot(Rc::clone(self)))
    }

    /// The last place in the line.
    pub(super) fn queue(self: &Rc<Self>) -> Waiter {
        let turn = Rc::new(Turn::default());
        let place = self.usage.borrow_mut().queue(Rc::clone(&turn));
        Waiter { limiter: Rc::clone(self), turn, place: Cell::new(Some(place)) }
    }

    /// A slot is free: the next one learns of it.
    fn release(&self) {
        let next = self.usage.borrow_mut().release();
        let Some(turn) = next else { return };
        debug_assert!(!turn.granted.get(), "one gets two slots");
        turn.granted.set(true);
        if let Some(waker) = turn.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Waiter {
    /// The slot, when it is this one's turn.
    pub(super) fn take(&self) -> Option<Slot> {
        self.turn.granted.replace(false).then(|| {
            self.place.set(None);
            Slot(Rc::clone(&self.limiter))
        })
    }

    /// Whether there is a slot to take; if not, `waker` is called when there is.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        if !self.turn.granted.get() {
            *self.turn.waker.borrow_mut() = Some(waker.clone());
        }
        self.turn.granted.get()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.turn.granted.get() {
            return self.limiter.release();
        }
        // Not in the line any more, when it has taken its slot.
        if let Some(place) = self.place.take() {
            self.limiter.usage.borrow_mut().give_up(place);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may crash")]
    use super::*;
    use crate::config::{LimitRule, Rules};
    use crate::policy::compile;

    fn limiter() -> Rc<Limiter> {
        let commands = "@all".to_owned();
        let limit = LimitRule { commands, concurrency: Some(2), ..LimitRule::default() };
        let policy = compile(&Rules { limits: vec![limit], ..Rules::default() }).unwrap();
        Limiter::new(&policy.limits()[0], crate::base::clock::now())
    }

    #[test]
    fn slots_go_to_those_who_wait_in_their_order() {
        let limiter = limiter();
        let (first, second) = (limiter.enter(2).unwrap(), limiter.enter(2).unwrap());
        assert!(limiter.enter(2).is_none());
        let (a, b, c) = (limiter.queue(), limiter.queue(), limiter.queue());
        assert!(!a.poll(Waker::noop()) && a.take().is_none());
        drop(first);
        assert!(a.poll(Waker::noop()) && !b.poll(Waker::noop()) && limiter.enter(2).is_none());
        // A request that is removed without taking its slot gives it to the next.
        drop(a);
        assert!(b.poll(Waker::noop()));
        let third = b.take().unwrap();
        drop(b);
        assert!(!c.poll(Waker::noop()));
        // A request that is removed without a slot is no longer counted.
        drop(c);
        drop((second, third));
        assert_eq!(limiter.usage.borrow().counts().0, 0);
        assert_eq!(limiter.usage.borrow().counts().1, 0);
    }

    #[test]
    fn place_given_up_costs_the_same_wherever_it_is() {
        const WAITERS: usize = 20_000;
        let orders: [fn(Vec<Waiter>) -> Vec<Waiter>; 3] = [
            |all| all,
            |mut all| {
                all.reverse();
                all
            },
            |all| {
                let (even, odd): (Vec<_>, Vec<_>) =
                    all.into_iter().enumerate().partition(|(at, _)| at % 2 == 0);
                odd.into_iter().chain(even).map(|(_, queued)| queued).collect()
            },
        ];
        for order in orders {
            let limiter = limiter();
            let slots = (limiter.enter(2).unwrap(), limiter.enter(2).unwrap());
            let waiting = (0..WAITERS).map(|_| limiter.queue()).collect();
            for queued in order(waiting) {
                drop(queued);
                let (_, places, removed, _) = limiter.usage.borrow().counts();
                assert!(removed * 2 <= places, "removed requests take no memory");
            }
            let (.., steps) = limiter.usage.borrow().counts();
            assert!(steps <= 4 * WAITERS, "{steps} steps for {WAITERS} that leave");
            drop(slots);
            assert_eq!(limiter.usage.borrow().counts().1, 0);
            assert!(limiter.enter(2).is_some());
        }
    }

    #[test]
    fn slots_pass_by_those_who_have_left() {
        let limiter = limiter();
        let slots = (limiter.enter(2).unwrap(), limiter.enter(2).unwrap());
        let mut waiting: Vec<_> = (0..9).map(|_| limiter.queue()).collect();
        let last = waiting.pop().unwrap();
        let kept: Vec<_> = waiting.drain(4..).collect();
        drop(waiting);
        drop(slots);
        let granted: Vec<bool> = kept.iter().map(|queued| queued.poll(Waker::noop())).collect();
        assert_eq!(granted, [true, true, false, false]);
        drop(kept);
        assert!(last.poll(Waker::noop()) && last.take().is_some());
        drop(last);
        assert_eq!(limiter.usage.borrow().counts().0, 0);
    }
}

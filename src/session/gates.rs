//! How much of each limit is used, and who waits for room.
//!
//! Owns: [`Gates`], [`Gatehouse`], [`Slot`], [`Admission`]. Never knows: commands, clocks, what becomes of those who
//! may not pass.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

use crate::policy::{Bucket, Limit, Policy, Rate, Refusal};

/// What is used of one limit.
#[derive(Debug)]
pub(super) struct Gate {
    bucket: Option<Cell<Bucket>>,
    begun: Instant,
    /// Slots that are taken, or promised to the one at the front of the line.
    used: Cell<u32>,
    line: RefCell<VecDeque<Rc<Turn>>>,
}

/// A place in the line for a slot.
#[derive(Debug, Default)]
struct Turn {
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One of the commands that may be on their way at once; dropped, it is free for the next.
#[derive(Debug)]
pub(super) struct Slot(Rc<Gate>);

/// Somebody who waits for a slot. Dropped, the line closes up.
#[derive(Debug)]
pub(super) struct Queued {
    gate: Rc<Gate>,
    turn: Rc<Turn>,
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
    pub queued: Option<Queued>,
    pub slots: Vec<Slot>,
    /// What it would be refused for, were that rule not only observed.
    pub observed: Option<Refusal>,
}

impl Admission {
    pub(super) const fn new(now: Instant) -> Self {
        let slots = Vec::new();
        Self { since: now, until: now, passed: 0, queued: None, slots, observed: None }
    }
}

impl Gate {
    fn new(limit: &Limit, now: Instant) -> Rc<Self> {
        let bucket = limit.rate.as_ref().map(|rate| Cell::new(Bucket::new(rate, 0)));
        Rc::new(Self { bucket, begun: now, used: Cell::new(0), line: RefCell::default() })
    }

    fn since(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.begun);
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }

    /// Microseconds until a token is there.
    pub(super) fn wait_us(&self, rate: &Rate, now: Instant) -> u64 {
        self.bucket.as_ref().map_or(0, |bucket| bucket.get().wait_us(rate, self.since(now)))
    }

    pub(super) fn take_token(&self, rate: &Rate, now: Instant) {
        if let Some(cell) = &self.bucket {
            let mut bucket = cell.get();
            bucket.take(rate, self.since(now));
            cell.set(bucket);
        }
    }

    /// Whether whoever comes next would have to wait.
    pub(super) fn is_full(&self, most: u32) -> bool {
        self.used.get() >= most
    }

    /// A slot, if nobody has to wait for one.
    pub(super) fn enter(self: &Rc<Self>, most: u32) -> Option<Slot> {
        if self.is_full(most) {
            return None;
        }
        self.used.set(self.used.get() + 1);
        Some(Slot(Rc::clone(self)))
    }

    /// The last place in the line.
    pub(super) fn queue(self: &Rc<Self>) -> Queued {
        let turn = Rc::new(Turn::default());
        self.line.borrow_mut().push_back(Rc::clone(&turn));
        Queued { gate: Rc::clone(self), turn }
    }

    /// A slot is free: it is the next one's, without anybody coming between.
    fn leave(&self) {
        let next = self.line.borrow_mut().pop_front();
        let Some(turn) = next else { return self.used.set(self.used.get().saturating_sub(1)) };
        turn.granted.set(true);
        if let Some(waker) = turn.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Queued {
    /// The slot, when it is this one's turn.
    pub(super) fn take(&self) -> Option<Slot> {
        self.turn.granted.replace(false).then(|| Slot(Rc::clone(&self.gate)))
    }

    /// Whether there is a slot to take; if not, `waker` is called when there is.
    pub(super) fn poll(&self, waker: &Waker) -> bool {
        if !self.turn.granted.get() {
            *self.turn.waker.borrow_mut() = Some(waker.clone());
        }
        self.turn.granted.get()
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if self.turn.granted.get() {
            return self.gate.leave();
        }
        self.gate.line.borrow_mut().retain(|turn| !Rc::ptr_eq(turn, &self.turn));
    }
}

/// What is used of a policy's limits, as one client meets them: one gate for each limit, its own or
/// one that it shares.
#[derive(Debug, Default)]
pub struct Gates(Box<[Rc<Gate>]>);

impl Gates {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Gate>> {
        self.0.iter()
    }
}

/// The gates that the clients of one listener share, by policy.
#[derive(Debug, Default)]
pub struct Gatehouse(RefCell<Vec<Shared>>);

type Shared = (Weak<Policy>, Box<[Rc<Gate>]>);

impl Gatehouse {
    /// For one client with this policy.
    #[must_use]
    pub fn gates(&self, policy: &Arc<Policy>, now: Instant) -> Gates {
        let limits = policy.limits();
        if limits.is_empty() {
            return Gates::default();
        }
        let mut known = self.0.borrow_mut();
        // A policy that is no longer in force keeps its address until here.
        let own = |(weak, _): &Shared| weak.as_ptr() == Arc::as_ptr(policy);
        let at = known.iter().position(own).unwrap_or_else(|| {
            known.retain(|(weak, _)| weak.strong_count() > 0);
            let gates = limits.iter().map(|limit| Gate::new(limit, now)).collect();
            known.push((Arc::downgrade(policy), gates));
            known.len() - 1
        });
        let shared = known.get(at).map_or(&[][..], |(_, gates)| gates);
        let gate = |(limit, gate): (&Limit, &Rc<Gate>)| {
            if limit.per_client { Gate::new(limit, now) } else { Rc::clone(gate) }
        };
        Gates(limits.iter().zip(shared).map(gate).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may crash")]
    use super::*;
    use crate::config::{LimitRule, Per, Rules};
    use crate::policy::compile;

    fn policy(per: Per) -> Arc<Policy> {
        let commands = "@all".to_owned();
        let limit = LimitRule { commands, concurrency: Some(2), per, ..LimitRule::default() };
        Arc::new(compile(&Rules { limits: vec![limit], ..Rules::default() }).unwrap())
    }

    #[test]
    fn slots_go_to_those_who_wait_in_their_order() {
        let now = crate::base::clock::now();
        let gates = Gatehouse::default().gates(&policy(Per::Policy), now);
        let gate = &gates.0[0];
        let (first, second) = (gate.enter(2).unwrap(), gate.enter(2).unwrap());
        assert!(gate.enter(2).is_none());
        let (a, b, c) = (gate.queue(), gate.queue(), gate.queue());
        assert!(!a.poll(Waker::noop()) && a.take().is_none());
        drop(first);
        assert!(a.poll(Waker::noop()) && !b.poll(Waker::noop()) && gate.enter(2).is_none());
        // Who leaves the line without taking what it was given gives it to the next.
        drop(a);
        assert!(b.poll(Waker::noop()));
        let third = b.take().unwrap();
        drop(b);
        assert!(!c.poll(Waker::noop()));
        // Who leaves without having been given anything is no longer counted.
        drop(c);
        drop((second, third));
        assert_eq!(gate.used.get(), 0);
        assert!(gate.line.borrow().is_empty());
    }

    #[test]
    fn who_shares_a_gate() {
        let now = crate::base::clock::now();
        for (per, shared) in [(Per::Policy, true), (Per::Client, false)] {
            let (house, policy) = (Gatehouse::default(), policy(per));
            let (one, two) = (house.gates(&policy, now), house.gates(&policy, now));
            assert_eq!(Rc::ptr_eq(&one.0[0], &two.0[0]), shared);
        }
        let house = Gatehouse::default();
        for _ in 0..10 {
            let gates = house.gates(&policy(Per::Policy), now);
            assert!(gates.0[0].enter(2).is_some());
        }
        assert_eq!(house.0.borrow().len(), 1, "what is no longer in force is forgotten");
    }
}

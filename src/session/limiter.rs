//! How much of one limit is used, and who waits for room.
//!
//! Owns: [`Limiter`], [`Slot`], [`Waiter`], [`Admission`], [`Held`]. Never knows: commands, clocks, whose limit it is, what becomes
//! of those who may not pass.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use crate::policy::{Bucket, Limit, Rate, Refusal};

/// What is used of one limit.
#[derive(Debug)]
pub(super) struct Limiter {
    bucket: Option<(Rate, Cell<Bucket>)>,
    begun: Instant,
    /// It counts the commands of one client alone.
    is_own: bool,
    /// Slots that are taken, or promised to the one at the front of the line.
    used: Cell<u32>,
    line: RefCell<Line>,
}

/// Those who wait for a slot, in their order. To leave costs the same wherever a turn is: it is only
/// marked, and dropped at the front or when half of the line has left.
#[derive(Debug, Default)]
struct Line {
    turns: VecDeque<Rc<Turn>>,
    /// Turns in it whose waiter has left.
    left: usize,
    /// Turns looked at so far.
    #[cfg(test)]
    steps: usize,
}

/// A place in the line for a slot.
#[derive(Debug, Default)]
struct Turn {
    granted: Cell<bool>,
    left: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One of the commands that may be on their way at once; dropped, it is free for the next.
#[derive(Debug)]
pub(super) struct Slot(Rc<Limiter>);

/// A request that waits for a slot. Dropped, the line closes up.
#[derive(Debug)]
pub(crate) struct Waiter {
    limiter: Rc<Limiter>,
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
    pub queued: Option<Waiter>,
    pub slots: Vec<Slot>,
    /// What it would be refused for, were that rule not only observed.
    pub observed: Option<Refusal>,
}

/// What a request holds of limits whose client is gone before its reply. Dropped, others may take it.
#[derive(Debug)]
pub struct Held(#[allow(dead_code, reason = "given back when dropped")] Box<Admission>);

impl Held {
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

impl Line {
    fn note_step(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }

    /// Takes the one who has waited longest.
    fn pop(&mut self) -> Option<Rc<Turn>> {
        loop {
            let turn = self.turns.pop_front()?;
            self.note_step();
            if !turn.left.get() {
                return Some(turn);
            }
            self.left -= 1;
        }
    }

    /// One of the line waits no more.
    fn leave(&mut self, turn: &Turn) {
        debug_assert!(!turn.left.get() && !turn.granted.get(), "it does not wait any more");
        turn.left.set(true);
        self.left += 1;
        debug_assert!(self.left <= self.turns.len(), "more have left than waited");
        if self.left * 2 > self.turns.len() {
            #[cfg(test)]
            {
                self.steps += self.turns.len();
            }
            self.turns.retain(|turn| !turn.left.get());
            self.left = 0;
        }
        self.note_step();
    }
}

impl Limiter {
    pub(super) fn new(limit: &Limit, now: Instant) -> Rc<Self> {
        let bucket = limit.rate.map(|rate| (rate, Cell::new(Bucket::new(&rate, 0))));
        let (used, line, is_own) = (Cell::new(0), RefCell::default(), limit.per_client);
        Rc::new(Self { bucket, begun: now, is_own, used, line })
    }

    fn since(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.begun);
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }

    /// Microseconds until a token is there.
    pub(super) fn wait_us(&self, now: Instant) -> u64 {
        self.bucket.as_ref().map_or(0, |(rate, bucket)| bucket.get().wait_us(rate, self.since(now)))
    }

    pub(super) fn take_token(&self, now: Instant) {
        if let Some((rate, cell)) = &self.bucket {
            let mut bucket = cell.get();
            bucket.take(rate, self.since(now));
            cell.set(bucket);
        }
    }

    /// Whether it is one client's own and another one would differ from it: of commands on their way,
    /// and of tokens as they are at `now`, or were when the last one was taken.
    pub(super) fn is_own_and_used(&self, now: Option<Instant>) -> bool {
        let at = now.map_or(0, |now| self.since(now));
        let full = |(rate, bucket): &(Rate, Cell<Bucket>)| bucket.get().is_full(rate, at);
        self.is_own && (self.used.get() > 0 || !self.bucket.as_ref().is_none_or(full))
    }

    /// Whether the next request would have to wait.
    pub(super) fn is_full(&self, most: u32) -> bool {
        self.used.get() >= most
    }

    /// A slot, if one is free.
    pub(super) fn enter(self: &Rc<Self>, most: u32) -> Option<Slot> {
        if self.is_full(most) {
            return None;
        }
        self.used.set(self.used.get() + 1);
        Some(Slot(Rc::clone(self)))
    }

    /// The last place in the line.
    pub(super) fn queue(self: &Rc<Self>) -> Waiter {
        let turn = Rc::new(Turn::default());
        self.line.borrow_mut().turns.push_back(Rc::clone(&turn));
        Waiter { limiter: Rc::clone(self), turn }
    }

    /// A slot is free: it is the next one's, without anybody coming between.
    fn leave(&self) {
        debug_assert!(self.used.get() > 0, "a slot that was never taken is given back");
        let next = self.line.borrow_mut().pop();
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

impl Waiter {
    /// The slot, when it is this one's turn.
    pub(super) fn take(&self) -> Option<Slot> {
        self.turn.granted.replace(false).then(|| {
            self.turn.left.set(true);
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
            return self.limiter.leave();
        }
        // Not in the line any more, when it has taken its slot.
        if !self.turn.left.get() {
            self.limiter.line.borrow_mut().leave(&self.turn);
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
        // Who leaves the line without taking what it was given gives it to the next.
        drop(a);
        assert!(b.poll(Waker::noop()));
        let third = b.take().unwrap();
        drop(b);
        assert!(!c.poll(Waker::noop()));
        // Who leaves without having been given anything is no longer counted.
        drop(c);
        drop((second, third));
        assert_eq!(limiter.used.get(), 0);
        assert!(limiter.line.borrow().turns.is_empty());
    }

    #[test]
    fn leaving_the_line_costs_the_same_wherever_a_turn_is() {
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
                let line = limiter.line.borrow();
                assert!(line.left * 2 <= line.turns.len(), "those who left take no room");
            }
            let steps = limiter.line.borrow().steps;
            assert!(steps <= 4 * WAITERS, "{steps} steps for {WAITERS} that leave");
            drop(slots);
            assert!(limiter.line.borrow().turns.is_empty() && limiter.enter(2).is_some());
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
        assert_eq!(limiter.used.get(), 0);
    }
}

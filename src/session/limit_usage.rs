//! How much of one limit is used, and the order of the requests that wait for it.
//!
//! Owns: [`LimitUsage`]. Never knows: commands, clocks, whose limit it is, how a waiting request is woken.

use std::collections::VecDeque;
use std::time::Instant;

use crate::policy::{Bucket, Limit, Rate};

/// What is used of one limit. `T` is one that waits for room.
#[derive(Debug)]
pub(super) struct LimitUsage<T> {
    bucket: Option<(Rate, Bucket)>,
    begun: Instant,
    /// Slots that are taken, or promised to one that has waited longest.
    used: u32,
    line: Line<T>,
}

/// The number of a place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// The requests that wait for a slot, in their order. Removing one costs the same wherever it is: its place is only
/// emptied, and dropped at the front or when half of the line is empty.
#[derive(Debug)]
struct Line<T> {
    places: VecDeque<(Place, Option<T>)>,
    /// Places in it that are empty.
    removed: usize,
    next: u64,
    /// Places looked at so far.
    #[cfg(test)]
    steps: usize,
}

impl<T> Line<T> {
    const fn new() -> Self {
        Self {
            places: VecDeque::new(),
            removed: 0,
            next: 0,
            #[cfg(test)]
            steps: 0,
        }
    }

    const fn note_steps(&mut self, _steps: usize) {
        #[cfg(test)]
        {
            self.steps += _steps;
        }
    }

    fn push(&mut self, who: T) -> Place {
        let place = Place(self.next);
        debug_assert!(self.places.back().is_none_or(|(last, _)| *last < place), "out of order");
        self.next += 1;
        self.places.push_back((place, Some(who)));
        place
    }

    /// Takes the request that has waited longest.
    fn pop(&mut self) -> Option<T> {
        loop {
            let (_, who) = self.places.pop_front()?;
            self.note_steps(1);
            if who.is_some() {
                return who;
            }
            debug_assert!(self.removed > 0, "an empty place is not counted");
            self.removed -= 1;
        }
    }

    /// One of the line waits no more.
    fn remove(&mut self, place: Place) {
        let at = self.places.binary_search_by_key(&place, |(place, _)| *place);
        let who = at.ok().and_then(|at| self.places.get_mut(at)?.1.take());
        debug_assert!(who.is_some(), "it does not wait any more");
        if who.is_none() {
            return;
        }
        self.removed += 1;
        if self.removed * 2 > self.places.len() {
            self.note_steps(self.places.len());
            self.places.retain(|(_, who)| who.is_some());
            self.removed = 0;
        }
        self.note_steps(1);
        debug_assert!(self.removed * 2 <= self.places.len(), "empty places take memory");
    }
}

impl<T> LimitUsage<T> {
    pub(super) fn new(limit: &Limit, now: Instant) -> Self {
        let bucket = limit.rate.map(|rate| (rate, Bucket::new(&rate, 0)));
        Self { bucket, begun: now, used: 0, line: Line::new() }
    }

    fn since(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.begun);
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }

    /// Microseconds until a token is there.
    pub(super) fn wait_us(&self, now: Instant) -> u64 {
        self.bucket.as_ref().map_or(0, |(rate, bucket)| bucket.wait_us(rate, self.since(now)))
    }

    pub(super) fn take_token(&mut self, now: Instant) {
        let since = self.since(now);
        if let Some((rate, bucket)) = &mut self.bucket {
            bucket.take(rate, since);
        }
    }

    /// Whether a limiter without use would differ from it: of commands in flight, and of tokens as they are
    /// at `now`, or were when the last one was taken.
    pub(super) fn is_any(&self, now: Option<Instant>) -> bool {
        let at = now.map_or(0, |now| self.since(now));
        self.used > 0 || !self.bucket.is_none_or(|(rate, bucket)| bucket.is_full(&rate, at))
    }

    /// Whether the next request would have to wait.
    pub(super) const fn is_full(&self, most: u32) -> bool {
        self.used >= most
    }

    /// Takes a slot, if one is free.
    pub(super) const fn enter(&mut self, most: u32) -> bool {
        let is_free = !self.is_full(most);
        self.used += is_free as u32;
        debug_assert!(!is_free || self.used <= most, "more slots are taken than there are");
        is_free
    }

    /// The last place in the line.
    pub(super) fn queue(&mut self, who: T) -> Place {
        debug_assert!(self.used > 0, "one waits, and no slot is taken");
        self.line.push(who)
    }

    /// A slot is free: returns the waiting request that gets it; no later one overtakes it.
    pub(super) fn release(&mut self) -> Option<T> {
        debug_assert!(self.used > 0, "a slot that was never taken is given back");
        let next = self.line.pop();
        if next.is_none() {
            self.used = self.used.saturating_sub(1);
        }
        debug_assert!(next.is_none() || self.used > 0, "a slot is promised that is free");
        next
    }

    /// One that waits gives up its place before it got a slot.
    pub(super) fn give_up(&mut self, place: Place) {
        self.line.remove(place);
    }
}

#[cfg(test)]
impl<T> LimitUsage<T> {
    /// Slots that are taken, places in the line, those of them that are empty, places looked at so far.
    pub(super) fn counts(&self) -> (u32, usize, usize, usize) {
        (self.used, self.line.places.len(), self.line.removed, self.line.steps)
    }
}

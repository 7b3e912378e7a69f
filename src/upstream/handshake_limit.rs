//! The attempts to connect that are under way: so many at once, and those that wait begin in the order in which they
//! asked.
//!
//! Owns: [`HandshakeLimit`], [`Waiter`]. Never knows: clocks, sockets, whether the server may be dialed.

use std::collections::VecDeque;

/// The place of one attempt among those that wait; none before it first waits, and behind its begin.
#[derive(Debug, Default)]
pub struct Waiter(Option<u64>);

/// The attempts of one server.
#[derive(Debug)]
pub(super) struct HandshakeLimit {
    most: usize,
    under_way: usize,
    /// In the order in which they asked.
    waiting: VecDeque<u64>,
    /// Attempts beside a connection that is up, which begin first: clients are delayed on it, and the attempts do
    /// not wait for the server to be well.
    beside: VecDeque<u64>,
    next: u64,
}

impl HandshakeLimit {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, under_way: 0, waiting: VecDeque::new(), beside: VecDeque::new(), next: 0 }
    }

    fn free(&self) -> usize {
        self.most.saturating_sub(self.under_way)
    }

    /// Whether there is a place for this attempt. If not, it keeps its place among those that wait.
    pub(super) fn has_place(&mut self, waiter: &mut Waiter) -> bool {
        let places = self.free().saturating_sub(self.beside.len());
        let number = Self::join(&mut self.waiting, &mut self.next, waiter);
        self.waiting.iter().take(places).any(|first| *first == number)
    }

    /// The same for an attempt beside a connection that is up.
    pub(super) fn has_place_beside(&mut self, waiter: &mut Waiter) -> bool {
        let places = self.free();
        let number = Self::join(&mut self.beside, &mut self.next, waiter);
        self.beside.iter().take(places).any(|first| *first == number)
    }

    fn join(waiting: &mut VecDeque<u64>, next: &mut u64, waiter: &mut Waiter) -> u64 {
        *waiter.0.get_or_insert_with(|| {
            waiting.push_back(*next);
            *next += 1;
            *next - 1
        })
    }

    /// An attempt that has a place begins.
    pub(super) fn begin(&mut self, waiter: &mut Waiter) {
        debug_assert!(waiter.0.is_some(), "only what has asked begins");
        self.leave(waiter);
        self.under_way += 1;
        debug_assert!(self.under_way <= self.most, "more attempts at once than configured");
    }

    /// An attempt that waits is not wanted any more.
    pub(super) fn leave(&mut self, waiter: &mut Waiter) {
        let Some(number) = waiter.0.take() else { return };
        self.waiting.retain(|waiting| *waiting != number);
        self.beside.retain(|waiting| *waiting != number);
    }

    /// Whether there is a place, and an attempt that waits for it; `passable`: also one that waits for the server.
    pub(super) fn is_awaited(&self, passable: bool) -> bool {
        let waits = !self.beside.is_empty() || (passable && !self.waiting.is_empty());
        waits && self.free() > 0
    }

    /// An attempt that was under way has ended.
    pub(super) fn end(&mut self) {
        debug_assert!(self.under_way > 0, "only what was begun ends");
        self.under_way = self.under_way.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_begin_in_their_order_and_so_many_at_once() {
        let mut limit = HandshakeLimit::new(2);
        let mut all: Vec<Waiter> = (0..4).map(|_| Waiter::default()).collect();
        let places: Vec<bool> = all.iter_mut().map(|waiter| limit.has_place(waiter)).collect();
        assert_eq!(places, [true, true, false, false]);
        all[..2].iter_mut().for_each(|waiter| limit.begin(waiter));
        assert!(!limit.has_place(&mut all[2]), "all places are taken");
        limit.end();
        assert!(!limit.has_place(&mut all[3]), "another one has waited for longer");
        limit.leave(&mut all[2]);
        assert!(limit.has_place(&mut all[3]));
    }

    #[test]
    fn attempt_beside_a_connection_that_is_up_begins_first() {
        let mut limit = HandshakeLimit::new(1);
        let [mut first, mut second, mut beside] = [(); 3].map(|()| Waiter::default());
        assert!(limit.has_place(&mut first));
        limit.begin(&mut first);
        assert!(!limit.has_place(&mut second) && !limit.has_place_beside(&mut beside));
        limit.end();
        assert!(!limit.has_place(&mut second) && limit.has_place_beside(&mut beside));
        limit.begin(&mut beside);
        limit.end();
        assert!(limit.has_place(&mut second));
    }
}

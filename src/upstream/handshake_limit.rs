//! The attempts to connect that are under way: so many at once, and those that wait begin in the order in which they
//! asked.
//!
//! Owns: [`HandshakeLimit`], [`Waiter`]. Never knows: clocks, sockets, whether the server may be dialed.

use std::collections::VecDeque;

use super::busy::ByLogin;

/// An attempt until it begins.
#[derive(Debug, Default)]
pub struct Waiter {
    /// Among those that wait; none before it first waits, and behind its begin.
    place: Option<u64>,
    /// Whether it selects a database.
    pub(super) selects: bool,
    /// How often the server had answered BUSY when it first asked.
    pub(super) known_answers: Option<u64>,
}

impl Waiter {
    /// One for a connection to this database.
    #[must_use]
    pub fn new(database: u32) -> Self {
        Self { selects: database != 0, ..Self::default() }
    }
}

/// The attempts of one server.
#[derive(Debug)]
pub(super) struct HandshakeLimit {
    most: usize,
    under_way: usize,
    /// In the order in which they asked.
    waiting: VecDeque<Waiting>,
    /// Attempts beside a connection that is up, which begin first: clients are delayed on it, and the attempts do
    /// not wait for the server to be well.
    beside: VecDeque<Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    selects: bool,
}

impl HandshakeLimit {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, under_way: 0, waiting: VecDeque::new(), beside: VecDeque::new(), next: 0 }
    }

    fn free(&self) -> usize {
        self.most.saturating_sub(self.under_way)
    }

    /// Whether there is a place for this attempt. If not, it keeps its place among those that wait. Those that select
    /// a database, or those that do not, may be `held` for another reason: then they are passed over.
    pub(super) fn has_place(&mut self, waiter: &mut Waiter, held: ByLogin<bool>) -> bool {
        let places = self.free().saturating_sub(self.beside.len());
        let number = Self::join(&mut self.waiting, &mut self.next, waiter);
        let mut first = self.waiting.iter().filter(|it| !held.of(it.selects));
        first.by_ref().take(places).any(|first| first.number == number)
    }

    /// The same for an attempt beside a connection that is up.
    pub(super) fn has_place_beside(&mut self, waiter: &mut Waiter) -> bool {
        let places = self.free();
        let number = Self::join(&mut self.beside, &mut self.next, waiter);
        self.beside.iter().take(places).any(|first| first.number == number)
    }

    fn join(waiting: &mut VecDeque<Waiting>, next: &mut u64, waiter: &mut Waiter) -> u64 {
        let selects = waiter.selects;
        *waiter.place.get_or_insert_with(|| {
            waiting.push_back(Waiting { number: *next, selects });
            *next += 1;
            *next - 1
        })
    }

    /// An attempt that has a place begins.
    pub(super) fn begin(&mut self, waiter: &mut Waiter) {
        debug_assert!(waiter.place.is_some(), "only what has asked begins");
        self.leave(waiter);
        self.under_way += 1;
        debug_assert!(self.under_way <= self.most, "more attempts at once than configured");
    }

    /// An attempt that waits is not wanted any more.
    pub(super) fn leave(&mut self, waiter: &mut Waiter) {
        let Some(number) = waiter.place.take() else { return };
        self.waiting.retain(|waiting| waiting.number != number);
        self.beside.retain(|waiting| waiting.number != number);
    }

    /// Whether there is a place, and an attempt that waits for nothing else; see [`Self::has_place`] for those that
    /// are `held`.
    pub(super) fn is_awaited(&self, held: ByLogin<bool>) -> bool {
        let mut waiting = self.waiting.iter();
        let waits = !self.beside.is_empty() || waiting.any(|it| !held.of(it.selects));
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

    /// None is held for another reason.
    const FREE: ByLogin<bool> = ByLogin { plain: false, selecting: false };
    const BUSY: ByLogin<bool> = ByLogin { plain: false, selecting: true };

    #[test]
    fn attempts_that_are_held_are_passed_over_and_keep_their_place() {
        let mut limit = HandshakeLimit::new(1);
        let [mut selects, mut other] = [Waiter::new(5), Waiter::new(0)];
        assert!(!limit.has_place(&mut selects, BUSY), "it is held itself");
        assert!(!limit.is_awaited(BUSY));
        assert!(limit.has_place(&mut other, BUSY));
        assert!(!limit.has_place(&mut other, FREE) && limit.has_place(&mut selects, FREE));
    }

    #[test]
    fn attempts_begin_in_their_order_and_so_many_at_once() {
        let mut limit = HandshakeLimit::new(2);
        let mut all: Vec<Waiter> = (0..4).map(|_| Waiter::default()).collect();
        let places: Vec<bool> =
            all.iter_mut().map(|waiter| limit.has_place(waiter, FREE)).collect();
        assert_eq!(places, [true, true, false, false]);
        all[..2].iter_mut().for_each(|waiter| limit.begin(waiter));
        assert!(!limit.has_place(&mut all[2], FREE), "all places are taken");
        limit.end();
        assert!(!limit.has_place(&mut all[3], FREE), "another one has waited for longer");
        limit.leave(&mut all[2]);
        assert!(limit.has_place(&mut all[3], FREE));
    }

    #[test]
    fn attempt_beside_a_connection_that_is_up_begins_first() {
        let mut limit = HandshakeLimit::new(1);
        let [mut first, mut second, mut beside] = [(); 3].map(|()| Waiter::default());
        assert!(limit.has_place(&mut first, FREE));
        limit.begin(&mut first);
        assert!(!limit.has_place(&mut second, FREE) && !limit.has_place_beside(&mut beside));
        limit.end();
        assert!(!limit.has_place(&mut second, FREE) && limit.has_place_beside(&mut beside));
        limit.begin(&mut beside);
        limit.end();
        assert!(limit.has_place(&mut second, FREE));
    }
}

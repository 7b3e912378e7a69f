//! Events that wait for a sink, bounded in bytes.
//!
//! Owns: [`Queue`]. Never knows: sinks, what happens to a command while it is full.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::event::Draft;
use super::rank::Rank;
use super::room::Room;

/// From here on commands are held, in sixteenths of the queue: those that are judged already find room.
const HOLD_SHARE: usize = 12;

/// The queue of events between the threads that report them and the thread of one sink.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    room: Arc<Room>,
    cap: usize,
    /// An event found no room, and not half of the room is free since.
    full: AtomicBool,
    lost: AtomicU64,
}

/// What is in line.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Event(Arc<Draft>),
    /// A number of events were lost at this place.
    Gap(u64),
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    /// Events lost since the last item.
    lost: u64,
    closed: bool,
}

/// What the sink's thread takes at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub items: VecDeque<Item>,
    /// Nothing will follow.
    pub last: bool,
}

impl Queue {
    /// `room` wakes the clients that wait for free space.
    pub(super) fn new(cap: usize, room: Arc<Room>) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            room,
            cap,
            full: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has room for the event; without, the event is lost, and counted.
    pub(super) fn push(&self, draft: &Arc<Draft>, rank: Rank) -> bool {
        let mut waiting = self.lock();
        let after = waiting.bytes + draft.bytes();
        if after > self.share(rank.share()) || waiting.closed {
            waiting.lost += 1;
            self.lost.fetch_add(1, Relaxed);
            self.full.store(true, Relaxed);
            return false;
        }
        waiting.note_gap();
        waiting.bytes = after;
        waiting.items.push_back(Item::Event(Arc::clone(draft)));
        if after > self.share(HOLD_SHARE) {
            self.full.store(true, Relaxed);
        }
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    const fn share(&self, sixteenths: usize) -> usize {
        self.cap / 16 * sixteenths
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Events that found no room since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// What waits, at least one item unless `patience` passes without.
    pub(super) fn take(&self, patience: Duration) -> Batch {
        let idle = |waiting: &mut Waiting| waiting.items.is_empty() && !waiting.closed;
        let waited = self.arrived.wait_timeout_while(self.lock(), patience, idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.note_gap();
        Batch { items: std::mem::take(&mut waiting.items), last: waiting.closed }
    }

    /// So much of what was taken is written.
    pub(super) fn written(&self, bytes: usize) {
        let mut waiting = self.lock();
        debug_assert!(waiting.bytes >= bytes, "no more is written than was taken");
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        let freed = waiting.bytes <= self.cap / 2 && self.full.swap(false, Relaxed);
        drop(waiting);
        if freed {
            self.room.wake();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }
}

impl Waiting {
    fn note_gap(&mut self) {
        if self.lost > 0 {
            self.items.push_back(Item::Gap(std::mem::take(&mut self.lost)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(bytes: usize) -> Arc<Draft> {
        Arc::new(Draft { id: String::new(), members: "x".repeat(bytes) })
    }

    fn queue(cap: usize) -> Queue {
        Queue::new(cap, Arc::default())
    }

    #[test]
    fn events_without_room_are_counted_at_their_place_and_room_comes_back_when_half_is_written() {
        let queue = queue(16_000);
        let one = draft(900);
        let taken = (0..20).filter(|_| queue.push(&one, Rank::Command)).count();
        assert!(taken < 15 && queue.is_full());
        assert_eq!(queue.lost(), 20 - taken as u64);
        let batch = queue.take(Duration::ZERO);
        assert_eq!(batch.items.len(), taken + 1);
        assert!(matches!(batch.items.back(), Some(Item::Gap(lost)) if *lost == queue.lost()));
        queue.written(one.bytes());
        assert!(queue.is_full() && queue.bytes() > 8_000);
        queue.written(one.bytes() * (taken - 1));
        assert!(!queue.is_full() && queue.push(&one, Rank::Command));
        queue.close();
        assert!(queue.take(Duration::from_secs(9)).last);
    }

    #[test]
    fn gap_comes_before_the_event_that_found_room_again() {
        let queue = queue(2_000);
        let (large, small) = (draft(1_200), draft(100));
        let push = |draft| queue.push(draft, Rank::Command);
        assert!(push(&large) && !push(&large) && push(&small));
        let kinds: Vec<bool> = queue
            .take(Duration::ZERO)
            .items
            .iter()
            .map(|item| matches!(item, Item::Gap(1)))
            .collect();
        assert_eq!(kinds, [false, true, false]);
    }

    #[test]
    fn commands_are_held_before_room_is_short_and_leave_some_to_clients_and_operators() {
        let queue = queue(1 << 20);
        let one = draft(400);
        let fill =
            |rank| std::iter::repeat_with(|| queue.push(&one, rank)).take_while(|it| *it).count();
        while !queue.is_full() {
            assert!(queue.push(&one, Rank::Command));
        }
        let room = (1 << 20) / 16 / one.bytes();
        assert!(fill(Rank::Command) >= 2 * room - 1, "what is judged already");
        assert!(fill(Rank::Client) >= room - 1);
        assert!(fill(Rank::Operator) >= room - 1);
        assert!(!queue.push(&one, Rank::Operator) && queue.lost() == 4);
    }
}

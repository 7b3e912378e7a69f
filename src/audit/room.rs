//! Clients that wait until the queue of every sink has room.
//!
//! Owns: [`Room`]. Never knows: queues, for how long a client may wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The clients to be woken, each once. A client that waits is on any thread, a sink on its own.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<HashMap<u64, Waker>>);

impl Room {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes this client when a queue has room again. The client checks afterwards whether all have.
    pub(super) fn wait(&self, client: u64, waker: &Waker) {
        self.lock().entry(client).or_insert_with(|| waker.clone()).clone_from(waker);
    }

    pub(super) fn forget(&self, client: u64) {
        self.lock().remove(&client);
    }

    /// A queue has room again.
    pub(super) fn wake(&self) {
        let waiting = std::mem::take(&mut *self.lock());
        waiting.into_values().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn each_client_that_waits_is_woken_once() {
        let (room, count) = (Room::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        for client in [1, 2, 2, 3] {
            room.wait(client, &waker);
        }
        room.forget(3);
        room.wake();
        room.wake();
        assert_eq!(count.0.load(Relaxed), 2);
    }
}

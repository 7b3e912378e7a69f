//! Work that may block (a file on a network that is gone), on a thread of its own and with a deadline.
//!
//! Owns: [`aside`], [`aside_for`], [`given_up`], [`Work`]. Never knows: what the work is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::base::limits;

#[derive(Debug)]
struct Stuck {
    /// Threads that stay with work which was given up.
    threads: AtomicUsize,
    /// How often work was given up, or not begun for that.
    times: AtomicUsize,
}

/// Threads of this process that are stuck.
static STUCK: Stuck = Stuck::new();

/// How often this process has given work up so far.
pub(crate) fn given_up() -> usize {
    STUCK.times.load(Ordering::Relaxed)
}

/// One work on a thread that may stay with it.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    stuck: &'static Stuck,
    /// What has happened to it.
    state: Arc<AtomicUsize>,
}

const GIVEN_UP: usize = 1;
const ENDED: usize = 2;

impl Work {
    /// `None`: too many threads stay with other work, and no further one is begun.
    pub(crate) fn begin() -> Option<Self> {
        STUCK.begin()
    }

    pub(crate) fn give_up(&self) {
        self.stuck.times.fetch_add(1, Ordering::Relaxed);
        if self.state.fetch_add(GIVEN_UP, Ordering::Relaxed) == 0 {
            self.stuck.threads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its thread is free, perhaps after it was given up.
    pub(crate) fn end(&self) {
        if self.state.fetch_add(ENDED, Ordering::Relaxed) == GIVEN_UP {
            self.stuck.threads.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Stuck {
    const fn new() -> Self {
        Self { threads: AtomicUsize::new(0), times: AtomicUsize::new(0) }
    }

    fn begin(&'static self) -> Option<Work> {
        let few = self.threads.load(Ordering::Relaxed) < limits::STUCK_THREADS_MAX;
        if !few {
            self.times.fetch_add(1, Ordering::Relaxed);
        }
        few.then(|| Work { stuck: self, state: Arc::default() })
    }
}

/// Does `work` on another thread and waits for it; `None` when it does not end in time. Then the
/// thread stays with it, and everything else goes on. When many threads stay so, nothing is begun.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    aside_for(limits::FILE_WORK_TIMEOUT, work).await
}

/// Like [`aside`], with a deadline of the caller's.
pub(crate) async fn aside_for<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let begun = Work::begin()?;
    let own = begun.clone();
    let work = move || {
        let done = work();
        own.end();
        done
    };
    let done = tokio::time::timeout(patience, tokio::task::spawn_blocking(work)).await;
    if done.is_err() {
        begun.give_up();
    }
    done.ok().and_then(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_does_not_end_is_given_up() {
        assert_eq!(aside(|| 7).await, Some(7));
        let (end, never) = std::sync::mpsc::channel::<()>();
        let patience = Duration::from_millis(10);
        assert_eq!(aside_for(patience, move || never.recv().is_ok()).await, None);
        drop(end);
    }

    #[test]
    fn threads_that_stay_with_their_work_are_bounded() {
        static OWN: Stuck = Stuck::new();
        let mut all = Vec::new();
        while let Some(work) = OWN.begin() {
            work.give_up();
            all.push(work);
        }
        assert_eq!(all.len(), limits::STUCK_THREADS_MAX);
        let times = OWN.times.load(Ordering::Relaxed);
        assert_eq!(times, limits::STUCK_THREADS_MAX + 1, "the one that was not begun counts");
        all[0].end();
        let other = OWN.begin().unwrap();
        other.end();
        other.give_up();
        assert!(OWN.begin().is_some(), "it had ended before it was given up");
        all.iter().skip(1).for_each(Work::end);
        assert_eq!(OWN.threads.load(Ordering::Relaxed), 0);
    }
}

//! A set of counters for each writer, so that counting needs neither a lock nor a locked instruction.
//!
//! Owns: [`Shard`], [`Shards`]. Never knows: what is counted.
//!
//! A set that its writer returns keeps its numbers and goes to the next writer: there are as many sets
//! as there were writers at one time, and no count is lost.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::number::Sharded;

/// The set of one writer. It may move to another thread, but two threads cannot have it at a time.
#[derive(Debug)]
pub struct Shard<C> {
    set: Arc<C>,
    shards: Arc<Shards<C>>,
    /// Not `Sync`.
    single: PhantomData<Cell<()>>,
}

impl<C> Deref for Shard<C> {
    type Target = C;

    #[inline]
    fn deref(&self) -> &C {
        &self.set
    }
}

impl<C> Drop for Shard<C> {
    fn drop(&mut self) {
        self.shards.lock().free.push(Arc::clone(&self.set));
    }
}

/// The sets of all writers.
#[derive(Debug)]
pub(crate) struct Shards<C>(Mutex<Sets<C>>);

#[derive(Debug)]
struct Sets<C> {
    all: Vec<Arc<C>>,
    /// The sets without a writer.
    free: Vec<Arc<C>>,
}

impl<C: Sharded> Default for Shards<C> {
    fn default() -> Self {
        let first = Arc::<C>::default();
        Self(Mutex::new(Sets { all: vec![Arc::clone(&first)], free: vec![first] }))
    }
}

impl<C: Sharded> Shards<C> {
    /// A set that has no other writer.
    pub(super) fn take(shards: &Arc<Self>) -> Shard<C> {
        let mut sets = shards.lock();
        let set = sets.free.pop().unwrap_or_else(|| {
            let sibling =
                Arc::new(sets.all.first().map(|first| first.sibling()).unwrap_or_default());
            sets.all.push(Arc::clone(&sibling));
            sibling
        });
        debug_assert!(sets.free.iter().all(|free| !Arc::ptr_eq(free, &set)), "it has one writer");
        Shard { set, shards: Arc::clone(shards), single: PhantomData }
    }

    /// Every set, for reading; the lock is not held meanwhile.
    pub(super) fn all(&self) -> Vec<Arc<C>> {
        self.lock().all.clone()
    }
}

impl<C> Shards<C> {
    fn lock(&self) -> MutexGuard<'_, Sets<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::super::label::{CommandClass, Family};
    use super::super::{Metrics, Refused};
    use super::*;
    use crate::base::rule::Rule;

    const EACH: u64 = 200_000;

    #[test]
    fn counts_of_writers_at_full_speed_are_exact() {
        let metrics = Metrics::default();
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            let write = || {
                let shard = metrics.shard();
                let section = shard.policy_commands_total.of("policy");
                barrier.wait();
                for n in 0..EACH {
                    shard.commands_total[Family::String].inc();
                    shard.command_duration_seconds[CommandClass::Read]
                        .observe(Duration::from_millis(n % 2));
                    shard.commands_in_flight.inc();
                    shard.commands_in_flight.add(-i64::from(n % 4 != 0));
                    section.inc();
                    shard.commands_denied_total.inc(Rule::Command, Refused::Named("get"));
                }
            };
            scope.spawn(write);
            scope.spawn(write);
            assert!(metrics.render().is_ok(), "meanwhile");
        });
        let text = metrics.render().unwrap();
        for line in [
            "respgate_commands_total{family=\"string\"} 400000",
            "respgate_command_duration_seconds_count{class=\"read\"} 400000",
            "respgate_command_duration_seconds_bucket{class=\"read\",le=\"0.00005\"} 200000",
            "respgate_command_duration_seconds_sum{class=\"read\"} 200",
            "respgate_commands_in_flight 100000",
            "respgate_policy_commands_total{policy=\"policy\"} 400000",
            "respgate_commands_denied_total{command=\"get\",rule=\"command\"} 400000",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert_eq!(metrics.sum(|own| own.commands_in_flight.get()), 100_000);
    }

    #[test]
    fn returned_set_keeps_its_counts_and_serves_the_next_writer() {
        let shards = Arc::<Shards<super::super::number::Counter>>::default();
        for _ in 0..100 {
            Shards::take(&shards).inc();
        }
        let (one, two) = (Shards::take(&shards), Shards::take(&shards));
        one.inc();
        two.inc();
        assert_eq!(shards.all().len(), 2, "as many as writers at one time");
        assert_eq!(shards.all().iter().map(|own| own.get()).sum::<u64>(), 102);
    }
}

//! When the thread of a sink tries again, when it gives up, and how long it waits for events.
//!
//! Owns: [`Pace`], [`Retry`], [`Interval`], [`Syncing`]. Never knows: clocks, sinks, queues.

use std::time::{Duration, Instant};

use crate::base::limits;
use crate::config::Fsync;

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    At(Instant),
    /// The process stops, and the sink has failed for too long since.
    GiveUp,
}

/// The pace of one thread.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Since when the process stops.
    stopping: Option<Instant>,
}

impl Pace {
    /// Nothing follows what is in line.
    pub(super) fn handle_stop(&mut self, now: Instant) {
        self.stopping.get_or_insert(now);
    }

    /// The sink has taken nothing. Once the process stops, the last attempt is at the end of the time for it.
    pub(super) fn handle_failure(&self, now: Instant) -> Retry {
        let at = now + limits::AUDIT_RETRY_INTERVAL;
        match self.stopping.map(|since| since + limits::AUDIT_LAST_RETRY_TIMEOUT) {
            Some(last) if now >= last => Retry::GiveUp,
            Some(last) => Retry::At(at.min(last)),
            None => Retry::At(at),
        }
    }

    /// How long to wait for events: until the sink is `due`, and not longer than it may stay unobserved.
    pub(super) fn patience(&self, due: Option<Instant>, now: Instant) -> Duration {
        let due = due.map(|due| due.saturating_duration_since(now));
        due.map_or(limits::AUDIT_IDLE_INTERVAL, |due| due.min(limits::AUDIT_IDLE_INTERVAL))
    }
}

/// Something that is done at the next opportunity after a time.
#[derive(Debug)]
pub(super) struct Interval {
    length: Duration,
    last: Instant,
}

impl Interval {
    pub(super) const fn new(length: Duration, now: Instant) -> Self {
        Self { length, last: now }
    }

    /// Whether it is to be done now; it counts as done.
    pub(super) fn poll(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.last) >= self.length;
        if due {
            self.last = now;
        }
        due
    }
}

/// When what was written to a file is forced onto the disk.
#[derive(Debug)]
pub(super) struct Syncing {
    rule: Fsync,
    /// Since when something is not on the disk.
    since: Option<Instant>,
}

impl Syncing {
    pub(super) const fn new(rule: Fsync) -> Self {
        Self { rule, since: None }
    }

    pub(super) fn handle_written(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    pub(super) const fn handle_synced(&mut self) {
        self.since = None;
    }

    /// When it is to be done next.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.rule {
            Fsync::Never => None,
            Fsync::Second => self.since.map(|since| since + limits::AUDIT_FSYNC_INTERVAL),
            Fsync::Batch => self.since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::base::entropy::Entropy;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn failing_sink_is_retried_and_given_up_once_the_process_stops() {
        let (mut pace, now) = (Pace::default(), clock::now());
        let next = now + limits::AUDIT_RETRY_INTERVAL;
        assert_eq!(pace.handle_failure(now), Retry::At(next));
        pace.handle_stop(now);
        pace.handle_stop(now + ms(900));
        assert_eq!(pace.handle_failure(now), Retry::At(next));
        let last = now + limits::AUDIT_LAST_RETRY_TIMEOUT;
        assert_eq!(pace.handle_failure(last - ms(1)), Retry::At(last));
        assert_eq!(pace.handle_failure(last), Retry::GiveUp);
    }

    #[test]
    fn file_is_synced_by_its_rule() {
        let now = clock::now();
        for (rule, after) in [
            (Fsync::Never, None),
            (Fsync::Second, Some(limits::AUDIT_FSYNC_INTERVAL)),
            (Fsync::Batch, Some(Duration::ZERO)),
        ] {
            let mut syncing = Syncing::new(rule);
            assert_eq!(syncing.due(), None, "nothing is written");
            syncing.handle_written(now);
            syncing.handle_written(now + ms(700));
            assert_eq!(syncing.due(), after.map(|after| now + after), "{rule:?}");
            syncing.handle_synced();
            assert_eq!(syncing.due(), None);
        }
    }

    /// The thread of a sink that fails at times, in made-up time.
    struct World {
        chance: Entropy,
        now: Instant,
        pace: Pace,
        syncing: Syncing,
        look: Interval,
        /// When the sink begins to fail, and when it is well again.
        fails: (Instant, Instant),
        events_at: Instant,
        gap: u64,
        stops_at: Instant,
        /// Since when events wait, bytes are not on the disk, and the path was not looked at.
        waits: Option<Instant>,
        unsynced: Option<Instant>,
        looked: Instant,
    }

    impl World {
        fn new(seed: u64, begin: Instant) -> Self {
            let mut chance = Entropy::from_seed(seed);
            let gap = [3, 400, 1100, 9000][usize::try_from(chance.below(4)).unwrap()];
            let fails = begin + ms(chance.below(20_000));
            Self {
                now: begin,
                pace: Pace::default(),
                syncing: Syncing::new(Fsync::Second),
                look: Interval::new(limits::AUDIT_PATH_CHECK_INTERVAL, begin),
                fails: (fails, fails + ms(chance.below(20_000))),
                events_at: begin + ms(chance.below(gap)),
                gap,
                stops_at: begin + ms(10_000 + chance.below(30_000)),
                waits: None,
                unsynced: None,
                looked: begin,
                chance,
            }
        }

        fn is_well(&self) -> bool {
            self.now < self.fails.0 || self.now >= self.fails.1
        }

        fn pass(&mut self, until: Instant) {
            while self.events_at <= until {
                self.waits.get_or_insert(self.events_at);
                self.events_at += ms(1 + self.chance.below(self.gap));
            }
            self.now = until;
        }

        /// Waits as the queue does.
        fn take(&mut self) {
            let end = self.now + self.pace.patience(self.syncing.due(), self.now);
            let first = if self.waits.is_some() { self.now } else { self.events_at };
            self.pass(first.min(self.stops_at).clamp(self.now, end));
            if self.now >= self.stops_at {
                self.pace.handle_stop(self.now);
            }
        }

        /// Writes and syncs until that succeeds; `false`: it is given up.
        fn insist(&mut self) -> bool {
            let began = self.now;
            loop {
                if self.look.poll(self.now) {
                    self.looked = self.now;
                }
                if self.is_well() {
                    self.write();
                    let late = self.now.saturating_duration_since(self.fails.1.max(began));
                    assert!(late <= limits::AUDIT_RETRY_INTERVAL, "written {late:?} too late");
                    return true;
                }
                if self.now >= self.stops_at {
                    self.pace.handle_stop(self.now);
                }
                match self.pace.handle_failure(self.now) {
                    Retry::At(at) => {
                        assert!(at > self.now, "it spins");
                        self.pass(at);
                    }
                    Retry::GiveUp => return false,
                }
            }
        }

        fn write(&mut self) {
            if self.waits.take().is_some() {
                self.unsynced.get_or_insert(self.now);
                self.syncing.handle_written(self.now);
            }
            if self.syncing.due().is_some_and(|due| due <= self.now) {
                let since = self.unsynced.take().expect("something is not on the disk");
                let fails = self.fails.0 <= self.now && self.fails.1 >= since;
                let late = self.now - since;
                assert!(
                    fails || late <= limits::AUDIT_FSYNC_INTERVAL,
                    "on the disk after {late:?}"
                );
                self.syncing.handle_synced();
            }
        }

        fn check(&self, seed: u64) {
            let looked = self.now - self.looked;
            let most = limits::AUDIT_PATH_CHECK_INTERVAL + limits::AUDIT_IDLE_INTERVAL;
            assert!(looked < most, "seed {seed}: the path was not looked at for {looked:?}");
        }
    }

    #[test]
    fn entries_reach_the_disk_in_time_whenever_they_come_and_the_sink_fails() {
        let begin = clock::now();
        for seed in 0..500 {
            let mut world = World::new(seed, begin);
            let ended = loop {
                world.take();
                let last = world.now >= world.stops_at;
                if !world.insist() {
                    break world.stops_at.max(world.fails.0) + limits::AUDIT_LAST_RETRY_TIMEOUT;
                }
                world.check(seed);
                if last {
                    break world.stops_at + limits::AUDIT_LAST_RETRY_TIMEOUT;
                }
            };
            let late = world.now.saturating_duration_since(ended);
            assert!(late <= limits::AUDIT_RETRY_INTERVAL, "seed {seed}: it ends {late:?} too late");
        }
    }
}

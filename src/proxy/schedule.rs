//! The order of the jobs of the control thread, and until when none is due.
//!
//! Owns: [`Schedule`], [`Job`], [`Next`]. Never knows: clocks, what a job does, which requests wait for it.

use std::collections::VecDeque;
use std::time::Instant;

use crate::base::limits;

/// What the control thread does, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Read everything again.
    Reload,
    /// Replace the password ahead of its end.
    Credentials,
    /// Ask the server for its commands.
    Commands,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Run(Job),
    /// Nothing is due until then, unless a job is requested.
    Wait(Option<Instant>),
}

/// When jobs are due although nothing has requested them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    pub reload: Option<Instant>,
    pub credentials: Option<Instant>,
}

/// The jobs that are due, in the order in which they became so. Each has one place at most: whatever is requested,
/// a job waits for the one that runs and once for each of the others.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: VecDeque<Job>,
    /// The server could not be asked for its commands, and is asked again then.
    commands_retry: Option<Instant>,
}

impl Schedule {
    /// The job is to run. One that runs at this moment runs again: it may have begun before the change.
    pub(super) fn request(&mut self, job: Job) {
        if !self.due.contains(&job) {
            self.due.push_back(job);
        }
        debug_assert!(self.due.len() <= 3, "a job has one place");
    }

    /// The next job; it counts as begun.
    pub(super) fn next(&mut self, timers: Timers, now: Instant) -> Next {
        let timers = [
            (Job::Reload, timers.reload),
            (Job::Credentials, timers.credentials),
            (Job::Commands, self.commands_retry),
        ];
        for (job, at) in timers {
            if at.is_some_and(|at| at <= now) {
                self.request(job);
            }
        }
        match self.due.pop_front() {
            Some(job) => {
                if job == Job::Commands {
                    self.commands_retry = None;
                }
                Next::Run(job)
            }
            None => Next::Wait(timers.into_iter().filter_map(|(_, at)| at).min()),
        }
    }

    /// The server was asked for its commands; without an answer it is asked again.
    pub(super) fn handle_commands(&mut self, answered: bool, now: Instant) {
        self.commands_retry = (!answered).then(|| now + limits::COMMANDS_RETRY_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock;
    use crate::base::entropy::Entropy;

    const JOBS: [Job; 3] = [Job::Reload, Job::Credentials, Job::Commands];
    const NONE: Timers = Timers { reload: None, credentials: None };

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn jobs_run_in_the_order_of_their_requests_and_once_for_many() {
        let (mut schedule, now) = (Schedule::default(), clock::now());
        for job in [Job::Commands, Job::Reload, Job::Commands, Job::Reload] {
            schedule.request(job);
        }
        let mut next = || schedule.next(NONE, now);
        assert_eq!(next(), Next::Run(Job::Commands));
        assert_eq!(next(), Next::Run(Job::Reload));
        assert_eq!(next(), Next::Wait(None));
    }

    #[test]
    fn schedule_waits_until_the_first_timer() {
        let (mut schedule, now) = (Schedule::default(), clock::now());
        schedule.handle_commands(false, now);
        let asked = now + limits::COMMANDS_RETRY_INTERVAL;
        assert_eq!(schedule.next(NONE, now), Next::Wait(Some(asked)));
        let timers = Timers { reload: Some(now + ms(500)), credentials: Some(now + ms(700)) };
        assert_eq!(schedule.next(timers, now), Next::Wait(timers.reload));
        assert_eq!(schedule.next(timers, now + ms(500)), Next::Run(Job::Reload));
        let timers = Timers { reload: None, ..timers };
        assert_eq!(schedule.next(timers, now + ms(700)), Next::Run(Job::Credentials));
        assert_eq!(schedule.next(NONE, asked), Next::Run(Job::Commands));
        assert_eq!(schedule.next(NONE, asked), Next::Wait(None), "one retry follows a failure");
        schedule.handle_commands(true, asked);
        assert_eq!(schedule.next(NONE, asked), Next::Wait(None));
    }

    /// A control thread in made-up time: when each timer runs out, what is requested, how long jobs last.
    struct World {
        schedule: Schedule,
        chance: Entropy,
        now: Instant,
        /// When the next request comes; between two there are so many milliseconds at most.
        request_at: Instant,
        gap: u64,
        reload_retry: Option<Instant>,
        refresh: Option<Instant>,
        commands_retry: Option<Instant>,
        /// Since when each job is due.
        due: [Option<Instant>; 3],
        runs: [usize; 3],
    }

    const LONGEST: u64 = 5000;

    impl World {
        fn new(seed: u64, now: Instant) -> Self {
            let mut chance = Entropy::from_seed(seed);
            let gap = [1, 40, 3000, 60_000][usize::try_from(chance.below(4)).unwrap()];
            Self {
                schedule: Schedule::default(),
                now,
                request_at: now,
                gap,
                reload_retry: None,
                refresh: Some(now + ms(chance.below(30_000))),
                commands_retry: None,
                due: [None; 3],
                runs: [0; 3],
                chance,
            }
        }

        fn note_due(&mut self, job: Job, at: Instant) {
            self.due[job as usize].get_or_insert(at);
        }

        /// What comes until `end` while a job runs, or none does.
        fn pass(&mut self, end: Instant) {
            while self.request_at <= end {
                let at = self.request_at;
                self.now = self.now.max(at);
                // A signal, a verb, a changed file, another server.
                let jobs: &[Job] = match self.chance.below(8) {
                    0 => &[Job::Commands],
                    1..=3 => &[Job::Reload],
                    _ => &[Job::Reload, Job::Commands],
                };
                for job in jobs {
                    self.schedule.request(*job);
                    self.note_due(*job, at);
                }
                self.request_at = at + ms(1 + self.chance.below(self.gap));
            }
            self.now = self.now.max(end);
            let timers = [self.reload_retry, self.refresh, self.commands_retry];
            for (job, timer) in JOBS.into_iter().zip(timers) {
                if let Some(at) = timer.filter(|at| *at <= self.now) {
                    self.note_due(job, at);
                }
            }
        }

        fn run(&mut self, job: Job) {
            let due = self.due[job as usize].take();
            assert!(due.is_some(), "{job:?} runs although nothing wants it");
            self.runs[job as usize] += 1;
            let lasts = ms(self.chance.below(LONGEST));
            let timer = match job {
                Job::Reload => &mut self.reload_retry,
                Job::Credentials => &mut self.refresh,
                Job::Commands => &mut self.commands_retry,
            };
            *timer = None;
            self.pass(self.now + lasts);
            let fails = self.chance.below(2) == 0;
            match job {
                Job::Reload => {
                    self.reload_retry = fails.then(|| self.now + limits::RELOAD_RETRY_MIN);
                }
                Job::Credentials => self.refresh = Some(self.now + ms(1000)),
                Job::Commands => {
                    self.schedule.handle_commands(!fails, self.now);
                    let again = self.now + limits::COMMANDS_RETRY_INTERVAL;
                    self.commands_retry = fails.then_some(again);
                }
            }
        }

        /// No job is due for longer than the one that ran when it became so, and each of the others once.
        fn check(&self, seed: u64) {
            for job in JOBS {
                let since = self.due[job as usize];
                let waits = since.map_or(Duration::ZERO, |since| self.now - since);
                assert!(waits <= ms(LONGEST) * 3, "seed {seed}: {job:?} waits for {waits:?}");
            }
        }
    }

    #[test]
    fn no_job_waits_for_more_than_one_run_of_each_other_whatever_is_requested() {
        let begin = clock::now();
        for seed in 0..100 {
            let mut world = World::new(seed, begin);
            let end = begin + Duration::from_secs(120);
            while world.now < end {
                let timers = Timers { reload: world.reload_retry, credentials: world.refresh };
                match world.schedule.next(timers, world.now) {
                    Next::Run(job) => {
                        world.check(seed);
                        world.run(job);
                    }
                    Next::Wait(until) => {
                        let idle = world.due.iter().all(Option::is_none);
                        assert!(idle, "seed {seed}: a job is due and none runs");
                        assert!(until.is_none_or(|at| at > world.now), "seed {seed}: it spins");
                        world.pass(until.map_or(world.request_at, |at| at.min(world.request_at)));
                    }
                }
            }
            assert!(world.runs.iter().sum::<usize>() > 10, "seed {seed}: {:?}", world.runs);
        }
    }
}

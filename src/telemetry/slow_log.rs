//! The commands that took longest, and where their time went.
//!
//! Owns: [`SlowLog`], [`Slow`], [`Times`]. Never knows: clocks, keys as they are, its readers.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config;

/// Where the time of one command went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// For its turn under a limit, for a connection, for a server that could not be reached.
    pub waiting: Duration,
    /// From its way to the server to the end of the reply.
    pub upstream: Duration,
    /// Everything else.
    pub proxy: Duration,
}

impl Times {
    /// Of `total` so much was waiting and so much was the server's; neither can be more than there is.
    /// In whole microseconds, so that the parts as they are shown make the whole.
    #[must_use]
    pub(crate) fn split(total: Duration, waiting: Duration, upstream: Duration) -> Self {
        let whole =
            |time: Duration| time - Duration::from_nanos(u64::from(time.subsec_nanos() % 1000));
        let total = whole(total);
        let waiting = whole(waiting.min(total));
        let upstream = whole(upstream.min(total - waiting));
        Self { waiting, upstream, proxy: total - waiting - upstream }
    }

    #[must_use]
    pub(crate) fn total(&self) -> Duration {
        self.waiting + self.upstream + self.proxy
    }
}

/// One slow command. No value is in it, and a key only as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    /// Grows with each one since the start.
    pub id: u64,
    /// Milliseconds since 1970, at its end.
    pub at: u64,
    /// A name of the command table.
    pub command: &'static str,
    pub key: Option<String>,
    pub policy: Box<str>,
    pub listener: Box<str>,
    pub user: Box<str>,
    /// The number of the client, as CLIENT LIST has it.
    pub client: u64,
    pub database: u32,
    pub times: Times,
    /// The reply was an error.
    pub error: bool,
}

/// The newest slow commands.
#[derive(Debug)]
pub(crate) struct SlowLog {
    settings: config::SlowLog,
    entries: VecDeque<Slow>,
    next: u64,
}

impl SlowLog {
    #[must_use]
    pub(crate) const fn new(settings: config::SlowLog) -> Self {
        Self { settings, entries: VecDeque::new(), next: 1 }
    }

    /// Others are in force; what is kept stays, as far as there is room.
    pub(crate) fn set(&mut self, settings: config::SlowLog) {
        self.settings = settings;
        self.entries.truncate(self.settings.max_entries);
    }

    /// Keeps one; the oldest makes room.
    pub(crate) fn note(&mut self, slow: Slow) {
        self.entries.push_front(Slow { id: self.next, ..slow });
        self.next += 1;
        self.entries.truncate(self.settings.max_entries);
    }

    /// The newest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Slow> {
        self.entries.iter()
    }

    /// Forgets what is kept; the numbers go on. Returns how many there were.
    pub(crate) fn reset(&mut self) -> usize {
        let count = self.entries.len();
        self.entries.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn slow(command: &'static str) -> Slow {
        Slow {
            id: 0,
            at: 0,
            command,
            key: None,
            policy: "policy".into(),
            listener: "unix:x".into(),
            user: "default".into(),
            client: 1,
            database: 0,
            times: Times::default(),
            error: false,
        }
    }

    #[test]
    fn newest_events_are_kept_and_numbers_go_on() {
        let mut log = SlowLog::new(config::SlowLog { threshold: 10 * MS, max_entries: 2 });
        for command in ["get", "set", "del"] {
            log.note(slow(command));
        }
        let ids: Vec<(u64, &str)> = log.entries().map(|slow| (slow.id, slow.command)).collect();
        assert_eq!(ids, [(3, "del"), (2, "set")]);
        assert_eq!(log.reset(), 2);
        log.note(slow("get"));
        assert_eq!(log.entries().next().map(|slow| slow.id), Some(4));
        log.set(config::SlowLog { threshold: Duration::ZERO, max_entries: 0 });
        assert!(log.entries().next().is_none());
    }

    #[test]
    fn parts_of_the_time_make_the_whole() {
        for (total, waiting, upstream, expected) in
            [(10, 3, 4, (3, 4, 3)), (10, 20, 4, (10, 0, 0)), (10, 3, 20, (3, 7, 0))]
        {
            let times = Times::split(total * MS, waiting * MS, upstream * MS);
            let (waiting, upstream, proxy) = expected;
            assert_eq!(
                times,
                Times { waiting: waiting * MS, upstream: upstream * MS, proxy: proxy * MS }
            );
            assert_eq!(times.total(), total * MS);
        }
    }
}

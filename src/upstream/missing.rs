//! Databases that the server does not have, for a while after it has refused one.
//!
//! Owns: [`MissingDatabases`], [`Selection`]. Never knows: clocks, connections, sessions.

use std::collections::VecDeque;
use std::time::Instant;

use super::line::WAIT_TICK;
use crate::base::backoff::Backoff;
use crate::base::{client_text, limits};

/// How long an error holds.
const HOLD: Backoff =
    Backoff { initial: WAIT_TICK, multiplier: 2.0, cap: limits::NO_DATABASE_DIAL_MAX };

/// One error, and the database that it is about.
#[derive(Debug)]
struct Missing {
    database: u32,
    /// Whether it is about all databases of higher numbers, too.
    out_of_range: bool,
    line: Vec<u8>,
    until: Instant,
    /// How often in a row the server has replied with it.
    refused: u32,
}

impl Missing {
    fn concerns(&self, database: u32) -> bool {
        self.database == database || (self.out_of_range && self.database < database)
    }
}

/// What becomes of a client that selects a database to which there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection<'a> {
    /// The server is asked.
    Dial,
    /// The client gets this error, which the server has replied with a moment ago.
    Refused(&'a [u8]),
    /// The server is asked then: it has refused many databases in a short time.
    Wait(Instant),
}

/// The databases that were refused a moment ago. Selecting one of them causes no connection to the server.
#[derive(Debug, Default)]
pub struct MissingDatabases {
    known: VecDeque<Missing>,
    /// When the server refused the last ones.
    recent: VecDeque<Instant>,
}

impl MissingDatabases {
    /// What follows where a session selects this database.
    #[must_use]
    pub fn poll(&self, database: u32, now: Instant) -> Selection<'_> {
        debug_assert!(self.recent.iter().is_sorted(), "the oldest comes first");
        if let Some(line) = self.error_of(database, now) {
            debug_assert!(!line.is_empty(), "an error of no byte");
            return Selection::Refused(line);
        }
        let full = self.recent.len() >= limits::MISSING_DATABASES_MAX;
        let first = self.recent.front().filter(|_| full);
        let free = first.map(|first| *first + limits::NO_DATABASE_DIAL_MAX);
        free.filter(|free| now < *free).map_or(Selection::Dial, Selection::Wait)
    }

    fn error_of(&self, database: u32, now: Instant) -> Option<&[u8]> {
        let mut holding = self.known.iter().filter(|one| now < one.until);
        holding.find(|one| one.concerns(database)).map(|one| &*one.line)
    }

    /// The server has refused this database with `line`: each time in a row, that holds for longer.
    pub fn handle_refused(&mut self, database: u32, line: &[u8], now: Instant) {
        if self.error_of(database, now).is_some() {
            // It was refused to several at once.
            return;
        }
        debug_assert!(!line.starts_with(b"-"), "the line has no mark of its kind any more");
        // The error of a server for every database from some number on.
        let out_of_range = line.starts_with(client_text::DB_RANGE.as_bytes());
        let same = |one: &Missing| {
            one.out_of_range == out_of_range && (out_of_range || one.database == database)
        };
        let before = self.known.iter().position(same).and_then(|at| self.known.remove(at));
        let before = before.filter(|one| now < one.until + limits::NO_DATABASE_DIAL_MAX);
        let refused = before.as_ref().map_or(0, |one| one.refused);
        let lowest = before.map_or(database, |one| one.database.min(database));
        self.known.push_back(Missing {
            database: lowest,
            out_of_range,
            line: line.to_vec(),
            until: now + HOLD.delay(refused, u64::MAX),
            refused: refused.saturating_add(1),
        });
        self.recent.push_back(now);
        if self.known.len() > limits::MISSING_DATABASES_MAX {
            self.known.pop_front();
        }
        if self.recent.len() > limits::MISSING_DATABASES_MAX {
            self.recent.pop_front();
        }
        debug_assert!(self.known.len() <= limits::MISSING_DATABASES_MAX, "it is bounded");
        debug_assert!(self.error_of(database, now).is_some(), "what is refused is not known");
    }

    /// The server has this database.
    pub fn handle_found(&mut self, database: u32) {
        self.known.retain(|one| !one.concerns(database));
        let missing = self.known.iter().any(|one| one.concerns(database));
        debug_assert!(!missing, "what is there is refused");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock;

    const RANGE: &[u8] = b"ERR DB index is out of range";
    const DENIED: &[u8] = b"NOPERM no permission";

    /// How often the server is dialed by a client that selects these databases in turn, one each millisecond.
    fn dials(databases: &[u32], line: &[u8], time: Duration) -> usize {
        let (begin, mut missing, mut dials) = (clock::now(), MissingDatabases::default(), 0);
        let times = (0_u32..).map(|at| begin + Duration::from_millis(1) * at);
        let times = times.take_while(|now| *now < begin + time);
        for (now, database) in times.zip(databases.iter().cycle()) {
            if missing.poll(*database, now) == Selection::Dial {
                missing.handle_refused(*database, line, now);
                dials += 1;
            }
        }
        dials
    }

    #[test]
    fn server_is_dialed_rarely_for_what_it_refuses() {
        let all: Vec<u32> = (16..10_000).collect();
        let down: Vec<u32> = all.iter().rev().copied().collect();
        let time = Duration::from_secs(3);
        assert_eq!(dials(&[99], RANGE, time), 7, "ever more rarely");
        assert_eq!(dials(&all, RANGE, time), 7, "one is out of range, and all above it");
        assert!(dials(&[99, 77, 55], DENIED, time) <= 21, "each is refused by itself");
        for (databases, line) in [(&down, RANGE), (&all, DENIED), (&down, DENIED)] {
            assert_eq!(dials(databases, line, time), 3 * limits::MISSING_DATABASES_MAX);
        }
    }

    #[test]
    fn error_concerns_no_database_that_the_server_may_have() {
        let (mut missing, now) = (MissingDatabases::default(), clock::now());
        missing.handle_refused(16, RANGE, now);
        missing.handle_refused(3, DENIED, now);
        assert_eq!(missing.poll(17, now), Selection::Refused(RANGE));
        assert_eq!(missing.poll(3, now), Selection::Refused(DENIED));
        assert!([0, 2, 4, 15].iter().all(|other| missing.poll(*other, now) == Selection::Dial));
        assert_eq!(missing.poll(16, now + WAIT_TICK), Selection::Dial, "not for ever");
        missing.handle_found(20);
        assert_eq!(missing.poll(16, now), Selection::Dial);
        (0..1000).for_each(|database| missing.handle_refused(database, DENIED, now));
        assert_eq!(missing.known.len(), limits::MISSING_DATABASES_MAX);
        let free = now + limits::NO_DATABASE_DIAL_MAX;
        assert_eq!(missing.poll(1000, now), Selection::Wait(free));
        assert_eq!(missing.poll(1000, free), Selection::Dial);
    }

    #[test]
    fn error_holds_for_a_short_time_again_when_a_while_has_passed() {
        let (mut missing, mut now) = (MissingDatabases::default(), clock::now());
        for _ in 0..10 {
            missing.handle_refused(16, RANGE, now);
            now += limits::NO_DATABASE_DIAL_MAX;
        }
        assert_ne!(missing.known[0].refused, 1);
        now += limits::NO_DATABASE_DIAL_MAX;
        missing.handle_refused(16, RANGE, now);
        assert_eq!(missing.poll(16, now + WAIT_TICK), Selection::Dial);
    }
}

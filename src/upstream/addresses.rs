//! The order of the addresses behind a name, and when each is tried: the primary first, and the next one as
//! soon as one fails or is slow (as RFC 8305 has it for address families).
//!
//! Owns: [`Lookup`], [`Known`], [`Race`]. Never knows: sockets, clocks, how an attempt is made.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::base::limits;

/// What was found at an address last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    Primary,
    Replica,
    /// No connection.
    Nothing,
}

impl Finding {
    /// The order in which addresses are tried; those of which nothing is known come second.
    const fn rank(found: Option<Self>) -> u8 {
        match found {
            Some(Self::Primary) => 0,
            None => 1,
            Some(Self::Replica) => 2,
            Some(Self::Nothing) => 3,
        }
    }
}

/// What was found at the addresses tried so far, and how long each had.
#[derive(Debug, Default)]
pub struct Known(VecDeque<(SocketAddr, Finding, Duration)>);

impl Known {
    /// The addresses in the order in which they are to be tried; otherwise as the name has them. Of those that led
    /// nowhere, what had least time comes first: behind addresses that are silent, one may have had too little.
    pub fn sorted(&self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let found = |address: &SocketAddr| {
            self.0.iter().find(|(known, ..)| known == address).map(|(_, finding, _)| *finding)
        };
        let had = |address: &SocketAddr| {
            let failed = self
                .0
                .iter()
                .find(|(known, finding, _)| known == address && *finding == Finding::Nothing);
            failed.map_or(Duration::ZERO, |(.., had)| *had)
        };
        addresses.sort_by_key(|address| (Finding::rank(found(address)), had(address)));
        let ranks = || addresses.iter().map(|address| Finding::rank(found(address)));
        debug_assert!(ranks().is_sorted(), "the primary comes first");
        addresses
    }

    /// An attempt has ended, after this time. There is one primary: the others are not known to be one any more,
    /// although an attempt there may have been given up before it ended.
    pub fn note(&mut self, address: SocketAddr, finding: Finding, had: Duration) {
        let one = finding == Finding::Primary;
        self.0
            .retain(|(known, other, _)| *known != address && !(one && *other == Finding::Primary));
        self.0.push_back((address, finding, had));
        if self.0.len() > limits::KNOWN_ADDRESSES_MAX {
            self.0.pop_front();
        }
        debug_assert!(self.0.len() <= limits::KNOWN_ADDRESSES_MAX, "it is bounded");
        let same = |(known, ..): &&(SocketAddr, Finding, Duration)| *known == address;
        debug_assert_eq!(self.0.iter().filter(same).count(), 1, "an address is known twice");
    }
}

/// The beginning of an attempt to connect: the name server is asked, and may never answer.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    deadline: Instant,
}

impl Lookup {
    /// The name server is asked. All of the attempt, up to the login, has `limit`.
    #[must_use]
    pub fn begin(limit: Duration, now: Instant) -> Self {
        let lookup = Self { deadline: now + limit };
        debug_assert!(limit.is_zero() || !lookup.is_over(now), "it is over before it begins");
        lookup
    }

    /// When the attempt ends in any case.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether no answer is awaited any more: the attempt has failed.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// The name server has answered with these addresses: each of them is tried in the time that is left.
    #[must_use]
    pub fn handle_found(self, found: Vec<SocketAddr>, known: &Known, now: Instant) -> Race {
        let count = found.len();
        let sorted = known.sorted(found);
        debug_assert_eq!(sorted.len(), count, "an address is forgotten");
        Race::new(sorted, self.deadline.saturating_duration_since(now), now)
    }
}

/// How an attempt at one address ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempted {
    Found(Finding),
    /// The server refuses the login or the database; so would any other.
    Refused,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This connection is used.
    Take,
    /// The connection is used when no primary is found.
    Keep,
    /// The error is the outcome.
    Fail,
    /// The next address is tried; the error counts when none leads anywhere.
    Next,
}

/// The attempts at the addresses of one name.
#[derive(Debug)]
pub struct Race {
    left: VecDeque<SocketAddr>,
    running: usize,
    stagger: Duration,
    /// When the next one is tried beside those that run.
    next_at: Instant,
    /// A replica was found; it is taken then.
    settles_at: Option<Instant>,
}

impl Race {
    /// All attempts together have `limit`. However short that is, each of a few addresses gets half of it.
    #[must_use]
    pub fn new(addresses: Vec<SocketAddr>, limit: Duration, now: Instant) -> Self {
        let few = addresses.len().clamp(1, limits::ADDRESSES_IN_TIME_MAX);
        let part = limit / u32::try_from(few * 2).unwrap_or(u32::MAX);
        let stagger = limits::ADDRESS_STAGGER.min(part);
        Self { left: addresses.into(), running: 0, stagger, next_at: now, settles_at: None }
    }

    /// The address to try now, beside those that are being tried.
    pub fn poll_start(&mut self, now: Instant) -> Option<SocketAddr> {
        if now < self.next_at {
            return None;
        }
        let address = self.left.pop_front()?;
        debug_assert!(self.settles_at.is_none_or(|at| now < at), "it was over");
        self.running += 1;
        self.next_at = now + self.stagger;
        Some(address)
    }

    /// When to look again although no attempt has ended.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = Some(self.next_at).filter(|_| !self.left.is_empty());
        [next, self.settles_at].into_iter().flatten().min()
    }

    /// An attempt has ended. Unless it decides the race, the next one does not wait.
    pub fn handle_ended(&mut self, attempted: Attempted, now: Instant) -> Verdict {
        debug_assert!(self.running > 0, "only what was begun ends");
        let finding = match attempted {
            Attempted::Refused => return Verdict::Fail,
            Attempted::Found(Finding::Primary) => return Verdict::Take,
            Attempted::Found(finding) => finding,
        };
        self.running = self.running.saturating_sub(1);
        self.next_at = now;
        if finding == Finding::Replica {
            self.settles_at.get_or_insert(now + limits::PRIMARY_WAIT);
            return Verdict::Keep;
        }
        Verdict::Next
    }

    /// Whether nothing better is to be expected.
    pub fn is_over(&self, now: Instant) -> bool {
        let settled = self.settles_at.is_some_and(|at| now >= at);
        settled || (self.running == 0 && self.left.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::entropy::Entropy;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 6379))
    }

    const NOTHING: Attempted = Attempted::Found(Finding::Nothing);

    fn race(count: u8) -> (Race, Instant) {
        let now = crate::base::clock::now();
        (Race::new((1..=count).map(address).collect(), DEADLINE, now), now)
    }

    #[test]
    fn next_address_is_tried_when_one_is_slow_and_at_once_when_one_fails() {
        let (mut race, begin) = race(3);
        assert_eq!(race.poll_start(begin), Some(address(1)));
        assert_eq!(race.poll_start(begin), None);
        assert_eq!(race.poll_timeout(), Some(begin + limits::ADDRESS_STAGGER));
        let slow = begin + limits::ADDRESS_STAGGER;
        assert_eq!(race.poll_start(slow), Some(address(2)));
        race.handle_ended(NOTHING, slow);
        assert_eq!(race.poll_start(slow), Some(address(3)));
        assert_eq!(race.poll_timeout(), None, "there is no further address");
        race.handle_ended(NOTHING, slow);
        assert!(!race.is_over(slow), "the first one may still succeed");
        race.handle_ended(NOTHING, slow);
        assert!(race.is_over(slow));
    }

    #[test]
    fn replica_is_taken_when_no_primary_is_found_in_time() {
        let (mut race, begin) = race(2);
        race.poll_start(begin);
        race.handle_ended(Attempted::Found(Finding::Replica), begin);
        assert_eq!(race.poll_start(begin), Some(address(2)));
        assert!(!race.is_over(begin));
        assert_eq!(race.poll_timeout(), Some(begin + limits::PRIMARY_WAIT));
        assert!(race.is_over(begin + limits::PRIMARY_WAIT));
    }

    #[test]
    fn address_that_proved_to_be_the_primary_comes_first_and_those_that_failed_last() {
        let mut known = Known::default();
        known.note(address(1), Finding::Nothing, Duration::ZERO);
        known.note(address(2), Finding::Replica, Duration::ZERO);
        known.note(address(4), Finding::Primary, Duration::ZERO);
        let all = || (1..=4).map(address).collect();
        assert_eq!(known.sorted(all()), [4, 3, 2, 1].map(address));
        known.note(address(4), Finding::Replica, Duration::ZERO);
        known.note(address(2), Finding::Primary, Duration::ZERO);
        assert_eq!(known.sorted(all()), [2, 3, 4, 1].map(address), "after a failover");
        known.note(address(3), Finding::Primary, Duration::ZERO);
        assert_eq!(known.sorted(all()), [3, 2, 4, 1].map(address), "the one before is silent");
        for last in 5..=255 {
            known.note(address(last), Finding::Nothing, Duration::ZERO);
        }
        assert_eq!(known.0.len(), limits::KNOWN_ADDRESSES_MAX);
    }

    /// What an address leads to, and after how long; `None`: it is silent.
    type Target = (Duration, Option<Finding>);

    const DEADLINE: Duration = Duration::from_secs(5);

    /// Tries the targets in their order. What is used in the end, and when; when each attempt began and ended.
    fn play(
        targets: &[Target],
        begin: Instant,
    ) -> (Option<Finding>, Instant, Vec<(Instant, Instant)>) {
        let count = u8::try_from(targets.len()).unwrap();
        let mut race = Race::new((0..count).map(address).collect(), DEADLINE, begin);
        let (mut now, mut kept, mut times) = (begin, None, Vec::<(Instant, Instant)>::new());
        let mut running: Vec<usize> = Vec::new();
        while !race.is_over(now) {
            if let Some(found) = race.poll_start(now) {
                let at = times.len();
                assert_eq!(found, address(u8::try_from(at).unwrap()), "each once, in order");
                let lasts = targets[at].1.map_or(DEADLINE, |_| targets[at].0);
                times.push((now, (now + lasts).min(begin + DEADLINE)));
                running.push(at);
            }
            let first = running.iter().copied().min_by_key(|at| times[*at].1);
            let ends = first.map(|at| times[at].1);
            let next = ends.into_iter().chain(race.poll_timeout()).min();
            now = now.max(next.expect("it waits for something"));
            let Some(at) = first.filter(|at| times[*at].1 <= now) else { continue };
            running.retain(|other| *other != at);
            let (lasts, finding) = targets[at];
            let in_time = times[at].0 + lasts <= begin + DEADLINE;
            let finding = finding.filter(|_| in_time).unwrap_or(Finding::Nothing);
            match race.handle_ended(Attempted::Found(finding), now) {
                Verdict::Take => return (Some(finding), now, times),
                Verdict::Keep => kept = Some(finding),
                Verdict::Next => {}
                Verdict::Fail => panic!("no login was refused"),
            }
        }
        (kept, now, times)
    }

    #[test]
    fn primary_is_found_in_time_whatever_the_other_addresses_do() {
        let begin = crate::base::clock::now();
        for seed in 0..3000 {
            let mut chance = Entropy::from_seed(seed);
            let targets: Vec<Target> = (0..=chance.below(6))
                .map(|_| {
                    let finding = match chance.below(6) {
                        0 => Some(Finding::Primary),
                        1 | 2 => Some(Finding::Replica),
                        3 | 4 => Some(Finding::Nothing),
                        _ => None,
                    };
                    let slow = [10, 600, 6000][usize::try_from(chance.below(3)).unwrap()];
                    (Duration::from_millis(chance.below(slow)), finding)
                })
                .collect();
            let (found, at, times) = play(&targets, begin);
            let replicas = times.iter().zip(&targets).filter(|((start, _), (lasts, finding))| {
                *finding == Some(Finding::Replica) && *start + *lasts <= begin + DEADLINE
            });
            let settles = replicas.map(|((_, end), _)| *end + limits::PRIMARY_WAIT).min();
            let last = settles.map_or(begin + DEADLINE, |settles| settles.min(begin + DEADLINE));
            assert!(at <= last, "{seed}: it ends in time: {targets:?}");
            for (place, (lasts, finding)) in targets.iter().enumerate() {
                let latest =
                    begin + limits::ADDRESS_STAGGER * u32::try_from(place).unwrap() + *lasts;
                if *finding == Some(Finding::Primary) && latest < last {
                    assert_eq!(found, Some(Finding::Primary), "{seed}: {targets:?}");
                    assert!(at <= latest, "{seed}: it is found in time: {targets:?}");
                }
            }
            let ended = |from: Instant, to: Instant| {
                times.iter().any(|(_, end)| *end >= from && *end <= to)
            };
            for pair in times.windows(2) {
                let (one, next) = (pair[0].0, pair[1].0);
                let hurried = next < one + limits::ADDRESS_STAGGER;
                assert!(
                    !hurried || ended(one, next),
                    "{seed}: it was tried too early: {targets:?}"
                );
                assert!(next <= one + limits::ADDRESS_STAGGER, "{seed}: too late: {targets:?}");
            }
            if found.is_none() {
                assert_eq!(times.len(), targets.len(), "{seed}: each was tried: {targets:?}");
                assert!(times.iter().all(|(_, end)| *end <= at), "{seed}: none is given up");
            }
        }
    }

    /// A made-up name of which all addresses but one are silent, and that one answers after a time that is less than
    /// the time of one round of attempts: within three rounds it is reached, wherever it is in the list.
    #[test]
    fn address_behind_silent_ones_is_reached_in_few_rounds() {
        for count in 1..=40_u8 {
            for alive in 1..=count {
                let (mut known, begin) = (Known::default(), crate::base::clock::now());
                let (limit, answers) = (Duration::from_secs(5), Duration::from_millis(700));
                let reached = (1..=3).any(|_| {
                    let addresses = known.sorted((1..=count).map(address).collect());
                    let mut race = Race::new(addresses, limit, begin);
                    let (mut now, mut tried) = (begin, Vec::new());
                    while now < begin + limit {
                        tried.extend(race.poll_start(now).map(|address| (address, now)));
                        now += limits::ADDRESS_STAGGER;
                    }
                    let is_up = |(at, since): &(SocketAddr, Instant)| {
                        *at == address(alive) && *since + answers < begin + limit
                    };
                    for (at, since) in &tried {
                        known.note(*at, Finding::Nothing, begin + limit - *since);
                    }
                    tried.iter().any(is_up)
                });
                assert!(reached, "{alive} of {count}");
            }
        }
    }

    #[test]
    fn each_of_a_few_silent_addresses_gets_half_of_however_short_a_time() {
        for limit in [100, 400, 1000, 5000].map(Duration::from_millis) {
            for count in 1..=8_u8 {
                let begin = crate::base::clock::now();
                let mut race = Race::new((1..=count).map(address).collect(), limit, begin);
                let mut now = begin;
                for _ in 0..count {
                    now = race.poll_timeout().expect("there is a further address");
                    assert!(race.poll_start(now).is_some());
                }
                assert!(now - begin <= limit / 2, "the last of {count} begins after {limit:?}");
            }
        }
    }
}

//! The name of the server and the addresses behind it; an attempt to connect to one of them.
//!
//! Owns: [`Name`], [`Tries`]: what is behind each address, and what must be true of the order and the time of attempts.
//! Never knows: which server answers, what is done with a connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use respgate::internals::traffic::Unavailable;
use respgate::internals::upstream::decisions::{Attempted, Finding, Known, Lookup, Race, Verdict};

use crate::support::choices::Choices;

const ADDRESSES: u8 = 5;
/// The world is looked at so seldom.
const LATE: Duration = Duration::from_millis(1);

/// What is behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    Primary,
    Replica,
    Silent,
    Refuses,
}

const OTHERS: [Host; 3] = [Host::Replica, Host::Silent, Host::Refuses];

#[derive(Debug)]
pub struct Name {
    /// In the order of the answer of the name server. One is the primary.
    hosts: Vec<(SocketAddr, Host)>,
    /// The name has no address for the moment.
    pub is_unknown: bool,
    /// How long the name server takes for an answer; `None`: it gives none.
    pub answers_after: Option<Duration>,
    /// The name server still gives these addresses, whatever has become of them.
    stale: Option<Vec<SocketAddr>>,
    known: Known,
    /// Where the primary was found last, unless something else was found there since.
    primary: Option<SocketAddr>,
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 6379))
}

impl Name {
    /// Of one address.
    pub fn alone() -> Self {
        Self {
            hosts: vec![(address(0), Host::Primary)],
            is_unknown: false,
            answers_after: Some(Duration::ZERO),
            stale: None,
            known: Known::default(),
            primary: None,
        }
    }

    /// Other addresses, in another order; the primary stays where it is.
    pub fn change(&mut self, choices: &mut Choices) {
        self.hosts.retain(|(_, host)| *host == Host::Primary);
        for last in 0..ADDRESSES {
            if choices.chance(60) && !self.hosts.iter().any(|(known, _)| *known == address(last)) {
                let at = choices.below(self.hosts.len() + 1);
                self.hosts.insert(at, (address(last), *choices.pick(&OTHERS)));
            }
        }
    }

    /// The primary is behind another address. Returns whether there is another one.
    pub fn move_primary(&mut self, choices: &mut Choices) -> bool {
        let at = choices.below(self.hosts.len());
        if self.hosts[at].1 == Host::Primary {
            return false;
        }
        for (_, host) in &mut self.hosts {
            if *host == Host::Primary {
                *host = *choices.pick(&OTHERS);
            }
        }
        self.hosts[at].1 = Host::Primary;
        true
    }

    /// The primary is behind an address that the name had not before, which the name server does not know yet.
    pub fn renumber(&mut self, choices: &mut Choices) {
        let used = |last: &u8| self.hosts.iter().any(|(known, _)| *known == address(*last));
        let Some(new) = (0..=ADDRESSES).find(|last| !used(last)) else { return };
        self.stale.get_or_insert_with(|| self.hosts.iter().map(|(address, _)| *address).collect());
        self.hosts.retain(|(_, host)| *host != Host::Primary);
        let at = choices.below(self.hosts.len() + 1);
        self.hosts.insert(at, (address(new), Host::Primary));
    }

    /// The name server is well and knows all addresses.
    pub fn heal(&mut self) {
        (self.is_unknown, self.answers_after, self.stale) = (false, Some(Duration::ZERO), None);
    }

    /// What the name server answers.
    fn lookup(&self) -> Vec<SocketAddr> {
        let present = || self.hosts.iter().map(|(address, _)| *address).collect();
        let known = self.stale.clone().unwrap_or_else(present);
        if self.is_unknown { Vec::new() } else { known }
    }

    fn host(&self, address: SocketAddr) -> Host {
        let found = self.hosts.iter().find(|(known, _)| *known == address);
        found.map_or(Host::Refuses, |(_, host)| *host)
    }

    fn note(&mut self, address: SocketAddr, finding: Finding, had: Duration) {
        self.known.note(address, finding, had);
        if finding == Finding::Primary {
            self.primary = Some(address);
        } else if self.primary == Some(address) {
            self.primary = None;
        }
    }
}

/// What is found behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A server that has logged us in.
    Up { primary: bool },
    /// Nothing arrives.
    Silence,
    /// Another address may lead to a server that does better.
    Failure(Unavailable),
    /// Every server would refuse so.
    Refusal,
}

/// How attempts at all addresses ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Up { primary: bool },
    Failed(Unavailable),
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Try {
    address: SocketAddr,
    begun: Instant,
    ends: Instant,
}

/// One attempt to connect, at several addresses beside each other.
#[derive(Debug)]
pub struct Tries {
    begun: Instant,
    limit: Duration,
    lookup: Lookup,
    /// When the name server answers; `None`: not at all.
    answered_at: Option<Instant>,
    /// What was left of the time then.
    left: Duration,
    /// The addresses of the name when it was looked up.
    addresses: Vec<SocketAddr>,
    race: Option<Race>,
    running: Vec<Try>,
    /// The addresses tried to the end, and how long each had.
    ended: Vec<(SocketAddr, Duration)>,
    replica: bool,
    failure: Unavailable,
}

impl Tries {
    /// The name is looked up.
    pub fn begin(name: &Name, limit: Duration, now: Instant) -> Self {
        Self {
            begun: now,
            limit,
            lookup: Lookup::begin(limit, now),
            answered_at: name.answers_after.map(|after| now + after),
            left: limit,
            addresses: Vec::new(),
            race: None,
            running: Vec::new(),
            ended: Vec::new(),
            replica: false,
            failure: Unavailable::Resolve,
        }
    }

    /// When something happens of itself.
    pub fn next(&self) -> Instant {
        let last = self.lookup.deadline();
        let Some(race) = &self.race else { return self.answered_at.unwrap_or(last).min(last) };
        let ends = self.running.iter().map(|one| one.ends);
        ends.chain(race.poll_timeout()).min().unwrap_or(self.begun)
    }

    /// The name server has answered.
    fn resolve(&mut self, name: &Name, now: Instant) -> Race {
        self.addresses = name.lookup();
        self.left = (self.begun + self.limit).saturating_duration_since(now);
        let sorted = name.known.sorted(self.addresses.clone());
        let race = self.lookup.handle_found(self.addresses.clone(), &name.known, now);
        if let Some(primary) = name.primary.filter(|primary| self.addresses.contains(primary)) {
            assert_eq!(sorted[0], primary, "the primary that is known is not tried first");
        }
        race
    }

    /// Goes on. `look` returns what is behind an address at this moment; an answer takes a `trip`.
    pub fn poll(
        &mut self,
        name: &mut Name,
        now: Instant,
        trip: Duration,
        look: impl Fn(Host) -> Found,
    ) -> Option<Outcome> {
        let last = self.lookup.deadline();
        if self.race.is_none() {
            if self.lookup.is_over(now) {
                return Some(Outcome::Failed(Unavailable::Timeout));
            }
            if self.answered_at.is_none_or(|at| at > now) {
                return None;
            }
            self.race = Some(self.resolve(name, now));
        }
        while let Some(race) = self.race.as_mut().filter(|race| !race.is_over(now)) {
            if let Some(address) = race.poll_start(now) {
                self.running.push(Try { address, begun: now, ends: (now + trip).min(last) });
            }
            let Some(at) = self.running.iter().position(|one| one.ends <= now) else {
                if race.poll_timeout().is_some_and(|at| at <= now) {
                    continue;
                }
                return None;
            };
            let Try { address, begun, ends } = self.running.swap_remove(at);
            let found = look(name.host(address));
            if found == Found::Silence && ends < last {
                self.running.push(Try { address, begun, ends: last });
                continue;
            }
            let finding = match found {
                Found::Up { primary: true } => Finding::Primary,
                Found::Up { primary: false } => Finding::Replica,
                Found::Silence | Found::Failure(_) | Found::Refusal => Finding::Nothing,
            };
            name.note(address, finding, now - begun);
            let waited = if found == Found::Silence { now - begun } else { self.limit };
            self.ended.push((address, waited));
            let attempted = if found == Found::Refusal {
                Attempted::Refused
            } else {
                Attempted::Found(finding)
            };
            match race.handle_ended(attempted, now) {
                Verdict::Take => return Some(Outcome::Up { primary: true }),
                Verdict::Fail => return Some(Outcome::Refused),
                Verdict::Keep => self.replica = true,
                Verdict::Next => {
                    self.failure = match found {
                        Found::Failure(why) => why,
                        _ => Unavailable::Timeout,
                    };
                }
            }
        }
        self.check_all_were_tried();
        assert!(self.running.is_empty(), "an attempt is given up for nothing");
        if self.replica {
            return Some(Outcome::Up { primary: false });
        }
        Some(Outcome::Failed(self.failure))
    }

    /// No address had too little time: a primary would have been found.
    fn check_all_were_tried(&self) {
        for address in &self.addresses {
            let had = self.ended.iter().find(|(tried, _)| tried == address).map(|(_, had)| *had);
            let least = self.left / 2;
            assert!(had.is_some_and(|had| had >= least), "{address} had only {had:?}: {self:?}");
        }
    }

    /// How long it has taken.
    pub fn check_time(&self, now: Instant) {
        let last = self.begun + self.limit + LATE;
        assert!(now <= last, "an attempt lasts for {:?}", now - self.begun);
    }

    pub const fn begun(&self) -> Instant {
        self.begun
    }
}

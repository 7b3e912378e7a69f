//! Random sessions from a seed, to a server straight and through respgate: the same bytes back.
//!
//! Owns: how a session is played. Never knows: what clients may send (`support/grammar.rs`).
//!
//! `RESPGATE_SEED=7` plays that session alone, its actions shown.
use crate::support;
use std::ops::Range;
use std::time::Duration;

use support::allowed::normalise;
use support::choices::Choices;
use support::client::{Client, Got, PATIENCE, show};
use support::grammar::{Action, Speaker, Then, Weights};
use support::pair::{PREFIX_TEXT, Pair, Shape};
use support::real_server::{Brand, Server, wait_until};

const STEPS: usize = 120;
const CLIENTS: usize = 4;

/// How long unrequested data is waited for after the last step.
const QUIET_AT_END: Duration = Duration::from_millis(5);

/// What reaches keys of others: refused with a prefix, or only outside of a transaction.
const OTHERS: [&str; 5] = ["SWAPDB", "RANDOMKEY", "FLUSHALL", "FLUSHDB", "DBSIZE"];

#[test]
fn redis() {
    play(Brand::Redis, true, Shape::Shared, 0..60);
}

#[test]
fn redis_with_a_connection_for_each_session() {
    play(Brand::Redis, true, Shape::Session, 1000..1030);
}

#[test]
fn redis_with_a_prefix_before_every_name() {
    play(Brand::Redis, true, Shape::Prefixed, 3000..3040);
}

#[test]
fn valkey() {
    if Brand::Valkey.available() {
        play(Brand::Valkey, false, Shape::Unix, 2000..2030);
    }
}

fn play(brand: Brand, tls: bool, shape: Shape, seeds: Range<u64>) {
    let pair = Pair::new(brand, tls, shape);
    let only = std::env::var("RESPGATE_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = only.map_or(seeds, |seed| seed..seed + 1);
    for seed in seeds {
        Session::new(&pair, seed).play(only.is_some());
    }
}

/// One client on both sides.
struct Both {
    straight: Client,
    through: Client,
    speaker: Speaker,
    blocked: bool,
    /// A reply, not a push, was read.
    answered: bool,
}

struct Session<'a> {
    pair: &'a Pair,
    seed: u64,
    random: Choices,
    weights: Weights,
    clients: Vec<Both>,
    history: Vec<String>,
}

impl<'a> Session<'a> {
    fn new(pair: &'a Pair, seed: u64) -> Self {
        pair.reset();
        let mut random = Choices::from_seed(seed);
        let weights = Weights::draw(&mut random);
        let clients = (0..CLIENTS).map(|_| Both::connect(pair)).collect();
        Self { pair, seed, random, weights, clients, history: Vec::new() }
    }

    fn play(mut self, loud: bool) {
        for step in 0..STEPS {
            let index = self.random.below(CLIENTS);
            let client = &mut self.clients[index];
            if client.blocked && !self.random.chance(20) {
                continue;
            }
            let action = if client.blocked {
                client.speaker.disconnect()
            } else {
                client.speaker.next(&self.weights, &mut self.random)
            };
            if self.pair.has_prefix && OTHERS.iter().any(|name| action.text.contains(name)) {
                continue;
            }
            self.history.push(format!("{step} client {index}: {}", action.text));
            if loud {
                eprintln!("{}", self.history.last().unwrap());
            }
            let quiet = if step + 1 == STEPS { QUIET_AT_END } else { Duration::ZERO };
            let done = self.act(index, &action).and_then(|()| self.settle(quiet));
            if let Err(difference) = done {
                let recent = self.history.len().saturating_sub(25);
                panic!(
                    "[{}] seed {} step {step}\n{}\n{difference}",
                    self.pair.version(),
                    self.seed,
                    self.history[recent..].join("\n")
                );
            }
        }
        self.clients.clear();
        await_same(self.pair);
    }

    fn act(&mut self, index: usize, action: &Action) -> Result<(), String> {
        let client = &mut self.clients[index];
        client.straight.send_raw(&action.bytes);
        client.through.send_raw(&action.bytes);
        let frames = client.compare(action.replies, PATIENCE)?;
        if frames < action.replies && action.then != Then::Closed {
            return Err(format!("the server itself gave {frames} replies of {}", action.replies));
        }
        match action.then {
            Then::Stay if action.may_block => {
                // The server's count of blocked clients shows whether a reply is still to come.
                let before = u64::try_from(self.blocked()).unwrap();
                let client = &mut self.clients[index];
                let straight = &self.pair.straight;
                client.answered = false;
                while !client.answered && straight.info("clients", "blocked_clients") <= before {
                    client.compare(1, Duration::ZERO)?;
                }
                client.blocked = !client.answered;
            }
            Then::Stay => {}
            Then::Closed | Then::Leave => {
                let clients = self.pair.straight.info("clients", "connected_clients");
                self.clients[index] = Both::connect(self.pair);
                if action.then == Then::Leave {
                    // The new connection replaces the old one only when the server has seen both.
                    wait_until("the server has noticed", || {
                        self.pair.straight.info("clients", "connected_clients") <= clients
                    });
                }
                await_same(self.pair);
            }
        }
        Ok(())
    }

    /// Reads what came unasked so far, and waits until both sides count the same blocked clients.
    fn settle(&mut self, patience: Duration) -> Result<(), String> {
        for client in &mut self.clients {
            client.answered = false;
            client.compare(usize::MAX, patience)?;
            client.blocked &= !client.answered;
        }
        if self.blocked() > 0 {
            await_same(self.pair);
        }
        Ok(())
    }

    fn blocked(&self) -> usize {
        self.clients.iter().filter(|client| client.blocked).count()
    }
}

impl Both {
    fn connect(pair: &Pair) -> Self {
        let (straight, through) = pair.clients();
        Self { straight, through, speaker: Speaker::default(), blocked: false, answered: false }
    }

    /// Reads up to `count` replies of the server, as long as it gives them within `patience`, and
    /// as many of respgate.
    fn compare(&mut self, count: usize, patience: Duration) -> Result<usize, String> {
        let hello = [b"HELLO".to_vec()];
        for number in 0..count {
            let expected = self.straight.next(patience);
            if expected == Got::Silence {
                return Ok(number);
            }
            let got = self.through.next(PATIENCE);
            let same = match (&expected, &got) {
                (Got::Reply(expected), Got::Reply(got)) => {
                    expected == got || normalise(&hello, expected) == normalise(&hello, got)
                }
                _ => expected == got,
            };
            if !same {
                let text = |got: &Got| match got {
                    Got::Reply(reply) => show(reply),
                    other => format!("({other:?})"),
                };
                return Err(format!("  straight: {}\n  respgate: {}", text(&expected), text(&got)));
            }
            self.answered |= !matches!(&expected, Got::Reply(reply) if reply.starts_with(b">"));
            if expected == Got::End {
                return Ok(number);
            }
        }
        Ok(count)
    }
}

/// Waits until both servers count the same blocked clients and subscriptions: a client that is
/// gone is noticed behind respgate a moment later.
fn await_same(pair: &Pair) {
    let census = |server: &Server, prefix: &str| {
        let mut observer = server.observer();
        let names = ["c0", "c1", "c2", "c3"].map(|name| format!("{prefix}{name}"));
        let mut count = |what: &str| {
            let words: Vec<&str> =
                ["PUBSUB", what].into_iter().chain(names.iter().map(String::as_str)).collect();
            let reply = String::from_utf8(observer.ask(&words)).unwrap();
            let numbers = reply.lines().filter(|line| line.starts_with(':'));
            numbers.map(str::to_owned).collect::<Vec<_>>()
        };
        let subscribed = [count("NUMSUB"), count("SHARDNUMSUB")];
        let patterns = observer.ask(&["PUBSUB", "NUMPAT"]);
        (subscribed, patterns, server.info("clients", "blocked_clients"))
    };
    let prefix = if pair.has_prefix { PREFIX_TEXT } else { "" };
    wait_until("both servers count the same", || {
        census(&pair.straight, "") == census(&pair.behind, prefix)
    });
}

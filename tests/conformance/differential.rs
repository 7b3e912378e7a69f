//! Sends the same to a server and to a respgate before such a server, and compares the replies byte for byte.
//!
//! Owns: how a scenario is played. Never knows: what the replies mean (`tests/conformance/differential/*.txt`
//! hold the scenarios, `support/allowed.rs` the differences that are right).
use crate::support;
mod states;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use support::allowed::{in_any_order, normalise};
use support::client::{Client, Got, PATIENCE, encode, show};
use support::pair::{Pair, Shape};
use support::prefixed::{SCENARIOS, translate};
use support::real_server::{Brand, Server, wait_until};
use support::script::{Line, Scenario, Step, parse};

/// How long silence is watched before it is believed.
const QUIET: Duration = Duration::from_millis(40);

/// How long unrequested data is waited for after every scenario.
const QUIET_AT_END: Duration = Duration::from_millis(4);

/// A run ends once it has found this many.
const DIFFERENCES_MAX: usize = 40;

/// Between the two halves of a request that is cut: long enough to be two reads for the other side.
const CUT_PAUSE: Duration = Duration::from_micros(200);

type Words = Vec<Vec<u8>>;
type Difference = String;

#[test]
fn redis_through_mutual_tls() {
    play_all(Brand::Redis, true, Shape::Shared);
}

#[test]
fn redis_through_a_unix_socket() {
    play_all(Brand::Redis, true, Shape::Unix);
}

#[test]
fn redis_with_a_connection_for_each_session() {
    play_all(Brand::Redis, true, Shape::Session);
}

#[test]
fn valkey_in_plaintext() {
    if Brand::Valkey.available() {
        play_all(Brand::Valkey, false, Shape::Shared);
    }
}

#[test]
fn redis_with_a_prefix_before_every_name() {
    play_all(Brand::Redis, true, Shape::Prefixed);
}

#[test]
fn valkey_with_a_prefix_before_every_name() {
    if Brand::Valkey.available() {
        play_all(Brand::Valkey, false, Shape::Prefixed);
    }
}

/// Requests cut at every byte: scenarios with the tag `cut`, each cut at each place.
#[test]
fn cut_anywhere() {
    let pair = Pair::new(Brand::Redis, true, Shape::Shared);
    let mut differences = Vec::new();
    for scenario in scenarios().iter().filter(|scenario| scenario.has("cut")) {
        pair.reset();
        let words: Vec<&Words> = scenario.steps.iter().map(|line| words_of(&line.step)).collect();
        let whole: Vec<u8> = words.iter().flat_map(|words| encode(words)).collect();
        let (mut straight, mut through) = pair.clients();
        for cut in 1..whole.len() {
            straight.send_raw(&whole);
            through.send_raw(&whole[..cut]);
            std::thread::sleep(CUT_PAUSE);
            through.send_raw(&whole[cut..]);
            let same = words.iter().all(|words| {
                let (expected, got) = (straight.next(PATIENCE), through.next(PATIENCE));
                let view = |got: &Got| match got {
                    Got::Reply(reply) => Some(normalise(words, reply)),
                    Got::Silence | Got::End => None,
                };
                view(&expected).is_some() && view(&expected) == view(&got)
            });
            if !same {
                differences.push(format!("{} {} cut at {cut}", scenario.place, scenario.name));
                break;
            }
        }
    }
    report(&pair, differences);
}

fn words_of(step: &Step) -> &Words {
    match step {
        Step::Command { words, read: 1, .. } => words,
        other => panic!("only plain commands can be cut: {other:?}"),
    }
}

fn scenarios() -> Vec<Scenario> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/differential");
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let only = std::env::var("RESPGATE_TEST_ONLY").unwrap_or_default();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        parse(&name, &std::fs::read_to_string(path).unwrap())
    };
    let mut all: Vec<Scenario> = files.iter().flat_map(read).collect();
    all.retain(|one| format!("{} {}", one.place, one.name).contains(&only));
    assert!(!all.is_empty(), "no scenario with {only:?} in its name");
    all
}

/// Plays every scenario in both protocols; `RESPGATE_TEST_ONLY` chooses by place and name.
fn play_all(brand: Brand, tls: bool, shape: Shape) {
    let pair = Pair::new(brand, tls, shape);
    let mut differences = Vec::new();
    let other = if brand == Brand::Redis { "valkey" } else { "redis" };
    let mut scenarios = scenarios();
    scenarios.retain(|scenario| !scenario.has(other));
    if let Shape::Prefixed = shape {
        scenarios.retain(|one| SCENARIOS.iter().all(|(name, _)| *name != one.name));
        for line in scenarios.iter_mut().flat_map(|scenario| &mut scenario.steps) {
            replace_words(&mut line.step);
        }
    }
    for scenario in &scenarios {
        for protocol in ["2", "3"] {
            let unwanted = if protocol == "2" { "resp3" } else { "resp2" };
            if scenario.has(unwanted) {
                continue;
            }
            if let Err(difference) = Play::new(&pair, protocol).scenario(scenario) {
                differences.push(format!("RESP{protocol} {}: {difference}", scenario.name));
                if differences.len() == DIFFERENCES_MAX {
                    return report(&pair, differences);
                }
            }
        }
    }
    report(&pair, differences);
}

/// Replaces words that a client with a prefix may not send.
fn replace_words(step: &mut Step) {
    let (Step::Command { words, .. } | Step::Many { words, .. } | Step::Aside { words, .. }) = step
    else {
        return;
    };
    match translate(words) {
        Some(other) => *words = other,
        None => *step = Step::Pause(0),
    }
}

fn report(pair: &Pair, differences: Vec<Difference>) {
    let count = differences.len();
    for difference in differences {
        eprintln!("[{}] {difference}\n", pair.version());
    }
    assert_eq!(count, 0, "scenarios that differ ({})", pair.version());
}

/// One client on both sides, and the commands whose replies are due.
struct Both {
    straight: Client,
    through: Client,
    due: VecDeque<Words>,
    aside: Vec<u8>,
    aside_count: usize,
}

/// One scenario being played.
struct Play<'a> {
    pair: &'a Pair,
    protocol: &'static str,
    clients: BTreeMap<char, Both>,
}

impl<'a> Play<'a> {
    fn new(pair: &'a Pair, protocol: &'static str) -> Self {
        Self { pair, protocol, clients: BTreeMap::new() }
    }

    fn scenario(mut self, scenario: &Scenario) -> Result<(), Difference> {
        self.pair.reset();
        let file = scenario.place.split(':').next().unwrap();
        for line in &scenario.steps {
            self.step(line).map_err(|difference| {
                format!("{file}:{}: {}\n{difference}", line.number, line.text)
            })?;
        }
        for (name, both) in &mut self.clients {
            both.quiet(QUIET_AT_END).map_err(|difference| {
                format!("{}: at the end, client {name}\n{difference}", scenario.place)
            })?;
        }
        self.clients.clear();
        for server in [&self.pair.straight, &self.pair.behind] {
            server.await_blocked(0);
        }
        Ok(())
    }

    fn step(&mut self, line: &Line) -> Result<(), Difference> {
        match &line.step {
            Step::Command { client, words, read, any_order } => {
                let both = self.client(*client)?;
                both.send(words, encode(words))?;
                both.read(*read, *any_order)
            }
            Step::Many { client, count, words } => {
                let both = self.client(*client)?;
                let all: Vec<Words> = (0..*count).map(|number| numbered(words, number)).collect();
                let bytes = all.iter().flat_map(|words| encode(words)).collect();
                both.send_many(all, bytes)?;
                both.read(*count, false)
            }
            Step::Aside { client, words } => {
                let both = self.client(*client)?;
                both.aside.extend(encode(words));
                both.aside_count += 1;
                both.due.push_back(words.clone());
                Ok(())
            }
            Step::Raw { client, bytes, read } => {
                let both = self.client(*client)?;
                both.send_many(Vec::new(), bytes.clone())?;
                both.read(*read, false)
            }
            Step::Read { client, count } => self.client(*client)?.read(*count, false),
            Step::Quiet { client } => self.client(*client)?.quiet(QUIET),
            Step::End { client } => self.client(*client)?.end(),
            Step::Leave { client } => {
                let count = || self.pair.straight.info("clients", "connected_clients");
                let before = count();
                self.clients.remove(client);
                wait_until("the server has noticed", || count() < before);
                let [straight, behind] = [&self.pair.straight, &self.pair.behind];
                wait_until("both servers have the same subscriptions", || {
                    subscriptions(straight) == subscriptions(behind)
                });
                Ok(())
            }
            Step::Blocked(count) => {
                self.pair.straight.await_blocked(*count);
                self.pair.behind.await_blocked(*count);
                Ok(())
            }
            Step::Pause(milliseconds) => {
                std::thread::sleep(Duration::from_millis(*milliseconds));
                Ok(())
            }
        }
    }

    fn client(&mut self, name: char) -> Result<&mut Both, Difference> {
        if !self.clients.contains_key(&name) {
            let (straight, through) = self.pair.clients();
            let (due, aside) = (VecDeque::new(), Vec::new());
            let mut both = Both { straight, through, due, aside, aside_count: 0 };
            if self.protocol == "3" {
                let words = vec![b"HELLO".to_vec(), b"3".to_vec()];
                both.send(&words, encode(&words))?;
                both.read(1, false)?;
            }
            self.clients.insert(name, both);
        }
        Ok(self.clients.get_mut(&name).unwrap())
    }
}

/// How many channels and patterns a server has subscribers of.
fn subscriptions(server: &Server) -> Vec<usize> {
    let mut observer = server.observer();
    let mut lines = |what: &str| observer.ask_text(&["PUBSUB", what]).lines().count();
    let counts = ["CHANNELS", "SHARDCHANNELS"].map(&mut lines);
    let patterns = observer.ask_text(&["PUBSUB", "NUMPAT"]);
    let patterns = patterns.trim_start_matches(':').parse().unwrap();
    counts.into_iter().chain([patterns]).collect()
}

impl Both {
    fn send(&mut self, words: &Words, bytes: Vec<u8>) -> Result<(), Difference> {
        self.send_many(vec![words.clone()], bytes)
    }

    /// Sends what was put aside and these bytes in one write, and reads the replies of the former.
    fn send_many(&mut self, due: Vec<Words>, bytes: Vec<u8>) -> Result<(), Difference> {
        let before = std::mem::take(&mut self.aside_count);
        let mut all = std::mem::take(&mut self.aside);
        all.extend(bytes);
        self.due.extend(due);
        self.straight.send_raw(&all);
        self.through.send_raw(&all);
        self.read(before, false)
    }

    fn read(&mut self, count: usize, any_order: bool) -> Result<(), Difference> {
        let mut pools = (Vec::new(), Vec::new());
        for _ in 0..count {
            let expected = self.straight.next(PATIENCE);
            let got = self.through.next(PATIENCE);
            let (Got::Reply(expected), Got::Reply(got)) = (&expected, &got) else {
                return Err(differs(&expected, &got));
            };
            let is_push = expected.starts_with(b">");
            let words = if is_push { None } else { self.due.pop_front() }.unwrap_or_default();
            if any_order {
                pools.0.push(expected.clone());
                pools.1.push(got.clone());
            } else if expected != got && normalise(&words, expected) != normalise(&words, got) {
                return Err(differs(&Got::Reply(expected.clone()), &Got::Reply(got.clone())));
            }
        }
        if in_any_order(&pools.0) == in_any_order(&pools.1) {
            return Ok(());
        }
        Err(differs(&Got::Reply(pools.0.concat()), &Got::Reply(pools.1.concat())))
    }

    fn quiet(&mut self, time: Duration) -> Result<(), Difference> {
        let (expected, got) = (self.straight.next(time), self.through.next(time));
        if expected == got { Ok(()) } else { Err(differs(&expected, &got)) }
    }

    fn end(&mut self) -> Result<(), Difference> {
        match (self.straight.next(PATIENCE), self.through.next(PATIENCE)) {
            (Got::End, Got::End) => Ok(()),
            (expected, got) => Err(differs(&expected, &got)),
        }
    }
}

fn differs(expected: &Got, got: &Got) -> Difference {
    let text = |got: &Got| match got {
        Got::Reply(reply) => show(reply),
        other => format!("({other:?})"),
    };
    format!("  straight: {}\n  respgate: {}", text(expected), text(got))
}

fn numbered(words: &Words, number: usize) -> Words {
    let digits = number.to_string().into_bytes();
    let replace = |word: &Vec<u8>| match word.windows(3).position(|window| window == b"{i}") {
        Some(at) => [&word[..at], &digits, &word[at + 3..]].concat(),
        None => word.clone(),
    };
    words.iter().map(replace).collect()
}

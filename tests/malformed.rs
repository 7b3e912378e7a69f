//! Malformed and odd requests from a seed, to a Redis straight and through respgate: the same bytes
//! come back, and the connection stays or closes alike.
//!
//! Owns: how inputs are played, many at once. Never knows: what they are (`malformed/input.rs`).
//!
//! `RESPGATE_SEED=7` plays that input alone and shows it; `RESPGATE_SEEDS=20000` plays more.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may crash"
)]

#[path = "malformed/input.rs"]
mod input;
mod support;

use std::time::Duration;

use input::Input;
use respgate::base::clock::now;
use support::client::{Client, PATIENCE, show};
use support::pair::{Pair, Shape};
use support::prng::Prng;
use support::real_server::Brand;

const SEEDS: u64 = 4000;
/// Connections of one side at once.
const BATCH: usize = 100;
/// Between the pieces of an input: long enough to be several reads on the other side.
const CUT_PAUSE: Duration = Duration::from_micros(150);
/// Rounds of a client of its own, after which the server has read what others have sent before.
const BARRIER_ROUNDS: usize = 12;
/// A run that finds this many tells enough.
const DIFFERENCES_MAX: usize = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn answers_are_those_of_redis() {
    let seeds: Vec<u64> = match number("RESPGATE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("RESPGATE_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let pair = Pair::new(Brand::Redis, false, Shape::Shared);
    let mut differences = Vec::new();
    for batch in seeds.chunks(BATCH) {
        let inputs: Vec<Input> =
            batch.iter().map(|seed| Input::new(*seed, &mut Prng::new(*seed))).collect();
        if seeds.len() == 1 {
            for piece in &inputs[0].pieces {
                eprintln!("{}: {}", inputs[0].kind, show(piece));
            }
        }
        differences.extend(play(&pair, &inputs));
        if differences.len() >= DIFFERENCES_MAX {
            break;
        }
    }
    assert!(differences.is_empty(), "{}\n{} differ", differences.join("\n"), differences.len());
}

/// What one side has said to one input so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    bytes: Vec<u8>,
    ended: bool,
}

impl Said {
    fn hear(&mut self, client: &mut Client, quiet: Duration) {
        if !self.ended {
            let (bytes, ended) = client.drain(quiet);
            self.bytes.extend(bytes);
            self.ended = ended;
        }
    }
}

struct Side {
    clients: Vec<Client>,
    said: Vec<Said>,
}

impl Side {
    fn new(connect: impl Fn() -> Client, count: usize) -> Self {
        let clients = (0..count).map(|_| connect()).collect();
        Self { clients, said: (0..count).map(|_| Said::default()).collect() }
    }

    fn hear(&mut self) {
        for (client, said) in self.clients.iter_mut().zip(&mut self.said) {
            said.hear(client, Duration::ZERO);
        }
    }
}

/// Sends every input on a connection of its own to both sides; what differs.
fn play(pair: &Pair, inputs: &[Input]) -> Vec<String> {
    let straight_target = pair.straight.target();
    let connect = || Client::connect(&straight_target).unwrap();
    let mut straight = Side::new(connect, inputs.len());
    let through = pair.through();
    let mut behind = Side::new(|| Client::connect(&through).unwrap(), inputs.len());
    let longest = inputs.iter().map(|input| input.pieces.len()).max().unwrap_or(0);
    for at in 0..longest {
        for (index, input) in inputs.iter().enumerate() {
            if let Some(piece) = input.pieces.get(at) {
                straight.clients[index].send_raw(piece);
                behind.clients[index].send_raw(piece);
            }
        }
        std::thread::sleep(CUT_PAUSE);
    }
    let barrier = |client: &mut Client| {
        for _ in 0..BARRIER_ROUNDS {
            assert_eq!(client.ask(&["EXISTS", "none"]), b":0\r\n");
        }
    };
    let (mut one, mut other) = pair.clients();
    barrier(&mut one);
    straight.hear();
    let deadline = now() + PATIENCE;
    loop {
        barrier(&mut other);
        behind.hear();
        straight.hear();
        if straight.said == behind.said || now() >= deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let closed: Vec<(bool, bool)> = straight
        .said
        .iter()
        .zip(&behind.said)
        .map(|(one, other)| (one.ended, other.ended))
        .collect();
    // What is unfinished stays so; everything before it is answered, and both sides close.
    for side in [&mut straight, &mut behind] {
        side.clients.iter().for_each(Client::finish);
        for (client, said) in side.clients.iter_mut().zip(&mut side.said) {
            said.hear(client, PATIENCE);
        }
    }
    let mut differences = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let (one, other) = (&straight.said[index], &behind.said[index]);
        let (by_one, by_other) = closed[index];
        if one != other || by_one != by_other {
            differences.push(format!(
                "RESPGATE_SEED={} ({}): {}\n  redis    {} closes: {by_one}\n  respgate {} closes: {by_other}",
                input.seed,
                input.kind,
                show(&input.pieces.concat()),
                show(&one.bytes),
                show(&other.bytes),
            ));
        }
    }
    differences
}

//! Malformed and odd requests from a seed, to a Redis straight and through respgate: the same bytes
//! come back, and the connection stays or closes alike.
//!
//! Owns: how inputs are played, many at once. Never knows: what they are (`malformed/input.rs`).
//!
//! `RESPGATE_SEED=7` plays that input alone and shows it; `RESPGATE_SEEDS=20000` or `5000..9000` plays others.
use crate::support;
mod input;
mod tap;

use std::ops::Range;
use std::time::Duration;

use input::Input;
use respgate::internals::base::clock::now;
use support::choices::Choices;
use support::client::{Client, PATIENCE, Target, show};
use support::pair::{Pair, Shape};
use support::proxy::{OPEN_POLICY, Proxy, configuration, directory, listener};
use support::real_server::{Brand, Server, free_port};
use support::seeds::{number, range};
use tap::Tap;

const SEEDS: u64 = 4000;
/// Connections of one side at once.
const BATCH: usize = 100;
/// Between the pieces of an input: long enough to be several reads on the other side.
const CUT_PAUSE: Duration = Duration::from_micros(150);
/// Rounds of a client of its own, after which the server has read what others have sent before.
const BARRIER_ROUNDS: usize = 12;
/// A run ends once it has found this many.
const DIFFERENCES_MAX: usize = 20;

/// A server, and a respgate before another of its kind.
struct Sides {
    straight: Target,
    through: Target,
    /// A client waits for a connection of its own before its first command, and what Redis forgets at
    /// an attack is written by then.
    waits: bool,
}

#[test]
fn answers_are_those_of_redis() {
    let pair = Pair::new(Brand::Redis, false, Shape::Shared);
    let sides = Sides { straight: pair.straight.target(), through: pair.through(), waits: false };
    play_all(&sides, range(SEEDS), false);
}

#[test]
fn answers_of_a_connection_for_each_session_are_those_of_redis() {
    let pair = Pair::new(Brand::Redis, true, Shape::Session);
    let sides = Sides { straight: pair.straight.target(), through: pair.through(), waits: true };
    play_all(&sides, 100_000..100_000 + SEEDS / 10, false);
}

/// A client that is not logged in has limits of its own.
#[test]
fn answers_to_strangers_are_those_of_redis() {
    let straight = Server::plain(Brand::Redis);
    let set = &["CONFIG", "SET", "requirepass", "secret"];
    assert_eq!(straight.observer().ask(set), b"+OK\r\n");
    let behind = Server::plain(Brand::Redis);
    let directory = directory();
    let file = directory.path().join("password");
    std::fs::write(&file, "secret").unwrap();
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let listener = listener(&target, &format!("password_file = {file:?}"));
    let text = configuration(&behind, &listener, OPEN_POLICY, telemetry);
    let proxy = Proxy::configured(directory, target, telemetry, &text);
    let sides =
        Sides { straight: straight.target(), through: proxy.target().clone(), waits: false };
    play_all(&sides, 200_000..200_000 + SEEDS / 4, true);
}

/// Whatever clients send, the server gets requests in their canonical form and nothing else.
#[test]
fn canonical_requests_alone_reach_the_server() {
    let (straight, behind) = (Server::plain(Brand::Redis), Server::plain(Brand::Redis));
    let tap = Tap::before(behind.port);
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let text = configuration(&behind, &listener(&target, ""), OPEN_POLICY, telemetry);
    let address = |port: u16| format!("localhost:{port}");
    let text = text.replace(&address(behind.port), &address(tap.port));
    let proxy = Proxy::configured(directory(), target, telemetry, &text);
    let through = proxy.target().clone();
    let sides = Sides { straight: straight.target(), through, waits: false };
    play_all(&sides, 300_000..300_000 + SEEDS / 4, false);
    let sent = tap.sent();
    let requests: usize = sent.iter().map(|bytes| canonical_requests(bytes)).sum();
    assert!(requests > 500, "{requests}");
}

/// How many requests `bytes` are; the last may be cut off, but only where it could go on.
fn canonical_requests(bytes: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let Some(args) = number_line(bytes, &mut at, b'*') else { return count };
        for _ in 0..args {
            let Some(length) = number_line(bytes, &mut at, b'$') else { return count };
            let behind = bytes.get(at + length..).unwrap_or_default();
            assert!(b"\r\n".starts_with(&behind[..behind.len().min(2)]), "{}", show(&bytes[at..]));
            at += length + 2;
        }
        count += 1;
    }
    count
}

/// The number in the line at `at`, which must be spelled as it would be written; `None`: it is cut.
fn number_line(bytes: &[u8], at: &mut usize, kind: u8) -> Option<usize> {
    let rest = bytes.get(*at..).filter(|rest| !rest.is_empty())?;
    assert_eq!(rest[0], kind, "{}", show(rest));
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let text = std::str::from_utf8(&rest[1..end]).unwrap();
    let number: usize = text.parse().unwrap();
    assert_eq!(number.to_string(), text);
    *at += end + 2;
    Some(number)
}

/// `strangers`: some of the clients send a password first.
fn play_all(sides: &Sides, seeds: Range<u64>, strangers: bool) {
    let seeds: Vec<u64> = match number("RESPGATE_SEED") {
        Some(seed) => vec![seed],
        None => seeds.collect(),
    };
    let mut differences = Vec::new();
    for batch in seeds.chunks(BATCH) {
        let inputs: Vec<Input> = batch
            .iter()
            .map(|seed| Input::new(*seed, strangers, &mut Choices::from_seed(*seed)))
            .collect();
        if seeds.len() == 1 {
            for piece in &inputs[0].pieces {
                eprintln!("{}: {}", inputs[0].kind, show(piece));
            }
        }
        differences.extend(play(sides, &inputs));
        if differences.len() >= DIFFERENCES_MAX {
            break;
        }
    }
    assert!(differences.is_empty(), "{}\n{} differ", differences.join("\n"), differences.len());
}

/// What one side has replied to one input so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Replies {
    bytes: Vec<u8>,
    ended: bool,
}

impl Replies {
    fn receive(&mut self, client: &mut Client, quiet: Duration) {
        if !self.ended {
            let (bytes, ended) = client.drain(quiet);
            self.bytes.extend(bytes);
            self.ended = ended;
        }
    }
}

struct Side {
    clients: Vec<Client>,
    replies: Vec<Replies>,
}

impl Side {
    fn new(connect: impl Fn() -> Client, count: usize) -> Self {
        let clients = (0..count).map(|_| connect()).collect();
        Self { clients, replies: (0..count).map(|_| Replies::default()).collect() }
    }

    fn receive(&mut self) {
        for (client, replies) in self.clients.iter_mut().zip(&mut self.replies) {
            replies.receive(client, Duration::ZERO);
        }
    }
}

/// Whether the replies of both sides to one input are those that they should be.
fn agree(sides: &Sides, input: &Input, one: &Replies, other: &Replies) -> bool {
    if sides.waits && input.kind == "HTTP" {
        return one.ended == other.ended && other.bytes.starts_with(&one.bytes);
    }
    one == other
}

/// Sends every input on a connection of its own to both sides; what differs.
fn play(sides: &Sides, inputs: &[Input]) -> Vec<String> {
    let connect = |target: &Target| Client::connect(target).unwrap();
    let mut straight = Side::new(|| connect(&sides.straight), inputs.len());
    let mut behind = Side::new(|| connect(&sides.through), inputs.len());
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
            client.ask(&["EXISTS", "none"]);
        }
    };
    let (mut one, mut other) = (connect(&sides.straight), connect(&sides.through));
    barrier(&mut one);
    straight.receive();
    let deadline = now() + PATIENCE;
    loop {
        barrier(&mut other);
        behind.receive();
        straight.receive();
        let agree = (inputs.iter().zip(&straight.replies).zip(&behind.replies))
            .all(|((input, one), other)| agree(sides, input, one, other));
        if agree || now() >= deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let closed: Vec<(bool, bool)> = straight
        .replies
        .iter()
        .zip(&behind.replies)
        .map(|(one, other)| (one.ended, other.ended))
        .collect();
    // What is unfinished stays so; everything before it is answered, and both sides close.
    for side in [&mut straight, &mut behind] {
        side.clients.iter().for_each(Client::finish);
        for (client, replies) in side.clients.iter_mut().zip(&mut side.replies) {
            replies.receive(client, PATIENCE);
        }
    }
    let mut differences = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let (one, other) = (&straight.replies[index], &behind.replies[index]);
        let (by_one, by_other) = closed[index];
        if !agree(sides, input, one, other) || by_one != by_other {
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

//! Clients that mean harm: memory stays bounded, and all other clients are served.
//!
//! Owns: the attacks and their bounds. Never knows: how respgate defends itself.
use crate::support;
use std::time::Duration;

use respgate::internals::base::clock::now;
use support::client::{Client, Got, PATIENCE, encode};
use support::proxy::Proxy;
use support::real_server::{Brand, Server, wait_until};

const MIB: u64 = 1 << 20;

/// What a command may take while an attack goes on; a build without optimisation is ten times as slow.
const PROMPT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 5 });

/// A server, respgate before it, and what the process weighed before the attack.
struct Scene {
    server: Server,
    proxy: Proxy,
    before: u64,
}

impl Scene {
    fn new(sections: &str) -> Self {
        let server = Server::mutual_tls(Brand::Redis);
        let proxy = Proxy::before(&server, sections);
        let before = proxy.memory("VmRSS");
        Self { server, proxy, before }
    }

    /// An innocent client is served, each command within [`PROMPT`].
    fn assert_others_are_served(&self) {
        let mut client = self.proxy.client();
        for number in 0..50 {
            let (key, value) = (format!("innocent:{number}"), number.to_string());
            let start = now();
            assert_eq!(client.ask(&["SET", &key, &value]), b"+OK\r\n");
            assert_eq!(client.ask_text(&["GET", &key]).lines().last(), Some(&*value));
            assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
        }
    }

    /// The most the process has weighed since the attack began, beyond what it weighed before.
    fn assert_growth_below(&self, bound: u64) {
        let growth = self.proxy.memory("VmHWM").saturating_sub(self.before);
        assert!(growth < bound, "{} MiB more, {} allowed", growth / MIB, bound / MIB);
    }

    fn attackers(&self, count: usize) -> Vec<Client> {
        (0..count).map(|_| self.proxy.client()).collect()
    }

    fn calls(&self, command: &str) -> bool {
        let stats = self.server.observer().ask_text(&["INFO", "commandstats"]);
        stats.contains(&format!("cmdstat_{command}:"))
    }
}

/// A length that is announced costs nothing.
#[test]
fn announced_arrays() {
    let scene = Scene::new("");
    let mut attackers = scene.attackers(200);
    for attacker in &mut attackers {
        attacker.send_raw(b"*1048576\r\n$3\r\nSET\r\n$536870912\r\nx");
    }
    scene.assert_others_are_served();
    scene.assert_growth_below(40 * MIB);
}

/// Announced arrays that are filled with small arguments: what is kept is near what was sent.
#[test]
fn array_bomb() {
    let scene = Scene::new("");
    let mut attackers = scene.attackers(100);
    let mut bomb = b"*1048576\r\n".to_vec();
    for _ in 0..20_000 {
        bomb.extend_from_slice(b"$3\r\nSET\r\n");
    }
    let sent = u64::try_from(bomb.len() * attackers.len()).unwrap();
    for attacker in &mut attackers {
        attacker.send_raw(&bomb);
    }
    scene.assert_others_are_served();
    scene.assert_growth_below(6 * sent + 40 * MIB);
}

/// The budget of all buffers holds whatever is sent.
#[test]
fn budget_holds_against_many_half_commands() {
    let scene = Scene::new("[limits]\nmemory_budget = \"64MiB\"\nlarge = \"16MiB\"\n");
    let mut attackers = scene.attackers(40);
    let mut half = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000000\r\n".to_vec();
    half.resize(6_000_000, b'x');
    for attacker in &mut attackers {
        attacker.send_raw(&half);
    }
    scene.assert_others_are_served();
    std::thread::sleep(Duration::from_millis(500));
    scene.assert_others_are_served();
    scene.assert_growth_below(64 * MIB + 80 * MIB);
}

#[test]
fn nested_requests() {
    let scene = Scene::new("");
    let mut client = scene.proxy.client();
    client.send_raw(&b"*1\r\n".repeat(100_000));
    let reply = client.reply();
    assert!(reply.starts_with(b"-ERR Protocol error"), "{}", reply.escape_ascii());
    scene.assert_others_are_served();
    scene.assert_growth_below(40 * MIB);
}

/// A reply deeper than any that a server gives to a decent command.
#[test]
fn nested_replies() {
    let scene = Scene::new("");
    let mut client = scene.proxy.client();
    let script = "local t = {} for i = 1, 6000 do t = {t} end return t";
    client.send(&["EVAL", script, "0"]);
    drop(client.drain(Duration::from_millis(300)));
    scene.assert_others_are_served();
}

/// A value over the limit is consumed, answered in its place, and the session goes on.
#[test]
fn oversize_values() {
    let scene = Scene::new("[limits]\nmax_bulk = \"1MiB\"\n");
    let mut client = scene.proxy.client();
    let big = "x".repeat(40 << 20);
    for _ in 0..3 {
        client.send(&["ECHO", "before"]);
        assert_eq!(client.reply(), b"$6\r\nbefore\r\n");
        client.send(&["SET", "big", &big]);
        let reply = client.reply();
        assert!(reply.starts_with(b"-ERR"), "{}", reply.escape_ascii());
        assert_eq!(client.ask(&["EXISTS", "big"]), b":0\r\n");
    }
    scene.assert_growth_below(40 * MIB);
}

/// Large values pass without being stored, whatever their size.
#[test]
fn large_values_are_streamed() {
    let scene = Scene::new("[limits]\nmax_bulk = \"512MiB\"\n");
    let mut client = scene.proxy.client();
    let big = "x".repeat(150 << 20);
    client.send(&["SET", "big", &big]);
    assert_eq!(client.next(PATIENCE * 4), Got::Reply(b"+OK\r\n".to_vec()));
    client.send(&["GET", "big"]);
    let Got::Reply(reply) = client.next(PATIENCE * 4) else { panic!("no value") };
    assert_eq!(reply.len(), big.len() + "$157286400\r\n\r\n".len());
    scene.assert_growth_below(100 * MIB);
}

/// Clients that ask for 400 MB each and read nothing.
#[test]
fn slow_readers() {
    let scene = Scene::new("");
    let value = "x".repeat(1 << 20);
    assert_eq!(scene.proxy.client().ask(&["SET", "big", &value]), b"+OK\r\n");
    let mut attackers = scene.attackers(5);
    for attacker in &mut attackers {
        attacker.send_raw(&encode(&["GET", "big"]).repeat(400));
    }
    scene.assert_others_are_served();
    std::thread::sleep(Duration::from_secs(1));
    scene.assert_others_are_served();
    scene.assert_growth_below(200 * MIB);
}

/// Slow readers of replies that are small enough for the shared connections.
#[test]
fn slow_readers_of_small_replies() {
    let scene = Scene::new("[limits]\noutput_hard = \"4MiB\"\noutput_soft = \"1MiB\"\n");
    let value = "x".repeat(10_000);
    assert_eq!(scene.proxy.client().ask(&["SET", "small", &value]), b"+OK\r\n");
    let mut attackers = scene.attackers(20);
    for attacker in &mut attackers {
        attacker.send_raw(&encode(&["GET", "small"]).repeat(5_000));
    }
    scene.assert_others_are_served();
    std::thread::sleep(Duration::from_secs(1));
    scene.assert_others_are_served();
    scene.assert_growth_below(20 * 4 * MIB + 60 * MIB);
}

/// A subscriber that reads nothing while others publish.
#[test]
fn slow_subscriber() {
    let scene = Scene::new("[limits]\noutput_hard = \"4MiB\"\noutput_soft = \"1MiB\"\n");
    let mut attackers = scene.attackers(5);
    for attacker in &mut attackers {
        attacker.ask(&["SUBSCRIBE", "news"]);
    }
    let mut publisher = scene.proxy.client();
    let message = "x".repeat(50_000);
    for _ in 0..1_000 {
        publisher.send(&["PUBLISH", "news", &message]);
        assert!(publisher.reply().starts_with(b":"));
    }
    scene.assert_others_are_served();
    scene.assert_growth_below(5 * 4 * MIB + 60 * MIB);
}

/// Commands that come a byte at a time from many clients.
#[test]
fn slow_writers() {
    let scene = Scene::new("");
    let mut attackers = scene.attackers(300);
    let command = encode(&["SET", "slow", "v"]);
    for byte in &command {
        for attacker in &mut attackers {
            attacker.send_raw(&[*byte]);
        }
        if *byte == b'$' {
            scene.assert_others_are_served();
        }
    }
    for attacker in &mut attackers {
        assert_eq!(attacker.reply(), b"+OK\r\n");
    }
    scene.assert_growth_below(40 * MIB);
}

/// One client's endless pipeline does not starve another.
#[test]
fn huge_pipeline() {
    let scene = Scene::new("");
    let mut greedy = scene.proxy.client();
    let count = 300_000;
    greedy.send_raw(&encode(&["INCR", "n"]).repeat(count));
    scene.assert_others_are_served();
    for number in 1..=count {
        assert_eq!(greedy.reply(), format!(":{number}\r\n").as_bytes());
    }
    scene.assert_growth_below(80 * MIB);
}

/// What a browser can be made to send closes the connection, and nothing of it is run.
#[test]
fn cross_protocol() {
    let scene = Scene::new("");
    for first in ["POST / HTTP/1.1\r\n", "Host: localhost\r\n", "host: localhost\r\n"] {
        let mut client = scene.proxy.client();
        client.send_raw(format!("{first}\r\nLPUSH attack x\r\n").as_bytes());
        loop {
            match client.next(PATIENCE) {
                Got::End => break,
                Got::Reply(reply) => assert!(reply.starts_with(b"-"), "{}", reply.escape_ascii()),
                Got::Silence => panic!("{first:?} does not close the connection"),
            }
        }
    }
    assert!(!scene.calls("lpush"));
    scene.assert_others_are_served();
}

/// Clients that come and go do not add up.
#[test]
fn connection_churn() {
    let scene = Scene::new("");
    for round in 0..60 {
        let mut clients = scene.attackers(50);
        for client in &mut clients {
            client.send(match round % 5 {
                0 => &["BLPOP", "none", "0"],
                1 => &["SUBSCRIBE", "none"],
                2 => &["WATCH", "none"],
                3 => &["MULTI"],
                _ => &["GET", "none"],
            });
        }
    }
    scene.assert_others_are_served();
    wait_until("no client is blocked any more", || {
        scene.server.info("clients", "blocked_clients") == 0
    });
    wait_until("pinned connections are given back", || {
        scene.server.info("clients", "connected_clients") < 40
    });
    scene.assert_growth_below(60 * MIB);
}

//! What bounds the load that recovery puts on a server: commands sent again, attempts to connect, handshakes at
//! once, the age of connections.
//!
//! Owns: the settings for it, each with its metric. Never knows: what clients receive.

use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::{Client, encode};
use super::support::fake_server::{FakeServer, Order};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};
use super::{QUICK, before, with_outage};

/// Reads of one client: no other connection relieves one of a request that its own client waits behind.
const READS: usize = 1200;
/// The budget is a part of what was sent in ten seconds.
const MEMORY: Duration = Duration::from_secs(9);
/// What may be sent again however little was sent before.
const RESERVE: usize = 1024;

fn metric(proxy: &Proxy, series: &str) -> u64 {
    format!("{:.0}", proxy.metric(series)).parse().unwrap()
}

fn budget(proxy: &Proxy) -> u64 {
    metric(proxy, "respgate_upstream_retries_total{result=\"budget\"}")
}

/// Loses all reads so often, and returns how many of them were sent again; `None`: it took so long that the budget
/// has forgotten some of them.
fn sent_again(part: &str, losses: usize) -> Option<usize> {
    let server = FakeServer::start();
    server.order("GET k", Order::Never, usize::MAX);
    let patient = "on_outage = \"error\"\noutage_wait = \"10m\"";
    let pool = "stall_timeout = \"10m\"\ncommand_timeout = \"10m\"";
    let retry =
        format!("{QUICK}max_retries = 9\nbudget = {part}\n[limits]\nmax_in_flight = {}", 2 * READS);
    let proxy = with_outage(&server, patient, pool, &retry);
    let mut client = proxy.client();
    let begun = now();
    // With each reply a client may have one more request in flight.
    client.send_raw(&encode(&["SET", "k", "1"]).repeat(READS));
    (0..READS).for_each(|_| assert_eq!(client.reply(), b"+OK\r\n"));
    // What waits for a connection is written at once: silence holds nothing of it back.
    server.go_down();
    wait_until("the loss is noticed", || proxy.sum("respgate_upstream_disconnects_total") > 0.5);
    client.send_raw(&encode(&["GET", "k"]).repeat(READS));
    proxy.await_metric("respgate_upstream_queue_depth", |waiting| waiting > READS as f64 - 0.5);
    server.come_up();
    wait_until("all have come", || server.count("GET k") == READS);
    let again = || server.count("GET k") - READS;
    let mut in_flight = READS;
    let mut lost = 0;
    for _ in 0..losses {
        lost += in_flight;
        server.close_all();
        wait_until("each is sent again or given up", || {
            again() as u64 + budget(&proxy) == lost as u64
        });
        in_flight = READS - usize::try_from(budget(&proxy)).unwrap();
    }
    (begun.elapsed() < MEMORY).then(again)
}

#[test]
fn reads_beyond_the_budget_are_not_sent_again() {
    for (part, losses, again) in [("0", 1, RESERVE), ("0.3", 2, RESERVE + 2 * READS * 3 / 10)] {
        let sent = (0..10).find_map(|_| sent_again(part, losses));
        assert_eq!(sent, Some(again), "{part}");
    }
}

fn attempts(proxy: &Proxy) -> u64 {
    metric(proxy, "respgate_upstream_connects_total{result=\"tcp\"}")
}

#[test]
fn breaker_opens_after_its_failures_and_stays_open_for_its_time() {
    for failures in [1, 3] {
        let server = FakeServer::start();
        let breaker = format!("[upstream.breaker]\nfailures = {failures}\nopen_time = \"60s\"");
        let proxy = before(&server, "", &breaker);
        let mut client = proxy.client();
        assert_eq!(client.ask_text(&["SET", "k", "1"]), "+OK");
        server.go_down();
        let open = "respgate_circuit_state{state=\"open\"}";
        wait_until("it is open", || metric(&proxy, open) == 1);
        for words in [&["GET", "k"][..], &["WATCH", "k"], &["BLPOP", "q", "0"]] {
            assert!(client.ask_text(words).contains("upstream unavailable"), "{words:?}");
        }
        assert_eq!(attempts(&proxy), failures, "shared and pinned ones together");
    }
}

#[test]
fn handshakes_at_once_are_as_many_as_configured() {
    let server = FakeServer::start();
    let pool = "max_handshakes = 2\nconnect_timeout = \"60s\"\nacquire_timeout = \"60s\"";
    let proxy = before(&server, pool, "");
    let mut first = proxy.client();
    assert_eq!(first.ask_text(&["SET", "k", "1"]), "+OK");
    // A slow machine may have held the first reply up, for which another connection is dialed.
    let connecting = "respgate_upstream_connections{state=\"connecting\"}";
    wait_until("nothing is being made", || metric(&proxy, connecting) == 0);
    server.be_mute(true);
    let accepted = server.accepted();
    let mut clients: Vec<Client> = (0..12).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&["BLPOP", "q", "0"]));
    wait_until("two are being made", || metric(&proxy, connecting) == 2);
    wait_until("two are accepted", || server.accepted() >= accepted + 2);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((metric(&proxy, connecting), server.accepted() - accepted), (2, 2));
}

/// Several shared connections carry the clients in turn; each client's commands stay in order on one.
#[test]
fn shared_connections_are_as_many_as_configured() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "[upstream.pool]\nconnections = 3\nmin_idle = 0\n");
    let shared = "respgate_upstream_connections{state=\"shared\"}";
    let mut clients: Vec<Client> = (0..9).map(|_| proxy.client()).collect();
    for round in 1..=20 {
        for (number, client) in clients.iter_mut().enumerate() {
            let key = format!("n{number}");
            (0..3).for_each(|_| client.send(&["INCR", &key]));
            for step in 1..=3 {
                assert_eq!(client.reply(), format!(":{}\r\n", round * 3 - 3 + step).as_bytes());
            }
        }
    }
    assert_eq!(metric(&proxy, shared), 3);
    let ids = |server: &Server| {
        let list = server.observer().ask_text(&["CLIENT", "LIST"]);
        list.lines().filter(|line| line.contains("cmd=incr")).count()
    };
    assert_eq!(ids(&server), 3, "all of them carry commands");
    server.observer().ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    for client in &mut clients {
        wait_until("it is served again", || client.ask_text(&["GET", "n0"]) == "$2\r\n60");
    }
}

#[test]
fn pinned_connections_are_replaced_at_their_age() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "[upstream.pool]\nmin_idle = 3\nmax_age = \"1s\"\n");
    let old = "respgate_upstream_disconnects_total{reason=\"max_age\"}";
    let idle = "respgate_upstream_connections{state=\"pinned_idle\"}";
    wait_until("some were replaced", || metric(&proxy, old) >= 6 && metric(&proxy, idle) == 3);
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    assert_eq!(client.ask_text(&["UNWATCH"]), "+OK");
}

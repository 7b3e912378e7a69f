//! What bounds the load that recovery puts on a server: commands sent again, attempts to connect, handshakes at
//! once, the age of connections.
//!
//! Owns: the settings for it, each with its metric. Never knows: what clients receive.

use std::time::Duration;

use super::before;
use super::support::client::Client;
use super::support::fake_server::{FakeServer, Order};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};

/// Clients, and reads of each: fewer than a client that has just connected may have in flight.
const CLIENTS: usize = 40;
const READS: usize = 30;
const ALL: usize = CLIENTS * READS;
/// The first reply of a connection takes so long: silence that is no longer than some such times holds nothing back.
const SLOW: Duration = Duration::from_millis(300);
/// What may be sent again however little was sent before.
const RESERVE: usize = 1024;

fn reads(proxy: &Proxy) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(READS);
    clients.iter_mut().for_each(|client| client.send_raw(&bytes));
    clients
}

fn metric(proxy: &Proxy, series: &str) -> u64 {
    format!("{:.0}", proxy.metric(series)).parse().unwrap()
}

fn budget(proxy: &Proxy) -> u64 {
    metric(proxy, "respgate_upstream_retries_total{result=\"budget\"}")
}

#[test]
fn reads_beyond_the_budget_are_not_sent_again() {
    for (part, losses, again) in [("0", 1, RESERVE), ("0.3", 2, RESERVE + ALL * 3 / 10)] {
        let server = FakeServer::start();
        server.order("GET k", Order::Never, usize::MAX);
        let proxy = before(&server, "", &format!("max_retries = 9\nbudget = {part}"));
        server.order("SET slow", Order::Late(SLOW), 1);
        assert_eq!(proxy.client().ask_text(&["SET", "slow", "1"]), "+OK");
        let _clients = reads(&proxy);
        wait_until("all have come", || server.count("GET k") == ALL);
        for loss in 1..=losses {
            assert_eq!(budget(&proxy), 0);
            server.close_all();
            let sent = ALL + again.min(ALL * loss);
            wait_until("they are sent again", || server.count("GET k") == sent);
        }
        let lost = (ALL * losses - again) as u64;
        wait_until("the others are lost", || budget(&proxy) == lost);
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

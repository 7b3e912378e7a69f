//! Pinned connections are shared out: one use, user or listener leaves some to the others.
//!
//! Owns: the cases. Never knows: how many connections each use has.

use std::time::Duration;

use super::support::client::Target;
use super::support::proxy::{OPEN_POLICY, configuration, directory, listener};
use super::support::real_server::free_port;
use super::*;

/// A client and the command for which it needs a pinned connection.
type Holder = (Client, &'static [&'static str]);

const BLOCK: &[&str] = &["BLPOP", "q", "0"];

/// All the pinned connections that this use can have are requested.
fn take_all(proxy: &Proxy, words: &'static [&'static str], count: usize) -> Vec<Holder> {
    let mut holders: Vec<Holder> = (0..count).map(|_| (proxy.client(), words)).collect();
    holders.iter_mut().for_each(|(client, words)| client.send(words));
    holders
}

/// Waits until so many pinned connections are in use. A machine may be too slow to make all of them within
/// `acquire_timeout`: a client without one requests it again.
fn await_leased(proxy: &Proxy, holders: &mut [Holder], count: usize) {
    proxy.await_metric("respgate_upstream_connections{state=\"pinned_leased\"}", |leased| {
        for (client, words) in holders.iter_mut() {
            let got = client.next(Duration::ZERO);
            if matches!(got, Got::Reply(error) if error.starts_with(b"-")) {
                client.send(words);
            }
        }
        leased >= count as f64
    });
}

#[test]
fn use_of_pinned_connections_leaves_room_for_the_others() {
    let large = filler(100 * KIB);
    let hold: [&'static [&'static str]; 4] =
        [BLOCK, &["SUBSCRIBE", "news"], &["WATCH", "k"], &["MONITOR"]];
    for words_of_hold in hold {
        let server = Server::mutual_tls(Brand::Redis);
        let pool = "[upstream.pool]\nmax_connections = 8\nacquire_timeout = \"10s\"";
        let proxy = Proxy::before(&server, pool);
        let mut holders = take_all(&proxy, words_of_hold, 12);
        await_leased(&proxy, &mut holders, 5);
        let mut client = proxy.client();
        if words_of_hold[0] != "WATCH" {
            assert_eq!(client.ask(&["WATCH", "k"]), b"+OK\r\n", "{words_of_hold:?}");
            assert_eq!(client.ask(&["UNWATCH"]), b"+OK\r\n");
        }
        if words_of_hold[0] != "BLPOP" {
            assert_eq!(client.ask(&["BLPOP", "other", "0.01"]), b"*-1\r\n", "{words_of_hold:?}");
        }
        client.send_raw(&words(&["SET", "large"], &large));
        expect(&mut client, b"+OK\r\n");
        if words_of_hold[0] != "SUBSCRIBE" && words_of_hold[0] != "MONITOR" {
            assert!(client.ask(&["SUBSCRIBE", "c"]).starts_with(b"*3"), "{words_of_hold:?}");
        }
        drop(holders);
    }
}

/// After a large reply a session prefers a connection of its own, but small commands do without one.
#[test]
fn small_command_does_not_need_a_pinned_connection() {
    for max in [2, 8] {
        let server = Server::mutual_tls(Brand::Redis);
        let pool = format!("[upstream.pool]\nmax_connections = {max}\nacquire_timeout = \"300ms\"");
        let proxy = Proxy::before(&server, &pool);
        let mut observer = server.observer();
        observer.ask(&["SETRANGE", "large", "99999", "x"]);
        observer.ask(&["SET", "small", "1"]);
        let mut holders = take_all(&proxy, BLOCK, max);
        holders.extend(take_all(&proxy, &["WATCH", "k"], max));
        holders.extend(take_all(&proxy, &["SUBSCRIBE", "c"], max));
        let large: Vec<Client> = (0..2)
            .map(|_| {
                let mut client = proxy.client();
                client.send_raw(&words(&["SET", "x"], &filler(100 * KIB))[..80 * KIB]);
                client
            })
            .collect();
        await_leased(&proxy, &mut holders, max);
        let mut client = proxy.client();
        for _ in 0..3 {
            assert_eq!(client.ask(&["GET", "large"]).len(), 100_011);
            assert_eq!(client.ask(&["GET", "small"]), b"$1\r\n1\r\n");
            assert_eq!(client.ask(&["SELECT", "1"]), b"+OK\r\n");
            assert_eq!(client.ask(&["SELECT", "0"]), b"+OK\r\n");
            for (words, reply) in [
                (&["MULTI"][..], &b"+OK\r\n"[..]),
                (&["GET", "small"], b"+QUEUED\r\n"),
                (&["EXEC"], b"*1\r\n$1\r\n1\r\n"),
            ] {
                assert_eq!(client.ask(words), reply);
            }
        }
        drop((holders, large));
    }
}

#[test]
fn blocked_clients_of_one_user_or_listener_leave_connections_for_those_of_another() {
    let server = Server::plain(Brand::Redis);
    let (one, two) = (Target::Tcp(free_port()), Target::Tcp(free_port()));
    let listeners = listener(&one, "auth = \"users\"") + &listener(&two, "");
    let telemetry_port = free_port();
    let head = configuration(&server, &listeners, OPEN_POLICY, telemetry_port);
    let sections = "[[user]]\nname = \"app\"\nnopass = true\n[[user]]\nname = \"web\"\nnopass = true\n\
                    [upstream.pool]\nmax_connections = 64\nacquire_timeout = \"1s\"\n";
    let proxy = Proxy::configured(directory(), one, telemetry_port, &format!("{head}\n{sections}"));
    let login = |user: &str| {
        let mut client = proxy.client();
        assert_eq!(client.ask(&["AUTH", user, "x"]), b"+OK\r\n");
        client
    };
    let block = |user: &str| -> Vec<Holder> {
        let mut holders: Vec<Holder> = (0..100).map(|_| (login(user), BLOCK)).collect();
        holders.iter_mut().for_each(|(client, words)| client.send(words));
        holders
    };
    let mut app = block("app");
    await_leased(&proxy, &mut app, 45);
    assert_eq!(login("web").ask(&["BLPOP", "q", "0.01"]), b"*-1\r\n");
    assert!(login("app").ask_text(&["BLPOP", "q", "0.01"]).contains("exhausted"));
    let mut web = block("web");
    await_leased(&proxy, &mut web, 48);
    assert!(login("web").ask_text(&["BLPOP", "q", "0.01"]).contains("exhausted"));
    let mut other = Client::connect(&two).unwrap();
    assert_eq!(other.ask(&["BLPOP", "q", "0.01"]), b"*-1\r\n");
    drop((app, web));
}

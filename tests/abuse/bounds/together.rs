//! What one client does to the others: nothing.
//!
//! Owns: the cases. Never knows: single requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::PATIENCE;
use super::*;

#[test]
fn deep_pipeline_through_a_narrow_window() {
    const COUNT: usize = 5000;
    for limits in ["max_in_flight = 1", "max_in_flight = 16", "max_in_flight_bytes = \"256B\""] {
        let (server, proxy) = stage(&format!("{limits}\n{UNHURRIED}"));
        let mut client = proxy.client();
        client.send_raw(&encode(&["INCR", "n"]).repeat(COUNT));
        for number in 1..=COUNT {
            expect(&mut client, format!(":{number}\r\n").as_bytes());
        }
        assert_eq!(server.observer().ask(&["GET", "n"]), b"$4\r\n5000\r\n");
    }
}

/// All unfinished requests and unread replies stay within the budget; a client that needs little
/// is served all the while.
#[test]
fn all_buffers_together_stay_within_the_budget() {
    const BUDGET: f64 = 8.0 * 1024.0 * 1024.0;
    let server = Server::mutual_tls(Brand::Redis);
    let limits = "[limits]\nmemory_budget = \"8MiB\"";
    let proxy = Proxy::with_policy(&server, "+@all ~app1:*", limits);
    let mut neighbour = proxy.client();
    neighbour.ask(&["PING"]);
    let before = proxy.memory("VmRSS");
    // Where keys come behind it, a script is collected whole before it is judged; these never end.
    let head = b"*4\r\n$4\r\nEVAL\r\n$33554432\r\n";
    let mut greedy: Vec<Client> = (0..12).map(|_| proxy.client()).collect();
    for client in &mut greedy {
        client.send_raw(&[&head[..], &vec![b'-'; 3 * MIB]].concat());
    }
    let limit = "respgate_client_disconnects_total{reason=\"memory_budget\"}";
    proxy.await_metric(limit, |count| {
        assert_eq!(neighbour.ask(&["PING"]), b"+PONG\r\n");
        count >= 6.0
    });
    assert!(proxy.metric("respgate_buffer_bytes") <= BUDGET + 1e6);
    let after = proxy.memory("VmRSS");
    assert!(after.saturating_sub(before) < 32 << 20, "{before} {after}");
    drop(greedy);
    proxy.await_metric("respgate_buffer_bytes", |bytes| bytes < 1e5);
}

/// Each requests 20 MB in one pipeline and reads slower than the server sends: requests wait, instead
/// of clients that are disconnected for the budget.
#[test]
fn steady_readers_of_long_pipelines_are_all_served() {
    const GETS: usize = 400;
    const VALUE: usize = 50_000;
    const CLIENTS: usize = 8;
    let server = Server::mutual_tls(Brand::Redis);
    let limits = "[limits]\nmemory_budget = \"32MiB\"\noutput_soft_time = \"10m\"";
    let sections = format!("{limits}\n{UNHURRIED}");
    let proxy = Proxy::with_policy(&server, "+@all ~app1:*", &sections);
    let value = "v".repeat(VALUE);
    assert_eq!(proxy.client().ask(&["SET", "app1:k", &value]), b"+OK\r\n");
    let reply = bulk(value.as_bytes());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = proxy.client();
                client.send_raw(&encode(&["GET", "app1:k"]).repeat(GETS));
                for number in 0..GETS {
                    if number % 20 == 0 {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    assert!(client.next(PATIENCE) == Got::Reply(reply.clone()), "{number}");
                }
            });
        }
    });
    assert_eq!(proxy.metric("respgate_client_disconnects_total{reason=\"memory_budget\"}"), 0.0);
}

/// Each requests several values in one pipeline, each value a third of what a client may leave unread, and pauses
/// before it reads: the server serves that, and so does respgate.
#[test]
fn pipelines_of_large_replies_are_served_to_slow_readers_that_share_a_connection() {
    const GETS: usize = 6;
    let (server, proxy) = stage("output_hard = \"9MiB\"");
    server.observer().ask(&["SETRANGE", "large", "2999999", "x"]);
    let mut clients: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.ask(&["PING"]);
    }
    for client in &mut clients {
        client.send_raw(&encode(&["GET", "large"]).repeat(GETS));
    }
    std::thread::sleep(Duration::from_millis(500));
    let mut other = proxy.client();
    assert_eq!(other.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
    for client in &mut clients {
        for number in 0..GETS {
            let got = client.next(PATIENCE);
            assert!(matches!(&got, Got::Reply(it) if it.len() > 3_000_000), "{number}");
        }
        assert_eq!(client.ask(&["ECHO", "b"]), b"$1\r\nb\r\n");
    }
}

/// One value is larger than what a client may leave unread, and the client reads it more slowly than it comes, while
/// requests of others are in line behind it.
#[test]
fn reply_larger_than_all_a_client_may_leave_unread_is_served_beside_others() {
    const LARGE: usize = 30_000_000;
    let (server, proxy) = stage("output_hard = \"8MiB\"");
    server.observer().ask(&["SETRANGE", "large", &(LARGE - 1).to_string(), "x"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (proxy, done) = (&proxy, &done);
            scope.spawn(move || {
                let mut client = proxy.client();
                let key = format!("app1:{number}");
                while !done.load(Ordering::Relaxed) {
                    assert!(client.ask(&["INCR", &key]).starts_with(b":"));
                }
            });
        }
        // On a machine that is slow, the first attempts may take longer than others wait for them.
        let served = (0..3).all(|_| (0..5).any(|_| reads_after_a_pause(&proxy, "large", LARGE)));
        done.store(true, Ordering::Relaxed);
        assert!(served, "its clients are disconnected");
    });
}

/// Whether a client gets a value of this length that it begins to read when much of it has come.
fn reads_after_a_pause(proxy: &Proxy, key: &str, length: usize) -> bool {
    let mut client = proxy.client();
    client.keep_little_unread();
    client.ask(&["PING"]);
    client.send(&["GET", key]);
    std::thread::sleep(Duration::from_millis(200));
    let reply = client.bytes(format!("${length}\r\n\r\n").len() + length, PATIENCE);
    reply.len() > length && client.ask(&["ECHO", "b"]) == b"$1\r\nb\r\n"
}

/// Announcing much costs nothing.
#[test]
fn announcements_are_not_believed() {
    let (_server, proxy) = stage("");
    let mut neighbour = proxy.client();
    neighbour.ask(&["PING"]);
    let before = proxy.memory("VmRSS");
    let bombs: [&[u8]; 4] = [
        b"*1048576\r\n",
        b"*1048576\r\n$67108864\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\n",
        b"*3\r\n$4\r\nEVAL\r\n$67108864\r\n",
    ];
    let mut clients = Vec::new();
    for bomb in bombs.iter().cycle().take(100) {
        let mut client = proxy.client();
        client.send_raw(bomb);
        clients.push(client);
    }
    assert_eq!(neighbour.ask(&["PING"]), b"+PONG\r\n");
    let after = proxy.memory("VmRSS");
    assert!(after.saturating_sub(before) < 12 << 20, "{before} {after}");
}

/// One client sends and reads without end; another's requests are answered in between.
#[test]
fn endless_pipeline_starves_no_other_client() {
    let (server, proxy) = stage("");
    server.observer().ask(&["SETRANGE", "large", "299999", "x"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for request in [&["GET", "missing"][..], &["SET", "k", "v"], &["GET", "large"], &["PING"]] {
            let (proxy, done) = (&proxy, &done);
            let burst = encode(request).repeat(if request.contains(&"large") { 20 } else { 2000 });
            scope.spawn(move || {
                let mut client = proxy.client();
                client.send_raw(&burst);
                while !done.load(Ordering::Relaxed) {
                    client.send_raw(&burst);
                    let _ = client.drain(Duration::from_micros(200));
                }
            });
        }
        let mut patient = proxy.client();
        let mut times = Vec::new();
        for number in 0..100 {
            let began = now();
            let text = number.to_string();
            patient.send(&["ECHO", &text]);
            assert_eq!(patient.next(PATIENCE), Got::Reply(bulk(text.as_bytes())));
            times.push(began.elapsed());
        }
        done.store(true, Ordering::Relaxed);
        times.sort_unstable();
        assert!(times[50] < Duration::from_secs(5), "{times:?}");
        assert!(times[99] < Duration::from_secs(20), "{times:?}");
    });
}

/// A large value makes a client a connection of its own for a while; idle, it gives that back.
#[test]
fn client_after_a_large_reply_keeps_no_other_waiting() {
    let server = Server::mutual_tls(Brand::Redis);
    let sections = "[upstream.pool]\nmax_connections = 3\nacquire_timeout = \"4s\"";
    let proxy = Proxy::before(&server, sections);
    server.observer().ask(&["SETRANGE", "large", "99999", "x"]);
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    for client in &mut clients {
        for _ in 0..3 {
            assert_eq!(client.ask(&["GET", "large"]).len(), 100_011);
        }
    }
    assert_eq!(clients[0].ask(&["BLPOP", "empty", "0.01"]), b"*-1\r\n");
}

//! A server that goes away and comes back, before clients that know what a lost connection means.
//!
//! Owns: `on_outage = "close"`: what waits, which clients are closed, what is logged. Never knows: faults of one
//! connection, `on_outage = "error"`.

use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::{Client, Got, encode};
use super::support::fake_server::{FakeServer, Order};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};
use super::{QUICK, client_that_transacts, ends, line, with_outage};

fn before(server: &FakeServer, wait: &str) -> Proxy {
    with_outage(server, &format!("outage_wait = {wait:?}"), "", QUICK)
}

/// Waits until respgate knows that the server is gone.
fn noticed(proxy: &Proxy) {
    wait_until("the loss is noticed", || proxy.metric("respgate_upstream_up") < 0.5);
}

/// Lines of the log with this text.
fn logged(proxy: &Proxy, text: &str) -> usize {
    proxy.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn outage_that_is_short_is_not_noticed_by_what_was_not_sent() {
    for mode in ["shared", "session"] {
        check_short_outage(mode);
    }
}

fn check_short_outage(mode: &str) {
    let server = FakeServer::start();
    let proxy = with_outage(&server, "", &format!("mode = {mode:?}"), QUICK);
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    let mut first = proxy.client();
    assert_eq!(first.ask_text(&["SET", "k", "v"]), "+OK");
    if mode == "shared" {
        clients[0] = first;
    }
    server.go_down();
    noticed(&proxy);
    let asked = now();
    let requests: [&[&str]; 8] = [
        &["GET", "k"],
        &["SET", "a", "1"],
        &["SELECT", "3"],
        &["HELLO", "3"],
        &["WATCH", "k"],
        &["SUBSCRIBE", "news"],
        &["BLPOP", "q", "1"],
        &["MULTI"],
    ];
    for (client, words) in clients.iter_mut().zip(requests) {
        client.send(words);
    }
    let mut late = proxy.client();
    late.send(&["SET", "b", "2"]);
    std::thread::sleep(Duration::from_millis(500));
    server.come_up();
    assert_eq!(line(&mut clients[0]), "$1\r\nv");
    assert_eq!(line(&mut clients[1]), "+OK");
    assert_eq!(line(&mut clients[2]), "+OK");
    assert!(line(&mut clients[3]).starts_with("%7"));
    assert_eq!(line(&mut clients[4]), "+OK");
    assert!(line(&mut clients[5]).starts_with("*3"));
    assert_eq!(line(&mut clients[6]), "+OK", "the fake server's reply to BLPOP");
    assert_eq!(line(&mut clients[7]), "+OK");
    assert_eq!(line(&mut late), "+OK", "a client that came during the outage");
    assert!(asked.elapsed() >= Duration::from_millis(450));
    for write in ["SET a", "SET b"] {
        assert_eq!(server.count(write), 1, "{write}");
    }
}

#[test]
fn long_outage_closes_clients_without_a_reply() {
    let server = FakeServer::start();
    let proxy = before(&server, "400ms");
    let mut idle = proxy.client();
    assert_eq!(idle.ask_text(&["SET", "k", "v"]), "+OK");
    server.go_down();
    noticed(&proxy);
    for words in [
        &["GET", "k"][..],
        &["SET", "k", "1"],
        &["SELECT", "3"],
        &["HELLO", "3"],
        &["WATCH", "k"],
        &["SUBSCRIBE", "news"],
        &["BLPOP", "q", "0"],
        &["MULTI"],
        &["PING"],
    ] {
        let mut client = proxy.client();
        let asked = now();
        // What respgate answers itself is answered.
        client.send(&["CLIENT", "GETNAME"]);
        client.send(words);
        assert_eq!(client.reply(), b"$-1\r\n", "{words:?}");
        ends(&mut client);
        assert!(asked.elapsed() >= Duration::from_millis(380), "{words:?} waited");
        assert!(asked.elapsed() < Duration::from_secs(15), "{words:?} waited too long");
    }
    server.come_up();
    assert_eq!(idle.ask_text(&["GET", "k"]), "$1\r\nv", "an idle client notices nothing");
    assert_eq!(server.count("SET k 1"), 0, "what was given up is never sent");
    assert!(proxy.metric("respgate_client_disconnects_total{reason=\"upstream_lost\"}") > 8.5);
}

#[test]
fn write_of_unknown_outcome_closes_its_client_after_the_replies_due_before() {
    let server = FakeServer::start();
    server.order("SET b", Order::Close(0), 1);
    let proxy = before(&server, "30s");
    let (mut client, mut other) = (proxy.client(), proxy.client());
    assert_eq!(other.ask_text(&["SET", "x", "1"]), "+OK");
    let mut bytes = encode(&["SET", "a", "1"]);
    for words in [&["GET", "a"][..], &["SET", "b", "2"], &["GET", "a"], &["SET", "c", "3"]] {
        bytes.extend(encode(words));
    }
    client.send_raw(&bytes);
    assert_eq!(line(&mut client), "+OK");
    assert_eq!(line(&mut client), "$1\r\n1");
    ends(&mut client);
    assert_eq!(server.count("SET b"), 1);
    assert_eq!(other.ask_text(&["GET", "x"]), "$1\r\n1", "no other client is closed");
}

/// HELLO waits for a connection of its own while the write before it is lost.
#[test]
fn request_that_waits_behind_a_lost_one_delays_no_end() {
    let server = FakeServer::start();
    server.order("SET b", Order::Gate("never"), 1);
    let proxy = before(&server, "20s");
    let mut client = proxy.client();
    client.send(&["SET", "b", "2"]);
    server.connection_of("SET b");
    client.send(&["SELECT", "7"]);
    server.go_down();
    let start = now();
    ends(&mut client);
    assert!(start.elapsed() < Duration::from_secs(15), "closed after {:?}", start.elapsed());
}

#[test]
fn transaction_of_unknown_outcome_closes_its_client() {
    let server = FakeServer::start();
    let proxy = before(&server, "30s");
    let mut client = client_that_transacts(&proxy);
    server.order("EXEC", Order::Close(0), 1);
    assert_eq!(client.ask_text(&["MULTI"]), "+OK");
    assert_eq!(client.ask_text(&["SET", "k", "1"]), "+QUEUED");
    client.send(&["EXEC"]);
    ends(&mut client);
    assert_eq!(server.count("EXEC"), 2, "one asked whether MULTI is allowed");
}

/// The server closes the connection, as a restart does.
#[test]
fn state_on_a_pinned_connection_ends_with_it() {
    let server = FakeServer::start();
    let proxy = before(&server, "30s");
    server.order("BLPOP", Order::Never, 1);
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    assert_eq!(clients[0].ask_text(&["WATCH", "k"]), "+OK");
    clients[1].ask(&["SUBSCRIBE", "news"]);
    clients[2].send(&["BLPOP", "q", "0"]);
    server.connection_of("BLPOP");
    server.close_all();
    clients.iter_mut().for_each(ends);
}

const CLIENTS: &str = "respgate_client_connections{listener=\"tcp\"}";

/// What its driver has given up and repeats elsewhere must not run twice.
#[test]
fn waiting_request_is_dropped_when_its_client_closes() {
    let server = FakeServer::start();
    let proxy = before(&server, "30s");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
    server.go_down();
    noticed(&proxy);
    for half in [false, true] {
        let mut closing = proxy.client();
        closing.send(&["INCR", "left"]);
        proxy.await_metric("respgate_commands_in_flight", |count| count > 0.5);
        if half {
            closing.finish();
            ends(&mut closing);
        }
        drop(closing);
        proxy.await_metric(CLIENTS, |count| count < 1.5);
    }
    let mut closing = proxy.client();
    closing.send(&["BLPOP", "left", "0"]);
    proxy.await_metric(CLIENTS, |count| count > 1.5);
    std::thread::sleep(Duration::from_millis(100));
    drop(closing);
    proxy.await_metric(CLIENTS, |count| count < 1.5);
    server.come_up();
    assert_eq!(client.ask_text(&["GET", "k"]), "$1\r\nv");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((server.count("INCR"), server.count("BLPOP")), (0, 0));
}

#[test]
fn outage_is_logged_at_its_begin_and_at_its_end_alone() {
    let server = FakeServer::start();
    let proxy = before(&server, "2s");
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    assert_eq!(clients[0].ask_text(&["SET", "k", "v"]), "+OK");
    clients[1].ask(&["HELLO", "3"]);
    assert_eq!(clients[2].ask_text(&["SELECT", "4"]), "+OK");
    let quiet = proxy.log().lines().count();
    server.go_down();
    noticed(&proxy);
    // While they wait, respgate dials again and again.
    clients.iter_mut().for_each(|client| client.send(&["SET", "k", "1"]));
    clients.iter_mut().for_each(ends);
    assert_eq!(logged(&proxy, "connection lost: "), 1);
    let mut waiting = proxy.client();
    waiting.send(&["GET", "k"]);
    proxy.await_metric("respgate_commands_in_flight", |count| count > 0.5);
    server.come_up();
    assert_eq!(line(&mut waiting), "$1\r\nv");
    wait_until("the end is logged", || logged(&proxy, "connected again after ") == 1);
    let end = proxy.log();
    let end = end.lines().find(|line| line.contains("connected again")).unwrap();
    assert!(end.contains("; 4 commands waited, 3 clients were closed"), "{end}");
    assert_eq!(proxy.log().lines().count(), quiet + 2, "{}", proxy.log());
}

/// No request arrives, and still the return of the server is noticed within moments.
#[test]
fn connection_lost_in_a_quiet_moment_is_made_again() {
    let server = FakeServer::start();
    let proxy = before(&server, "30s");
    assert_eq!(proxy.client().ask_text(&["SET", "k", "v"]), "+OK");
    wait_until("it is up", || proxy.get("/healthz/upstream").0 == 200);
    server.go_down();
    wait_until("it is known to be down", || proxy.get("/healthz/upstream").0 == 503);
    server.come_up();
    wait_until("it is known to be up", || proxy.get("/healthz/upstream").0 == 200);
}

#[test]
fn server_that_greets_and_hangs_up_is_dialed_within_bounds() {
    let server = FakeServer::start();
    server.order("GET", Order::Close(0), usize::MAX);
    let proxy = with_outage(&server, "", "", "initial = \"50ms\"\nmax = \"1s\"");
    let start = (now(), server.accepted());
    while start.0.elapsed() < Duration::from_secs(3) {
        let mut client = proxy.client();
        client.send(&["GET", "k"]);
        let _ = client.next(Duration::from_millis(200));
    }
    let dials = server.accepted() - start.1;
    assert!(dials <= 25, "{dials} connections in 3 s");
    assert!(logged(&proxy, "connection lost") <= 2, "{}", proxy.log());
}

#[test]
fn pinned_connections_do_not_storm_a_server_that_is_down() {
    let server = FakeServer::start();
    let proxy = with_outage(&server, "", "", "initial = \"50ms\"\nmax = \"1s\"");
    assert_eq!(proxy.client().ask_text(&["WATCH", "k"]), "+OK");
    server.close_all();
    server.be_mute(true);
    server.go_down();
    noticed(&proxy);
    let failures = || proxy.metric("respgate_upstream_connects_total{result=\"tcp\"}");
    let before = failures();
    let mut clients: Vec<Client> = (0..40).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&["BLPOP", "q", "0"]));
    std::thread::sleep(Duration::from_secs(2));
    let dials = failures() - before;
    assert!(dials <= 20.0, "{dials} attempts in 2 s");
}

/// Many clients wait at the same time, and no longer because an attempt to connect may take longer.
#[test]
fn acquire_timeout_bounds_everything() {
    let server = FakeServer::start();
    let pool = "acquire_timeout = \"600ms\"\nconnect_timeout = \"60s\"";
    let proxy = with_outage(&server, "outage_wait = \"600ms\"", pool, QUICK);
    server.be_mute(true);
    let start = now();
    let mut clients: Vec<Client> = (0..64).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&["BLPOP", "q", "0"]));
    for client in &mut clients {
        ends(client);
    }
    let (taken, one_by_one) = (start.elapsed(), Duration::from_millis(600) * 64);
    assert!(taken < one_by_one / 2, "the last one waited {taken:?}");
}

#[test]
fn server_that_loads_at_the_login_is_waited_for() {
    for text in
        ["-LOADING Redis is loading the dataset in memory", "-MASTERDOWN Link with MASTER is down"]
    {
        let server = FakeServer::start();
        let proxy = before(&server, "30s");
        let mut client = proxy.client();
        assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
        server.greet_with(Some(format!("{text}\r\n").into_bytes()));
        server.close_all();
        noticed(&proxy);
        client.send(&["GET", "k"]);
        assert_eq!(client.next(Duration::from_millis(300)), Got::Silence);
        server.greet_with(None);
        assert_eq!(line(&mut client), "$1\r\nv");
    }
}

/// A path that is silent: neither an answer nor an end.
#[test]
fn silent_server_costs_writes_nothing_before_command_timeout() {
    let server = FakeServer::start();
    server.order("SET stuck", Order::Never, 1);
    let pool =
        "stall_timeout = \"100ms\"\nconnect_timeout = \"100ms\"\ncommand_timeout = \"800ms\"";
    let proxy = with_outage(&server, "", pool, QUICK);
    let mut client = proxy.client();
    let start = now();
    client.send(&["SET", "stuck", "1"]);
    ends(&mut client);
    let taken = start.elapsed();
    assert!(taken >= Duration::from_millis(780), "given up after {taken:?}");
    assert_eq!(proxy.client().ask_text(&["SET", "k", "v"]), "+OK");
}

/// A bound on waiting for others that is shorter than the outage is none on waiting for the server; what
/// has waited for the server has that time once more to be connected.
#[test]
fn acquire_timeout_is_not_the_patience_of_an_outage() {
    let server = FakeServer::start();
    let proxy = with_outage(&server, "outage_wait = \"30s\"", "acquire_timeout = \"1s\"", QUICK);
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    assert_eq!(clients[0].ask_text(&["SET", "k", "v"]), "+OK");
    server.go_down();
    noticed(&proxy);
    clients.iter_mut().for_each(|client| client.send(&["BLPOP", "q", "0"]));
    std::thread::sleep(Duration::from_millis(1200));
    server.come_up();
    for client in &mut clients {
        assert_eq!(line(client), "+OK", "the fake server's reply to BLPOP");
    }
}

/// Neither the requests of a server that does not read, nor those of clients that have left, exceed it.
#[test]
fn memory_budget_holds_while_the_server_does_not_read() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "[limits]\nmemory_budget = \"8MiB\"\n");
    let mut first = proxy.client();
    assert_eq!(first.ask_text(&["SET", "k", "v"]), "+OK");
    let before = proxy.memory("VmRSS");
    server.hold();
    let value = "x".repeat(30_000);
    let request = encode(&["SET", "k", &value]);
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = proxy.client();
        client.send_raw(&request.repeat(8));
        clients.push(client);
    }
    std::thread::sleep(Duration::from_millis(500));
    let grown = proxy.memory("VmRSS").saturating_sub(before) >> 20;
    assert!(grown < 40, "{grown} MiB for a budget of 8");
    drop(clients);
    server.release();
    let held = || proxy.metric("respgate_buffer_bytes");
    wait_until("all is given back", || held() < 1_000_000.0);
    assert_eq!(proxy.client().ask_text(&["PING"]), "+PONG");
}

/// Its bytes count against the memory budget, and are given back.
#[test]
fn waiting_requests_count_against_the_memory_budget() {
    let server = FakeServer::start();
    let proxy = before(&server, "60s");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
    server.go_down();
    noticed(&proxy);
    let value = "x".repeat(50_000);
    let mut clients: Vec<Client> = (0..40).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&["SET", "k", &value]));
    let held = || proxy.metric("respgate_buffer_bytes");
    wait_until("it counts", || held() > 1_900_000.0);
    server.come_up();
    for client in &mut clients {
        assert_eq!(line(client), "+OK");
    }
    wait_until("it is given back", || held() < 300_000.0);
}

/// New logins are refused; what is connected goes on, and what waits is served as soon as they are not.
#[test]
fn password_changed_at_the_server_is_an_outage_without_a_storm() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let mut observer = server.observer();
    let proxy = Proxy::before(&server, "[upstream.retry]\nmax = \"500ms\"\n");
    assert_eq!(proxy.client().ask_text(&["SET", "k", "v"]), "+OK");
    assert_eq!(observer.ask_text(&["CONFIG", "SET", "requirepass", "secret"]), "+OK");
    observer.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    noticed(&proxy);
    let mut clients: Vec<Client> = (0..30).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(if number % 2 == 0 { &["BLPOP", "q", "0.01"] } else { &["GET", "k"] });
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(observer.ask_text(&["CONFIG", "SET", "requirepass", ""]), "+OK");
    let refused = proxy.metric("respgate_upstream_connects_total{result=\"auth\"}");
    assert!((2.0..=30.0).contains(&refused), "{refused} attempts in 2 s");
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(line(client), if number % 2 == 0 { "*-1" } else { "$1\r\nv" });
    }
    let lines = ["connection lost: ", "still not connected: ", "connected again after "];
    assert_eq!(lines.map(|text| logged(&proxy, text)), [1, 1, 1], "{}", proxy.log());
}

/// Longer than it takes to notice, shorter than it takes to give up.
#[test]
fn server_that_stalls_costs_no_client_a_request() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let pool = "[upstream.pool]\nstall_timeout = \"200ms\"\nconnect_timeout = \"200ms\"\n";
    let proxy = Proxy::before(&server, pool);
    let mut clients: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
    }
    server.hold();
    clients[0].send(&["INCR", "n"]);
    clients[1].send(&["INCR", "n"]);
    std::thread::sleep(Duration::from_millis(900));
    // It is known to be silent by now.
    clients[2].send(&["INCR", "n"]);
    clients[3].send(&["WATCH", "k"]);
    clients[4].send(&["GET", "k"]);
    std::thread::sleep(Duration::from_millis(900));
    server.release();
    let mut counts: Vec<String> = clients[..3].iter_mut().map(line).collect();
    counts.sort();
    assert_eq!(counts, [":1", ":2", ":3"]);
    assert_eq!(line(&mut clients[3]), "+OK");
    assert_eq!(line(&mut clients[4]), "$1\r\nv");
    assert_eq!(clients[5].ask_text(&["GET", "n"]), "$1\r\n3");
}

/// A driver whose time limit is reached sends its request again on another connection: what it gave up unsent is
/// not executed, too.
#[test]
fn requests_that_were_given_up_unsent_are_not_executed_when_the_server_goes_on() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
    }
    server.hold();
    clients[0].send(&["RPUSH", "log", "sent before it was known"]);
    std::thread::sleep(Duration::from_millis(400));
    // By now the head of the line is known to be held up: these are not sent.
    clients[1].send(&["RPUSH", "log", "given up"]);
    clients[2].send(&["RPUSH", "log", "waits"]);
    std::thread::sleep(Duration::from_millis(1500));
    clients.remove(1);
    clients.remove(0);
    std::thread::sleep(Duration::from_millis(300));
    server.release();
    assert_eq!(line(&mut clients[0]), ":2");
    let log = server.observer().ask_text(&["LRANGE", "log", "0", "-1"]);
    assert!(log.contains("waits") && !log.contains("given up"), "{log}");
}

#[test]
fn client_that_has_sent_all_is_served_by_a_connection_that_is_still_being_made() {
    let server = FakeServer::start();
    let proxy = before(&server, "30s");
    for database in 1..6 {
        let mut client = proxy.client();
        client.send(&["SELECT", &database.to_string()]);
        client.send(&["SET", "k", "v"]);
        client.send(&["WATCH", "k"]);
        client.finish();
        assert_eq!(
            [line(&mut client), line(&mut client), line(&mut client)],
            ["+OK", "+OK", "+OK"]
        );
    }
}

#[test]
fn real_restart_of_a_second_closes_no_client_and_answers_no_error() {
    if !Brand::Redis.available() {
        return;
    }
    let mut server =
        Server::new(Brand::Redis, false, &["--appendonly", "yes", "--appendfsync", "always"]);
    let proxy = Proxy::before(&server, "");
    let mut clients: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
    }
    server.stop();
    noticed(&proxy);
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["RPUSH", "list", &number.to_string()]);
    }
    std::thread::sleep(Duration::from_secs(1));
    server.start();
    let mut lengths: Vec<String> = clients.iter_mut().map(line).collect();
    lengths.sort_by_key(|length| length.trim_start_matches(':').parse::<usize>().unwrap());
    let expected: Vec<String> = (1..=20).map(|length| format!(":{length}")).collect();
    assert_eq!(lengths, expected, "each write was executed once");
    for client in &mut clients {
        assert_eq!(client.ask_text(&["GET", "k"]), "$1\r\nv");
    }
}

//! Clients that send all they have before they read anything, and those that read nothing at all.
//!
//! Owns: the cases in which neither side would move without a bound or a clock. Never knows: how fast
//! an honest client is served.

use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::PATIENCE;
use super::support::real_server::wait_until;
use super::*;

/// A request as long as its reply, so that both directions are full at the same time.
const COUNT: usize = 60_000;
const LONG: usize = 240;

/// Sends the whole pipeline before the first read, then takes `count` replies, each of them `reply`.
fn send_then_read(client: &mut Client, pipeline: &[u8], count: usize, reply: &[u8]) {
    client.send_raw(pipeline);
    wait_until("everything is sent", || client.has_sent());
    let block = 1000.min(count);
    let expected = reply.repeat(block);
    for number in 0..count / block {
        let got = client.bytes(expected.len(), PATIENCE);
        assert!(got == expected, "block {number} of {} bytes differs", got.len());
    }
}

#[test]
fn pipeline_is_sent_whole_before_the_first_read() {
    let key = "k".repeat(LONG);
    let gets = encode(&["GET", &key]).repeat(COUNT);
    let value = filler(LONG);
    for (mode, before) in [
        ("shared", &[&["HELLO", "2"][..]][..]),
        ("shared", &[&["HELLO", "3"]]),
        ("shared", &[&["WATCH", "w"]]),
        ("shared", &[&["HELLO", "3"], &["SUBSCRIBE", "news"]]),
        ("shared", &[&["GETRANGE", "large", "0", "-1"]]),
        ("session", &[&["HELLO", "2"]]),
        ("session", &[&["HELLO", "3"]]),
    ] {
        let server = Server::mutual_tls(Brand::Redis);
        let proxy = Proxy::before(&server, &format!("[upstream.pool]\nmode = {mode:?}"));
        server.observer().ask(&["SETRANGE", "large", "99999", "x"]);
        let mut observer = server.observer();
        observer.send_raw(&encode(&[b"SET", key.as_bytes(), &value]));
        expect(&mut observer, b"+OK\r\n");
        let mut client = proxy.client();
        for words in before {
            client.ask(words);
        }
        send_then_read(&mut client, &gets, COUNT, &bulk(&value));
        assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n", "{mode} {before:?}");
    }
}

/// Values that go and come at once, each larger than what streams, and each smaller.
#[test]
fn large_values_are_exchanged_before_the_first_read() {
    for (length, count) in [(20 * KIB, 1500), (300 * KIB, 100)] {
        let (server, proxy) = stage("");
        let value = filler(length);
        let mut observer = server.observer();
        observer.send_raw(&words(&["SET", "k"], &value));
        expect(&mut observer, b"+OK\r\n");
        let mut client = proxy.client();
        let pipeline = words(&["GETSET", "k"], &value).repeat(count);
        client.send_raw(&pipeline);
        wait_until("everything is sent", || client.has_sent());
        for _ in 0..count {
            expect(&mut client, &bulk(&value));
        }
    }
}

#[test]
fn transaction_is_sent_whole_before_the_first_read() {
    let (server, proxy) = stage("");
    let key = "k".repeat(LONG);
    let value = filler(LONG);
    let mut observer = server.observer();
    observer.send_raw(&encode(&[b"SET", key.as_bytes(), &value]));
    expect(&mut observer, b"+OK\r\n");
    let count = 30_000;
    let mut client = proxy.client();
    let gets = encode(&["GET", &key]).repeat(count);
    client.send_raw(&[encode(&["MULTI"]), gets.clone(), encode(&["EXEC"]), gets].concat());
    wait_until("everything is sent", || client.has_sent());
    expect(&mut client, b"+OK\r\n");
    for _ in 0..count {
        expect(&mut client, b"+QUEUED\r\n");
    }
    assert_eq!(client.bytes(8, PATIENCE), format!("*{count}\r\n").into_bytes());
    for _ in 0..2 * count {
        expect(&mut client, &bulk(&value));
    }
}

const QUICK: &str = "output_soft_time = \"500ms\"";
const ENDED: &str = "respgate_client_disconnects_total{reason=\"output_limit\"}";

/// What is kept for a client that reads nothing has a bound, and its connection an end, in whatever
/// state it stays.
#[test]
fn client_that_never_reads_is_disconnected() {
    let long = "k".repeat(LONG);
    for (mode, first, request, count) in [
        ("shared", &["PING"][..], &["GET", &long][..], 200_000),
        ("shared", &["WATCH", "w"], &["GET", "small"], 400_000),
        ("shared", &["PING"], &["GET", "large"], 2_000),
        ("shared", &["PING"], &["GET", "huge"], 2),
        ("session", &["PING"], &["GET", "small"], 400_000),
        ("session", &["PING"], &["GET", "huge"], 20_000),
        ("shared", &["PING"], &["ECHO", &long], 300_000),
        ("shared", &["CLIENT", "SETNAME", &long], &["CLIENT", "GETNAME"], 200_000),
    ] {
        let server = Server::mutual_tls(Brand::Redis);
        let sections = format!("[limits]\n{QUICK}\n[upstream.pool]\nmode = {mode:?}");
        let proxy = Proxy::before(&server, &sections);
        let mut observer = server.observer();
        for (key, end) in [("small", "200"), ("large", "99999"), ("huge", "19999999")] {
            observer.ask(&["SETRANGE", key, end, "x"]);
        }
        observer.ask(&["SET", &long, &long]);
        let mut lazy = proxy.client();
        lazy.ask(first);
        lazy.send_raw(&encode(request).repeat(count));
        let began = now();
        while proxy.metric(ENDED) < 1.0 {
            assert!(began.elapsed() < PATIENCE, "{mode} {first:?} {request:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(proxy.memory("VmHWM") < 280 << 20, "{request:?}");
        proxy.await_log(&["CLI-E001"]);
        let mut neighbour = proxy.client();
        assert_eq!(neighbour.ask(&["GETRANGE", "small", "0", "0"]), b"$1\r\n\0\r\n");
    }
}

/// A subscriber that reads slowly is not disconnected for a little that it has not read, as with Redis.
#[test]
fn subscriber_that_pauses_stays_connected() {
    let (server, proxy) = stage("output_soft_time = \"100ms\"");
    let mut subscriber = proxy.client();
    subscriber.ask(&["SUBSCRIBE", "news"]);
    let mut publisher = server.observer();
    let message = filler(100 * KIB);
    for _ in 0..100 {
        publisher.send_raw(&words(&["PUBLISH", "news"], &message));
        expect(&mut publisher, b":1\r\n");
    }
    std::thread::sleep(Duration::from_millis(600));
    for _ in 0..100 {
        assert!(subscriber.reply().ends_with(&bulk(&message)));
    }
}

const TWO_SECONDS: &str =
    "command_timeout = \"2s\"\nmax_connections = 2\nacquire_timeout = \"20s\"";

/// The head of a large value and no more holds a pinned connection no longer than a command may take.
#[test]
fn large_value_that_stops_is_abandoned() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, &format!("[upstream.pool]\n{TWO_SECONDS}"));
    let value = filler(200 * KIB);
    let request = words(&["SET", "k"], &value);
    let mut half: Vec<Client> = (0..2).map(|_| proxy.client()).collect();
    for client in &mut half {
        client.send_raw(&request[..70 * KIB]);
    }
    wait_until("both are streamed", || {
        let busy = proxy.metric("respgate_client_pinned_connections{cause=\"large\"}");
        (busy - 2.0).abs() < 0.1
    });
    let mut other = proxy.client();
    assert_eq!(other.ask(&["BLPOP", "q", "0.01"]), b"*-1\r\n");
    proxy.await_log(&["CLI-E003", "command_timeout"]);
    wait_until("both are abandoned", || {
        proxy.metric("respgate_client_pinned_connections{cause=\"large\"}") < 0.1
    });
    for client in &mut half {
        client.send_raw(&request[70 * KIB..]);
        expect_error(client, &["the request was aborted", "command_timeout", "not executed"]);
        client.send_raw(&request);
        expect(client, b"+OK\r\n");
    }
}

/// One that moves, however slowly, is whole in the end, and its reply has time of its own.
#[test]
fn large_value_that_comes_slowly_is_carried() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "[upstream.pool]\ncommand_timeout = \"1500ms\"");
    let value = filler(300 * KIB);
    let mut client = proxy.client();
    let began = now();
    for piece in words(&["SET", "k"], &value).chunks(25 * KIB) {
        client.send_raw(piece);
        std::thread::sleep(Duration::from_millis(150));
    }
    assert!(began.elapsed() > Duration::from_millis(1600));
    expect(&mut client, b"+OK\r\n");
    assert_eq!(server.observer().ask(&["STRLEN", "k"]), b":307200\r\n");
}

//! Replies that are large, many, or not read.
//!
//! Owns: the cases. Never knows: requests of a size of their own.

use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::PATIENCE;
use super::*;

/// A value passes through in both directions without being stored.
#[test]
fn huge_value_takes_little_memory() {
    const LENGTH: usize = 48 * MIB;
    let (server, proxy) = stage("output_hard = \"16MiB\"");
    let (mut client, mut neighbour) = (proxy.client(), proxy.client());
    client.ask(&["SET", "warm", "1"]);
    let before = proxy.memory("VmHWM");
    let value = filler(LENGTH);
    client.send_raw(&words(&["SET", "huge"], &value));
    let (mut client, written) = (client, proxy.memory("VmHWM"));
    expect(&mut client, b"+OK\r\n");
    assert_eq!(server.observer().ask(&["STRLEN", "huge"]), format!(":{LENGTH}\r\n").into_bytes());
    client.send(&["GET", "huge"]);
    assert_eq!(client.bytes(11, PATIENCE), b"$50331648\r\n");
    // Late: what is not read yet must wait at the server.
    std::thread::sleep(Duration::from_millis(700));
    let (mut at, mut number) = (0, 0);
    while at < LENGTH {
        number += 1;
        assert_eq!(neighbour.ask(&["INCR", "n"]), format!(":{number}\r\n").into_bytes());
        let piece = client.bytes(4 * MIB, PATIENCE);
        assert!(!piece.is_empty(), "the reply ended at {at}: {:?}", client.next(PATIENCE));
        assert!(piece == value[at..(at + piece.len()).min(LENGTH)], "differs behind {at}");
        at += piece.len();
    }
    assert_eq!(client.bytes(2, PATIENCE), b"\r\n");
    client.send(&["PING"]);
    expect(&mut client, b"+PONG\r\n");
    let after = proxy.memory("VmHWM");
    assert!(after - before < 24 << 20, "{before} {written} {after}");
}

/// Many large replies that no client reads stay at the server.
#[test]
fn unread_large_replies_stay_at_the_server() {
    const GETS: usize = 120;
    let (server, proxy) = stage(&format!("output_soft_time = \"10m\"\n{UNHURRIED}"));
    let value = filler(MIB);
    let mut observer = server.observer();
    observer.send_raw(&words(&["SET", "k"], &value));
    expect(&mut observer, b"+OK\r\n");
    let mut reader = proxy.client();
    reader.ask(&["PING"]);
    let before = proxy.memory("VmRSS");
    let mut lazy = proxy.client();
    lazy.send_raw(&encode(&["GET", "k"]).repeat(GETS));
    let until = now() + Duration::from_millis(700);
    let mut most = 0;
    while now() < until {
        assert_eq!(reader.ask(&["PING"]), b"+PONG\r\n");
        most = most.max(proxy.memory("VmRSS"));
    }
    assert!(most.saturating_sub(before) < 40 << 20, "{before} {most}");
    // It was only slow: every reply comes when it reads.
    for _ in 0..GETS {
        expect(&mut lazy, &bulk(&value));
    }
}

const SMALL_OUTPUT: &str =
    "output_hard = \"4MiB\"\noutput_soft = \"1MiB\"\noutput_soft_time = \"400ms\"";
const OUTPUT_LIMIT: &str = "respgate_client_disconnects_total{reason=\"output_limit\"}";

/// Replies below the border of large, many of them, never read.
#[test]
fn client_that_reads_nothing_is_disconnected() {
    let (server, proxy) = stage(SMALL_OUTPUT);
    server.observer().ask(&["SETRANGE", "k", "59999", "x"]);
    let mut neighbour = proxy.client();
    neighbour.ask(&["PING"]);
    let before = proxy.memory("VmRSS");
    let mut lazy: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut lazy {
        client.send_raw(&encode(&["GET", "k"]).repeat(2000));
    }
    proxy.await_metric(OUTPUT_LIMIT, |count| {
        assert_eq!(neighbour.ask(&["PING"]), b"+PONG\r\n");
        count >= 4.0
    });
    let after = proxy.memory("VmRSS");
    assert!(after.saturating_sub(before) < 40 << 20, "{before} {after}");
    for client in &mut lazy {
        let (bytes, ended) = client.drain(PATIENCE);
        assert!(ended && bytes.len() < 2000 * 60_000, "{} bytes", bytes.len());
    }
    proxy.await_log(&["CLI-E001"]);
}

/// A slow reader takes its outstanding replies at its own pace.
#[test]
fn slow_reader_is_served() {
    let (server, proxy) = stage(SMALL_OUTPUT);
    server.observer().ask(&["SETRANGE", "k", "39999", "x"]);
    let mut slow = proxy.client();
    slow.send_raw(&encode(&["GET", "k"]).repeat(300));
    let replies = 300 * bulk(&[b'x'; 40_000]).len();
    let mut total = 0;
    while total < replies {
        std::thread::sleep(Duration::from_millis(10));
        let piece = slow.bytes((128 * KIB).min(replies - total), PATIENCE);
        assert!(!piece.is_empty(), "ended after {total} bytes\n{}", proxy.log());
        total += piece.len();
    }
    assert!((proxy.metric(OUTPUT_LIMIT) - 0.0).abs() < 0.5);
}

#[test]
fn silent_client_is_disconnected() {
    let (_server, proxy) = stage("idle_timeout = \"1500ms\"");
    let began = now();
    let mut idle = proxy.client();
    let mut subscriber = proxy.client();
    let mut blocked = proxy.client();
    let mut active = proxy.client();
    subscriber.ask(&["SUBSCRIBE", "news"]);
    blocked.send(&["BLPOP", "list", "0"]);
    let mut ended = false;
    while !ended {
        assert_eq!(active.ask(&["PING"]), b"+PONG\r\n");
        ended = idle.next(Duration::from_millis(50)) == Got::End;
        assert!(began.elapsed() < PATIENCE, "never disconnected");
    }
    assert!(began.elapsed() >= Duration::from_millis(1500));
    assert_eq!(active.ask(&["RPUSH", "list", "x"]), b":1\r\n");
    expect(&mut blocked, b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    assert_eq!(active.ask(&["PUBLISH", "news", "x"]), b":1\r\n");
    expect(&mut subscriber, b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n");
    assert!(proxy.metric("respgate_client_disconnects_total{reason=\"idle\"}") >= 1.0);
}

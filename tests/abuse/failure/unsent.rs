//! Requests on a pinned connection of which the server never had all: they were not executed, and what was sent
//! before them may have been.
//!
//! Owns: a connection that dies under a pipeline, and large requests that are given up. Never knows: shared
//! connections.

use super::support::client::{Target, encode};
use super::support::fake_server::{FakeServer, Order};
use super::support::real_server::{Brand, Server, wait_until};
use super::{LATE, QUIET, UNKNOWN, at_port, before, line, stays_silent};

const KIB: usize = 1024;
const ABORTED: &str = "-ERR respgate: the request was aborted";
const NOT_EXECUTED: &str = "not executed";

/// INCR, and a large request behind it on the same connection, the first `count` bytes of it.
fn incr_and(large: &[u8], count: usize) -> Vec<u8> {
    [&encode(&["INCR", "n"]), &large[..count]].concat()
}

#[test]
fn large_request_that_is_too_long_leaves_those_before_it_alone() {
    let server = FakeServer::start();
    let proxy = before(&server, "[limits]\nmax_bulk = \"1MiB\"", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    server.order("INCR", Order::Gate("incr"), 1);
    let (fits, long) = ("x".repeat(100 * KIB), "x".repeat(2048 * KIB));
    let request = encode(&["RPUSH", "l", &fits, &long]);
    client.send_raw(&incr_and(&request, request.len()));
    let connection = server.connection_of("INCR");
    stays_silent(&mut client);
    server.release("incr");
    assert_eq!(line(&mut client), "+OK", "it was executed");
    let reply = line(&mut client);
    assert!(reply.starts_with(ABORTED) && reply.ends_with(NOT_EXECUTED), "{reply}");
    wait_until("the connection with half a request goes", || server.is_closed(connection));
    assert_eq!(client.ask_text(&["SET", "k", "1"]), "+OK");
    assert_eq!(server.count("RPUSH"), 0);
}

#[test]
fn large_request_that_stops_is_not_executed_and_the_one_before_it_may_be() {
    let server = FakeServer::start();
    let proxy = before(&server, "command_timeout = \"1s\"", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    server.order("INCR", Order::Never, 1);
    let request = encode(&["SET", "k", &"x".repeat(200 * KIB)]);
    client.send_raw(&incr_and(&request, 70 * KIB));
    let reply = line(&mut client);
    assert!([LATE, UNKNOWN].contains(&&*reply), "{reply}");
    client.send_raw(&request[70 * KIB..]);
    let reply = line(&mut client);
    assert!(reply.starts_with(ABORTED) && reply.ends_with(NOT_EXECUTED), "{reply}");
    assert_eq!(client.ask_text(&["SET", "k", "1"]), "+OK");
    assert_eq!(server.count("SET k x"), 0);
}

/// A server that reads nothing, then closes the connection.
#[test]
fn connection_that_dies_under_a_pipeline_executed_nothing_of_which_it_had_no_end() {
    const SMALL: usize = 20;
    const REQUESTS: usize = SMALL + 3;
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let Target::Tcp(port) = server.target() else { return };
    let proxy = at_port(port, "on_outage = \"error\"", "", "");
    let mut client = proxy.client();
    let value = "x".repeat(90 * KIB);
    assert_eq!(client.ask_text(&["SET", "first", &value]), "+OK");
    let mut observer = server.observer();
    server.hold();
    // More than the kernel takes of a connection that is not read.
    let large = "x".repeat(32 * KIB * KIB);
    let value_of = |at| if at < SMALL { &value } else { &large };
    let requests: Vec<u8> =
        (0..REQUESTS).flat_map(|at| encode(&["SET", &format!("k{at}"), value_of(at)])).collect();
    client.send_raw(&requests);
    // Until nothing more is taken.
    std::thread::sleep(QUIET * 10);
    observer.send(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    server.release();
    let replies: Vec<String> = (0..REQUESTS).map(|_| line(&mut client)).collect();
    observer.reply();
    let (mut unknown, mut unsent) = (0, 0);
    for (at, reply) in replies.iter().enumerate() {
        let exists = observer.ask_text(&["EXISTS", &format!("k{at}")]);
        if reply == "+OK" {
            assert_eq!(exists, ":1", "{at}");
        } else if reply.ends_with(NOT_EXECUTED) {
            assert_eq!(exists, ":0", "{at}: {reply}");
            unsent += 1;
        } else {
            assert_eq!(reply, UNKNOWN, "{at}");
            unknown += 1;
        }
    }
    assert!(unknown > 0 && unsent > 0, "{replies:?}");
}

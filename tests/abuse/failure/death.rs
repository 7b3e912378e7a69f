//! Connections that die under requests.
//!
//! Owns: what is sent again, what never is, what ends a client. Never knows: silence, nonsense.

use super::support::client::PATIENCE;
use super::support::fake_server::{FakeServer, Order, length_of};
use super::support::real_server::wait_until;
use super::{UNKNOWN, before, client_that_transacts, close_noticed, ends, line, stays_silent};

#[test]
fn write_is_never_sent_twice() {
    let server = FakeServer::start();
    server.order("SET k", Order::Close(0), 1);
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SET", "k", "1"]), UNKNOWN);
    assert_eq!(client.ask_text(&["GET", "k"]), "$1\r\n1", "it was executed, as it happens");
    stays_silent(&mut client);
    assert_eq!(server.count("SET k"), 1);
}

#[test]
fn read_is_sent_again() {
    let server = FakeServer::start();
    server.order("GET k", Order::Close(0), 2);
    let proxy = before(&server, "", "max_retries = 2");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
    assert_eq!(client.ask_text(&["GET", "k"]), "$1\r\nv");
    assert_eq!(server.count("GET k"), 3);
}

#[test]
fn read_is_not_sent_again_for_ever() {
    let server = FakeServer::start();
    server.order("GET k", Order::Close(0), 100);
    let proxy = before(&server, "", "max_retries = 2");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["GET", "k"]), UNKNOWN);
    assert_eq!(server.count("GET k"), 3);
    assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
}

#[test]
fn read_is_not_sent_again_without_retries() {
    let server = FakeServer::start();
    server.order("GET k", Order::Close(0), 100);
    let proxy = before(&server, "", "max_retries = 0");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["GET", "k"]), UNKNOWN);
    assert_eq!(server.count("GET k"), 1);
}

#[test]
fn each_of_many_gets_its_own_fate() {
    let server = FakeServer::start();
    server.order("SET b", Order::Close(0), 1);
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    client.send_raw(
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n\
          *2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n*2\r\n$4\r\nECHO\r\n$1\r\nz\r\n",
    );
    assert_eq!(line(&mut client), "+OK");
    assert_eq!(line(&mut client), UNKNOWN);
    assert_eq!(line(&mut client), "$1\r\n1", "a read is sent again");
    assert_eq!(line(&mut client), UNKNOWN);
    assert_eq!(line(&mut client), "$1\r\nz", "and so is what changes nothing");
    stays_silent(&mut client);
    for write in ["SET a", "SET b", "SET c"] {
        assert!(server.count(write) <= 1, "{write}");
    }
}

/// The connection is closed after each number of bytes of the request: the server has executed it,
/// and then it may not be sent again, or it has not.
#[test]
fn request_that_was_cut_is_sent_whole() {
    let words = ["SET", "key", "value"];
    let whole = length_of(&words);
    for cut in (1..=whole).step_by(7).chain([whole - 1, whole]) {
        let server = FakeServer::start();
        let proxy = before(&server, "", "");
        let mut client = proxy.client();
        let before = server.accepted();
        close_noticed(&server, &proxy);
        server.cut_at(Some(cut));
        client.send(&words);
        // Another connection may be there again by then.
        wait_until("a connection is cut", || {
            (before..server.accepted()).any(|at| server.is_closed(at))
        });
        server.cut_at(None);
        let received = line(&mut client);
        assert!(["+OK", UNKNOWN].contains(&received.as_str()), "cut after {cut}: {received}");
        assert!(server.count("SET key") <= 1, "cut after {cut}");
    }
}

#[test]
fn transaction_is_never_sent_twice() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = client_that_transacts(&proxy);
    server.order("EXEC", Order::Close(0), 1);
    assert_eq!(client.ask_text(&["MULTI"]), "+OK");
    assert_eq!(client.ask_text(&["SET", "k", "1"]), "+QUEUED");
    assert_eq!(client.ask_text(&["EXEC"]), UNKNOWN);
    assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
    assert_eq!(server.count("SET k"), 1);
}

#[test]
fn half_a_reply_ends_its_client_alone() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let (mut one, mut two) = (proxy.client(), proxy.client());
    assert_eq!(one.ask_text(&["SET", "k", "abcdef"]), "+OK");
    server.order("GET k", Order::Close(7), 1);
    server.order("ECHO wait", Order::Gate("go"), 1);
    two.send(&["ECHO", "wait"]);
    server.connection_of("ECHO wait");
    one.send(&["GET", "k"]);
    server.connection_of("GET k");
    server.release("go");
    assert_eq!(two.reply(), b"$4\r\nwait\r\n");
    assert_eq!(one.bytes(7, PATIENCE), b"$6\r\nabc");
    let (rest, ended) = one.drain(PATIENCE);
    assert!(ended && rest.is_empty(), "nothing is put behind half a reply: {rest:?}");
    assert_eq!(two.ask(&["ECHO", "two"]), b"$3\r\ntwo\r\n");
}

#[test]
fn half_a_reply_on_a_pinned_connection_ends_its_client() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SET", "k", "abcdef"]), "+OK");
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    server.order("GET k", Order::Close(7), 1);
    client.send(&["GET", "k"]);
    assert_eq!(client.bytes(7, PATIENCE), b"$6\r\nabc");
    ends(&mut client);
}

#[test]
fn idle_connection_that_dies_is_no_event() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    for round in 0..5 {
        let word = round.to_string();
        assert_eq!(client.ask_text(&["SET", "k", &word]), "+OK");
        close_noticed(&server, &proxy);
    }
    assert_eq!(server.count("SET k"), 5);
}

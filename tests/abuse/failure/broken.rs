//! A server that sends what was not requested: the connection closes, its requests are answered with an
//! error, and no reply ever reaches another request.
//!
//! Owns: surplus replies, pushes, nonsense. Never knows: dead connections.

use super::support::fake_server::{FakeServer, Order};
use super::{QUIET, UNKNOWN, before, line, stays_silent};

/// `order` is what the server does to `SET bad 1`; `first` is the reply to its client.
fn check(order: Order, first: &str) {
    let server = FakeServer::start();
    server.order("SET bad", order, 1);
    let proxy = before(&server, "", "");
    let (mut one, mut two) = (proxy.client(), proxy.client());
    assert_eq!(two.ask_text(&["SET", "good", "1"]), "+OK");
    let doubtful = server.connection_of("SET good");

    server.order("ECHO wait", Order::Gate("go"), 1);
    two.send(&["ECHO", "wait"]);
    assert_eq!(server.connection_of("ECHO wait"), doubtful);
    one.send(&["SET", "bad", "1"]);
    assert_eq!(server.connection_of("SET bad"), doubtful);
    one.send(&["SET", "behind", "1"]);
    server.connection_of("SET behind");
    server.release("go");

    assert_eq!(two.reply(), b"$4\r\nwait\r\n");
    assert_eq!(line(&mut one), first);
    // The surplus may have been taken for the answer to the next request; nothing after it.
    let behind = line(&mut one);
    assert!([UNKNOWN, "+OK", "+SURPLUS"].contains(&behind.as_str()), "{behind}");
    super::support::real_server::wait_until("the connection goes", || server.is_closed(doubtful));

    for (client, word) in [(&mut one, "one"), (&mut two, "two")] {
        assert_eq!(client.ask(&["ECHO", word]), format!("$3\r\n{word}\r\n").as_bytes());
        stays_silent(client);
    }
    assert_eq!(server.count("SET bad"), 1, "a write is sent once");
    assert_eq!(server.count("SET behind"), 1, "a write is sent once");
}

#[test]
fn nonsense() {
    check(Order::Instead(b"HTTP/1.1 400\r\n".to_vec()), UNKNOWN);
}

#[test]
fn nonsense_behind_a_reply() {
    check(Order::Behind(b"hello\r\n".to_vec()), "+OK");
}

#[test]
fn unexpected_push() {
    check(Order::Before(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n".to_vec()), UNKNOWN);
}

#[test]
fn invalid_length() {
    check(Order::Instead(b"$-7\r\n".to_vec()), UNKNOWN);
}

#[test]
fn surplus_reply_while_nothing_is_due() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
    let connection = server.connection_of("ECHO a");
    server.push_bytes(connection, b"+SURPLUS\r\n");
    super::support::real_server::wait_until("the connection goes", || server.is_closed(connection));
    assert_eq!(client.ask(&["ECHO", "b"]), b"$1\r\nb\r\n");
    assert_ne!(server.connection_of("ECHO b"), connection);
    stays_silent(&mut client);
}

#[test]
fn surplus_reply_on_a_connection_at_rest() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    server.order("BLPOP", Order::Instead(b"*-1\r\n".to_vec()), 9);
    assert_eq!(client.ask(&["BLPOP", "q", "0"]), b"*-1\r\n");
    let connection = server.connection_of("BLPOP");
    assert_eq!(client.ask(&["BLPOP", "q", "0"]), b"*-1\r\n");
    assert_eq!(server.connection_of("BLPOP"), connection, "it is lent again");
    server.push_bytes(connection, b"+SURPLUS\r\n");
    std::thread::sleep(QUIET);
    assert_eq!(client.ask(&["BLPOP", "q", "0"]), b"*-1\r\n");
    assert_ne!(server.connection_of("BLPOP"), connection, "it cannot be trusted");
}

#[test]
fn surplus_reply_on_a_pinned_connection() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["WATCH", "k"]), b"+OK\r\n");
    let connection = server.connection_of("WATCH");
    server.push_bytes(connection, b"+SURPLUS\r\n");
    super::support::real_server::wait_until("the connection goes", || server.is_closed(connection));
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    assert_eq!(client.ask(&["SET", "k", "1"]), b"+QUEUED\r\n");
    assert_eq!(client.ask(&["EXEC"]), b"*-1\r\n", "what was watched is not watched any more");
    assert_eq!(server.count("SET"), 0);
    let lost = proxy.metric("respgate_upstream_disconnects_total{reason=\"protocol\"}");
    assert!((lost - 1.0).abs() < 0.1, "{lost}");
}

/// A server that puts something else between the acknowledgements of a SUBSCRIBE in EXEC's array, ends the array
/// amid them, or acknowledges too much.
#[test]
fn acknowledgements_of_a_transaction_that_are_wrong_cost_its_client_at_most() {
    let name = |name: &str| format!("*3\r\n$9\r\nsubscribe\r\n$1\r\n{name}\r\n:1\r\n");
    let (a, b) = (name("a"), name("b"));
    for array in [
        format!("*2\r\n{a}+odd\r\n"),
        format!("*2\r\n{a}-ERR odd\r\n{b}"),
        format!("*2\r\n+odd\r\n{a}{b}"),
        format!("*2\r\n{a}{b}{a}{b}+PONG\r\n"),
        format!("*1\r\n{a}"),
        "*0\r\n".to_owned(),
        format!("*3\r\n{a}:1\r\n:2\r\n"),
    ] {
        let server = FakeServer::start();
        server.order("EXEC", Order::Instead(array.clone().into_bytes()), 1);
        let proxy = before(&server, "", "");
        let (mut client, mut other) = (proxy.client(), proxy.client());
        for (words, reply) in [
            (&["MULTI"][..], "+OK"),
            (&["SUBSCRIBE", "a", "b"], "+QUEUED"),
            (&["SET", "k", "v"], "+QUEUED"),
        ] {
            assert_eq!(client.ask_text(words), reply);
        }
        client.send(&["EXEC"]);
        server.connection_of("EXEC");
        // Whatever becomes of the client: it is no defect of respgate, and the others have their own replies.
        let _ = client.next(QUIET);
        for word in ["one", "two"] {
            assert_eq!(other.ask(&["ECHO", word]), format!("$3\r\n{word}\r\n").as_bytes());
        }
        let log = proxy.log();
        assert!(!log.contains("RUN-E002") && !log.contains("CLI-E010"), "{array:?}: {log}");
    }
}

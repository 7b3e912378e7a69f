//! A server that does not answer in time.
//!
//! Owns: command timeouts, stalls. Never knows: dead connections.

use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::PATIENCE;
use super::support::fake_server::{FakeServer, Order};
use super::support::real_server::{signal, wait_until};
use super::{LATE, UNKNOWN, before, client_that_transacts, line, stays_silent};

#[test]
fn late_reply_is_discarded_and_no_other_client_suffers() {
    let server = FakeServer::start();
    server.order("SET late", Order::Gate("late"), 1);
    let proxy = before(&server, "command_timeout = \"1s\"", "");
    let (mut one, mut two) = (proxy.client(), proxy.client());
    one.send(&["SET", "late", "1"]);
    server.connection_of("SET late");
    std::thread::sleep(Duration::from_millis(700));
    two.send(&["ECHO", "two"]);
    assert_eq!(line(&mut one), LATE);
    server.release("late");
    assert_eq!(two.reply(), b"$3\r\ntwo\r\n");
    assert_eq!(one.ask(&["ECHO", "one"]), b"$3\r\none\r\n");
    stays_silent(&mut one);
    stays_silent(&mut two);
    assert_eq!(server.count("SET late"), 1);
}

#[test]
fn late_replies_of_a_transaction_are_discarded() {
    let server = FakeServer::start();
    let proxy = before(&server, "command_timeout = \"1s\"", "");
    let mut client = client_that_transacts(&proxy);
    // What is asked at the first MULTI is answered by now.
    server.order("EXEC", Order::Gate("late"), 1);
    for (words, reply) in
        [(&["MULTI"][..], "+OK"), (&["SET", "k", "1"], "+QUEUED"), (&["EXEC"], LATE)]
    {
        assert_eq!(client.ask_text(words), reply);
    }
    client.send(&["ECHO", "next"]);
    server.connection_of("ECHO next");
    server.release("late");
    assert_eq!(client.reply(), b"$4\r\nnext\r\n");
    stays_silent(&mut client);
}

/// respgate is suspended for longer than the timeout, while the replies come.
#[test]
fn reply_that_came_during_a_suspension_is_no_late_one() {
    let server = FakeServer::start();
    let proxy = before(&server, "command_timeout = \"2s\"", "");
    let (mut shared, mut pinned) = (proxy.client(), proxy.client());
    assert_eq!(pinned.ask(&["WATCH", "k"]), b"+OK\r\n");
    for round in 0..2 {
        let (gate, value) = (["first", "second"][round], round.to_string());
        server.order("SET", Order::Gate(gate), 2);
        shared.send(&["SET", "shared", &value]);
        pinned.send(&["SET", "pinned", &value]);
        for line in ["SET shared", "SET pinned"] {
            server.connection_of(&format!("{line} {value}"));
        }
        signal("STOP", proxy.pid());
        server.release(gate);
        std::thread::sleep(Duration::from_millis(2300));
        signal("CONT", proxy.pid());
        assert_eq!((line(&mut shared), line(&mut pinned)), ("+OK".to_owned(), "+OK".to_owned()));
        // What was late is judged by now.
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn reply_that_has_begun_is_awaited() {
    let server = FakeServer::start();
    let proxy = before(&server, "command_timeout = \"1s\"", "");
    let mut client = proxy.client();
    server.order("GET begun", Order::Instead(b"$6\r\nabc".to_vec()), 1);
    server.order("GET second", Order::Gate("second"), 1);
    client.send(&["GET", "begun"]);
    let connection = server.connection_of("GET begun");
    assert_eq!(client.bytes(7, PATIENCE), b"$6\r\nabc");
    client.send(&["GET", "second"]);
    std::thread::sleep(Duration::from_millis(1300));
    server.push_bytes(connection, b"def\r\n");
    assert_eq!(client.bytes(5, PATIENCE), b"def\r\n");
    assert_eq!(line(&mut client), LATE);
    server.release("second");
    assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
    stays_silent(&mut client);
}

#[test]
fn pinned_request_that_times_out_resets_its_connection() {
    let server = FakeServer::start();
    server.order("WATCH", Order::Never, 1);
    let proxy = before(&server, "command_timeout = \"1s\"", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["WATCH", "k"]), LATE);
    let connection = server.connection_of("WATCH");
    wait_until("the connection is reset", || server.is_reset(connection));
    assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
}

#[test]
fn blocking_command_may_take_its_time() {
    let server = FakeServer::start();
    server.order("BLPOP", Order::Late(Duration::from_millis(300)), 1);
    let proxy = before(&server, "command_timeout = \"100ms\"\nstall_timeout = \"100ms\"", "");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["BLPOP", "q", "0"]), b"+OK\r\n");
}

#[test]
fn blocking_command_ends_by_its_own_time_and_command_timeout() {
    for words in [&["BLPOP", "q", "0.4"][..], &["XREAD", "BLOCK", "400", "STREAMS", "s", "0"]] {
        let server = FakeServer::start();
        server.order(words[0], Order::Never, 1);
        let proxy = before(&server, "command_timeout = \"1s\"", "");
        let mut client = proxy.client();
        let start = now();
        assert_eq!(client.ask_text(words), LATE);
        let taken = now() - start;
        assert!(taken >= Duration::from_millis(1380), "{words:?}: {taken:?}");
        let connection = server.connection_of(words[0]);
        wait_until("the connection is reset", || server.is_reset(connection));
        assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
    }
}

#[test]
fn command_behind_a_blocking_one_has_its_time_from_that_ones_end() {
    let server = FakeServer::start();
    let proxy = before(&server, "command_timeout = \"1500ms\"", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    server.order("BLPOP", Order::Late(Duration::from_millis(1800)), 1);
    server.order("GET k", Order::Late(Duration::from_millis(2000)), 1);
    client.send(&["BLPOP", "q", "0"]);
    client.send(&["GET", "k"]);
    assert_eq!(line(&mut client), "+OK", "the fake server's reply to BLPOP");
    assert_eq!(line(&mut client), "$-1", "200 ms after it");
}

#[test]
fn connection_that_stays_silent_is_closed() {
    let server = FakeServer::start();
    server.order("SET stuck", Order::Never, 1);
    let pool =
        "stall_timeout = \"150ms\"\nconnect_timeout = \"150ms\"\ncommand_timeout = \"600ms\"";
    let proxy = before(&server, pool, "");
    let mut client = proxy.client();
    let start = now();
    assert_eq!(client.ask_text(&["SET", "stuck", "1"]), UNKNOWN);
    let taken = now() - start;
    assert!(taken >= Duration::from_millis(580), "not before command_timeout: {taken:?}");
    assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
    assert_eq!(server.count("SET stuck"), 1);
    assert!(server.count("PING") >= 1);
    let connection = server.connection_of("SET stuck");
    // What the kernel still holds of it is discarded, and not delivered later.
    wait_until("the connection is reset", || server.is_reset(connection));
}

#[test]
fn idle_server_does_not_count_as_silent() {
    let server = FakeServer::start();
    let proxy = before(&server, "stall_timeout = \"400ms\"\nconnect_timeout = \"1s\"", "");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
    std::thread::sleep(Duration::from_millis(1200));
    server.order("SET slow", Order::Late(Duration::from_millis(500)), 1);
    assert_eq!(client.ask_text(&["SET", "slow", "1"]), "+OK", "500 ms are less than 400 + 1000");
}

//! A server that is not, or not any more, the primary that is wanted.
//!
//! Owns: which errors clients get, and when its connections are replaced. Never knows: dead
//! connections.

use std::time::Duration;

use super::before;
use super::support::client::Client;
use super::support::fake_server::{FakeServer, Order};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};

/// Replies of a server that is not the primary, or not yet.
const MISPLACED: [&str; 3] = [
    "-READONLY You can't write against a read only replica.",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "-LOADING Redis is loading the dataset in memory",
];

#[test]
fn primary_that_is_none_any_more_is_left() {
    for line in MISPLACED {
        let server = FakeServer::start();
        server.order("SET k", Order::Instead(format!("{line}\r\n").into_bytes()), 1);
        server.order("PING", Order::Instead(format!("{line}\r\n").into_bytes()), 1);
        let proxy = before(&server, "", "");
        let mut client = proxy.client();
        server.demote();
        assert_eq!(client.ask_text(&["SET", "k", "1"]), line, "as it is");
        let old = server.connection_of("SET k");
        wait_until("the connection is replaced", || server.is_closed(old));
        assert_eq!(client.ask_text(&["SET", "k", "1"]), "+OK");
        assert_ne!(server.connection_of("SET k"), old);
    }
}

/// A pinned connection closes once its session has released it, and so do all idle ones.
#[test]
fn pinned_connections_to_a_demoted_server_are_closed() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let (mut one, mut two) = (proxy.client(), proxy.client());
    assert_eq!(one.ask_text(&["WATCH", "k"]), "+OK");
    assert_eq!(two.ask_text(&["WATCH", "other"]), "+OK");
    let (pinned, spare) = (server.connection_of("WATCH k"), server.connection_of("WATCH other"));
    assert_eq!(two.ask_text(&["UNWATCH"]), "+OK");
    std::thread::sleep(Duration::from_millis(1100));
    server.demote();
    server.order("SET k", Order::Instead(format!("{}\r\n", MISPLACED[0]).into_bytes()), 1);
    assert_eq!(one.ask_text(&["SET", "k", "1"]), MISPLACED[0]);
    assert!(!server.is_closed(pinned), "it watches");
    assert_eq!(one.ask_text(&["UNWATCH"]), "+OK");
    wait_until("the pinned one goes", || server.is_closed(pinned));
    wait_until("the spare one goes", || server.is_closed(spare));
    assert_eq!(one.ask_text(&["WATCH", "k"]), "+OK");
}

#[test]
fn loading_error_of_the_server_is_passed_on() {
    let server = FakeServer::start();
    let loading = b"-LOADING Redis is loading the dataset in memory\r\n".to_vec();
    server.order("GET k", Order::Instead(loading), 2);
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    assert!(client.ask_text(&["GET", "k"]).starts_with("-LOADING "));
    assert!(client.ask_text(&["GET", "k"]).starts_with("-LOADING "));
    assert_eq!(client.ask_text(&["GET", "k"]), "$-1");
}

/// An error that is cut anywhere reaches the client whole, and counts once and by its code.
#[test]
fn error_in_two_pieces_is_passed_on_and_counted() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let error = "-OOM command not allowed\r\n";
    let counted = |code| proxy.metric(&format!("respgate_upstream_errors_total{{code={code:?}}}"));
    for (pinned, expected) in [(false, 25.0), (true, 50.0)] {
        let mut client = proxy.client();
        if pinned {
            assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
        }
        for cut in 1..error.len() {
            let key = format!("k:{pinned}:{cut}:");
            server.order(&format!("GET {key}"), Order::Instead(Vec::new()), 1);
            client.send(&["GET", &key]);
            let connection = server.connection_of(&format!("GET {key}"));
            server.push_bytes(connection, &error.as_bytes()[..cut]);
            std::thread::sleep(Duration::from_millis(3));
            server.push_bytes(connection, &error.as_bytes()[cut..]);
            assert_eq!(client.reply(), error.as_bytes());
        }
        assert_eq!((counted("OOM"), counted("other")), (expected, 0.0));
    }
}

#[test]
fn replica_that_stays_one_is_not_dialed_for_every_write() {
    let server = FakeServer::start();
    let readonly = b"-READONLY You can't write against a read only replica.\r\n".to_vec();
    server.order("SET k", Order::Instead(readonly), usize::MAX);
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    for _ in 0..300 {
        assert!(client.ask_text(&["SET", "k", "1"]).starts_with("-READONLY "));
    }
    assert!(server.accepted() <= 10, "{} connections for 300 writes", server.accepted());
}

/// A transaction of one command; what EXEC answers.
fn transact(client: &mut Client, words: &[&str]) -> String {
    assert_eq!(client.ask_text(&["MULTI"]), "+OK");
    assert_eq!(client.ask_text(words), "+QUEUED");
    client.ask_text(&["EXEC"])
}

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

/// A client that writes by transactions alone finds the new primary too, whichever reply has the error.
#[test]
fn transaction_finds_the_new_primary() {
    let refused = format!("{}\r\n", MISPLACED[0]);
    let within = format!("*1\r\n{}. script: x, on @user_script:1.\r\n", MISPLACED[0]);
    for queued in [true, false] {
        let server = FakeServer::start();
        let proxy = before(&server, "", "");
        let mut client = proxy.client();
        assert_eq!(transact(&mut client, &["SET", "k", "0"]), "*1\r\n+OK");
        std::thread::sleep(Duration::from_millis(1100));
        let old = server.connection_of("EXEC");
        server.demote();
        if queued {
            server.order("SET k", Order::Instead(refused.clone().into_bytes()), 1);
            server.order("EXEC", Order::Instead(ABORTED.to_owned().into_bytes()), 1);
        } else {
            server.order("EXEC", Order::Instead(within.clone().into_bytes()), 1);
        }
        let received = transact(&mut client, &["SET", "k", "1"]);
        if queued {
            let reason = MISPLACED[0].trim_start_matches('-');
            let line = format!("-EXECABORT Transaction discarded because of: {reason}");
            assert_eq!(received, line);
        } else {
            assert_eq!(received, within.trim_end());
        }
        wait_until("the connection is replaced", || server.is_closed(old));
        assert_eq!(transact(&mut client, &["SET", "k", "1"]), "*1\r\n+OK", "{queued}");
    }
}

/// A script can return any error: the server's role is checked, and no connection is replaced.
#[test]
fn error_returned_by_a_script_replaces_no_connection() {
    for line in MISPLACED {
        let server = FakeServer::start();
        server.order("EVAL", Order::Instead(format!("{line}\r\n").into_bytes()), usize::MAX);
        let proxy = before(&server, "", "");
        let (mut client, mut other) = (proxy.client(), proxy.client());
        assert_eq!(other.ask_text(&["WATCH", "k"]), "+OK");
        assert_eq!(other.ask_text(&["UNWATCH"]), "+OK");
        std::thread::sleep(Duration::from_millis(1100));
        let accepted = server.accepted();
        for _ in 0..20 {
            assert_eq!(client.ask_text(&["EVAL", "x", "0"]), line);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(other.ask_text(&["SET", "k", "1"]), "+OK");
        assert_eq!(server.connection_of("SET k"), server.connection_of("EVAL"));
        // On a connection of its own, too.
        assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
        assert_eq!(client.ask_text(&["EVAL", "x", "0"]), line);
        assert_eq!(client.ask_text(&["UNWATCH"]), "+OK");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(server.accepted(), accepted, "{line}");
    }
}

/// The error that the server would have sent while queueing is in EXEC's reply, word for word.
#[test]
fn exec_reports_why_it_was_refused() {
    if !Brand::Redis.available() {
        return;
    }
    let cases: [(&[&str], &[&str], &str); 4] = [
        (
            &["CONFIG", "SET", "maxmemory", "1"],
            &["CONFIG", "SET", "maxmemory", "0"],
            "OOM command not allowed when used memory > 'maxmemory'.",
        ),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            "NOREPLICAS Not enough good replicas to write.",
        ),
        (
            &["REPLICAOF", "127.0.0.1", "1"],
            &["REPLICAOF", "NO", "ONE"],
            "READONLY You can't write against a read only replica.",
        ),
        (
            &["ACL", "SETUSER", "default", "-incr"],
            &["ACL", "SETUSER", "default", "+incr"],
            "NOPERM this user has no permissions to run the 'incr' command",
        ),
    ];
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let (mut observer, mut client) = (server.observer(), proxy.client());
    for (begin, end, reason) in cases {
        assert_eq!(observer.ask_text(begin), "+OK");
        for watch in [false, true] {
            if watch {
                assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
            }
            let received = transact(&mut client, &["INCR", "n"]);
            let line = format!("-EXECABORT Transaction discarded because of: {reason}");
            assert_eq!(received, line, "{watch}");
        }
        assert_eq!(observer.ask_text(end), "+OK");
    }
    assert_eq!(transact(&mut client, &["INCR", "n"]), "*1\r\n:1");
}

/// What frees the server does not wait behind what holds it up, nor for others' connections.
#[test]
fn release_commands_wait_for_nothing() {
    for brand in [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available()) {
        let server = Server::new(brand, false, &["--busy-reply-threshold", "20"]);
        let proxy = Proxy::before(&server, "[upstream.pool]\nmin_idle = 0\nmax_connections = 1\n");
        let (mut client, mut other, mut taker) = (proxy.client(), proxy.client(), proxy.client());
        taker.ask(&["SUBSCRIBE", "takes-the-only-pinned-connection"]);
        let script = "redis.register_function('endless', function() while true do end end)";
        let library = format!("#!lua name=l\n{script}");
        assert_eq!(other.ask_text(&["FUNCTION", "LOAD", &library]), "$1\r\nl");
        for (hold, free) in [
            (&["EVAL", "while true do end", "0"][..], &["SCRIPT", "KILL"][..]),
            (&["FCALL", "endless", "0"], &["FUNCTION", "KILL"]),
        ] {
            client.send(hold);
            wait_until("the script runs and can be ended", || other.ask_text(free) == "+OK");
            assert!(client.reply().starts_with(b"-"), "{free:?}");
        }
        assert_eq!(other.ask_text(&["CLIENT", "PAUSE", "100000", "WRITE"]), "+OK");
        client.send(&["SET", "k", "1"]);
        server.await_blocked(1);
        assert_eq!(other.ask_text(&["CLIENT", "UNPAUSE"]), "+OK");
        assert_eq!(client.reply(), b"+OK\r\n");
    }
}

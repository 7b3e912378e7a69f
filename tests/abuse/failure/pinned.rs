//! Connections of one client alone: what their death means, and what the client's death means.
//!
//! Owns: WATCH, SUBSCRIBE and blocking commands under faults. Never knows: shared connections.

use std::time::Duration;

use super::support::client::{Client, encode};
use super::support::fake_server::{FakeServer, Order};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};
use super::{UNKNOWN, before, client_that_transacts, ends, stays_silent};

#[test]
fn watch_that_died_fails_its_exec() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    let watches = "respgate_client_pinned_connections{cause=\"watch\"}";
    proxy.await_metric(watches, |count| count > 0.5);
    server.close_all();
    assert_eq!(client.ask_text(&["MULTI"]), "+OK");
    assert_eq!(client.ask_text(&["SET", "k", "1"]), "+QUEUED");
    proxy.await_metric(watches, |count| count < 0.5);
    assert_eq!(client.ask_text(&["EXEC"]), "*-1");
    assert_eq!(server.count("SET"), 0);
    assert_eq!(client.ask_text(&["MULTI"]), "+OK");
    assert_eq!(client.ask_text(&["EXEC"]), "*0", "once");
}

#[test]
fn exec_under_which_the_connection_dies_is_unknown() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = client_that_transacts(&proxy);
    server.order("EXEC", Order::Close(0), 1);
    for (words, reply) in [(&["WATCH", "k"][..], "+OK"), (&["MULTI"], "+OK"), (&["EXEC"], UNKNOWN)]
    {
        assert_eq!(client.ask_text(words), reply);
    }
    assert_eq!(client.ask_text(&["MULTI"]), "+OK");
    assert_eq!(client.ask_text(&["EXEC"]), "*0");
}

#[test]
fn subscriber_without_its_connection_is_sent_away() {
    for hello in ["2", "3"] {
        let server = FakeServer::start();
        let proxy = before(&server, "", "");
        let mut client = proxy.client();
        client.ask(&["HELLO", hello]);
        client.ask(&["SUBSCRIBE", "news"]);
        let connection = server.connection_of("SUBSCRIBE");
        stays_silent(&mut client);
        server.close_all();
        assert!(server.is_closed(connection));
        ends(&mut client);
    }
}

#[test]
fn messages_pass_whole_although_they_come_in_pieces() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    client.ask(&["SUBSCRIBE", "news"]);
    let connection = server.connection_of("SUBSCRIBE");
    let message = b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n";
    for piece in message.chunks(5) {
        server.push_bytes(connection, piece);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.reply(), message);
}

#[test]
fn half_a_message_is_forgotten_with_its_connection() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    client.ask(&["SUBSCRIBE", "news"]);
    server.push_bytes(server.connection_of("SUBSCRIBE"), b"*3\r\n$7\r\nmessage\r\n$4\r\nne");
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(client.ask_text(&["RESET"]), "+RESET");
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    assert_eq!(client.ask_text(&["ECHO", "a"]), "$1\r\na");
    stays_silent(&mut client);
}

#[test]
fn client_that_disconnects_closes_its_blocked_connection() {
    let server = FakeServer::start();
    server.order("BLPOP", Order::Never, 2);
    let proxy = before(&server, "", "");
    for half in [false, true] {
        let mut client = proxy.client();
        client.send(&["BLPOP", "q", "0"]);
        wait_until("it blocks", || server.count("BLPOP") == 1 + usize::from(half));
        let connection = server.connection_of("BLPOP");
        assert!(!server.is_closed(connection));
        if half {
            client.finish();
        } else {
            drop(client);
        }
        wait_until("the connection goes", || server.is_closed(connection));
    }
}

#[test]
fn no_element_is_popped_for_a_client_that_disconnected() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut observer = server.observer();
    for round in 0..20 {
        let key = format!("q{round}");
        let mut client = proxy.client();
        client.send(&["BLPOP", &key, "0"]);
        wait_until("it blocks", || {
            observer.ask_text(&["INFO", "clients"]).contains("blocked_clients:1")
        });
        drop(client);
        wait_until("no client is blocked", || {
            observer.ask_text(&["INFO", "clients"]).contains("blocked_clients:0")
        });
        observer.ask(&["RPUSH", &key, "job"]);
        assert_eq!(observer.ask_text(&["LRANGE", &key, "0", "-1"]), "*1\r\n$3\r\njob");
    }
}

const REFUSED: &str = "-ERR respgate: the server refused MULTI, so the queued commands ran without a \
     transaction; grant +@transaction to respgate's server user";

/// A transaction of `SET k` under a watch, or none.
fn transact(client: &mut Client, watch: bool) -> String {
    if watch {
        assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    }
    assert_eq!(client.ask_text(&["MULTI"]), "+OK");
    assert_eq!(client.ask_text(&["SET", "k", "1"]), "+QUEUED");
    client.ask_text(&["EXEC"])
}

const DENIED: &str = "-NOPERM this user has no permissions to run the 'multi' command \
     (grant +@transaction to respgate's server user)";
const DENIED_BY_SERVER: &str = "-NOPERM this user has no permissions to run the 'multi' command";

/// What the client queues is not even queued, as with the server itself, until the rules are others.
#[test]
fn multi_that_the_server_refuses_is_refused() {
    if !Brand::Redis.available() {
        return;
    }
    for mode in ["shared", "session"] {
        for watch in [false, true] {
            let server = Server::plain(Brand::Redis);
            let mut observer = server.observer();
            assert_eq!(observer.ask_text(&["ACL", "SETUSER", "default", "-multi"]), "+OK");
            let proxy = Proxy::before(&server, &format!("[upstream.pool]\nmode = {mode:?}\n"));
            let mut client = proxy.client();
            for round in 1..3 {
                if watch {
                    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
                }
                let lines = [&["MULTI"][..], &["INCR", "n"], &["EXEC"]];
                client.send_raw(&lines.iter().flat_map(|words| encode(words)).collect::<Vec<_>>());
                let denied = if mode == "session" { DENIED_BY_SERVER } else { DENIED };
                assert_eq!(client.reply(), format!("{denied}\r\n").into_bytes(), "{mode} {watch}");
                assert_eq!(client.reply(), format!(":{round}\r\n").into_bytes());
                assert_eq!(client.reply(), b"-ERR EXEC without MULTI\r\n");
                client.ask(&["UNWATCH"]);
            }
            assert_eq!(observer.ask_text(&["ACL", "SETUSER", "default", "+multi"]), "+OK");
            assert_eq!(transact(&mut client, watch), "*1\r\n+OK", "{mode} {watch}");
        }
    }
}

/// Where it is refused from one moment to the next, the server runs what was queued, and goes on
/// watching: the next client must not notice.
#[test]
fn multi_that_the_server_refuses_is_reported() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "[upstream.pool]\nmax_connections = 1\n");
    let mut client = proxy.client();
    let mut observer = server.observer();
    for watch in [false, true] {
        assert_eq!(observer.ask_text(&["ACL", "SETUSER", "default", "+multi"]), "+OK");
        assert_eq!(transact(&mut client, watch), "*1\r\n+OK", "{watch}");
        assert_eq!(observer.ask_text(&["ACL", "SETUSER", "default", "-multi"]), "+OK");
        assert_eq!(transact(&mut client, watch), REFUSED, "{watch}");
        assert_eq!(client.ask_text(&["INCR", "k"]), ":2", "{watch}");
        assert_eq!(client.ask_text(&["MULTI"]), DENIED, "{watch}");
    }
}

/// What such a connection still watches or queues is unknown.
#[test]
fn connection_on_which_exec_failed_is_not_used_again() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    for (error, goes) in [("-ERR not now", true), ("-EXECABORT not so", false)] {
        let mut client = client_that_transacts(&proxy);
        server.order("EXEC", Order::Instead(format!("{error}\r\n").into_bytes()), 1);
        assert_eq!(transact(&mut client, true), error);
        let connection = server.connection_of("EXEC");
        assert_eq!(client.ask_text(&["SET", "k", "1"]), "+OK");
        if goes {
            wait_until("the connection goes", || server.is_closed(connection));
        } else {
            assert!(!server.is_closed(connection));
        }
    }
}

/// A new spare connection is opened at once when the last one is taken.
#[test]
fn spares_are_made_up_for_at_once() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let pool =
        "[upstream.pool]\nmin_idle = 2\nhealth_check_interval = \"1h\"\nidle_timeout = \"1h\"\n";
    let proxy = Proxy::before(&server, pool);
    let mut subscribers = Vec::new();
    for count in 0..5 {
        wait_until("two are spare", || {
            let idle = proxy.metric("respgate_upstream_connections{state=\"pinned_idle\"}");
            (idle - 2.0).abs() < 0.1
        });
        let mut subscriber = proxy.client();
        subscriber.ask(&["SUBSCRIBE", &format!("c{count}")]);
        subscribers.push(subscriber);
    }
}

//! A server that cannot be reached, does not want, or has no room.
//!
//! Owns: fail-fast, recovery, waiting for pinned connections, failover. Never knows: faults of one
//! connection.

use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::fake_server::{FakeServer, Order};
use super::support::real_server::wait_until;
use super::{before, line};

fn is_unavailable(line: &str) -> bool {
    let code = if line.contains("(exhausted)") { "-ERR" } else { "-LOADING" };
    line.starts_with(&format!("{code} respgate: upstream unavailable ("))
        && line.ends_with("; the command was not executed")
}

#[test]
fn server_that_is_down_is_reported_at_once_and_found_again() {
    let server = FakeServer::start();
    let proxy = before(&server, "acquire_timeout = \"200ms\"", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SET", "k", "1"]), "+OK");
    server.go_down();
    wait_until("it is noticed", || is_unavailable(&client.ask_text(&["SET", "k", "2"])));
    // Each would wait for 200 ms.
    let start = now();
    for _ in 0..400 {
        assert!(is_unavailable(&client.ask_text(&["GET", "k"])));
    }
    assert!(now() - start < Duration::from_secs(40), "no client waits for what will not come");
    assert!(is_unavailable(&client.ask_text(&["WATCH", "k"])));
    assert!(is_unavailable(&client.ask_text(&["SELECT", "3"])));
    assert_eq!(client.ask_text(&["CLIENT", "GETNAME"]), "$-1", "respgate itself is well");
    server.come_up();
    wait_until("it is found again", || client.ask_text(&["SET", "k", "3"]) == "+OK");
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
}

#[test]
fn server_that_never_answers_is_waited_for_with_a_limit() {
    let server = FakeServer::start();
    let proxy = before(&server, "acquire_timeout = \"150ms\"\nconnect_timeout = \"200ms\"", "");
    let mut client = proxy.client();
    server.be_mute(true);
    server.close_all();
    let start = now();
    // It may still be written to the connection that has just ended.
    let received = client.ask_text(&["SET", "k", "1"]);
    assert!(is_unavailable(&received) || received.contains("outcome unknown"), "{received}");
    assert!(now() - start < Duration::from_secs(10));
    assert_eq!(server.count("SET k"), 0);
    server.be_mute(false);
    wait_until("it is found again", || client.ask_text(&["SET", "k", "3"]) == "+OK");
}

#[test]
fn pinned_connections_end_at_the_limit() {
    let server = FakeServer::start();
    server.order("BLPOP", Order::Never, 9);
    let proxy = before(&server, "max_connections = 2\nacquire_timeout = \"1s\"", "");
    let (mut one, mut two, mut three) = (proxy.client(), proxy.client(), proxy.client());
    one.send(&["BLPOP", "q", "0"]);
    assert_eq!(two.ask_text(&["WATCH", "k"]), "+OK");
    wait_until("both are taken", || server.count("BLPOP") == 1);
    let start = now();
    three.send(&["BLPOP", "q", "0"]);
    three.send(&["ECHO", "a"]);
    let received = line(&mut three);
    assert!(
        received.contains("unavailable (exhausted)") && is_unavailable(&received),
        "{received}"
    );
    assert!(now() - start >= Duration::from_millis(980), "it was waited for");
    assert_eq!(three.reply(), b"$1\r\na\r\n", "shared connections are another matter");
    assert_eq!(two.ask_text(&["UNWATCH"]), "+OK");
    assert_eq!(three.ask_text(&["WATCH", "k"]), "+OK", "there is room again");
}

#[test]
fn waiter_gets_the_connection_that_comes_free() {
    let server = FakeServer::start();
    let proxy = before(&server, "max_connections = 1\nacquire_timeout = \"5s\"", "");
    let (mut one, mut two) = (proxy.client(), proxy.client());
    assert_eq!(one.ask_text(&["WATCH", "k"]), "+OK");
    two.send(&["WATCH", "k"]);
    super::stays_silent(&mut two);
    drop(one);
    assert_eq!(line(&mut two), "+OK");
}

#[test]
fn exec_that_gets_no_connection_ends_its_transaction() {
    let server = FakeServer::start();
    server.order("BLPOP", Order::Never, 1);
    let proxy = before(&server, "max_connections = 1\nacquire_timeout = \"1s\"", "");
    let (mut one, mut two) = (proxy.client(), proxy.client());
    one.send(&["BLPOP", "q", "0"]);
    server.connection_of("BLPOP");
    assert_eq!(two.ask_text(&["MULTI"]), "+OK");
    assert_eq!(two.ask_text(&["SELECT", "1"]), "+QUEUED");
    let received = two.ask_text(&["EXEC"]);
    assert!(
        received.starts_with("-EXECABORT ") && received.contains("unavailable (exhausted)"),
        "{received}"
    );
    assert_eq!(two.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
    assert_eq!(server.count("SELECT 1"), 0);
}

/// A pinned connection selects whatever database its client names, and each needs a shared connection afterwards.
#[test]
fn databases_selected_on_pinned_connections_have_the_limit_of_others() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    let (mut refused, mut known) = (0, String::new());
    for database in (0..80_u32).map(|number| number.to_string()) {
        assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
        assert_eq!(client.ask_text(&["SELECT", &database]), "+OK");
        assert_eq!(client.ask_text(&["UNWATCH"]), "+OK");
        client.send(&["ECHO", "a"]);
        client.send(&["ECHO", "b"]);
        let received = line(&mut client);
        if received.contains("unavailable (exhausted)") {
            refused += 1;
            assert!(line(&mut client).contains("unavailable (exhausted)"), "the next one, too");
        } else {
            assert_eq!((received.as_str(), line(&mut client).as_str()), ("$1\r\na", "$1\r\nb"));
            known = database;
        }
    }
    // A connection that no client used for a second has made room for another, but not the last one.
    assert!(refused <= 80 - 64, "{refused}");
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    assert_eq!(client.ask_text(&["SELECT", &known]), "+OK");
    assert_eq!(client.ask_text(&["UNWATCH"]), "+OK");
    assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n", "known databases are served");
}

/// Clients that are connected and do nothing hold no place: others get one, and they get one again.
#[test]
fn databases_of_idle_clients_make_room_for_those_of_others() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut clients: Vec<_> = (0..70).map(|_| proxy.client()).collect();
    for (client, database) in clients.iter_mut().zip(1_u32..) {
        let database = database.to_string();
        wait_until("a database is served although all others were selected", || {
            client.ask_text(&["SELECT", &database]) == "+OK"
        });
        assert_eq!(client.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
    }
    assert!(proxy.metric("respgate_upstream_connections{state=\"shared\"}") <= 64.0);
    for client in clients.iter_mut().take(20) {
        wait_until("a client that was idle is served", || {
            client.ask(&["ECHO", "a"]) == b"$1\r\na\r\n"
        });
    }
}

#[test]
fn database_whose_connection_was_lost_is_served_when_it_is_used_again() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SELECT", "3"]), "+OK");
    assert_eq!(client.ask_text(&["SET", "k", "1"]), "+OK");
    server.close_all();
    // Longer than outage_wait, during which no request makes respgate connect again.
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(client.ask_text(&["SET", "k", "2"]), "+OK");
}

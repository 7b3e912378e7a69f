//! Messages, events, invalidations: an application receives its own alone.
//!
//! Owns: which client listens to what, and what a changed prefix does to listeners. Never knows: frames.

use std::time::Duration;

use super::support::client::{Client, Got, PATIENCE, show};
use super::support::real_server::{Brand, Server, wait_until};
use super::*;

/// Long enough for a message in flight.
const QUIET: Duration = Duration::from_millis(100);

fn listen(client: &mut Client, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    client.send(&words);
    for _ in 1..words.len() {
        let reply = client.reply();
        assert!(contains(&reply, "subscribe"), "{line}: {}", show(&reply));
    }
}

fn send_lines(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let reply = client.ask(&line.split(' ').collect::<Vec<_>>());
        assert_ne!(reply[0], b'-', "{line}: {}", show(&reply));
    }
}

/// What `listener`, which receives every channel of `own` by PSUBSCRIBE *, gets up to a message that is
/// published now. The server sends messages in the order in which it executes commands.
fn messages_until_mark(own: &Proxy, listener: &mut Client) -> String {
    send_lines(&mut own.client(), &["PUBLISH mark end"]);
    let mut received = String::new();
    loop {
        let part = String::from_utf8(listener.reply()).unwrap();
        if part.contains("mark") {
            return received;
        }
        received.push_str(&part);
    }
}

/// Names in replies are the application's own within EXEC's array as well as outside of it, whatever else
/// is special about a command: each reply is the one that the server gives without a prefix.
#[test]
fn replies_in_a_transaction_have_the_names_of_replies_outside() {
    const LINES: &[&str] = &[
        "CLIENT TRACKING ON BCAST PREFIX x PREFIX y",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKING ON BCAST PREFIX x",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKING ON BCAST PREFIX a PREFIX ab",
        "XADD s 1-1 f v",
        "XREAD STREAMS s 0",
        "XREADGROUP GROUP g c STREAMS s >",
        "XGROUP DESTROY none g",
        "XINFO GROUPS none",
        "KEYS *",
        "SCAN 0",
        "LPUSH l v",
        "LMPOP 2 none l LEFT",
        "ZADD z 1 m",
        "ZMPOP 2 none z MIN",
        "BLPOP none l 1",
        "PUBSUB CHANNELS",
        "PUBSUB NUMSUB c",
        "COMMAND GETKEYS GET k",
    ];
    for brand in [Brand::Redis, Brand::Valkey] {
        if !brand.available() {
            continue;
        }
        let (server, bare) = (Server::plain(brand), Server::plain(brand));
        let own = app(&server, "qa:", "");
        let (mut client, mut direct) = (own.client(), bare.observer());
        for client in [&mut client, &mut direct] {
            assert!(client.ask(&["HELLO", "3"]).starts_with(b"%"));
        }
        let ask =
            |line: &str, client: &mut Client| client.ask(&line.split(' ').collect::<Vec<_>>());
        for line in LINES {
            for request in ["MULTI", *line, "EXEC"] {
                let (through, straight) = (ask(request, &mut client), ask(request, &mut direct));
                assert_eq!(show(&through), show(&straight), "{brand:?}: {line}");
            }
        }
    }
}

/// Everything that makes a server publish something.
const NOISE: &[&str] = &[
    "SET k v",
    "SET k w",
    "EXPIRE k 100",
    "DEL k",
    "RPUSH l x",
    "LPOP l",
    "SET x__:qa:k v",
    "SET __:qa: v",
    "PUBLISH c m",
    "PUBLISH qa:c m",
    "PUBLISH __keyspace@0__:qa:k set",
    "PUBLISH __keyevent@0__:set qa:k",
    "PUBLISH __redis__:invalidate qa:k",
    "SPUBLISH c m",
    "SPUBLISH qa:c m",
    "FLUSHDB",
];

fn applications_do_not_receive_each_others_messages(brand: Brand, tls: bool) {
    let server = Server::new(brand, tls, &["--notify-keyspace-events", "KEA"]);
    let (own, other) = (app(&server, "qa:", KEY_SCANS), app(&server, "qb:", KEY_SCANS));
    for protocol in ["2", "3"] {
        let mut listener = own.client();
        listener.ask(&["HELLO", protocol]);
        if protocol == "3" {
            send_lines(&mut listener, &["CLIENT TRACKING ON BCAST"]);
        }
        listen(&mut listener, "SUBSCRIBE c qa:c __keyspace@0__:k __keyevent@0__:set");
        listen(&mut listener, "PSUBSCRIBE * __key*__:* __keyspace@*__:* __keyevent@*__:*");
        listen(&mut listener, "PSUBSCRIBE __keyspace@0__:x*");
        listen(&mut listener, "SSUBSCRIBE c");
        let mut speaker = other.client();
        send_lines(&mut speaker, NOISE);
        assert_eq!(messages_until_mark(&own, &mut listener), "");
        assert!(speaker.ask(&["PUBSUB", "CHANNELS"]) == b"*0\r\n");
        assert_eq!(
            speaker.ask(&["PUBSUB", "NUMSUB", "c", "qa:c", "__keyevent@0__:set"]),
            b"*6\r\n$1\r\nc\r\n:0\r\n$4\r\nqa:c\r\n:0\r\n$18\r\n__keyevent@0__:set\r\n:0\r\n"
        );
        // The same of its own is received, and with the own names.
        let mut speaker = own.client();
        send_lines(&mut speaker, &["SET k v"]);
        let received = messages_until_mark(&own, &mut listener);
        for part in ["__keyspace@0__:k\r\n$3\r\nset", "__keyevent@0__:set\r\n$1\r\nk\r\n"] {
            assert_eq!(received.matches(part).count(), 3, "{received}");
        }
        assert_eq!(
            received.matches("invalidate").count(),
            usize::from(protocol == "3"),
            "{received}"
        );
        send_lines(&mut speaker, &["PUBLISH c m"]);
        let received = messages_until_mark(&own, &mut listener);
        assert_eq!(received.matches("$1\r\nc\r\n$1\r\nm\r\n").count(), 2, "{received}");
        assert!(!received.contains("qa:"), "{received}");
        send_lines(&mut own.client(), &["DEL k"]);
    }
}

#[test]
fn redis() {
    applications_do_not_receive_each_others_messages(Brand::Redis, true);
}

#[test]
fn valkey() {
    if Brand::Valkey.available() {
        applications_do_not_receive_each_others_messages(Brand::Valkey, false);
    }
}

/// One application does not see when the other writes what it watches.
#[test]
fn watched_keys_are_ones_own() {
    let server = Server::mutual_tls(Brand::Redis);
    let (own, other) = (app(&server, "qa:", ""), app(&server, "qb:", ""));
    let (mut client, mut another) = (own.client(), own.client());
    let mut foreign = other.client();
    send_lines(&mut client, &["SET k 1", "WATCH k"]);
    send_lines(&mut foreign, &["SET k 2", "DEL k"]);
    send_lines(&mut client, &["MULTI", "GET k"]);
    assert_eq!(client.ask(&["EXEC"]), b"*1\r\n$1\r\n1\r\n");
    send_lines(&mut client, &["WATCH k"]);
    send_lines(&mut another, &["SET k 3"]);
    send_lines(&mut client, &["MULTI", "GET k"]);
    assert_eq!(client.ask(&["EXEC"]), b"*-1\r\n");
}

/// What a blocked client waits for is its own, too.
#[test]
fn blocked_clients_wait_for_their_own() {
    let server = Server::mutual_tls(Brand::Redis);
    let (own, other) = (app(&server, "qa:", ""), app(&server, "qb:", ""));
    let mut client = own.client();
    client.send(&["BLPOP", "l", "0"]);
    server.await_blocked(1);
    send_lines(&mut other.client(), &["RPUSH l foreign"]);
    assert_eq!(client.next(QUIET), Got::Silence);
    send_lines(&mut own.client(), &["RPUSH l own"]);
    assert_eq!(client.reply(), b"*2\r\n$1\r\nl\r\n$3\r\nown\r\n");
}

/// With another prefix in force no client receives the channels of the old one, and a session that tracks
/// keys under it may not mix them.
#[test]
fn changed_prefix() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = app(&server, "qa:", "");
    let (mut subscriber, mut tracker, mut plain) = (proxy.client(), proxy.client(), proxy.client());
    listen(&mut subscriber, "SUBSCRIBE c");
    tracker.ask(&["HELLO", "3"]);
    send_lines(&mut tracker, &["CLIENT TRACKING ON", "GET k"]);
    send_lines(&mut plain, &["SET k old"]);
    assert!(contains(&tracker.reply(), "invalidate"));
    proxy.reconfigure("prefix = \"qa:\"", "prefix = \"qb:\"");
    proxy.hang_up();
    wait_until("the new prefix is in force", || plain.ask(&["GET", "k"]) == b"$-1\r\n");
    assert_eq!(subscriber.next(PATIENCE), Got::End);
    let reply = tracker.ask(&["GET", "k"]);
    assert!(contains(&reply, "keys.prefix has changed"), "{}", show(&reply));
    wait_until("no client is subscribed to it", || {
        server.observer().ask(&["PUBLISH", "qa:c", "old"]) == b":0\r\n"
    });
    let mut subscriber = proxy.client();
    listen(&mut subscriber, "SUBSCRIBE c");
    assert_eq!(plain.ask(&["PUBLISH", "c", "new"]), b":1\r\n");
    assert_eq!(subscriber.reply(), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nnew\r\n");
}

//! Clients that are subscribed and receive nothing: whether the server is still there.
//!
//! Owns: the probes on their connections. Never knows: commands that wait for a reply.

use super::support::client::{Client, Got, PATIENCE};
use super::support::fake_server::{FakeServer, Order};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};
use super::{LATE, before, ends, line, stays_silent};

const QUICK: &str = "[upstream.pool]\nhealth_check_interval = \"60ms\"\ncommand_timeout = \"2s\"\n";

/// Whether the server has had a PING on a connection that is subscribed, or has keys tracked, and answered it.
fn is_probed(observer: &mut Client) -> bool {
    let list = String::from_utf8_lossy(&observer.ask(&["CLIENT", "LIST"])).into_owned();
    list.lines().any(|line| {
        line.contains(" cmd=ping ") && (line.contains(" sub=1 ") || line.contains(" flags=t "))
    })
}

fn message(protocol: u8, text: &str) -> Vec<u8> {
    let mark = if protocol == 3 { '>' } else { '*' };
    format!("{mark}3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n{text}\r\n", text.len()).into_bytes()
}

#[test]
fn subscribers_see_nothing_of_the_probes_on_their_connections() {
    for brand in [Brand::Redis, Brand::Valkey] {
        if !brand.available() {
            continue;
        }
        for protocol in [2_u8, 3] {
            let server = Server::plain(brand);
            let proxy = Proxy::before(&server, QUICK);
            let (mut client, mut other) = (proxy.client(), proxy.client());
            client.ask(&["HELLO", &protocol.to_string()]);
            client.send(&["SUBSCRIBE", "c"]);
            assert!(client.reply().ends_with(b":1\r\n"), "it is subscribed");
            let mut observer = server.observer();
            for text in ["one", "two"] {
                wait_until("the server is asked", || is_probed(&mut observer));
                stays_silent(&mut client);
                other.ask(&["PUBLISH", "c", text]);
                assert_eq!(client.next(PATIENCE), Got::Reply(message(protocol, text)));
            }
            wait_until("the server is asked", || is_probed(&mut observer));
            let pong: &[u8] =
                if protocol == 3 { b"+PONG\r\n" } else { b"*2\r\n$4\r\npong\r\n$0\r\n\r\n" };
            assert_eq!(client.ask(&["PING"]), pong, "{brand:?} {protocol}");
            client.send(&["UNSUBSCRIBE"]);
            assert!(client.reply().ends_with(b":0\r\n"));
            assert_eq!(client.ask(&["ECHO", "x"]), b"$1\r\nx\r\n");
        }
    }
}

#[test]
fn client_that_caches_sees_nothing_of_the_probes_on_its_connection() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, QUICK);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    client.ask(&["HELLO", "3"]);
    assert_eq!(client.ask(&["CLIENT", "TRACKING", "ON"]), b"+OK\r\n");
    client.ask(&["GET", "k"]);
    let mut observer = server.observer();
    wait_until("the server is asked", || is_probed(&mut observer));
    stays_silent(&mut client);
    other.ask(&["SET", "k", "v"]);
    let invalidation = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n".to_vec();
    assert_eq!(client.next(PATIENCE), Got::Reply(invalidation));
}

#[test]
fn subscription_without_an_answer_ends_with_an_error() {
    let server = FakeServer::start();
    let proxy = before(&server, "command_timeout = \"1s\"", "");
    for words in [["SUBSCRIBE", "c"], ["PSUBSCRIBE", "c*"], ["UNSUBSCRIBE", "c"]] {
        server.order(words[0], Order::Never, 1);
        let mut client = proxy.client();
        client.send(&words);
        assert_eq!(line(&mut client), LATE, "{words:?}");
        ends(&mut client);
    }
    assert_eq!(proxy.client().ask(&["ECHO", "x"]), b"$1\r\nx\r\n");
}

#[test]
fn subscriber_is_disconnected_when_the_server_answers_no_probe() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, QUICK);
    let mut client = proxy.client();
    client.send(&["SUBSCRIBE", "c"]);
    assert!(client.reply().ends_with(b":1\r\n"), "it is subscribed");
    server.hold();
    ends(&mut client);
    server.release();
}

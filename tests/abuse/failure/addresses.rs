//! A name with two addresses, of which the first does not lead to the primary.
//!
//! Owns: whether the next one is tried. Never knows: how names are looked up.

use std::net::TcpListener;

use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server};

/// In this order: the system sorts them so.
const BOTH: &str = "127.0.0.1 localhost\n127.0.0.2 localhost\n";
/// A single attempt to connect takes longer than a test may.
const SLOW: &str = "[upstream.pool]\nconnect_timeout = \"2m\"\nacquire_timeout = \"2m\"\n";

/// The primary, at the second address.
fn second() -> Server {
    Server::new(Brand::Redis, false, &["--bind", "127.0.0.2"])
}

fn is_served(proxy: &Proxy) {
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
    assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    assert_eq!(client.ask_text(&["SET", "k", "w"]), "+OK", "on a pinned connection, too");
}

#[test]
fn address_that_accepts_and_never_answers_is_skipped() {
    let server = second();
    let silent = TcpListener::bind(("127.0.0.1", server.port)).unwrap();
    let Some(proxy) = Proxy::with_hosts(&server, BOTH, SLOW) else { return };
    is_served(&proxy);
    drop(silent);
}

#[test]
fn address_of_a_replica_is_passed_by() {
    let server = second();
    let port = server.port.to_string();
    let _replica =
        Server::new(Brand::Redis, false, &["--port", &port, "--replicaof", "127.0.0.2", &port]);
    let Some(proxy) = Proxy::with_hosts(&server, BOTH, SLOW) else { return };
    is_served(&proxy);
}

//! Passwords: the one towards the server, and those of clients.
//!
//! Owns: the cases. Never knows: certificates.

use std::path::PathBuf;

use super::load::under_load;
use super::support::client::{Client, Target};
use super::support::proxy;
use super::support::real_server::free_port;
use super::*;

/// A server with a user `app`, and a respgate that is this user by a password in a file.
fn stage() -> (Server, Proxy, PathBuf) {
    let server = Server::mutual_tls(Brand::Redis);
    let mut observer = server.observer();
    observer.ask(&["ACL", "SETUSER", "app", "on", ">first", "~*", "&*", "+@all"]);
    let home = proxy::directory();
    let file = home.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let (port, telemetry) = (free_port(), free_port());
    let listener = proxy::listener(&Target::Tcp(port), "");
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let auth = format!("[upstream.auth]\nusername = \"app\"\npassword_file = {file:?}\n");
    let proxy = Proxy::configured(home, Target::Tcp(port), telemetry, &format!("{text}\n{auth}"));
    (server, proxy, file)
}

fn applied(proxy: &Proxy) -> f64 {
    attempts(proxy, "auth", "applied")
}

/// A rotation as the server's documentation describes it: both passwords, the new one, the old one gone.
#[test]
fn rotation_with_overlap_loses_nothing() {
    let (server, proxy, file) = stage();
    under_load(&proxy, || {
        let mut current = "first".to_owned();
        for number in 1..=20 {
            let next = if number == 20 { "last".to_owned() } else { format!("password-{number}") };
            let before = applied(&proxy);
            server.observer().ask(&["ACL", "SETUSER", "app", &format!(">{next}")]);
            rename_over(&file, &next);
            wait_until("the password is applied", || applied(&proxy) > before);
            server.observer().ask(&["ACL", "SETUSER", "app", &format!("<{current}")]);
            current = next;
        }
    });
    // What is opened from here on can only be opened with the last one.
    server.observer().ask(&["CLIENT", "KILL", "USER", "app"]);
    wait_until("it serves", || proxy.client().ask(&["SET", "k", "v"]) == b"+OK\r\n");
    serves(&proxy);
    let log = proxy.log();
    for secret in ["first", "password-", "last"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Shared connections log in again as they are; one that a session has is replaced after its grace.
#[test]
fn new_password_is_sent_on_open_connections() {
    let (server, proxy, file) = stage();
    let (mut client, mut other, mut listening) = (proxy.client(), proxy.client(), proxy.client());
    other.ask(&["HELLO", "3"]);
    client.ask(&["GET", "k"]);
    other.ask(&["GET", "k"]);
    listening.ask(&["SUBSCRIBE", "c"]);
    let shared = connections_after(&server, &["get"]);
    let before = applied(&proxy);
    server.observer().ask(&["ACL", "SETUSER", "app", ">second"]);
    rename_over(&file, "second");
    wait_until("the password is applied", || applied(&proxy) > before);
    wait_until("both log in", || connections_after(&server, &["auth"]).len() == 2);
    assert_eq!((shared.len(), &connections_after(&server, &["auth"])), (2, &shared));
    // The old password is gone; the connections stay logged in.
    server.observer().ask(&["ACL", "SETUSER", "app", "<first"]);
    for client in [&mut client, &mut other] {
        assert_eq!(client.ask(&["SET", "k", "v"]), b"+OK\r\n");
    }
    assert_eq!(shared, connections_after(&server, &["set"]));
    let accepted = proxy.metric("respgate_upstream_auth_total{result=\"ok\"}");
    assert!(accepted > 3.5, "{accepted}");
    assert_eq!(
        proxy.metric("respgate_upstream_disconnects_total{reason=\"rotation\"}"),
        1.0,
        "the idle one"
    );
}

#[test]
fn wrong_password_changes_nothing() {
    let (server, proxy, file) = stage();
    std::fs::write(&file, "mistyped").unwrap();
    wait_until("it is rejected", || rejections(&proxy, "auth", "probe_failed") > 0.5);
    proxy.await_log(&["REL-E001", "WRONGPASS"]);
    serves(&proxy);
    server.observer().ask(&["CLIENT", "KILL", "USER", "app"]);
    wait_until("it serves", || proxy.client().ask(&["SET", "k", "v"]) == b"+OK\r\n");
    std::fs::remove_file(&file).unwrap();
    wait_until("it is rejected", || rejections(&proxy, "auth", "io") > 0.5);
    serves(&proxy);
    assert!(!proxy.log().contains("mistyped"));
}

/// The password changes at the server without overlap, after respgate has seen the file and found it
/// wrong: the first connection that is refused looks into the file again.
#[test]
fn refused_login_reads_the_file_again() {
    let (server, proxy, file) = stage();
    serves(&proxy);
    rename_over(&file, "second");
    wait_until("it is rejected", || rejections(&proxy, "auth", "probe_failed") > 0.5);
    let mut observer = server.observer();
    observer.ask(&["ACL", "SETUSER", "app", "resetpass", ">second"]);
    observer.ask(&["CLIENT", "KILL", "USER", "app"]);
    let mut client = proxy.client();
    assert_eq!(client.ask(&["GET", "nothing"]), b"$-1\r\n");
    assert_eq!(client.ask(&["BLPOP", "nothing", "0.01"]), b"*-1\r\n");
    proxy.await_log(&["the one read again is in force", "generation=2"]);
    let before = applied(&proxy);
    proxy.hang_up();
    wait_until("it counts", || applied(&proxy) > before);
    assert!(!proxy.log().contains("second"));
}

/// Clients that are in stay in; newcomers need the new one.
#[test]
fn password_of_clients() {
    let server = Server::mutual_tls(Brand::Redis);
    let home = proxy::directory();
    let file = home.path().join("password");
    std::fs::write(&file, "first").unwrap();
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let listener = proxy::listener(&target, &format!("password_file = {file:?}"));
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let proxy = Proxy::configured(home, target.clone(), telemetry, &text);
    let mut inside = proxy.client();
    assert_eq!(inside.ask(&["AUTH", "first"]), b"+OK\r\n");
    rename_over(&file, "second");
    wait_until("the new one is asked for", || {
        Client::connect(&target).unwrap().ask(&["AUTH", "second"]) == b"+OK\r\n"
    });
    assert!(proxy.client().ask(&["AUTH", "first"]).starts_with(b"-WRONGPASS"));
    assert_eq!(inside.ask(&["SET", "k", "v"]), b"+OK\r\n");
}

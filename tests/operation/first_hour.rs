//! What an operator reads in the first hour: `check --connect`, the start line, addresses in use.
//!
//! Owns: the words and exit codes. Never knows: how they come about.
use crate::support;
use std::path::Path;
use std::process::Command;

use support::client::Target;
use support::proxy::{self, OPEN_POLICY, Proxy};
use support::real_server::{Brand, Server, free_port, wait_until};

/// Exit code and everything that was printed.
fn respgate(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
    let out = command.args(arguments).current_dir(directory).output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// `check --connect` with these flags; the flags of TLS are those of the server's files.
fn tried(server: &Server, flags: &[&str]) -> (i32, String) {
    let home = proxy::directory();
    std::fs::write(home.path().join("password"), "wrong-password").unwrap();
    respgate(home.path(), &[&["check", "--connect"], flags, &tls(server)[..]].concat())
}

fn tls(server: &Server) -> Vec<&str> {
    let Some(pki) = &server.pki else { return vec!["--insecure-plaintext"] };
    let path = |path: std::path::PathBuf| &*path.to_str().unwrap().to_owned().leak();
    vec![
        "--cert",
        path(pki.client("tls.crt")),
        "--key",
        path(pki.client("tls.key")),
        "--ca",
        path(pki.client("ca.crt")),
    ]
}

/// Looks for the parts in their order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not in its place: {text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn server_that_can_be_used_is_shown_step_by_step() {
    for server in [Server::mutual_tls(Brand::Redis), Server::plain(Brand::Redis)] {
        let upstream = format!("localhost:{}", server.port);
        let (code, text) = tried(&server, &["--upstream", &upstream, "--preset", "full"]);
        assert_eq!(code, 0, "{text}");
        assert_in_order(
            &text,
            &["no problems", "\nserver localhost:", "resolve    ok", "connect    ok"],
        );
        assert_eq!(text.contains("tls        ok: TLSv1_3"), server.pki.is_some(), "{text}");
        assert_in_order(
            &text,
            &["login      ok: user default; redis", "standalone master", "rules      ok"],
        );
        let (code, text) = tried(&server, &["--upstream", &upstream, "--preset", "cache"]);
        assert_eq!(code, 0, "other rules are no reason not to serve: {text}");
        assert!(text.contains("rules      differ: the server permits besides:"), "{text}");
    }
}

#[test]
fn rules_that_may_not_be_asked_for_are_not_compared() {
    let server = Server::mutual_tls(Brand::Redis);
    let user = ["ACL", "SETUSER", "app", "on", ">wrong-password", "~*", "+@all", "-acl"];
    server.observer().ask(&user);
    let upstream = format!("rediss://app@localhost:{}", server.port);
    let (code, text) = tried(&server, &["--upstream", &upstream, "--password-file", "password"]);
    assert_eq!(code, 0, "{text}");
    assert_in_order(&text, &["login      ok: user app", "rules      not compared:", "NOPERM"]);
}

#[test]
fn step_that_fails_names_cause_and_fix() {
    let (secure, plain) = (Server::mutual_tls(Brand::Redis), Server::plain(Brand::Redis));
    let secret = ["ACL", "SETUSER", "default", "on", ">right", "~*", "+@all"];
    secure.observer().ask(&secret);
    let at = |port: u16| format!("localhost:{port}");
    let closed = at(free_port());
    for (server, upstream, parts) in [
        (
            &secure,
            &at(plain.port),
            &["tls        FAILED", "plaintext", "tls-port", "login      not tried"][..],
        ),
        (&plain, &at(secure.port), &["login      FAILED", "expects TLS", "upstream.tls"]),
        (&secure, &closed, &["connect    FAILED", "is the server running", "tls        not tried"]),
        (&secure, &"nosuch.invalid:1".to_owned(), &["resolve    FAILED", "nosuch.invalid", "DNS"]),
        (
            &secure,
            &at(secure.port),
            &["tls        ok", "login      FAILED", "WRONGPASS", "[upstream.auth]"],
        ),
    ] {
        let flags = ["--upstream", upstream, "--password-file", "password"];
        let (code, text) = tried(server, &flags);
        assert_eq!(code, 3, "{text}");
        assert_in_order(&text, parts);
        assert!(!text.contains("wrong-password") && !text.contains("DnsName"), "{text}");
    }
    let upstream = at(secure.port);
    let flags = ["--upstream", &*upstream, "--server-name", "other.example"];
    let (code, text) = tried(&secure, &flags);
    assert_eq!(code, 3);
    assert_in_order(
        &text,
        &["tls        FAILED", "is for localhost, 127.0.0.1, not for other.example"],
    );
    assert!(text.contains("server_name = \"localhost\"") && !text.contains("DnsName"), "{text}");
}

#[test]
fn start_line_names_listeners_and_server() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::with_policy(&server, "+@all -@dangerous ~app1:*", "");
    let is_start = |line: &&str| line.ends_with("serving") || line.contains(" serving ");
    wait_until("the start is logged", || proxy.log().lines().any(|line| is_start(&line)));
    let log = proxy.log();
    let line = log.lines().find(is_start).unwrap();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let Target::Tcp(port) = proxy.target() else { panic!("a port") };
    let listen = format!("listen=127.0.0.1:{port}");
    let upstream = format!("server=localhost:{}", server.port);
    for part in [
        &*version,
        &listen,
        &upstream,
        "tls=\"mutual\"",
        "user=default",
        "certificate_ends=\"2999-",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(log.contains("policy in force") && log.contains("keys=~app1:*"), "{log}");
}

#[test]
fn address_in_use_names_the_process_that_has_it() {
    let server = Server::plain(Brand::Redis);
    let home = proxy::directory();
    let taken = proxy::listener(&Target::Tcp(server.port), "");
    let text = proxy::configuration(&server, &taken, OPEN_POLICY, free_port());
    let (status, log) = Proxy::refused(home.path(), &text);
    assert_eq!(status.code(), Some(1));
    let pid = server.pid();
    assert!(log.contains(&format!("in use by redis-server (process {pid})")), "{log}");

    let first = Proxy::before(&server, "");
    let Target::Tcp(port) = first.target() else { panic!("a port") };
    for (port, telemetry) in [(*port, free_port()), (free_port(), first.telemetry_port)] {
        let again = proxy::listener(&Target::Tcp(port), "");
        let text = proxy::configuration(&server, &again, OPEN_POLICY, telemetry);
        let (_, log) = Proxy::refused(home.path(), &text);
        assert!(log.contains(&format!("another respgate (process {})", first.pid())), "{log}");
        assert!(log.contains("drains") && log.contains("kill"), "{log}");
    }
}

//! Start, probes, drain, exit.
//!
//! Owns: the cases. Never knows: sessions' state.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::Target;
use super::support::proxy;
use super::support::real_server::{free_port, wait_until};
use super::*;

const READY: &str = "respgate_state{state=\"ready\"}";
/// Less than `drain.max`, and more than anything takes that is not held up.
const LONG: Duration = Duration::from_secs(15);
const DRAINING: &str = "respgate_state{state=\"draining\"}";

#[test]
fn probes_and_figures_of_a_serving_process() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::with_policy(&server, "+@all -flushall ~* &*", "");
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(proxy.get(path), (200, "ok\n".to_owned()), "{path}");
    }
    let (status, verbose) = proxy.get("/readyz?verbose");
    assert_eq!(status, 200);
    for check in ["started", "listeners", "not-draining", "client-slots"] {
        assert!(verbose.contains(&format!("[+]{check} ok\n")), "{verbose}");
    }
    wait_until("the server is known to be up", || proxy.get("/healthz/upstream").0 == 200);
    assert_eq!(proxy.get("/nothing").0, 404);

    let mut client = proxy.client();
    let series = |name: &str| proxy.metric(&format!("respgate_{name}"));
    let strings = series("commands_total{family=\"string\"}");
    client.ask(&["SET", "k", "v"]);
    client.ask(&["GET", "k"]);
    client.ask(&["LPUSH", "k", "v"]);
    client.ask(&["FLUSHALL"]);
    let is = |name: &str, value: f64| {
        proxy.await_metric(&format!("respgate_{name}"), |now| (now - value).abs() < 0.1);
    };
    is("commands_total{family=\"string\"}", strings + 2.0);
    is("commands_total{family=\"list\"}", 1.0);
    is("replies_total{result=\"redis_error\"}", 1.0);
    is("replies_total{result=\"denied\"}", 1.0);
    is("client_connections{listener=\"tcp\"}", 1.0);
    is("upstream_up", 1.0);
    is("upstream_connections{state=\"shared\"}", 1.0);
    is("tls_identity_generation", 1.0);
    is("commands_denied_total{command=\"flushall\",rule=\"command\"}", 1.0);
    let ends =
        proxy.metric("respgate_tls_certificate_not_after_timestamp_seconds{role=\"client\"}");
    assert!(ends > 1.7e9);
    assert!(proxy.metric(READY) > 0.5 && proxy.metric(DRAINING) < 0.5);
    drop(client);
    is("client_connections{listener=\"tcp\"}", 0.0);
}

/// respgate starts without its server, reports that, and serves as soon as the server is there.
#[test]
fn server_that_comes_later() {
    let mut server = Server::mutual_tls(Brand::Redis);
    server.stop();
    let directory = proxy::directory();
    let (port, telemetry) = (free_port(), free_port());
    let target = Target::Tcp(port);
    let head =
        proxy::configuration(&server, &proxy::listener(&target, ""), proxy::OPEN_POLICY, telemetry);
    let head =
        head.replace("[upstream]", "[upstream]\non_outage = \"error\"\noutage_wait = \"500ms\"");
    let text = format!("{head}\n[upstream.pool]\nacquire_timeout = \"500ms\"\n");
    let proxy = Proxy::configured(directory, target, telemetry, &text);
    assert_eq!(proxy.get("/readyz").0, 200, "applications may connect");
    assert_eq!(proxy.get("/healthz/upstream").0, 503);
    let mut client = proxy.client();
    for _ in 0..5 {
        let began = now();
        let reply = client.ask_text(&["SET", "k", "v"]);
        assert!(reply.starts_with("-LOADING respgate: upstream unavailable"), "{reply}");
        assert!(began.elapsed() < LONG);
    }
    let blocking = client.ask_text(&["BLPOP", "list", "1"]);
    assert!(blocking.starts_with("-LOADING respgate: upstream unavailable"), "{blocking}");
    // What the proxy answers itself needs no server.
    assert_eq!(client.ask(&["CLIENT", "SETNAME", "patient"]), b"+OK\r\n");
    server.start();
    wait_until("the server is found", || client.ask(&["SET", "k", "v"]) == b"+OK\r\n");
    assert_eq!(client.ask(&["CLIENT", "GETNAME"]), b"$7\r\npatient\r\n");
    wait_until("it is known to be up", || proxy.get("/healthz/upstream").0 == 200);
    // And once more, with a connection that breaks.
    server.crash();
    wait_until("the loss is noticed", || client.ask(&["SET", "k", "v"]).starts_with(b"-"));
    server.start();
    wait_until("the server is found again", || client.ask(&["SET", "k", "v"]) == b"+OK\r\n");
    assert_eq!(client.ask(&["RPUSH", "list", "x"]), b":1\r\n");
    assert_eq!(client.ask(&["BLPOP", "list", "1"]), b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
}

#[test]
fn readiness_follows_the_server_where_that_is_configured() {
    let mut server = Server::plain(Brand::Redis);
    server.stop();
    let health = "[health]\nreadiness = \"upstream\"\nunready_after = \"1s\"\n";
    let directory = proxy::directory();
    let (port, telemetry) = (free_port(), free_port());
    let target = Target::Tcp(port);
    let listener = proxy::listener(&target, "");
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let proxy = Proxy::serving(directory, target, telemetry, &format!("{text}\n{health}"));
    let state = |name: &str| proxy.metric(&format!("respgate_state{{state=\"{name}\"}}")) > 0.5;
    assert_eq!(proxy.get("/readyz").0, 503, "the server was never reached");
    assert!(proxy.get("/readyz").1.contains("[-]upstream failed\n"));
    assert_eq!((proxy.get("/livez").0, proxy.get("/startupz").0), (200, 200));
    for _ in 0..2 {
        server.start();
        wait_until("ready", || proxy.get("/readyz").0 == 200 && state("ready"));
        assert!(proxy.get("/readyz?verbose").1.contains("[+]upstream ok\n"));
        server.crash();
        wait_until("degraded", || state("degraded"));
        wait_until("not ready", || proxy.get("/readyz").0 == 503);
    }
    assert_eq!(proxy.get("/livez").0, 200);
}

#[test]
fn drain_takes_no_longer_than_the_clients() {
    let server = Server::mutual_tls(Brand::Redis);
    let mut proxy = Proxy::before(&server, "[drain]\nquiet = \"100ms\"");
    let mut client = proxy.client();
    let mut subscriber = proxy.client();
    client.ask(&["SET", "k", "v"]);
    subscriber.ask(&["SUBSCRIBE", "news"]);
    signal("TERM", proxy.pid());
    wait_until("not ready", || proxy.get("/readyz").0 == 503);
    assert!(proxy.get("/readyz").1.contains("[-]not-draining failed\n"));
    assert_eq!((proxy.get("/livez").0, proxy.get("/startupz").0), (200, 200));
    assert!(proxy.metric(DRAINING) > 0.5);
    // Served on, newcomers too.
    let until = now() + Duration::from_millis(600);
    while now() < until {
        assert_eq!(client.ask(&["INCR", "n"])[..1], *b":");
        assert_eq!(proxy.client().ask(&["PUBLISH", "news", "x"]), b":1\r\n");
        subscriber.reply();
    }
    assert!(proxy.metric("respgate_drain_remaining_connections") > 1.5);
    drop((client, subscriber));
    let left = now();
    let status = proxy.ended_within(LONG).expect("it leaves");
    assert!(status.success(), "{status}");
    assert!(left.elapsed() >= Duration::from_millis(80), "quiet was waited for");
    assert_eq!(server.observer().ask_text(&["CLIENT", "LIST"]).lines().count(), 2, "only this one");
}

#[test]
fn drain_ends_at_its_maximum() {
    let server = Server::mutual_tls(Brand::Redis);
    let mut proxy = Proxy::before(&server, "[drain]\nmax = \"700ms\"\nquiet = \"100ms\"");
    let mut client = proxy.client();
    let mut blocked = proxy.client();
    let mut queued = proxy.client();
    client.ask(&["PING"]);
    queued.ask(&["MULTI"]);
    blocked.send(&["BLPOP", "list", "0"]);
    server.await_blocked(1);
    let began = now();
    signal("TERM", proxy.pid());
    let status = proxy.ended_within(LONG).expect("it leaves");
    assert!(status.success(), "{status}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(650), "{took:?}");
    for client in [&mut client, &mut blocked, &mut queued] {
        assert_eq!(client.next(PATIENCE), Got::End);
    }
    server.await_blocked(0);
}

#[test]
fn second_signal_ends_a_drain() {
    let server = Server::mutual_tls(Brand::Redis);
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM")] {
        let mut proxy = Proxy::before(&server, "");
        let mut client = proxy.client();
        client.ask(&["MULTI"]);
        signal(first, proxy.pid());
        wait_until("not ready", || proxy.get("/readyz").0 == 503);
        assert_eq!(proxy.ended_within(Duration::from_millis(300)), None);
        signal(second, proxy.pid());
        let status = proxy.ended_within(LONG).expect("it leaves");
        assert!(status.success(), "{status}");
    }
}

/// The server hangs while a reload waits for it: a drain ends the process nevertheless.
#[test]
fn drain_ends_while_a_reload_waits_for_the_server() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let pool = "[upstream.pool]\nconnect_timeout = \"60s\"\nacquire_timeout = \"60s\"";
    let mut proxy = Proxy::before(&server, &format!("[drain]\nquiet = \"50ms\"\n{pool}"));
    server.hold();
    server.pki.as_mut().unwrap().rotate();
    proxy.hang_up();
    std::thread::sleep(Duration::from_millis(300));
    signal("TERM", proxy.pid());
    let status = proxy.ended_within(LONG).expect("it leaves");
    assert!(status.success(), "{status}");
}

/// No client is connected: nothing to wait for but the quiet time, and no less than the minimum.
#[test]
fn drain_without_clients_takes_its_quiet_time() {
    let server = Server::mutual_tls(Brand::Redis);
    let cases = [("quiet = \"50ms\"", 0), ("quiet = \"50ms\"\nmin = \"600ms\"", 600)];
    for (drain, least) in cases {
        let mut proxy = Proxy::before(&server, &format!("[drain]\n{drain}"));
        let began = now();
        let status = proxy.terminate();
        assert!(status.success(), "{status}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(least), "{took:?}");
        assert!(took < LONG, "{took:?}");
    }
}

/// A process that is to count as started only with its server.
#[test]
fn start_waits_for_the_server_when_it_is_required() {
    let mut server = Server::plain(Brand::Redis);
    server.crash();
    let (home, target) = (proxy::directory(), Target::Tcp(free_port()));
    let telemetry = free_port();
    let listener = proxy::listener(&target, "");
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let text = format!("{text}\n[startup]\nrequire_upstream = true\n");
    let proxy = Proxy::serving(home, target, telemetry, &text);
    let state = |name: &str| proxy.metric(&format!("respgate_state{{state={name:?}}}")) > 0.5;
    assert_eq!((proxy.get("/startupz").0, proxy.get("/readyz").0), (503, 503));
    assert!(state("starting") && !state("ready"));
    server.start();
    wait_until("it has started", || {
        proxy.get("/startupz").0 == 200 && proxy.get("/readyz").0 == 200
    });
    wait_until("it is ready", || state("ready"));
    server.crash();
    wait_until("it is degraded", || state("degraded") && !state("ready"));
    assert_eq!((proxy.get("/startupz").0, proxy.get("/readyz").0), (200, 200));
    server.start();
    wait_until("it is ready again", || state("ready"));
}

/// A start takes as long as the program that prints the password.
#[test]
fn stop_during_the_start_is_not_waited_for() {
    let server = Server::plain(Brand::Redis);
    let (home, target, telemetry) = (proxy::directory(), Target::Tcp(free_port()), free_port());
    let (program, began) = (home.path().join("program"), home.path().join("began"));
    std::fs::write(&program, "#!/bin/sh\necho > \"$1\"\nexec sleep 50\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let listener = proxy::listener(&target, "");
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let auth = format!(
        "{text}\n[upstream.auth]\npassword_command = [{program:?}, {began:?}]\npassword_command_timeout = \"60s\"\n"
    );
    let mut proxy = Proxy::starting(home, target, telemetry, &auth);
    wait_until("the program runs", || began.exists());
    signal("HUP", proxy.pid());
    signal("TERM", proxy.pid());
    let status = proxy.ended_within(LONG).expect("it exits");
    assert!(status.success(), "{status}");
    proxy.await_log(&["stopped before any client was served"]);
}

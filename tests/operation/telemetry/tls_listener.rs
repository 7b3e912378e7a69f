//! TLS towards applications: the metrics of handshakes, certificates and their reload move.
//!
//! Owns: the scene. Never knows: which metrics there are besides.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use respgate::internals::base::clock;
use respgate::internals::tls::dev_certs::{CertRequest, Role};

use super::certs::Lab;
use super::moves::Moved;
use super::support::client::Target;
use super::support::proxy::{OPEN_POLICY, Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port, wait_until};
use super::support::secure::{Secure, config};

pub fn tls_listener(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    let lab = Lab::new();
    lab.crl("list", None, "20990101000000Z");
    let (cert, key) = lab.pair("server");
    let (plain, port, telemetry) = (Target::Tcp(free_port()), free_port(), free_port());
    let tls = format!(
        "tls = {{ cert = {cert:?}, key = {key:?}, client_ca = {:?}, crl = {:?} }}",
        lab.path("ca.crt"),
        lab.path("list.crl")
    );
    let listeners = listener(&plain, "") + &listener(&Target::Tcp(port), &tls);
    let text = configuration(&server, &listeners, OPEN_POLICY, telemetry);
    let directory = directory();
    let text = format!("{text}\n[admin]\nsocket = {:?}\n", directory.path().join("admin.sock"));
    let proxy = Proxy::configured(directory, plain, telemetry, &text);
    let mut silent = Vec::new();
    moved.repeat(&proxy, "client_tls_handshakes_in_progress", || {
        silent.push(TcpStream::connect(("127.0.0.1", port)).unwrap());
    });
    let client = config(&lab.path("ca.crt"), Some(&lab.pair("client")));
    let kept = Secure::connect(port, &client).unwrap();
    assert!(Secure::connect(port, &client).unwrap().is_resumed());
    moved.until(
        &proxy,
        &[
            "client_tls_handshakes_total{result=\"full\"}",
            "client_tls_handshakes_total{result=\"resumed\"}",
            "client_connections{listener=\"tls\"}",
            "client_connections_total{listener=\"tls\"}",
            "tls_certificate_not_after_timestamp_seconds{role=\"listener\"}",
            "tls_certificate_not_before_timestamp_seconds{role=\"listener\"}",
            "tls_certificate_not_after_timestamp_seconds{role=\"client_ca\"}",
            "tls_crl_next_update_timestamp_seconds{side=\"listener\"}",
        ],
    );
    assert!(Secure::connect(port, &config(&lab.path("ca.crt"), None)).is_err());
    moved.until(
        &proxy,
        &[
            "client_tls_handshakes_total{result=\"failed\"}",
            "client_tls_handshake_failures_total{reason=\"cert_required\"}",
        ],
    );
    let attempt = |result: &str| {
        let series = format!("reload_attempts_total{{what=\"tls_listener\",result={result:?}}}");
        moved.until(&proxy, &[&series]);
    };
    proxy.hang_up();
    attempt("unchanged");
    lab.issue("server", &lab.server_order());
    attempt("applied");
    std::fs::write(&cert, "nothing").unwrap();
    attempt("rejected");
    drop(silent);
    certificates(moved, &proxy, &lab, port);
    drop(kept);
}

/// Certificates that end, are revoked and are blocked while their clients are connected.
fn certificates(moved: &Moved, proxy: &Proxy, lab: &Lab, port: u16) {
    let socket = proxy.directory().join("admin.sock");
    let blocked = Command::new(env!("CARGO_BIN_EXE_respgate"))
        .args(["block", "--certificate", "dns:app", "--socket"])
        .arg(&socket)
        .status();
    assert!(blocked.unwrap().success());
    moved.until(proxy, &["blocked{what=\"certificate\"}"]);
    let mut life = Duration::from_secs(2);
    let mut ended = None;
    wait_until("a client connects before its certificate ends", || {
        life *= 2;
        let order = CertRequest::new(Role::Client, "short", &["short"], clock::wall(), life);
        let short = lab.issue("short", &order);
        ended = Secure::connect(port, &config(&lab.path("ca.crt"), Some(&short))).ok();
        ended.is_some()
    });
    moved.until(proxy, &["client_disconnects_total{reason=\"certificate_expired\"}"]);
    let bad = lab.issue("bad", &lab.client_order("bad"));
    let _refused = Secure::connect(port, &config(&lab.path("ca.crt"), Some(&bad))).unwrap();
    // The files of the listener are good again, and its list has grown.
    lab.issue("server", &lab.server_order());
    lab.crl("list", Some("bad.crt"), "20990101000000Z");
    moved.until(proxy, &["client_disconnects_total{reason=\"certificate_refused\"}"]);
}

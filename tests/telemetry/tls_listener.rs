//! TLS towards applications: the metrics of handshakes, certificates and their reload move.
//!
//! Owns: the scene. Never knows: which metrics there are besides.

use std::net::TcpStream;
use std::time::Duration;

use respgate::base::clock;
use respgate::tls::dev_certs::write_all;

use super::moves::Moved;
use super::support::client::Target;
use super::support::proxy::{OPEN_POLICY, Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port};
use super::support::secure::{Secure, config};

pub fn tls_listener(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    let (home, hour) = (directory(), Duration::from_secs(3600));
    let files = write_all(home.path(), &["localhost"], "app", clock::wall(), hour).unwrap();
    let (plain, port, telemetry) = (Target::Tcp(free_port()), free_port(), free_port());
    let tls = format!(
        "tls = {{ cert = {:?}, key = {:?}, client_ca = {:?} }}",
        files.server_cert, files.server_key, files.ca
    );
    let listeners = listener(&plain, "") + &listener(&Target::Tcp(port), &tls);
    let text = configuration(&server, &listeners, OPEN_POLICY, telemetry);
    let proxy = Proxy::configured(home, plain, telemetry, &text);
    let silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    moved.until(&proxy, &["client_tls_handshakes_in_progress"]);
    let pair = (files.client_cert.clone(), files.client_key.clone());
    let client = config(&files.ca, Some(&pair));
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
        ],
    );
    assert!(Secure::connect(port, &config(&files.ca, None)).is_err());
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
    write_all(proxy.directory(), &["localhost"], "app", clock::wall(), hour).unwrap();
    attempt("applied");
    std::fs::write(&files.server_cert, "nothing").unwrap();
    attempt("rejected");
    drop((silent, kept));
}

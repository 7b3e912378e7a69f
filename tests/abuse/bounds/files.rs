//! Open files: clients never take the last ones.
//!
//! Owns: the case. Never knows: how many files are kept back.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

/// The status line that the telemetry server answers to a path.
fn telemetry(proxy: &Proxy, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.telemetry_port)).unwrap();
    stream.set_read_timeout(Some(support::client::PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn open_files_are_left_for_the_server_and_telemetry_when_clients_take_all_they_can() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::with_open_files(&server, 300, "[upstream.pool]\nmax_connections = 20");
    proxy.await_log(&["CLI-E009"]);
    let mut served = proxy.client();
    assert_eq!(served.ask(&["SET", "k", "v"]), b"+OK\r\n");
    let mut idle: Vec<Client> = Vec::new();
    for _ in 0..400 {
        let Ok(client) = Client::connect(proxy.target()) else { break };
        idle.push(client);
    }
    let rejected = "respgate_client_connections_rejected_total{reason=\"max_clients\"}";
    proxy.await_metric(rejected, |count| count > 200.0);
    assert!(telemetry(&proxy, "/livez").contains("200"));
    // The heartbeat brings readiness up to date once a second.
    wait_until("/readyz reports that no more clients are accepted", || {
        telemetry(&proxy, "/readyz").contains("503")
    });
    // New connections to the server can be had, too.
    assert_eq!(served.ask(&["BLPOP", "nothing", "0.01"]), b"*-1\r\n");
    assert_eq!(served.ask(&["GET", "k"]), b"$1\r\nv\r\n");
    drop(idle);
    proxy.await_metric("respgate_client_connections{listener=\"tcp\"}", |count| count < 5.0);
    assert_eq!(proxy.client().ask(&["GET", "k"]), b"$1\r\nv\r\n");
}

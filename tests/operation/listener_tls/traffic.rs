//! What travels over TLS: large, fast, slow, and through two proxies.

use std::io::{Read, Write};

use super::certs::Lab;
use super::support::client::{PATIENCE, Target, encode};
use super::support::proxy::{OPEN_POLICY, Proxy, directory, listener};
use super::support::real_server::{Brand, Server, free_port, wait_until};
use super::{Bench, Secure, client};

#[test]
fn large_values_and_pipelines_pass_whole() {
    let bench = Bench::new("", "", "");
    let mut client = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
    for size in [1, 16_384, 16_385, 100_000, 5_000_000] {
        let value: String =
            (0..size).map(|at| char::from(b'a' + u8::try_from(at % 26).unwrap())).collect();
        assert_eq!(client.ask(&["SET", "large", &value]), "+OK\r\n");
        assert_eq!(client.ask(&["GET", "large"]), format!("${size}\r\n{value}\r\n"));
    }
    let pipeline: Vec<u8> = (0..10_000).flat_map(|_| encode(&["INCR", "n"])).collect();
    client.0.write_all(&pipeline).unwrap();
    let expected: String = (1..=10_000).map(|n| format!(":{n}\r\n")).collect();
    let mut got = vec![0; expected.len()];
    client.0.read_exact(&mut got).unwrap();
    assert!(got == expected.as_bytes());
}

/// TLS keeps what the socket does not accept: it is sent when there is room, although the session has nothing more
/// to send.
#[test]
fn reply_reaches_a_client_that_reads_late() {
    let bench = Bench::new("", "", "");
    let mut client = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
    let size = 8_000_000;
    assert_eq!(client.ask(&["SET", "large", &"x".repeat(size)]), "+OK\r\n");
    for _ in 0..3 {
        client.0.write_all(&encode(&["GET", "large"])).unwrap();
        let sent = "respgate_client_transmit_bytes_total";
        let mut last = -1.0;
        wait_until("the socket is full", || {
            let now = bench.proxy.metric(sent);
            std::thread::sleep(std::time::Duration::from_millis(20));
            std::mem::replace(&mut last, now) == now
        });
        let mut got = vec![0; format!("${size}\r\n").len() + size + 2];
        client.0.read_exact(&mut got).unwrap();
        assert!(got.ends_with(b"x\r\n"));
    }
    assert_eq!(client.ask(&["PING"]), "+PONG\r\n");
}

#[test]
fn session_ends_with_close_notify() {
    let bench = Bench::new("", "", "");
    let mut client = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
    client.0.write_all(&encode(&["QUIT"])).unwrap();
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).expect("a close_notify, not a cut");
    assert_eq!(rest, b"+OK\r\n");
    let mut client = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
    client.0.write_all(b"POST / HTTP/1.1\r\n\r\n").unwrap();
    let _ = client.0.read_to_end(&mut rest);
    let http = "respgate_client_protocol_errors_total{kind=\"http_smuggling\"}";
    bench.proxy.await_metric(http, |count| count == 1.0);
    // A connection that is cut without close_notify is that of a client that has disconnected.
    let client = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
    let left = "respgate_client_disconnects_total{reason=\"client\"}";
    let before = bench.proxy.metric(left);
    drop(client.0.sock);
    bench.proxy.await_metric(left, |count| count > before);
}

#[test]
fn respgate_connects_to_respgate() {
    let users = "[[user]]\nname = \"app\"\ncertificates = [\"dns:app\"]\npolicy = \"own\"\n\
                 [policies.own]\nacl = \"+@all ~app:*\"\n";
    let bench = Bench::new("", "auth = \"users\"", users);
    let (cert, key) = bench.lab.pair("client");
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let text = format!(
        "{}\n[upstream]\naddress = \"localhost:{}\"\ntls = {{ cert = {cert:?}, key = {key:?}, ca = {:?} }}\n\
         [policy]\nacl = {OPEN_POLICY:?}\n[telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n",
        listener(&target, ""),
        bench.port,
        bench.lab.path("ca.crt"),
    );
    let near = Proxy::configured(directory(), target, telemetry, &text);
    let mut client = near.client();
    assert_eq!(client.ask(&["SET", "app:k", "v"]), b"+OK\r\n");
    assert_eq!(client.ask(&["GET", "app:k"]), b"$1\r\nv\r\n");
    assert!(client.ask_text(&["GET", "other"]).contains("NOPERM"));
    client.send(&["BLPOP", "app:list", "0"]);
    let mut other = near.client();
    assert_eq!(other.ask(&["RPUSH", "app:list", "x"]), b":1\r\n");
    assert_eq!(client.reply(), b"*2\r\n$8\r\napp:list\r\n$1\r\nx\r\n");
    assert_eq!(bench.server.observer().ask(&["GET", "app:k"]), b"$1\r\nv\r\n");
}

#[test]
fn max_clients_is_reported_over_tls() {
    let bench = Bench::new("", "", "[limits]\nmax_clients = 2\n");
    let lab: &Lab = &bench.lab;
    let config = client(lab, Some(&lab.pair("client")));
    let _kept: Vec<Secure> =
        (0..2).map(|_| Secure::connect(bench.port, &config).unwrap()).collect();
    let mut third = Secure::open(bench.port, &config).unwrap();
    third.0.sock.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    let _ = third.0.read_to_end(&mut received);
    assert_eq!(received, b"-ERR max number of clients reached\r\n");
}

/// The server listens on its socket alone: no client reaches it past the certificates.
#[test]
fn server_behind_a_unix_socket_is_reached_by_certificate() {
    let lab = Lab::new();
    let mut server = Server::plain(Brand::Redis);
    let Target::Unix(socket) = server.socket() else { panic!("no socket") };
    let (plain, port, telemetry) = (Target::Tcp(free_port()), free_port(), free_port());
    let listeners = listener(&plain, "")
        + &listener(&Target::Tcp(port), &super::listener_tls(&lab, "client_auth = \"require\""));
    let text = format!(
        "{listeners}\n[upstream]\naddress = \"unix:{}\"\n[policy]\nacl = {OPEN_POLICY:?}\n[telemetry]\n\
         address = \"127.0.0.1:{telemetry}\"\n",
        socket.display()
    );
    let proxy = Proxy::configured(directory(), plain, telemetry, &text);
    let config = client(&lab, Some(&lab.pair("client")));
    let mut secure = Secure::connect(port, &config).unwrap();
    assert_eq!(secure.ask(&["SET", "k", "v"]), "+OK\r\n");
    assert_eq!(secure.ask(&["WATCH", "k"]), "+OK\r\n");
    assert_eq!(secure.ask(&["UNWATCH"]), "+OK\r\n");
    let large = "x".repeat(1_000_000);
    assert_eq!(secure.ask(&["SET", "large", &large]), "+OK\r\n");
    assert_eq!(secure.ask(&["GET", "large"]), format!("$1000000\r\n{large}\r\n"));
    server.stop();
    proxy.await_metric("respgate_upstream_up", |up| up == 0.0);
    server.start();
    wait_until("it is served again", || {
        Secure::connect(port, &config)
            .is_ok_and(|mut client| client.ask(&["GET", "k"]) == "$-1\r\n")
    });
    for (line, part) in [
        ("tls = { ca = \"x\" }", "a Unix socket has no TLS"),
        ("insecure_plaintext = true", "without effect"),
    ] {
        let text = text.replace("[policy]", &format!("{line}\n[policy]"));
        let problems = respgate::internals::config::parse(&text, "test", []).unwrap_err();
        assert!(problems[0].to_string().contains(part), "{problems:?}");
    }
}

//! Handshakes that fail, and handshakes that do not end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use respgate::internals::tls::dev_certs::{CertRequest, Role};
use socket2::{Domain, Socket, Type};

use super::certs::{DAY, Lab};
use super::support::real_server::wait_until;
use super::{Bench, Secure, client};

#[test]
fn refused_handshake_is_counted_and_named_in_the_log() {
    let bench = Bench::new("allowed_sans = [\"dns:*.apps.example.com\"]", "", "");
    let lab = &bench.lab;
    let request =
        |name: &str, san: &str| CertRequest::new(Role::Client, name, &[san], lab.now, DAY);
    let good = lab.issue("good", &request("good", "a.apps.example.com"));
    let named = lab.issue("named", &request("named", "a.other.example.com"));
    let mut old = request("old", "a.apps.example.com");
    (old.not_before, old.not_after) = (lab.now - 2 * DAY, lab.now - DAY);
    let old = lab.issue("old", &old);
    let mut early = request("early", "a.apps.example.com");
    (early.not_before, early.not_after) = (lab.now + DAY, lab.now + 2 * DAY);
    let early = lab.issue("early", &early);
    let wrong_usage =
        CertRequest::new(Role::Server, "usage", &["a.apps.example.com"], lab.now, DAY);
    let wrong_usage = lab.issue("usage", &wrong_usage);
    let version_1 = lab.issue_version_1("one");
    let foreign = Lab::new();
    let foreign = foreign.issue("foreign", &request("foreign", "a.apps.example.com"));
    assert_eq!(bench.connect(Some(&good)).unwrap().ask(&["PING"]), "+PONG\r\n");
    for (pair, reason, code) in [
        (None, "cert_required", "TLS-E201"),
        (Some(&foreign), "unknown_ca", "TLS-E202"),
        (Some(&old), "expired", "TLS-E203"),
        (Some(&early), "expired", "TLS-E204"),
        (Some(&named), "bad_name", "TLS-E205"),
        (Some(&wrong_usage), "unsupported_cert", "TLS-E206"),
    ] {
        let (before, failed) = (bench.failures(reason), bench.handshakes("failed"));
        assert!(bench.connect(pair).is_err(), "{code}");
        wait_until(code, || bench.failures(reason) == before + 1.0);
        assert_eq!(bench.handshakes("failed"), failed + 1.0);
        bench.proxy.await_log(&[code, "TLS handshake failed", "hint"]);
    }
    // Drivers on OpenSSL send it.
    assert_ne!(bench.cli(Some(&version_1), &["PING"]), "PONG\n");
    bench.proxy.await_log(&["TLS-E206", "X.509 version 1"]);
    let mut plain = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
    plain.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let _ = plain.read(&mut [0; 64]);
    wait_until("plaintext is counted", || bench.failures("plaintext") == 1.0);
    bench.proxy.await_log(&["TLS-E208"]);
    // A client that only checks whether the port is open is counted, and is no line of the log.
    drop(TcpStream::connect(("127.0.0.1", bench.port)).unwrap());
    wait_until("a look is counted", || bench.failures("io") == 1.0);
    assert!(!bench.proxy.log().contains("TLS-E213"));
    // The application does not trust the listener.
    let stranger = client(&Lab::new(), Some(&good));
    assert!(Secure::connect(bench.port, &stranger).is_err());
    wait_until("an alert is counted", || bench.failures("alert") == 1.0);
    bench.proxy.await_log(&["TLS-E210"]);
    assert!(!bench.proxy.log().contains("PRIVATE KEY"), "{}", bench.proxy.log());
    assert_eq!(bench.connect(Some(&good)).unwrap().ask(&["PING"]), "+PONG\r\n");
    let (full, kept) = (bench.handshakes("full"), "respgate_client_connections{listener=\"tls\"}");
    assert!(full >= 2.0);
    wait_until("clients are gone", || bench.proxy.metric(kept) == 0.0);
}

#[test]
fn silent_handshakes_give_way_to_others() {
    let bench = Bench::new("max_handshakes = 32\nhandshake_timeout = \"60s\"", "", "");
    let pair = bench.lab.pair("client");
    let connect = || TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
    let mut silent: Vec<TcpStream> = (0..300).map(|_| connect()).collect();
    for stream in silent.iter_mut().step_by(3) {
        // Half a hello is no more than none.
        let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00");
    }
    let in_progress = || bench.proxy.metric("respgate_client_tls_handshakes_in_progress");
    wait_until("the cap is reached", || {
        in_progress() == 32.0 && bench.failures("overload") == 268.0
    });
    for _ in 0..20 {
        assert_eq!(bench.connect(Some(&pair)).unwrap().ask(&["PING"]), "+PONG\r\n");
    }
    wait_until("the first made room, the others followed", || in_progress() == 31.0);
    bench.proxy.await_log(&["TLS-E212"]);
    drop(silent);
    wait_until("none is left", || in_progress() == 0.0);
}

/// A client that connects from another address of this machine.
fn connect_from(address: [u8; 4], port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.into()
}

#[test]
fn handshakes_of_one_address_leave_those_of_others_alone() {
    let bench = Bench::new("max_handshakes = 32\nhandshake_timeout = \"60s\"", "", "");
    let mut first = connect_from([127, 0, 0, 1], bench.port);
    let in_progress = || bench.proxy.metric("respgate_client_tls_handshakes_in_progress");
    wait_until("the first has begun", || in_progress() == 1.0);
    let others: Vec<_> = (0..100).map(|_| connect_from([127, 0, 0, 2], bench.port)).collect();
    wait_until("the others made room", || bench.failures("overload") == 69.0);
    first.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let waits = first.read(&mut [0; 8]).unwrap_err();
    assert_eq!(waits.kind(), ErrorKind::WouldBlock, "it was ended for them");
    drop((first, others));
    wait_until("none is left", || in_progress() == 0.0);
}

#[test]
fn handshake_deadline_ends_a_silent_connection() {
    let bench = Bench::new("handshake_timeout = \"100ms\"", "", "");
    let mut silent = TcpStream::connect(("127.0.0.1", bench.port)).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap_or(0), 0, "it is closed");
    wait_until("it is counted", || bench.failures("timeout") == 1.0);
    bench.proxy.await_log(&["TLS-E211", "100 ms"]);
}

#[test]
fn session_is_resumed_and_its_certificate_known() {
    let users = "[[user]]\nname = \"app\"\ncertificates = [\"dns:app\"]\n";
    let bench = Bench::new("", "auth = \"users\"", users);
    let config = client(&bench.lab, Some(&bench.lab.pair("client")));
    let first = Secure::connect(bench.port, &config).unwrap();
    assert!(!first.is_resumed());
    let mut second = Secure::connect(bench.port, &config).unwrap();
    assert!(second.is_resumed());
    assert_eq!(second.ask(&["SET", "k", "v"]), "+OK\r\n", "it is the user still");
    assert_eq!((bench.handshakes("full"), bench.handshakes("resumed")), (1.0, 1.0));
}

#[test]
fn older_version_than_min_version_is_refused() {
    let bench = Bench::new("client_auth = \"off\"\nmin_version = \"1.3\"", "", "");
    let speak = |version: &str| {
        let address = format!("127.0.0.1:{}", bench.port);
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-brief", version, "-connect", &address]).stdin(Stdio::null());
        openssl.output().unwrap().status.success()
    };
    assert!(speak("-tls1_3") && !speak("-tls1_2"));
    wait_until("it is counted", || bench.failures("version") == 1.0);
    bench.proxy.await_log(&["TLS-E209"]);
}

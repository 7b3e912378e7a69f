//! The servers that are accepted, those that are not, and the errors about them.
//!
//! Owns: the cases. Never knows: files that change.

use std::io::{Read, Write};
use std::sync::Arc;

use respgate::internals::config::{TlsVersion, Verify};
use respgate::internals::tls::dev_certs::{Authority, CertRequest, Role};
use respgate::internals::tls::provider;
use respgate::internals::traffic::Unavailable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::certs::{DAY, Lab};
use super::*;

/// Dials a server with this certificate in each way of verifying, and compares.
async fn check(server_cert: impl Fn(&Lab) -> Pair, cases: &[(Verify, &str)]) {
    let lab = Lab::new();
    let pair = server_cert(&lab);
    let server = Server::tls(&lab, &pair, &[]);
    for &(verify, expected) in cases {
        let tls = Tls { verify, pins: vec![lab.pin(&pair.0)], ..lab.settings() };
        let got = verdict(dialer(server.port, &tls).dial(RESP2).await);
        assert_eq!(got, expected, "{verify:?}");
    }
}

#[tokio::test]
async fn good_certificate() {
    let ok = [(Verify::Full, "ok"), (Verify::Ca, "ok"), (Verify::Pin, "ok")];
    check(|lab| lab.pair("server"), &ok).await;
}

#[tokio::test]
async fn certificate_without_names() {
    let make = |lab: &Lab| lab.issue("odd", &CertRequest { names: vec![], ..lab.server_order() });
    let full = (Verify::Full, "bad_name TLS-E105");
    check(make, &[full, (Verify::Ca, "ok"), (Verify::Pin, "ok")]).await;
}

#[tokio::test]
async fn expired_certificate() {
    let make = |lab: &Lab| {
        let (not_before, not_after) = (lab.now - 2 * DAY, lab.now - DAY);
        lab.issue("odd", &CertRequest { not_before, not_after, ..lab.server_order() })
    };
    let (full, ca) = ((Verify::Full, "expired TLS-E101"), (Verify::Ca, "expired TLS-E101"));
    check(make, &[full, ca, (Verify::Pin, "ok")]).await;
}

#[tokio::test]
async fn certificate_of_tomorrow() {
    let make = |lab: &Lab| {
        lab.issue("odd", &CertRequest { not_before: lab.now + DAY / 2, ..lab.server_order() })
    };
    check(make, &[(Verify::Full, "expired TLS-E102")]).await;
}

#[tokio::test]
async fn authority_as_server() {
    let make =
        |lab: &Lab| lab.issue("odd", &CertRequest { as_authority: true, ..lab.server_order() });
    let no = "unsupported_cert TLS-E107";
    check(make, &[(Verify::Full, no), (Verify::Ca, no), (Verify::Pin, "ok")]).await;
}

#[tokio::test]
async fn version_1_certificate() {
    let make = |lab: &Lab| lab.issue_version_1("odd");
    let no = "unsupported_cert TLS-E106";
    check(make, &[(Verify::Full, no), (Verify::Ca, "ok"), (Verify::Pin, "ok")]).await;
}

#[tokio::test]
async fn client_certificate_as_server() {
    let make =
        |lab: &Lab| lab.issue("odd", &CertRequest { role: Role::Client, ..lab.server_order() });
    check(make, &[(Verify::Full, "unsupported_cert TLS-E108")]).await;
}

#[tokio::test]
async fn names_pins_and_authorities_that_do_not_fit() {
    let lab = Lab::new();
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    let other = Authority::new("Other CA", lab.now, DAY).unwrap();
    std::fs::write(lab.path("other-ca.crt"), other.cert()).unwrap();
    let both = [lab.authority.cert(), other.cert()].concat();
    std::fs::write(lab.path("both-ca.crt"), both).unwrap();
    let check = async |tls: Tls, expected| {
        let got = verdict(dialer(server.port, &tls).dial(RESP2).await);
        assert_eq!(got, expected, "{tls:?}");
    };
    let base = lab.settings();
    let named = |name: &str| Tls { server_name: Some(name.to_owned()), ..base.clone() };
    check(named("localhost"), "ok").await;
    check(named("127.0.0.1"), "ok").await;
    check(named("redis.internal"), "bad_name TLS-E104").await;
    check(Tls { verify: Verify::Ca, ..named("redis.internal") }, "ok").await;
    check(Tls { ca: ca(lab.path("both-ca.crt")), ..base.clone() }, "ok").await;
    let foreign = Tls { ca: ca(lab.path("other-ca.crt")), ..base.clone() };
    check(foreign.clone(), "unknown_ca TLS-E103").await;
    check(Tls { verify: Verify::Ca, ..foreign.clone() }, "unknown_ca TLS-E103").await;
    let pinned = |pins: Vec<String>| Tls { verify: Verify::Pin, pins, ..foreign.clone() };
    check(pinned(vec!["00".repeat(32)]), "pin TLS-E109").await;
    check(pinned(vec!["00".repeat(32), lab.pin(&lab.path("server.crt"))]), "ok").await;

    let error = dialer(server.port, &named("redis.internal")).dial(RESP2).await.unwrap_err();
    assert_eq!(error.what, Unavailable::Tls);
    for part in ["127.0.0.1:", "localhost", "redis.internal", "subjectAltName"] {
        assert!(error.text.contains(part), "{part} in {}", error.text);
    }
}

#[tokio::test]
async fn generation_serves_any_target_under_the_name_that_it_must_prove() {
    let lab = Lab::new();
    let store = TlsStore::open(&lab.settings()).unwrap();
    let named = |name: &str| {
        let order = CertRequest::new(Role::Server, "redis", &[name], lab.now, DAY);
        Server::tls(&lab, &lab.issue(name, &order), &[])
    };
    let servers = ["one.test", "two.test"].map(named);
    let dial = async |server: &Server, name: &str| {
        let tls = Tls { server_name: Some(name.to_owned()), ..lab.settings() };
        let settings = upstream(server.port, Some(tls), ServerAuth::default());
        let credentials = Credentials::open(&settings.auth).unwrap();
        let target = Target::of(&settings).unwrap();
        Dialer::new(target, &settings, Some(store.clone()), credentials).dial(RESP2).await
    };
    for (server, name, other) in
        [(&servers[0], "one.test", "two.test"), (&servers[1], "two.test", "one.test")]
    {
        assert_eq!(dial(server, name).await.unwrap().generation, 1, "{name}");
        assert_eq!(verdict(dial(server, other).await), "bad_name TLS-E104", "{other}");
    }
}

#[tokio::test]
async fn server_that_does_not_want_us() {
    let lab = Lab::new();
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    let stranger = Authority::new("Strange CA", lab.now, DAY).unwrap();
    let pair = stranger.issue(&lab.client_order("app")).unwrap();
    let pair = pair.write(lab.dir.path(), "stranger").unwrap();
    let error = dialer(server.port, &lab.settings_for(&pair)).dial(RESP2).await.unwrap_err();
    assert_eq!(error.what, Unavailable::Tls);
    assert_eq!(verdict(Err(error)), "unknown_ca TLS-E114");

    let nothing = Tls { client: None, ..lab.settings() };
    let error = dialer(server.port, &nothing).dial(RESP2).await.unwrap_err();
    assert!(error.text.contains("none is configured"), "{}", error.text);
    assert_eq!(verdict(Err(error)), "cert_required TLS-E121");
    // In TLS 1.2 the server sends a less precise alert.
    let old = ["--tls-protocols", "TLSv1.2"];
    let old = Server::tls(&lab, &lab.pair("server"), &old);
    let got = verdict(dialer(old.port, &nothing).dial(RESP2).await);
    assert_eq!(got, "cert_required TLS-E121");
}

#[tokio::test]
async fn versions_suites_groups_and_resumption() {
    let lab = Lab::new();
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    let (dialer, _) = dialer_with(server.port, &lab.settings(), ServerAuth::default());
    let first = dialer.dial(RESP2).await.unwrap().handshake.unwrap();
    assert_eq!(first.version, "TLSv1_3");
    assert_eq!(first.cipher_suite, "TLS13_AES_128_GCM_SHA256");
    assert!(first.group.starts_with("X25519"), "hybrid where the server can: {}", first.group);
    assert!(!first.resumed);
    assert!(first.peer_not_after.unwrap() > lab.now);
    assert!(dialer.dial(RESP3).await.unwrap().handshake.unwrap().resumed);

    let old = Server::tls(&lab, &lab.pair("server"), &["--tls-protocols", "TLSv1.2"]);
    let handshake = self::dialer(old.port, &lab.settings()).dial(RESP2).await.unwrap().handshake;
    assert_eq!(handshake.unwrap().version, "TLSv1_2");
    let strict = Tls { min_version: TlsVersion::V1_3, ..lab.settings() };
    assert_eq!(verdict(self::dialer(old.port, &strict).dial(RESP2).await), "version TLS-E112");
}

/// A ticket of the old identity would carry its certificate on.
#[tokio::test]
async fn each_identity_begins_without_tickets() {
    let lab = Lab::new();
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    let tls = lab.settings();
    let (dialer, store) = dialer_with(server.port, &tls, ServerAuth::default());
    let resumed = async || dialer.dial(RESP2).await.unwrap().handshake.unwrap().resumed;
    let client = tls.client.as_ref().unwrap();
    for _ in 0..2 {
        assert_eq!((resumed().await, resumed().await), (false, true));
        let new = lab.make(&lab.client_order("app"));
        std::fs::write(&client.cert, &new.cert).unwrap();
        std::fs::write(&client.key, &new.key).unwrap();
        let _ = store.publish(store.candidate().unwrap().unwrap());
    }
    assert!(!resumed().await);
}

/// A server that knows the hybrid group gets it.
#[tokio::test]
async fn hybrid_group_is_used_with_a_server_that_knows_it() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let lab = Lab::new();
    let (cert, key) = lab.pair("server");
    let chain = CertificateDer::pem_file_iter(cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await.unwrap();
        let mut buf = [0; 4096];
        let _ = stream.read(&mut buf).await.unwrap();
        let hello = b"*4\r\n$5\r\nproto\r\n:2\r\n$6\r\nserver\r\n$4\r\nmock\r\n+OK\r\n+PONG\r\n";
        stream.write_all(hello).await.unwrap();
        stream.flush().await.unwrap();
        stream
    });
    let link = dialer(port, &lab.settings()).dial(RESP2).await.unwrap();
    assert_eq!(link.handshake.unwrap().group, "X25519MLKEM768");
    assert_eq!(link.facts.server, "mock");
    drop(serve.await.unwrap());
}

#[tokio::test]
async fn ports_that_are_not_what_they_should_be() {
    let lab = Lab::new();
    let plain = Server::plain(&lab, &[]);
    let tls = Server::tls(&lab, &lab.pair("server"), &[]);
    let dial_tls = async |port| dialer(port, &lab.settings()).dial(RESP2).await;

    // Redis takes a hello of TLS for an inline command and may wait for its end.
    let begin = respgate::internals::base::clock::now();
    let error = dial_tls(plain.port).await.unwrap_err();
    assert!(error.text.contains("port is plaintext"), "{}", error.text);
    assert!(begin.elapsed() < Duration::from_secs(3), "before the time is over");
    let secret = Server::plain(&lab, &["--requirepass", "hunter2"]);
    assert_eq!(verdict(dial_tls(secret.port).await), "other TLS-E111");

    let error = plain_dialer(tls.port, ServerAuth::default()).dial(RESP2).await.unwrap_err();
    assert!(error.text.contains("expects TLS on this port"), "{}", error.text);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let http = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 16]).unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    assert_eq!(verdict(dial_tls(port).await), "other TLS-E111");
    http.join().unwrap();
    assert_eq!(dial_tls(port).await.unwrap_err().what, Unavailable::Connect);

    let nowhere = upstream(1, None, ServerAuth::default());
    let address = ServerEndpoint::Tcp(HostPort { host: "nowhere.invalid".to_owned(), port: 1 });
    let credentials = Credentials::open(&nowhere.auth).unwrap();
    let nowhere = Upstream { address, ..nowhere };
    let dialer = Dialer::new(Target::of(&nowhere).unwrap(), &nowhere, None, credentials);
    assert_eq!(dialer.dial(RESP2).await.unwrap_err().what, Unavailable::Resolve);
}

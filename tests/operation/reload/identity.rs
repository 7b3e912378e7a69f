//! Certificate, key and authority, by every kind of writer.
//!
//! Owns: the cases. Never knows: passwords, the rest of the configuration.

use std::path::PathBuf;

use super::load::under_load;
use super::support::client::{Got, PATIENCE, Target};
use super::support::proxy;
use super::support::real_server::free_port;
use super::*;

/// A respgate whose certificate files are plain files in a directory of their own.
fn flat(server: &Server) -> (Proxy, PathBuf) {
    let home = proxy::directory();
    let files = home.path().join("flat");
    std::fs::create_dir(&files).unwrap();
    let pki = server.pki.as_ref().unwrap();
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        std::fs::copy(pki.client(name), files.join(name)).unwrap();
    }
    let (port, telemetry) = (free_port(), free_port());
    let listener = proxy::listener(&Target::Tcp(port), "");
    let text = proxy::configuration(server, &listener, proxy::OPEN_POLICY, telemetry);
    let mounted = pki.client("tls.crt");
    let mounted = mounted.parent().unwrap().to_str().unwrap();
    let text = text.replace(mounted, files.to_str().unwrap());
    (Proxy::configured(home, Target::Tcp(port), telemetry, &text), files)
}

#[test]
fn kubernetes_swaps_the_directory() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    await_generation(&proxy, 1);
    for generation in 2..5 {
        serves(&proxy);
        let old = connections(&server);
        assert!(!old.is_empty());
        server.pki.as_mut().unwrap().rotate();
        await_generation(&proxy, generation);
        await_gone(&server, &old);
        serves(&proxy);
    }
    assert!(attempts(&proxy, "tls_identity", "applied") > 2.5);
    assert!(attempts(&proxy, "tls_identity", "rejected") < 0.5);
    proxy.await_log(&["new identity in force", "generation=4"]);
}

#[test]
fn copied_over_renamed_over_and_torn() {
    let server = Server::mutual_tls(Brand::Redis);
    let (proxy, files) = flat(&server);
    let pki = server.pki.as_ref().unwrap();
    let (cert, key) = (files.join("tls.crt"), files.join("tls.key"));
    let fresh = |name: &str| pki.issue(name, 2999);

    // Plain overwrite: certificate, then key.
    let new = fresh("copied");
    std::fs::write(&cert, &new.0).unwrap();
    std::fs::write(&key, &new.1).unwrap();
    await_generation(&proxy, 2);

    let new = fresh("renamed");
    rename_over(&key, &new.1);
    rename_over(&cert, &new.0);
    await_generation(&proxy, 3);

    // A writer that takes its time: the pair does not fit for a second, then heals.
    let new = fresh("torn");
    std::fs::write(&cert, &new.0).unwrap();
    std::thread::sleep(Duration::from_millis(900));
    std::fs::write(&key, &new.1).unwrap();
    await_generation(&proxy, 4);

    // Truncated first, as an editor does.
    let new = fresh("truncated");
    std::fs::write(&cert, "").unwrap();
    std::fs::write(&key, "").unwrap();
    std::thread::sleep(Duration::from_millis(400));
    std::fs::write(&cert, &new.0).unwrap();
    std::fs::write(&key, &new.1).unwrap();
    await_generation(&proxy, 5);
    assert!(attempts(&proxy, "tls_identity", "rejected") < 0.5, "{}", proxy.log());

    // Touched, with the same content: nothing happens.
    serves(&proxy);
    let old = connections(&server);
    std::fs::write(&cert, &new.0).unwrap();
    let unchanged = attempts(&proxy, "tls_identity", "unchanged");
    proxy.await_metric(
        "respgate_reload_attempts_total{what=\"tls_identity\",result=\"unchanged\"}",
        |now| now > unchanged,
    );
    assert!((proxy.metric(GENERATION) - 5.0).abs() < 0.1);
    assert!(old.iter().all(|id| connections(&server).contains(id)));
    serves(&proxy);
}

/// Each fault is named in the log and counted, and the identity in force goes on serving.
#[test]
fn invalid_identity_changes_nothing() {
    let server = Server::mutual_tls(Brand::Redis);
    let (proxy, files) = flat(&server);
    let pki = server.pki.as_ref().unwrap();
    let stranger = tempfile::tempdir().unwrap();
    let stranger = support::pki::Pki::new(stranger.path());
    let (cert, key) = (files.join("tls.crt"), files.join("tls.key"));
    let expired = pki.issue("expired", 2021);
    let one = pki.issue("one", 2999);
    let foreign = stranger.issue("foreign", 2999);
    let cases = [
        ("expired", &expired.0, &expired.1, "expired"),
        ("key_mismatch", &one.0, &expired.1, "belong"),
        ("parse", &"nonsense".to_owned(), &one.1, "tls.crt"),
        ("probe_failed", &foreign.0, &foreign.1, "TLS-E114"),
    ];
    for (reason, new_cert, new_key, word) in cases {
        let before = rejections(&proxy, "tls_identity", reason);
        std::fs::write(&key, new_key).unwrap();
        std::fs::write(&cert, new_cert).unwrap();
        wait_until(reason, || rejections(&proxy, "tls_identity", reason) > before);
        let line = proxy.await_log(&["REL-E001", word]);
        assert!(line.contains("WARN"), "{line}");
        assert!(!line.contains("PRIVATE"), "{line}");
        assert!((proxy.metric(GENERATION) - 1.0).abs() < 0.1);
        serves(&proxy);
        // A new connection, too, with the identity in force.
        let mut subscriber = proxy.client();
        assert!(subscriber.ask(&["SUBSCRIBE", "c"]).starts_with(b"*3\r\n"));
    }
    // And what is repaired is applied.
    std::fs::write(&key, &one.1).unwrap();
    std::fs::write(&cert, &one.0).unwrap();
    await_generation(&proxy, 2);
    serves(&proxy);
}

/// An authority that the server's certificate does not come from would cut respgate off.
#[test]
fn changed_authority() {
    let server = Server::mutual_tls(Brand::Redis);
    let (proxy, files) = flat(&server);
    let stranger = tempfile::tempdir().unwrap();
    let stranger = support::pki::Pki::new(stranger.path());
    let ours = std::fs::read_to_string(server.pki.as_ref().unwrap().authority()).unwrap();
    let theirs = std::fs::read_to_string(stranger.authority()).unwrap();
    std::fs::write(files.join("ca.crt"), &theirs).unwrap();
    wait_until("it is rejected", || rejections(&proxy, "tls_identity", "probe_failed") > 0.5);
    serves(&proxy);

    // Both, then the server moves, then the new one alone: no client notices.
    std::fs::write(files.join("ca.crt"), format!("{ours}{theirs}")).unwrap();
    await_generation(&proxy, 2);
    let bundle = files.join("bundle");
    std::fs::write(&bundle, format!("{ours}{theirs}")).unwrap();
    let (cert, key) = (stranger.server("tls.crt"), stranger.server("tls.key"));
    let words = ["CONFIG", "SET", "tls-cert-file", cert.to_str().unwrap(), "tls-key-file"];
    let rest = [key.to_str().unwrap(), "tls-ca-cert-file", bundle.to_str().unwrap()];
    under_load(&proxy, || {
        assert_eq!(server.observer().ask(&[&words[..], &rest].concat()), b"+OK\r\n");
        let new = stranger.issue("moved", 2999);
        std::fs::write(files.join("tls.key"), &new.1).unwrap();
        std::fs::write(files.join("tls.crt"), &new.0).unwrap();
        std::fs::write(files.join("ca.crt"), &theirs).unwrap();
        await_generation(&proxy, 3);
    });
    serves(&proxy);
}

#[test]
fn reload_by_a_signal() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let before = attempts(&proxy, "tls_identity", "unchanged");
    proxy.hang_up();
    wait_until("it looks", || attempts(&proxy, "tls_identity", "unchanged") > before);
    server.pki.as_mut().unwrap().rotate();
    proxy.hang_up();
    await_generation(&proxy, 2);
    serves(&proxy);
}

/// The server is away while the files change: tried again until it is back.
#[test]
fn unreachable_server_at_a_probe() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    serves(&proxy);
    server.stop();
    server.pki.as_mut().unwrap().rotate();
    proxy.hang_up();
    wait_until("it is rejected", || rejections(&proxy, "tls_identity", "probe_failed") > 0.5);
    server.start();
    proxy.hang_up();
    await_generation(&proxy, 2);
    wait_until("it serves", || proxy.client().ask(&["SET", "k", "v"]) == b"+OK\r\n");
}

/// Rotations as fast as they can follow each other, with shared and pinned connections in use;
/// `RESPGATE_ROTATIONS=10000` makes more of them.
#[test]
fn hundred_rotations_under_load_lose_nothing() {
    let rotations = std::env::var("RESPGATE_ROTATIONS").ok().and_then(|n| n.parse().ok());
    let last = rotations.unwrap_or(100_u32) + 1;
    let mut server = Server::mutual_tls(Brand::Redis);
    // On a machine that does much else a handshake may take long.
    let pool = "[upstream.pool]\nconnect_timeout = \"50s\"\nacquire_timeout = \"50s\"\n";
    let proxy = Proxy::before(&server, pool);
    let mut old = Vec::new();
    under_load(&proxy, || {
        for generation in 2..=last {
            old = connections(&server);
            server.pki.as_mut().unwrap().rotate();
            proxy.hang_up();
            await_generation(&proxy, generation);
        }
        await_gone(&server, &old);
    });
    let count = |series: &str| proxy.metric(&format!("respgate_{series}"));
    for result in ["unavailable", "timeout", "canceled"] {
        let series = format!("replies_total{{result={result:?}}}");
        assert!(count(&series) < 0.5, "{series}: {}", count(&series));
    }
    // On a slow machine the server may not answer a probe in time; that is tried again.
    let rejected = count("reload_attempts_total{what=\"tls_identity\",result=\"rejected\"}");
    let refused = rejected - rejections(&proxy, "tls_identity", "probe_failed");
    assert!(refused < 0.5, "{}", proxy.log());
    assert!(count("client_disconnects_total{reason=\"rotation\"}") < 0.5);
    assert!(!proxy.log().contains("ERROR"), "{}", proxy.log());
}

/// Subscribers keep their connection: nothing published is lost by a rotation.
#[test]
fn subscribers_receive_everything() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut subscriber = proxy.client();
    let mut publisher = proxy.client();
    subscriber.ask(&["SUBSCRIBE", "news"]);
    for number in 0..40 {
        if number % 10 == 5 {
            server.pki.as_mut().unwrap().rotate();
            proxy.hang_up();
            await_generation(&proxy, 2 + number / 10);
        }
        let text = number.to_string();
        assert_eq!(publisher.ask(&["PUBLISH", "news", &text]), b":1\r\n");
        let received =
            format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n${}\r\n{text}\r\n", text.len());
        assert_eq!(subscriber.next(PATIENCE), Got::Reply(received.into_bytes()));
    }
}

/// A client that is idle holds no connection of an earlier identity.
#[test]
fn idle_clients_hold_nothing_old() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    server.observer().ask(&["SETRANGE", "large", "99999", "x"]);
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.ask(&["GET", "large"]);
        client.ask(&["GET", "large"]);
        client.ask(&["SELECT", "2"]);
    }
    let old = connections(&server);
    server.pki.as_mut().unwrap().rotate();
    await_generation(&proxy, 2);
    await_gone(&server, &old);
    for client in &mut clients {
        assert_eq!(client.ask(&["GET", "large"]), b"$-1\r\n");
    }
}

/// What only the client can set up again has a deadline, and so has what it may wait for without end.
#[test]
fn pinned_connections_have_a_grace() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "[upstream.pool]\npinned_grace = \"2s\"\n");
    let [mut subscriber, mut tracker, mut monitor, mut watcher, mut blocked, mut patient] =
        std::array::from_fn(|_| proxy.client());
    subscriber.ask(&["SUBSCRIBE", "news"]);
    tracker.ask(&["HELLO", "3"]);
    assert_eq!(tracker.ask(&["CLIENT", "TRACKING", "ON"]), b"+OK\r\n");
    assert_eq!(monitor.ask(&["MONITOR"]), b"+OK\r\n");
    assert_eq!(watcher.ask(&["WATCH", "k"]), b"+OK\r\n");
    blocked.send(&["BLPOP", "q", "0"]);
    patient.send(&["XREAD", "BLOCK", "100000", "STREAMS", "s", "$"]);
    server.await_blocked(2);
    let old = connections(&server);
    let begin = respgate::internals::base::clock::now();
    server.pki.as_mut().unwrap().rotate();
    await_generation(&proxy, 2);
    assert_eq!(proxy.client().ask(&["PUBLISH", "news", "x"]), b":1\r\n");
    assert!(matches!(subscriber.next(PATIENCE), Got::Reply(_)));
    assert_eq!(watcher.ask(&["GET", "k"]), b"$-1\r\n");

    for client in [&mut subscriber, &mut tracker, &mut blocked, &mut patient] {
        assert_eq!(client.next(PATIENCE), Got::End);
    }
    assert!(begin.elapsed() > Duration::from_millis(1900), "{:?}", begin.elapsed());
    assert!(monitor.drain(PATIENCE).1, "it ends");
    proxy.await_metric("respgate_client_disconnects_total{reason=\"rotation\"}", |now| now > 4.5);
    wait_until("the watch is gone", || {
        proxy.metric("respgate_client_pinned_connections{cause=\"watch\"}") < 0.5
    });
    assert_eq!(watcher.ask(&["MULTI"]), b"+OK\r\n");
    assert_eq!(watcher.ask(&["SET", "k", "v"]), b"+QUEUED\r\n");
    assert_eq!(watcher.ask(&["EXEC"]), b"*-1\r\n");
    await_gone(&server, &old);
    server.observer().ask(&["RPUSH", "q", "job"]);
    assert_eq!(
        server.observer().ask(&["LLEN", "q"]),
        b":1\r\n",
        "nothing is popped for a client that is gone"
    );
}

/// A session that has a connection of its own moves over between two replies, busy or idle.
#[test]
fn sessions_of_their_own_move_over() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let pool = "[upstream.pool]\nmode = \"session\"\npinned_grace = \"0\"\n";
    let proxy = Proxy::before(&server, pool);
    let mut idle = proxy.client();
    assert_eq!(idle.ask(&["SELECT", "2"]), b"+OK\r\n");
    assert_eq!(idle.ask(&["SET", "k", "v"]), b"+OK\r\n");
    under_load(&proxy, || {
        for generation in 2..4 {
            let old = connections(&server);
            server.pki.as_mut().unwrap().rotate();
            await_generation(&proxy, generation);
            await_gone(&server, &old);
        }
    });
    assert_eq!(idle.ask(&["GET", "k"]), b"$1\r\nv\r\n");
}

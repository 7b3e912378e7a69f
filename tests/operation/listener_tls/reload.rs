//! The certificate and the authorities of a listener, replaced while clients come and go.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use respgate::internals::base::clock;
use respgate::internals::tls::dev_certs::{CertRequest, Role};

use super::certs::{self, Lab};
use super::support::real_server::wait_until;
use super::{Bench, Secure, client};

const RELOADS: &str = "respgate_reload_attempts_total{what=\"tls_listener\",result=\"applied\"}";
const REJECTED: &str =
    "respgate_reload_rejections_total{what=\"tls_listener\",reason=\"key_mismatch\"}";

/// Replaces a certificate as a writer of whole files does.
fn replace(lab: &Lab, name: &str) {
    lab.issue("next", &lab.server_order());
    for end in ["key", "crt"] {
        let from = lab.path(&format!("next.{end}"));
        std::fs::rename(from, lab.path(&format!("{name}.{end}"))).unwrap();
    }
}

#[test]
fn listener_certificate_rotates_under_load_without_an_error() {
    let bench = Bench::new("", "", "");
    let (done, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let before = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
    let mut lasting = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (bench, done, rounds) = (&bench, &done, &rounds);
            scope.spawn(move || {
                let config = client(&bench.lab, Some(&bench.lab.pair("client")));
                let key = format!("k{number}");
                while !done.load(Ordering::Relaxed) {
                    let mut client = Secure::connect(bench.port, &config).unwrap();
                    assert!(client.ask(&["INCR", &key]).starts_with(':'));
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for rotation in 1..=5 {
            replace(&bench.lab, "server");
            wait_until("the new one is in force", || {
                bench.proxy.metric(RELOADS) >= f64::from(rotation)
            });
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(rounds.into_inner() > 20);
    assert_eq!(bench.handshakes("failed"), 0.0);
    let after = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
    assert_ne!(before.shown(), after.shown());
    assert_eq!(lasting.ask(&["PING"]), "+PONG\r\n", "connections that are open stay");
}

#[test]
fn bad_files_keep_the_certificate_in_force() {
    let bench = Bench::new("", "", "");
    let pair = bench.lab.pair("client");
    let before = bench.connect(Some(&pair)).unwrap().shown();
    // Of another key, as after the first half of a rotation that never ends.
    bench.lab.issue("other", &bench.lab.server_order());
    std::fs::rename(bench.lab.path("other.crt"), bench.lab.path("server.crt")).unwrap();
    bench.proxy.await_metric(REJECTED, |count| count >= 1.0);
    bench.proxy.await_log(&["REL-E001", "tls_listener", "TLS-E009"]);
    assert_eq!(bench.connect(Some(&pair)).unwrap().shown(), before);
    std::fs::rename(bench.lab.path("other.key"), bench.lab.path("server.key")).unwrap();
    bench.proxy.await_metric(RELOADS, |count| count == 1.0);
    assert_ne!(bench.connect(Some(&pair)).unwrap().shown(), before);
    let end = "respgate_tls_certificate_not_after_timestamp_seconds{role=\"listener\"}";
    assert!(bench.proxy.metric(end) > 1e9);
    let end = "respgate_tls_certificate_not_after_timestamp_seconds{role=\"client_ca\"}";
    assert!(bench.proxy.metric(end) > 1e9);
}

/// The clock of this machine is behind that of the issuer: no file changes any more when it is right.
#[test]
fn certificate_that_is_not_valid_yet_is_in_force_when_it_is() {
    let bench = Bench::new("", "", "");
    // The tolerance of the order, that of respgate, and three seconds.
    let begin = clock::wall() + Duration::from_secs(123);
    let order = CertRequest::new(Role::Server, "redis", &["localhost"], begin, certs::DAY);
    let (cert, key) = bench.lab.issue("early", &order);
    std::fs::rename(key, bench.lab.path("server.key")).unwrap();
    std::fs::rename(cert, bench.lab.path("server.crt")).unwrap();
    bench.proxy.await_metric(&REJECTED.replace("key_mismatch", "not_yet_valid"), |n| n >= 1.0);
    bench.proxy.await_log(&["REL-E001", "tls_listener", "TLS-E012"]);
    bench.proxy.await_metric(RELOADS, |count| count == 1.0);
}

#[test]
fn removed_authority_is_not_accepted_any_more_even_by_resumption() {
    let lab = Lab::new();
    let other = Lab::new();
    let both = format!("{}{}", lab.authority.cert(), other.authority.cert());
    std::fs::write(lab.path("ca.crt"), both).unwrap();
    let bench = Bench::with(lab, "", "", "");
    std::fs::write(bench.lab.path("own.crt"), bench.lab.authority.cert()).unwrap();
    let foreign = client(&bench.lab, Some(&other.pair("client")));
    drop(Secure::connect(bench.port, &foreign).unwrap());
    assert!(Secure::connect(bench.port, &foreign).unwrap().is_resumed());
    std::fs::rename(bench.lab.path("own.crt"), bench.lab.path("ca.crt")).unwrap();
    bench.proxy.await_metric(RELOADS, |count| count == 1.0);
    assert!(Secure::connect(bench.port, &foreign).is_err());
    wait_until("it is counted", || bench.failures("unknown_ca") == 1.0);
    bench.connect(Some(&bench.lab.pair("client"))).unwrap();
}

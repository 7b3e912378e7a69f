//! Lists of revoked certificates of applications.

use super::certs::Lab;
use super::support::real_server::wait_until;
use super::{Bench, Secure, client};

const RELOADS: &str = "respgate_reload_attempts_total{what=\"tls_listener\",result=\"applied\"}";
const FOREVER: &str = "20990101000000Z";

#[test]
fn revoked_application_cannot_connect_even_by_resumption() {
    let lab = Lab::new();
    lab.crl("list", None, FOREVER);
    let crl = format!("crl = {:?}", lab.path("list.crl"));
    let bench = Bench::with(lab, &crl, "", "");
    let lab = &bench.lab;
    let config = client(lab, Some(&lab.pair("client")));
    drop(Secure::connect(bench.port, &config).unwrap());
    assert!(Secure::connect(bench.port, &config).unwrap().is_resumed());
    lab.crl("list", Some("client.crt"), FOREVER);
    bench.proxy.await_metric(RELOADS, |count| count == 1.0);
    assert!(Secure::connect(bench.port, &config).is_err());
    wait_until("it is counted", || bench.failures("revoked") == 1.0);
    bench.proxy.await_log(&["TLS-E207"]);
    let other = lab.issue("other", &lab.client_order("other"));
    bench.connect(Some(&other)).unwrap();
    let end = "respgate_tls_crl_next_update_timestamp_seconds{side=\"listener\"}";
    assert!(bench.proxy.metric(end) > 4e9);
    // One that has ended is not put in force.
    lab.crl("list", None, "20200101000000Z");
    bench.proxy.await_log(&["REL-E001", "tls_listener", "TLS-E021"]);
    assert!(Secure::connect(bench.port, &config).is_err());
}

#[test]
fn application_of_which_no_list_says_anything_cannot_connect() {
    let (lab, stranger) = (Lab::new(), Lab::new());
    stranger.crl("strange", None, FOREVER);
    let crl = format!("crl = {:?}", stranger.path("strange.crl"));
    let bench = Bench::with(lab, &crl, "", "");
    assert!(bench.connect(Some(&bench.lab.pair("client"))).is_err());
    bench.proxy.await_log(&["TLS-E215"]);
}

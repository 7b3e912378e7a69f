//! Connections that are open when their certificate ends, is revoked, is blocked, or loses its authority.

use std::io::{ErrorKind, Read};
use std::process::Command;
use std::time::Duration;

use respgate::internals::base::clock;
use respgate::internals::tls::dev_certs::{CertRequest, Role};

use super::certs::Lab;
use super::support::real_server::wait_until;
use super::{Bench, Secure, client};

const FOREVER: &str = "20990101000000Z";

fn disconnects(bench: &Bench, reason: &str) -> f64 {
    bench.proxy.metric(&format!("respgate_client_disconnects_total{{reason={reason:?}}}"))
}

fn pair(lab: &Lab, name: &str) -> super::certs::Pair {
    lab.issue(name, &lab.client_order(name))
}

/// Asserts that the connection ends with close_notify, after nothing more than these bytes.
fn ends_after(client: &mut Secure, expected: &str) {
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), expected);
}

fn audit_log(lab: &Lab) -> (String, std::path::PathBuf) {
    let path = lab.path("audit.log");
    let sink = format!("[[audit.sink]]\ntype = \"file\"\npath = {path:?}\nfsync = \"never\"\n");
    (sink, path)
}

#[test]
fn revoked_certificate_ends_open_connections_between_replies_and_no_others() {
    let lab = Lab::new();
    lab.crl("list", None, FOREVER);
    let (sink, log) = audit_log(&lab);
    let crl = format!("crl = {:?}", lab.path("list.crl"));
    let bench = Bench::with(lab, &crl, "", &sink);
    let (bad, good) = (pair(&bench.lab, "bad"), pair(&bench.lab, "good"));
    let mut idle = bench.connect(Some(&bad)).unwrap();
    let mut subscribed = bench.connect(Some(&bad)).unwrap();
    let mut other = bench.connect(Some(&good)).unwrap();
    assert!(subscribed.ask(&["SUBSCRIBE", "news"]).contains("subscribe"));
    bench.lab.crl("list", Some("bad.crt"), FOREVER);
    ends_after(&mut idle, "");
    ends_after(&mut subscribed, "");
    wait_until("both are counted", || disconnects(&bench, "certificate_refused") == 2.0);
    bench.proxy.await_log(&["CLI-W002", "clients=2", "TLS-E207"]);
    assert_eq!(other.ask(&["PING"]), "+PONG\r\n");
    wait_until("it is audited", || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.matches("certificate_refused").count() == 2
    });
    assert!(bench.connect(Some(&bad)).is_err());
    // One that is not revoked any more is served again.
    bench.lab.crl("list", None, FOREVER);
    wait_until("it may connect", || bench.connect(Some(&bad)).is_ok());
}

#[test]
fn removed_authority_ends_open_connections() {
    let (lab, other) = (Lab::new(), Lab::new());
    let both = format!("{}{}", lab.authority.cert(), other.authority.cert());
    std::fs::write(lab.path("ca.crt"), both).unwrap();
    let bench = Bench::with(lab, "", "", "");
    std::fs::write(bench.lab.path("own.crt"), bench.lab.authority.cert()).unwrap();
    let foreign = client(&bench.lab, Some(&other.pair("client")));
    let mut waiting = Secure::connect(bench.port, &foreign).unwrap();
    let mut own = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
    std::fs::rename(bench.lab.path("own.crt"), bench.lab.path("ca.crt")).unwrap();
    ends_after(&mut waiting, "");
    bench.proxy.await_log(&["CLI-W002", "clients=1", "TLS-E202"]);
    assert_eq!(own.ask(&["PING"]), "+PONG\r\n");
}

#[test]
fn expired_certificate_ends_its_connection_and_a_setting_keeps_it() {
    for (setting, ends) in [("", true), ("recheck = false", false)] {
        let bench = Bench::new(setting, "", "");
        let life = Duration::from_secs(3);
        let order = CertRequest::new(Role::Client, "short", &["short"], clock::wall(), life);
        let short = bench.lab.issue("short", &order);
        let mut client = bench.connect(Some(&short)).unwrap();
        let mut lasting = bench.connect(Some(&bench.lab.pair("client"))).unwrap();
        assert_eq!(client.ask(&["PING"]), "+PONG\r\n");
        if ends {
            ends_after(&mut client, "");
            wait_until("it is counted", || disconnects(&bench, "certificate_expired") == 1.0);
            bench.proxy.await_log(&["CLI-W002", "has expired", "clients=1"]);
        } else {
            client.0.sock.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
            let error = client.0.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        assert_eq!(lasting.ask(&["PING"]), "+PONG\r\n");
    }
}

#[test]
fn certificate_is_blocked_by_name_and_by_fingerprint_until_unblocked() {
    let lab = Lab::new();
    let socket = lab.path("control.sock");
    let admin = format!("[admin]\nsocket = {socket:?}\n");
    let bench = Bench::with(lab, "", "", &admin);
    let ask = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
        let output = command.args(words).arg("--socket").arg(&socket).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
    };
    let (bad, good) = (pair(&bench.lab, "bad"), pair(&bench.lab, "good"));
    let digest = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(&bad.0)
        .output()
        .unwrap();
    let digest = String::from_utf8(digest.stdout).unwrap();
    let digest = digest.trim().rsplit('=').next().unwrap();
    let mut other = bench.connect(Some(&good)).unwrap();
    for (number, pattern) in ["dns:bad", "dns:b*", digest].into_iter().enumerate() {
        let mut open = bench.connect(Some(&bad)).unwrap();
        let (code, printed) = ask(&["block", "--certificate", pattern]);
        assert!(code == 0 && printed.contains("concerns 1 connected client"), "{printed}");
        let denied = open.ask(&["GET", "a"]);
        let words = "-NOPERM respgate: the certificate of this client is blocked by an operator";
        assert!(denied.starts_with(words), "{denied}");
        assert!(bench.connect(Some(&bad)).is_err(), "not even the handshake succeeds");
        let failures = f64::from(u32::try_from(number).unwrap() + 1);
        wait_until("it is counted", || bench.failures("blocked") == failures);
        bench.proxy.await_log(&["TLS-E216", "dns:bad"]);
        assert_eq!(bench.proxy.metric("respgate_blocked{what=\"certificate\"}"), 1.0);
        assert_eq!(other.ask(&["PING"]), "+PONG\r\n");
        let listed = ask(&["clients", "--certificate", pattern, "--json"]).1;
        assert!(listed.contains("dns:bad") && !listed.contains("dns:good"), "{listed}");
        assert!(ask(&["status"]).1.contains("certificate "));
        assert_eq!(ask(&["unblock", "--all"]).0, 0);
        assert_eq!(open.ask(&["GET", "a"]), "$-1\r\n");
        let (code, printed) = ask(&["disconnect", "--certificate", pattern]);
        assert_eq!(code, 0, "{printed}");
        ends_after(&mut open, "");
        bench.connect(Some(&bad)).unwrap();
        wait_until("it has left", || !ask(&["clients", "--json"]).1.contains("dns:bad"));
    }
    assert_eq!(ask(&["block", "--certificate", "bad"]).0, 2, "it is no name of a certificate");
}

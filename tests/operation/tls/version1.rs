//! X.509 version 1 certificates, as `openssl x509 -req` without extensions and Redis's own
//! `gen-test-certs.sh` make them.
//!
//! Owns: the cases. Never knows: certificates of version 3.

use respgate::internals::tls::dev_certs::Authority;

use super::certs::{DAY, Lab};
use super::*;

/// RSA, as the recipes make it; the certificates of a [`Lab`] are ECDSA.
fn with_rsa(lab: &Lab, name: &str) -> Pair {
    let run = |line: &str| {
        let mut command = Command::new("openssl");
        command.args(line.split(' ')).current_dir(lab.dir.path()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{line}");
    };
    run("genrsa -out v1-ca.key 2048");
    run("req -x509 -new -nodes -sha256 -key v1-ca.key -days 2 -subj /CN=CA -out ca.crt");
    run(&format!("genrsa -out {name}.key 2048"));
    run(&format!("req -new -sha256 -subj /CN=Generic-cert -key {name}.key -out {name}.csr"));
    run(&format!(
        "x509 -req -sha256 -in {name}.csr -CA ca.crt -CAkey v1-ca.key -CAcreateserial -days 2 -out {name}.crt"
    ));
    lab.pair(name)
}

#[tokio::test]
async fn client_certificate_of_version_1_is_shown_and_taken() {
    let lab = Lab::new();
    let pair = lab.issue_version_1("v1");
    for protocols in ["TLSv1.2", "TLSv1.3"] {
        let server = Server::tls(&lab, &lab.pair("server"), &["--tls-protocols", protocols]);
        let tls = lab.settings_for(&pair);
        assert_eq!(verdict(dialer(server.port, &tls).dial(RESP2).await), "ok", "{protocols}");
    }
    let other = lab.settings_for(&(pair.0, lab.path("client.key")));
    let error = TlsStore::open(&other).unwrap_err();
    assert_eq!(error.fault.code(), "TLS-E009", "the key is compared all the same");
}

#[tokio::test]
async fn server_certificate_of_version_1_is_judged_by_its_authority_or_by_its_pin() {
    let lab = Lab::new();
    for rsa in [false, true] {
        let pair = if rsa { with_rsa(&lab, "rsa") } else { lab.issue_version_1("ec") };
        for protocols in ["TLSv1.2", "TLSv1.3"] {
            let server = Server::tls(&lab, &pair, &["--tls-protocols", protocols]);
            let pins = vec![lab.pin(&pair.0)];
            // The client of the same authority, of version 1 as well.
            for (verify, pins, expected) in [
                (Verify::Full, Vec::new(), "unsupported_cert TLS-E106"),
                (Verify::Ca, Vec::new(), "ok"),
                (Verify::Pin, pins, "ok"),
                (Verify::Pin, vec!["00".repeat(32)], "pin TLS-E109"),
            ] {
                let tls = Tls { verify, pins, ..lab.settings_for(&pair) };
                let got = verdict(dialer(server.port, &tls).dial(RESP2).await);
                assert_eq!(got, expected, "{verify:?} {protocols} rsa {rsa}");
            }
        }
    }
}

#[tokio::test]
async fn server_certificate_of_version_1_from_elsewhere_is_refused() {
    let lab = Lab::new();
    let pair = lab.issue_version_1("v1");
    let server = Server::tls(&lab, &pair, &[]);
    // Of the same name, and with another key.
    let same = Authority::new("Lab CA", lab.now, DAY).unwrap();
    let other = Authority::new("Other CA", lab.now, DAY).unwrap();
    for (authority, expected) in [(same, "unknown_ca TLS-E103"), (other, "unknown_ca TLS-E103")] {
        std::fs::write(lab.path("foreign.crt"), authority.cert()).unwrap();
        let tls = Tls { verify: Verify::Ca, ca: ca(lab.path("foreign.crt")), ..lab.settings() };
        assert_eq!(verdict(dialer(server.port, &tls).dial(RESP2).await), expected);
    }
}

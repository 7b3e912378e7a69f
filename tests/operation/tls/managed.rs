//! Servers that ask for no client certificate, as the managed services do.
//!
//! Owns: the cases. Never knows: mutual TLS.

use super::certs::{DAY, Lab};
use super::*;

/// A server over TLS that requires no client certificate.
fn managed(lab: &Lab) -> Server {
    Server::tls(lab, &lab.pair("server"), &["--tls-auth-clients", "no", "--requirepass", "token"])
}

#[tokio::test]
async fn no_client_certificate_is_needed_where_the_server_requires_none() {
    let lab = Lab::new();
    let server = managed(&lab);
    let tls = Tls { client: None, ..lab.settings() };
    let (dialer, store) = dialer_with(server.port, &tls, auth(&lab, None, "token"));
    assert_eq!(verdict(dialer.dial(RESP2).await), "ok");
    assert!(store.current().client.is_none());
    assert!(store.candidate().unwrap().is_none(), "nothing changed");
    std::fs::write(trust(&tls), lab.authority.cert() + "\n").unwrap();
    let candidate = store.candidate().unwrap();
    assert!(dialer.probe(candidate.as_ref(), None).await.is_ok());
    // One that is offered does no harm.
    let (dialer, _) = dialer_with(server.port, &lab.settings(), auth(&lab, None, "token"));
    assert_eq!(verdict(dialer.dial(RESP2).await), "ok");
}

#[tokio::test]
async fn pin_needs_no_authorities() {
    let lab = Lab::new();
    let server = managed(&lab);
    let pins = vec![lab.pin(&lab.path("server.crt"))];
    let tls = Tls { client: None, ca: None, verify: Verify::Pin, pins, ..lab.settings() };
    let (dialer, _) = dialer_with(server.port, &tls, auth(&lab, None, "token"));
    assert_eq!(verdict(dialer.dial(RESP2).await), "ok");
}

/// A variable of the environment is one for all tests: the program is asked, with its own.
#[test]
fn authorities_of_the_system_are_those_of_its_files() {
    let lab = Lab::new();
    let server = managed(&lab);
    std::fs::write(lab.path("password"), "token").unwrap();
    let other = respgate::internals::tls::dev_certs::Authority::new("Other", lab.now, DAY);
    std::fs::write(lab.path("other.crt"), other.unwrap().cert()).unwrap();
    std::fs::write(lab.path("none.crt"), "").unwrap();
    let ask = |ca: &str| {
        let out = Command::new(env!("CARGO_BIN_EXE_respgate"))
            .args(["acl", "--diff", "--ca", "system", "--preset", "full"])
            .args(["--upstream", &format!("rediss://127.0.0.1:{}", server.port)])
            .args(["--password-file", lab.path("password").to_str().unwrap()])
            .env("SSL_CERT_FILE", lab.path(ca))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
        (out.status.code().unwrap(), text)
    };
    assert_eq!(ask("ca.crt").0, 0, "{}", ask("ca.crt").1);
    let (code, text) = ask("other.crt");
    assert!(code == 2 && text.contains("not signed by any public authority"), "{text}");
    let (code, text) = ask("none.crt");
    assert!(code == 2 && text.contains("TLS-E019") && text.contains("ca-certificates"), "{text}");
}

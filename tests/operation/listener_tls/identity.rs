//! The user that a certificate is, and what it may do.

use super::certs::{DAY, Lab, Pair};
use super::support::proxy::{Proxy, directory};
use super::support::real_server::wait_until;
use super::{Bench, listener_tls};
use respgate::internals::tls::dev_certs::{CertRequest, Role};

const USERS: &str = "
[[user]]
name = \"app1\"
certificates = [\"spiffe://prod/ns/*/sa/app1\"]
policy = \"app1\"
[[user]]
name = \"app2\"
certificates = [\"dns:*.apps.example.com\", \"cn:second\"]
policy = \"app2\"
[[user]]
name = \"app3\"
passwords = [\"#2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"]
policy = \"app1\"
[policies.app1]
acl = \"+@all ~app1:*\"
[policies.app2]
acl = \"+@all ~app2:*\"
";

fn issue(lab: &Lab, common: &str, names: &[&str]) -> Pair {
    lab.issue(common, &CertRequest::new(Role::Client, common, names, lab.now, DAY))
}

#[test]
fn client_certificate_selects_user_and_policy() {
    let bench = Bench::new("", "auth = \"users\"", USERS);
    let lab = &bench.lab;
    for (name, sans, user) in [
        ("a", &["x.example.com", "spiffe://prod/ns/blue/sa/app1"][..], "app1"),
        ("b", &["one.apps.example.com"], "app2"),
        ("second", &[], "app2"),
    ] {
        let mut client = bench.connect(Some(&issue(lab, name, sans))).unwrap();
        let other = if user == "app1" { "app2" } else { "app1" };
        assert_eq!(client.ask(&["SET", &format!("{user}:k"), "v"]), "+OK\r\n");
        let refused = client.ask(&["GET", &format!("{other}:k")]);
        assert!(refused.starts_with("-NOPERM"), "{user}: {refused}");
        // As after RESET, which makes a client what it was at the beginning.
        assert_eq!(client.ask(&["RESET"]), "+RESET\r\n");
        assert_eq!(client.ask(&["GET", &format!("{user}:k")]), "$1\r\nv\r\n");
    }
    // Of several that fit, the first.
    let both = ["one.apps.example.com", "spiffe://prod/ns/blue/sa/app1"];
    let mut client = bench.connect(Some(&issue(lab, "both", &both))).unwrap();
    assert_eq!(client.ask(&["SET", "app1:k", "v"]), "+OK\r\n");
    // A good certificate of no user must log in, and may.
    for sans in [&["spiffe://prod/ns/a/b/sa/app1"][..], &["spiffe://prod/ns/a/sa/app10"], &["a.b"]]
    {
        let mut client = bench.connect(Some(&issue(lab, "stranger", sans))).unwrap();
        assert!(client.ask(&["GET", "app1:k"]).starts_with("-NOAUTH"), "{sans:?}");
        assert!(client.ask(&["AUTH", "app3", "wrong"]).starts_with("-WRONGPASS"));
        assert_eq!(client.ask(&["AUTH", "app3", "secret"]), "+OK\r\n");
        assert_eq!(client.ask(&["GET", "app1:k"]), "$1\r\nv\r\n");
    }
}

#[test]
fn requested_certificate_is_looked_at_and_its_absence_accepted() {
    let bench = Bench::new("client_auth = \"request\"", "auth = \"users\"", USERS);
    let pair = issue(&bench.lab, "a", &["spiffe://prod/ns/a/sa/app1"]);
    let mut known = bench.connect(Some(&pair)).unwrap();
    assert_eq!(known.ask(&["SET", "app1:k", "v"]), "+OK\r\n");
    let mut unknown = bench.connect(None).unwrap();
    assert!(unknown.ask(&["GET", "app1:k"]).starts_with("-NOAUTH"));
    let other = Lab::new();
    let foreign = issue(&other, "a", &["spiffe://prod/ns/a/sa/app1"]);
    assert!(bench.connect(Some(&foreign)).is_err(), "one that is shown must be good");
}

#[test]
fn no_certificate_is_asked_for_where_client_auth_is_off() {
    let bench = Bench::new("client_auth = \"off\"\nmin_version = \"1.3\"", "", "");
    assert_eq!(bench.connect(None).unwrap().ask(&["SET", "k", "v"]), "+OK\r\n");
    assert_eq!(
        bench.connect(Some(&bench.lab.pair("client"))).unwrap().ask(&["DEL", "k"]),
        ":1\r\n"
    );
}

#[test]
fn remote_address_needs_a_required_certificate_or_permission() {
    let lab = Lab::new();
    for (address, tls, fault) in [
        ("0.0.0.0:7", "", None),
        ("0.0.0.0:7", "client_auth = \"request\"", Some("other machines could connect")),
        ("0.0.0.0:7", "client_auth = \"off\"", Some("other machines could connect")),
        ("unix:x", "", Some("a Unix socket has no TLS")),
        ("127.0.0.1:7", "allowed_sans = [\"app1\"]", Some("which kind of name")),
        ("127.0.0.1:7", "max_handshakes = 0", Some("must be more than 0")),
        ("127.0.0.1:7", "client_auth = \"off\"\nallowed_sans = [\"cn:a\"]", Some("without effect")),
    ] {
        let text = format!(
            "[[listener]]\naddress = {address:?}\n{}\n[upstream]\naddress = \"127.0.0.1:1\"\n\
             insecure_plaintext = true\n[policy]\nacl = \"+@all ~*\"\n",
            listener_tls(&lab, tls)
        );
        let read = respgate::internals::config::parse(&text, "test", []);
        match (fault, read) {
            (None, read) => drop(read.unwrap()),
            (Some(fault), Err(problems)) => {
                let found = problems.iter().any(|problem| problem.to_string().contains(fault));
                assert!(found, "{address} {tls}: {problems:?}");
            }
            (Some(_), Ok(_)) => panic!("{address} {tls} is accepted"),
        }
    }
}

#[test]
fn start_is_refused_with_files_that_cannot_be_a_listeners() {
    let lab = Lab::new();
    let (cert, key) = lab.pair("client");
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ cert = {cert:?}, key = {key:?}, client_ca = \
         {:?} }}\n[upstream]\naddress = \"127.0.0.1:1\"\ninsecure_plaintext = true\n[policy]\nacl = \
         \"+@all ~*\"\n[telemetry]\naddress = \"off\"\n",
        lab.path("ca.crt")
    );
    let home = directory();
    let (status, log) = Proxy::refused(home.path(), &text);
    assert!(!status.success());
    assert!(log.contains("TLS-E014") && log.contains("serverAuth"), "{log}");
}

#[test]
fn audit_log_names_the_certificate_and_a_handshake_that_failed() {
    let audit = "[[audit.sink]]\ntype = \"file\"\npath = \"audit.log\"\n";
    let bench = Bench::new("", "auth = \"users\"", &format!("{USERS}{audit}"));
    let pair = issue(&bench.lab, "a", &["spiffe://prod/ns/blue/sa/app1"]);
    let mut client = bench.connect(Some(&pair)).unwrap();
    assert!(client.ask(&["GET", "other"]).starts_with("-NOPERM"));
    assert!(bench.connect(None).is_err());
    let log = bench.proxy.directory().join("audit.log");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    let has =
        |words: &[&str]| lines().lines().any(|line| words.iter().all(|word| line.contains(word)));
    let name = "\"certificate\":\"spiffe://prod/ns/blue/sa/app1\"";
    wait_until("all is written", || {
        has(&["connection-opened", name, "\"fingerprint\":\""])
            && has(&["\"denied\"", "\"user\":\"app1\"", name])
            && has(&["authentication", "\"failed\"", "TLS-E201", "127.0.0.1:"])
    });
}

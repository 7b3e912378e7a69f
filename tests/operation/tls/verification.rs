//! What of a server is compared besides chain and host: names, revocation, algorithms.
//!
//! Owns: the cases. Never knows: applications.

use respgate::internals::config::{
    Algorithms, CipherSuite, ExpiredCrl, KeyExchange, Revocation, SanPattern, TlsVersion, Verify,
};
use respgate::internals::tls::dev_certs::CertRequest;

use super::certs::Lab;
use super::*;

async fn dial(server: &Server, tls: &Tls) -> String {
    verdict(dialer(server.port, tls).dial(RESP2).await)
}

fn sans(patterns: &[&str]) -> Vec<SanPattern> {
    patterns.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn allowed_sans_are_compared_in_each_way_of_verifying_a_chain() {
    let lab = Lab::new();
    let names = ["127.0.0.1", "redis.prod.example.com", "spiffe://prod/ns/data/sa/redis"];
    let names = names.map(str::to_owned).to_vec();
    let pair = lab.issue("named", &CertRequest { names, ..lab.server_order() });
    let server = Server::tls(&lab, &pair, &[]);
    for verify in [Verify::Full, Verify::Ca] {
        for (patterns, expected) in [
            (&[][..], "ok"),
            (&["spiffe://prod/ns/*/sa/redis"], "ok"),
            (&["dns:*.other.example.com", "dns:*.prod.example.com"], "ok"),
            (&["ip:127.0.0.1"], "ok"),
            (&["cn:redis"], "ok"),
            (&["spiffe://prod/ns/*/sa/valkey"], "bad_name TLS-E104"),
            (&["dns:*.example.com"], "bad_name TLS-E104"),
            (&["ip:127.0.0.2"], "bad_name TLS-E104"),
        ] {
            let tls = Tls { verify, allowed_sans: sans(patterns), ..lab.settings() };
            assert_eq!(dial(&server, &tls).await, expected, "{verify:?} {patterns:?}");
        }
    }
    // Any name will not do instead of the host's.
    let tls = Tls { allowed_sans: sans(&["cn:redis"]), ..lab.settings() };
    let elsewhere = Tls { server_name: Some("redis.internal".to_owned()), ..tls };
    assert_eq!(dial(&server, &elsewhere).await, "bad_name TLS-E104");
}

fn revocation(lab: &Lab, crl: &str, expired: ExpiredCrl) -> Tls {
    let revocation = Some(Revocation { crl: lab.path(crl), expired });
    Tls { revocation, ..lab.settings() }
}

#[tokio::test]
async fn revoked_server_is_refused_and_a_server_of_which_nothing_is_known() {
    let lab = Lab::new();
    lab.crl("none", None, "20990101000000Z");
    lab.crl("other", Some("client.crt"), "20990101000000Z");
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    for verify in [Verify::Full, Verify::Ca] {
        for crl in ["none.crl", "other.crl"] {
            let tls = Tls { verify, ..revocation(&lab, crl, ExpiredCrl::Reject) };
            assert_eq!(dial(&server, &tls).await, "ok", "{crl}");
        }
    }
    lab.crl("own", Some("server.crt"), "20990101000000Z");
    for verify in [Verify::Full, Verify::Ca] {
        let tls = Tls { verify, ..revocation(&lab, "own.crl", ExpiredCrl::Reject) };
        assert_eq!(dial(&server, &tls).await, "revoked TLS-E122");
    }
    let stranger = Lab::new();
    stranger.crl("strange", None, "20990101000000Z");
    std::fs::copy(stranger.path("strange.crl"), lab.path("strange.crl")).unwrap();
    let tls = revocation(&lab, "strange.crl", ExpiredCrl::Reject);
    assert_eq!(dial(&server, &tls).await, "revoked TLS-E123");
    // A list of each authority, in one file.
    let both =
        [lab.path("none.crl"), lab.path("strange.crl")].map(|path| std::fs::read(path).unwrap());
    std::fs::write(lab.path("both.crl"), both.concat()).unwrap();
    assert_eq!(dial(&server, &revocation(&lab, "both.crl", ExpiredCrl::Reject)).await, "ok");
    let old = lab.issue_version_1("old");
    let old = Server::tls(&lab, &old, &[]);
    let tls = Tls { verify: Verify::Ca, ..revocation(&lab, "none.crl", ExpiredCrl::Reject) };
    assert_eq!(dial(&old, &tls).await, "revoked TLS-E123");
}

#[tokio::test]
async fn expired_list_is_refused_unless_it_is_accepted() {
    let lab = Lab::new();
    lab.crl("past", None, "20200101000000Z");
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    let opened = |expired| TlsStore::open(&revocation(&lab, "past.crl", expired));
    assert_eq!(opened(ExpiredCrl::Reject).unwrap_err().fault.code(), "TLS-E021");
    let accepted = revocation(&lab, "past.crl", ExpiredCrl::Accept);
    assert_eq!(dial(&server, &accepted).await, "ok");
    std::fs::write(lab.path("no.crl"), "nothing").unwrap();
    let tls = revocation(&lab, "no.crl", ExpiredCrl::Reject);
    assert_eq!(TlsStore::open(&tls).unwrap_err().fault.code(), "TLS-E020");
}

/// With the list its generation changes, so that connections are made anew.
#[tokio::test]
async fn list_is_read_again_with_the_identity() {
    let lab = Lab::new();
    lab.crl("list", None, "20990101000000Z");
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    let tls = revocation(&lab, "list.crl", ExpiredCrl::Reject);
    let (dialer, store) = dialer_with(server.port, &tls, ServerAuth::default());
    assert_eq!(verdict(dialer.dial(RESP2).await), "ok");
    assert!(store.candidate().unwrap().is_none());
    assert!(tls.files().any(|file| file.ends_with("list.crl")), "it is watched");
    lab.crl("list", Some("server.crt"), "20990101000000Z");
    let candidate = store.candidate().unwrap().unwrap();
    let probed = dialer.probe(Some(&candidate), None).await.unwrap_err();
    assert_eq!(verdict(Err(probed)), "revoked TLS-E122");
    let _ = store.publish(candidate);
    assert_eq!(verdict(dialer.dial(RESP2).await), "revoked TLS-E122");
}

#[tokio::test]
async fn intermediates_come_from_the_server_and_several_roots_from_one_file() {
    let lab = Lab::new();
    let dir = |name: &str| lab.path(name);
    let openssl = |line: &str| {
        let made =
            Command::new("openssl").args(line.split(' ')).current_dir(lab.dir.path()).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    };
    lab.authority.issued().write(lab.dir.path(), "root").unwrap();
    let extensions = "[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n\
                      [leaf]\nsubjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n";
    std::fs::write(dir("ext.cnf"), extensions).unwrap();
    for (name, by, section) in [("middle", "root", "ca"), ("leaf", "middle", "leaf")] {
        openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout \
             {name}.key -out {name}.csr"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA {by}.crt -CAkey {by}.key -set_serial 9 -days 2 -extfile \
             ext.cnf -extensions {section} -out {name}.crt"
        ));
    }
    let chain = ["leaf.crt", "middle.crt"].map(|name| std::fs::read(dir(name)).unwrap()).concat();
    std::fs::write(dir("chain.crt"), chain).unwrap();
    let other = Lab::new();
    let roots = [other.authority.cert(), lab.authority.cert()].concat();
    std::fs::write(dir("roots.crt"), roots).unwrap();
    let trusting = |ca: &str| Tls { ca: super::ca(dir(ca)), ..lab.settings() };
    let whole = Server::tls(&lab, &(dir("chain.crt"), dir("leaf.key")), &[]);
    assert_eq!(dial(&whole, &trusting("roots.crt")).await, "ok");
    assert_eq!(dial(&whole, &trusting("root.crt")).await, "ok");
    let bare = Server::tls(&lab, &(dir("leaf.crt"), dir("leaf.key")), &[]);
    assert_eq!(dial(&bare, &trusting("roots.crt")).await, "unknown_ca TLS-E103");
    // An authority between may itself be trusted.
    assert_eq!(dial(&bare, &trusting("middle.crt")).await, "ok");
}

#[tokio::test]
async fn algorithms_are_those_that_are_configured() {
    let lab = Lab::new();
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    let with = |suites: &[CipherSuite], groups: &[KeyExchange], require_pq| {
        let algorithms =
            Algorithms { suites: suites.to_vec(), groups: groups.to_vec(), require_pq };
        Tls { algorithms, ..lab.settings() }
    };
    for (suite, group) in [
        (CipherSuite::Aes256, KeyExchange::Secp384r1),
        (CipherSuite::Chacha20, KeyExchange::X25519),
        (CipherSuite::EcdsaChacha20, KeyExchange::Secp256r1),
    ] {
        let tls = with(&[suite], &[group], false);
        let link = dialer(server.port, &tls).dial(RESP2).await.unwrap();
        let handshake = link.handshake.unwrap();
        let name = handshake.cipher_suite.replace("TLS13", "TLS");
        assert!(name.eq_ignore_ascii_case(suite.name()), "{name}");
        assert!(handshake.group.eq_ignore_ascii_case(group.name()), "{}", handshake.group);
    }
    // The server has an ECDSA key, and no such suite is left.
    let old = Server::tls(&lab, &lab.pair("server"), &["--tls-protocols", "TLSv1.2"]);
    assert_eq!(dial(&old, &with(&[CipherSuite::EcdsaAes256], &[], false)).await, "ok");
    let refused = dial(&old, &with(&[CipherSuite::RsaAes256], &[], false)).await;
    assert_ne!(refused, "ok");
    let classic = Server::tls(&lab, &lab.pair("server"), &[]);
    let pq = Tls { min_version: TlsVersion::V1_3, ..with(&[], &[], true) };
    let knows_pq = dialer(classic.port, &lab.settings()).dial(RESP2).await.unwrap();
    let knows_pq = knows_pq.handshake.unwrap().group == "X25519MLKEM768";
    assert_eq!(dial(&classic, &pq).await == "ok", knows_pq, "as the server's OpenSSL does");
}

#[test]
fn keys_that_do_without_verification_are_answered_with_what_to_use() {
    let read = |line: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:6379\"\n[upstream]\naddress = \"a:1\"\n[upstream.tls]\n\
             ca = \"ca.crt\"\n{line}\n[policy]\nacl = \"+@all ~*\"\n"
        );
        let problems = respgate::internals::config::parse(&text, "test", []).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let hint = problems[0].hint.clone().unwrap_or_default();
        format!("{}\n{hint}", problems[0])
    };
    for key in ["verify_hostname", "check_hostname", "insecure_skip_verify", "verify_mode"] {
        let output = read(&format!("{key} = false"));
        assert!(output.contains("verify = \"ca\"") && output.contains("server_name"), "{output}");
    }
    for (line, part) in [
        ("verify = \"none\"", "\"full\""),
        ("cipher_suites = [\"AES128-SHA\"]", "TLS_AES_256_GCM_SHA384"),
        ("key_exchange = [\"ffdhe2048\"]", "X25519MLKEM768"),
        ("require_pq = true", "min_version = \"1.3\""),
        ("require_pq = true\nmin_version = \"1.3\"\nkey_exchange = [\"x25519\"]", "contradicts"),
        (
            "min_version = \"1.3\"\ncipher_suites = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]",
            "none of them",
        ),
        ("crl_expired = \"accept\"", "there is no crl"),
        ("allowed_sans = [\"redis\"]", "which kind"),
    ] {
        let output = read(line);
        assert!(output.contains(part), "{line}: {output}");
    }
    let pinned = "verify = \"pin\"\npins = [\"";
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:6379\"\n[upstream]\naddress = \"a:1\"\n[upstream.tls]\n{pinned}{}\"]\n\
         crl = \"x\"\nallowed_sans = [\"cn:x\"]\n[policy]\nacl = \"+@all ~*\"\n",
        "00".repeat(32)
    );
    assert_eq!(respgate::internals::config::parse(&text, "test", []).unwrap_err().len(), 2);
}

//! The errors about certificate, key and CA files that cannot be an identity.
//!
//! Owns: the cases. Never knows: servers.

use std::path::Path;
use std::process::Command;

use respgate::internals::config::Verify;
use respgate::internals::tls::dev_certs::{Authority, CertRequest, Role};

use super::certs::{DAY, Lab};
use super::*;

/// Opens a store on these settings and compares code, metric reason and a part of the text.
fn check(tls: &Tls, code: &str, reason: &str, part: &str) {
    let error = TlsStore::open(tls).unwrap_err();
    assert_eq!((error.fault.code(), error.fault.reason()), (code, reason), "{error}");
    let text = format!("{error:#}");
    assert!(text.contains(part), "`{part}` is not in `{text}`");
    assert!(text.contains("\n  hint: "), "{text}");
    assert!(!text.contains("BEGIN PRIVATE KEY-----\nM"), "{text}");
}

#[test]
fn identity_has_its_facts() {
    let lab = Lab::new();
    let store = TlsStore::open(&lab.settings()).unwrap();
    let identity = store.current();
    assert_eq!(identity.generation, 1);
    let client = identity.client.as_ref().unwrap();
    assert!(client.not_before < lab.now && lab.now < client.not_after);
    assert_eq!(client.not_after, client.chain_not_after);
    assert_eq!(client.fingerprint.len(), 64);
    assert!(!format!("{store:?}").contains("PRIVATE"));
    assert!(store.candidate().unwrap().is_none(), "nothing changed");
}

#[test]
fn chain_counts_to_its_earliest_end() {
    let lab = Lab::new();
    let short = CertRequest { not_after: lab.now + DAY / 4, ..lab.client_order("between") };
    let chain = [lab.make(&lab.client_order("app")), lab.make(&short)];
    std::fs::write(lab.path("client.crt"), chain[0].cert.clone() + &chain[1].cert).unwrap();
    std::fs::write(lab.path("client.key"), &chain[0].key).unwrap();
    let identity = TlsStore::open(&lab.settings()).unwrap().current();
    let client = identity.client.as_ref().unwrap();
    assert!(client.chain_not_after < client.not_after);
}

#[test]
fn certificates_that_no_server_would_take() {
    let lab = Lab::new();
    let good = lab.client_order("app");
    let order = |name: &str, order: &CertRequest| lab.settings_for(&lab.issue(name, order));
    let (not_before, not_after) = (lab.now - 2 * DAY, lab.now - DAY);
    let expired = order("expired", &CertRequest { not_before, not_after, ..good.clone() });
    check(&expired, "TLS-E011", "expired", "certificate 1: expired on");
    let early = order("early", &CertRequest { not_before: lab.now + DAY / 2, ..good.clone() });
    check(&early, "TLS-E012", "not_yet_valid", "is not valid before");
    let server = order("usage", &CertRequest { role: Role::Server, ..good });
    check(&server, "TLS-E014", "eku", "clientAuth");
}

#[test]
fn files_that_do_not_belong_together() {
    let lab = Lab::new();
    let good = lab.settings();
    let other = lab.issue("other", &lab.client_order("other"));
    let with = |cert: &Path, key: &Path| Tls { client: client(cert, key), ..good.clone() };
    check(&with(cert(&good), &other.1), "TLS-E009", "key_mismatch", "does not belong to");
    check(&with(key(&good), cert(&good)), "TLS-E005", "parse", "may be exchanged");
    let chain = lab.authority.cert() + &std::fs::read_to_string(cert(&good)).unwrap();
    std::fs::write(lab.path("reversed.crt"), chain).unwrap();
    let reversed = with(&lab.path("reversed.crt"), key(&good));
    check(&reversed, "TLS-E010", "key_mismatch", "certificate 2, which must come first");
    // All in one file is fine.
    let all = std::fs::read(cert(&good)).unwrap();
    let all = [all, std::fs::read(key(&good)).unwrap()].concat();
    std::fs::write(lab.path("all.pem"), all).unwrap();
    let one = with(&lab.path("all.pem"), &lab.path("all.pem"));
    assert!(TlsStore::open(&one).is_ok());
}

/// A file for both that is written in part, wherever it ends, is read again, and reported as incomplete.
#[test]
fn half_written_file_for_certificate_and_key_is_not_called_exchanged() {
    let lab = Lab::new();
    let good = lab.settings();
    let [cert, key] = [cert(&good), key(&good)].map(|path| std::fs::read(path).unwrap());
    let file = lab.path("both.pem");
    let both = Tls { client: client(&file, &file), ..good };
    for (first, second) in [(&cert, &key), (&key, &cert)] {
        let text = [&first[..], second].concat();
        for end in 1..text.len() - 1 {
            std::fs::write(&file, &text[..end]).unwrap();
            let Err(error) = TlsStore::open(&both) else {
                assert!(text[..end].ends_with(b"-----"), "{end} of {}", text.len());
                continue;
            };
            let shown = format!("{error:#}");
            assert!(error.fault.is_transient() && !shown.contains("exchanged"), "{end}: {shown}");
            if end > first.len() {
                let what = if second == &key { "private key" } else { "certificate" };
                assert!(
                    shown.contains("a part of it is missing") && shown.contains(what),
                    "{shown}"
                );
                assert!(shown.contains("keeps what is in force"), "{shown}");
            }
        }
    }
    std::fs::write(&file, &cert).unwrap();
    check(&both, "TLS-E004", "parse", "it holds no private key");
    std::fs::write(&file, &key).unwrap();
    check(&both, "TLS-E003", "parse", "it holds no certificate");
}

#[test]
fn files_that_are_something_else() {
    let lab = Lab::new();
    let good = lab.settings();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(lab.path(name), bytes).unwrap();
        lab.path(name)
    };
    let with_cert = |cert: PathBuf| Tls { client: client(&cert, key(&good)), ..good.clone() };
    let with_key = |key: PathBuf| Tls { client: client(cert(&good), &key), ..good.clone() };
    check(&with_cert(lab.path("missing")), "TLS-E001", "io", "missing: No such file");
    check(&with_cert(lab.dir.path().into()), "TLS-E001", "io", "is not a regular file");
    check(&with_cert(write("empty", b"")), "TLS-E003", "parse", "it is empty");
    check(&with_cert(write("der", &[0x30, 0x82, 1, 2])), "TLS-E003", "parse", "/der -out ");
    let big = write("big", &vec![b' '; 5 << 20]);
    check(&with_cert(big), "TLS-E001", "io", "larger than 4 MiB");
    let half = std::fs::read(cert(&good)).unwrap();
    check(&with_cert(write("half", &half[..300])), "TLS-E007", "parse", "damaged PEM");
    let junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(&with_cert(write("junk", junk)), "TLS-E007", "parse", "damaged");
    check(&with_key(write("nokey", b"hello")), "TLS-E004", "parse", "it is not PEM");
    let junk = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    check(&with_key(write("junk", junk)), "TLS-E008", "parse", "damaged or of an unknown kind");
    let two = std::fs::read(key(&good)).unwrap().repeat(2);
    check(&with_key(write("two", &two)), "TLS-E008", "parse", "more than one");
    let empty = Tls { ca: ca(write("empty", b"")), ..good.clone() };
    check(&empty, "TLS-E003", "parse", "empty: holds no");
    let key = Tls { ca: ca(key(&good)), ..good.clone() };
    check(&key, "TLS-E003", "parse", "but a private key");
}

#[test]
fn keys_with_a_passphrase() {
    let lab = Lab::new();
    let encrypt = |args: &str, out: &str| {
        let args = args.split(' ');
        let status = Command::new("openssl")
            .args(args)
            .args(["-in", "client.key", "-passout", "pass:x", "-out", out])
            .current_dir(lab.dir.path())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        lab.settings_for(&(lab.path("client.crt"), lab.path(out)))
    };
    let pkcs8 = encrypt("pkcs8 -topk8", "pkcs8.key");
    check(&pkcs8, "TLS-E006", "unsupported", ".key -out ");
    let legacy = encrypt("ec -aes128", "legacy.key");
    check(&legacy, "TLS-E006", "unsupported", ".key -out ");
}

#[test]
fn every_common_kind_of_key_is_taken() {
    let lab = Lab::new();
    for kind in [
        "EC -pkeyopt ec_paramgen_curve:P-256",
        "EC -pkeyopt ec_paramgen_curve:P-384",
        "RSA -pkeyopt rsa_keygen_bits:2048",
        "ED25519",
    ] {
        let run = |line: String| {
            let mut command = Command::new("openssl");
            command.args(line.split(' ')).current_dir(lab.dir.path()).stderr(Stdio::null());
            assert!(command.status().unwrap().success(), "{line}");
        };
        run(format!("genpkey -algorithm {kind} -out kind.key"));
        run("req -x509 -key kind.key -subj /CN=app -days 1 -out kind.crt".to_owned());
        let tls = lab.settings_for(&lab.pair("kind"));
        let opened = TlsStore::open(&tls);
        assert!(opened.is_ok(), "{kind}: {opened:?}");
    }
}

#[test]
fn settings_that_trust_nothing_or_name_no_server() {
    let lab = Lab::new();
    let good = lab.settings();
    let pin = Tls { verify: Verify::Pin, ..good.clone() };
    check(&pin, "TLS-E015", "unsupported", "empty");
    let pins = vec!["beef".to_owned()];
    check(&Tls { pins, ..pin }, "TLS-E015", "unsupported", "`beef` is not 64 hex digits");
    let server_name = Some("not a name".to_owned());
    let settings = upstream(1, Some(Tls { server_name, ..good }), ServerAuth::default());
    let error = Target::of(&settings).unwrap_err();
    assert_eq!((error.fault.code(), error.fault.reason()), ("TLS-E016", "unsupported"), "{error}");
    assert!(format!("{error:#}").contains("not a name"), "{error:#}");
}

#[test]
fn throwaway_files_fit_each_other() {
    let lab = Lab::new();
    let dir = tempfile::tempdir().unwrap();
    let names = ["localhost", "127.0.0.1", "::1"];
    let files =
        respgate::internals::tls::dev_certs::write_all(dir.path(), &names, "demo", lab.now, DAY)
            .unwrap();
    let tls = Tls { ca: ca(files.ca), ..lab.settings_for(&(files.client_cert, files.client_key)) };
    assert!(TlsStore::open(&tls).is_ok());
    let mode = std::os::unix::fs::MetadataExt::mode(&files.server_key.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert!(Authority::new("x", lab.now, DAY).is_ok());
}

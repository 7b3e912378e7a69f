//! `certs inspect` and `certs dev`: what they report about good and bad files, and that a real server agrees.
//!
//! Owns: the verdicts, the files of `certs dev`. Never knows: how certificates are read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use respgate::internals::tls::dev_certs::Authority;
use respgate::internals::tls::inspect::{Inspection, Item, Purpose, Recipe, Signer, verdict};

use super::certs::DAY;
use super::{Lab, RESP2, Server, dialer};

fn openssl(lab: &Lab, line: &str) {
    let out = Command::new("openssl").args(line.split(' ')).current_dir(lab.dir.path()).output();
    let out = out.unwrap();
    assert!(out.status.success(), "openssl {line}: {out:?}");
}

/// Codes for client, server and CA; `yes` where it works.
fn verdicts(lab: &Lab, file: &str) -> [String; 3] {
    let inspection = Inspection::read(&[lab.path(file)]);
    let (_, certificate) = inspection.certificates().next().unwrap();
    Purpose::ALL.map(|purpose| {
        let now = respgate::internals::base::clock::wall();
        let verdict = verdict(certificate, purpose, file, Some("localhost"), now);
        let codes: Vec<&str> = verdict.problems.iter().map(|p| p.fault.code()).collect();
        if codes.is_empty() { "yes".to_owned() } else { codes.join(" ") }
    })
}

/// Exit code and standard output.
fn respgate(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_respgate"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn certificates_are_judged_for_each_purpose() {
    let lab = Lab::new();
    let past = lab.now - Duration::from_secs(10);
    let mut order = lab.server_order();
    order.not_after = past;
    lab.issue("expired", &order);
    let mut order = lab.server_order();
    order.not_before = lab.now + DAY / 2;
    lab.issue("future", &order);
    let mut order = lab.server_order();
    order.as_authority = true;
    lab.issue("ca-server", &order);
    let mut order = lab.server_order();
    order.names.clear();
    lab.issue("nameless", &order);
    let mut order = lab.server_order();
    order.names = vec!["other.example".to_owned()];
    lab.issue("other", &order);
    lab.issue_version_1("v1");
    openssl(
        &lab,
        "req -x509 -newkey rsa:1024 -sha1 -nodes -subj /CN=old -addext basicConstraints=CA:FALSE \
         -addext subjectAltName=DNS:localhost -keyout old.key -out old.crt",
    );
    for (file, expected) in [
        ("server.crt", ["TLS-E014", "yes", "TLS-E017"]),
        ("client.crt", ["yes", "TLS-E108", "TLS-E017"]),
        ("ca.crt", ["TLS-E014", "TLS-E107", "yes"]),
        ("expired.crt", ["TLS-E011 TLS-E014", "TLS-E101", "TLS-E011 TLS-E017"]),
        ("future.crt", ["TLS-E012 TLS-E014", "TLS-E102", "TLS-E012 TLS-E017"]),
        ("ca-server.crt", ["TLS-E014", "TLS-E107", "TLS-E017"]),
        ("nameless.crt", ["TLS-E014", "TLS-E105", "TLS-E017"]),
        ("other.crt", ["TLS-E014", "TLS-E104", "TLS-E017"]),
        ("v1.crt", ["yes", "TLS-E106", "TLS-E017"]),
        ("old.crt", ["TLS-E115 TLS-E115", "TLS-E110 TLS-E110", "TLS-E017 TLS-E017"]),
    ] {
        assert_eq!(verdicts(&lab, file), expected, "{file}");
    }
}

#[test]
fn openssl_judges_client_certificates_alike() {
    let lab = Lab::new();
    let mut order = lab.client_order("expired");
    order.not_after = lab.now - Duration::from_secs(10);
    lab.issue("expired", &order);
    lab.issue_version_1("v1");
    let (ca, mut kinds) = (lab.path("ca.crt"), [0, 0]);
    for file in ["client.crt", "server.crt", "expired.crt", "v1.crt"] {
        let out = Command::new("openssl")
            .args(["verify", "-purpose", "sslclient", "-CAfile"])
            .args([&ca, &lab.path(file)])
            .output()
            .unwrap();
        let works = verdicts(&lab, file)[0] == "yes";
        assert_eq!(works, out.status.success(), "{file}: {out:?}");
        kinds[usize::from(works)] += 1;
    }
    assert_eq!(kinds, [2, 2]);
}

#[test]
fn recipes_of_tutorials_are_recognised_by_name() {
    let lab = Lab::new();
    lab.issue_version_1("v1");
    openssl(
        &lab,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=redis -keyout ss.key -out ss.crt",
    );
    openssl(
        &lab,
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=redis.example.com -keyout cn.key -out cn.csr",
    );
    // As utils/gen-test-certs.sh of Redis does it.
    std::fs::write(
        lab.path("openssl.cnf"),
        "[ server_cert ]\nkeyUsage = digitalSignature, keyEncipherment\nnsCertType = server\n",
    )
    .unwrap();
    let sign = "-CA v1-ca.crt -CAkey v1-ca.key -set_serial 9 -days 2 -extfile openssl.cnf -extensions server_cert";
    openssl(&lab, &format!("x509 -req -in cn.csr {sign} -out cn.crt"));
    let script = Command::new("openssl")
        .args(["req", "-new", "-key", "cn.key", "-out", "gen.csr", "-subj"])
        .arg("/O=Redis Test/CN=Server-only")
        .current_dir(lab.dir.path())
        .output()
        .unwrap();
    assert!(script.status.success());
    openssl(&lab, &format!("x509 -req -in gen.csr {sign} -out gen.crt"));
    let mut seen = Vec::new();
    for (file, expected) in [
        ("v1.crt", &[Recipe::VersionOne][..]),
        ("ss.crt", &[Recipe::AuthorityAsLeaf]),
        ("cn.crt", &[Recipe::CommonNameOnly]),
        ("gen.crt", &[Recipe::CommonNameOnly, Recipe::RedisTestScript]),
        ("server.crt", &[]),
        ("client.crt", &[]),
        ("ca.crt", &[]),
    ] {
        let inspection = Inspection::read(&[lab.path(file)]);
        let (_, certificate) = inspection.certificates().next().unwrap();
        let found = Recipe::of(&certificate.facts);
        assert_eq!(found, expected, "{file}");
        let (_, text) = respgate(lab.dir.path(), &["certs", "inspect", file]);
        for recipe in &found {
            assert!(text.contains(recipe.name()) && text.contains(recipe.cause()), "{text}");
        }
        seen.extend(found);
    }
    assert!(Recipe::ALL.iter().all(|recipe| seen.contains(recipe)));
}

#[test]
fn files_are_related_to_each_other() {
    let lab = Lab::new();
    let stranger = Authority::new("Lab CA", lab.now, DAY).unwrap();
    std::fs::write(lab.path("stranger.crt"), stranger.cert()).unwrap();
    lab.issue("other", &lab.client_order("other"));
    let signed_by = |files: &[&str]| {
        let inspection = Inspection::read(&files.iter().map(|f| lab.path(f)).collect::<Vec<_>>());
        inspection.certificates().next().unwrap().1.signed_by.clone()
    };
    assert!(
        matches!(signed_by(&["client.crt", "ca.crt"]), Signer::Other(place) if place.block == 1)
    );
    assert_eq!(signed_by(&["ca.crt"]), Signer::Itself);
    assert_eq!(signed_by(&["client.crt"]), Signer::Absent);
    assert!(matches!(signed_by(&["client.crt", "stranger.crt"]), Signer::WrongKey(_)));

    for (files, code, part) in [
        (&["client.crt", "client.key"][..], 0, "belongs to the certificate in client.crt, block 1"),
        (&["client.crt", "other.key"], 1, "belongs to no certificate of these files"),
        (&["client.key"], 0, "private key ECDSA P-256"),
        (&["client.crt", "stranger.crt"], 1, "NOT signed by the key of stranger.crt, block 1"),
        (&["client.crt", "nosuch"], 1, "No such file or directory (TLS-E001)"),
        (&["--for", "client", "client.crt", "ca.crt"], 1, "TLS-E014"),
        (&["--for", "client", "client.crt"], 0, "as client  yes"),
        (&["--for", "server", "--host", "localhost", "server.crt"], 0, "as server  yes"),
        (&["--for", "server", "--host", "example.com", "server.crt"], 1, "TLS-E104"),
        (&["--for", "ca", "ca.crt"], 0, "as ca      yes"),
    ] {
        let (status, text) = respgate(lab.dir.path(), &[&["certs", "inspect"], files].concat());
        assert_eq!(status, code, "{files:?}: {text}");
        assert!(text.contains(part), "{files:?}: {text}");
    }
}

#[test]
fn keys_and_damaged_files_are_never_repeated() {
    let lab = Lab::new();
    let key = std::fs::read_to_string(lab.path("client.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    std::fs::write(lab.path("cut.key"), key.replace("-----END", "---END")).unwrap();
    std::fs::write(lab.path("note"), format!("password: {secret}")).unwrap();
    let der = format!("-----BEGIN CERTIFICATE-----\n{secret}\n-----END CERTIFICATE-----\n");
    std::fs::write(lab.path("odd.crt"), der).unwrap();
    for file in ["client.key", "cut.key", "note", "odd.crt"] {
        for form in [&["certs", "inspect"][..], &["certs", "inspect", "--json"]] {
            let (_, text) = respgate(lab.dir.path(), &[form, &[file]].concat());
            assert!(!text.contains(secret.get(..16).unwrap()), "{file}: {text}");
        }
    }
    let inspection = Inspection::read(&[lab.path("client.key")]);
    let (_, item) = inspection.items().next().unwrap();
    let Item::Key { facts, .. } = item else { panic!("{item:?}") };
    assert_eq!(facts.pin.as_deref(), Some(&*lab.pin(&lab.path("client.crt"))));
}

#[test]
fn json_has_what_the_text_has() {
    let lab = Lab::new();
    let (code, text) = respgate(lab.dir.path(), &["certs", "inspect", "--json", "server.crt"]);
    assert_eq!(code, 0, "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let block = &value["files"][0]["blocks"][0];
    assert_eq!((&value["ok"], &block["kind"]), (&true.into(), &"certificate".into()));
    assert_eq!(block["names"][0], "IP:127.0.0.1");
    assert_eq!(block["verdicts"][1]["works"], true);
    assert_eq!(block["verdicts"][0]["problems"][0]["code"], "TLS-E014");
}

#[test]
fn certificates_for_development_work_with_a_real_server() {
    let lab = Lab::new();
    let (code, text) = respgate(lab.dir.path(), &["certs", "dev", "dev"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("redis-server --port 0") && text.contains("respgate run"), "{text}");
    let dev = |name: &str| lab.path("dev").join(name);
    for name in ["ca.key", "server.key", "client.key"] {
        let mode = std::fs::metadata(dev(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let all = ["ca.crt", "ca.key", "server.crt", "server.key", "client.crt", "client.key"];
    let paths: Vec<String> = all.map(|name| dev(name).to_str().unwrap().to_owned()).to_vec();
    let inspect: Vec<&str> = paths.iter().map(String::as_str).collect();
    let (code, text) = respgate(lab.dir.path(), &[&["certs", "inspect"], &inspect[..]].concat());
    assert_eq!(code, 0, "{text}");

    let before = std::fs::read(dev("client.crt")).unwrap();
    std::fs::remove_file(dev("ca.crt")).unwrap();
    let (code, text) = respgate(lab.dir.path(), &["certs", "dev", "dev"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("ca.key exists; --force"), "{text}");
    assert!(!dev("ca.crt").exists() && std::fs::read(dev("client.crt")).unwrap() == before);
    std::fs::set_permissions(dev("client.key"), PermissionsExt::from_mode(0o666)).unwrap();
    let (code, text) = respgate(lab.dir.path(), &["certs", "dev", "dev", "--force", "--json"]);
    assert_eq!(code, 0, "{text}");
    let mode = std::fs::metadata(dev("client.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a replaced key has the mode of a new one");
    assert_eq!(std::fs::read_dir(lab.path("dev")).unwrap().count(), 6, "nothing is left beside");

    std::fs::copy(dev("ca.crt"), lab.path("ca.crt")).unwrap();
    let (server, own) =
        ((dev("server.crt"), dev("server.key")), (dev("client.crt"), dev("client.key")));
    let settings = lab.settings_for(&own);
    let server = Server::tls(&lab, &server, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(dialer(server.port, &settings).dial(RESP2)).unwrap();
}

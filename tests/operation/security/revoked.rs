//! Lists of revoked certificates, good ones and false ones.
//!
//! Owns: which list is believed. Never knows: how it is read.

use std::process::Command;

use super::{Authority, DAY, Good, crl, free_port, good_config, results, write};

/// The same list with another last byte: that of its signature.
fn forged(good: &Good, list: &str) -> String {
    let lab = &good.lab;
    let mut openssl = Command::new("openssl");
    openssl.args(["crl", "-in", list, "-outform", "DER", "-out", "list.der"]);
    assert!(openssl.current_dir(lab.dir.path()).status().unwrap().success());
    let mut bytes = std::fs::read(lab.path("list.der")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(lab.path("forged.der"), bytes).unwrap();
    "forged.der".to_owned()
}

#[test]
fn lists_of_revoked_certificates_count_when_their_authority_has_signed_them() {
    let good = Good::new();
    let lab = &good.lab;
    let (none, revoked) = (crl(lab, "none", ""), crl(lab, "revoked", "client.crt"));
    let forged = forged(&good, &none);
    let other =
        good_config(good.port, free_port()).replace("ca = \"ca.crt\"", "ca = \"other.crt\"");
    let stranger = Authority::new("a stranger", lab.now, DAY).unwrap();
    write(lab, "other.crt", &stranger.cert(), 0o644);
    write(lab, "other.toml", &other, 0o600);
    for (config, list, result, words) in [
        ("good.toml", &none, "pass", "none is on a list"),
        ("good.toml", &revoked, "fail", "is revoked"),
        ("good.toml", &forged, "fail", "it was changed, or another made it"),
        ("other.toml", &none, "fail", "cannot be checked: the certificate of that CA"),
    ] {
        let seen = results(lab, &["--config", config, "--feature", "certs", "--crl", list]);
        let (found, detail) = &seen["CERT-07"];
        assert!(found == result && detail.contains(words), "{config} {list}: {found} {detail}");
    }
}

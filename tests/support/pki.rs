//! A certificate authority, a server and a client, as PEM files in one directory.
//!
//! Owns: [`Pki`]. Never knows: which programs use the files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// An authority and what it signed; the client's set is behind a `..data` link, as Kubernetes
/// mounts secrets.
#[derive(Debug)]
pub struct Pki {
    directory: PathBuf,
    authority: Issuer<'static, KeyPair>,
    rotations: u32,
}

impl Pki {
    pub fn new(directory: &Path) -> Self {
        let directory = directory.to_path_buf();
        std::fs::create_dir_all(&directory).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        // Two authorities of one name would be taken for each other.
        let name = format!("test authority {}", directory.display());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        std::fs::write(directory.join("ca.crt"), pem).unwrap();
        let mut pki = Self { directory, authority: Issuer::new(params, key), rotations: 0 };
        pki.sign("server", &pki.directory.join("server"));
        pki.rotate();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            let link = pki.directory.join("client").join(name);
            std::os::unix::fs::symlink(format!("..data/{name}"), link).unwrap();
        }
        pki
    }

    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    pub fn server(&self, name: &str) -> PathBuf {
        self.directory.join("server").join(name)
    }

    /// `tls.crt`, `tls.key` or `ca.crt` of the client.
    pub fn client(&self, name: &str) -> PathBuf {
        self.directory.join("client").join(name)
    }

    /// Signs a new client certificate and puts the set in place with one rename.
    pub fn rotate(&mut self) {
        self.rotations += 1;
        let client = self.directory.join("client");
        let version = format!("..{}", self.rotations);
        self.sign(&format!("client {}", self.rotations), &client.join(&version));
        std::fs::copy(self.authority(), client.join(&version).join("ca.crt")).unwrap();
        std::os::unix::fs::symlink(&version, client.join("..next")).unwrap();
        std::fs::rename(client.join("..next"), client.join("..data")).unwrap();
    }

    fn sign(&self, name: &str, into: &Path) {
        std::fs::create_dir_all(into).unwrap();
        let (certificate, key) = self.issue(name, 2999);
        std::fs::write(into.join("tls.crt"), certificate).unwrap();
        std::fs::write(into.join("tls.key"), key).unwrap();
    }

    /// A certificate that ends with the given year, and its key, in PEM.
    pub fn issue(&self, name: &str, year: i32) -> (String, String) {
        self.issue_as(name, |params| params.not_after = date_time_ymd(year, 12, 31))
    }

    /// A certificate of another shape, valid until 2999 unless `shape` sets another end, and its key, in PEM.
    pub fn issue_as(
        &self,
        name: &str,
        shape: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2999, 12, 31);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        shape(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

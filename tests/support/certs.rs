//! A directory of certificates, good and bad, for one test.
//!
//! Owns: [`Lab`]. Never knows: servers, the proxy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use respgate::internals::base::clock;
use respgate::internals::config::{
    Algorithms, Authorities, CertificateFiles, Tls, TlsVersion, Verify,
};
use respgate::internals::tls::dev_certs::{Authority, CertRequest, Issued, Role};

pub const DAY: Duration = Duration::from_secs(86_400);

/// Certificate and key file.
pub type Pair = (PathBuf, PathBuf);

/// An authority, a directory, and a way to order certificates.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub authority: Authority,
    pub now: SystemTime,
}

impl Lab {
    /// With `ca.crt`, `server.crt/.key` (for 127.0.0.1 and localhost) and `client.crt/.key`.
    pub fn new() -> Self {
        let now = clock::wall();
        let lab = Self {
            dir: tempfile::tempdir().unwrap(),
            authority: Authority::new("Lab CA", now, DAY).unwrap(),
            now,
        };
        std::fs::write(lab.path("ca.crt"), lab.authority.cert()).unwrap();
        lab.issue("server", &lab.server_order());
        lab.issue("client", &lab.client_order("app"));
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn pair(&self, name: &str) -> Pair {
        (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")))
    }

    pub fn server_order(&self) -> CertRequest {
        CertRequest::new(Role::Server, "redis", &["127.0.0.1", "localhost"], self.now, DAY)
    }

    pub fn client_order(&self, name: &str) -> CertRequest {
        CertRequest::new(Role::Client, name, &[name], self.now, DAY)
    }

    pub fn make(&self, order: &CertRequest) -> Issued {
        self.authority.issue(order).unwrap()
    }

    /// Issues a certificate into files of the directory.
    pub fn issue(&self, name: &str, order: &CertRequest) -> Pair {
        self.make(order).write(self.dir.path(), name).unwrap()
    }

    /// An X.509 version 1 certificate, as `openssl x509 -req` without extensions makes it.
    pub fn issue_version_1(&self, name: &str) -> Pair {
        self.authority.issued().write(self.dir.path(), "v1-ca").unwrap();
        let run = |line: &str| {
            let args = line.split(' ').filter(|a| !a.is_empty());
            let out = Command::new("openssl").args(args).current_dir(self.dir.path()).output();
            let out = out.unwrap();
            assert!(out.status.success(), "openssl {line}: {out:?}");
        };
        run(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
             -keyout {name}.key -out {name}.csr"
        ));
        run(&format!(
            "x509 -req -in {name}.csr -CA v1-ca.crt -CAkey v1-ca.key -set_serial 7 -days 2 \
             -out {name}.crt"
        ));
        self.pair(name)
    }

    /// `NAME.crl`: a list of the lab's authority on which this certificate is, or none, until this moment
    /// (YYYYMMDDHHMMSSZ).
    pub fn crl(&self, name: &str, revoked: Option<&str>, until: &str) {
        let home = tempfile::tempdir().unwrap();
        self.authority.issued().write(home.path(), "ca").unwrap();
        let config = "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\ndefault_md = sha256\n\
                      crlnumber = number\ncrl_extensions = e\n[e]\n";
        for (file, text) in [("cnf", config), ("index.txt", ""), ("number", "01\n")] {
            std::fs::write(home.path().join(file), text).unwrap();
        }
        let openssl = |words: &[&str]| {
            let own = ["ca", "-config", "cnf", "-cert", "ca.crt", "-keyfile", "ca.key"];
            let mut command = Command::new("openssl");
            let made = command.args(own).args(words).current_dir(home.path()).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        if let Some(certificate) = revoked {
            openssl(&["-revoke", self.path(certificate).to_str().unwrap()]);
        }
        let begin = "20190101000000Z";
        openssl(&["-gencrl", "-crl_lastupdate", begin, "-crl_nextupdate", until, "-out", "list"]);
        let list = std::fs::read(home.path().join("list")).unwrap();
        std::fs::write(self.path(&format!("{name}.crl")), list).unwrap();
    }

    /// Settings with the lab's client certificate and authority.
    pub fn settings(&self) -> Tls {
        self.settings_for(&self.pair("client"))
    }

    pub fn settings_for(&self, (cert, key): &Pair) -> Tls {
        Tls {
            client: Some(CertificateFiles { cert: cert.clone(), key: key.clone() }),
            ca: Some(Authorities::File(self.path("ca.crt"))),
            server_name: None,
            verify: Verify::Full,
            pins: Vec::new(),
            allowed_sans: Vec::new(),
            revocation: None,
            algorithms: Algorithms::default(),
            min_version: TlsVersion::V1_2,
        }
    }

    /// The pin of a certificate, as the hint of the pin error prints it.
    pub fn pin(&self, cert: &Path) -> String {
        let script = "openssl x509 -in \"$0\" -noout -pubkey \
                      | openssl pkey -pubin -outform der | sha256sum";
        let out = Command::new("sh").arg("-c").arg(script).arg(cert).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').next().unwrap().to_owned()
    }
}

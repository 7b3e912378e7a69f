//! Mutual TLS against a real server: identities, their faults, their replacement, the login.
//!
//! Owns: the server of these tests. Never knows: sessions, policy.
use crate::support::certs;
use crate::support::real_server::free_port;
mod doctor;
mod files;
mod handshake;
mod inspect;
mod login;
mod managed;
mod reload;
mod verification;
mod version1;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use certs::{Lab, Pair};
use respgate::internals::config::{
    Authorities, Breaker, CertificateFiles, CertificateLogin, HostPort, Pool, Retry, SecretSource,
    ServerAuth, ServerEndpoint, Tls, Upstream, Verify,
};
use respgate::internals::resp::Protocol;
use respgate::internals::tls::{Identity, TlsStore};
use respgate::internals::traffic::PoolKey;
use respgate::internals::upstream::credentials::Credentials;
use respgate::internals::upstream::dial::{Dialer, ServerConnection};
use respgate::internals::upstream::failure::DialError;
use respgate::internals::upstream::target::Target;

const RESP2: PoolKey = PoolKey { protocol: Protocol::Resp2, database: 0 };
const RESP3: PoolKey = PoolKey { protocol: Protocol::Resp3, database: 0 };

/// A redis-server that ends with its value.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// With mutual TLS and nothing else.
    fn tls(lab: &Lab, (cert, key): &Pair, more: &[&str]) -> Self {
        let (ca, cert, key) = (lab.path("ca.crt"), cert.to_str().unwrap(), key.to_str().unwrap());
        let mut args = vec!["--port", "0", "--tls-auth-clients", "yes"];
        args.extend(["--tls-ca-cert-file", ca.to_str().unwrap()]);
        args.extend(["--tls-cert-file", cert, "--tls-key-file", key]);
        args.extend(more);
        Self::start(lab, "--tls-port", &args)
    }

    fn plain(lab: &Lab, more: &[&str]) -> Self {
        Self::start(lab, "--port", more)
    }

    fn start(lab: &Lab, port_option: &str, args: &[&str]) -> Self {
        // Another process may take the port between; then the server ends at once.
        for _ in 0..5 {
            let port = free_port();
            let child = Command::new("redis-server")
                .args(args)
                .args([port_option, &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
                .current_dir(lab.dir.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut server = Self { child, port };
            if server.wait() {
                return server;
            }
        }
        panic!("no redis-server");
    }

    fn wait(&mut self) -> bool {
        for _ in 0..6000 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Trusts the authorities of a file.
fn ca(path: impl Into<PathBuf>) -> Option<Authorities> {
    Some(Authorities::File(path.into()))
}

fn client(cert: &Path, key: &Path) -> Option<CertificateFiles> {
    Some(CertificateFiles { cert: cert.to_owned(), key: key.to_owned() })
}

/// The file of the client certificate.
fn cert(tls: &Tls) -> &Path {
    &tls.client.as_ref().unwrap().cert
}

fn key(tls: &Tls) -> &Path {
    &tls.client.as_ref().unwrap().key
}

/// The file of the authorities.
fn trust(tls: &Tls) -> &Path {
    tls.files().last().unwrap()
}

fn fingerprint(identity: &Identity) -> &str {
    &identity.client.as_ref().unwrap().fingerprint
}

fn upstream(port: u16, tls: Option<Tls>, auth: ServerAuth) -> Upstream {
    Upstream {
        on_outage: respgate::internals::config::OnOutage::Close,
        outage_wait: respgate::internals::config::OUTAGE_WAIT,
        address: ServerEndpoint::Tcp(HostPort { host: "127.0.0.1".to_owned(), port }),
        tls,
        auth,
        pool: Pool { connect_timeout: Duration::from_secs(3), ..Pool::default() },
        retry: Retry::default(),
        breaker: Breaker::default(),
    }
}

/// A dialer for a server on this host, and its store.
fn dialer_with(port: u16, tls: &Tls, auth: ServerAuth) -> (Dialer, TlsStore) {
    let store = TlsStore::open(tls).unwrap();
    let settings = upstream(port, Some(tls.clone()), auth);
    let credentials = Credentials::open(&settings.auth).unwrap();
    (
        Dialer::new(Target::of(&settings).unwrap(), &settings, Some(store.clone()), credentials),
        store,
    )
}

fn dialer(port: u16, tls: &Tls) -> Dialer {
    dialer_with(port, tls, ServerAuth::default()).0
}

fn plain_dialer(port: u16, auth: ServerAuth) -> Dialer {
    let settings = upstream(port, None, auth);
    let credentials = Credentials::open(&settings.auth).unwrap();
    Dialer::new(Target::of(&settings).unwrap(), &settings, None, credentials)
}

fn auth(lab: &Lab, username: Option<&str>, password: &str) -> ServerAuth {
    let file = lab.path(&format!("password-{password}"));
    std::fs::write(&file, password).unwrap();
    let username = username.map(str::to_owned);
    ServerAuth { username, password: Some(SecretSource::File(file)), ..ServerAuth::default() }
}

/// `ok`, or label and fault code of the error.
fn verdict(result: Result<ServerConnection, DialError>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => {
            let code = error.text.find("(TLS-E").map_or("", |at| &error.text[at + 1..at + 9]);
            format!("{} {code}", error.label).trim_end().to_owned()
        }
    }
}

/// Probes run on another thread than the traffic.
#[test]
fn dials_and_watches_may_move_between_threads() {
    fn check(_: &impl Send) {}
    let dialer = plain_dialer(1, ServerAuth::default());
    let mut watch = respgate::internals::tls::watch::Watch::new(vec![]);
    check(&dialer.dial(RESP2));
    check(&dialer.probe(None, None));
    check(&watch.changed());
}

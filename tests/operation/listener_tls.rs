//! TLS towards applications: which may connect, as which user, and what becomes of certificates that change.
//!
//! Owns: respgate with a TLS listener in front of a plain server, and clients with certificates. Never knows: TLS
//! towards the server.
use crate::support;
use crate::support::certs;
mod drivers;
mod handshake;
mod identity;
mod recheck;
mod reload;
mod revocation;
mod traffic;

use std::process::Command;
use std::sync::Arc;

use certs::{Lab, Pair};
use rustls::ClientConfig;

use support::client::Target;
use support::proxy::{OPEN_POLICY, Proxy, configuration, directory, listener};
use support::real_server::{Brand, Server, free_port};
use support::secure::{self, Secure};

/// A server without TLS, and respgate with TLS before it.
struct Bench {
    lab: Lab,
    server: Server,
    proxy: Proxy,
    port: u16,
}

impl Bench {
    /// `tls` is further TOML of `[listener.tls]`, `auth` of the listener, `sections` of the file.
    fn new(tls: &str, auth: &str, sections: &str) -> Self {
        Self::with(Lab::new(), tls, auth, sections)
    }

    fn with(lab: Lab, tls: &str, auth: &str, sections: &str) -> Self {
        let server = Server::plain(Brand::Redis);
        let (plain, port, telemetry) = (Target::Tcp(free_port()), free_port(), free_port());
        let keys = format!("{auth}\n{}", listener_tls(&lab, tls));
        let listeners = listener(&plain, "") + &listener(&Target::Tcp(port), &keys);
        let text = configuration(&server, &listeners, OPEN_POLICY, telemetry) + sections;
        let proxy = Proxy::configured(directory(), plain, telemetry, &text);
        Self { lab, server, proxy, port }
    }

    fn connect(&self, pair: Option<&Pair>) -> std::io::Result<Secure> {
        Secure::connect(self.port, &client(&self.lab, pair))
    }

    /// What redis-cli prints.
    fn cli(&self, pair: Option<&Pair>, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "localhost", "-p", &self.port.to_string(), "--tls", "--cacert"]);
        command.arg(self.lab.path("ca.crt"));
        if let Some((cert, key)) = pair {
            command.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        let output = command.args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    fn failures(&self, reason: &str) -> f64 {
        let name = "respgate_client_tls_handshake_failures_total";
        self.proxy.metric(&format!("{name}{{reason={reason:?}}}"))
    }

    fn handshakes(&self, result: &str) -> f64 {
        self.proxy.metric(&format!("respgate_client_tls_handshakes_total{{result={result:?}}}"))
    }
}

/// `[listener.tls]` with the lab's certificate for servers.
fn listener_tls(lab: &Lab, more: &str) -> String {
    let (cert, key) = lab.pair("server");
    let ca = match more.contains("client_auth = \"off\"") {
        true => String::new(),
        false => format!("client_ca = {:?}\n", lab.path("ca.crt")),
    };
    format!("[listener.tls]\ncert = {cert:?}\nkey = {key:?}\n{ca}{more}\n")
}

/// A client that trusts the lab and shows this certificate.
fn client(lab: &Lab, pair: Option<&Pair>) -> Arc<ClientConfig> {
    secure::config(&lab.path("ca.crt"), pair)
}

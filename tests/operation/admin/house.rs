//! A respgate with an admin server, in front of a real server.
//!
//! Owns: [`AdminState`]. Never knows: verbs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use super::support::client::{Client, Got, PATIENCE, Target};
use super::support::proxy::{OPEN_POLICY, Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port, wait_until};

pub const TOKEN: &str = "4f1c9be7a5d24c55a2f0e6b1";

/// Ended on drop.
pub struct AdminState {
    pub proxy: Proxy,
    pub socket: String,
    address: Option<u16>,
    pub server: Server,
}

/// Exit code and all output of the program.
pub fn respgate(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_respgate"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let printed = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(printed).unwrap())
}

/// The hash of a password, as Redis's ACL writes it.
pub fn sha256(password: &str) -> String {
    Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits until the connection of a client is closed.
pub fn await_end(client: &mut Client) {
    while let Got::Reply(_) = client.next(PATIENCE) {}
    assert_eq!(client.next(PATIENCE), Got::End);
}

impl AdminState {
    /// With further sections.
    pub fn new(sections: &str) -> Self {
        Self::start("", &|_| sections.to_owned(), None)
    }

    /// With further keys of the listener, and a listener on a Unix socket.
    pub fn with_listener(keys: &str, sections: &str) -> Self {
        Self::start(keys, &|_| sections.to_owned(), None)
    }

    /// With an address on the loopback besides the socket.
    pub fn with_address() -> Self {
        Self::start("", &|_| String::new(), Some(free_port()))
    }

    /// With users, an address on the loopback, and sections that name files in its directory.
    pub fn with_secrets(sections: fn(&Path) -> String) -> Self {
        Self::start("auth = \"users\"", &sections, Some(free_port()))
    }

    fn start(keys: &str, sections: &dyn Fn(&Path) -> String, address: Option<u16>) -> Self {
        let server = Server::mutual_tls(Brand::Redis);
        let directory = directory();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let (socket, token) = (path("control.sock"), path("token"));
        let unix = listener(&Target::Unix(path("app.sock").into()), "");
        let (target, telemetry) = (Target::Tcp(free_port()), free_port());
        let text =
            configuration(&server, &(listener(&target, keys) + &unix), OPEN_POLICY, telemetry);
        let tcp = address.map(|port| {
            std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
            format!("address = \"127.0.0.1:{port}\"\ntoken_file = {token:?}\n")
        });
        let tcp = tcp.unwrap_or_default();
        let sections = sections(directory.path());
        let text = format!("{text}\n[admin]\nsocket = {socket:?}\n{tcp}\n{sections}");
        let proxy = Proxy::configured(directory, target, telemetry, &text);
        Self { proxy, socket, address, server }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.address.unwrap())
    }

    /// The private key that respgate shows to the server.
    pub fn client_key(&self) -> PathBuf {
        self.server.pki.as_ref().unwrap().client("tls.key")
    }

    pub fn token_file(&self) -> String {
        self.proxy.directory().join("token").to_str().unwrap().to_owned()
    }

    /// The address of the listener on TCP.
    pub fn listener(&self) -> String {
        match self.proxy.target() {
            Target::Tcp(port) => format!("127.0.0.1:{port}"),
            Target::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    pub fn unix_listener(&self) -> PathBuf {
        self.proxy.directory().join("app.sock")
    }

    /// The answer for programs.
    pub fn json(&self, words: &[&str]) -> serde_json::Value {
        let (_, printed) = self.ask(&[words, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// Waits until the status is as wanted.
    pub fn await_status(&self, is: impl Fn(&serde_json::Value) -> bool) {
        wait_until("the status is as wanted", || is(&self.json(&["status"])));
    }

    /// Waits until a client is as wanted.
    pub fn await_client(&self, is: impl Fn(&serde_json::Value) -> bool) {
        wait_until("a client is as wanted", || {
            self.json(&["clients"])["clients"].as_array().unwrap().iter().any(&is)
        });
    }

    /// Runs a verb on this respgate.
    pub fn ask(&self, words: &[&str]) -> (i32, String) {
        self.ask_at(&[words, &["--socket", &self.socket]].concat())
    }

    pub fn ask_at(&self, words: &[&str]) -> (i32, String) {
        respgate(words, &[])
    }
}

//! A redis-server or valkey-server of one test, on free ports and in a directory of its own.
//!
//! Owns: [`Server`], [`Brand`]. Never knows: respgate.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use respgate::internals::base::clock::now;

use super::client::{Client, PATIENCE, Target};
use super::pki::Pki;
pub use super::ports::free_port;

/// Between two looks at what is waited for: a look at metrics or a server costs more than the wait itself.
const POLL_MIN: Duration = Duration::from_millis(2);
const POLL_MAX: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brand {
    Redis,
    Valkey,
}

impl Brand {
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }

    /// The program: `RESPGATE_TEST_REDIS` or `RESPGATE_TEST_VALKEY`, else from `PATH`.
    pub fn program(self) -> Option<PathBuf> {
        let variable = format!("RESPGATE_TEST_{}", self.name().to_uppercase());
        if let Some(path) = std::env::var_os(variable) {
            return Some(PathBuf::from(path));
        }
        let file = format!("{}-server", self.name());
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|entry| entry.join(&file)).find(|path| path.is_file())
    }

    /// Whether the program is installed; if not, standard error shows what is skipped.
    pub fn available(self) -> bool {
        let found = self.program().is_some();
        if !found {
            note_skipped(&format!("tests with {}: it is not on this machine", self.name()));
        }
        found
    }
}

/// Reports what this machine cannot try, also where the test harness captures what a test prints.
pub fn note_skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// A running server; ended on drop. Its Unix socket is the way past everything else.
#[derive(Debug)]
pub struct Server {
    pub brand: Brand,
    pub port: u16,
    pub pki: Option<Pki>,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
    child: Option<Child>,
}

impl Server {
    /// Listens in plaintext.
    pub fn plain(brand: Brand) -> Self {
        Self::new(brand, false, &[])
    }

    /// Accepts nothing but mutual TLS (besides the Unix socket).
    pub fn mutual_tls(brand: Brand) -> Self {
        Self::new(brand, true, &[])
    }

    /// With further arguments of the server's command line.
    pub fn new(brand: Brand, tls: bool, arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("respgate-").tempdir().unwrap();
        let pki = tls.then(|| Pki::new(&directory.path().join("tls")));
        let mut server = Self {
            brand,
            port: free_port(),
            pki,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            directory,
            child: None,
        };
        server.start();
        server
    }

    /// The plaintext TCP port.
    pub fn target(&self) -> Target {
        assert!(self.pki.is_none(), "this server accepts only mutual TLS");
        Target::Tcp(self.port)
    }

    /// A direct connection, not through the port that is under test.
    pub fn observer(&self) -> Client {
        Client::connect(&self.socket()).unwrap()
    }

    pub fn socket(&self) -> Target {
        Target::Unix(self.directory.path().join("socket"))
    }

    /// One number of `INFO`.
    pub fn info(&self, section: &str, field: &str) -> u64 {
        let text = self.observer().ask_text(&["INFO", section]);
        let mark = format!("{field}:");
        let line = text.lines().find_map(|line| line.strip_prefix(&mark));
        line.unwrap_or_else(|| panic!("INFO {section} has no {field}")).trim().parse().unwrap()
    }

    /// Waits until as many clients are blocked as given.
    pub fn await_blocked(&self, count: u64) {
        wait_until("the server counts the blocked clients", || {
            self.info("clients", "blocked_clients") == count
        });
    }

    /// Holds the process; its sockets stay open and silent.
    pub fn hold(&self) {
        signal("STOP", self.pid());
    }

    pub fn release(&self) {
        signal("CONT", self.pid());
    }

    /// Ends the process in the orderly way and waits for that.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal("CONT", child.id());
        signal("TERM", child.id());
        child.wait().unwrap();
    }

    /// Ends the process at once, as a crash does.
    pub fn crash(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Starts on the same port and directory as before, and waits until it answers.
    pub fn start(&mut self) {
        let program = self.brand.program().unwrap_or_else(|| panic!("no {:?}", self.brand));
        let path = self.directory.path();
        let mut command = Command::new(program);
        command.current_dir(path).stdin(Stdio::null());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path.join("log"));
        let log = log.unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command.args(["--save", "", "--bind", "127.0.0.1", "--unixsocket", "socket"]);
        let port = self.port.to_string();
        match &self.pki {
            None => command.args(["--port", &port]),
            Some(pki) => command
                .args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "yes"])
                .arg("--tls-ca-cert-file")
                .arg(pki.authority())
                .arg("--tls-cert-file")
                .arg(pki.server("tls.crt"))
                .arg("--tls-key-file")
                .arg(pki.server("tls.key")),
        };
        command.args(&self.arguments);
        self.child = Some(command.spawn().unwrap());
        let socket = self.socket();
        wait_until("the server answers", || {
            Client::connect(&socket).is_ok_and(|mut client| client.ask(&["PING"]) == b"+PONG\r\n")
        });
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Sends a signal, by name without `SIG`, to a process that the test started.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
    assert!(status.unwrap().success(), "kill -{name} {pid}");
}

/// Waits until the condition is true, and looks the more rarely the longer that takes.
///
/// # Panics
///
/// When it stays false for [`PATIENCE`].
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = now();
    while !is_so() {
        let waited = now() - begin;
        assert!(waited < PATIENCE, "waited in vain until {what}");
        std::thread::sleep((waited / 16).clamp(POLL_MIN, POLL_MAX));
    }
}

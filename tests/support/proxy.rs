//! The respgate binary as a process in front of a test's server.
//!
//! Owns: [`Proxy`]. Never knows: what travels through it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use respgate::internals::base::clock::now;

use super::client::{Client, Got, Target};
use super::real_server::{Server, free_port, note_skipped, signal, wait_until};

/// A running respgate; ended on drop, its log shown when the test fails.
#[derive(Debug)]
pub struct Proxy {
    pub telemetry_port: u16,
    target: Target,
    directory: tempfile::TempDir,
    child: Child,
}

/// A policy that lets everything through: what remains is the carrying.
pub const OPEN_POLICY: &str = "+@all ~* &*";

impl Proxy {
    /// On a TCP port, with an open policy; `sections` is further TOML.
    pub fn before(server: &Server, sections: &str) -> Self {
        Self::start(server, None, OPEN_POLICY, sections)
    }

    /// Starts respgate before a server, on a Unix socket.
    pub fn on_unix_socket(server: &Server, sections: &str) -> Self {
        Self::start(server, Some("respgate.sock"), OPEN_POLICY, sections)
    }

    pub fn with_policy(server: &Server, acl: &str, sections: &str) -> Self {
        Self::start(server, None, acl, sections)
    }

    /// Starts respgate before a server, in a process that may open at most so many files.
    pub fn with_open_files(server: &Server, files: u32, sections: &str) -> Self {
        let (directory, target) = (directory(), Target::Tcp(free_port()));
        let telemetry_port = free_port();
        let listener = listener(&target, "");
        let head = configuration(server, &listener, OPEN_POLICY, telemetry_port);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
        shell.arg(env!("CARGO_BIN_EXE_respgate"));
        let child = spawn_by(shell, directory.path(), &format!("{head}\n{sections}\n"));
        let mut proxy = Self { telemetry_port, target, directory, child };
        proxy.await_ready(|reply| *reply == Got::Reply(b"+PONG\r\n".to_vec()));
        proxy
    }

    /// Starts respgate before a server, where names have these addresses (`/etc/hosts`). `None`: this system lets
    /// the test have no view of its own of the files.
    pub fn with_hosts(server: &Server, hosts: &str, sections: &str) -> Option<Self> {
        let may = |flag: &&str| {
            let tried = Command::new("unshare").args([flag, "true"]).stderr(Stdio::null()).status();
            tried.is_ok_and(|status| status.success())
        };
        let Some(flag) = ["-m", "-rm"].into_iter().find(may) else {
            note_skipped(
                "names with several addresses: a process may have no mounts of its own here",
            );
            return None;
        };
        let (directory, target) = (directory(), Target::Tcp(free_port()));
        let telemetry_port = free_port();
        let listener = listener(&target, "");
        let head = configuration(server, &listener, OPEN_POLICY, telemetry_port);
        let file = directory.path().join("hosts");
        std::fs::write(&file, hosts).unwrap();
        let mut shell = Command::new("unshare");
        shell.args([flag, "sh", "-c"]);
        shell.arg(format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", file.display()));
        shell.arg(env!("CARGO_BIN_EXE_respgate"));
        let child = spawn_by(shell, directory.path(), &format!("{head}\n{sections}\n"));
        let mut proxy = Self { telemetry_port, target, directory, child };
        proxy.await_ready(|reply| *reply == Got::Reply(b"+PONG\r\n".to_vec()));
        Some(proxy)
    }

    /// With a configuration of the test's own, in `directory`: `target` is one of its listeners.
    /// Ready means here that a client is answered at all.
    pub fn configured(
        directory: tempfile::TempDir,
        target: Target,
        telemetry_port: u16,
        configuration: &str,
    ) -> Self {
        let mut proxy = Self::starting(directory, target, telemetry_port, configuration);
        proxy.await_ready(|reply| matches!(reply, Got::Reply(_)));
        proxy
    }

    /// Starts a configured respgate while the server cannot be reached: ready means that the telemetry
    /// server is.
    pub fn serving(
        directory: tempfile::TempDir,
        target: Target,
        telemetry_port: u16,
        configuration: &str,
    ) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_respgate"));
        Self::serving_by(command, directory, target, telemetry_port, configuration)
    }

    /// Like [`Proxy::serving`], by a command that runs respgate.
    pub fn serving_by(
        command: Command,
        directory: tempfile::TempDir,
        target: Target,
        telemetry_port: u16,
        configuration: &str,
    ) -> Self {
        let child = spawn_by(command, directory.path(), configuration);
        let mut proxy = Self { telemetry_port, target, directory, child };
        wait_until("respgate serves its metrics", || {
            if let Some(status) = proxy.child.try_wait().unwrap() {
                panic!("respgate ended at its start: {status}\n{}", proxy.log());
            }
            answers_livez(telemetry_port)
        });
        proxy
    }

    /// Starts a configured respgate, by a command that runs it.
    pub fn run_by(
        command: Command,
        directory: tempfile::TempDir,
        target: Target,
        telemetry_port: u16,
        configuration: &str,
    ) -> Self {
        let child = spawn_by(command, directory.path(), configuration);
        let mut proxy = Self { telemetry_port, target, directory, child };
        proxy.await_ready(|reply| matches!(reply, Got::Reply(_)));
        proxy
    }

    /// Starts a configured respgate without waiting for it.
    pub fn starting(
        directory: tempfile::TempDir,
        target: Target,
        telemetry_port: u16,
        configuration: &str,
    ) -> Self {
        let child = spawn(directory.path(), configuration);
        Self { telemetry_port, target, directory, child }
    }

    /// Starts with a configuration that cannot be served: its exit status, and what it printed.
    pub fn refused(directory: &Path, configuration: &str) -> (ExitStatus, String) {
        let mut child = spawn(directory, configuration);
        let deadline = now() + super::client::PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return (status, std::fs::read_to_string(directory.join("log")).unwrap());
            }
            if now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("respgate serves this configuration:\n{configuration}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn start(server: &Server, socket: Option<&str>, acl: &str, sections: &str) -> Self {
        let directory = directory();
        let target = match socket {
            None => Target::Tcp(free_port()),
            Some(file) => Target::Unix(directory.path().join(file)),
        };
        let telemetry_port = free_port();
        let listener = listener(&target, "");
        let head = configuration(server, &listener, acl, telemetry_port);
        let child = spawn(directory.path(), &format!("{head}\n{sections}\n"));
        let mut proxy = Self { telemetry_port, target, directory, child };
        proxy.await_ready(|reply| *reply == Got::Reply(b"+PONG\r\n".to_vec()));
        proxy
    }

    /// Afterwards no client is connected: those of the wait are disconnected.
    fn await_ready(&mut self, is_ready: impl Fn(&Got) -> bool) {
        wait_until("respgate answers", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("respgate ended at its start: {status}\n{}", self.log());
            }
            let served = Client::connect(&self.target).is_ok_and(|mut client| {
                client.send(&["PING"]);
                is_ready(&client.next(super::client::PATIENCE))
            });
            served && TcpStream::connect(("127.0.0.1", self.telemetry_port)).is_ok()
        });
        wait_until("no client is connected", || self.sum("respgate_client_connections") < 0.5);
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.target).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file the process was started with; tests rewrite it before a reload.
    pub fn configuration_file(&self) -> PathBuf {
        self.directory.path().join("respgate.toml")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Requests a reload by SIGHUP.
    pub fn hang_up(&self) {
        signal("HUP", self.pid());
    }

    /// Ends the process by SIGTERM and waits until it has exited.
    pub fn terminate(&mut self) -> ExitStatus {
        signal("TERM", self.pid());
        self.child.wait().unwrap()
    }

    /// Waits until the process has left, `None` when it takes longer than given.
    pub fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = now() + patience;
        loop {
            let status = self.child.try_wait().unwrap();
            if status.is_some() || now() >= deadline {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Memory of the process in bytes, `VmRSS` or `VmHWM`.
    pub fn memory(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// Time on a processor that the process has had (`/proc/PID/stat`: hundredths of a second).
    pub fn cpu_time(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = text.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks.map(|ticks| Duration::from_millis(ticks.parse::<u64>().unwrap() * 10)).sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(40);
            let lines: Vec<&str> = log.lines().skip(skipped).collect();
            eprintln!("the end of respgate's log:\n{}", lines.join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the telemetry server answers, which it does once the listeners are bound.
fn answers_livez(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(super::client::PATIENCE)).unwrap();
    let mut answer = String::new();
    stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && !answer.is_empty()
}

/// A directory for one test.
pub fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("respgate-").tempdir().unwrap()
}

fn spawn(directory: &Path, configuration: &str) -> Child {
    spawn_by(Command::new(env!("CARGO_BIN_EXE_respgate")), directory, configuration)
}

/// By a command to which respgate's own arguments are added.
fn spawn_by(mut command: Command, directory: &Path, configuration: &str) -> Child {
    let file = directory.join("respgate.toml");
    std::fs::write(&file, configuration).unwrap();
    let log = std::fs::File::create(directory.join("log")).unwrap();
    command
        .args(["run", "--config"])
        .arg(&file)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A `[[listener]]`; `keys` is further TOML of it.
pub fn listener(target: &Target, keys: &str) -> String {
    let address = match target {
        Target::Tcp(port) => format!("127.0.0.1:{port}"),
        Target::Unix(path) => format!("unix:{}", path.display()),
    };
    format!("[[listener]]\naddress = {address:?}\n{keys}\n")
}

/// Everything besides what a test adds.
pub fn configuration(server: &Server, listeners: &str, acl: &str, telemetry_port: u16) -> String {
    let upstream = match &server.pki {
        None => "insecure_plaintext = true".to_owned(),
        Some(pki) => format!(
            "tls = {{ cert = {:?}, key = {:?}, ca = {:?} }}",
            pki.client("tls.crt"),
            pki.client("tls.key"),
            pki.client("ca.crt")
        ),
    };
    format!(
        "{listeners}\n[upstream]\naddress = \"localhost:{}\"\n{upstream}\n\n\
         [policy]\nacl = {acl:?}\n\n[telemetry]\naddress = \"127.0.0.1:{telemetry_port}\"\n",
        server.port
    )
}

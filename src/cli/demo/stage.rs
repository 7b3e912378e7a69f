//! What the demonstration plays on: a directory, certificates, a server, respgate.
//!
//! Owns: [`Stage`]. Never knows: what is played.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::base::hex::hex;
use sha2::{Digest, Sha256};

use super::process::Process;
use super::screen::show;
use super::talk::{Client, Files, Target, http_get};
use crate::base::clock;
use crate::cli::args::Demo;
use crate::resp::Value;
use crate::tls::dev_certs::{Authority, CertRequest, Role};

/// Keys and channels of the application begin with this.
pub(super) const PREFIX: &str = "app1:";
/// The rules of the demonstration besides the preset.
pub(super) const RULES: &str = "~app1:* &app1:*";

/// Where applications expect Redis.
const PORT: u16 = 6379;
/// A taken port is stepped over at most this often.
const STEPS_MAX: u16 = 100;
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The directory of one demonstration; removed on drop unless kept.
struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// All processes and files of the demonstration. The fields are dropped in this order.
pub(super) struct Stage {
    gate: Option<Process>,
    server: Process,
    /// The program, its version.
    pub server_name: String,
    pub server_address: SocketAddr,
    pub listeners: Vec<Target>,
    pub telemetry: SocketAddr,
    pub files: Files,
    /// Words about the choice of ports.
    pub notes: Vec<String>,
    operator_password: String,
    authority: Authority,
    directory: Directory,
}

impl Stage {
    /// Makes the directory, certificates and passwords and starts both programs.
    pub(super) fn set(arguments: &Demo) -> Result<Self, String> {
        let directory = make_directory(arguments.keep)?;
        let path = &directory.path;
        let mut notes = Vec::new();
        let listeners = listeners(arguments, path, &mut notes)?;
        let authority = Authority::new("respgate demo CA", clock::wall(), LIFETIME);
        let authority = authority.map_err(text)?;
        let tls = path.join("tls");
        let files = Files {
            ca: tls.join("ca.crt"),
            cert: tls.join("client.crt"),
            key: tls.join("client.key"),
        };
        fs::create_dir(&tls).map_err(text)?;
        fs::write(&files.ca, authority.cert()).map_err(text)?;
        issue(&authority, Role::Client, &tls)?;
        let passwords = [random_text()?, random_text()?];
        write_secret(&path.join("password"), &passwords[0])?;

        let server_address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(0)?));
        let program = find_server(arguments.server.as_deref())?;
        let place = path.join("server");
        fs::create_dir(&place).map_err(text)?;
        issue(&authority, Role::Server, &place)?;
        let settings = server_settings(&place, &files.ca, server_address.port(), &passwords);
        write_secret(&place.join("redis.conf"), &settings)?;
        let mut command = Command::new(&program);
        let server = Process::start(
            &program.display().to_string(),
            command.arg(place.join("redis.conf")).current_dir(&place),
            &path.join("server.log"),
        )?;

        let telemetry = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(0)?));
        let [_, operator_password] = passwords;
        let mut stage = Self {
            gate: None,
            server,
            server_name: String::new(),
            server_address,
            listeners,
            telemetry,
            files,
            notes,
            operator_password,
            authority,
            directory,
        };
        stage.await_server(&program)?;
        stage.write_configuration(RULES)?;
        stage.start_gate()?;
        Ok(stage)
    }

    fn await_server(&mut self, program: &Path) -> Result<(), String> {
        let operator = Operator {
            address: self.server_address,
            files: &self.files,
            password: &self.operator_password,
        };
        let ready = self.server.await_ready(|| operator.connect().is_ok());
        ready.map_err(|error| format!("{error}  (the server must be built with TLS)"))?;
        let info = operator.connect()?.ask(&["INFO", "server"])?;
        let info = String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).into_owned();
        let version = ["valkey_version:", "redis_version:"]
            .iter()
            .find_map(|mark| info.lines().find_map(|line| line.strip_prefix(mark)));
        let file = program.file_name().unwrap_or_default().to_string_lossy();
        self.server_name = format!("{file} {}", version.unwrap_or_default());
        Ok(())
    }

    /// Writes respgate's configuration with these rules after the preset.
    pub(super) fn write_configuration(&self, rules: &str) -> Result<(), String> {
        let listeners = self.listeners.iter();
        let listeners = listeners.map(|target| format!("[[listener]]\naddress = \"{target}\"\n\n"));
        let Files { ca, cert, key } = &self.files;
        let toml = format!(
            "{}[upstream]\naddress = \"localhost:{}\"\n\
             tls = {{ cert = {cert:?}, key = {key:?}, ca = {ca:?} }}\n\
             auth = {{ username = \"app1\", password_file = {:?} }}\n\n\
             [policy]\npreset = \"default\"\nacl = \"{rules}\"\n\n\
             [telemetry]\naddress = \"{}\"\n\n\
             [drain]\nquiet = \"0s\"\nmax = \"5s\"\n",
            listeners.collect::<String>(),
            self.server_address.port(),
            self.path("password"),
            self.telemetry,
        );
        replace(&self.configuration(), &toml)
    }

    pub(super) fn start_gate(&mut self) -> Result<(), String> {
        let program = std::env::current_exe().map_err(text)?;
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(self.configuration()).env_clear();
        let mut gate = Process::start("respgate", &mut command, &self.log())?;
        gate.await_ready(|| self.client().is_ok_and(|mut client| client.ask(&["PING"]).is_ok()))?;
        self.gate = Some(gate);
        Ok(())
    }

    /// respgate itself.
    pub(super) fn gate(&mut self) -> Result<&mut Process, String> {
        self.gate.as_mut().ok_or_else(|| "respgate does not run".to_owned())
    }

    /// An application that connects to the first listener.
    pub(super) fn client(&self) -> Result<Client, String> {
        Client::connect(self.listeners.first().ok_or("no listener")?)
    }

    /// An application on the Unix socket.
    pub(super) fn unix_client(&self) -> Result<Client, String> {
        Client::connect(self.listeners.last().ok_or("no listener")?)
    }

    /// A client with a certificate and all rights at the server itself.
    pub(super) fn operator(&self) -> Result<Client, String> {
        let (address, files) = (self.server_address, &self.files);
        Operator { address, files, password: &self.operator_password }.connect()
    }

    /// Puts a new client certificate in the place of the old one, file by file.
    pub(super) fn rotate(&self) -> Result<(), String> {
        let new = self.path("new");
        fs::create_dir(&new).map_err(text)?;
        issue(&self.authority, Role::Client, &new)?;
        for path in [&self.files.cert, &self.files.key] {
            let name = path.file_name().unwrap_or_default();
            fs::rename(new.join(name), path).map_err(text)?;
        }
        fs::remove_dir(&new).map_err(text)
    }

    /// What respgate serves for operators.
    pub(super) fn telemetry(&self, path: &str) -> Result<(u16, String), String> {
        http_get(self.telemetry, path)
    }

    /// The value of one sample of the metrics, given with its labels.
    pub(super) fn metric(&self, sample: &str) -> Result<f64, String> {
        let (_, page) = self.telemetry("/metrics")?;
        let value = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = value.and_then(|value| value.parse().ok());
        value.ok_or_else(|| format!("expected a metric {sample}, found none"))
    }

    pub(super) fn configuration(&self) -> PathBuf {
        self.path("respgate.toml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path("respgate.log")
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// Fails when a program has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), String> {
        self.server.check()?;
        self.gate()?.check()
    }

    /// The ends of both logs.
    pub(super) fn last_lines(&self) -> String {
        let gate = self.gate.as_ref().map(Process::last_lines).unwrap_or_default();
        gate + &self.server.last_lines()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path.join(name)
    }
}

/// The way past respgate.
struct Operator<'a> {
    address: SocketAddr,
    files: &'a Files,
    password: &'a str,
}

impl Operator<'_> {
    fn connect(&self) -> Result<Client, String> {
        let mut client = Client::over_tls(self.address, self.files.settings(true)?)?;
        let reply = client.ask(&["AUTH", "operator", self.password])?;
        if matches!(reply, Value::Error(_)) { Err(show(&reply)) } else { Ok(client) }
    }
}

/// A directory that no other user can read.
fn make_directory(keep: bool) -> Result<Directory, String> {
    let name = random_text()?;
    let name = format!("respgate-demo-{}", name.get(..8).unwrap_or(&name));
    let path = std::env::temp_dir().join(name);
    let made = fs::DirBuilder::new().mode(0o700).create(&path);
    made.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Directory { path, keep })
}

fn issue(authority: &Authority, role: Role, directory: &Path) -> Result<(), String> {
    let (name, names) = match role {
        Role::Server => ("server", &["localhost", "127.0.0.1"][..]),
        Role::Client => ("client", &["app1"][..]),
    };
    let order = CertRequest::new(role, name, names, clock::wall(), LIFETIME);
    let issued = authority.issue(&order).map_err(text)?;
    issued.write(directory, name).map_err(text)?;
    Ok(())
}

/// The server accepts mutual TLS and nothing else, saves nothing, and gives the application's user
/// every right, so that whatever is refused is refused by respgate.
fn server_settings(place: &Path, ca: &Path, port: u16, passwords: &[String; 2]) -> String {
    let at = |name: &str| format!("{:?}", place.join(name));
    let [app1, operator] = passwords.each_ref().map(|password| hex(&Sha256::digest(password)));
    format!(
        "bind 127.0.0.1\nport 0\ntls-port {port}\ntls-auth-clients yes\n\
         tls-ca-cert-file {ca:?}\ntls-cert-file {}\ntls-key-file {}\n\
         save \"\"\nappendonly no\n\
         user default off\nuser app1 on #{app1} ~* &* +@all\n\
         user operator on #{operator} ~* &* +@all\n",
        at("server.crt"),
        at("server.key"),
    )
}

/// The program that `--server` names, or the first that is there.
fn find_server(wanted: Option<&str>) -> Result<PathBuf, String> {
    let names = wanted.map_or_else(|| vec!["redis-server", "valkey-server"], |name| vec![name]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for name in &names {
        if name.contains('/') {
            return std::path::absolute(name).map_err(text);
        }
        if let Some(found) = places.iter().map(|p| p.join(name)).find(|p| p.is_file()) {
            return Ok(found);
        }
    }
    Err(format!(
        "no {} on this machine\n  hint: apt-get install redis-server, or give --server PATH",
        names.join(" or ")
    ))
}

/// The addresses asked for, or the usual one; and always a Unix socket in the directory.
fn listeners(
    arguments: &Demo,
    directory: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for address in &arguments.listen {
        targets.push(match address.strip_prefix("unix:") {
            Some(path) => Target::Unix(path.into()),
            None => Target::Tcp(socket_address(address)?),
        });
    }
    if targets.is_empty() {
        let port = free_port(PORT)?;
        if port != PORT {
            notes.push(format!("127.0.0.1:{PORT} is taken, so respgate listens on port {port}"));
        }
        targets.push(Target::Tcp((Ipv4Addr::LOCALHOST, port).into()));
    }
    targets.push(Target::Unix(directory.join("redis.sock")));
    Ok(targets)
}

/// The address written, with a free port in the place of port 0.
fn socket_address(written: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = written.parse().map_err(|_| {
        format!("--listen {written}: neither an IP address with a port nor unix:/path")
    })?;
    if address.port() != 0 {
        return Ok(address);
    }
    Ok(SocketAddr::new(address.ip(), free_port(0)?))
}

/// `first`, or the next free port; for 0, any.
fn free_port(first: u16) -> Result<u16, String> {
    for port in first..=first.saturating_add(if first == 0 { 0 } else { STEPS_MAX }) {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        if let Ok(address) = bound.and_then(|listener| listener.local_addr()) {
            return Ok(address.port());
        }
    }
    Err(format!("no free port from {first} on"))
}

/// 128 bits of entropy, in hexadecimal.
fn random_text() -> Result<String, String> {
    let mut bytes = [0; 16];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| format!("/dev/urandom: {error}"))?;
    Ok(hex(&bytes))
}

fn write_secret(path: &Path, secret: &str) -> Result<(), String> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(secret.as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes beside the file and renames, so that a reader never sees half of it.
fn replace(path: &Path, content: &str) -> Result<(), String> {
    let new = path.with_extension("new");
    let written = fs::write(&new, content).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

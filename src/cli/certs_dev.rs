//! `certs dev`: a small CA with a server and a client certificate, for development.
//!
//! Owns: the files, their modes, what to type next. Never knows: how certificates are made.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::args::Dev;
use super::exit;
use super::output::Output;
use crate::base::clock;
use crate::config::io_cause;
use crate::tls::dev_certs::{Authority, CertRequest, Role};

const DAY: Duration = Duration::from_secs(86_400);
const CERTIFICATE: u32 = 0o644;
const KEY: u32 = 0o600;

/// A file to be written.
struct File {
    name: &'static str,
    text: String,
    mode: u32,
}

/// Makes them and prints how to use them.
pub(super) fn make(arguments: &Dev, output: Output) -> ExitCode {
    let output = output.with_json(arguments.answer.json);
    let done = files(arguments)
        .and_then(|files| write(&arguments.directory, &files, arguments.force).map(|()| files));
    match done {
        Ok(files) => {
            output.print(&report(arguments));
            output.json(|| report_json(&arguments.directory, &files));
            ExitCode::from(exit::SUCCESS)
        }
        Err(problem) => output.fail(exit::FAILURE, &problem),
    }
}

fn hosts(arguments: &Dev) -> Vec<&str> {
    if arguments.host.is_empty() {
        vec!["localhost", "127.0.0.1", "::1"]
    } else {
        arguments.host.iter().map(String::as_str).collect()
    }
}

fn files(arguments: &Dev) -> Result<Vec<File>, String> {
    let (now, lifetime) = (clock::wall(), DAY * arguments.days);
    let hosts = hosts(arguments);
    let client = &*arguments.client;
    let host = hosts.first().copied().unwrap_or("localhost");
    let make = || {
        // Two authorities of one name would be taken for each other.
        let stamp = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        let ca = Authority::new(&format!("development CA {stamp}"), now, lifetime)?;
        let server = ca.issue(&CertRequest::new(Role::Server, host, &hosts, now, lifetime))?;
        let client = ca.issue(&CertRequest::new(Role::Client, client, &[client], now, lifetime))?;
        Ok((ca.issued(), server, client))
    };
    let (ca, server, client) = make().map_err(|_: rcgen::Error| {
        format!("no certificates for these names: {}, {client}", hosts.join(", "))
    })?;
    let file = |name, text, mode| File { name, text, mode };
    Ok(vec![
        file("ca.crt", ca.cert, CERTIFICATE),
        file("ca.key", ca.key, KEY),
        file("server.crt", server.cert, CERTIFICATE),
        file("server.key", server.key, KEY),
        file("client.crt", client.cert, CERTIFICATE),
        file("client.key", client.key, KEY),
    ])
}

/// Writes all of them or none: a set that is half of another would be worse than none.
fn write(directory: &Path, files: &[File], replace: bool) -> Result<(), String> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| format!("{path}: {}", io_cause(&error))
    };
    if !directory.is_dir() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(failed(directory))?;
    }
    let exists = |file: &&File| fs::symlink_metadata(directory.join(file.name)).is_ok();
    if let Some(file) = files.iter().find(exists).filter(|_| !replace) {
        let path = directory.join(file.name);
        return Err(format!("{} exists; --force replaces it and the others", path.display()));
    }
    let mut written: Vec<(PathBuf, PathBuf)> = Vec::new();
    let staged = files.iter().try_for_each(|file| {
        let path = directory.join(file.name);
        let beside = directory.join(format!(".{}.{}", file.name, std::process::id()));
        written.push((beside.clone(), path));
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(file.mode).open(&beside);
        let text = file.text.as_bytes();
        opened.and_then(|mut open| open.write_all(text)).map_err(failed(&beside))
    });
    let placed = staged.and_then(|()| {
        written.iter().try_for_each(|(from, to)| place(from, to, replace).map_err(failed(to)))
    });
    for (beside, _) in &written {
        // Those that have found their place are gone from here.
        let _ = fs::remove_file(beside);
    }
    placed
}

/// A link fails where something is, a rename does not.
fn place(from: &Path, to: &Path, replace: bool) -> io::Result<()> {
    if replace { fs::rename(from, to) } else { fs::hard_link(from, to) }
}

fn report(arguments: &Dev) -> String {
    let at = |name: &str| arguments.directory.join(name).display().to_string();
    let hosts = hosts(arguments);
    let host = hosts.first().copied().unwrap_or("localhost");
    format!(
        "{} has certificates that are valid for {} days:
  ca.crt      the CA; ca.key signs more (keep it to yourself)
  server.crt  for {}; key server.key
  client.crt  for {}; key client.key

Start a server that accepts nothing but mutual TLS:
  redis-server --port 0 --tls-port 6380 --tls-ca-cert-file {ca} \\
    --tls-cert-file {} --tls-key-file {}

Start respgate in front of it:
  respgate run --upstream rediss://{host}:6380 \\
    --cert {cert} --key {key} --ca {ca}

Talk to the server directly:
  redis-cli -h {host} -p 6380 --tls --cert {cert} --key {key} --cacert {ca}",
        arguments.directory.display(),
        arguments.days,
        hosts.join(", "),
        arguments.client,
        at("server.crt"),
        at("server.key"),
        ca = at("ca.crt"),
        cert = at("client.crt"),
        key = at("client.key"),
    )
}

fn report_json(directory: &Path, files: &[File]) -> serde_json::Value {
    let files = files.iter().map(|file| {
        let path = directory.join(file.name).display().to_string();
        json!({"file": path, "mode": format!("{:04o}", file.mode)})
    });
    json!({"files": files.collect::<Vec<_>>()})
}

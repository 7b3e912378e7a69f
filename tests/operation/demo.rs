//! What a newcomer meets first: the demonstration as a person starts it, and the page that leads to it.
//!
//! Owns: what `respgate demo` and the README promise. Never knows: how it is made.
use crate::support;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use support::real_server::{Brand, free_port, signal};

/// `respgate demo` on a free port, with its directory below `place`.
fn demo(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
    command.args(["demo", "--listen", &format!("127.0.0.1:{}", free_port())]).args(arguments);
    command.env("TMPDIR", place).stdin(Stdio::null());
    command
}

fn server() -> Option<String> {
    let program = Brand::Redis.available().then(|| Brand::Redis.program()).flatten()?;
    Some(program.into_os_string().into_string().unwrap())
}

fn left_in(place: &Path) -> usize {
    std::fs::read_dir(place).unwrap().count()
}

#[test]
fn tour_shows_everything_and_leaves_nothing() {
    let Some(server) = server() else { return };
    let place = tempfile::tempdir().unwrap();
    let output = demo(place.path(), &["--once", "--server", &server]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.as_str()), (Some(0), ""), "{shown}");
    let mut rest = shown.as_str();
    for line in [
        "\n1. ",
        "app> GET app1:greeting\n  \"hello\"",
        "TLS without a client certificate: received fatal alert: CertificateRequired",
        "app> FLUSHALL\n  (error) NOPERM this user has no permissions to run the 'flushall' command",
        "operator, past respgate> GET other:secret\n  \"not yours\"",
        "a> EXEC\n  [(integer) 1, (integer) 10]",
        "a> EXEC\n  (nil)",
        "a< [\"app1:queue\", \"job 1\"]",
        "a< [\"message\", \"app1:news\", \"it works\"]",
        "\"proto\": (integer) 3",
        "app> GET app1:hits\n  \"50\"",
        "generation 1 -> 2",
        "; 0 failed",
        "app> CONFIG GET maxmemory\n  [\"maxmemory\", \"0\"]",
        "respgate_tls_identity_generation 2",
        "GET /readyz: 503",
        "respgate has left: exit status: 0",
        "Everything was as it should be.",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("no {line:?} in:\n{rest}"));
        rest = rest.get(at + line.len()..).unwrap();
    }
    assert!(!shown.contains('\x1b'), "colours are for terminals");
    assert_eq!(left_in(place.path()), 0);
}

#[test]
fn demo_stays_up_until_its_signal() {
    let Some(server) = server() else { return };
    let place = tempfile::tempdir().unwrap();
    let mut command = demo(place.path(), &["--server", &server]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let connect = loop {
        line.clear();
        assert_ne!(shown.read_line(&mut line).unwrap(), 0, "ended before it invites");
        if let Some((_, address)) = line.trim().split_once("redis-cli -h ") {
            break address.replace(" -p ", ":");
        }
    };
    TcpStream::connect(&connect).expect("respgate serves on");
    assert_eq!(left_in(place.path()), 1);
    signal("INT", child.id());
    let mut rest = String::new();
    shown.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("Terminated by a signal."), "{rest}");
    TcpStream::connect(&connect).expect_err("respgate has left");
    assert_eq!(left_in(place.path()), 0);
}

#[test]
fn demo_that_cannot_begin_reports_why_and_cleans_up() {
    let place = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (["--server", "/bin/false"], "/bin/false has ended: exit status: 1"),
        (["--server", "no-such-server"], "no no-such-server on this machine"),
        (["--listen", "localhost"], "--listen localhost: neither an IP address"),
    ] {
        let output = demo(place.path(), &arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(left_in(place.path()), 0, "{arguments:?}");
    }
}

#[test]
fn configuration_of_the_readme_is_good() {
    let readme = include_str!("../../README.md");
    let toml = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("respgate.toml");
    std::fs::write(&file, toml).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_respgate"));
    let output = check.args(["check", "--skip-files", "--config"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

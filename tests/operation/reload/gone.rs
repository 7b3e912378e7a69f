//! Certificates on a file system that does not answer any more.
//!
//! Owns: the case. Never knows: how files are read.

use std::path::Path;
use std::process::{Command, Stdio};

use super::support::client::Target;
use super::support::proxy;
use super::support::real_server::{free_port, note_skipped};
use super::*;

/// A command that runs another where the files of `from` are at `place`, until there is a `marker`.
fn runs_with(from: &Path, place: &Path, marker: &Path) -> Option<Command> {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/gone.py");
    let command = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "python3", tool]).args([from, place, marker]).arg(program);
        command
    };
    let tried = command("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        note_skipped("files on a file system that is gone: a process may not mount FUSE here");
        return None;
    }
    Some(command(env!("CARGO_BIN_EXE_respgate")))
}

/// The status verb and signals are answered, and clients served, whatever waits for the files.
#[test]
fn file_system_that_is_gone_holds_up_nothing_but_the_reload() {
    let server = Server::mutual_tls(Brand::Redis);
    let home = proxy::directory();
    let (files, place) = (home.path().join("files"), home.path().join("place"));
    let (marker, socket) = (home.path().join("gone"), home.path().join("admin.sock"));
    std::fs::create_dir_all(&files).unwrap();
    std::fs::create_dir(&place).unwrap();
    let pki = server.pki.as_ref().unwrap();
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        std::fs::copy(pki.client(name), files.join(name)).unwrap();
    }
    let Some(command) = runs_with(&files, &place, &marker) else { return };
    let (port, telemetry) = (free_port(), free_port());
    let listener = proxy::listener(&Target::Tcp(port), "");
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let mounted = pki.client("tls.crt");
    let mounted = mounted.parent().unwrap().to_str().unwrap();
    let text = text.replace(mounted, place.to_str().unwrap());
    let text = format!("{text}\n[admin]\nsocket = {socket:?}\n[drain]\nquiet = \"50ms\"\n");
    let mut proxy = Proxy::run_by(command, home, Target::Tcp(port), telemetry, &text);
    serves(&proxy);
    std::fs::write(&marker, "").unwrap();
    proxy.hang_up();
    proxy.await_log(&["REL-E001", "tls_identity", "file system gone?"]);
    serves(&proxy);
    let mut status = Command::new(env!("CARGO_BIN_EXE_respgate"))
        .args(["status", "--json", "--socket", socket.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("status is answered", || status.try_wait().unwrap().is_some());
    support::real_server::signal("TERM", proxy.pid());
    let ended = proxy.ended_within(Duration::from_secs(15)).expect("it exits");
    assert!(ended.success(), "{ended}");
}

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

/// The configuration is read through the file system that is gone, and the users, too: once that is back, what was
/// written meanwhile is in force without a further signal.
#[test]
fn configuration_is_read_again_when_its_file_system_is_back() {
    let server = Server::plain(Brand::Redis);
    let home = proxy::directory();
    let (files, place, marker) =
        (home.path().join("files"), home.path().join("place"), home.path().join("gone"));
    std::fs::create_dir_all(&files).unwrap();
    std::fs::create_dir(&place).unwrap();
    std::fs::write(files.join("users.acl"), "user app on >secret ~* &* +@all\n").unwrap();
    let Some(command) = runs_with(&files, &place, &marker) else { return };
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let listener = proxy::listener(&target, "auth = \"users\"");
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let text = format!("{text}\n[users]\nacl_file = {:?}\n", place.join("users.acl"));
    let proxy = Proxy::run_by(command, home, target, telemetry, &text);
    std::fs::write(&marker, "").unwrap();
    proxy.hang_up();
    proxy.await_log(&["REL-E001", "config", "file system gone?"]);
    let changed = text.replace(proxy::OPEN_POLICY, "+@all -set ~* &*");
    std::fs::write(proxy.configuration_file(), changed).unwrap();
    let rejected = attempts(&proxy, "config", "rejected");
    wait_until("it is tried again", || attempts(&proxy, "config", "rejected") > rejected + 0.5);
    std::fs::remove_file(&marker).unwrap();
    wait_until("the change is in force", || attempts(&proxy, "config", "applied") > 0.5);
    let mut client = proxy.client();
    assert_eq!(client.ask(&["AUTH", "app", "secret"]), b"+OK\r\n");
}

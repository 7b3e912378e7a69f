//! A program that prints the password: `upstream.auth.password_command`.
//!
//! Owns: the cases. Never knows: certificates, files with passwords.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::load::under_load;
use super::support::client::Target;
use super::support::proxy;
use super::support::real_server::{free_port, signal};
use super::*;

/// The file whose text the program prints.
fn answer(home: &Path) -> PathBuf {
    home.join("answer")
}

fn print(home: &Path, password: &str, lifetime: Option<u64>) {
    let now = respgate::internals::base::clock::wall()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let end = lifetime.map(|lifetime| format!(",\"expires_at\":{}", now + lifetime));
    let text =
        format!("{{\"password\":{password:?},\"username\":\"app\"{}}}", end.unwrap_or_default());
    rename_over(&answer(home), &text);
}

/// A server with a user `app`, and a respgate that is this user by what a program prints.
fn stage(lifetime: Option<u64>) -> (Server, Proxy) {
    let server = Server::mutual_tls(Brand::Redis);
    allow(&server, &["on", ">first-password", "~*", "&*", "+@all"]);
    let home = proxy::directory();
    let program = home.path().join("program");
    let script = "#!/bin/sh\necho run >> \"$1.runs\"\necho \"$SECRET\" >&2\ncat \"$1\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    print(home.path(), "first-password", lifetime);
    let (port, telemetry) = (free_port(), free_port());
    let listener = proxy::listener(&Target::Tcp(port), "");
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let auth = format!(
        "[upstream.pool]\npinned_grace = \"400ms\"\n[upstream.auth]\npassword_command = [{program:?}, {:?}]\n",
        answer(home.path())
    );
    let proxy = Proxy::configured(home, Target::Tcp(port), telemetry, &format!("{text}\n{auth}"));
    (server, proxy)
}

fn allow(server: &Server, words: &[&str]) {
    assert_eq!(server.observer().ask(&[&["ACL", "SETUSER", "app"], words].concat()), b"+OK\r\n");
}

fn runs(proxy: &Proxy) -> usize {
    let file = answer(proxy.directory()).with_extension("runs");
    std::fs::read_to_string(file).unwrap().lines().count()
}

#[test]
fn password_command_runs_ahead_of_the_end_of_its_password() {
    let (server, proxy) = stage(Some(4));
    assert!(proxy.metric("respgate_credential_expiry_timestamp_seconds") > 1e9);
    under_load(&proxy, || {
        let mut current = "first-password";
        for next in ["second-password", "third-password"] {
            let before = attempts(&proxy, "auth", "applied");
            allow(&server, &[&format!(">{next}")]);
            print(proxy.directory(), next, Some(4));
            wait_until("it is run again", || attempts(&proxy, "auth", "applied") > before);
            allow(&server, &[&format!("<{current}")]);
            current = next;
        }
    });
    server.observer().ask(&["CLIENT", "KILL", "USER", "app"]);
    wait_until("it serves", || proxy.client().ask(&["SET", "k", "v"]) == b"+OK\r\n");
    assert!(!proxy.log().contains("-password"), "{}", proxy.log());
}

/// Tokens change every few minutes: a subscription outlives them, as with a server whose tokens end at the login.
#[test]
fn subscription_outlives_the_token_it_began_with() {
    let (server, proxy) = stage(Some(3));
    let mut listening = proxy.client();
    listening.ask(&["SUBSCRIBE", "c"]);
    let before = attempts(&proxy, "auth", "applied");
    allow(&server, &[">second-password"]);
    print(proxy.directory(), "second-password", None);
    wait_until("it is run again", || attempts(&proxy, "auth", "applied") > before);
    std::thread::sleep(Duration::from_millis(600));
    proxy.client().ask(&["PUBLISH", "c", "x"]);
    assert_eq!(listening.reply(), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n");
}

/// The state is degraded until there is a password; with `startup.require_upstream` there is no start.
#[test]
fn password_command_that_fails_at_the_start_is_run_again() {
    let server = Server::mutual_tls(Brand::Redis);
    allow(&server, &["on", ">first-password", "~*", "&*", "+@all"]);
    let home = proxy::directory();
    let program = home.path().join("program");
    std::fs::write(&program, "#!/bin/sh\ncat \"$1\"\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let (port, telemetry) = (free_port(), free_port());
    let listener = proxy::listener(&Target::Tcp(port), "");
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let command = format!("[{program:?}, {:?}]", answer(home.path()));
    let text = format!("{text}\n[upstream.auth]\npassword_command = {command}\n");
    let strict = format!("{text}[startup]\nrequire_upstream = true\n");
    let (status, printed) = Proxy::refused(home.path(), &strict);
    assert!(!status.success() && printed.contains("CRD-E002"), "{status}: {printed}");

    let proxy = Proxy::serving(home, Target::Tcp(port), telemetry, &text);
    proxy.await_log(&["WARN", "CRD-E002", "UPS-E003"]);
    proxy.await_metric("respgate_state{state=\"degraded\"}", |now| now > 0.5);
    assert_eq!(proxy.get("/healthz/upstream").0, 503);
    assert_eq!(
        server.info("clients", "connected_clients"),
        1,
        "no connection logs in without a password"
    );
    print(proxy.directory(), "first-password", None);
    proxy.await_metric("respgate_state{state=\"ready\"}", |now| now > 0.5);
    serves(&proxy);
}

#[test]
fn password_command_that_fails_changes_nothing() {
    let (server, proxy) = stage(Some(3));
    rename_over(&answer(proxy.directory()), "first-password is not JSON");
    wait_until("it is rejected", || rejections(&proxy, "auth", "parse") > 0.5);
    serves(&proxy);
    wait_until("its end is noticed", || proxy.log().contains("CRD-E007"));
    let log = proxy.log();
    assert!(log.contains("CRD-E005") && !log.contains("first-password"), "{log}");
    print(proxy.directory(), "second-password", None);
    allow(&server, &["resetpass", ">second-password"]);
    wait_until("it recovers", || attempts(&proxy, "auth", "applied") > 0.5);
    serves(&proxy);
}

#[test]
fn password_command_runs_at_once_when_the_server_refuses_its_password() {
    let (server, proxy) = stage(None);
    // The run at start was a moment ago.
    std::thread::sleep(Duration::from_millis(1100));
    let before = runs(&proxy);
    print(proxy.directory(), "second-password", None);
    allow(&server, &["resetpass", ">second-password"]);
    server.observer().ask(&["CLIENT", "KILL", "USER", "app"]);
    let mut client = proxy.client();
    assert_eq!(client.ask(&["GET", "nothing"]), b"$-1\r\n");
    assert!(runs(&proxy) > before);
    proxy.await_log(&["the one read again is in force", "generation=2"]);
}

/// Whether the process runs; one that has ended and is not collected yet does not.
fn is_running(pid: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// A program that takes long and ignores every signal that it may, and the process that it has started: neither
/// outlives respgate, which waits for none.
#[test]
fn password_command_ends_with_respgate_whatever_it_ignores() {
    let script = "#!/bin/sh\n\
        [ -e \"$1.slow\" ] || { echo '{\"password\":\"first-password\",\"username\":\"app\"}'; exit; }\n\
        trap '' HUP INT TERM\nsleep 300 &\n\
        echo \"$$ $!\" > \"$1.new\"; mv \"$1.new\" \"$1.pids\"; sleep 300\n";
    for during_start in [true, false] {
        let server = Server::plain(Brand::Redis);
        allow(&server, &["on", ">first-password", "~*", "&*", "+@all"]);
        let home = proxy::directory();
        let (program, name) = (home.path().join("program"), home.path().join("run"));
        let (slow, pids) = (name.with_extension("slow"), name.with_extension("pids"));
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let (target, telemetry) = (Target::Tcp(free_port()), free_port());
        let listener = proxy::listener(&target, "");
        let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
        let text = format!(
            "{text}\n[drain]\nquiet = \"50ms\"\n[upstream.auth]\npassword_command = [{program:?}, {name:?}]\n\
             password_command_timeout = \"60s\"\n"
        );
        let mut proxy = if during_start {
            std::fs::write(&slow, "").unwrap();
            Proxy::starting(home, target, telemetry, &text)
        } else {
            let proxy = Proxy::configured(home, target, telemetry, &text);
            std::fs::write(&slow, "").unwrap();
            proxy.hang_up();
            proxy
        };
        wait_until("the program runs", || pids.exists());
        let pids = std::fs::read_to_string(pids).unwrap();
        let both: Vec<&str> = pids.split_whitespace().collect();
        assert!(both.len() == 2 && both.iter().all(|pid| is_running(pid)), "{pids}");
        signal("TERM", proxy.pid());
        let status = proxy.ended_within(Duration::from_secs(15)).expect("it exits");
        assert!(status.success(), "{status}");
        wait_until("both have ended", || !both.iter().any(|pid| is_running(pid)));
    }
}

//! What the process binds itself to at its start.
//!
//! Owns: the cases. Never knows: how the kernel is asked.

use std::os::unix::fs::symlink;

use super::support::client::Target;
use super::support::proxy::{self, Proxy};
use super::support::real_server::{Brand, Server, free_port, wait_until};

/// Whether this kernel has Landlock.
fn has_landlock(proxy: &Proxy) -> bool {
    let found = status(proxy)["sandbox"]["landlock"] != "unsupported";
    if !found {
        eprintln!("skipped: this kernel has no Landlock");
    }
    found
}

fn status(proxy: &Proxy) -> serde_json::Value {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_respgate"))
        .args(["status", "--json", "--socket"])
        .arg(proxy.directory().join("admin.sock"))
        .output()
        .unwrap();
    serde_json::from_slice(&out.stdout).unwrap()
}

fn shown(proxy: &Proxy, landlock: &str) -> f64 {
    proxy.metric(&format!("respgate_sandbox_info{{landlock={landlock:?}}}"))
}

/// With a password in a file, and further sections.
fn stage(more: &str) -> (Server, Proxy) {
    let server = Server::plain(Brand::Redis);
    let words = ["ACL", "SETUSER", "app", "on", ">first", ">second", "~*", "&*", "+@all"];
    server.observer().ask(&words);
    let home = proxy::directory();
    std::fs::write(home.path().join("password"), "first").unwrap();
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let listener = proxy::listener(&target, "");
    let text = proxy::configuration(&server, &listener, proxy::OPEN_POLICY, telemetry);
    let (file, socket) = (home.path().join("password"), home.path().join("admin.sock"));
    let text = format!(
        "{text}\n[upstream.auth]\nusername = \"app\"\npassword_file = {file:?}\n[admin]\nsocket = {socket:?}\n{more}\n"
    );
    (server, Proxy::configured(home, target, telemetry, &text))
}

#[test]
fn sandbox_is_in_force_and_shown() {
    let (_server, proxy) = stage("");
    let found = &status(&proxy)["sandbox"];
    assert_eq!(found["no_new_privileges"], true, "{found}");
    assert_eq!(found["no_core_dumps"], true, "{found}");
    let of = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", proxy.pid())).unwrap();
    assert!(of("status").contains("NoNewPrivs:\t1"), "{}", of("status"));
    let landlock = found["landlock"].as_str().unwrap();
    assert_eq!(shown(&proxy, landlock), 1.0, "{landlock}");
    let core = of("limits").lines().find(|line| line.starts_with("Max core")).unwrap().to_owned();
    assert!(core.split_whitespace().skip(4).take(2).all(|limit| limit == "0"), "{core}");
    for thread in std::fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
}

#[test]
fn files_elsewhere_are_out_of_reach_and_renewed_ones_are_not() {
    let (_server, proxy) = stage("");
    if !has_landlock(&proxy) {
        return;
    }
    let at = |name: &str| proxy.directory().join(name);
    let series = |result: &str| {
        proxy.metric(&format!("respgate_reload_attempts_total{{what=\"auth\",result={result:?}}}"))
    };
    // As Kubernetes: a new directory in the volume, and a link to it.
    std::fs::create_dir(at("..2")).unwrap();
    std::fs::write(at("..2/password"), "second").unwrap();
    symlink("..2/password", at("next")).unwrap();
    std::fs::rename(at("next"), at("password")).unwrap();
    wait_until("the renewed password is loaded", || series("applied") > 0.5);
    let elsewhere = proxy::directory();
    std::fs::write(elsewhere.path().join("password"), "first").unwrap();
    symlink(elsewhere.path().join("password"), at("next")).unwrap();
    std::fs::rename(at("next"), at("password")).unwrap();
    wait_until("the file elsewhere is not read", || series("rejected") > 0.5);
    proxy.await_log(&["REL-E001", "Permission denied"]);
    let configuration = std::fs::read_to_string(proxy.configuration_file()).unwrap();
    let users = elsewhere.path().join("users.acl");
    std::fs::write(&users, "user u on nopass ~* +get\n").unwrap();
    let text = configuration.replace(
        "[upstream]",
        &format!("auth = \"users\"\n[users]\nacl_file = {users:?}\n[upstream]"),
    );
    std::fs::write(proxy.configuration_file(), text).unwrap();
    proxy.hang_up();
    proxy.await_log(&["REL-E001", "out of reach of the sandbox"]);
    assert_eq!(proxy.client().ask(&["SET", "k", "v"]), b"+OK\r\n");
}

#[test]
fn sandbox_is_off_by_configuration_alone() {
    let (_server, proxy) = stage("[sandbox]\nenabled = false\n");
    let found = &status(&proxy)["sandbox"];
    assert_eq!((&found["landlock"], &found["no_core_dumps"]), (&"off".into(), &false.into()));
    assert_eq!((shown(&proxy, "off"), shown(&proxy, "full")), (1.0, 0.0));
}

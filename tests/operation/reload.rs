//! Replaced while it serves: certificates, passwords, the configuration. What is good is applied
//! without a lost reply, what is not is reported and changes nothing.
//!
//! Owns: reload as seen by applications, operators and the server. Never knows: how files are read.
use crate::support;
mod configuration;
mod gone;
mod identity;
mod load;
mod password;
mod program;
mod replaced;
mod writers;

use std::path::Path;
use std::time::Duration;

use support::proxy::Proxy;
use support::real_server::{Brand, Server, wait_until};

const GENERATION: &str = "respgate_tls_identity_generation";

/// How often a reload was rejected.
fn rejections(proxy: &Proxy, what: &str, reason: &str) -> f64 {
    let series = "respgate_reload_rejections_total";
    proxy.metric(&format!("{series}{{what={what:?},reason={reason:?}}}"))
}

fn attempts(proxy: &Proxy, what: &str, result: &str) -> f64 {
    let series = "respgate_reload_attempts_total";
    proxy.metric(&format!("{series}{{what={what:?},result={result:?}}}"))
}

/// Waits until the identity in force is this one.
fn await_generation(proxy: &Proxy, generation: u32) {
    proxy.await_metric(GENERATION, |now| (now - f64::from(generation)).abs() < 0.1);
}

fn serves(proxy: &Proxy) {
    let mut client = proxy.client();
    assert_eq!(client.ask(&["SET", "probe", "1"]), b"+OK\r\n");
    assert_eq!(client.ask(&["BLPOP", "nothing", "0.01"]), b"*-1\r\n");
}

/// The ids of the connections that the server has from respgate.
fn connections(server: &Server) -> Vec<String> {
    connections_after(server, &[""])
}

/// The same of those that sent one of these commands last. (Once there is one that requests the
/// server's commands, and goes.)
fn connections_after(server: &Server, commands: &[&str]) -> Vec<String> {
    let list = server.observer().ask_text(&["CLIENT", "LIST"]);
    let is_meant = |line: &&str| {
        commands.iter().any(|command| line.contains(&format!(" cmd={command}")))
            && line.contains(" laddr=127.0.0.1:")
    };
    list.lines()
        .filter(is_meant)
        .map(|line| line.split("id=").nth(1).unwrap().split(' ').next().unwrap().to_owned())
        .collect()
}

/// Waits until the server has none of these connections any more.
fn await_gone(server: &Server, old: &[String]) {
    wait_until("the old connections are gone", || {
        connections(server).iter().all(|id| !old.contains(id))
    });
}

/// Writes beside and renames over.
fn rename_over(path: &Path, text: &str) {
    let beside = path.with_extension("beside");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

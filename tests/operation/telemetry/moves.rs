//! Every metric moves: which series change in the scenes before real servers.
//!
//! Owns: [`Moved`]. Never knows: the scenes, how a metric is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use respgate::internals::base::clock::now;
use respgate::internals::telemetry::Metrics;

use super::support::client::{PATIENCE, Target};
use super::support::proxy::{Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port};
use super::{failures, scenes, tls_listener};

/// What was built, and what the kernel offers; a test of the sandbox looks at the second.
const CONSTANT: [&str; 2] = ["respgate_build_info", "respgate_sandbox_info"];

/// How long one step may take to move a series before it is taken again.
const STEP: Duration = Duration::from_secs(2);

/// The values of all series; of a histogram only how much was observed.
fn values(exposition: &str) -> BTreeMap<String, String> {
    let lines = exposition.lines().filter(|line| line.starts_with("respgate_"));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs
        .filter(|(series, _)| {
            let name = series.split('{').next().unwrap();
            !name.ends_with("_bucket") && !name.ends_with("_sum")
        })
        .map(|(series, value)| (series.to_owned(), value.to_owned()))
        .collect()
}

/// The series that have had another value than in a fresh process.
pub struct Moved {
    fresh: BTreeMap<String, String>,
    moved: Mutex<BTreeSet<String>>,
}

impl Moved {
    fn new() -> Self {
        Self { fresh: values(&Metrics::default().render().unwrap()), moved: Mutex::default() }
    }

    pub fn note(&self, proxy: &Proxy) -> BTreeMap<String, String> {
        self.try_note(proxy).unwrap()
    }

    /// The same; `None` when the process has ended.
    pub fn try_note(&self, proxy: &Proxy) -> Option<BTreeMap<String, String>> {
        let seen = values(&proxy.try_get("/metrics")?.1);
        let mut moved = self.moved.lock().unwrap();
        for (series, value) in &seen {
            if self.fresh.get(series) != Some(value) {
                moved.insert(series.clone());
            }
        }
        Some(seen)
    }

    pub fn has_seen(&self, series: &str) -> bool {
        self.moved.lock().unwrap().contains(&format!("respgate_{series}"))
    }

    /// Waits until each of these has another value than in a fresh process.
    pub fn until(&self, proxy: &Proxy, series: &[&str]) {
        let mut waiting: Vec<String> =
            series.iter().map(|name| format!("respgate_{name}")).collect();
        let deadline = now() + PATIENCE;
        while !waiting.is_empty() {
            let seen = self.note(proxy);
            waiting.retain(|name| seen.get(name) == self.fresh.get(name));
            assert!(now() < deadline, "these never moved: {waiting:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Takes a step again and again until this has another value than in a fresh process: what lasts for a moment is
    /// missed on a slow machine, and what happens once may happen too late there.
    pub fn repeat(&self, proxy: &Proxy, series: &str, mut step: impl FnMut()) {
        let name = format!("respgate_{series}");
        let deadline = now() + PATIENCE;
        let mut next = now();
        loop {
            if now() >= next {
                step();
                next = now() + STEP;
            }
            if self.note(proxy).get(&name) != self.fresh.get(&name) {
                return;
            }
            assert!(now() < deadline, "{name} never moved");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn every_metric_moves() {
    if !Brand::Redis.available() {
        return;
    }
    let moved = Moved::new();
    let scenes: [fn(&Moved); 22] = [
        scenes::ordinary_traffic,
        scenes::drain,
        scenes::pinned_traffic,
        scenes::greedy_client,
        scenes::slow_server,
        scenes::aging_connections,
        scenes::limits_of_clients,
        scenes::busy_server,
        scenes::session_mode,
        scenes::blocks,
        scenes::audit,
        failures::identities,
        failures::token,
        failures::cache,
        failures::refused_connections,
        failures::misbehaving_server,
        failures::silent_server,
        failures::server_that_returns,
        failures::failover,
        failures::budget,
        failures::unguardable,
        tls_listener::tls_listener,
    ];
    std::thread::scope(|scope| {
        let moved = &moved;
        for scene in scenes {
            scope.spawn(move || scene(moved));
        }
    });
    let seen = moved.moved.into_inner().unwrap();
    let is_moved = |series: &String| seen.contains(series);
    let changing = Metrics::CATALOGUE.iter().filter(|(name, _)| !CONSTANT.contains(name));
    for (name, _) in changing {
        let of_it = |series: &&String| {
            let own = series.split('{').next().unwrap();
            own == *name || own.strip_suffix("_count") == Some(name)
        };
        assert!(
            seen.iter().any(|series| of_it(&series)),
            "{name} never moves: write a scene for it"
        );
    }
    let still: Vec<&String> = moved
        .fresh
        .keys()
        // Only a defect moves that one; a test of the library makes one.
        .filter(|series| !is_moved(series) && !CONSTANT.iter().any(|name| series.starts_with(name)))
        .filter(|series| !series.contains("reason=\"defect\""))
        .collect();
    assert!(still.is_empty(), "never move: {still:#?}");
}

/// How many series a scrape has.
fn count(proxy: &Proxy) -> usize {
    proxy.get("/metrics").1.lines().filter(|line| !line.starts_with('#')).count()
}

/// Junk names, every command, every rule, under many policies and users, denied and observed.
#[test]
fn hostile_client_cannot_make_many_series_nor_hide_a_denial() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let mut text =
        configuration(&server, &listener(&target, "auth = \"users\""), "-@all", telemetry);
    for number in 0..20 {
        let mode = if number % 2 == 0 { "enforce" } else { "observe" };
        let acl = ["+get -@dangerous ~a:*", "+@all -@dangerous ~a:*", "-@all"][number % 3];
        text += &format!(
            "[policies.p{number}]\nacl = {acl:?}\nmode = {mode:?}\n\
             [[user]]\nname = \"u{number}\"\nnopass = true\npolicy = \"p{number}\"\n"
        );
    }
    let proxy = Proxy::configured(directory, target, telemetry, &text);
    let smoke = count(&proxy);
    assert!(smoke <= 400, "{smoke} series after a start");
    for number in 0..20 {
        let mut client = proxy.client();
        client.ask(&["AUTH", &format!("u{number}"), "x"]);
        for spec in respgate::internals::command::all() {
            let mut words: Vec<&str> = spec.name.split('|').collect();
            for argument in ["b:1", "\u{1}", "NaN"] {
                if !["quit", "monitor", "shutdown", "sync", "psync", "client|reply"]
                    .contains(&spec.name)
                {
                    client.send(&words);
                }
                words.push(argument);
            }
        }
        for junk in 0..100 {
            client.send(&[&format!("JUNK{number}_{junk}")]);
        }
        drop(client.drain(Duration::from_millis(150)));
    }
    let mut client = proxy.client();
    client.ask(&["AUTH", "u2", "x"]);
    for command in ["flushall", "shutdown", "debug", "flushdb", "keys"] {
        client.ask(&[command]);
        let (_, text) = proxy.get("/metrics");
        let named = format!("respgate_commands_denied_total{{command={command:?},");
        assert!(text.contains(&named), "{command} is hidden");
    }
    let hostile = count(&proxy);
    assert!((200..=550).contains(&hostile), "{hostile} series, {smoke} after the start");
}

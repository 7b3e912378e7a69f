//! What the figures should be.
//!
//! Owns: [`checks`]: every target with its floor and its aim. Never knows: how figures are measured.

use serde::Serialize;

use crate::contestants::FORWARDERS;
use crate::results::{Figure, Results, Spread, Window};

/// A figure beside what it must be and what it should be.
#[derive(Debug, Serialize)]
pub struct Check {
    pub id: &'static str,
    pub what: &'static str,
    pub figure: Option<Spread>,
    pub must: f64,
    pub stretch: f64,
    /// More is better.
    pub at_least: bool,
}

impl Check {
    fn reaches(&self, bound: f64) -> Option<bool> {
        let value = self.figure?.median;
        Some(if self.at_least { value >= bound } else { value <= bound })
    }

    /// In a word.
    pub fn verdict(&self) -> &'static str {
        match (self.reaches(self.must), self.reaches(self.stretch)) {
            (Some(true), Some(true)) => "stretch",
            (Some(true), _) => "must",
            (Some(false), _) => "MISSED",
            (None, _) => "not measured",
        }
    }
}

/// The measurements behind a target.
pub fn needs(id: &str) -> &'static [&'static str] {
    match id {
        "T1" | "T2" | "T3" | "T4" | "T5" | "T11" => &["50"],
        "T6" => &["500"],
        "T7" => &["50x16"],
        "T8" => &["8"],
        "T9" => &["1"],
        "T10" => &["rate"],
        "T12" => &["churn"],
        "T13" => &["idle clients"],
        "T14" => &["start"],
        "T15" => &["10m", "large values"],
        "T16" => &["100k"],
        "T17" => &["50", "50x16"],
        "T20" => &["50x16", "50x16ex"],
        "T18" => &["alone", "beside"],
        "T22" => &["tls50", "tls50x16", "tlschurn"],
        "T21" => &["sha0", "sha3", "sha20", "eval0", "eval3", "eval20"],
        _ => &[],
    }
}

const DIRECT: &[&str] = &["direct TLS"];
const PLAIN: &[&str] = &["direct plaintext"];
const HAPROXY: &[&str] = &["haproxy"];
const ENVOY: &[&str] = &["envoy redis_proxy"];
const OPEN: &[&str] = &["respgate no rules"];
const PEER_NAMES: &[&str] =
    &["haproxy", "nginx", "envoy tcp_proxy", "envoy redis_proxy", "stunnel"];

/// Floor and aim.
#[derive(Clone, Copy)]
enum Bounds {
    Least(f64, f64),
    Most(f64, f64),
}
use Bounds::{Least, Most};

type Measure = fn(&Results) -> Option<Spread>;

/// Every target of the list, in its order.
pub fn checks(results: &Results) -> Vec<Check> {
    let check = |&(id, what, bounds, measure): &(&'static str, &'static str, Bounds, Measure)| {
        let (at_least, must, stretch) = match bounds {
            Least(must, stretch) => (true, must, stretch),
            Most(must, stretch) => (false, must, stretch),
        };
        Check { id, what, figure: measure(results), must, stretch, at_least }
    };
    TARGETS.iter().map(check).collect()
}

/// What a guard before a script costs.
fn guard(results: &Results, workload: &str, figure: Figure) -> Option<Spread> {
    results.ratio((workload, "respgate guarded"), (workload, &["respgate rewrite"]), figure)
}

/// respgate's figure over the greatest of others' with the same workload.
fn versus(results: &Results, workload: &str, others: &[&str], figure: Figure) -> Option<Spread> {
    results.ratio((workload, "respgate"), (workload, others), figure)
}

/// The same for its Unix socket.
fn unix(results: &Results, others: &[&str]) -> Option<Spread> {
    results.ratio(("50", "respgate unix"), ("50", others), Window::rate)
}

fn added_p50(results: &Results) -> Option<Spread> {
    let added = results.of("rate", "respgate").filter_map(|window| {
        let direct = results.of("rate", "direct TLS").find(|other| other.round == window.round);
        Some(window.p50() - direct?.p50())
    });
    Spread::of(added.collect())
}

const TARGETS: &[(&str, &str, Bounds, Measure)] = &[
    ("T1", "50 connections: op/s vs direct TLS", Least(1.2, 1.5), |r| {
        versus(r, "50", DIRECT, Window::rate)
    }),
    ("T2", "50 connections: op/s vs HAProxy", Least(1.9, 2.5), |r| {
        versus(r, "50", HAPROXY, Window::rate)
    }),
    ("T2", "50 connections: op/s vs Envoy redis_proxy", Least(1.25, 1.55), |r| {
        versus(r, "50", ENVOY, Window::rate)
    }),
    ("T3", "50 connections: proxy CPU vs HAProxy", Most(0.50, 0.35), |r| {
        versus(r, "50", HAPROXY, Window::proxy)
    }),
    ("T4", "50 connections: Redis CPU vs direct TLS", Most(0.25, 0.15), |r| {
        versus(r, "50", DIRECT, Window::redis)
    }),
    ("T5", "50 connections: all CPU vs direct TLS", Most(0.85, 0.67), |r| {
        versus(r, "50", DIRECT, Window::all_cpu)
    }),
    ("T6", "500 connections: op/s vs direct TLS", Least(1.6, 2.2), |r| {
        versus(r, "500", DIRECT, Window::rate)
    }),
    ("T6", "500 connections: p99 vs direct TLS", Most(0.8, 0.45), |r| {
        versus(r, "500", DIRECT, Window::p99)
    }),
    ("T7", "pipeline 16: op/s vs direct TLS", Least(0.9, 1.05), |r| {
        versus(r, "50x16", DIRECT, Window::rate)
    }),
    ("T7", "pipeline 16: op/s vs best peer", Least(1.2, 1.45), |r| {
        versus(r, "50x16", PEER_NAMES, Window::rate)
    }),
    ("T8", "8 connections: op/s vs direct TLS", Least(0.8, 1.0), |r| {
        versus(r, "8", DIRECT, Window::rate)
    }),
    ("T9", "1 connection: p50 vs HAProxy", Most(1.0, 0.9), |r| {
        versus(r, "1", HAPROXY, Window::p50)
    }),
    ("T10", "10,000 op/s: proxy CPU vs HAProxy", Most(0.9, 0.7), |r| {
        versus(r, "rate", HAPROXY, Window::proxy)
    }),
    ("T10", "10,000 op/s: added p50, µs", Most(25.0, 12.0), |r| added_p50(r)),
    ("T11", "Unix socket, 50 connections: op/s vs direct plaintext", Least(1.05, 1.35), |r| {
        unix(r, PLAIN)
    }),
    ("T11", "Unix socket, 50 connections: op/s vs direct TLS", Least(2.2, 2.9), |r| {
        unix(r, DIRECT)
    }),
    ("T12", "connect + GET + close vs best forwarder", Least(20.0, 40.0), |r| {
        versus(r, "churn", &FORWARDERS, Window::rate)
    }),
    ("T13", "KiB per idle client", Most(2.0, 1.0), |r| r.single("KiB per idle client")),
    ("T13", "Redis connections for 9,500 clients", Most(2.0, 1.0), |r| {
        r.single("redis connections")
    }),
    ("T14", "start to first GET, ms", Most(25.0, 10.0), |r| r.single("start ms")),
    ("T14", "idle RSS, MiB", Most(10.0, 7.0), |r| r.single("idle MiB")),
    ("T14", "idle CPU over 5 s, s", Most(0.0, 0.0), |r| r.single("idle cpu")),
    ("T15", "10 MiB: peak RSS, MiB", Most(24.0, 12.0), |r| r.single("large peak MiB")),
    ("T15", "10 MiB: MB/s vs best forwarder", Least(0.8, 1.0), |r| {
        versus(r, "10m", &FORWARDERS, Window::rate)
    }),
    ("T16", "100 KiB: proxy CPU, µs per value", Most(80.0, 50.0), |r| {
        r.spread("100k", "respgate", Window::proxy)
    }),
    ("T16", "100 KiB: MB/s vs best peer", Least(0.9, 1.1), |r| {
        versus(r, "100k", PEER_NAMES, Window::rate)
    }),
    ("T17", "rules on vs off: no pipelining", Least(0.95, 0.99), |r| {
        versus(r, "50", OPEN, Window::rate)
    }),
    ("T17", "rules on vs off: pipeline 16", Least(0.85, 0.95), |r| {
        versus(r, "50x16", OPEN, Window::rate)
    }),
    ("T20", "rewrite vs enforce: pipeline 16", Least(0.9, 0.95), |r| {
        r.ratio(("50x16", "respgate rewrite"), ("50x16", &["respgate"]), Window::rate)
    }),
    ("T20", "TTL injection vs enforce: pipeline 16", Least(0.9, 0.95), |r| {
        r.ratio(("50x16", "respgate ttl"), ("50x16", &["respgate"]), Window::rate)
    }),
    ("T20", "TTL injection vs the client's own EX: pipeline 16", Least(0.9, 0.95), |r| {
        r.ratio(("50x16", "respgate ttl"), ("50x16ex", &["respgate"]), Window::rate)
    }),
    ("T18", "others' p99 beside a client with 10 MiB values vs without", Most(3.0, 1.5), |r| {
        r.ratio(("beside", "respgate"), ("alone", &["respgate"]), Window::p99)
    }),
    ("T21", "guard, no call, EVALSHA: CPU of respgate and Redis", Most(1.15, 1.05), |r| {
        guard(r, "sha0", Window::server_cpu)
    }),
    ("T21", "guard, 3 calls, EVALSHA: CPU of respgate and Redis", Most(1.15, 1.05), |r| {
        guard(r, "sha3", Window::server_cpu)
    }),
    ("T21", "guard, 3 calls, EVALSHA: op/s", Least(0.87, 0.95), |r| guard(r, "sha3", Window::rate)),
    ("T21", "guard, 20 calls, EVALSHA: CPU of respgate and Redis", Most(1.25, 1.15), |r| {
        guard(r, "sha20", Window::server_cpu)
    }),
    ("T21", "guard, 3 calls, EVAL: CPU of respgate and Redis", Most(1.15, 1.05), |r| {
        guard(r, "eval3", Window::server_cpu)
    }),
    ("T21", "guard, 3 calls, EVAL: op/s", Least(0.87, 0.95), |r| guard(r, "eval3", Window::rate)),
    ("T19", "wrong or failed replies", Most(0.0, 0.0), |r| Spread::of(vec![r.failures() as f64])),
];

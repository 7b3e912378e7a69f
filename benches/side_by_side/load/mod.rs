//! A lean load generator that checks every byte of every reply. It runs as a process of its own, so
//! that its processor time can be measured apart.
//!
//! Owns: the phases of a window, the account of what happened. Never knows: which program is the target.

mod closed;
mod connect;
mod histogram;
mod open;
mod quiet;
mod script;
mod spec;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{cpu_seconds, machine_seconds};
use histogram::Histogram;
pub use spec::{Report, Shape, Spec, Talk, Target};

/// The first argument of a process that generates load.
pub const WORD: &str = "generate-load";

/// Runs one window in a process of its own.
pub fn run(program: &Path, spec: &Spec) -> Report {
    let json = serde_json::to_string(spec).unwrap();
    let mut command = Command::new(program);
    command.args([WORD, &json]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().unwrap();
    assert!(output.status.success(), "the load generator failed: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The process that [`run`] starts.
pub fn main(json: &str) {
    let spec: Spec = serde_json::from_str(json).unwrap();
    let report = match spec.shape {
        Shape::Closed { .. } | Shape::Churn { .. } => closed::run(&spec),
        Shape::Open { connections, per_second } => open::run(&spec, connections, per_second),
    };
    println!("{}", serde_json::to_string(&report).unwrap());
}

/// What all connections add to.
#[derive(Debug, Default)]
struct AclUser {
    operations: u64,
    failures: u64,
    latency: Histogram,
}

impl AclUser {
    fn merge(&mut self, other: &Self) {
        self.operations += other.operations;
        self.failures += other.failures;
        self.latency.merge(&other.latency);
    }

    /// A failure; the first few are kept with their causes.
    fn fail(&mut self, what: &str) {
        self.failures += 1;
        if self.failures <= 3 {
            eprintln!("load generator: {what}");
        }
    }
}

/// What the clocks of the system show at one end of a window.
struct Mark {
    at: std::time::Instant,
    client: f64,
    watched: Vec<f64>,
    machine: f64,
}

impl Mark {
    fn new(watch: &[u32]) -> Self {
        Self {
            at: respgate::internals::base::clock::now(),
            client: cpu_seconds(std::process::id()),
            watched: watch.iter().map(|&pid| cpu_seconds(pid)).collect(),
            machine: machine_seconds(),
        }
    }
}

fn report(account: &AclUser, begin: &Mark, end: &Mark) -> Report {
    let seconds = (end.at - begin.at).as_secs_f64();
    let client_cpu = end.client - begin.client;
    let cpu: Vec<f64> = end.watched.iter().zip(&begin.watched).map(|(e, b)| e - b).collect();
    let ours = client_cpu + cpu.iter().sum::<f64>();
    let latency = &account.latency;
    Report {
        seconds,
        operations: account.operations,
        failures: account.failures,
        p50_us: latency.quantile_us(0.5),
        p99_us: latency.quantile_us(0.99),
        p999_us: latency.quantile_us(0.999),
        max_us: latency.max_us(),
        client_cpu,
        cpu,
        foreign: ((end.machine - begin.machine - ours) / seconds).max(0.0),
    }
}

const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

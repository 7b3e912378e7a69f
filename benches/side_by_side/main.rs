//! Measures respgate beside other ways to a Redis that accepts only mutual TLS, in one run.
//!
//! Owns: the order of rounds, the command line. Never knows: how load is made, what figures should be.
//!
//! ```text
//! cargo bench --bench side_by_side -- [--quick] [--only T1,T7] [--rounds 3] [--json out.json]
//! ```
//!
//! Contestants that are not installed are left out (Debian: haproxy, nginx with libnginx-mod-stream,
//! stunnel4; `RESPGATE_BENCH_ENVOY` names an Envoy binary, such as the one that
//! `tests/faults/run.sh --all` installs). Only rows of one run can be compared, and only on a machine
//! that does nothing else. `RESPGATE_BENCH_OTHER` names another build of respgate, to be compared with
//! this one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unnameable_types,
    missing_debug_implementations,
    reason = "a measurement may crash, prints, and counts in floating point"
)]

mod contestants;
mod load;
mod process;
mod report;
mod results;
mod single;
mod targets;
mod terminators;
mod workloads;

use std::path::{Path, PathBuf};

use clap::Parser;

use contestants::Field;
use load::Spec;
use results::{Results, Window};
use terminators::TERMINATORS;
use workloads::{WORKLOADS, Workload};

/// A window in which others kept more processors busy than this is repeated.
const FOREIGN_MAX: f64 = 0.25;

#[derive(Debug, Parser)]
#[command(about = "Measures respgate beside other proxies")]
struct Options {
    /// One short round.
    #[arg(long)]
    quick: bool,
    /// Only what these targets or workloads need, such as T1,T7.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long)]
    rounds: Option<usize>,
    #[arg(long)]
    window_ms: Option<u64>,
    /// Windows that may be repeated because others used the processors.
    #[arg(long, default_value_t = 12)]
    repeats: usize,
    #[arg(long)]
    json: Option<PathBuf>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut args = std::env::args().skip(1);
    if let (Some(load::WORD), Some(json)) = (args.next().as_deref(), args.next()) {
        return load::main(&json);
    }
    let options = Options::parse();
    let mut run = Run::new(&options);
    for round in 0..run.rounds {
        run.round(round);
    }
    let checks = targets::checks(&run.results);
    report::print(&run.results, &checks);
    if let Some(path) = &options.json {
        report::write_json(path, &run.results, &checks);
    }
}

struct Run<'a> {
    options: &'a Options,
    program: PathBuf,
    field: Field,
    rounds: usize,
    window_ms: u64,
    repeats_left: usize,
    results: Results,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options) -> Self {
        let chosen = |name: &str| {
            WORKLOADS
                .iter()
                .any(|workload| options.wants(workload.id) && workload.contestants.contains(&name))
        };
        Self {
            options,
            program: std::env::current_exe().unwrap(),
            field: Field::start(&TERMINATORS, chosen),
            rounds: options.rounds.unwrap_or(if options.quick { 1 } else { 3 }),
            window_ms: options.window_ms.unwrap_or(if options.quick { 400 } else { 1_200 }),
            repeats_left: options.repeats,
            results: Results::default(),
        }
    }

    /// Every workload once, with all its contestants in turn.
    fn round(&mut self, round: usize) {
        for workload in WORKLOADS.iter().filter(|workload| self.options.wants(workload.id)) {
            for name in workload.contestants {
                self.window(workload, name, round);
            }
        }
        if self.options.wants("large values") {
            single::large_values(&self.program, &self.field, self.window_ms, &mut self.results);
        }
        if self.options.wants("start") {
            single::start_and_rest(&self.field, round == 0, &mut self.results);
        }
        if self.options.wants("idle clients") && round == 0 {
            single::idle_clients(&self.field, &mut self.results);
        }
    }

    fn window(&mut self, workload: &Workload, name: &'static str, round: usize) {
        let Some(contestant) = self.field.get(name) else { return };
        let mut watch = vec![self.field.redis.pid()];
        watch.extend(self.field.proxy_pids(name));
        let spec = Spec {
            target: contestant.target.clone(),
            shape: workload.shape,
            talk: workload.talk,
            bulk_bytes: workload.bulk_bytes,
            warm_up_ms: self.window_ms / 5,
            window_ms: self.window_ms,
            watch,
        };
        let report = self.quiet_window(&self.program.clone(), &spec);
        eprintln!(
            "round {round}: {}: {name}: {:.0} op/s, foreign {:.2}",
            workload.title,
            report.rate(),
            report.foreign
        );
        self.results.windows.push(Window {
            workload: workload.id,
            contestant: name,
            round,
            report,
        });
    }

    /// A window in which the machine did little else, if one can be had.
    fn quiet_window(&mut self, program: &Path, spec: &Spec) -> load::Report {
        loop {
            let report = load::run(program, spec);
            if report.foreign <= FOREIGN_MAX || self.repeats_left == 0 {
                return report;
            }
            self.repeats_left -= 1;
        }
    }
}

impl Options {
    fn wants(&self, workload: &str) -> bool {
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|name| name == workload || targets::needs(name).contains(&workload))
    }
}

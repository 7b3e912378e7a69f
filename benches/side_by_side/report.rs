//! Results as a table for people and as JSON for programs.
//!
//! Owns: the form of both. Never knows: how figures come about.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::results::{Figure, Results, Spread, Window};
use crate::targets::Check;
use crate::workloads::{WORKLOADS, Workload};

/// Prints every workload, then every target.
pub fn print(results: &Results, checks: &[Check]) {
    for workload in WORKLOADS {
        if results.windows.iter().any(|window| window.workload == workload.id) {
            print_workload(results, &workload);
        }
    }
    if !results.single.is_empty() {
        println!("\n**respgate alone**\n\n| figure | median | range |\n|---|---|---|");
        for name in results.single.keys() {
            if let Some(spread) = results.single(name) {
                println!("| {name} | {} | {} |", number(spread.median), range(spread));
            }
        }
    }
    println!("\n**Targets** (ratios within a round, medians of rounds)\n");
    println!("| # | figure | measured | range | must | stretch | reached |");
    println!("|---|---|---|---|---|---|---|");
    for check in checks {
        let sign = if check.at_least { "≥" } else { "≤" };
        let (median, range) = check
            .figure
            .map_or_else(Default::default, |figure| (number(figure.median), range(figure)));
        let (must, stretch) = (check.must, check.stretch);
        println!(
            "| {} | {} | {median} | {range} | {sign} {must} | {sign} {stretch} | {} |",
            check.id,
            check.what,
            check.verdict()
        );
    }
    let foreign = Spread::of(results.windows.iter().map(|window| window.report.foreign).collect());
    if let Some(foreign) = foreign {
        println!(
            "\nProcessors kept busy by others during a window: {} (median; {}).",
            number(foreign.median),
            range(foreign)
        );
    }
}

fn print_workload(results: &Results, workload: &Workload) {
    println!("\n**{}**\n", workload.title);
    println!(
        "| | op/s | range | vs direct TLS | p50 µs | p99 µs | proxy µs/op | Redis µs/op | client µs/op | failures |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for name in workload.contestants {
        let Some(rate) = results.spread(workload.id, name, Window::rate) else { continue };
        let median = |figure: Figure| {
            results
                .spread(workload.id, name, figure)
                .map_or_else(String::new, |spread| number(spread.median))
        };
        let ratio =
            results.ratio((workload.id, name), (workload.id, &["direct TLS"]), Window::rate);
        let failures: u64 =
            results.of(workload.id, name).map(|window| window.report.failures).sum();
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {failures} |",
            number(rate.median),
            range(rate),
            ratio.map_or_else(String::new, |ratio| format!("{:.2}", ratio.median)),
            median(Window::p50),
            median(Window::p99),
            median(Window::proxy),
            median(Window::redis),
            median(Window::client),
        );
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100_000.0 => format!("{:.0} k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn range(spread: Spread) -> String {
    format!("{} – {}", number(spread.min), number(spread.max))
}

#[derive(Serialize)]
struct Document<'a> {
    windows: &'a [Window],
    single: &'a BTreeMap<&'static str, Vec<f64>>,
    checks: &'a [Check],
}

pub fn write_json(path: &Path, results: &Results, checks: &[Check]) {
    let document = Document { windows: &results.windows, single: &results.single, checks };
    std::fs::write(path, serde_json::to_vec_pretty(&document).unwrap()).unwrap();
}

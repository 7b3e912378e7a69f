//! What the kernel reports about this process, in the names every Prometheus client uses.
//!
//! Owns: [`Process`]. Never knows: respgate. Off Linux, or without `/proc`, it is silent.

use std::fs;
use std::sync::OnceLock;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::number::{counter, gauge};

/// Clock ticks per second in `/proc`: `USER_HZ`, 100 on every Linux (proc(5), `include/asm-generic/param.h`).
const TICKS: f64 = 100.0;

/// The collector; reads `/proc/self` at each scrape.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// Does not change, and `/proc/stat` is slow to read on large machines.
    started: OnceLock<Option<f64>>,
}

impl Process {
    pub(super) fn collect(&self, out: &mut Vec<MetricFamily>) {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
        let limits = read("/proc/self/limits");
        let started = *self.started.get_or_init(|| started(&stat, &read("/proc/stat")));
        let open = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        #[allow(clippy::cast_precision_loss, reason = "a count of files")]
        let open = open.map(|count| count.saturating_sub(1) as f64); // less the directory being read

        let mut push = |name: &str, help: &str, kind, value: Option<f64>| {
            let Some(value) = value else { return };
            out.push(single(name, help, kind, value));
        };
        let cpu = ticks(&stat, 11).zip(ticks(&stat, 12)).map(|(user, system)| user + system);
        push("process_cpu_seconds_total", "Processor time used.", MetricType::COUNTER, cpu);
        let memory = [
            ("process_resident_memory_bytes", "Memory in RAM.", "VmRSS:"),
            ("process_virtual_memory_bytes", "Address space.", "VmSize:"),
        ];
        for (name, help, row) in memory {
            push(name, help, MetricType::GAUGE, field(&status, row, 1).map(|kib| kib * 1024.0));
        }
        push("process_open_fds", "Open file descriptors.", MetricType::GAUGE, open);
        let cap = field(&limits, "Max open files", 3);
        push("process_max_fds", "Cap of open file descriptors.", MetricType::GAUGE, cap);
        let threads = field(&status, "Threads:", 1);
        push("process_threads", "Threads of the process.", MetricType::GAUGE, threads);
        let help = "Start of the process, seconds since 1970.";
        push("process_start_time_seconds", help, MetricType::GAUGE, started);
    }
}

fn single(name: &str, help: &str, kind: MetricType, value: f64) -> MetricFamily {
    let metric: Metric =
        if kind == MetricType::COUNTER { counter(&[], value) } else { gauge(&[], value) };
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

/// A time of `/proc/self/stat` in seconds; places count from the state, which follows the name.
fn ticks(stat: &str, place: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    Some(after_name.split_ascii_whitespace().nth(place)?.parse::<f64>().ok()? / TICKS)
}

/// The word at `place` of the line that begins with `row`.
fn field(text: &str, row: &str, place: usize) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(row))?;
    line.split_ascii_whitespace().nth(place)?.parse().ok()
}

fn started(stat: &str, machine: &str) -> Option<f64> {
    Some(field(machine, "btime", 1)? + ticks(stat, 19)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b) c) S 1 7 7 0 -1 4194304 5 0 0 0 250 50 0 0 20 0 3 0 4200 1 1";

    #[test]
    fn name_with_parentheses_does_not_shift_the_fields() {
        assert_eq!((ticks(STAT, 11), ticks(STAT, 12)), (Some(2.5), Some(0.5)));
        assert_eq!(started(STAT, "cpu 1\nbtime 1000\n"), Some(1042.0));
        assert_eq!(ticks("", 11), None);
    }

    #[test]
    fn rows_are_found_by_name() {
        let limits =
            "Limit  Soft  Hard\nMax open files            1024                 4096  files\n";
        assert_eq!(field(limits, "Max open files", 3), Some(1024.0));
        assert_eq!(field("VmRSS:\t  12 kB\n", "VmRSS:", 1), Some(12.0));
        assert_eq!(field("Max open files unlimited", "Max open files", 3), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn own_process_is_described() {
        let mut out = Vec::new();
        Process::default().collect(&mut out);
        let of = |name: &str| {
            let family = out.iter().find(|f| f.name() == name).unwrap();
            family.get_metric()[0].get_gauge().get_value()
        };
        assert_eq!(out.len(), 7);
        assert!(of("process_resident_memory_bytes") > 100_000.0);
        assert!(of("process_threads") >= 1.0);
        assert!(of("process_open_fds") >= 3.0 && of("process_open_fds") < of("process_max_fds"));
        assert!(of("process_start_time_seconds") > 1.6e9);
    }
}

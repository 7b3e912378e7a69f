//! The processes of one run: starting, waiting for, and the cost that the system reports.
//!
//! Owns: [`Process`], the readers of `/proc`. Never knows: what a process does.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use respgate::internals::base::clock::now;

/// Ticks of `/proc/PID/stat` per second; the same on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A child of this run; ended on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose words go to `NAME.log` in `directory`.
    pub fn start(directory: &Path, name: &str, program: &OsStr, args: &[&OsStr]) -> Self {
        let path = directory.join(format!("{name}.log"));
        let log = std::fs::File::create(&path).unwrap();
        let child = Command::new(program)
            .args(args)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
        Self { child, log: path }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process listens on the port.
    pub fn await_port(mut self, port: u16) -> Self {
        let deadline = now() + START_PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("a process ended at its start: {status}\n{log}");
            }
            assert!(now() < deadline, "no process listens: {}", self.log.display());
            std::thread::sleep(Duration::from_millis(5));
        }
        self
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port on which no process listens at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The first of these files that exists, or a program of that name on the `PATH`.
pub fn find_program(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(PathBuf::from(path)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let candidates: Vec<PathBuf> =
        places.flat_map(|place| names.iter().map(move |name| place.join(name))).collect();
    candidates.into_iter().find(|path| path.is_file())
}

/// Seconds of processor time a process has used, user and system.
pub fn cpu_seconds(pid: u32) -> f64 {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    // The name in parentheses may hold anything; fields are counted behind it.
    let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>()
        / TICKS_PER_SECOND
}

/// Seconds that all processors together were busy, stolen time included.
pub fn machine_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    [0, 1, 2, 5, 6, 7].iter().filter_map(|&i: &usize| fields.get(i)).sum::<f64>() / TICKS_PER_SECOND
}

/// A field of `/proc/PID/status` in KiB, `VmRSS` or `VmHWM`.
pub fn memory_kib(pid: u32, field: &str) -> f64 {
    status(pid, field).unwrap_or_default()
}

/// How often the process's threads went to sleep by themselves.
pub fn sleeps(pid: u32) -> f64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| status(id, "voluntary_ctxt_switches")).sum()
}

fn status(pid: u32, field: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

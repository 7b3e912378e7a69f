//! Figures of respgate alone: its start, its rest, its memory under idle clients and large values.
//!
//! Owns: those measurements. Never knows: what the figures should be.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use respgate::internals::base::clock::now;

use crate::contestants::{Field, RULES};
use crate::load::{self, Shape, Spec, Talk, Target};
use crate::process::{cpu_seconds, memory_kib, sleeps};
use crate::results::Results;

const IDLE_CLIENTS: usize = 9_500;
const IDLE_SECONDS: f64 = 5.0;

/// What a run does with large values.
pub fn large_values(program: &Path, field: &Field, window_ms: u64, results: &mut Results) {
    let (process, port) = field.start_respgate("large", RULES, None);
    let spec = Spec {
        target: Target::Tcp(port),
        shape: Shape::Closed { connections: 2 },
        talk: Talk { value_bytes: 10 << 20, pipeline: 1, ..Talk::default() },
        bulk_bytes: None,
        warm_up_ms: 0,
        window_ms,
        watch: vec![process.pid()],
    };
    let report = load::run(program, &spec);
    assert_eq!(report.failures, 0, "large values failed");
    note(results, "large peak MiB", memory_kib(process.pid(), "VmHWM") / 1024.0);
}

/// From the start of the process to the first answered GET, then at rest.
pub fn start_and_rest(field: &Field, rest: bool, results: &mut Results) {
    let begin = now();
    let (process, port) = field.spawn_respgate("fresh", RULES, None);
    let mut client = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(client) => break client,
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
        assert!(now() - begin < Duration::from_secs(10), "respgate does not listen");
    };
    get(&mut client);
    note(results, "start ms", (now() - begin).as_secs_f64() * 1e3);
    if !rest {
        return;
    }
    drop(client);
    std::thread::sleep(Duration::from_secs(1));
    let pid = process.pid();
    let (cpu, slept) = (cpu_seconds(pid), sleeps(pid));
    std::thread::sleep(Duration::from_secs_f64(IDLE_SECONDS));
    note(results, "idle cpu", cpu_seconds(pid) - cpu);
    note(results, "idle wake-ups per s", (sleeps(pid) - slept) / IDLE_SECONDS);
    note(results, "idle MiB", memory_kib(pid, "VmRSS") / 1024.0);
}

/// Clients that have asked once and then stay.
pub fn idle_clients(field: &Field, results: &mut Results) {
    let (process, port) = field.start_respgate("idle", RULES, None);
    get(&mut TcpStream::connect(("127.0.0.1", port)).unwrap());
    let pid = process.pid();
    let before = memory_kib(pid, "VmRSS");
    let clients: Vec<TcpStream> = (0..IDLE_CLIENTS)
        .map(|_| {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            get(&mut client);
            client
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1_500));
    let kib = (memory_kib(pid, "VmRSS") - before) / clients.len() as f64;
    note(results, "KiB per idle client", kib);
    // One that carries commands, and one kept warm for those that need a connection of their own.
    note(results, "redis connections", connections(pid, field.tls_port) as f64);
    drop(clients);
    std::thread::sleep(Duration::from_millis(1_500));
    note(results, "MiB after they left", memory_kib(pid, "VmRSS") / 1024.0);
}

fn note(results: &mut Results, name: &'static str, value: f64) {
    results.single.entry(name).or_default().push(value);
}

/// Sends `GET` for a key that does not exist.
fn get(client: &mut TcpStream) {
    client.set_nodelay(true).unwrap();
    client.write_all(b"*2\r\n$3\r\nGET\r\n$12\r\napp1:nothing\r\n").unwrap();
    let mut reply = [0; 5];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"$-1\r\n", "{}", String::from_utf8_lossy(&reply));
}

/// How many of the process's sockets are connected to `port`.
fn connections(pid: u32, port: u16) -> usize {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let own: HashSet<String> = fds
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let remote = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[2].ends_with(&remote) && own.contains(fields[9])
    };
    let tables = ["tcp", "tcp6"].map(|name| format!("/proc/{pid}/net/{name}"));
    let tables = tables.map(|path| std::fs::read_to_string(path).unwrap());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter(is_one).count()
}

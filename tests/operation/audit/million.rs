//! Many events over a full disk, a syslog server that is away and rotations: what is not written is counted.
//!
//! Owns: the case. Never knows: how entries are made.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::overflow::{counted, deny};
use super::support::proxy::{Proxy, directory};
use super::support::real_server::{Brand, Server, free_port, wait_until};
use super::{proxy, verify};

/// Events of one sink: those that are written, and those that entries `gap` report as lost.
fn written_and_lost(lines: impl Iterator<Item = String>) -> (u64, u64) {
    let (mut written, mut lost) = (0, 0);
    for line in lines {
        let entry: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        match entry["event"].as_str().unwrap() {
            "begin" => {}
            "gap" => lost += entry["lost"].as_u64().unwrap(),
            _ => written += 1,
        }
    }
    (written, lost)
}

/// The files of a directory that one sink has written, the oldest first.
fn files(directory: &Path, sink: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of_sink = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(sink);
    let mut files: Vec<PathBuf> = entries.filter(of_sink).collect();
    files.sort_by_key(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        first["seq"].as_u64().unwrap()
    });
    files
}

fn of_files(files: &[PathBuf]) -> (u64, u64) {
    let text = |file| std::fs::read_to_string(file).unwrap();
    let all =
        files.iter().flat_map(|file| text(file).lines().map(str::to_owned).collect::<Vec<_>>());
    written_and_lost(all)
}

/// Waits until so many events of each sink are written or counted as lost, two files and a syslog server: at its end a
/// process waits for its sinks no longer than two seconds.
fn await_sinks(proxy: &Proxy, events: u64) {
    for (sink, count) in [("file", 2 * events), ("syslog", events)] {
        wait_until(&format!("{sink} has taken its events"), || {
            let of = |result: &str| {
                let labels = format!("{{sink={sink:?},result={result:?}}}");
                proxy.metric(&format!("respgate_audit_events_total{labels}"))
            };
            of("written") + of("dropped") >= count as f64
        });
    }
}

#[test]
fn offered_events_are_written_or_counted_over_a_full_disk_a_dead_syslog_and_rotations() {
    let commands: u64 =
        if std::env::var_os("RESPGATE_TEST_ALL").is_some() { 1_000_000 } else { 20_000 };
    let (server, directory) = (Server::mutual_tls(Brand::Redis), directory());
    let path = |name: &str| directory.path().join(name);
    let (whole, full, port) = (path("whole.log"), path("full.log"), free_port());
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let size = commands * 10;
    let sinks = format!(
        "[audit]\nqueue = \"256KiB\"\n\
         [[audit.sink]]\ntype = \"file\"\npath = {whole:?}\nmax_bytes = \"{size}\"\nmax_files = 900\nfsync = \"never\"\n\
         [[audit.sink]]\ntype = \"file\"\npath = {full:?}\nmax_bytes = \"0\"\nfsync = \"never\"\n\
         [[audit.sink]]\ntype = \"syslog\"\naddress = \"tcp://127.0.0.1:{port}\"\n"
    );
    let mut running = proxy(&server, &sinks);
    let half = usize::try_from(commands / 2).unwrap();
    deny(&running, half);
    // The disk has room again, another program rotates a file, and the syslog server comes back.
    std::fs::remove_file(&full).unwrap();
    std::fs::rename(&whole, path("whole.moved")).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let receiver = std::thread::spawn(move || {
        let (mut text, (mut stream, _)) = (String::new(), listener.accept().unwrap());
        stream.read_to_string(&mut text).unwrap();
        counted(&text)
    });
    wait_until("all sinks take entries again", || {
        running.log().matches("AUD-I001").count() >= 2 && full.exists()
    });
    deny(&running, half);
    await_sinks(&running, commands);
    assert!(running.terminate().success());
    // Two clients of this test, and what the harness asked before; start and stop.
    let entries = receiver.join().unwrap();
    let (written, lost) = written_and_lost(entries.iter().cloned());
    let received = path("received");
    std::fs::write(&received, entries.join("\n")).unwrap();
    let offered = written + lost;
    assert!(lost > 0 && (commands + 4..commands + 40).contains(&offered), "{written} {lost}");
    let (written, lost) = of_files(std::slice::from_ref(&full));
    assert!(lost > 0 && written + lost == offered, "{written} {lost} of {offered}");
    let all = files(directory.path(), "whole.");
    let (written, lost) = of_files(&all);
    assert_eq!(written + lost, offered, "{written} {lost}");
    assert!(all.len() > 8, "{all:?}");
    for files in [&all, &vec![full.clone()], &vec![received]] {
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let (good, printed) = verify(&[], &files);
        assert!(good, "{printed}");
    }
    // Another process goes on behind it.
    drop(running);
    let mut next = proxy(&server, &sinks);
    deny(&next, 1000);
    assert!(next.terminate().success());
    let (good, printed) = verify(&[], &[&full]);
    assert!(good, "{printed}");
}

//! `respgate audit recent --follow` beside a running respgate.
//!
//! Owns: the cases. Never knows: how the follower gets entries.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::support::proxy::{Proxy, directory};
use super::support::real_server::{Brand, Server, wait_until};
use super::{file_sink, proxy};

/// A follower and what it has printed.
struct Follower {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Follower {
    fn start(socket: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
        let command = command.args(["audit", "recent", "--follow", "--json", "--socket"]);
        let mut child = command.arg(socket).stdout(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (kept, stdout) = (Arc::clone(&lines), BufReader::new(child.stdout.take().unwrap()));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, lines }
    }

    fn count(&self, event: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line["event"] == event).count()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

fn deny(proxy: &Proxy, count: usize) {
    let mut client = proxy.client();
    for _ in 0..count {
        client.ask(&["FLUSHALL"]);
    }
}

#[test]
fn follower_shows_each_entry_over_a_reload_and_reports_what_it_missed() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), directory());
    let socket = directory.path().join("admin.sock");
    let sink = file_sink(&directory.path().join("audit.log"));
    let proxy = proxy(
        &server,
        &format!("[admin]\nsocket = {socket:?}\n[audit]\nconnections = false\n{sink}"),
    );
    deny(&proxy, 30);
    let mut follower = Follower::start(&socket);
    wait_until("the newest entries are shown", || follower.count("denied") == 10);
    deny(&proxy, 5);
    wait_until("new entries are shown", || follower.count("denied") == 15);
    let file = proxy.configuration_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("-flushall", "-flushall -flushdb")).unwrap();
    proxy.hang_up();
    wait_until("the reload is shown", || follower.count("reload") >= 1);
    deny(&proxy, 5);
    wait_until("entries after it are shown", || follower.count("denied") == 20);
    // More entries come than are kept while the follower does not run.
    follower.signal("-STOP");
    deny(&proxy, 1500);
    follower.signal("-CONT");
    wait_until("it reports what it missed", || follower.count("missed") == 1);
    let missed = |line: &Value| line["entries"].as_u64().filter(|_| line["event"] == "missed");
    wait_until("every entry is shown or missed", || {
        let lines = follower.lines.lock().unwrap();
        let missed: u64 = lines.iter().filter_map(missed).sum();
        let shown = lines.iter().filter(|line| line["event"] == "denied").count() as u64;
        missed > 0 && shown + missed == 1520
    });
    follower.signal("-INT");
    assert_eq!(follower.child.wait().unwrap().code(), Some(0));
}

//! What an operator sees of a running respgate: its telemetry, its log.
//!
//! Owns: reading both. Never knows: what the figures should be.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::client::PATIENCE;
use super::proxy::Proxy;
use super::real_server::wait_until;

impl Proxy {
    /// Status and body of a GET of the telemetry server.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).unwrap()
    }

    /// The same; `None` when the process has ended.
    pub fn try_get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.telemetry_port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The value of one series, such as `respgate_state{state="ready"}`; 0 while it is missing.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The sum of a metric over all its labels.
    pub fn sum(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let own = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        own.map(|rest| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub fn await_metric(&self, series: &str, mut is_right: impl FnMut(f64) -> bool) {
        wait_until(series, || is_right(self.metric(series)));
    }

    /// Waits until the log has a line with all of these words, and returns it.
    pub fn await_log(&self, words: &[&str]) -> String {
        let mut found = None;
        wait_until(&format!("the log has {words:?}"), || {
            let log = self.log();
            found = log
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .map(Into::into);
            found.is_some()
        });
        found.unwrap()
    }

    /// Changes the configuration: never half of it is there to be read.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let file = self.configuration_file();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from:?} is not in the configuration");
        let beside = file.with_extension("beside");
        std::fs::write(&beside, text.replace(from, to)).unwrap();
        std::fs::rename(beside, file).unwrap();
    }
}

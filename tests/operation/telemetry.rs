//! The telemetry server as its users see it: over a socket, judged by `promtool`.
//!
//! Owns: what the exposition and the probes promise. Never knows: how they are made.
use crate::support;
#[path = "../support/certs.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod certs;
mod failures;
mod insight;
mod lean;
mod moves;
mod scenes;
mod stir;
mod tls_listener;

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use respgate::internals::admin::{self, AdminHandle, Health};
use respgate::internals::base::clock;
use respgate::internals::config;
use respgate::internals::telemetry::{Metrics, Telemetry};
use stir::stir;
use support::real_server::free_port;

struct House {
    server: AdminHandle,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

fn house() -> House {
    let health = Arc::new(Health::new(clock::now()));
    let metrics = Arc::new(Metrics::default());
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listener = TcpListener::bind(address).unwrap();
    let server = admin::serve(listener, Arc::clone(&health), Arc::clone(&metrics)).unwrap();
    House { server, health, metrics }
}

impl House {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Everything the server answers to `request` until it closes.
    fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is as good as a close.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    /// Head and body of a GET.
    fn get(&self, path: &str) -> (String, String) {
        let answer = self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        (head.to_owned(), body.to_owned())
    }
}

fn series(exposition: &str) -> impl Iterator<Item = &str> {
    exposition.lines().filter(|line| !line.starts_with('#'))
}

/// What `promtool check metrics` has against the text; `None` where there is no promtool.
fn promtool(exposition: &str) -> Option<String> {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "promtool: {e}");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let mut printed = String::from_utf8(output.stdout).unwrap();
    printed.push_str(std::str::from_utf8(&output.stderr).unwrap());
    assert_eq!(printed.is_empty(), output.status.success(), "{printed}");
    Some(printed)
}

#[test]
fn promtool_is_content() {
    let house = house();
    for stirred in [false, true] {
        if stirred {
            stir(&house.metrics);
        }
        let (head, body) = house.get("/metrics");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        if let Some(printed) = promtool(&body) {
            assert_eq!(printed, "", "stirred: {stirred}");
        }
    }
    let unfit = "# HELP respgate_x x\n# TYPE respgate_x counter\nrespgate_x 1\n";
    if let Some(printed) = promtool(unfit) {
        assert!(printed.contains("_total"), "{printed}");
    }
}

#[test]
fn fresh_process_has_few_series_and_none_twice() {
    let house = house();
    let (_, body) = house.get("/metrics");
    let names: Vec<&str> = series(&body).filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() <= 400, "{} series", names.len());
    assert!(names.len() >= 200, "{} series", names.len());
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
}

#[test]
fn every_metric_of_the_catalogue_appears_with_its_help() {
    let house = house();
    stir(&house.metrics);
    let (_, body) = house.get("/metrics");
    for (name, help) in Metrics::CATALOGUE {
        assert!(body.contains(&format!("# HELP {name} {help}\n")), "{name}");
        assert!(help.ends_with('.') && !help.starts_with(' '), "{name}: {help}");
        assert!(series(&body).any(|line| line.starts_with(name)), "{name}");
    }
    let total = series(&body).count();
    assert!(total <= 550, "{total} series with everything stirred");
}

#[test]
fn probes_follow_the_facts() {
    let house = house();
    let status = |path| house.get(path).0.lines().next().unwrap_or_default().to_owned();
    assert_eq!(status("/livez"), "HTTP/1.1 200 OK");
    assert_eq!(status("/startupz"), "HTTP/1.1 503 Service Unavailable");
    house.health.set_listeners_bound(true);
    house.health.set_started();
    assert_eq!(house.get("/startupz").1, "ok\n");
    assert_eq!(house.get("/readyz").1, "ok\n");
    house.health.set_draining();
    let (head, body) = house.get("/readyz");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(body.contains("[-]not-draining failed\n"), "{body}");
    assert_eq!(house.get("/livez?verbose").1, "[+]ping ok\n[+]worker ok\nlivez check passed\n");
}

#[test]
fn foreign_requests_are_refused_and_the_connection_ends() {
    let house = house();
    assert!(house.get("/").0.starts_with("HTTP/1.1 404 "));
    let post = house.exchange("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");
    let head = house.exchange("HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(house.exchange("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 20));
    let mut stream = house.connect();
    let _ = stream.write_all(long.as_bytes());
    assert!(house.get("/livez").0.starts_with("HTTP/1.1 200 "), "still serving");
    assert!(house.get("/livez").0.contains("connection: close"), "one request each");
}

#[test]
fn silent_clients_do_not_keep_the_others_out() {
    let house = house();
    let mut silent: Vec<TcpStream> = (0..200).map(|_| house.connect()).collect();
    assert_eq!(house.get("/livez").1, "ok\n");
    // Sooner than the header's deadline would end it.
    silent[0].set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let end = silent[0].read(&mut [0]);
    assert!(!end.is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "the oldest gave way");
    let youngest = silent.last_mut().unwrap();
    youngest.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(youngest.read(&mut [0; 512]).unwrap() > 0, "the youngest is served");
}

#[test]
fn stopping_frees_the_port_while_a_client_is_connected() {
    let house = house();
    let mut client = house.connect();
    assert_eq!(house.get("/livez").1, "ok\n");
    let address = house.server.address();
    house.server.stop();
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "closed");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn log_is_installed_once_per_process() {
    let settings = config::Telemetry { log_level: "off".to_owned(), ..Default::default() };
    let telemetry = Telemetry::start(&settings).unwrap();
    telemetry.log.set_level("error").unwrap();
    assert!(Telemetry::start(&settings).is_err());
    let unfit = config::Telemetry { log_level: "respgate=loud".to_owned(), ..settings };
    assert!(Telemetry::silent(&unfit).is_err());
}

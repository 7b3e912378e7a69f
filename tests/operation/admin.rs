//! The admin server: each verb by its subcommand, over the Unix socket and over TCP, and what is refused.
//!
//! Owns: the cases. Never knows: how a verb is answered.
use crate::support;
mod blocks;
mod house;
mod live;
mod load;
#[path = "secrets/search.rs"]
mod search;
mod secrets;
mod shapes;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use house::{AdminState, TOKEN};

#[test]
fn socket_belongs_to_its_owner_and_leaves_nothing_behind() {
    let mut house = AdminState::new("");
    let mode = std::fs::metadata(&house.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names = |house: &AdminState| -> Vec<String> {
        let entries = std::fs::read_dir(house.proxy.directory()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert!(names(&house).iter().all(|name| !name.starts_with('.')), "{:?}", names(&house));
    assert!(house.proxy.terminate().success());
    assert!(!names(&house).iter().any(|name| name.ends_with(".sock")), "{:?}", names(&house));
}

#[test]
fn reload_reports_the_result_of_each_part() {
    let house = AdminState::new("");
    let (code, printed) = house.ask(&["reload"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("config        unchanged"), "{printed}");
    let file = house.proxy.configuration_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n[limits]\nmax_clients = 77\n")).unwrap();
    let (code, json) = house.ask(&["reload", "--json"]);
    assert_eq!(code, 0, "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["ok"], true);
    // The watch may have been faster.
    assert!(json["parts"][0]["part"] == "config", "{json}");
    std::fs::write(&file, "nonsense").unwrap();
    let (code, printed) = house.ask_at(&["reload", "--socket", &house.socket]);
    assert!(code == 1 && printed.contains("config        rejected: "), "{code} {printed}");
    house.proxy.await_log(&["ADM-W002", "verb=\"reload\"", "by=uid"]);
    std::fs::write(&file, text).unwrap();
    assert_eq!(house.ask(&["reload"]).0, 0);
    house.proxy.await_log(&["ADM-I001", "verb=\"reload\"", "by=uid"]);
}

/// The server is silent, and before one reload has ended the next is requested.
#[test]
fn verbs_are_answered_while_signals_request_reloads_without_end() {
    let mut house = AdminState::new("[upstream.pool]\nconnect_timeout = \"1s\"");
    house.server.hold();
    house.server.pki.as_mut().unwrap().rotate();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Relaxed) {
                house.proxy.hang_up();
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        std::thread::sleep(Duration::from_millis(1500));
        let reloaded = house.ask(&["reload"]);
        let stopped = house.ask(&["shutdown"]);
        ended.store(true, Relaxed);
        assert!(reloaded.0 == 1 && reloaded.1.contains("tls_identity  rejected"), "{reloaded:?}");
        assert_eq!(stopped.0, 0, "{stopped:?}");
    });
    house.server.release();
    let status = house.proxy.ended_within(Duration::from_secs(30)).expect("it exits");
    assert!(status.success(), "{status}");
}

#[test]
fn respgate_is_found_by_flag_by_configuration_and_by_environment() {
    let house = AdminState::new("");
    let config = house.proxy.configuration_file();
    let config = config.to_str().unwrap();
    for (arguments, variables) in [
        (vec!["reload", "--socket", &house.socket], vec![]),
        (vec!["reload", "--config", config], vec![]),
        (vec!["reload"], vec![("RESPGATE__ADMIN__SOCKET", &*house.socket)]),
    ] {
        let (code, printed) = house::respgate(&arguments, &variables);
        assert_eq!(code, 0, "{arguments:?}: {printed}");
    }
    let (code, printed) = house::respgate(&["reload"], &[]);
    assert!(code == 2 && printed.contains("--socket PATH or --config FILE"), "{code} {printed}");
    let (code, printed) = house::respgate(&["reload", "--socket", config], &[]);
    assert!(code == 3 && printed.contains("no respgate listens there"), "{code} {printed}");
    let token = ["reload", "--admin-address", "127.0.0.1:1", "--token-file", "/nonexistent"];
    let (code, printed) = house::respgate(&token, &[]);
    assert!(
        code == 2 && printed.contains("--token-file: /nonexistent: No such file"),
        "{code} {printed}"
    );
    let (code, printed) = house::respgate(&["reload", "--socket", "/nonexistent/x.sock"], &[]);
    assert!(code == 3 && printed.contains("[admin] socket"), "{code} {printed}");
    let (code, printed) = house::respgate(&["reload", "--config", "/nonexistent.toml"], &[]);
    assert!(code == 2 && printed.contains("No such file"), "{code} {printed}");
}

#[test]
fn tcp_needs_the_token_and_takes_a_new_one_at_once() {
    let house = AdminState::with_address();
    let address = house.address();
    let file = house.token_file();
    let ask = |file: &str| {
        house::respgate(&["reload", "--admin-address", &address, "--token-file", file], &[])
    };
    assert_eq!(ask(&file).0, 0);
    house.proxy.await_log(&["ADM-I001", "by=token"]);
    let other = house.proxy.directory().join("other").to_str().unwrap().to_owned();
    std::fs::write(&other, "another-token-of-an-operator").unwrap();
    let (code, printed) = ask(&other);
    assert!(code == 1 && printed.contains("the token is wrong"), "{code} {printed}");
    std::fs::write(&file, "another-token-of-an-operator\n").unwrap();
    assert_eq!(ask(&other).0, 0);
    std::fs::write(&file, "short").unwrap();
    let (code, printed) = ask(&other);
    assert!(
        code == 1 && printed.contains("cannot read its [admin] token_file"),
        "{code} {printed}"
    );
    let log = house.proxy.log();
    assert!(!log.contains(TOKEN) && !log.contains("another-token"), "{log}");
}

/// One exchange over TCP.
fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn requests_of_web_pages_are_refused() {
    let house = AdminState::with_address();
    let address = house.address();
    let head = |verb: &str, host: &str, rest: &str| {
        format!("{verb} HTTP/1.1\r\nHost: {host}\r\n{rest}Content-Length: 0\r\n\r\n")
    };
    let (own, marked) = (&*address, "X-Respgate-Admin: 1\r\n");
    let bearer = format!("{marked}Authorization: Bearer {TOKEN}\r\n");
    for (request, status) in [
        (head("POST /reload", own, &bearer), "200"),
        (head("POST /reload?", own, &bearer), "200"),
        (head("POST /reload", own, marked), "401"),
        (head("POST /reload", own, &format!("{marked}Authorization: Bearer x\r\n")), "401"),
        (head("POST /reload", own, &format!("Authorization: Bearer {TOKEN}\r\n")), "403"),
        (head("POST /reload", "rebound.example.com", &bearer), "421"),
        (head("POST http://rebound.example.com/reload", own, &bearer), "421"),
        (head("GET /reload", own, &bearer), "405"),
        (head("GET /learned", own, marked), "401"),
        (head("GET /learned", own, &bearer), "200"),
        (head("POST /nothing", own, &bearer), "404"),
        (head("GET /", own, ""), "403"),
        (head("POST /reload?a=1", own, &bearer), "400"),
        (head("POST /reload?a=%zz", own, &bearer), "400"),
    ] {
        let answer = exchange(&address, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert!(!answer.contains(TOKEN));
    }
    house.proxy.await_log(&["ADM-W001", "names another machine"]);
    let count =
        house.proxy.metric("respgate_admin_requests_total{endpoint=\"change\",code_class=\"4xx\"}");
    assert!(count > 5.5, "{count}");
}

#[test]
fn bodies_headers_and_connections_have_limits() {
    let house = AdminState::with_address();
    let address = house.address();
    let bearer = format!("X-Respgate-Admin: 1\r\nAuthorization: Bearer {TOKEN}\r\n");
    let large = 65 * 1024;
    let request = format!(
        "POST /explain HTTP/1.1\r\nHost: localhost\r\n{bearer}Content-Length: {large}\r\n\r\n{}",
        "x".repeat(large)
    );
    let mut stream = TcpStream::connect(&address).unwrap();
    let _ = stream.write_all(request.as_bytes());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let long =
        format!("POST /reload HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(exchange(&address, &long).starts_with("HTTP/1.1 431"));
    // Connections that send nothing keep no operator out, over either way.
    let idle: Vec<_> = (0..100).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let quiet: Vec<_> = (0..100).map(|_| UnixStream::connect(&house.socket).unwrap()).collect();
    let (code, printed) = house.ask(&["reload"]);
    assert_eq!(code, 0, "{printed}");
    let file = house.token_file();
    let words = ["reload", "--admin-address", &*address, "--token-file", &*file];
    assert_eq!(house::respgate(&words, &[]).0, 0);
    drop((idle, quiet));
}

#[test]
fn clients_are_listed_and_disconnected() {
    let house = AdminState::new("");
    let (mut one, mut other) = (house.proxy.client(), house.proxy.client());
    assert_eq!(one.ask_text(&["CLIENT", "SETNAME", "worker"]), "+OK");
    assert_eq!(one.ask_text(&["SET", "a", "secret-value"]), "+OK");
    assert_eq!(other.ask_text(&["PING"]), "+PONG");
    let (code, printed) = house.ask(&["clients"]);
    assert!(code == 0 && printed.contains("worker") && printed.contains("2 clients"), "{printed}");
    assert!(
        printed.lines().all(|line| line.len() <= 80) && !printed.contains("secret"),
        "{printed}"
    );
    let json = house.json(&["clients", "--name", "worker"]);
    assert_eq!((&json["count"], &json["clients"][0]["commands"]), (&1.into(), &2.into()), "{json}");
    assert_eq!(json["clients"][0]["listener"], house.listener(), "{json}");
    let id = json["clients"][0]["id"].as_u64().unwrap().to_string();
    let (code, printed) = house.ask(&["disconnect"]);
    assert!(code == 2 && printed.contains("--user"), "{printed}");
    assert_eq!(house.ask(&["disconnect", "--id", &id, "--user", "stranger"]).0, 1);
    let (code, printed) = house.ask(&["disconnect", "--name", "worker"]);
    assert!(code == 0 && printed.contains("disconnected 1 client"), "{printed}");
    house::await_end(&mut one);
    assert_eq!(other.ask_text(&["PING"]), "+PONG");
    let (code, printed) = house.ask(&["disconnect", "--address", "127.0.0.1"]);
    assert!(code == 0 && printed.contains("disconnected 1 client"), "{printed}");
    house::await_end(&mut other);
    house.proxy.await_log(&["ADM-I001", "verb=\"disconnect\"", "name=worker"]);
}

#[test]
fn log_level_changes_for_a_while() {
    let house = AdminState::new("");
    let (code, printed) = house.ask(&["log-level", "debug", "--for", "1s"]);
    assert!(code == 0 && printed.contains("debug until 20"), "{printed}");
    assert_eq!(house.json(&["status"])["log"]["level"], "debug");
    house.await_status(|status| status["log"]["level"] == "info");
    let (code, _) = house.ask(&["log-level", "trace", "--target", "respgate::internals::tls"]);
    assert_eq!(code, 0);
    assert_eq!(house.json(&["status"])["log"]["level"], "info,respgate::internals::tls=trace");
    assert_eq!(house.ask(&["reload"]).0, 0);
    assert_eq!(house.json(&["status"])["log"]["level"], "info,respgate::internals::tls=trace");
    assert_eq!(house.ask(&["log-level", "default"]).0, 0);
    assert_eq!(house.json(&["status"])["log"]["level"], "info");
    // Over reloads it lasts until its end; then what the configuration has by now is in force.
    assert_eq!(house.ask(&["log-level", "trace", "--for", "2s"]).0, 0);
    let file = house.proxy.configuration_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let warn = text.replace("[telemetry]", "[telemetry]\nlog_level = \"warn\"");
    std::fs::write(&file, warn).unwrap();
    assert_eq!(house.ask(&["reload"]).0, 0);
    let log = house.json(&["status"])["log"].clone();
    // A slow machine may have come to its end.
    assert!(log["level"] == "trace" || log["level"] == "warn", "{log}");
    assert_eq!(log["configured"], "warn");
    house.await_status(|status| status["log"]["level"] == "warn");
    assert_eq!(house.json(&["status"])["log"]["until"], serde_json::Value::Null);
    for bad in [&["log-level", "loud"][..], &["log-level", "debug", "--for", "never"]] {
        assert_eq!(house.ask(bad).0, 2, "{bad:?}");
    }
}

#[test]
fn status_is_one_screen_and_begins_with_what_is_wrong() {
    let mut house = AdminState::new("");
    assert_eq!(house.proxy.client().ask_text(&["PING"]), "+PONG");
    let (code, printed) = house.ask(&["status"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
    assert!(printed.lines().count() <= 24, "{printed}");
    for part in
        ["all is well", "ready", "up, redis ", "breaker closed", "generation 1", "policy: enforce"]
    {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
    let file = house.proxy.configuration_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[policy]", "[policy]\nnonsense = 1")).unwrap();
    assert_eq!(house.ask(&["reload"]).0, 1);
    let (code, printed) = house.ask(&["status"]);
    let first = printed.lines().nth(1).unwrap();
    assert!(
        code == 1 && first.starts_with("! REL-E001 reload of config was rejected"),
        "{printed}"
    );
    std::fs::write(&file, text).unwrap();
    assert_eq!(house.ask(&["reload"]).0, 0);
    house.server.stop();
    house.await_status(|status| status["upstream"]["down_seconds"].is_u64());
    let (code, printed) = house.ask(&["status"]);
    assert!(
        code == 1 && printed.contains("is not reached since") && printed.contains("\n    -> "),
        "{printed}"
    );
    let status = house.json(&["status"]);
    assert!(status["upstream"]["last_error"]["code"].is_string(), "{status}");
    house.await_status(|status| status["state"]["name"] == "degraded");
    assert_eq!(house.json(&["status"])["state"]["ready"], true);
    assert_eq!(house.ask(&["health", "upstream"]).0, 1);
    assert_eq!(house.ask(&["health", "ready"]).0, 0);
}

#[test]
fn native_sidecar_exits_only_by_force() {
    let mut house = AdminState::new("[drain]\nnative_sidecar = true\n");
    for verb in ["drain", "shutdown"] {
        let (code, printed) = house.ask(&[verb]);
        assert!(
            code == 1 && printed.contains("native sidecar") && printed.contains("--force"),
            "{printed}"
        );
    }
    let mut stream = UnixStream::connect(&house.socket).unwrap();
    let head = "Host: localhost\r\nX-Respgate-Admin: 1\r\nContent-Length: 0";
    write!(stream, "POST /quitquitquit HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert_eq!(house.proxy.client().ask_text(&["PING"]), "+PONG");
    assert_eq!(house.ask(&["shutdown", "--force"]).0, 0);
    let ended = house.proxy.ended_within(Duration::from_secs(15)).unwrap();
    assert!(ended.success());
}

#[test]
fn health_and_wait_answer_by_their_exit_codes() {
    let mut house = AdminState::new("");
    for probe in ["live", "ready", "startup", "upstream"] {
        assert_eq!(house.ask(&["wait", "--for", "upstream"]).0, 0);
        let (code, printed) = house.ask(&["health", probe]);
        assert!(code == 0 && printed.contains("check passed"), "{printed}");
    }
    assert_eq!(house.ask(&["health", "other"]).0, 2);
    let waits = ["wait", "--timeout", "300ms", "--socket", "/nonexistent/control.sock"];
    assert_eq!(house.ask_at(&waits).0, 3);
    // A client keeps the drain from its end.
    let mut client = house.proxy.client();
    assert_eq!(client.ask_text(&["PING"]), "+PONG");
    let (code, printed) = house.ask(&["drain"]);
    assert!(code == 0 && printed.contains("after 20s"), "{printed}");
    assert_eq!(house.ask(&["health", "ready"]).0, 1);
    assert_eq!(house.ask(&["wait", "--for", "ready", "--timeout", "200ms"]).0, 1);
    assert_eq!(client.ask_text(&["PING"]), "+PONG");
    let (code, printed) = house.ask(&["drain"]);
    assert!(code == 1 && printed.contains("shutting down"), "{printed}");
    assert_eq!(house.ask(&["shutdown", "--now"]).0, 0);
    let ended = house.proxy.ended_within(Duration::from_secs(15)).unwrap();
    assert!(ended.success());
    assert!(!std::path::Path::new(&house.socket).exists());
}

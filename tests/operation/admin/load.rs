//! Verbs under load, while the configuration is reloaded: all answer, and no client waits for them.
//!
//! Owns: that case. Never knows: what a verb answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use respgate::internals::base::clock;
use respgate::internals::proxy::verbs::VERBS;

use super::house::AdminState;
use super::support::client::PATIENCE;

/// How often every verb is asked.
const ROUNDS: usize = 10;
/// A command waits for no verb; on a busy machine it waits for other programs.
const GAP_MAX: Duration = Duration::from_secs(5);
/// The clients go on until they have sent so many together.
const COMMANDS_MIN: u64 = 1000;
const INSIGHT: &str = "[slowlog]\nthreshold = \"1ms\"\n[hotkeys]\nsample = 1\n\
    [[audit.sink]]\ntype = \"file\"\npath = \"audit.log\"\n";

/// A query with which the verb can be carried out again and again, and the status that is expected.
fn query(verb: &str) -> Option<(&'static str, &'static str)> {
    Some(match verb {
        "health" => ("?probe=ready", "200"),
        "log-level" => ("?level=info&for=10s", "200"),
        "block" => ("?user=stranger&for=10s", "200"),
        "unblock" => ("?all=true", "200"),
        "disconnect" => ("?name=stranger", "200"),
        "explain" => ("", "200"),
        "drain" | "shutdown" => return None,
        _ => ("", "200"),
    })
}

fn ask(socket: &str, method: &str, target: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("Host: respgate\r\nX-Respgate-Admin: 1\r\nContent-Length: {}", body.len());
    stream
        .write_all(format!("{method} {target} HTTP/1.1\r\n{head}\r\n\r\n{body}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn verbs_answer_under_load_and_reloads_and_no_client_waits_for_them() {
    let house = AdminState::new(INSIGHT);
    let (over, commands) = (AtomicBool::new(false), AtomicU64::new(0));
    let gaps = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|n| {
                let mut client = house.proxy.client();
                let (over, commands) = (&over, &commands);
                scope.spawn(move || {
                    let (key, mut longest) = (format!("load:{n}"), Duration::ZERO);
                    while !over.load(Relaxed) || commands.load(Relaxed) < COMMANDS_MIN {
                        let begin: Instant = clock::now();
                        for _ in 0..16 {
                            client.send(&["INCR", &key]);
                        }
                        for _ in 0..16 {
                            assert_eq!(client.reply().first(), Some(&b':'));
                        }
                        longest = longest.max(clock::now().duration_since(begin));
                        commands.fetch_add(16, Relaxed);
                    }
                    longest
                })
            })
            .collect();
        let file = house.proxy.configuration_file();
        let text = std::fs::read_to_string(&file).unwrap();
        for round in 0..ROUNDS {
            let limits = format!("{text}\n[limits]\nmax_clients = {}\n", 100 + round);
            std::fs::write(&file, limits).unwrap();
            for verb in VERBS {
                let Some((query, status)) = query(verb.name) else { continue };
                let body =
                    if verb.name == "explain" { "*2\r\n$3\r\nGET\r\n$1\r\na\r\n" } else { "" };
                let target = format!("{}{query}", verb.path);
                let answer = ask(&house.socket, verb.effect.method().as_str(), &target, body);
                let line = answer.lines().next().unwrap_or_default();
                assert!(line.contains(status), "{}: {answer}", verb.name);
            }
        }
        over.store(true, Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(gaps.iter().all(|gap| *gap < GAP_MAX), "{gaps:?}");
    assert_eq!(house.json(&["status"])["limits"]["max_clients"], 100 + ROUNDS - 1);
}

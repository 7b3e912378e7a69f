//! Servers on which no script can be guarded: all are refused there, and that is logged.
//!
//! Owns: servers that answer otherwise than those that exist. Never knows: how the guard is written.

use std::time::Duration;

use respgate::internals::base::clock::now;

use super::super::support::client::{Got, PATIENCE, Target};
use super::super::support::fake_server::{FakeServer, Order};
use super::super::support::proxy::{Proxy, directory, listener};
use super::super::support::real_server::{Brand, free_port, wait_until};
use super::{POLICIES, server};

const GOOD: [&str; 4] = ["redis", "_G", "pcall", "KEYS"];
const QUESTION: &str = "EVAL local t={} for k,v";

fn before(server: &FakeServer) -> Proxy {
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let text = format!(
        "{}\n[upstream]\naddress = \"localhost:{}\"\ninsecure_plaintext = true\n\
         [policy]\nacl = \"+@all ~* &*\"\n{}\n[telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n",
        listener(&target, ""),
        server.port,
        POLICIES[0].1
    );
    Proxy::configured(directory, target, telemetry, &text)
}

/// The answer to the question for the globals.
fn list(names: &[&str]) -> Vec<u8> {
    let mut reply = format!("*{}\r\n", names.len());
    for name in names {
        reply.push_str(&format!("${}\r\n{name}\r\n", name.len()));
    }
    reply.into_bytes()
}

#[test]
fn scripts_are_refused_where_they_cannot_be_guarded() {
    let (good, question) = (GOOD, QUESTION);
    let canary = "EVAL local ";
    for (answers, reason) in [
        (vec![(question, b"-NOPERM no\r\n".to_vec())], "globals_unknown"),
        (vec![(question, list(&["a", "b"]))], "globals_unknown"),
        (vec![(question, list(&["redis", "_G", "pcall", "string!"]))], "globals_unprotected"),
        (vec![(question, list(&good)), (canary, b"$7\r\nescaped\r\n".to_vec())], "escape"),
        (
            vec![(question, list(&good)), ("EVAL local redis,", b"$4\r\nkept\r\n".to_vec())],
            "escape",
        ),
    ] {
        let fake = FakeServer::start();
        for (line, reply) in answers {
            fake.order(line, Order::Instead(reply), usize::MAX);
        }
        let begin = now();
        let proxy = before(&fake);
        let mut client = proxy.client();
        let reply = client.ask_text(&["EVAL", "return 1", "0"]);
        assert!(
            reply.starts_with("-NOPERM respgate: 'eval' cannot be guarded (rule script): "),
            "{reply}"
        );
        let again = client.ask_text(&["EVALSHA", "x", "0"]);
        assert!(again.starts_with("-NOPERM respgate: 'evalsha' cannot be guarded"), "{again}");
        assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
        let series = format!("respgate_script_guard_failures_total{{reason=\"{reason}\"}}");
        assert!(proxy.metric(&series) >= 1.0, "{series}");
        wait_until("the log has POL-E001", || proxy.log().contains("POL-E001"));
        let log = proxy.log();
        assert_eq!(log.matches("POL-E001").count(), 1, "{log}");
        assert!(log.contains(reason), "{log}");
        assert_eq!(fake.count("EVAL return"), 0, "the client's script is never sent");
        let times = fake.count(question) as u64;
        assert!(times <= 1 + begin.elapsed().as_secs() / 5, "the server is asked {times} times");
    }
}

/// The handshakes of other connections would delay the first reply after a start.
#[test]
fn connections_that_no_request_waits_for_are_made_after_the_first() {
    let fake = FakeServer::start();
    fake.be_mute(true);
    let (proxy, dialed) = std::thread::scope(|scope| {
        let dialed = scope.spawn(|| {
            wait_until("the server is dialed", || fake.accepted() > 0);
            std::thread::sleep(Duration::from_millis(200));
            let dialed = fake.accepted();
            fake.be_mute(false);
            dialed
        });
        (before(&fake), dialed.join().unwrap())
    });
    assert_eq!(dialed, 1, "another one is made at the same time");
    assert_eq!(proxy.client().ask(&["PING"]), b"+PONG\r\n");
    wait_until("the server's Lua is examined", || fake.count(QUESTION) > 0);
}

/// No answer of a server to the guard's question lets a script run; everything else runs.
#[test]
fn no_answer_to_the_question_lets_a_script_through() {
    let good = list(&GOOD);
    let half = good.len() / 2;
    let large = format!("*3\r\n$9\r\n{}", "x".repeat(9));
    let many = list(&vec!["name"; 50_000]);
    let answers: [&[u8]; 14] = [
        b"\x00\xff\xfe junk\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*1000000000\r\n",
        b"$9999999999\r\nredis",
        b"*3\r\n*1\r\n$5\r\nredis\r\n$2\r\n_G\r\n$5\r\npcall\r\n",
        b"*3\r\n+redis\r\n:1\r\n-ERR _G pcall\r\n",
        &good[..half],
        large.as_bytes(),
        &many,
    ];
    let all = answers.map(<[u8]>::to_vec).into_iter().map(|answer| {
        std::thread::spawn(move || {
            let fake = FakeServer::start();
            fake.order(QUESTION, Order::Instead(answer.clone()), usize::MAX);
            let proxy = before(&fake);
            let (mut client, mut other) = (proxy.client(), proxy.client());
            client.send(&["EVAL", "return 1", "0"]);
            for _ in 0..20 {
                assert_eq!(other.ask(&["PING"]), b"+PONG\r\n");
                assert_eq!(other.ask(&["SET", "k", "v"]), b"+OK\r\n");
            }
            match client.next(Duration::from_secs(2)) {
                Got::Reply(reply) => {
                    let reply = String::from_utf8_lossy(&reply).into_owned();
                    let refused = reply.starts_with("-NOPERM respgate: 'eval' cannot be guarded");
                    let late = reply.starts_with("-LOADING respgate: scripts are guarded");
                    assert!(refused || late, "{answer:?}: {reply}");
                }
                // It waits for the rest of the answer, and on a slow machine it has waited long enough.
                Got::Silence => {}
                Got::End => panic!("{answer:?}"),
            }
            assert_eq!(fake.count("EVAL return"), 0, "{answer:?}");
            assert!(proxy.memory("VmHWM") < 128 << 20, "{answer:?}");
        })
    });
    all.collect::<Vec<_>>().into_iter().for_each(|one| one.join().unwrap());
}

/// One that cannot answer now is asked again: for a while scripts wait, then they are refused, and in the
/// end they run.
#[test]
fn server_that_is_busy_or_slow_is_asked_again() {
    let busy = || Order::Instead(b"-BUSY Redis is busy running a script.\r\n".to_vec());
    let no = || Order::Instead(b"-NOPERM no\r\n".to_vec());
    let wrong = || Order::Instead(b"?\r\n".to_vec());
    let cases = [
        (vec![(busy(), 2)], false),
        (vec![(busy(), usize::MAX)], true),
        (vec![(Order::Instead(b"-LOADING x\r\n".to_vec()), 1)], false),
        (vec![(no(), usize::MAX)], true),
        (vec![(Order::Never, 1)], false),
        (vec![(Order::Close(2), 2), (Order::Reset, 1), (wrong(), 1)], false),
    ];
    let all = cases.into_iter().enumerate().map(|(case, (orders, refuses))| {
        std::thread::spawn(move || {
            let fake = FakeServer::start();
            for (order, times) in orders {
                fake.order(QUESTION, order, times);
            }
            // More than one connection may ask.
            let (kept, error) =
                (b"$4\r\nkept\r\n".to_vec(), b"-ERR Error compiling script\r\n".to_vec());
            fake.order("*return 'kept'", Order::Instead(kept), usize::MAX);
            fake.order("*return 0 end", Order::Instead(error), usize::MAX);
            if !refuses {
                fake.order(QUESTION, Order::Instead(list(&GOOD)), usize::MAX);
            }
            let proxy = before(&fake);
            let mut client = proxy.client();
            let first = client.ask_text(&["EVAL", "return 1", "0"]);
            assert_eq!(first.starts_with("-NOPERM"), refuses, "{case}: {first}");
            assert_eq!(first == "+OK", !refuses, "{case}: {first}");
            if refuses {
                // The server refuses until the client has seen it.
                fake.withdraw(QUESTION);
                fake.order(QUESTION, Order::Instead(list(&GOOD)), usize::MAX);
            }
            wait_until("scripts run", || client.ask(&["EVAL", "return 1", "0"]) == b"+OK\r\n");
            let log = proxy.log();
            assert_eq!(log.matches("POL-E001").count(), usize::from(refuses), "{case}: {log}");
            if refuses {
                proxy.await_log(&["scripts may run again"]);
            }
        })
    });
    all.collect::<Vec<_>>().into_iter().for_each(|one| one.join().unwrap());
}

/// Another server may come behind a lost connection: it is asked anew.
#[test]
fn changed_server_is_asked_again() {
    let mut server = server(Brand::Redis);
    let proxy = Proxy::with_policy(&server, POLICIES[0].0, POLICIES[0].1);
    let mut client = proxy.client();
    assert_eq!(client.ask(&["EVAL", "return redis.call('SET','k','v')", "0"]), b"+OK\r\n");
    server.stop();
    server.start();
    wait_until("scripts run again", || {
        let mut client = proxy.client();
        client.send(&["EVAL", "return redis.call('SET','k','w')", "0"]);
        matches!(client.next(PATIENCE), Got::Reply(reply) if reply == b"+OK\r\n")
    });
    assert_eq!(server.observer().ask(&["KEYS", "*"]), b"*1\r\n$6\r\napp1:k\r\n");
}

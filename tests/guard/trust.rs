//! Servers on which no script can be guarded: all are refused there, and it is said.
//!
//! Owns: servers that answer otherwise than those that exist. Never knows: how the guard is written.

use super::super::support::client::Target;
use super::super::support::fake_server::{FakeServer, Order};
use super::super::support::proxy::{Proxy, directory, listener};
use super::super::support::real_server::{Brand, free_port, wait_until};
use super::{POLICIES, server};

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
    let good = ["redis", "_G", "pcall", "KEYS"];
    let question = "EVAL local t={} for k,v";
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
            fake.order(line, Order::Say(reply), usize::MAX);
        }
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
        wait_until("the log says so", || proxy.log().contains("POL-E001"));
        let log = proxy.log();
        assert_eq!(log.matches("POL-E001").count(), 1, "{log}");
        assert!(log.contains(reason), "{log}");
        assert_eq!(fake.count("EVAL return"), 0, "the client's script is never sent");
    }
}

/// Another server may come behind a lost connection: it is asked anew.
#[test]
fn another_server_is_asked_again() {
    let mut server = server(Brand::Redis);
    let proxy = Proxy::with_policy(&server, POLICIES[0].0, POLICIES[0].1);
    let mut client = proxy.client();
    assert_eq!(client.ask(&["EVAL", "return redis.call('SET','k','v')", "0"]), b"+OK\r\n");
    server.stop();
    server.start();
    wait_until("scripts run again", || {
        let mut client = proxy.client();
        client.send(&["EVAL", "return redis.call('SET','k','w')", "0"]);
        matches!(client.next(super::super::support::client::PATIENCE),
            super::super::support::client::Got::Reply(reply) if reply == b"+OK\r\n")
    });
    assert_eq!(server.observer().ask(&["KEYS", "*"]), b"*1\r\n$6\r\napp1:k\r\n");
}

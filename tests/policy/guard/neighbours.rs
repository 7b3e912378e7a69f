//! Two applications behind one respgate, which the server takes for one user: none runs what was guarded for
//! the other.
//!
//! Owns: scripts by names that the application has never received. Never knows: how the guard is written.

use super::super::sha;
use super::super::support::client::{Client, Target, encode};
use super::super::support::proxy::{Proxy, configuration, directory, listener};
use super::super::support::real_server::{Brand, Server, free_port};
use super::server;

/// The beginning of the error: some servers add to it.
const UNKNOWN: &str = "-NOSCRIPT No matching script.";
const TEXT: &str = "redis.call('SET',KEYS[1] or 'app1:k',ARGV[1] or 'v') return redis.call('GET',KEYS[1] or 'app1:k')";

/// A listener for each of these: a prefix that is put before names, one that names must have, and another
/// one that is put before them.
fn gate(server: &Server) -> (Proxy, [Client; 3]) {
    let targets = [(); 3].map(|()| Target::Tcp(free_port()));
    let (directory, telemetry) = (directory(), free_port());
    let policies = ["", "policy = \"enforced\"", "policy = \"third\""];
    let listeners: Vec<String> =
        targets.iter().zip(policies).map(|(target, policy)| listener(target, policy)).collect();
    let head = configuration(server, &listeners.join("\n"), "+@all ~* &*", telemetry);
    let text = format!(
        "{head}\n[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\n\
         [policies.enforced]\nacl = \"+@all ~app2:* &app2:*\"\n\
         [policies.third]\nacl = \"+@all ~* &*\"\n[policies.third.keys]\nmode = \"rewrite\"\nprefix = \"app3:\"\n"
    );
    let [first, ..] = &targets;
    let proxy = Proxy::configured(directory, first.clone(), telemetry, &text);
    let clients = targets.map(|target| Client::connect(&target).unwrap());
    (proxy, clients)
}

/// The guarded text that the server received for a client's script, as MONITOR shows it.
fn guarded_text(server: &Server, client: &mut Client, words: &[&str]) -> String {
    let mut monitor = server.observer();
    assert_eq!(monitor.ask(&["MONITOR"]), b"+OK\r\n");
    client.ask(words);
    loop {
        let line = String::from_utf8(monitor.reply()).unwrap();
        if let Some((_, rest)) = line.split_once("\"EVAL\" \"") {
            let (text, _) = rest.split_once("\" \"").unwrap();
            return text.replace("\\\"", "\"").replace("\\\\", "\\");
        }
    }
}

#[test]
fn none_runs_what_was_guarded_for_another() {
    for brand in [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available()) {
        let server = server(brand);
        let (_proxy, [mut one, mut two, mut three]) = gate(&server);
        let written = guarded_text(&server, &mut one, &["EVAL", TEXT, "1", "k", "v"]);
        assert!(written.ends_with(TEXT) && written.len() > TEXT.len(), "{written}");
        let name = sha(&written);
        let mut observer = server.observer();
        // The server has it by that name.
        assert_eq!(observer.ask(&["SCRIPT", "EXISTS", &name]), b"*1\r\n:1\r\n");
        for client in [&mut one, &mut two, &mut three] {
            for name in [name.clone(), name.to_uppercase()] {
                for command in ["EVALSHA", "EVALSHA_RO"] {
                    let reply = client.ask_text(&[command, &name, "1", "app2:k"]);
                    assert!(reply.starts_with(UNKNOWN), "{reply}");
                }
                assert_eq!(client.ask(&["SCRIPT", "EXISTS", &name]), b"*1\r\n:0\r\n");
                client.ask(&["MULTI"]);
                client.ask(&["EVALSHA", &name, "1", "app2:k"]);
                let reply = client.ask_text(&["EXEC"]);
                assert!(reply.starts_with("*1\r\n-NOSCRIPT No matching script."), "{reply}");
            }
            for words in [
                &["SCRIPT", "KILL"][..],
                &["SCRIPT", "FLUSH"],
                &["SCRIPT", "DEBUG", "YES"],
                &["SCRIPT", "SHOW", &name],
                &["FUNCTION", "LIST"],
                &["FUNCTION", "KILL"],
                &["FCALL", "f", "0"],
            ] {
                let reply = client.ask_text(words);
                assert!(
                    reply.starts_with("-NOPERM") || reply.starts_with("-ERR unknown"),
                    "{words:?}: {reply}"
                );
            }
        }
        // By the name that its own client knows, the text is the same, and each runs it behind its own guard.
        let own = sha(TEXT);
        assert_eq!(three.ask(&["EVALSHA", &own, "1", "k", "three"]), b"$5\r\nthree\r\n");
        assert_eq!(two.ask(&["EVALSHA", &own, "1", "app2:k", "two"]), b"$3\r\ntwo\r\n");
        let refused = two.ask_text(&["EVALSHA", &own, "0"]);
        assert!(refused.starts_with("-ERR"), "{refused}");
        // A client that sends the prologue of another runs it behind its own one.
        assert_eq!(three.ask(&["EVAL", &written, "1", "app1:k", "x"]), b"$1\r\nx\r\n");
        let refused = two.ask_text(&["EVAL", &written, "1", "app2:k", "x"]);
        assert!(refused.starts_with("-ERR"), "{refused}");
        let mut keys = observer.ask_text(&[
            "EVAL",
            "local k = redis.call('KEYS','*') table.sort(k) return table.concat(k,' ')",
            "0",
        ]);
        keys = keys.split("\r\n").nth(1).unwrap().to_owned();
        assert_eq!(keys, "app1:k app2:k app3:app1:k app3:k");
        assert_eq!(one.ask(&["GET", "k"]), b"$1\r\nv\r\n");
    }
}

/// Many clients with one text at once: each gets what it wrote.
#[test]
fn script_text_of_several_applications_at_once() {
    let server = server(Brand::Redis);
    let (_proxy, clients) = gate(&server);
    let threads = clients.into_iter().zip(["k", "app2:k", "k"]).enumerate().map(
        |(number, (mut client, key))| {
            std::thread::spawn(move || {
                for round in 0..40 {
                    let value = format!("{number}-{round}");
                    let eval = ["EVAL", TEXT, "1", key, &value];
                    let name = sha(TEXT);
                    let by_name = ["EVALSHA", &name, "1", key, &value];
                    client.send_raw(&[encode(&eval), encode(&by_name), encode(&eval)].concat());
                    for _ in 0..3 {
                        let reply = String::from_utf8(client.reply()).unwrap();
                        assert_eq!(reply, format!("${}\r\n{value}\r\n", value.len()));
                    }
                }
            })
        },
    );
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    let keys = server.observer().ask_text(&["DBSIZE"]);
    assert_eq!(keys, ":3");
}

//! Scripts through respgate: which may run, and those that the server has lost.
//!
//! Owns: scripts as applications and the server see them. Never knows: how they are kept.
use crate::support;
#[path = "guard/mod.rs"]
mod guard;

use respgate::internals::base::sha1::Sha1;
use support::client::{Client, encode, show};
use support::proxy::Proxy;
use support::real_server::{Brand, Server, wait_until};

const ADD: &str = "return redis.call('incrby', KEYS[1], ARGV[1])";
const READ: &str = "return redis.call('get', KEYS[1])";
const NOSCRIPT: &[u8] = b"-NOSCRIPT No matching script. Please use EVAL.\r\n";

fn sha(text: &str) -> String {
    Sha1::of(text.as_bytes()).to_string()
}

/// Deletes the server's scripts, as a restart or another application does.
fn flush_scripts(server: &Server) {
    assert_eq!(server.observer().ask(&["SCRIPT", "FLUSH"]), b"+OK\r\n");
}

/// How often the server has executed a command since the last time it was asked.
fn calls(server: &Server, command: &str) -> u64 {
    let text = server.observer().ask_text(&["INFO", "commandstats"]);
    server.observer().ask(&["CONFIG", "RESETSTAT"]);
    let mark = format!("cmdstat_{command}:calls=");
    let line = text.lines().find_map(|line| line.strip_prefix(&mark));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

fn pipeline(client: &mut Client, commands: &[&[&str]]) -> Vec<String> {
    let bytes: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
    client.send_raw(&bytes);
    commands.iter().map(|_| text(&client.reply())).collect()
}

fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).trim_end().replace("\r\n", " ")
}

#[test]
fn scripts_are_denied() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "[policy.scripts]\nmode = \"deny\"\n");
    let mut client = proxy.client();
    let one = sha("return 1");
    for words in [
        &["EVAL", "return 1", "0"][..],
        &["eval_ro", "return 1", "0"],
        &["EVALSHA", &one, "0"],
        &["EVALSHA_RO", &one, "0"],
        &["FCALL", "f", "0"],
        &["FCALL_RO", "f", "0"],
        &["SCRIPT", "LOAD", "return 1"],
        &["SCRIPT", "FLUSH"],
        &["FUNCTION", "LOAD", "#!lua name=l\nreturn 1"],
        &["FUNCTION", "RESTORE", "x"],
        &["FUNCTION", "FLUSH"],
        &["FUNCTION", "LIST", "WITHCODE"],
        &["FUNCTION", "DUMP"],
        &["FUNCTION", "STATS"],
        &["SCRIPT", "EXISTS", &one],
    ] {
        let reply = client.ask_text(words);
        assert!(
            reply.starts_with("-NOPERM respgate: '") && reply.contains("(rule script)"),
            "{reply}"
        );
    }
    let large = client.ask_text(&["EVAL", &"-".repeat(200_000), "0"]);
    assert!(large.starts_with("-NOPERM respgate: 'eval'"), "{large}");
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    assert!(client.ask_text(&["EVAL", "return 1", "0"]).starts_with("-NOPERM"));
    assert!(client.ask_text(&["EXEC"]).starts_with("-EXECABORT"));
    assert_eq!(calls(&server, "eval") + calls(&server, "script|load"), 0);
    let denied = "respgate_commands_denied_total{command=\"eval\",rule=\"script\"}";
    assert!((proxy.metric(denied) - 3.0).abs() < 0.1);
}

#[test]
fn listed_scripts_may_run() {
    let server = Server::mutual_tls(Brand::Redis);
    let library = "#!lua name=l\nredis.register_function('f', function() return 7 end)\n\
                   redis.register_function('g', function() return 8 end)";
    assert_eq!(server.observer().ask(&["FUNCTION", "LOAD", library]), b"$1\r\nl\r\n");
    let sections = format!(
        "[policy.scripts]\nmode = \"allowlist\"\nallow = [{:?}]\nallow_functions = [\"f\"]\n",
        sha("return 1")
    );
    let proxy = Proxy::before(&server, &sections);
    let mut client = proxy.client();
    let (one, two) = (sha("return 1"), sha("return 2"));
    assert_eq!(client.ask(&["EVAL", "return 1", "0"]), b":1\r\n");
    assert_eq!(client.ask(&["EVAL_RO", "return 1", "0"]), b":1\r\n");
    assert_eq!(client.ask(&["EVALSHA", &one.to_uppercase(), "0"]), b":1\r\n");
    assert_eq!(text(&client.ask(&["SCRIPT", "LOAD", "return 1"])), format!("$40 {one}"));
    assert_eq!(client.ask(&["FCALL", "f", "0"]), b":7\r\n");
    for words in
        [&["EVAL", "return 2", "0"][..], &["EVALSHA", &two, "0"], &["SCRIPT", "LOAD", "return 2"]]
    {
        let reply = client.ask_text(words);
        assert!(reply.ends_with(&format!("(rule script); its SHA-1 is {two}")), "{reply}");
    }
    assert!(client.ask_text(&["FCALL", "g", "0"]).starts_with("-NOPERM respgate: 'fcall'"));
    assert!(client.ask_text(&["FUNCTION", "DELETE", "l"]).starts_with("-NOPERM respgate"));
    assert!(client.ask_text(&["SCRIPT", "FLUSH"]).starts_with("-NOPERM respgate"));
    // A text that is streamed is judged when it is there.
    let large = format!("return '{}'", "x".repeat(200_000));
    let reply = client.ask_text(&["EVAL", &large, "0"]);
    assert!(reply.ends_with(&sha(&large)), "{reply}");
    assert_eq!(client.ask(&["EVAL", "return 1", "1", "k", &large]), b":1\r\n");
}

#[test]
fn files_are_on_the_list_and_read_again() {
    let server = Server::mutual_tls(Brand::Redis);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("one.lua"), "return 1").unwrap();
    std::fs::write(file("note.txt"), "return 3").unwrap();
    let sections = format!(
        "[policy.scripts]\nmode = \"allowlist\"\ndirectory = {:?}\n",
        directory.path().to_str().unwrap()
    );
    let proxy = Proxy::before(&server, &sections);
    let mut client = proxy.client();
    assert_eq!(client.ask(&["EVAL", "return 1", "0"]), b":1\r\n");
    assert!(client.ask(&["EVAL", "return 3", "0"]).starts_with(b"-NOPERM"));
    assert!(client.ask(&["EVAL", "return 2", "0"]).starts_with(b"-NOPERM"));
    std::fs::write(file("two.lua"), "return 2").unwrap();
    wait_until("the new file is read", || client.ask(&["EVAL", "return 2", "0"]) == b":2\r\n");
    std::fs::write(file("one.lua"), "return 10").unwrap();
    wait_until("the changed file is read", || {
        client.ask(&["EVAL", "return 10", "0"]) == b":10\r\n"
    });
    assert!(client.ask(&["EVAL", "return 1", "0"]).starts_with(b"-NOPERM"));
    // A directory that is gone changes nothing, and is reported.
    std::fs::rename(directory.path(), directory.path().with_extension("away")).unwrap();
    proxy.hang_up();
    wait_until("it is reported", || proxy.log().contains("policy.scripts"));
    assert_eq!(client.ask(&["EVAL", "return 2", "0"]), b":2\r\n");
    std::fs::rename(directory.path().with_extension("away"), directory.path()).unwrap();
}

#[test]
fn script_that_the_server_has_lost_is_sent_again() {
    for brand in [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available()) {
        let server = match brand {
            Brand::Redis => Server::mutual_tls(brand),
            Brand::Valkey => Server::plain(brand),
        };
        for sections in ["", "[upstream.pool]\nmode = \"session\"\n"] {
            let proxy = Proxy::before(&server, sections);
            for version in ["2", "3"] {
                let mut client = proxy.client();
                client.ask(&["HELLO", version]);
                server.observer().ask(&["FLUSHALL"]);
                let loaded = client.ask(&["SCRIPT", "LOAD", ADD]);
                assert_eq!(text(&loaded), format!("$40 {}", sha(ADD)));
                let add = sha(ADD);
                for n in 1..=3 {
                    flush_scripts(&server);
                    let reply = client.ask(&["EVALSHA", &add, "1", "n", "2"]);
                    assert_eq!(
                        text(&reply),
                        format!(":{}", 2 * n),
                        "{brand:?} {sections:?} {version}"
                    );
                }
                // Seen in EVAL too, and by whatever session.
                client.ask(&["EVAL", READ, "1", "n"]);
                flush_scripts(&server);
                let mut other = proxy.client();
                assert_eq!(other.ask(&["EVALSHA_RO", &sha(READ), "1", "n"]), b"$1\r\n6\r\n");
                flush_scripts(&server);
                assert_eq!(
                    other.ask(&["evalsha", &sha(READ).to_uppercase(), "1", "n"]),
                    b"$1\r\n6\r\n"
                );
            }
        }
    }
}

#[test]
fn unknown_script_is_answered_with_the_servers_noscript() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["EVALSHA", &sha("return 5"), "0"]), NOSCRIPT);
    assert_eq!(client.ask(&["EVALSHA", "x", "0"]), NOSCRIPT);
    // A client that flushes through respgate wants it deleted.
    assert_eq!(client.ask(&["EVAL", "return 5", "0"]), b":5\r\n");
    assert_eq!(client.ask(&["SCRIPT", "FLUSH"]), b"+OK\r\n");
    assert_eq!(client.ask(&["EVALSHA", &sha("return 5"), "0"]), NOSCRIPT);
    let proxy = Proxy::before(&server, "[policy.scripts]\nheal = false\n");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["EVAL", "return 5", "0"]), b":5\r\n");
    flush_scripts(&server);
    assert_eq!(client.ask(&["EVALSHA", &sha("return 5"), "0"]), NOSCRIPT);
}

/// The order of execution is that of the client's requests, whatever is lost when.
#[test]
fn order_of_commands_stays() {
    let server = Server::mutual_tls(Brand::Redis);
    for sections in ["", "[upstream.pool]\nmode = \"session\"\n"] {
        let proxy = Proxy::before(&server, sections);
        let mut client = proxy.client();
        client.ask(&["EVAL", ADD, "1", "warm", "1"]);
        client.ask(&["EVAL", READ, "1", "warm"]);
        let (add, read) = (sha(ADD), sha(READ));
        let commands: &[&[&str]] = &[
            &["SET", "n", "1"],
            &["EVALSHA", &add, "1", "n", "10"],
            &["INCR", "n"],
            &["GET", "n"],
            &["PING"],
            &["EVALSHA_RO", &read, "1", "n"],
            &["SET", "n", "100"],
            &["EVALSHA", &add, "1", "n", "10"],
            &["EVALSHA", &add, "1", "n", "10"],
            &["GET", "n"],
        ];
        let expected =
            ["+OK", ":11", ":12", "$2 12", "+PONG", "$2 12", "+OK", ":110", ":120", "$3 120"];
        for round in 0..20 {
            // A session of its own each time: what one has seen must not help the next.
            let mut client = proxy.client();
            flush_scripts(&server);
            if round % 2 == 1 {
                // Half of the rounds find that the script is believed to be there.
                client.ask(&["EVALSHA", &add, "1", "warm", "1"]);
                client.ask(&["EVALSHA_RO", &read, "1", "warm"]);
            }
            assert_eq!(pipeline(&mut client, commands), expected, "round {round} {sections:?}");
        }
    }
}

/// Believed to be there, lost, and followed by others: the server's own words, in their place.
#[test]
fn script_error_after_its_reply_is_reported() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut client = proxy.client();
    let add = sha(ADD);
    client.ask(&["EVAL", ADD, "1", "n", "1"]);
    client.ask(&["EVALSHA", &add, "1", "n", "1"]);
    flush_scripts(&server);
    let evalsha: &[&str] = &["EVALSHA", &add, "1", "n", "1"];
    let replies = pipeline(&mut client, &[evalsha, &["SET", "n", "0"], evalsha, &["GET", "n"]]);
    // The second may be held already, when the first one's answer came before it.
    assert!(replies[0].starts_with("-NOSCRIPT") || replies[0] == ":3", "{replies:?}");
    assert_eq!(replies[1], "+OK", "{replies:?}");
    let is_reported = replies[2].starts_with("-NOSCRIPT") && replies[3] == "$1 0";
    assert!(is_reported || (replies[2] == ":1" && replies[3] == "$1 1"), "{replies:?}");
    // From there on it is held, and sent again.
    let replies = pipeline(&mut client, &[&["SET", "n", "5"], evalsha, &["INCR", "n"]]);
    assert_eq!(replies, ["+OK", ":6", ":7"]);
}

#[test]
fn restart_of_the_server_goes_unnoticed() {
    let mut server = Server::mutual_tls(Brand::Redis);
    for sections in ["", "[upstream.pool]\nmode = \"session\"\n"] {
        let proxy = Proxy::before(&server, sections);
        let mut client = proxy.client();
        let add = sha(ADD);
        client.ask(&["EVAL", ADD, "1", "n", "1"]);
        client.ask(&["EVALSHA", &add, "1", "n", "1"]);
        drop(client);
        server.stop();
        server.start();
        wait_until("respgate has the server again", || {
            proxy.client().ask(&["PING"]) == b"+PONG\r\n"
        });
        let mut client = proxy.client();
        let commands: &[&[&str]] = &[
            &["SET", "n", "1"],
            &["EVALSHA", &add, "1", "n", "10"],
            &["INCR", "n"],
            &["GET", "n"],
        ];
        assert_eq!(pipeline(&mut client, commands), ["+OK", ":11", ":12", "$2 12"], "{sections:?}");
    }
}

/// Inside MULTI nothing is sent again: the error is in the array.
#[test]
fn in_a_transaction_the_error_stands() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut client = proxy.client();
    client.ask(&["EVAL", ADD, "1", "n", "1"]);
    flush_scripts(&server);
    let add = sha(ADD);
    let commands: &[&[&str]] = &[
        &["MULTI"],
        &["INCR", "n"],
        &["EVALSHA", &add, "1", "n", "1"],
        &["EXEC"],
        &["EVALSHA", &add, "1", "n", "1"],
    ];
    let array = format!("*2 :2 {}", text(NOSCRIPT));
    assert_eq!(pipeline(&mut client, commands), ["+OK", "+QUEUED", "+QUEUED", &array, ":3"]);
}

/// Large replies are not looked into, large requests are sent again too.
#[test]
fn large_ones() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut client = proxy.client();
    let echo = "return ARGV[1]";
    let value = "x".repeat(3_000_000);
    let expected = format!("$3000000\r\n{value}\r\n");
    client.ask(&["EVAL", echo, "0", "x"]);
    for round in 0..6 {
        if round % 3 == 0 {
            flush_scripts(&server);
        }
        let reply = client.ask(&["EVALSHA", &sha(echo), "0", &value]);
        // Believed to be there, it was not kept; from there on it is.
        let is_reported = round == 3 && reply == NOSCRIPT;
        assert!(is_reported || reply == expected.as_bytes(), "{round}: {}", show(&reply));
        assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
    }
    let bytes = [encode(&["EVALSHA", &sha(echo), "0", &value]), encode(&["PING"])].concat();
    let mut other = proxy.client();
    flush_scripts(&server);
    other.send_raw(&bytes);
    assert!(other.reply() == expected.as_bytes());
    assert_eq!(other.reply(), b"+PONG\r\n");
}

/// Errors of the script itself, `NOSCRIPT` among them, are answers: nothing is executed twice.
#[test]
fn errors_of_scripts_are_answers() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut client = proxy.client();
    let own = "redis.call('incr', KEYS[1]) return redis.error_reply('NOSCRIPT of my own')";
    let fails = "redis.call('incr', KEYS[1]) return redis.call('lpop', KEYS[1])";
    for (round, script) in [own, fails].into_iter().enumerate() {
        let reply = client.ask(&["EVAL", script, "1", "n"]);
        assert!(reply.starts_with(b"-"));
        assert_eq!(client.ask(&["EVALSHA", &sha(script), "1", "n"]), reply);
        flush_scripts(&server);
        assert_eq!(client.ask(&["EVALSHA", &sha(script), "1", "n"]), reply);
        let count = 3 * (round + 1);
        assert_eq!(text(&client.ask(&["GET", "n"])), format!("$1 {count}"));
    }
}

/// A session on a connection of its own (WATCH), and one that wants no replies.
#[test]
fn sessions_with_state() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut client = proxy.client();
    let add = sha(ADD);
    client.ask(&["EVAL", ADD, "1", "n", "1"]);
    flush_scripts(&server);
    let commands: &[&[&str]] = &[
        &["WATCH", "w"],
        &["EVALSHA", &add, "1", "n", "1"],
        &["INCR", "n"],
        &["MULTI"],
        &["GET", "n"],
        &["EXEC"],
    ];
    let expected = ["+OK", ":2", ":3", "+OK", "+QUEUED", "*1 $1 3"];
    assert_eq!(pipeline(&mut client, commands), expected);
    flush_scripts(&server);
    let silent: Vec<u8> = [
        &["CLIENT", "REPLY", "OFF"][..],
        &["EVALSHA", &add, "1", "n", "10"],
        &["INCR", "n"],
        &["CLIENT", "REPLY", "ON"],
        &["GET", "n"],
    ]
    .into_iter()
    .flat_map(encode)
    .collect();
    client.send_raw(&silent);
    assert_eq!(client.reply(), b"+OK\r\n");
    let value = text(&client.reply());
    // The session has seen the script run: it is not held, and lost where INCR came behind it.
    assert!(value == "$2 14" || value == "$1 4", "{value}");
    flush_scripts(&server);
    assert_eq!(client.ask(&["SELECT", "1"]), b"+OK\r\n");
    assert_eq!(client.ask(&["EVALSHA", &add, "1", "n", "1"]), b":1\r\n");
}

/// What is sent again has the prefix before its keys, as what was sent first.
#[test]
fn keys_keep_their_prefix() {
    let server = Server::mutual_tls(Brand::Redis);
    let sections = "[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\n\
                    [policy.scripts]\nmode = \"declared-keys\"\n";
    let proxy = Proxy::before(&server, sections);
    let mut client = proxy.client();
    let wrong = "return redis.call('lpop', KEYS[1])";
    client.ask(&["EVAL", ADD, "1", "n", "1"]);
    let error = client.ask(&["EVAL", wrong, "1", "n"]);
    for _ in 0..2 {
        flush_scripts(&server);
        client.ask(&["EVALSHA", &sha(ADD), "1", "n", "1"]);
        assert_eq!(client.ask(&["EVALSHA", &sha(wrong), "1", "n"]), error);
    }
    assert_eq!(server.observer().ask(&["KEYS", "*"]), b"*1\r\n$6\r\napp1:n\r\n");
    assert_eq!(server.observer().ask(&["GET", "app1:n"]), b"$1\r\n3\r\n");
}

/// While one session waits for its script, another does not.
#[test]
fn sessions_of_others_are_not_held() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut client = proxy.client();
    client.ask(&["EVAL", ADD, "1", "n", "1"]);
    server.hold();
    let add = sha(ADD);
    let bytes = [encode(&["EVALSHA", &add, "1", "n", "1"]), encode(&["GET", "n"])].concat();
    client.send_raw(&bytes);
    let mut other = proxy.client();
    other.send(&["INCR", "m"]);
    server.release();
    assert_eq!(other.reply(), b":1\r\n");
    assert_eq!(client.reply(), b":2\r\n");
    assert_eq!(client.reply(), b"$1\r\n2\r\n");
}

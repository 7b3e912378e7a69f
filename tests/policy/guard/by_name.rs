//! `EVAL` of guarded scripts that the server has: they travel by name, and no client sees it.
//!
//! Owns: what the server is sent, and that the answers stay. Never knows: how scripts are kept.

use super::super::support::client::{Client, encode};
use super::super::support::proxy::Proxy;
use super::super::support::real_server::{Brand, Server, wait_until};
use super::super::{calls, flush_scripts, pipeline, sha};
use super::{POLICIES, server};

const ADD: &str = "return redis.call('INCRBY',KEYS[1],ARGV[1])";
const READ: &str = "return redis.call('GET',KEYS[1])";

fn both() -> impl Iterator<Item = Brand> {
    [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available())
}

fn behind(server: &Server, sections: &str) -> Proxy {
    Proxy::with_policy(server, POLICIES[0].0, &format!("{}{sections}", POLICIES[0].1))
}

/// How often the server was sent a text, and a name.
fn sent(server: &Server) -> (u64, u64) {
    let text = server.observer().ask_text(&["INFO", "commandstats"]);
    let count = |command: &str| {
        let mark = format!("cmdstat_{command}:calls=");
        let line = text.lines().find_map(|line| line.strip_prefix(&mark));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    // Counts begin anew.
    calls(server, "eval");
    (count("eval") + count("eval_ro"), count("evalsha") + count("evalsha_ro"))
}

#[test]
fn text_that_the_server_has_is_not_sent_again() {
    for brand in both() {
        let server = server(brand);
        let proxy = behind(&server, "");
        for version in ["2", "3"] {
            let mut client = proxy.client();
            client.ask(&["HELLO", version]);
            server.observer().ask(&["FLUSHALL"]);
            flush_scripts(&server);
            client.ask(&["EVAL", ADD, "1", "n", "1"]);
            sent(&server);
            for n in 2..6 {
                let reply = client.ask_text(&["eval", ADD, "1", "n", "1"]);
                assert_eq!(reply, format!(":{n}"), "{brand:?}");
            }
            assert_eq!(sent(&server), (0, 4), "{brand:?}");
            // Another session knows it too, and what is lost comes back in its place.
            let mut other = proxy.client();
            assert_eq!(other.ask(&["EVAL", ADD, "1", "n", "1"]), b":6\r\n");
            flush_scripts(&server);
            assert_eq!(other.ask(&["EVAL", ADD, "1", "n", "1"]), b":7\r\n");
            assert_eq!(sent(&server), (1, 2), "{brand:?}");
            for _ in 0..3 {
                assert_eq!(other.ask(&["EVAL_RO", READ, "1", "n"]), b"$1\r\n7\r\n");
                let refused = other.ask_text(&["EVAL_RO", ADD, "1", "n", "1"]);
                assert!(refused.starts_with("-ERR Write commands are not allowed"), "{refused}");
            }
        }
    }
}

#[test]
fn errors_have_the_name_that_the_client_knows_whatever_travels() {
    for brand in both() {
        let server = server(brand);
        let proxy = behind(&server, "");
        let mut client = proxy.client();
        client.ask(&["SET", "n", "x"]);
        let wrong =
            "local a = ARGV[1]\nif a == 'b' then local r = redis.call('LPOP','n') end\nreturn a";
        let errors: Vec<String> = (0..4)
            .map(|round| {
                client.ask(&["EVAL", wrong, "0", "a"]);
                if round == 2 {
                    flush_scripts(&server);
                }
                client.ask_text(&["EVAL", wrong, "0", "b"])
            })
            .collect();
        assert!(
            errors[0].starts_with("-WRONGTYPE") && errors[0].contains("user_script:2"),
            "{errors:?}"
        );
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
        assert!(brand == Brand::Valkey || errors[0].contains(&sha(wrong)), "{errors:?}");
        // What never compiles is never asked for by name.
        let broken = "return redis.call(";
        let first = client.ask_text(&["EVAL", broken, "0"]);
        sent(&server);
        for _ in 0..3 {
            assert_eq!(client.ask_text(&["EVAL", broken, "0"]), first);
        }
        assert_eq!(sent(&server), (3, 0));
        // A script that answers as a server does that has lost it runs once.
        let own = "redis.call('INCR','runs') return redis.error_reply('NOSCRIPT No matching script. Please use EVAL.')";
        for _ in 0..3 {
            assert!(client.ask_text(&["EVAL", own, "0"]).starts_with("-NOSCRIPT"));
        }
        assert_eq!(client.ask(&["GET", "runs"]), b"$1\r\n3\r\n");
    }
}

/// The order of execution is that of the client's requests, whatever is lost when.
#[test]
fn order_stays_when_texts_do_not_travel() {
    let server = server(Brand::Redis);
    for sections in ["", "[upstream.pool]\nmode = \"session\"\n"] {
        let proxy = behind(&server, sections);
        let mut client = proxy.client();
        client.ask(&["EVAL", ADD, "1", "warm", "1"]);
        client.ask(&["EVAL_RO", READ, "1", "warm"]);
        let add: &[&str] = &["EVAL", ADD, "1", "n", "10"];
        let commands: &[&[&str]] = &[
            &["SET", "n", "1"],
            add,
            &["INCR", "n"],
            &["GET", "n"],
            &["EVAL_RO", READ, "1", "n"],
            &["SET", "n", "100"],
            add,
            &["EVALSHA", &sha(ADD), "1", "n", "10"],
            add,
            &["MULTI"],
            add,
            &["GET", "n"],
            &["EXEC"],
            add,
        ];
        let expected = [
            "+OK",
            ":11",
            ":12",
            "$2 12",
            "$2 12",
            "+OK",
            ":110",
            ":120",
            ":130",
            "+OK",
            "+QUEUED",
            "+QUEUED",
            "*2 :140 $3 140",
            ":150",
        ];
        for round in 0..30 {
            let mut client = proxy.client();
            // Alone it goes by name, and so the next one may, too.
            client.ask(&["EVAL", ADD, "1", "warm", "1"]);
            if round % 3 != 0 {
                flush_scripts(&server);
            }
            assert_eq!(pipeline(&mut client, commands), expected, "round {round} {sections:?}");
        }
        for round in 0..10 {
            // Those of a client that does not wait go with their texts: none waits for another's answer.
            let bytes: Vec<u8> =
                (0..100).flat_map(|_| encode(&["EVAL", ADD, "1", "p", "1"])).collect();
            client.send_raw(&bytes);
            for n in 1..=100 {
                assert_eq!(client.reply(), format!(":{}\r\n", round * 100 + n).into_bytes());
            }
        }
        assert_eq!(client.ask(&["DEL", "p"]), b":1\r\n");
        let (texts, names) = sent(&server);
        assert!(texts > 900 && names > 0, "{texts} {names}");
    }
}

fn watches_and_is_silent(client: &mut Client, server: &Server) {
    client.ask(&["EVAL", ADD, "1", "n", "1"]);
    flush_scripts(server);
    let add: &[&str] = &["EVAL", ADD, "1", "n", "1"];
    let commands: &[&[&str]] =
        &[&["WATCH", "w"], add, &["INCR", "n"], &["MULTI"], &["GET", "n"], add, &["EXEC"], add];
    let expected = ["+OK", ":2", ":3", "+OK", "+QUEUED", "+QUEUED", "*2 $1 3 :4", ":5"];
    assert_eq!(pipeline(client, commands), expected);
    flush_scripts(server);
    let silent: Vec<u8> = [
        &["CLIENT", "REPLY", "OFF"][..],
        add,
        &["INCR", "n"],
        add,
        &["CLIENT", "REPLY", "ON"],
        &["GET", "n"],
    ]
    .into_iter()
    .flat_map(encode)
    .collect();
    client.send_raw(&silent);
    assert_eq!(client.reply(), b"+OK\r\n");
    assert_eq!(client.reply(), b"$1\r\n8\r\n");
    flush_scripts(server);
    assert_eq!(client.ask(&["SELECT", "0"]), b"+OK\r\n");
    assert_eq!(client.ask(add), b":9\r\n");
    client.ask(&["DEL", "n"]);
}

#[test]
fn sessions_with_state_of_their_own() {
    for brand in both() {
        let server = server(brand);
        for sections in ["", "[upstream.pool]\nmode = \"session\"\n"] {
            let proxy = behind(&server, sections);
            watches_and_is_silent(&mut proxy.client(), &server);
        }
    }
}

#[test]
fn large_values_and_large_scripts() {
    let server = server(Brand::Redis);
    let proxy = behind(&server, "");
    let mut client = proxy.client();
    let (text, value) = ("return ARGV[1]", "x".repeat(3_000_000));
    let script = format!("return #ARGV[1] --{}", "y".repeat(400_000));
    for round in 0..4 {
        if round == 2 {
            flush_scripts(&server);
        }
        assert_eq!(client.ask(&["EVAL", text, "0", "small"]), b"$5\r\nsmall\r\n");
        let reply = client.ask(&["EVAL", text, "0", &value]);
        assert!(reply == format!("$3000000\r\n{value}\r\n").as_bytes(), "{round}");
        assert_eq!(client.ask(&["EVAL", &script, "0", "four"]), b":4\r\n");
        assert_eq!(client.ask(&["EVAL", &script, "0", &value]), b":3000000\r\n");
    }
}

/// Another server, and one that runs no script by its name.
#[test]
fn servers_that_have_lost_it_or_refuse_its_name() {
    let mut server = server(Brand::Redis);
    let proxy = behind(&server, "");
    let mut client = proxy.client();
    client.ask(&["EVAL", ADD, "1", "n", "1"]);
    client.ask(&["EVAL", ADD, "1", "n", "1"]);
    drop(client);
    server.stop();
    server.start();
    wait_until("respgate has the server again", || proxy.client().ask(&["PING"]) == b"+PONG\r\n");
    let mut client = proxy.client();
    for n in 1..4 {
        assert_eq!(client.ask(&["EVAL", ADD, "1", "n", "1"]), format!(":{n}\r\n").into_bytes());
    }
    server.observer().ask(&["ACL", "SETUSER", "default", "-evalsha", "-evalsha_ro"]);
    sent(&server);
    for n in 4..8 {
        assert_eq!(client.ask(&["EVAL", ADD, "1", "n", "1"]), format!(":{n}\r\n").into_bytes());
    }
    // It was tried once.
    assert_eq!(sent(&server), (4, 0));
    let refused = client.ask_text(&["EVALSHA", &sha(ADD), "1", "n", "1"]);
    assert!(refused.starts_with("-NOPERM"), "{refused}");
    assert_eq!(client.ask(&["GET", "n"]), b"$1\r\n7\r\n");
}

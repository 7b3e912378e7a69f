//! What stays a session's own, in both modes of the pool, however its bytes arrive.
//!
//! Owns: the cases. Never knows: the life of the process.

use std::time::Duration;

use super::*;

const SESSION_MODE: &str = "[upstream.pool]\nmode = \"session\"\n";

/// Each case once with shared connections, once with one for each session.
fn in_both_modes(case: impl Fn(&Server, &Proxy)) {
    for sections in ["", SESSION_MODE] {
        let server = Server::mutual_tls(Brand::Redis);
        let proxy = Proxy::before(&server, sections);
        case(&server, &proxy);
    }
}

#[test]
fn session_of_its_own() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, SESSION_MODE);
    let mut clients: Vec<Client> = (0..5).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let (number, name) = (number.to_string(), format!("name{number}"));
        assert_eq!(client.ask(&["SELECT", &number]), b"+OK\r\n");
        assert_eq!(client.ask(&["CLIENT", "SETNAME", &name]), b"+OK\r\n");
        assert_eq!(client.ask(&["SET", "k", &number]), b"+OK\r\n");
    }
    // One upstream connection each, by which no other's commands travel.
    let list = server.observer().ask_text(&["CLIENT", "LIST"]);
    for database in 0..5 {
        let mark = format!(" db={database} ");
        assert!(
            list.lines().any(|line| line.contains(&mark) && line.contains("cmd=set")),
            "{list}"
        );
    }
    let (first, rest) = clients.split_first_mut().unwrap();
    assert_eq!(first.ask(&["WATCH", "k"]), b"+OK\r\n");
    assert_eq!(rest[0].ask(&["SELECT", "0"]), b"+OK\r\n");
    assert_eq!(rest[0].ask(&["SET", "k", "other"]), b"+OK\r\n");
    exchange(
        first,
        &[encode(&["MULTI"]), encode(&["SET", "k", "mine"]), encode(&["EXEC"])].concat(),
        b"+OK\r\n+QUEUED\r\n*-1\r\n",
    );
    assert_eq!(first.ask(&["CLIENT", "GETNAME"]), b"$5\r\nname0\r\n");
    rest[1].send(&["BLPOP", "list", "5"]);
    server.await_blocked(1);
    assert_eq!(first.ask(&["SELECT", "2"]), b"+OK\r\n");
    assert_eq!(first.ask(&["RPUSH", "list", "x"]), b":1\r\n");
    assert_eq!(rest[1].reply(), b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    let pinned = proxy.metric("respgate_client_pinned_connections{cause=\"session\"}");
    assert!(pinned >= 5.0, "{pinned}");
}

/// The connection of an ended session carries its state and serves no other session.
#[test]
fn file_descriptors_are_not_inherited() {
    in_both_modes(|_, proxy| {
        for _ in 0..6 {
            let mut client = proxy.client();
            exchange(&mut client, &encode(&["GET", "k"]), b"$-1\r\n");
            assert_eq!(client.ask(&["CLIENT", "GETNAME"]), b"$-1\r\n");
            let all = [
                encode(&["SELECT", "3"]),
                encode(&["SET", "k", "v"]),
                encode(&["WATCH", "k"]),
                encode(&["CLIENT", "SETNAME", "left"]),
                encode(&["MULTI"]),
            ];
            exchange(&mut client, &all.concat(), &b"+OK\r\n".repeat(5));
        }
    });
}

#[test]
fn select_moves_one_session() {
    in_both_modes(|server, proxy| {
        let mut here = proxy.client();
        let mut there = proxy.client();
        let sent = [
            encode(&["SET", "k", "0"]),
            encode(&["SELECT", "5"]),
            encode(&["SET", "k", "5"]),
            encode(&["SELECT", "16"]),
            encode(&["SELECT", "x"]),
            encode(&["GET", "k"]),
            encode(&["SELECT", "0"]),
            encode(&["GET", "k"]),
            encode(&["SELECT", "5"]),
        ];
        let expected = "+OK\r\n+OK\r\n+OK\r\n-ERR DB index is out of range\r\n\
                        -ERR value is not an integer or out of range\r\n\
                        $1\r\n5\r\n+OK\r\n$1\r\n0\r\n+OK\r\n";
        exchange(&mut here, &sent.concat(), expected.as_bytes());
        assert_eq!(there.ask(&["GET", "k"]), b"$1\r\n0\r\n");
        assert_eq!(here.ask(&["GET", "k"]), b"$1\r\n5\r\n");
        // Every database there is, in one write.
        let select = |n: usize| encode(&["SELECT", &n.to_string()]);
        let visits = |write: bool| -> Vec<u8> {
            let one = |n| {
                let n: usize = n;
                let text = format!("in {n}");
                let then =
                    if write { encode(&["SET", "at", &text]) } else { encode(&["GET", "at"]) };
                [select(n), then].concat()
            };
            (0..16).flat_map(one).collect()
        };
        exchange(&mut here, &visits(true), &b"+OK\r\n".repeat(32));
        let found: String = (0..16)
            .map(|n: usize| format!("+OK\r\n${}\r\nin {n}\r\n", if n < 10 { 4 } else { 5 }))
            .collect();
        exchange(&mut there, &visits(false), found.as_bytes());
        let keyspace = server.observer().ask_text(&["INFO", "keyspace"]);
        assert_eq!(keyspace.lines().filter(|line| line.starts_with("db")).count(), 16);
    });
}

#[test]
fn replies_that_are_not_wanted() {
    in_both_modes(|server, proxy| {
        let mut client = proxy.client();
        let sent = [
            encode(&["SET", "a", "1"]),
            encode(&["CLIENT", "REPLY", "OFF"]),
            encode(&["INCR", "a"]),
            encode(&["PING"]),
            encode(&["NOSUCH"]),
            encode(&["SELECT", "1"]),
            encode(&["INCR", "b"]),
            encode(&["BLPOP", "empty", "0.01"]),
            encode(&["CLIENT", "REPLY", "ON"]),
            encode(&["GET", "b"]),
            encode(&["CLIENT", "REPLY", "SKIP"]),
            encode(&["INCR", "b"]),
            encode(&["GET", "b"]),
            encode(&["CLIENT", "REPLY", "MAYBE"]),
        ];
        exchange(
            &mut client,
            &sent.concat(),
            b"+OK\r\n+OK\r\n$1\r\n1\r\n$1\r\n2\r\n-ERR syntax error\r\n",
        );
        assert_eq!(server.observer().ask(&["GET", "a"]), b"$1\r\n2\r\n");
    });
}

/// Each reply has the form of the protocol in force at its place.
#[test]
fn protocols_switched_within_a_pipeline() {
    in_both_modes(|_, proxy| {
        let mut client = proxy.client();
        client.ask(&["HSET", "h", "f", "v"]);
        let map = b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n";
        let list = b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
        let turn = [
            encode(&["HGETALL", "h"]),
            encode(&["HELLO", "3"]),
            encode(&["HGETALL", "h"]),
            encode(&["GET", "none"]),
            encode(&["HELLO", "9"]),
            encode(&["HGETALL", "h"]),
            encode(&["HELLO", "2"]),
            encode(&["GET", "none"]),
        ];
        client.send_raw(&turn.concat().repeat(20));
        for _ in 0..20 {
            assert_eq!(client.reply(), list);
            assert!(client.reply().starts_with(b"%7\r\n$6\r\nserver\r\n"));
            assert_eq!(client.reply(), map);
            assert_eq!(client.reply(), b"_\r\n");
            assert_eq!(client.reply(), b"-NOPROTO unsupported protocol version\r\n");
            assert_eq!(client.reply(), map);
            assert!(client.reply().starts_with(b"*14\r\n$6\r\nserver\r\n"));
            assert_eq!(client.reply(), b"$-1\r\n");
        }
    });
}

/// After RESET a client is as one that has just connected.
#[test]
fn reset_leaves_nothing() {
    in_both_modes(|server, proxy| {
        server.observer().ask(&["SET", "k", "0"]);
        let states: [(&[u8], &[u8]); 6] = [
            (&encode(&["SELECT", "3"]), b"+OK\r\n"),
            (&encode(&["WATCH", "k"]), b"+OK\r\n"),
            (&encode(&["MULTI"]), b"+OK\r\n"),
            (&encode(&["CLIENT", "SETNAME", "x"]), b"+OK\r\n"),
            (&encode(&["SUBSCRIBE", "c"]), b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"),
            (&encode(&["CLIENT", "REPLY", "OFF"]), b""),
        ];
        let after = [
            encode(&["RESET"]),
            encode(&["GET", "k"]),
            encode(&["CLIENT", "GETNAME"]),
            encode(&["EXEC"]),
            encode(&["MULTI"]),
            encode(&["GET", "k"]),
            encode(&["EXEC"]),
        ];
        let answered: &[u8] =
            b"+RESET\r\n$1\r\n0\r\n$-1\r\n-ERR EXEC without MULTI\r\n+OK\r\n+QUEUED\r\n\
                                *1\r\n$1\r\n0\r\n";
        for (sent, reply) in states {
            let mut client = proxy.client();
            let sent = [&encode(&["GET", "k"]), sent, &after.concat()].concat();
            exchange(
                &mut client,
                &sent.repeat(3),
                &[b"$1\r\n0\r\n", reply, answered].concat().repeat(3),
            );
        }
    });
}

#[test]
fn quit_ends_the_pipeline() {
    in_both_modes(|server, proxy| {
        let mut client = proxy.client();
        let sent = [
            encode(&["SET", "a", "1"]),
            encode(&["GET", "a"]),
            encode(&["QUIT"]),
            encode(&["SET", "a", "2"]),
        ];
        exchange(&mut client, &sent.concat(), b"+OK\r\n$1\r\n1\r\n+OK\r\n");
        assert_eq!(client.next(PATIENCE), Got::End);
        assert_eq!(server.observer().ask(&["GET", "a"]), b"$1\r\n1\r\n");
    });
}

/// The client sends everything, then closes the sending half, as `printf … | nc -N` does.
#[test]
fn half_closed_client_is_answered() {
    in_both_modes(|server, proxy| {
        let mut client = proxy.client();
        client.send_raw(b"SET a 1\r\nINCR a\r\nGET a\r\n");
        client.finish();
        assert_eq!(client.drain(PATIENCE), (b"+OK\r\n:2\r\n$1\r\n2\r\n".to_vec(), true));

        let mut client = proxy.client();
        client.send_raw(&encode(&["INCR", "n"]).repeat(1000));
        client.finish();
        let expected: String = (1..=1000).map(|n| format!(":{n}\r\n")).collect();
        let (got, ended) = client.drain(PATIENCE);
        assert!(ended && got == expected.as_bytes(), "{}", show(&got));

        // With commands that need another connection, and replies that are large.
        server.observer().ask(&["SETRANGE", "large", "99999", "x"]);
        let mut client = proxy.client();
        let sent = [
            encode(&["GET", "large"]),
            encode(&["SELECT", "1"]),
            encode(&["INCR", "n"]),
            encode(&["WATCH", "n"]),
            encode(&["MULTI"]),
            encode(&["INCR", "n"]),
            encode(&["EXEC"]),
        ];
        client.send_raw(&sent.concat());
        client.finish();
        let (got, ended) = client.drain(PATIENCE);
        assert!(ended, "{}", show(&got));
        assert_eq!(got.len(), 100_011 + 5 + 4 + 5 + 5 + 9 + 8, "{}", show(&got));
        assert!(
            got.ends_with(b"+OK\r\n:1\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n"),
            "{}",
            show(&got)
        );
    });
}

/// Commands that travel on different connections keep their order, in effect and in reply.
#[test]
fn barriers_within_a_pipeline() {
    in_both_modes(|server, proxy| {
        server.observer().ask(&["SETRANGE", "large", "69999", "x"]);
        let mut client = proxy.client();
        let large = [b"$70000\r\n", &[0; 69_999][..], b"x\r\n"].concat();
        for round in 1..=5 {
            let sent = [
                encode(&["INCR", "n"]),
                encode(&["RPUSH", "list", "a"]),
                encode(&["BLPOP", "list", "1"]),
                encode(&["GET", "n"]),
                encode(&["BLPOP", "list", "0.01"]),
                encode(&["GET", "large"]),
                encode(&["INCR", "n"]),
                encode(&["DECR", "n"]),
                encode(&["WATCH", "n"]),
                encode(&["GET", "n"]),
                encode(&["UNWATCH"]),
                encode(&["SUBSCRIBE", "news"]),
                encode(&["PING"]),
                encode(&["GET", "n"]),
                encode(&["UNSUBSCRIBE"]),
                encode(&["GET", "n"]),
                encode(&["WAIT", "0", "0"]),
                encode(&["EVAL", "return redis.call('GET', KEYS[1])", "1", "n"]),
            ];
            let n = format!("$1\r\n{round}\r\n");
            let expected = [
                format!(":{round}\r\n:1\r\n*2\r\n$4\r\nlist\r\n$1\r\na\r\n{n}*-1\r\n").into_bytes(),
                large.clone(),
                format!(":{}\r\n:{round}\r\n+OK\r\n{n}+OK\r\n", round + 1).into_bytes(),
                b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_vec(),
                b"-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                  RESET are allowed in this context\r\n"
                    .to_vec(),
                b"*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n".to_vec(),
                format!("{n}:0\r\n{n}").into_bytes(),
            ];
            exchange(&mut client, &sent.concat(), &expected.concat());
        }
        assert_eq!(client.next(Duration::from_millis(30)), Got::Silence);
    });
}

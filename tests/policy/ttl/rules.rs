//! Single rules of the time to live, and what travels with them.
//!
//! Owns: cases. Never knows: how the policy decides.

use super::support::client::{Client, encode};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server};
use super::{DEFAULT, MAX, has_default, inject, left, offenders};

fn behind_proxy(sections: &str) -> (Server, Proxy) {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, sections);
    (server, proxy)
}

#[test]
fn long_ones_are_cut_to_the_maximum() {
    let (server, proxy) = behind_proxy(&inject());
    let mut client = proxy.client();
    let far = (4_000_000_000_u64).to_string();
    for words in [
        &["SET", "k", "v", "EX", "999999"][..],
        &["SET", "k", "v", "EXAT", &far],
        &["SETEX", "k", "999999", "v"],
        &["EXPIRE", "k", "999999"],
        &["PEXPIREAT", "k", "9000000000000"],
        &["GETEX", "k", "EX", "999999"],
    ] {
        client.ask(words);
        let left = left(&server, "k");
        assert!((MAX as i64 - 5..=MAX as i64).contains(&left), "{words:?}: {left}");
    }
    client.ask(&["SET", "k", "v", "EX", "100"]);
    assert!((95..=100).contains(&left(&server, "k")));
    client.ask(&["SET", "k", "w", "KEEPTTL"]);
    assert!((95..=100).contains(&left(&server, "k")));
    client.ask(&["PERSIST", "k"]);
    assert!(has_default(&server, "k"));
    client.ask(&["SET", "new", "v", "KEEPTTL"]);
    assert!(has_default(&server, "new"));
}

/// What follows a request for its keys' times to live is no transaction that the server refused: clients that
/// cannot ask again, since their connection tracks, watches or listens, may still begin one.
#[test]
fn transaction_may_begin_after_several_keys_were_given_times_to_live() {
    let (server, proxy) = behind_proxy(&inject());
    let (mut client, mut tracks) = (proxy.client(), proxy.client());
    tracks.ask(&["HELLO", "3"]);
    assert_eq!(tracks.ask(&["CLIENT", "TRACKING", "ON"]), b"+OK\r\n");
    for words in [&["MSET", "a", "1", "b", "2"][..], &["EVAL", "return 1", "2", "c", "d"]] {
        client.ask(words);
        assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
        assert_eq!(tracks.ask(&["MULTI"]), b"+OK\r\n", "{words:?}");
        assert_eq!(tracks.ask(&["DISCARD"]), b"+OK\r\n");
    }
    assert!(has_default(&server, "a") && has_default(&server, "b"));
}

/// `RESTORE` carries its time to live itself: the key's last use in its payload stays.
#[test]
fn restored_key_keeps_its_idle_time() {
    let (server, proxy) = behind_proxy(&inject());
    let mut client = proxy.client();
    client.ask(&["SET", "k", "v"]);
    let dump = server.observer().ask(&["DUMP", "k"]);
    let begin = dump.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    let payload = &dump[begin..dump.len() - 2];
    for more in [&[&b"IDLETIME"[..], b"1000"][..], &[b"IDLETIME", b"1000", b"ABSTTL"]] {
        let words = [&[&b"RESTORE"[..], b"k", b"0", payload, b"REPLACE"], more].concat();
        client.send_raw(&encode(&words));
        assert_eq!(client.reply(), b"+OK\r\n");
        assert!(has_default(&server, "k"));
        let idle = server.observer().ask_text(&["OBJECT", "IDLETIME", "k"]);
        assert!(idle.trim_start_matches(':').parse::<u64>().unwrap() >= 1000, "{idle}");
    }
}

#[test]
fn names_choose() {
    let rules = format!("{}apply_to = ['cache:*']\nexempt = ['cache:lock:*']\n", inject());
    let (server, proxy) = behind_proxy(&rules);
    let mut client = proxy.client();
    let words = ["MSET", "cache:a", "1", "cache:lock:a", "1", "other", "1"];
    assert_eq!(client.ask(&words), b"+OK\r\n");
    assert!(has_default(&server, "cache:a"));
    assert_eq!((left(&server, "cache:lock:a"), left(&server, "other")), (-1, -1));
    for key in ["cache:lock:b", "free"] {
        assert_eq!(client.ask(&["SET", key, "v", "EX", "99999"]), b"+OK\r\n");
        assert!(left(&server, key) > 99_000);
    }
    // From where nothing applies to where something does.
    assert_eq!(client.ask(&["RENAME", "free", "cache:b"]), b"+OK\r\n");
    assert_eq!(client.ask(&["COPY", "cache:lock:a", "cache:c"]), b":1\r\n");
    assert!((1..=MAX as i64).contains(&left(&server, "cache:b")));
    assert!(has_default(&server, "cache:c"));
}

#[test]
fn refusals() {
    let rules =
        format!("[policy.ttl]\non_missing = 'reject'\non_exceed = 'reject'\nmax = '{MAX}s'");
    let (server, proxy) = behind_proxy(&rules);
    let mut client = proxy.client();
    for words in [
        &["SET", "k", "v"][..],
        &["SET", "k", "v", "EX", "5001"],
        &["LPUSH", "k", "v"],
        &["RESTORE", "k", "0", "x"],
        &["EVAL", "return redis.call('set',KEYS[1],'v')", "1", "k"],
    ] {
        let reply = client.ask_text(words);
        assert!(reply.starts_with("-NOPERM respgate: ") && reply.contains("(rule ttl)"), "{reply}");
    }
    assert_eq!(left(&server, "k"), -2);
    assert_eq!(client.ask(&["SET", "k", "v", "EX", "5000"]), b"+OK\r\n");
    assert!(client.ask_text(&["PERSIST", "k"]).starts_with("-NOPERM"));
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    assert!(client.ask_text(&["SET", "k", "w"]).starts_with("-NOPERM"));
    assert!(client.ask_text(&["EXEC"]).starts_with("-EXECABORT"));
    assert_eq!(client.ask(&["GET", "k"]), b"$1\r\nv\r\n");
    let page = respgate_metrics(&proxy);
    assert!(page.contains("rule=\"ttl\""), "{page}");
}

fn respgate_metrics(proxy: &Proxy) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", proxy.telemetry_port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// A value of 1 MiB passes without being stored here; what is added travels behind it.
#[test]
fn large_values() {
    let (server, proxy) = behind_proxy(&inject());
    let mut client = proxy.client();
    let value = "v".repeat(1 << 20);
    for words in [
        &["SET", "set", &value][..],
        &["SET", "option", &value, "EX", "99999"],
        &["SETEX", "setex", "99999", &value],
        &["APPEND", "append", &value],
        &["GETSET", "getset", &value],
        &["RPUSH", "list", &value],
        &["MSET", "a", &value],
        &["MSET", "b", &value, "c", "1"],
        &["HSET", "hash", "f", &value, "g", "1"],
    ] {
        let reply = client.ask_text(words);
        assert!(["+OK", ":1048576", ":1", ":2", "$-1"].contains(&&*reply), "{}: {reply}", words[0]);
        assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
        assert_eq!(offenders(&mut server.observer()), "", "{}", words[0]);
    }
    assert_eq!(client.ask(&["STRLEN", "set"]), b":1048576\r\n");
    client.ask(&["MULTI"]);
    client.ask(&["SET", "in", &value]);
    client.ask(&["LPUSH", "list2", &value, "x"]);
    assert_eq!(client.ask(&["EXEC"]), b"*2\r\n+OK\r\n:2\r\n");
    assert_eq!(offenders(&mut server.observer()), "");
    assert!(has_default(&server, "set") && has_default(&server, "in"));
}

/// What would follow a large request is not sent when the request is given up half way.
#[test]
fn large_request_that_is_given_up() {
    let (server, proxy) = behind_proxy(&format!("{}[limits]\nmax_bulk = '1MiB'\n", inject()));
    let mut client = proxy.client();
    let (large, oversize) = ("v".repeat(100 << 10), "v".repeat(2 << 20));
    for round in 1..4 {
        client.send(&["RPUSH", "list", &large, &oversize, "x"]);
        client.send(&["INCR", "n"]);
        let reply = String::from_utf8(client.reply()).unwrap();
        assert!(reply.contains("limits.max_bulk"), "{reply}");
        assert_eq!(client.reply(), format!(":{round}\r\n").into_bytes());
        assert_eq!(
            client.ask(&["RPUSH", "other", &large, "x"]),
            format!(":{}\r\n", 2 * round).into_bytes()
        );
    }
    assert_eq!((left(&server, "list"), offenders(&mut server.observer())), (-2, String::new()));
}

/// The destination of an element that was waited for.
#[test]
fn blocked_client_is_closed() {
    let (server, proxy) = behind_proxy(&inject());
    let (mut waiting, mut other) = (proxy.client(), proxy.client());
    for (round, command) in ["BLMOVE", "BRPOPLPUSH"].into_iter().enumerate() {
        let target = format!("target{round}");
        let words = ["BLMOVE", "queue", &target, "LEFT", "RIGHT", "0"];
        let words = if round == 0 { &words[..] } else { &[command, "queue", &target, "0"][..] };
        waiting.send(words);
        waiting.send(&["TTL", &target]);
        server.await_blocked(1);
        assert_eq!(other.ask(&["RPUSH", "queue", "job"]), b":1\r\n");
        assert_eq!(waiting.reply(), b"$3\r\njob\r\n");
        assert_eq!(waiting.reply(), format!(":{DEFAULT}\r\n").into_bytes());
        assert!(has_default(&server, &target));
    }
    assert_eq!(waiting.ask(&["LLEN", "target0"]), b":1\r\n");
    assert_eq!(offenders(&mut server.observer()), "");
}

/// Many commands at once, with and without requests of the proxy's own between them.
#[test]
fn pipelines() {
    let straight = Server::plain(Brand::Redis);
    let (server, proxy) = behind_proxy(&inject());
    let lines = [
        "SET {k} v",
        "INCR n{k}",
        "GET {k}",
        "LPUSH l{k} a b",
        "LRANGE l{k} 0 -1",
        "MSET {k} 1 m{k} 2",
        "SET {k} v EX 99999",
        "PING",
        "ECHO x",
        "MULTI",
        "INCR n{k}",
        "SADD s{k} a",
        "GET n{k}",
        "MSET x{k} 1 y{k} 2",
        "EXEC",
        "DEL {k}",
        "SET {k} v FOO",
        "HSET l{k} f v",
        "BLPOP l{k} 0.01",
        "RENAME n{k} o{k}",
        "MULTI",
        "SET {k} x",
        "DISCARD",
        "SELECT 0",
        "XADD st{k} 1-1 f v",
    ];
    let mut wire = Vec::new();
    let mut count = 0;
    for round in 0..60 {
        for line in lines {
            let line = line.replace("{k}", &format!("k{}", round % 7));
            wire.extend(encode(&line.split(' ').collect::<Vec<_>>()));
            count += 1;
        }
    }
    for protocol in ["2", "3"] {
        straight.observer().ask(&["FLUSHALL"]);
        server.observer().ask(&["FLUSHALL"]);
        let mut clients = [Client::connect(&straight.target()).unwrap(), proxy.client()];
        let [expected, got] = [0, 1].map(|side| {
            clients[side].ask(&["HELLO", protocol]);
            clients[side].send_raw(&wire);
            (0..count).map(|_| clients[side].reply()).collect::<Vec<_>>()
        });
        for (at, (expected, got)) in expected.iter().zip(&got).enumerate() {
            let [expected, got] = [expected, got].map(|reply| String::from_utf8_lossy(reply));
            assert_eq!(expected, got, "reply {at}: {}", lines[at % lines.len()]);
        }
        assert_eq!(offenders(&mut server.observer()), "");
    }
}

//! Keys and values are as the policy requires; others are refused and not stored.
//!
//! Owns: the cases. Never knows: how the policy decides.
use crate::support;
use support::client::{Client, encode};
use support::proxy::Proxy;
use support::real_server::{Brand, Server};

const MIB: usize = 1 << 20;

fn behind_proxy(sections: &str) -> (Server, Proxy) {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, sections);
    (server, proxy)
}

fn refused(client: &mut Client, parts: &[&str]) {
    let reply = String::from_utf8(client.reply()).unwrap();
    assert!(reply.starts_with("-NOPERM respgate: "), "{reply}");
    assert!(parts.iter().all(|part| reply.contains(part)), "{reply}: {parts:?}");
}

/// Bytes that do not repeat in a way that would hide what is lost.
fn filler(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect()
}

/// Every name that `SCAN` returns until its cursor is 0 again.
fn scanned(client: &mut Client) -> Vec<String> {
    let (mut cursor, mut names) = ("0".to_owned(), Vec::new());
    loop {
        let page = client.ask_text(&["SCAN", &cursor, "COUNT", "7"]);
        let mut texts = page.split("\r\n").filter(|line| !line.starts_with(['*', '$', '~']));
        cursor = texts.next().unwrap().to_owned();
        names.extend(texts.filter(|text| !text.is_empty()).map(str::to_owned));
        if cursor == "0" {
            names.sort();
            return names;
        }
    }
}

/// Denied names are left out of every list, in each mode of keys and of the pool, in a transaction too.
#[test]
fn denied_names_are_left_out_of_lists_of_keys() {
    for (pool, rewrites) in [("shared", false), ("session", false), ("shared", true)] {
        let own = if rewrites { "mode = 'rewrite'\nprefix = 'app:'\n" } else { "" };
        let (server, proxy) = behind_proxy(&format!(
            "[policy.keys]\n{own}deny = ['secret*', '*password']\n[upstream.pool]\nmode = '{pool}'\n"
        ));
        let mut operator = server.observer();
        let prefix = if rewrites { "app:" } else { "" };
        for number in 0..50 {
            operator.ask(&["SET", &format!("{prefix}secret{number}"), "v"]);
        }
        for name in ["a", "b", "user:password", "c"] {
            operator.ask(&["SET", &format!("{prefix}{name}"), "v"]);
        }
        let mut client = proxy.client();
        for hello in ["2", "3"] {
            client.ask(&["HELLO", hello]);
            assert_eq!(scanned(&mut client), ["a", "b", "c"], "{pool} {rewrites}");
            let all = client.ask_text(&["KEYS", "*"]);
            assert!(all.starts_with("*3\r\n") && !all.contains("secret"), "{all}");
            assert_eq!(client.ask(&["KEYS", "secret*"]), b"*0\r\n");
            assert_eq!(client.ask(&["KEYS", "[ab]"]).get(..4).unwrap(), b"*2\r\n");
            assert!(client.ask(&["SCAN", "x"]).starts_with(b"-ERR invalid cursor"));
            assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
            for words in [&["KEYS", "*"][..], &["SCAN", "0", "COUNT", "1000"], &["GET", "a"]] {
                assert_eq!(client.ask(words), b"+QUEUED\r\n");
            }
            let all = client.ask_text(&["EXEC"]);
            assert!(!all.contains("secret") && !all.contains("password"), "{pool}: {all}");
            assert!(
                all.starts_with("*3\r\n*3\r\n") && all.trim_end().ends_with("$1\r\nv"),
                "{all}"
            );
            client.send(&["RANDOMKEY"]);
            refused(&mut client, &["(rule key)"]);
        }
    }
}

/// A list that is too long to be held is replaced by an error, and the connection goes on.
#[test]
fn list_of_keys_that_is_too_long_is_an_error() {
    let (server, proxy) = behind_proxy("[policy.keys]\ndeny = ['secret*']\n");
    let mut operator = server.observer();
    let long = "k".repeat(1000);
    for batch in 0..45 {
        let names: Vec<String> = (0..100).map(|at| format!("{long}{batch}:{at}")).collect();
        let words = names.iter().flat_map(|name| [name.as_str(), "v"]);
        operator.ask(&std::iter::once("MSET").chain(words).collect::<Vec<_>>());
    }
    let mut client = proxy.client();
    let reply = client.ask_text(&["KEYS", "*"]);
    assert!(reply.starts_with("-ERR respgate: this list of keys is longer than 4 MiB"), "{reply}");
    assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
    assert!(client.ask(&["KEYS", "k*"]).len() > 4 * MIB);
}

#[test]
fn keys() {
    let (server, proxy) = behind_proxy(
        "[policy.keys]\nmax_bytes = 20\npattern = 'app:*'\ncharset = 'printable'\n\
         deny = ['app:secret*']\n",
    );
    let mut client = proxy.client();
    assert_eq!(client.ask(&["SET", "app:a", "any value"]), b"+OK\r\n");
    for (words, parts) in [
        (
            &["SET", "other", "v"][..],
            &["'set' does not match (rule key)", "policy.keys.pattern"][..],
        ),
        (&["GET", "app:é"], &["bytes besides visible ASCII (rule key)"]),
        (&["GET", "app:a b"], &["bytes besides visible ASCII (rule key)"]),
        (&["MSET", "app:b", "1", "app:secret1", "2"], &["'mset' is denied (rule key)"]),
        (&["SORT", "app:l", "GET", "app:*"], &["'sort' is denied (rule key)"]),
        (&["DEL", "app:0123456789abcdefghi"], &["has 23 bytes (rule key); at most 20"]),
        (&["ZUNIONSTORE", "app:z", "2", "app:a", "x"], &["'zunionstore' does not match"]),
    ] {
        client.send(words);
        refused(&mut client, parts);
    }
    // A key of many bytes is not waited for either.
    let before = proxy.memory("VmRSS");
    client.send_raw(&encode(&[b"GET".to_vec(), filler(40 * MIB)]));
    refused(&mut client, &["has 41943040 bytes (rule key); at most 20"]);
    assert!(proxy.memory("VmRSS") < before + 8 * MIB as u64);
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    client.send(&["SET", "other", "v"]);
    refused(&mut client, &["(rule key)"]);
    assert!(client.ask_text(&["EXEC"]).starts_with("-EXECABORT"));
    assert_eq!(client.ask(&["GET", "app:a"]), b"$9\r\nany value\r\n");
    assert_eq!(server.observer().ask(&["DBSIZE"]), b":1\r\n");
}

/// From the header of a long value it is known that it will not pass: not a byte of it is kept.
#[test]
fn long_value_is_refused_and_not_kept() {
    let (server, proxy) = behind_proxy("[policy.values]\nmax_bytes = '1MiB'\nmax_args = 10\n");
    let mut client = proxy.client();
    let (long, fits) = (filler(40 * MIB), filler(MIB));
    assert_eq!(client.ask(&["SET", "warm", "v"]), b"+OK\r\n");
    client.send_raw(&encode(&[&b"SET"[..], b"fits", &fits]));
    assert_eq!(client.reply(), b"+OK\r\n");
    let before = proxy.memory("VmHWM");
    for words in [
        &[&b"SET"[..], b"k", &long][..],
        &[b"SET", b"k", &long, b"EX", b"5"],
        &[b"MSET", b"a", b"1", b"k", &long, b"b", b"2"],
        // The first long one would pass: the second is in flight behind it.
        &[b"RPUSH", b"l", &fits, &long],
        &[b"SETEX", b"k", b"5", &long],
    ] {
        let wire = [encode(&["INCR", "n"]), encode(words), encode(&["INCR", "n"])].concat();
        client.send_raw(&wire);
        assert!(client.reply().starts_with(b":"));
        let reply = String::from_utf8(client.reply()).unwrap();
        assert!(
            reply.contains("(rule value)") || reply.contains("policy.values.max_bytes"),
            "{reply}"
        );
        assert!(client.reply().starts_with(b":"));
    }
    let grown = proxy.memory("VmHWM").saturating_sub(before);
    assert!(grown < 16 * MIB as u64, "{grown} bytes");
    assert_eq!(server.observer().ask(&["EXISTS", "k", "a", "b", "l"]), b":0\r\n");
    assert_eq!(client.ask(&["STRLEN", "fits"]), b":1048576\r\n");
    // Nor does it come in by way of a script, which may be long itself.
    let script = format!("return redis.call('SET', KEYS[1], ARGV[1]) --{}", "x".repeat(2 * MIB));
    client.send_raw(&encode(&[&b"EVAL"[..], script.as_bytes(), b"1", b"k", &long]));
    assert!(client.reply().starts_with(b"-ERR respgate: the request was aborted"));
    client.send_raw(&encode(&[&b"SCRIPT"[..], b"LOAD", script.as_bytes()]));
    assert!(client.reply().starts_with(b"$40\r\n"));
    client.send_raw(&encode(&[&b"EVAL"[..], b"return 1", b"1", b"k", &long]));
    refused(&mut client, &["'eval' has 41943040 bytes (rule value); at most 1048576 are allowed"]);
    assert_eq!(server.observer().ask(&["EXISTS", "k"]), b":0\r\n");
    client.send_raw(&encode(&[&b"EVAL"[..], script.as_bytes(), b"1", b"scripted", &fits]));
    assert_eq!(client.reply(), b"+OK\r\n");
    // Inside MULTI it is as any refusal.
    client.send_raw(&[encode(&["MULTI"]), encode(&[&b"SET"[..], b"k", &long])].concat());
    assert_eq!(client.reply(), b"+OK\r\n");
    refused(&mut client, &["'set' has 41943040 bytes (rule value); at most 1048576 are allowed"]);
    assert!(client.ask_text(&["EXEC"]).starts_with("-EXECABORT"));
    // What does not write may be long.
    client.send_raw(&encode(&[&b"ECHO"[..], &filler(2 * MIB)]));
    assert!(client.reply().starts_with(b"$2097152\r\n"));
    client.send(&["SADD", "s", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    refused(&mut client, &["'sadd' has 11 arguments (rule value); at most 10 are allowed"]);
    assert_eq!(client.ask(&["SCARD", "s"]), b":0\r\n");
}

/// While MULTI collects, a further long argument is not collected.
#[test]
fn long_value_behind_one_that_is_collected() {
    let (server, proxy) = behind_proxy("[policy.values]\nmax_bytes = '1MiB'\n");
    let mut client = proxy.client();
    let (long, fits) = (filler(40 * MIB), filler(MIB));
    // The limit of a request that was collected is that request's own.
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    client.send_raw(&encode(&[&b"RPUSH"[..], b"l", &fits]));
    assert_eq!(client.reply(), b"+QUEUED\r\n");
    assert_eq!(client.ask(&["DISCARD"]), b"+OK\r\n");
    client.send_raw(&encode(&[&b"ECHO"[..], &filler(2 * MIB)]));
    assert!(client.reply().starts_with(b"$2097152\r\n"));
    let before = proxy.memory("VmHWM");
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    client.send_raw(&encode(&[&b"RPUSH"[..], b"l", &fits, &long, b"x"]));
    refused(&mut client, &["an argument has 41943040 bytes (rule value); at most 1048576"]);
    assert!(client.ask_text(&["EXEC"]).starts_with("-EXECABORT"));
    assert!(proxy.memory("VmHWM").saturating_sub(before) < 16 * MIB as u64);
    client.send_raw(&encode(&[&b"ECHO"[..], &filler(2 * MIB)]));
    assert!(client.reply().starts_with(b"$2097152\r\n"));
    assert_eq!(server.observer().ask(&["EXISTS", "l"]), b":0\r\n");
}

#[test]
fn values_in_json() {
    let (server, proxy) = behind_proxy("[policy.values]\nencoding = 'json'\nmax_bytes = '2MiB'\n");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["SET", "k", "{\"a\": [1, null, \"é\"]}"]), b"+OK\r\n");
    for words in [
        &["SET", "k", "{a: 1}"][..],
        &["MSET", "a", "1", "b", "x"],
        &["SETEX", "k", "5", ""],
        &["GETSET", "k", "[1,]"],
    ] {
        client.send(words);
        refused(&mut client, &["is not JSON (rule value)"]);
    }
    client.send_raw(&encode(&[&b"SET"[..], b"k", b"\"\xff\""]));
    refused(&mut client, &["is not JSON (rule value)"]);
    // A large text is looked at as a whole.
    let good = format!("[{}1]", "1,".repeat(MIB / 2));
    let bad = format!("[{}1", "1,".repeat(MIB / 2));
    assert_eq!(client.ask(&["SET", "large", &good]), b"+OK\r\n");
    client.send(&["SET", "bad", &bad]);
    refused(&mut client, &["is not JSON (rule value)"]);
    let deep = "[".repeat(MIB);
    client.send(&["SET", "bad", &deep]);
    refused(&mut client, &["is not JSON (rule value)"]);
    assert_eq!(client.ask(&["HSET", "h", "f", "not json"]), b":1\r\n");
    assert_eq!(server.observer().ask(&["EXISTS", "bad", "a", "b"]), b":0\r\n");
    assert_eq!(server.observer().ask(&["EXISTS", "large", "h", "k"]), b":3\r\n");
}

#[test]
fn values_in_utf8() {
    let (_server, proxy) =
        behind_proxy("[policy.values]\nencoding = 'utf8'\n[policy.keys]\ncharset = 'utf8'\n");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["SET", "é", "ö"]), b"+OK\r\n");
    client.send_raw(&encode(&[&b"SET"[..], b"k", b"\xf6"]));
    refused(&mut client, &["a value of 'set' is not UTF-8 (rule value)"]);
    client.send_raw(&encode(&[&b"GET"[..], b"\xf6"]));
    refused(&mut client, &["a key of 'get' is not UTF-8 (rule key)"]);
}

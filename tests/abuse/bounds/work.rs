//! The work that one request or one transaction makes grows with its size, and no faster: while respgate works for one
//! client, all others wait.
//!
//! Owns: requests that are compared with larger ones of their kind. Never knows: where the work is done.

use std::time::Duration;

use super::support::client::PATIENCE;
use super::*;

/// A request, or a transaction, of so many parts.
type Request = fn(usize) -> Vec<u8>;

/// A kind of request, how many parts it has, and how many replies.
struct Kind {
    name: &'static str,
    parts: usize,
    request: Request,
    replies: fn(usize) -> usize,
}

const ONE: fn(usize) -> usize = |_| 1;
/// MULTI, so many commands, EXEC.
const BLOCK: fn(usize) -> usize = |parts| parts + 2;
/// How many times more parts: quadratic work is sixteen times as much, linear work four times.
const MORE: usize = 4;

fn key(number: usize) -> String {
    format!("key:{number:016}")
}

fn listed(words: &[&str], parts: impl Iterator<Item = String>) -> Vec<u8> {
    let words = words.iter().map(|word| (*word).to_owned());
    encode(&words.chain(parts).collect::<Vec<_>>())
}

fn block(words: &[&str], parts: usize) -> Vec<u8> {
    [encode(&["MULTI"]), encode(words).repeat(parts), encode(&["EXEC"])].concat()
}

/// A pattern as long as one that is compared with others may be, of one that no denied name fits.
fn pattern(number: usize) -> String {
    format!("k{number:07}{}*", "x".repeat(900))
}

fn patterns(option: &str, parts: usize) -> impl Iterator<Item = String> {
    (0..parts).flat_map(move |number| [option.to_owned(), pattern(number)])
}

const LONG_KEYS: &[Kind] = &[
    Kind {
        name: "keys that are longer than a value may be",
        parts: 12_000,
        request: |parts| listed(&["DEL"], (0..parts).map(key)),
        replies: ONE,
    },
    Kind {
        name: "keys with values between them",
        parts: 6_000,
        request: |parts| {
            listed(&["MSET"], (0..parts).flat_map(|number| [key(number), "v".to_owned()]))
        },
        replies: ONE,
    },
];

const QUEUED: &[Kind] = &[
    Kind {
        name: "queued commands with a companion each",
        parts: 6_000,
        request: |parts| block(&["INCR", "k"], parts),
        replies: BLOCK,
    },
    Kind {
        name: "queued commands with keys in their replies",
        parts: 6_000,
        request: |parts| block(&["KEYS", "none"], parts),
        replies: BLOCK,
    },
    Kind {
        name: "queued commands that are answered here",
        parts: 6_000,
        request: |parts| block(&["CLIENT", "GETNAME"], parts),
        replies: BLOCK,
    },
];

/// CPU time that the process takes until the last reply is here.
fn cpu(proxy: &Proxy, kind: &Kind, parts: usize) -> Duration {
    let mut client = proxy.client();
    let before = proxy.cpu_time();
    client.send_raw(&(kind.request)(parts));
    for _ in 0..(kind.replies)(parts) {
        let got = client.next(PATIENCE * 4);
        assert!(matches!(got, Got::Reply(_)), "{}: {got:?}", kind.name);
    }
    proxy.cpu_time() - before
}

fn check(sections: &str, kinds: &[Kind]) {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, sections);
    for kind in kinds {
        let few = cpu(&proxy, kind, kind.parts);
        let many = cpu(&proxy, kind, kind.parts * MORE);
        let bound = few * 2 * u32::try_from(MORE).unwrap() + Duration::from_millis(300);
        assert!(many <= bound, "{}: {few:?}, then {many:?}", kind.name);
    }
}

#[test]
fn work_grows_with_a_request_and_no_faster() {
    check("[policy.values]\nmax_bytes = \"16B\"\nmax_args = 1000000\n", LONG_KEYS);
    check(
        "[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\n\
         [policy.ttl]\ndefault = \"1h\"\non_missing = \"inject\"\n",
        QUEUED,
    );
}

/// What looks like a message behind SUBSCRIBE in a transaction is looked for among the commands that only read.
#[test]
fn work_for_replies_that_look_like_messages_grows_with_their_number() {
    let kind = Kind {
        name: "replies that look like messages",
        parts: 20_000,
        request: |parts| {
            let reads = encode(&["LRANGE", "l", "0", "-1"]).repeat(parts);
            [encode(&["MULTI"]), encode(&["SUBSCRIBE", "x"]), reads, encode(&["EXEC"])].concat()
        },
        replies: |parts| parts + 3,
    };
    let server = Server::plain(Brand::Redis);
    server.observer().ask(&["RPUSH", "l", "message", "x", "y"]);
    let proxy = Proxy::before(&server, "");
    let took = cpu(&proxy, &kind, kind.parts * MORE);
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// Patterns are compared with denied ones, thousands in one request.
#[test]
fn work_for_one_pattern_of_many_is_small() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "[policy.keys]\ndeny = [\"secret:*\"]\n");
    let kinds = [
        Kind {
            name: "patterns of SCAN",
            parts: 4_000,
            request: |parts| listed(&["SCAN", "0"], patterns("MATCH", parts)),
            replies: ONE,
        },
        Kind {
            name: "patterns of SORT",
            parts: 4_000,
            request: |parts| listed(&["SORT", "none"], patterns("GET", parts)),
            replies: ONE,
        },
        Kind {
            name: "a pattern with long classes",
            parts: 4_000,
            request: |parts| {
                let class = format!("k[{}]*", "a".repeat(900));
                listed(&["SCAN", "0"], (0..parts).flat_map(|_| ["MATCH".to_owned(), class.clone()]))
            },
            replies: ONE,
        },
    ];
    for kind in kinds {
        let took = cpu(&proxy, &kind, kind.parts);
        assert!(took < Duration::from_secs(4), "{}: {took:?}", kind.name);
    }
}

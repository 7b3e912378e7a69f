//! Every command of the table, sent by one application beside the other's keys of the same names.
//!
//! Owns: the oracle on the server, which requests are sent and how. Never knows: policies.

use std::collections::BTreeMap;

use respgate::internals::base::clock::now;
use respgate::internals::command::{self, Effect, KeyKind, Lookup, find_keys, lookup};
use respgate::internals::resp::RequestBuf;

use super::support::client::{Client, Got, PATIENCE, encode, reply_length, show};
use super::support::forms::{Form, forms, plain};
use super::support::real_server::{Brand, Server};
use super::*;

/// In every value of the other application.
const MARK: &str = "zq7foreign";
const LAST: &str = "zend";

/// Commands without keys that end the server, change its configuration or block all clients.
const TOO_MUCH: &[&str] = &[
    "acl|deluser",
    "acl|load",
    "acl|save",
    "acl|setuser",
    "bgrewriteaof",
    "bgsave",
    "client|pause",
    "config|rewrite",
    "config|set",
    "failover",
    "hello",
    "module|load",
    "module|loadex",
    "module|unload",
    "quit",
    "save",
    "shutdown",
    "auth",
    "wait",
    "waitaof",
    "client|reply",
    "multi",
];

/// The other application has a key of every type, under the names that [`forms`] uses.
fn furnish(client: &mut Client) {
    for line in [
        "SET 0 zq7foreign",
        "RPUSH 1 zq7foreign b c",
        "SADD 2 zq7foreign b",
        "HSET 3 zq7foreign zq7foreign",
        "ZADD 4 1 zq7foreign 2 b",
        "XADD 5 1-1 zq7foreign v",
        "PFADD 6 zq7foreign",
        "SET 7 zq7foreign",
        "SET 1: zq7foreign",
        "GEOADD g 1 1 zq7foreign",
    ] {
        let reply = client.ask(&line.split(' ').collect::<Vec<_>>());
        assert_ne!(reply[0], b'-', "{line}: {}", show(&reply));
    }
}

/// Every key of a prefix and its value.
fn snapshot(server: &Server, prefix: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut observer = server.observer();
    let names = elements(&observer.ask(&["KEYS", &format!("{prefix}*")]));
    let dump = |name: Vec<u8>| {
        observer.send_raw(&encode(&[b"DUMP", &name[..]]));
        let value = observer.reply();
        (name, value)
    };
    names.into_iter().map(dump).collect()
}

/// The bulk strings of a flat array.
fn elements(reply: &[u8]) -> Vec<Vec<u8>> {
    let line =
        |from: usize| from + reply[from..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let (mut at, mut found) = (line(0), Vec::new());
    while at < reply.len() {
        let length = reply_length(&reply[at..]).unwrap();
        found.push(reply[line(at)..at + length - 2].to_vec());
        at += length;
    }
    found
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Array,
    Resp3,
    Inline,
    Split,
    Transaction,
}

/// Sends a request on a new connection; returns everything that is answered.
fn send_words(app: &Proxy, way: Way, words: &[Vec<u8>]) -> Vec<u8> {
    let mut client = app.client();
    if matches!(way, Way::Resp3) {
        assert!(client.ask(&["HELLO", "3"]).starts_with(b"%7\r\n"));
    }
    if matches!(way, Way::Transaction) {
        assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    }
    match way {
        Way::Array | Way::Resp3 | Way::Transaction => client.send_raw(&encode(words)),
        Way::Inline => {
            let quoted = words.iter().map(|word| format!("\"{}\"", word.escape_ascii()));
            client.send_raw(format!("{}\r\n", quoted.collect::<Vec<_>>().join(" ")).as_bytes());
        }
        Way::Split => encode(words).chunks(7).for_each(|piece| client.send_raw(piece)),
    }
    if matches!(way, Way::Transaction) {
        client.send(&["EXEC"]);
    }
    client.send(&["PING", LAST]);
    let mut all = Vec::new();
    loop {
        match client.next(PATIENCE) {
            Got::Reply(reply) => {
                let is_last = contains(&reply, LAST);
                all.extend(reply);
                if is_last {
                    return all;
                }
            }
            other => panic!("{way:?} {}: {other:?} after {}", line(words), show(&all)),
        }
    }
}

fn line(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

fn every_form() -> Vec<Form> {
    let carried = command::all().iter().filter(|spec| spec.effect != Effect::Never);
    carried.flat_map(|spec| forms(spec, "")).collect()
}

fn check_reply(what: &str, reply: &[u8]) {
    for text in [MARK, "qa:", "qb:"] {
        assert!(!contains(reply, text), "{what}: {}", show(reply));
    }
}

/// No request of one application reads or changes anything of the other.
fn keep_apart(brand: Brand, tls: bool, ways: &[Way]) {
    let server = Server::new(brand, tls, &[]);
    let (own, other) = (app(&server, "qa:", KEY_SCANS), app(&server, "qb:", KEY_SCANS));
    furnish(&mut other.client());
    let before = snapshot(&server, "qb:");
    assert!(before.len() >= 10);
    std::thread::scope(|scope| {
        for way in ways {
            let own = &own;
            scope.spawn(move || {
                for form in every_form() {
                    check_reply(
                        &format!("{way:?} {}", line(&form.words)),
                        &send_words(own, *way, &form.words),
                    );
                }
            });
        }
    });
    for spec in command::all().iter().filter(|spec| !spec.container && spec.keys.is_empty()) {
        if !TOO_MUCH.contains(&spec.name) && spec.effect != Effect::Never {
            let words = plain(spec).words;
            check_reply(&line(&words), &send_words(&own, Way::Array, &words));
        }
    }
    assert_eq!(own.client().ask(&["FLUSHDB"]), b"+OK\r\n");
    assert_eq!(own.client().ask(&["DBSIZE"]), b":0\r\n");
    assert_eq!(snapshot(&server, "qb:"), before);
    // What has neither prefix came from neither.
    let databases = ["0", "1"].map(|database| {
        let mut observer = server.observer();
        assert_eq!(observer.ask(&["SELECT", database]), b"+OK\r\n");
        elements(&observer.ask(&["KEYS", "*"]))
    });
    for name in databases.iter().flatten() {
        assert!(name.starts_with(b"qa:") || name.starts_with(b"qb:"), "{}", name.escape_ascii());
    }
    let mut client = other.client();
    assert_eq!(client.ask(&["DBSIZE"]), format!(":{}\r\n", before.len()).as_bytes());
    let seen = elements(&client.ask(&["KEYS", "*"]));
    assert_eq!(seen.len(), before.len());
    assert!(seen.iter().all(|name| !name.starts_with(b"q")));
}

#[test]
fn redis() {
    keep_apart(
        Brand::Redis,
        true,
        &[Way::Array, Way::Resp3, Way::Inline, Way::Split, Way::Transaction],
    );
}

#[test]
fn valkey() {
    if Brand::Valkey.available() {
        keep_apart(Brand::Valkey, false, &[Way::Resp3, Way::Transaction]);
    }
}

/// MONITOR sees the prefix in every place of every form.
#[test]
fn every_place_has_the_prefix() {
    for brand in [Brand::Redis, Brand::Valkey] {
        if !brand.available() {
            continue;
        }
        let server = Server::new(brand, brand == Brand::Redis, &[]);
        let own = app(&server, "q[a]:", "");
        let mut monitor = server.observer();
        assert_eq!(monitor.ask(&["MONITOR"]), b"+OK\r\n");
        let mut seen = 0;
        for form in every_form() {
            send_words(&own, Way::Array, &form.words);
            seen += usize::from(check_arrived(&mut monitor, &form));
        }
        assert!(seen > 200, "{seen}");
    }
}

/// Reads the requests that the server received up to the last PING; returns whether the form was among them.
fn check_arrived(monitor: &mut Client, form: &Form) -> bool {
    let (mut arrived, deadline) = (false, now() + PATIENCE);
    loop {
        assert!(now() < deadline, "{}", line(&form.words));
        let Got::Reply(text) = monitor.next(PATIENCE) else { panic!("MONITOR ended") };
        let words = quoted(&text);
        if words.iter().any(|word| word == LAST.as_bytes()) {
            return arrived;
        }
        let request = RequestBuf::from_args(&words);
        let Lookup::Command(spec) = lookup(&request.as_request()) else { continue };
        let mut keys = Vec::new();
        if find_keys(spec, &request.as_request(), &mut keys).is_ok() {
            for at in &keys {
                check_name(at.kind, &words[at.arg as usize], &words);
            }
        }
        if spec.id == form.spec.id && words.len() == form.words.len() {
            arrived = true;
            for (place, kind) in &form.places {
                check_name(*kind, &words[*place], &words);
            }
        }
    }
}

fn check_name(kind: KeyKind, name: &[u8], words: &[Vec<u8>]) {
    let scans = ["keys", "scan", "clusterscan"]
        .iter()
        .any(|word| words[0].eq_ignore_ascii_case(word.as_bytes()));
    let is_glob = kind == KeyKind::ChannelPattern || (kind == KeyKind::KeyPattern && scans);
    let prefix: &[u8] = if is_glob { b"q\\[a\\]:" } else { b"q[a]:" };
    assert!(name.starts_with(prefix), "{}", line(words));
    assert!(!name[prefix.len()..].starts_with(prefix), "twice: {}", line(words));
}

/// The arguments of a line of MONITOR (Redis: `sdscatrepr`).
fn quoted(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = text.iter().copied().skip_while(|byte| *byte != b'"');
    while bytes.next() == Some(b'"') {
        let mut word = Vec::new();
        loop {
            match bytes.next().unwrap() {
                b'"' => break,
                b'\\' => word.push(match bytes.next().unwrap() {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    other => other,
                }),
                other => word.push(other),
            }
        }
        words.push(word);
        if bytes.next() != Some(b' ') {
            break;
        }
    }
    words
}

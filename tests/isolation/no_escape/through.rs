//! The same against a server: what is refused does not reach it by one byte.
//!
//! Owns: the ways a request can be written, the tricks, and what the server is seen to receive.
//! Never knows: how a policy decides.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use respgate::internals::base::clock::now;

use super::support::client::{Client, Got, PATIENCE, Target, encode};
use super::support::proxy::{Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port};
use super::*;

const ACL: &str = "+@all ~app1:* &app1:*";
/// In no name but foreign ones.
const MARK: &str = "zq7foreign";

type Words = Vec<Vec<u8>>;

/// Every request that must be refused because of one foreign name.
fn foreign_requests() -> Vec<Words> {
    let all = command::all().iter().filter(|spec| spec.effect != Effect::Unsubscribe);
    let mut requests: Vec<Words> = all
        .flat_map(|spec| forms(spec, "app1:"))
        .flat_map(|form| escapes(&form, &format!("{MARK}:")))
        .collect();
    requests.extend(TRICKS.iter().map(|line| {
        line.replace("{x}", MARK).split(' ').map(|word| word.replace("\\e", "").into()).collect()
    }));
    requests
}

/// Where servers, other proxies or careless parsers let a name through.
const TRICKS: &[&str] = &[
    "SORT app1:a STORE app1:b STORE {x}",
    "SORT app1:a STORE {x} STORE app1:b",
    "SORT app1:a BY {x}_* GET #",
    "SORT app1:a BY nosort GET app1:* GET {x}*->f",
    "SORT app1:a BY app1:*->{x} GET *{x}",
    "SORT app1:a LIMIT 0 1 GET * STORE app1:{x}",
    "SORT_RO app1:a BY STORE GET {x}:*",
    "GEORADIUS app1:g 0 0 1 km STORE app1:a STORE {x}",
    "GEORADIUS app1:g 0 0 1 km STORE {x} STORE app1:a",
    "GEORADIUS app1:g 0 0 1 km STORE app1:a STOREDIST {x}",
    "GEORADIUSBYMEMBER app1:g STORE 1 km STORE {x}",
    "PFMERGE {x}",
    "PFCOUNT app1:a {x}",
    "SCAN 0 MATCH app1:* MATCH {x}*",
    "SCAN 0 MATCH {x}* MATCH app1:*",
    "SCAN 0 COUNT 10 MATCH [{x}a]pp1:*",
    "SCAN 0 MATCH \\app1:{x}*",
    "SCAN 0 MATCH app?:{x}",
    "KEYS [a]pp1:{x}",
    "KEYS app1[:-z]{x}*",
    "XREADGROUP GROUP STREAMS STREAMS STREAMS {x} >",
    "XREADGROUP GROUP g c COUNT 1 STREAMS app1:s {x} > >",
    "XREAD COUNT STREAMS STREAMS {x} 0",
    "XREAD STREAMS app1:a {x} 0 0",
    "MIGRATE 127.0.0.1 1 {x} 0 1",
    "MIGRATE 127.0.0.1 1 \\e 0 1 AUTH KEYS KEYS {x}",
    "MIGRATE 127.0.0.1 1 \\e 0 1 KEYS app1:a {x}",
    "EVAL x 01 {x}",
    "EVAL x +1 {x}",
    "EVAL x 2 app1:a {x}",
    "ZUNIONSTORE app1:a 2 app1:b {x}",
    "ZUNIONSTORE {x} 1 app1:b",
    "LMPOP 2 app1:a {x} LEFT",
    "LMPOP 1 {x} LEFT",
    "BLMPOP 0 2 app1:a {x} LEFT",
    "BITOP NOT app1:a {x}",
    "OBJECT encoding {x}",
    "MEMORY usage {x}",
    "XINFO stream {x}",
    "XGROUP create {x} g $ MKSTREAM",
    "DEBUG OBJECT {x}",
    "COPY app1:a {x} DB 1 REPLACE",
    "COPY app1:a app1:{x} DB 1",
    "MOVE app1:{x} 1",
    "RENAME {x} app1:a",
    "SMOVE app1:a {x} m",
    "APP1:GET {x}",
    "GET APP1:{x}",
    "GET app1{x}",
    "GET app1",
    "GET \\e",
    "MGET app1:a app1:b app1:c app1:d app1:e app1:f app1:g app1:h app1:i {x}",
    "PSUBSCRIBE [_]_key*{x}",
    "PSUBSCRIBE ?*{x}",
    "PSUBSCRIBE app1:* [^z]*{x}",
    "SUBSCRIBE __keyevent@0__:{x}",
    "PUBLISH __redis__:invalidate {x}",
    "SPUBLISH {x} m",
    "CLIENT TRACKING ON BCAST PREFIX app1: PREFIX {x}",
    "NOSUCH {x}",
    "OBJECT NOSUCH {x}",
    "GET|{x} app1:a",
];

/// What is refused although it names no key, because it would show or touch others'.
fn revealing() -> Vec<&'static str> {
    let policy = policy(ACL);
    let all = command::all().iter().filter(|spec| !spec.container && spec.keys.is_empty());
    let refused = all.filter(|spec| judge(&policy, &plain(spec).words).is_some());
    refused.map(|spec| spec.name).collect()
}

/// How the same words can be written.
#[derive(Clone, Copy, Debug)]
enum Way {
    Array,
    Resp3,
    Inline,
    MixedCase,
    Split,
    Transaction,
}

const WAYS: [Way; 6] =
    [Way::Array, Way::Resp3, Way::Inline, Way::MixedCase, Way::Split, Way::Transaction];

/// Sends each request; each must be refused, and the session goes on.
fn try_all(target: &Target, way: Way, requests: &[Words]) {
    let mut client = Client::connect(target).unwrap();
    if matches!(way, Way::Resp3) {
        assert!(client.ask(&["HELLO", "3"]).starts_with(b"%7\r\n"));
    }
    for words in requests {
        if matches!(way, Way::Transaction) {
            assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
            assert_eq!(client.ask(&["GET", "app1:never"]), b"+QUEUED\r\n");
        }
        send(&mut client, way, words);
        let reply = client.reply();
        assert_eq!(reply[0], b'-', "{way:?} {}: {}", show(words), reply.escape_ascii());
        if matches!(way, Way::Transaction) {
            let exec = client.ask(&["EXEC"]);
            assert!(exec.starts_with(b"-EXECABORT"), "{}: {}", show(words), exec.escape_ascii());
        }
    }
    assert_eq!(
        client.ask(&["GET", "app1:none"]).first(),
        Some(if matches!(way, Way::Resp3) { &b'_' } else { &b'$' })
    );
}

fn send(client: &mut Client, way: Way, words: &Words) {
    match way {
        Way::Array | Way::Resp3 | Way::Transaction => client.send_raw(&encode(words)),
        Way::Inline => {
            let quoted = words.iter().map(|word| format!("\"{}\"", word.escape_ascii()));
            client.send_raw(format!("{}\r\n", quoted.collect::<Vec<_>>().join(" ")).as_bytes());
        }
        Way::MixedCase => {
            let mut words = words.clone();
            // The name, a subcommand, an option; never a name of the test's own.
            for word in words.iter_mut().filter(|word| word.iter().all(u8::is_ascii_alphabetic)) {
                for (at, byte) in word.iter_mut().enumerate() {
                    let change = if at % 2 == 0 {
                        u8::make_ascii_lowercase
                    } else {
                        u8::make_ascii_uppercase
                    };
                    change(byte);
                }
            }
            client.send_raw(&encode(&words));
        }
        Way::Split => encode(words).chunks(5).for_each(|piece| client.send_raw(piece)),
    }
}

/// Everything at once: six clients, each in its own way.
fn storm(proxy: &Proxy) {
    let requests = foreign_requests();
    assert!(requests.len() > 400, "{}", requests.len());
    let keyless: Vec<Words> = revealing()
        .iter()
        .filter_map(|name| command::all().iter().find(|spec| spec.name == *name))
        .map(|spec| plain(spec).words)
        .collect();
    assert!(keyless.len() > 20, "{}", keyless.len());
    std::thread::scope(|scope| {
        for way in WAYS {
            let (requests, keyless) = (&requests, &keyless);
            scope.spawn(move || {
                try_all(proxy.target(), way, requests);
                try_all(proxy.target(), way, keyless);
            });
        }
    });
}

/// Mutual TLS; seen by MONITOR and by the server's own count of commands.
#[test]
fn server_never_receives_a_foreign_name() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::with_policy(&server, ACL, "");
    let mut monitor = server.observer();
    assert_eq!(monitor.ask(&["MONITOR"]), b"+OK\r\n");
    assert_eq!(server.observer().ask(&["CONFIG", "RESETSTAT"]), b"+OK\r\n");
    storm(&proxy);
    assert_eq!(proxy.client().ask(&["SET", "app1:last", "1"]), b"+OK\r\n");
    let (mut seen, deadline) = (String::new(), now() + PATIENCE);
    while !seen.contains("app1:last") {
        assert!(now() < deadline, "{seen}");
        let Got::Reply(line) = monitor.next(PATIENCE) else { panic!("MONITOR ended") };
        seen.push_str(&String::from_utf8(line).unwrap());
    }
    assert!(seen.contains("app1:none"), "the eye is open");
    assert!(!seen.contains(MARK) && !seen.contains("never"), "{seen}");
    let counted = server.observer().ask_text(&["INFO", "commandstats"]);
    assert!(counted.contains("cmdstat_get:"), "{counted}");
    for name in revealing() {
        // Commands that the observer and respgate's login send themselves.
        if !["monitor", "config|resetstat", "info"].contains(&name) {
            assert!(!counted.contains(&format!("cmdstat_{name}:")), "{name}\n{counted}");
        }
    }
    assert_eq!(server.observer().ask(&["DBSIZE"]), b":1\r\n");
}

/// Plaintext through a recorder: every byte that respgate writes is looked through.
#[test]
fn no_byte_of_a_foreign_name_is_written() {
    let server = Server::plain(Brand::Redis);
    let record = Arc::new(Mutex::new(Vec::new()));
    let between = recorder(server.port, &record);
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let text = configuration(&server, &listener(&target, ""), ACL, telemetry);
    let text = text.replace(&format!("localhost:{}", server.port), &format!("127.0.0.1:{between}"));
    let proxy = Proxy::configured(directory(), target, telemetry, &text);
    storm(&proxy);
    let record = record.lock().unwrap();
    let has = |text: &str| record.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("app1:none"), "the ear is open");
    assert!(!has(MARK) && !has("never"));
}

/// Passes everything on to the server's port, and keeps what goes there.
fn recorder(port: u16, record: &Arc<Mutex<Vec<u8>>>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    let record = Arc::clone(record);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
            let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let record = Arc::clone(&record);
            std::thread::spawn(move || {
                pass(client, server, |bytes| record.lock().unwrap().extend(bytes))
            });
            std::thread::spawn(move || pass(back, forth, |_| {}));
        }
    });
    own
}

fn pass(mut from: TcpStream, mut to: TcpStream, note: impl Fn(&[u8])) {
    let mut chunk = [0; 4096];
    while let Ok(count) = from.read(&mut chunk) {
        note(&chunk[..count]);
        if count == 0 || to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

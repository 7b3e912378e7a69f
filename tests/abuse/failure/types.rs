//! Every type of reply in every place, legal and not: it reaches the client that sent the request and no
//! other, or the connection closes and no client receives it.
//!
//! Owns: the list of types and places. Never knows: what the types mean.

use std::time::Duration;

use super::before;
use super::support::client::{Client, Got, PATIENCE, encode};
use super::support::fake_server::{FakeServer, Order};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};

/// Values whose end is certain in either version.
const RESP2: &[&str] = &[
    "+x\r\n",
    "+a\nb\rc\r\r\n",
    "-ERR x\r\n",
    ":7\r\n",
    "$1\r\nx\r\n",
    "$4\r\n>1\r\n\r\n",
    "$-1\r\n",
    "*1\r\n:7\r\n",
    "*0\r\n",
    "*-1\r\n",
];

/// The same in RESP3 alone.
const RESP3: &[&str] = &[
    "_\r\n",
    "#t\r\n",
    ",1.5\r\n",
    ",-nan\r\n",
    "(12345678901234567890123\r\n",
    "!5\r\nERR x\r\n",
    "=5\r\ntxt:x\r\n",
    "%1\r\n+a\r\n:7\r\n",
    "~1\r\n:7\r\n",
    "|1\r\n+a\r\n:7\r\n:8\r\n",
    "$?\r\n;1\r\nx\r\n;0\r\n",
    "*?\r\n:7\r\n.\r\n",
    "%?\r\n+a\r\n:7\r\n.\r\n",
    "~?\r\n:7\r\n.\r\n",
];

/// What no shared connection may carry.
const NEVER: &[&str] = &[
    ">1\r\n:7\r\n",
    ">0\r\n",
    "|1\r\n+a\r\n>1\r\n:7\r\n:8\r\n",
    ".\r\n",
    ";0\r\n",
    "@1\r\n",
    "^1\r\n",
    "x\r\n",
    "\0\r\n",
    "\r\n",
    "\n",
    "7\r\n",
    " :7\r\n",
    ":\r\n",
    ":+7\r\n",
    "$01\r\nx\r\n",
    "$1\r\nxyz",
    "$-2\r\n",
    "*-2\r\n",
    "*9223372036854775808\r\n",
    "#x\r\n",
    "_x\r\n",
    "%-1\r\n",
];

/// A request that has not arrived by then is held back: respgate writes nothing more to a connection that
/// is silent for 25 ms.
const IN_LINE: Duration = Duration::from_millis(100);

/// What precedes and follows a value, in both versions and in RESP3 alone.
const PLACES2: &[(&str, &str)] = &[("", ""), ("*2\r\n", ":1\r\n"), ("*1\r\n*2\r\n:1\r\n", "")];
const PLACES3: &[(&str, &str)] = &[
    ("%1\r\n+k\r\n", ""),
    ("~1\r\n", ""),
    ("|1\r\n+k\r\n", ":1\r\n"),
    ("*?\r\n", ".\r\n"),
    ("*1\r\n%1\r\n+k\r\n*2\r\n:1\r\n", ""),
];

struct Scene {
    server: FakeServer,
    proxy: Proxy,
    count: usize,
}

impl Scene {
    fn new() -> Self {
        let server = FakeServer::start();
        let proxy = before(&server, "", "");
        Self { server, proxy, count: 0 }
    }

    fn client(&self, version: u8) -> Client {
        let mut client = self.proxy.client();
        if version == 3 {
            assert!(client.ask(&["HELLO", "3"]).starts_with(b"%"));
        }
        client
    }

    /// Nothing on the connection that this client uses is answered before the gate is released.
    fn close_gate(&mut self, client: &mut Client) -> (&'static str, usize) {
        let gate: &'static str = Box::leak(format!("wait{}", self.count).into_boxed_str());
        self.server.order(&format!("ECHO {gate}"), Order::Gate(gate), 1);
        client.send(&["ECHO", gate]);
        (gate, self.server.connection_of(&format!("ECHO {gate}")))
    }

    /// The server answers one of two clients of one connection by `said`.
    fn shared(&mut self, version: u8, given: &str, legal: bool) {
        self.in_one_line(version, given, legal, false);
    }

    /// The same within EXEC's array.
    fn within_exec(&mut self, version: u8, value: &str, legal: bool) {
        self.in_one_line(version, &format!("*1\r\n{value}"), legal, true);
    }

    /// Neither client is answered before the other's request is in line. A connection that was silent for
    /// some milliseconds takes no more requests: where the second came too late, both are made again.
    fn in_one_line(&mut self, version: u8, given: &str, legal: bool, transaction: bool) {
        for _ in 0..100 {
            self.count += 1;
            let (bad, good) = (format!("bad{}", self.count), format!("good{}", self.count));
            let (mut one, mut two) = (self.client(version), self.client(version));
            let mut asked = vec!["SET", &bad, "1"];
            if transaction {
                assert_eq!(one.ask(&["MULTI"]), b"+OK\r\n");
                assert_eq!(one.ask(&asked), b"+QUEUED\r\n");
                asked = vec!["EXEC"];
            }
            let (gate, connection) = self.close_gate(&mut two);
            let begin = if transaction { "EXEC".to_owned() } else { format!("SET {bad}") };
            self.server.order(&begin, Order::Instead(given.as_bytes().to_vec()), 1);
            one.send(&asked);
            two.send(&["SET", &good, "1"]);
            let at = |key: &str| self.server.connection_within(&format!("SET {key} "), IN_LINE);
            if [at(&bad), at(&good)] == [Some(connection); 2] {
                return self.judge(&mut one, &mut two, (gate, connection), given, legal);
            }
            self.server.release(gate);
            self.server.connection_of(&format!("SET {bad} "));
        }
        panic!("no two requests were in line on one connection");
    }

    fn judge(
        &self,
        one: &mut Client,
        two: &mut Client,
        (gate, connection): (&'static str, usize),
        given: &str,
        legal: bool,
    ) {
        self.server.release(gate);
        assert_eq!(two.reply(), encode(&[gate.as_bytes()])[4..], "{given:?}");
        if legal {
            assert_eq!(
                one.bytes(given.len(), PATIENCE).escape_ascii().to_string(),
                given.as_bytes().escape_ascii().to_string()
            );
            assert_eq!(two.reply(), b"+OK\r\n", "{given:?}");
            assert!(!self.server.is_closed(connection), "{given:?}");
            assert_eq!(one.ask(&["ECHO", "a"]), b"$1\r\na\r\n", "{given:?}");
        } else {
            // The one client receives nothing of it, the other its own reply, or an error.
            for client in [&mut *one, &mut *two] {
                match client.next(PATIENCE) {
                    Got::End => {}
                    Got::Reply(reply) => assert!(
                        reply.starts_with(b"-ERR respgate: upstream connection lost")
                            || reply == b"+OK\r\n",
                        "{given:?}: {}",
                        reply.escape_ascii()
                    ),
                    Got::Silence => panic!("{given:?} leaves a client without an answer"),
                }
            }
            wait_until("the connection goes", || self.server.is_closed(connection));
        }
        let mut next = self.client(2);
        assert_eq!(next.ask(&["ECHO", "b"]), b"$1\r\nb\r\n", "{given:?}");
    }
}

fn cases() -> impl Iterator<Item = (u8, String, bool)> {
    let versions = [2_u8, 3];
    versions.into_iter().flat_map(|version| {
        let types = RESP2.iter().map(|text| (text, true));
        let types = types.chain(RESP3.iter().map(move |text| (text, version == 3)));
        let types = types.chain(NEVER.iter().map(|text| (text, false)));
        types.flat_map(move |(text, legal)| {
            let places = PLACES2.iter().chain(if version == 3 { PLACES3 } else { &[] });
            // The end of a stream is at its place there.
            let places = places.filter(move |(before, _)| (*before, *text) != ("*?\r\n", ".\r\n"));
            places.map(move |(before, behind)| (version, format!("{before}{text}{behind}"), legal))
        })
    })
}

#[test]
fn replies_on_a_shared_connection() {
    let mut scene = Scene::new();
    for (version, given, legal) in cases() {
        scene.shared(version, &given, legal);
    }
    let counted = scene.proxy.metric("respgate_upstream_disconnects_total{reason=\"protocol\"}");
    assert!(counted > 10.0, "{counted}");
    scene.proxy.await_log(&["UPS-E001", "push"]);
    // An aggregate of RESP3 within RESP2 is itself refused.
    for (before, behind) in PLACES3 {
        scene.shared(2, &format!("{before}:7\r\n{behind}"), false);
    }
}

#[test]
fn replies_within_a_transaction() {
    let mut scene = Scene::new();
    for version in [2, 3] {
        RESP2.iter().for_each(|value| scene.within_exec(version, value, true));
        RESP3.iter().for_each(|value| scene.within_exec(version, value, version == 3));
        NEVER.iter().for_each(|value| scene.within_exec(version, value, false));
    }
}

/// A connection of one client carries whatever has an end; no other client gets it once a push was part
/// of a reply.
#[test]
fn replies_on_a_pinned_connection() {
    let scene = Scene::new();
    for (number, (version, given, legal)) in cases().enumerate() {
        let key = format!("q{number}");
        let mut one = scene.client(version);
        scene.server.order(&format!("BLPOP {key}"), Order::Instead(given.as_bytes().to_vec()), 1);
        one.send(&["BLPOP", &key, "0"]);
        let connection = scene.server.connection_of(&format!("BLPOP {key}"));
        if legal {
            let received = one.bytes(given.len(), PATIENCE);
            assert_eq!(
                received.escape_ascii().to_string(),
                given.as_bytes().escape_ascii().to_string()
            );
            assert_eq!(one.ask(&["ECHO", "a"]), b"$1\r\na\r\n", "{given:?}");
        } else if given.contains('>') && !given.starts_with('>') && !given.starts_with("$") {
            wait_until("the connection goes", || scene.server.is_closed(connection));
        }
        drop(one);
        let (mut two, other) = (scene.client(version), format!("r{number}"));
        scene.server.order(&format!("BLPOP {other}"), Order::Instead(b"*-1\r\n".to_vec()), 1);
        assert_eq!(two.ask(&["BLPOP", &other, "0"]), b"*-1\r\n", "{given:?}");
    }
}

/// A server that pushes and describes its replies although no client is subscribed: the client that sent
/// the request receives all of it, and no other connection ends.
#[test]
fn push_that_was_asked_for() {
    let server = Server::new(Brand::Redis, false, &["--enable-debug-command", "yes"]);
    let proxy = Proxy::before(&server, "");
    let mut other = proxy.client();
    let forms = [
        "string", "integer", "double", "null", "array", "set", "map", "attrib", "push", "verbatim",
        "true", "false", "bignum",
    ];
    for version in ["2", "3"] {
        let (mut straight, mut through) = (server.observer(), proxy.client());
        for client in [&mut straight, &mut through] {
            client.ask(&["HELLO", version]);
        }
        for form in forms {
            let mut sent = encode(&["DEBUG", "PROTOCOL", form]);
            if form == "push" {
                // Within a transaction the server itself counts it wrongly; it harms no other client.
                let mut wrong = proxy.client();
                for words in [&["HELLO", version][..], &["MULTI"], &["DEBUG", "PROTOCOL", form]] {
                    wrong.ask(words);
                }
                wrong.ask(&["EXEC"]);
            } else {
                for words in [&["MULTI"][..], &["DEBUG", "PROTOCOL", form], &["EXEC"]] {
                    sent.extend(encode(words));
                }
            }
            sent.extend(encode(&["ECHO", "end"]));
            let until_end = |client: &mut Client| {
                client.send_raw(&sent);
                let mut received = Vec::new();
                while !received.ends_with(b"$3\r\nend\r\n") {
                    let byte = client.bytes(1, PATIENCE);
                    assert!(!byte.is_empty(), "{form}: {}", received.escape_ascii());
                    received.extend(byte);
                }
                received.escape_ascii().to_string()
            };
            assert_eq!(
                until_end(&mut through),
                until_end(&mut straight),
                "{form} in RESP{version}"
            );
            assert_eq!(other.ask(&["INCR", "n"]).first(), Some(&b':'));
        }
    }
    let lost = proxy.metric("respgate_upstream_disconnects_total{reason=\"protocol\"}");
    assert!((lost - 1.0).abs() < 0.1, "the connection of the wrong transaction alone: {lost}");
}

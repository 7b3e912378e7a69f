//! Every command about the connection, in every state of a connection: the whole byte stream that a
//! client reads from a respgate is the one that it reads from the server.
//!
//! Owns: the commands, the states, what of the streams is each side's own. Never knows: how respgate
//! does it.

use std::collections::BTreeMap;
use std::time::Duration;

use respgate::internals::base::clock::now;
use respgate::internals::command::{Effect, all};

use super::support::client::{Client, Got, PATIENCE, encode, show};
use super::support::pair::{Pair, Shape};
use super::support::real_server::Brand;

/// `{me}` is the client's own number, `{other}` that of one that is blocked, `{gone}` that of none.
const COMMANDS: &[&str] = &[
    "CLIENT REPLY ON",
    "CLIENT REPLY OFF",
    "CLIENT REPLY SKIP",
    "CLIENT REPLY maybe",
    "CLIENT UNBLOCK {other}",
    "CLIENT UNBLOCK {other} ERROR",
    "CLIENT UNBLOCK {other} TIMEOUT",
    "CLIENT UNBLOCK {other} NEVER",
    "CLIENT UNBLOCK {gone}",
    "CLIENT UNBLOCK {me}",
    "CLIENT UNBLOCK x",
    "CLIENT KILL ID {other}",
    "CLIENT KILL ID {gone}",
    "CLIENT KILL ID {me} SKIPME no",
    "CLIENT KILL TYPE wrong",
    "CLIENT KILL 127.0.0.1:1",
    "CLIENT LIST ID {me}",
    "CLIENT LIST ID {other}",
    "CLIENT LIST TYPE wrong",
    "CLIENT INFO",
    "CLIENT ID",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "CLIENT SETNAME",
    "CLIENT SETINFO lib-name lib",
    "CLIENT SETINFO lib-name",
    "CLIENT GETREDIR",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON BCAST",
    "CLIENT TRACKING ON OPTIN",
    "CLIENT TRACKING ON NOLOOP",
    "CLIENT TRACKING ON OPTIN OPTOUT",
    "CLIENT TRACKING ON REDIRECT {other}",
    "CLIENT TRACKING ON REDIRECT {hearer}",
    "CLIENT TRACKING ON REDIRECT {hearer} BCAST",
    "CLIENT TRACKING ON REDIRECT {me}",
    "CLIENT TRACKING ON REDIRECT {gone}",
    "CLIENT TRACKING ON REDIRECT x",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKING OFF REDIRECT {hearer}",
    "CLIENT TRACKING maybe",
    "CLIENT CACHING YES",
    "CLIENT CACHING NO",
    "CLIENT CACHING maybe",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-EVICT OFF",
    "CLIENT NO-EVICT maybe",
    "CLIENT NO-TOUCH ON",
    "CLIENT NO-TOUCH maybe",
    "CLIENT IMPORT-SOURCE maybe",
    "CLIENT CAPA redirect",
    "CLIENT HELP",
    "CLIENT NOSUCH",
    "CLIENT",
    "CLIENT UNPAUSE",
    "HELLO",
    "HELLO 2",
    "HELLO 3",
    "HELLO 4",
    "HELLO x",
    "HELLO 3 SETNAME me",
    "HELLO 2 SETNAME \"a b\"",
    "HELLO 3 AUTH default x",
    "HELLO 2 AUTH default x SETNAME me",
    "HELLO 3 SETNAME me AUTH default x",
    "HELLO 3 AUTH stranger x",
    "HELLO 3 AUTH default",
    "AUTH x",
    "AUTH default x",
    "AUTH stranger x",
    "AUTH a b c",
    "ACL WHOAMI",
    "ASKING",
    "READONLY",
    "READWRITE",
    "RESET",
    "QUIT",
    "SELECT 3",
    "SELECT 99",
    "SELECT x",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH k",
    "UNWATCH",
    "MONITOR",
    "WAIT 0 0",
    "SUBSCRIBE c",
    "SUBSCRIBE c d",
    "SUBSCRIBE d d d",
    "PSUBSCRIBE c* d*",
    "SSUBSCRIBE s t",
    "UNSUBSCRIBE",
    "UNSUBSCRIBE c",
    "UNSUBSCRIBE c d",
    "PUNSUBSCRIBE",
    "PUNSUBSCRIBE c* d* e*",
    "SUNSUBSCRIBE",
    "SUNSUBSCRIBE s t",
    "SCRIPT KILL",
    "FUNCTION KILL",
    "BLPOP none 0.01",
    "PUBLISH c hello",
    "SPUBLISH s hello",
    "SYNC",
    "PSYNC",
    "REPLCONF ACK",
    "REPLCONF listening-port 1",
    "REPLCONF ack 1",
    "FUNCTION STATS",
    "FAILOVER",
];

/// `@` is the command.
const STATES: &[(&str, &[&str])] = &[
    ("alone", &["@"]),
    ("in MULTI", &["MULTI", "@", "EXEC"]),
    ("among others in MULTI", &["MULTI", "INCR n", "@", "GET where", "EXEC"]),
    ("twice in MULTI", &["MULTI", "@", "@", "EXEC"]),
    ("in MULTI and discarded", &["MULTI", "@", "DISCARD"]),
    ("in a spoiled MULTI", &["MULTI", "NOSUCH", "@", "EXEC"]),
    ("after WATCH", &["WATCH k", "@", "MULTI", "PING", "EXEC"]),
    ("in MULTI after WATCH", &["WATCH k", "MULTI", "@", "EXEC"]),
    ("in MULTI after a watched key has changed", &["WATCH k", "SET k 2", "MULTI", "@", "EXEC"]),
    ("subscribed", &["SUBSCRIBE c", "@"]),
    ("in MULTI after SUBSCRIBE in it", &["MULTI", "SUBSCRIBE c d", "@", "PING", "EXEC"]),
    ("in MULTI, subscribed in RESP3", &["HELLO 3", "SUBSCRIBE c d", "MULTI", "@", "PING", "EXEC"]),
    ("tracking", &["CLIENT TRACKING ON", "@"]),
    ("in MULTI, tracking", &["CLIENT TRACKING ON", "GET k", "MULTI", "@", "SET k 3", "EXEC"]),
    ("in another database", &["SELECT 3", "MULTI", "@", "GET where", "EXEC"]),
    ("after a queued SELECT", &["MULTI", "SELECT 3", "@", "GET where", "EXEC"]),
    ("with a name", &["CLIENT SETNAME before", "MULTI", "@", "EXEC"]),
    ("with replies off", &["CLIENT REPLY OFF", "@", "PING"]),
    ("in MULTI with replies off", &["CLIENT REPLY OFF", "MULTI", "@", "PING", "EXEC", "PING"]),
    ("with the reply skipped", &["CLIENT REPLY SKIP", "@", "PING"]),
    (
        "in MULTI that turns replies off",
        &["MULTI", "PING", "CLIENT REPLY OFF", "@", "EXEC", "PING"],
    ),
    (
        "in MULTI that turns replies on again",
        &["CLIENT REPLY OFF", "MULTI", "PING", "CLIENT REPLY ON", "@", "EXEC", "PING"],
    ),
    (
        "in MULTI that skips a reply",
        &["MULTI", "CLIENT REPLY SKIP", "@", "EXEC", "ECHO a", "ECHO b"],
    ),
    ("in MULTI behind a skipped reply", &["MULTI", "CLIENT REPLY SKIP", "@", "EXEC"]),
];

/// What is asked afterwards.
const AFTERWARDS: &[&str] = &[
    "PING probe",
    "EXEC",
    "GET where",
    "GET n",
    "CLIENT GETNAME",
    "ACL WHOAMI",
    "CLIENT GETREDIR",
    "CLIENT TRACKINGINFO",
    "CLIENT INFO",
    "SET k 4",
    "GET k",
    "CLIENT REPLY ON",
    "PUBLISH c late",
];

/// The last request: its answer ends the stream.
const FENCE: &str = "the end";

const INVALIDATION: &str = ">2\\r\\n$10\\r\\ninvalidate\\r\\n*1\\r\\n$1\\r\\nk\\r\\n";

/// A run ends once it has found this many.
const DIFFERENCES_MAX: usize = 60;

/// One side of the comparison.
struct Side<'a> {
    pair: &'a Pair,
    is_through: bool,
    observer: Client,
    /// A blocked client, and one that receives invalidations.
    other: Client,
    _hearer: Client,
    numbers: BTreeMap<&'static str, String>,
}

/// Replies have smaller numbers than clients.
const SMALLER: usize = 300;

/// Everything, and by name what sends all data.
const RULES: &str = "+@all +sync +psync +replconf ~* &*";

fn connect(pair: &Pair, is_through: bool) -> Client {
    let target = if is_through { pair.through() } else { pair.straight.target() };
    Client::connect(&target).unwrap()
}

fn number(client: &mut Client) -> String {
    client.ask_text(&["CLIENT", "ID"]).trim_start_matches(':').to_owned()
}

impl<'a> Side<'a> {
    fn new(pair: &'a Pair, is_through: bool) -> Self {
        for _ in 0..SMALLER {
            drop(connect(pair, is_through));
        }
        let mut other = connect(pair, is_through);
        let mut hearer = connect(pair, is_through);
        let numbers = BTreeMap::from([
            ("{other}", number(&mut other)),
            ("{hearer}", number(&mut hearer)),
            ("{gone}", "999999999".to_owned()),
        ]);
        let server = if is_through { &pair.behind } else { &pair.straight };
        let observer = server.observer();
        let mut side = Self { pair, is_through, observer, other, _hearer: hearer, numbers };
        side.block();
        side
    }

    fn block(&mut self) {
        self.other.send(&["BLPOP", "never", "0"]);
        let server = if self.is_through { &self.pair.behind } else { &self.pair.straight };
        server.await_blocked(1);
    }

    /// What a client that sends all this reads, and what the blocked one reads meanwhile. `expected` is
    /// waited for; without it, the server's report that no client is left.
    fn play(
        &mut self,
        protocol: &str,
        requests: &[String],
        whole: bool,
        expected: Option<&str>,
    ) -> String {
        self.observer.send(&["MULTI"]);
        self.observer.send(&["MSET", "where", "db0", "k", "1", "n", "0"]);
        self.observer.send(&["SELECT", "3"]);
        self.observer.send(&["MSET", "where", "db3", "n", "30"]);
        self.observer.send(&["SELECT", "0"]);
        self.observer.ask(&["EXEC"]);
        (0..5).for_each(|_| _ = self.observer.reply());
        let mut client = connect(self.pair, self.is_through);
        if protocol == "3" {
            client.ask(&["HELLO", "3"]);
        }
        self.numbers.insert("{me}", number(&mut client));
        let fence = format!("PING \"{FENCE}\"");
        let all: Vec<Vec<u8>> =
            requests.iter().chain([&fence]).map(|line| encode(&self.words(line))).collect();
        if whole {
            client.send_raw(&all.concat());
        } else {
            all.iter().for_each(|bytes| client.send_raw(bytes));
        }
        let (mut read, mut quiet) = (Vec::new(), 0);
        let end = format!("${}\r\n{FENCE}\r\n", FENCE.len());
        let deadline = now() + PATIENCE;
        let ending = loop {
            let mut bytes = client.bytes(1, Duration::from_millis(2));
            let (more, ended) = client.drain(Duration::ZERO);
            bytes.extend(more);
            read.extend_from_slice(&bytes);
            if read.windows(end.len()).any(|part| part == end.as_bytes()) {
                break "";
            }
            if ended {
                break " (closed)";
            }
            quiet = if bytes.is_empty() { quiet + 1 } else { 0 };
            let silent = format!("{} (silent)", self.own(&read));
            let due = expected.is_some_and(|expected| !expected.starts_with(&silent));
            if quiet > 2 && !due || now() > deadline {
                break " (silent)";
            }
            self.observer.ask(&["PING"]);
        };
        let aside = if requests.iter().any(|line| line.contains("{other}")) {
            self.aside()
        } else {
            String::new()
        };
        format!("{}{ending}{aside}", self.own(&read))
    }

    /// What the other clients have received; they are as before then.
    fn aside(&mut self) -> String {
        let mut seen = String::new();
        let server = if self.is_through { &self.pair.behind } else { &self.pair.straight };
        let still = server.observer().ask_text(&["INFO", "clients"]).contains("blocked_clients:1");
        if !still {
            match self.other.next(PATIENCE) {
                Got::Reply(reply) => seen = format!(" | other: {}", show(&reply)),
                Got::End => seen = " | other: closed".to_owned(),
                Got::Silence => seen = " | other: silent".to_owned(),
            }
            if !matches!(self.other.next(Duration::ZERO), Got::Silence) {
                self.other = connect(self.pair, self.is_through);
                self.numbers.insert("{other}", number(&mut self.other));
            }
            self.block();
        }
        seen
    }

    fn words(&self, line: &str) -> Vec<Vec<u8>> {
        let mut line = line.to_owned();
        for (mark, number) in &self.numbers {
            line = line.replace(mark, number);
        }
        let mut words = Vec::new();
        for (at, part) in line.split('"').enumerate() {
            if at % 2 == 1 {
                words.push(part.as_bytes().to_vec());
            } else {
                words.extend(part.split_whitespace().map(|word| word.as_bytes().to_vec()));
            }
        }
        words
    }

    /// Numbers, lines about clients and lines of MONITOR are each side's own.
    fn own(&self, read: &[u8]) -> String {
        let text = String::from_utf8_lossy(read);
        let mut lines = Vec::new();
        for line in text.split("\r\n") {
            if line.starts_with('+') && line.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
                continue;
            }
            let about = line.strip_prefix("txt:").unwrap_or(line);
            if about.starts_with("id=") {
                lines.push(self.fields(about));
                continue;
            }
            let mut line = line.to_owned();
            for (mark, number) in &self.numbers {
                if line == format!(":{number}") {
                    line = format!(":{mark}");
                }
            }
            lines.push(line);
        }
        let is_length =
            |line: &str| line.starts_with('=') || (line.starts_with('$') && line.len() > 3);
        lines.retain(|line| !is_length(line));
        lines.join("\r\n").escape_debug().to_string()
    }

    fn fields(&self, line: &str) -> String {
        const SAME: &[&str] = &[
            "name", "db", "sub", "psub", "ssub", "multi", "watch", "cmd", "user", "resp", "flags",
            "lib-name", "redir",
        ];
        let mut kept = Vec::new();
        for field in line.split_whitespace() {
            let (name, value) = field.split_once('=').unwrap();
            let value = self
                .numbers
                .iter()
                .find(|(_, number)| name == "redir" && *number == value)
                .map_or(value, |(mark, _)| mark);
            if (name, value) == ("multi", "0") {
                // Valkey also reports -1 for a client that had a transaction before.
                kept.push("multi=-1".to_owned());
                continue;
            }
            if SAME.contains(&name) {
                kept.push(format!("{name}={value}"));
            }
        }
        kept.join(" ")
    }
}

fn compare(brand: Brand, shape: Shape) {
    let pair = Pair::with_rules(brand, false, shape, RULES);
    let mut straight = Side::new(&pair, false);
    let mut through = Side::new(&pair, true);
    let only = std::env::var("RESPGATE_TEST_ONLY").unwrap_or_default();
    let thorough = std::env::var_os("RESPGATE_TEST_ALL").is_some() || !only.is_empty();
    let (mut differences, mut count, mut turn) =
        (0, 0, usize::from(matches!(shape, Shape::Session)));
    for command in COMMANDS {
        for (state, requests) in STATES {
            if !format!("{command}: {state}").contains(&only) {
                continue;
            }
            let queued = requests.iter().position(|line| *line == "MULTI");
            let queued = queued.is_some_and(|at| requests[at..].contains(&"@"));
            if !queued && matches!(*command, "SYNC" | "PSYNC") {
                // What follows is a copy of the data.
                continue;
            }
            turn += 1;
            // Of all that there are, half are played in each shape, and the others in the next one.
            if !thorough && (turn / 2) % 2 == usize::from(brand == Brand::Valkey) {
                continue;
            }
            for protocol in ["2", "3"] {
                for whole in [true, false] {
                    if !thorough && (protocol == "2", whole) != (turn % 2 == 0, turn % 4 < 2) {
                        continue;
                    }
                    let requests: Vec<String> = requests
                        .iter()
                        .chain(AFTERWARDS)
                        .map(|line| line.replace('@', command))
                        .collect();
                    let view = |stream: String| {
                        // The server defines neither when nor in which order these are sent; nor does
                        // respgate, for an answer of its own beside them.
                        let own = matches!(*command, "EXEC" | "DISCARD");
                        let receives = command.contains("BCAST") || own;
                        let leaves = *command == "UNSUBSCRIBE";
                        let stream =
                            if receives { stream.replace(INVALIDATION, "") } else { stream };
                        if leaves { stream.replace("$1\\r\\nd", "$1\\r\\nc") } else { stream }
                    };
                    let expected = straight.play(protocol, &requests, whole, None);
                    let expected = match expected.strip_suffix(" (silent)") {
                        // Redis closes what it can write to; a client that is not answered stays.
                        Some(same) if closes(command) => format!("{same} (closed)"),
                        _ => expected,
                    };
                    let got = through.play(protocol, &requests, whole, Some(&expected));
                    count += 1;
                    if view(expected.clone()) == view(got.clone()) {
                        continue;
                    }
                    eprintln!(
                        "[{}] RESP{protocol} whole={whole} {command}: {state}\n  straight: {expected}\n  respgate: {got}\n",
                        pair.version()
                    );
                    differences += 1;
                    if differences < DIFFERENCES_MAX {
                        // The other way to send it shows no more.
                        break;
                    }
                    panic!("too many streams differ to go on ({})", pair.version());
                }
            }
        }
    }
    assert_eq!(differences, 0, "of {count} streams ({})", pair.version());
}

fn closes(command: &str) -> bool {
    command == "QUIT" || command.starts_with("CLIENT KILL ID {me}")
}

#[test]
fn states_of_redis_with_shared_connections() {
    compare(Brand::Redis, Shape::Shared);
}

#[test]
fn states_of_redis_with_a_connection_for_each_session() {
    compare(Brand::Redis, Shape::Session);
}

#[test]
fn states_of_valkey_with_shared_connections() {
    if Brand::Valkey.available() {
        compare(Brand::Valkey, Shape::Shared);
    }
}

#[test]
fn states_of_valkey_with_a_connection_for_each_session() {
    if Brand::Valkey.available() {
        compare(Brand::Valkey, Shape::Session);
    }
}

/// A new command about the connection must be compared, too.
#[test]
fn every_command_about_the_connection_is_compared() {
    let missing: Vec<&str> = all()
        .iter()
        .filter(|spec| {
            // What is never forwarded is refused everywhere.
            !matches!(
                spec.effect,
                Effect::Shared
                    | Effect::Ping
                    | Effect::Pushes
                    | Effect::Block(_)
                    | Effect::Wait
                    | Effect::Never
            )
        })
        .map(|spec| spec.name)
        .filter(|name| *name != "shutdown")
        .filter(|name| {
            let words = name.replace('|', " ").to_ascii_uppercase();
            !COMMANDS.iter().any(|line| {
                line.strip_prefix(&*words)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            })
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

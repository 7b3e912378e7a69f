//! A Redis of forty commands: its data, its connections and every byte it sends.
//!
//! Owns: [`Model`]: the order of checks and the commands that keep state. Never knows: respgate. It is
//! the server behind the sessions, and once more, asked by one connection alone, the reference.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;
use respgate::internals::resp::{Protocol, encode};

/// A command and its arguments.
pub type Words = Vec<Vec<u8>>;

/// Databases there are.
pub const DATABASES: u32 = 3;

#[derive(Clone, Debug)]
pub enum Value {
    Text(Vec<u8>),
    List(VecDeque<Vec<u8>>),
}

/// What CLIENT REPLY has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    off: bool,
    skip_next: bool,
    skip: bool,
}

/// Commands queued since MULTI.
#[derive(Debug, Default)]
pub struct Queued {
    commands: Vec<Words>,
    pub spoiled: bool,
}

impl Queued {
    /// Whether one of them is about the connection.
    pub fn has_own(&self) -> bool {
        self.commands.iter().any(|words| words[0].eq_ignore_ascii_case(b"client"))
    }
}

/// One connection's state.
#[derive(Debug)]
pub struct Connection {
    pub id: i64,
    pub protocol: Protocol,
    pub database: u32,
    pub transaction: Option<Queued>,
    pub watched: BTreeSet<(u32, Vec<u8>)>,
    /// Something watched was written to.
    pub touched: bool,
    pub channels: BTreeSet<Vec<u8>>,
    pub patterns: BTreeSet<Vec<u8>>,
    pub shards: BTreeSet<Vec<u8>>,
    pub tracking: bool,
    tracked: BTreeSet<Vec<u8>>,
    /// Keys written by others, and not yet invalidated.
    stale: Vec<Vec<u8>>,
    /// The lists it waits for, in this database.
    pub blocked: Option<(u32, Vec<Vec<u8>>)>,
    pub(super) blocked_silently: bool,
    pub mode: Mode,
    pub name: Vec<u8>,
    pub output: BytesMut,
    pub closed: bool,
}

impl Connection {
    pub fn new(id: i64, protocol: Protocol, database: u32) -> Self {
        Self {
            id,
            protocol,
            database,
            transaction: None,
            watched: BTreeSet::new(),
            touched: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shards: BTreeSet::new(),
            tracking: false,
            tracked: BTreeSet::new(),
            stale: Vec::new(),
            blocked: None,
            blocked_silently: false,
            mode: Mode::default(),
            name: Vec::new(),
            output: BytesMut::new(),
            closed: false,
        }
    }

    pub fn subscribed(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty())
    }

    /// Whether it is equal to a new one of the same database and protocol.
    pub fn is_clean(&self) -> bool {
        self.transaction.is_none()
            && self.watched.is_empty()
            && !self.touched
            && !self.subscribed()
            && !self.tracking
            && self.blocked.is_none()
    }

    /// Keys that the same transaction has written before are still invalidated behind EXEC's reply.
    pub fn stop_tracking(&mut self) {
        self.tracking = false;
        self.tracked.clear();
    }

    fn unwatch(&mut self) {
        self.watched.clear();
        self.touched = false;
    }

    /// Whether the reply to the next command is suppressed.
    pub fn silent(&self) -> bool {
        self.mode.off || self.mode.skip
    }

    /// A command is done: a SKIP before it has had its effect, one by it comes into force.
    pub fn next_command(&mut self) {
        self.mode.skip = std::mem::take(&mut self.mode.skip_next);
    }
}

/// The data and the connections.
#[derive(Debug, Default)]
pub struct Model {
    pub(super) data: BTreeMap<(u32, Vec<u8>), Value>,
    pub connections: Vec<Connection>,
}

impl Model {
    pub fn connect(&mut self, id: i64, protocol: Protocol, database: u32) -> usize {
        self.connections.push(Connection::new(id, protocol, database));
        self.connections.len() - 1
    }

    pub fn close(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        *connection = Connection::new(connection.id, connection.protocol, connection.database);
        connection.closed = true;
    }

    /// Every key and channel that is stored, watched, tracked, waited for or subscribed to.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        let keys = self.data.keys().map(|(_, key)| key);
        let subscribed = self.connections.iter().flat_map(|connection| {
            let blocked = connection.blocked.iter().flat_map(|(_, keys)| keys);
            let watched = connection.watched.iter().map(|(_, key)| key);
            let sets = [&connection.channels, &connection.patterns, &connection.shards];
            let sets = sets.into_iter().chain([&connection.tracked]).flatten();
            blocked.chain(watched).chain(sets)
        });
        keys.chain(subscribed).map(Vec::as_slice)
    }

    /// Executes one command; replies are added to the connections' outputs.
    pub fn execute(&mut self, at: usize, words: &[Vec<u8>]) {
        let before = self.connections[at].output.len();
        let acknowledges = self.dispatch(at, words);
        let connection = &mut self.connections[at];
        if connection.silent() && !acknowledges {
            connection.output.truncate(before);
        }
        connection.next_command();
        self.invalidate();
    }

    /// Redis server.c `processCommand`. `true`: its output are pushes, which nothing suppresses.
    fn dispatch(&mut self, at: usize, words: &[Vec<u8>]) -> bool {
        let name = words[0].to_ascii_lowercase();
        let name = String::from_utf8_lossy(&name).into_owned();
        let Some(arity) = arity(&name) else {
            let text = format!(
                "ERR unknown command '{}', with args beginning with: {}",
                String::from_utf8_lossy(&words[0]),
                quoted(&words[1..])
            );
            self.reject(at, &name, &text);
            return false;
        };
        if (arity > 0 && words.len() != arity.unsigned_abs()) || words.len() < arity.unsigned_abs()
        {
            let text = format!("ERR wrong number of arguments for '{name}' command");
            self.reject(at, &name, &text);
            return false;
        }
        let connection = &mut self.connections[at];
        let modal = connection.protocol == Protocol::Resp2 && connection.subscribed();
        if modal && !allowed_when_subscribed(&name) {
            let option = words.get(1).filter(|_| name == "client");
            let option =
                option.map(|word| String::from_utf8_lossy(&word.to_ascii_lowercase()).into_owned());
            let name = option.map_or_else(|| name.clone(), |option| format!("client|{option}"));
            let text = format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            );
            self.reject(at, &name, &text);
            return false;
        }
        let passes =
            matches!(name.as_str(), "exec" | "discard" | "multi" | "watch" | "quit" | "reset");
        if let Some(transaction) = &mut connection.transaction
            && !passes
        {
            transaction.commands.push(words.to_vec());
            encode::simple(&mut connection.output, "QUEUED");
            return false;
        }
        // Within EXEC's array, too.
        let executes = name == "exec" && connection.transaction.is_some();
        self.run(at, &name, words);
        name.ends_with("subscribe") || executes
    }

    /// An error instead of execution (redis server.c `rejectCommand`).
    pub fn reject(&mut self, at: usize, name: &str, text: &str) {
        let connection = &mut self.connections[at];
        if name == "exec" {
            connection.transaction = None;
            connection.unwatch();
            let text = text.trim_start_matches("ERR ");
            let text = format!("EXECABORT Transaction discarded because of: {text}");
            return encode::error(&mut connection.output, text);
        }
        if let Some(transaction) = &mut connection.transaction {
            transaction.spoiled = true;
        }
        encode::error(&mut connection.output, text);
    }

    fn run(&mut self, at: usize, name: &str, words: &[Vec<u8>]) {
        match name {
            "multi" | "exec" | "discard" | "watch" | "unwatch" => self.transact(at, name, words),
            "subscribe" | "psubscribe" | "ssubscribe" => self.subscribe(at, name, &words[1..]),
            "unsubscribe" | "punsubscribe" | "sunsubscribe" => {
                self.unsubscribe(at, name, &words[1..])
            }
            "hello" => self.hello(at, words),
            "reset" => {
                let connection = &mut self.connections[at];
                let mut new = Connection::new(connection.id, Protocol::Resp2, 0);
                new.output = connection.output.split();
                new.mode.skip = connection.mode.skip;
                encode::simple(&mut new.output, "RESET");
                *connection = new;
            }
            "client" => self.client(at, words),
            "quit" => {
                encode::simple(&mut self.connections[at].output, "OK");
                self.connections[at].closed = true;
            }
            _ => self.run_on_data(at, name, words),
        }
    }

    fn transact(&mut self, at: usize, name: &str, words: &[Vec<u8>]) {
        let connection = &mut self.connections[at];
        let out = &mut connection.output;
        match (name, connection.transaction.is_some()) {
            ("multi", true) => encode::error(out, "ERR MULTI calls can not be nested"),
            ("multi", false) => {
                connection.transaction = Some(Queued::default());
                encode::simple(out, "OK");
            }
            ("watch", true) => encode::error(out, "ERR WATCH inside MULTI is not allowed"),
            ("watch", false) => {
                encode::simple(out, "OK");
                for key in &words[1..] {
                    connection.watched.insert((connection.database, key.clone()));
                }
            }
            ("unwatch", _) => {
                encode::simple(out, "OK");
                connection.unwatch();
            }
            ("discard", true) => {
                encode::simple(out, "OK");
                connection.transaction = None;
                connection.unwatch();
            }
            ("discard", false) => encode::error(out, "ERR DISCARD without MULTI"),
            ("exec", true) => self.exec(at),
            _ => encode::error(out, "ERR EXEC without MULTI"),
        }
    }

    fn exec(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        let Some(queued) = connection.transaction.take() else { return };
        let touched = connection.touched;
        connection.unwatch();
        let silent = connection.silent();
        let mut reply_bytes = BytesMut::new();
        if queued.spoiled {
            let text = "EXECABORT Transaction discarded because of previous errors.";
            encode::error(&mut reply_bytes, text);
        } else if touched {
            encode::null_array(&mut reply_bytes, connection.protocol);
        } else {
            encode::array(&mut reply_bytes, queued.commands.len());
        }
        if !silent {
            connection.output.extend_from_slice(&reply_bytes);
        }
        let commands = if queued.spoiled || touched { Vec::new() } else { queued.commands };
        for words in commands {
            let before = self.connections[at].output.len();
            let name = String::from_utf8_lossy(&words[0].to_ascii_lowercase()).into_owned();
            if name == "ssubscribe" {
                let text = "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client";
                encode::error(&mut self.connections[at].output, text);
            } else {
                self.run(at, &name, &words);
            }
            let connection = &mut self.connections[at];
            if connection.blocked.take().is_some() {
                encode::null_array(&mut connection.output, connection.protocol);
            }
            if connection.silent() && (!name.ends_with("subscribe") || name == "ssubscribe") {
                connection.output.truncate(before);
            }
        }
    }

    fn hello(&mut self, at: usize, words: &[Vec<u8>]) {
        let connection = &mut self.connections[at];
        let out = &mut connection.output;
        match words.get(1).map(Vec::as_slice) {
            None => {}
            Some(b"2") => connection.protocol = Protocol::Resp2,
            Some(b"3") => connection.protocol = Protocol::Resp3,
            Some(b"4") => return encode::error(out, "NOPROTO unsupported protocol version"),
            Some(_) => {
                return encode::error(
                    out,
                    "ERR Protocol version is not an integer or out of range",
                );
            }
        }
        encode::map(out, 7, connection.protocol);
        for (key, value) in [("server", "redis"), ("version", "7.0.15")] {
            encode::bulk(out, key);
            encode::bulk(out, value);
        }
        encode::bulk(out, "proto");
        encode::integer(out, if connection.protocol == Protocol::Resp3 { 3 } else { 2 });
        encode::bulk(out, "id");
        encode::integer(out, connection.id);
        for (key, value) in [("mode", "standalone"), ("role", "master")] {
            encode::bulk(out, key);
            encode::bulk(out, value);
        }
        encode::bulk(out, "modules");
        encode::array(out, 0);
    }

    fn client(&mut self, at: usize, words: &[Vec<u8>]) {
        let connection = &mut self.connections[at];
        let out = &mut connection.output;
        let option = words.get(2).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        match words[1].to_ascii_lowercase().as_slice() {
            b"id" => encode::integer(out, connection.id),
            b"getname" if connection.name.is_empty() => encode::null(out, connection.protocol),
            b"getname" => encode::bulk(out, &connection.name),
            b"setname" => {
                connection.name.clone_from(&words[2]);
                encode::simple(out, "OK");
            }
            b"reply" => match option.as_slice() {
                b"on" => {
                    (connection.mode.off, connection.mode.skip) = (false, false);
                    encode::simple(out, "OK");
                }
                b"off" => connection.mode.off = true,
                _ => connection.mode.skip_next |= !connection.mode.off,
            },
            b"tracking" => {
                if option == b"on" {
                    connection.tracking = true;
                } else {
                    connection.stop_tracking();
                }
                encode::simple(&mut connection.output, "OK");
            }
            _ => encode::error(out, "ERR not in this model"),
        }
    }

    /// A key was written to.
    pub(super) fn touch(&mut self, database: u32, key: &[u8]) {
        for connection in &mut self.connections {
            if connection.watched.iter().any(|(db, watched)| *db == database && watched == key) {
                connection.touched = true;
            }
            if connection.tracked.remove(key) {
                connection.stale.push(key.to_vec());
            }
        }
    }

    /// A key was read; a tracking connection receives the next write's invalidation (tracking knows no databases).
    pub(super) fn note_read(&mut self, at: usize, key: &[u8]) {
        if self.connections[at].tracking {
            self.connections[at].tracked.insert(key.to_vec());
        }
    }

    /// Sends the invalidations of a command's writes after its reply.
    pub(super) fn invalidate(&mut self) {
        for connection in &mut self.connections {
            for key in std::mem::take(&mut connection.stale) {
                if connection.protocol == Protocol::Resp3 {
                    encode::push(&mut connection.output, 2, Protocol::Resp3);
                    encode::bulk(&mut connection.output, "invalidate");
                    encode::array(&mut connection.output, 1);
                    encode::bulk(&mut connection.output, &key);
                }
            }
        }
    }
}

/// The arity in Redis: negative means at least so many. `None`: no such command.
fn arity(name: &str) -> Option<isize> {
    Some(match name {
        "get" | "incr" | "echo" | "select" | "llen" => 2,
        "set" => -3,
        "mget" | "del" | "watch" | "subscribe" | "psubscribe" | "ssubscribe" | "client" => -2,
        "rpush" | "blpop" => -3,
        "lrange" => 4,
        "wait" => 3,
        "ping" | "hello" | "quit" | "unsubscribe" | "punsubscribe" | "sunsubscribe" => -1,
        "multi" | "exec" | "discard" | "unwatch" | "reset" => 1,
        _ => return None,
    })
}

fn allowed_when_subscribed(name: &str) -> bool {
    name.ends_with("subscribe") || matches!(name, "ping" | "quit" | "reset")
}

fn quoted(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| format!("'{}' ", String::from_utf8_lossy(word))).collect()
}

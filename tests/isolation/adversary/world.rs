//! A server with another application's keys, channels and listeners, and respgate before it.
//!
//! Owns: [`World`]: what is there, what an attack may see, what must be unchanged. Never knows: the
//! attacks.

use std::process::Command;
use std::time::Duration;

use respgate::internals::base::clock::now;

use super::attacks::{Answer, Attack};
use super::disguise::Way;
use super::support::client::{Client, Got, PATIENCE, Target};
use super::support::proxy::{Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port};

pub type Words = Vec<Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Keys as they are, patterns that permit some.
    Enforce,
    /// A prefix before every key.
    Rewrite,
}

/// In every value of the other application.
pub const SECRET: &str = "vZ9secret";
/// In names of the other application that no attack uses.
pub const HIDDEN: &str = "hidden9";
/// What the attacker's keys begin with on the server.
pub const OWN: &str = "app1:";

/// The other application's keys.
const FOREIGN: &[&str] = &[
    "SET app2:str SECRET",
    "SET app2:hidden9 SECRET EX 100000",
    "SET app2 SECRET",
    "SET app1 SECRET",
    "SET zzz SECRET",
    "SET app2:weight9 5",
    "RPUSH app2:list SECRET1 SECRET2",
    "SADD app2:set SECRET1 SECRET2",
    "ZADD app2:zset 1 SECRET1 2 SECRET2",
    "HSET app2:hash SECRETf SECRET",
    "GEOADD app2:geo 0 0 SECRET",
    "PFADD app2:hll SECRET",
    "XADD app2:stream 1-1 SECRETf SECRET",
    "XGROUP CREATE app2:stream SECRETg 0",
    "SETBIT app2:bits 7 1",
];

/// The attacker's own, with what an attack may want to find there.
const OWNED: &[&str] = &[
    "SET {p}s1 own1",
    "SET {p}w_app2:str 1",
    "RPUSH {p}l1 app2:str app2 zzz",
    "RPUSH {p}l2 str :str",
    "SADD {p}set1 m",
    "ZADD {p}z1 1 m",
    "HSET {p}h1 f v",
    "GEOADD {p}g1 0 0 m",
    "GEOADD {p}g1 0.001 0.001 STORE",
    "PFADD {p}hll1 m",
    "XADD {p}x1 1-1 f v",
    "XGROUP CREATE {p}x1 STREAMS 0",
];

pub struct World {
    _server: Server,
    pub proxy: Proxy,
    pub mode: Mode,
    watches_names: bool,
    monitor: Client,
    observer: Client,
    /// Another application's listeners: channels and patterns, shard channels, invalidations.
    listeners: Vec<Client>,
    listener_id: String,
    bystander: Client,
    before: Vec<Vec<u8>>,
    count: u32,
    attacker: Option<Client>,
}

/// The rules about commands decide whether a script may run; the ACL of the server restricts it.
const SCRIPTS: &str = "[policy.scripts]\nmode = \"declared-keys\"\n";

/// What a test adds to the policy of a mode.
pub fn policy(mode: Mode, commands: &str) -> String {
    match mode {
        Mode::Enforce => format!("acl = \"{commands} ~app1:* &app1:*\"\n{SCRIPTS}"),
        Mode::Rewrite => format!(
            "acl = \"{commands} ~* &*\"\n{SCRIPTS}\
             [policy.keys]\nmode = \"rewrite\"\nprefix = {OWN:?}\n"
        ),
    }
}

impl World {
    /// Every command but scripts.
    pub fn new(brand: Brand, mode: Mode) -> Self {
        let server =
            Server::new(brand, brand == Brand::Redis, &["--notify-keyspace-events", "KEA"]);
        Self::before(server, mode, "+@all -@scripting", "", true)
    }

    /// Every command, and on the server a user with the rules that respgate prints.
    pub fn with_server_rules(mode: Mode) -> Self {
        let server = Server::new(Brand::Redis, true, &["--notify-keyspace-events", "KEA"]);
        let auth = "auth = { username = \"app\", password_file = \"password\" }\n";
        let rules = "+@all -@admin -keys -scan";
        let directory = directory();
        std::fs::write(directory.path().join("password"), "p9").unwrap();
        let file = directory.path().join("respgate.toml");
        std::fs::write(&file, text(&server, mode, rules, auth, 1, 2)).unwrap();
        let printed = Command::new(env!("CARGO_BIN_EXE_respgate"))
            .args(["acl", "--config"])
            .arg(&file)
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(printed.status.success(), "{printed:?}");
        let line = String::from_utf8(printed.stdout).unwrap();
        let mut words: Vec<&str> = line.trim().split(' ').collect();
        words.push(">p9");
        assert_eq!(server.observer().ask(&words), b"+OK\r\n", "{words:?}");
        Self::before(server, mode, rules, auth, false)
    }

    fn before(
        server: Server,
        mode: Mode,
        rules: &str,
        upstream: &str,
        watches_names: bool,
    ) -> Self {
        let mut observer = server.observer();
        for line in FOREIGN {
            run(&mut observer, &line.replace("SECRET", SECRET));
        }
        for line in OWNED {
            run(&mut observer, &line.replace("{p}", OWN));
        }
        run(&mut observer, "SELECT 1");
        run(&mut observer, &format!("SET app2:str {SECRET}"));
        run(&mut observer, "SELECT 0");
        let (listeners, listener_id) = listeners(&server);
        let (target, telemetry) = (Target::Tcp(free_port()), free_port());
        let directory = directory();
        std::fs::write(directory.path().join("password"), "p9").unwrap();
        let Target::Tcp(port) = target else { unreachable!() };
        let text = text(&server, mode, rules, upstream, port, telemetry);
        let proxy = Proxy::configured(directory, target, telemetry, &text);
        let mut monitor = server.observer();
        assert_eq!(monitor.ask(&["MONITOR"]), b"+OK\r\n");
        let bystander = proxy.client();
        let mut world = Self {
            _server: server,
            proxy,
            mode,
            watches_names,
            monitor,
            observer,
            listeners,
            listener_id,
            bystander,
            before: Vec::new(),
            count: 0,
            attacker: None,
        };
        world.live("last0");
        world.before = world.dump();
        world
    }

    /// The words of a line: `{a}` begins the attacker's own names, `{x}` the other's.
    pub fn words(&self, line: &str) -> Words {
        let own = if self.mode == Mode::Enforce { OWN } else { "" };
        let line = line.replace("{a}", own).replace("{x}", "app2:");
        let line = line.replace("{id}", &self.listener_id);
        line.split(' ').map(unescape).collect()
    }

    /// One attack in one disguise, with what the other application does meanwhile.
    pub fn attempt(&mut self, attack: &Attack, way: Way) {
        if way.is_transaction() && attack.lines.iter().any(|line| line.starts_with("MULTI")) {
            return;
        }
        self.count += 1;
        let (first, last) = (format!("first{}", self.count), format!("last{}", self.count));
        let mut client = self.attacker.take().unwrap_or_else(|| self.proxy.client());
        if way.is_resp3() {
            assert!(client.ask(&["HELLO", "3"]).starts_with(b"%"), "{}", attack.name);
        }
        let mut requests: Vec<Words> = vec![self.words("GET {a}s1")];
        if way.is_transaction() {
            requests.push(self.words("MULTI"));
        }
        requests.extend(attack.lines.iter().map(|line| self.words(line)));
        if way.is_transaction() {
            requests.push(self.words("EXEC"));
        }
        requests.push(self.words(&format!("PING {first}")));
        way.send(&mut client, &requests);
        let mut replies = until(&mut client, &first, attack, way);
        assert_eq!(replies.remove(0), b"$4\r\nown1\r\n", "{} {way:?}", attack.name);
        self.live(&last);
        client.send_raw(b"RESET\r\n");
        client.send_raw(format!("ECHO {last}\r\n").as_bytes());
        replies.extend(until(&mut client, &last, attack, way));
        self.attacker = Some(client);
        for reply in &replies {
            let has = |text: &str| reply.windows(text.len()).any(|part| part == text.as_bytes());
            let shown = reply[..reply.len().min(400)].escape_ascii();
            assert!(!has(SECRET) && !has(HIDDEN), "{} {way:?}: {shown}", attack.name);
        }
        let refused = replies
            .iter()
            .any(|reply| reply.starts_with(b"-") || reply.windows(3).any(|part| part == b"\r\n-"));
        let expected = match attack.answer {
            Answer::Refused => true,
            Answer::Foreign => self.mode == Mode::Enforce,
            Answer::Any => refused,
        };
        if expected {
            let shown: Vec<_> =
                replies.iter().map(|reply| reply.escape_ascii().to_string()).collect();
            assert!(refused, "{} {way:?} is not refused: {shown:?}", attack.name);
        }
    }

    /// The other application goes on: the attacker's subscriptions would receive it.
    fn live(&mut self, mark: &str) {
        for line in [
            format!("PUBLISH app2:news {SECRET}"),
            format!("PUBLISH app2:{HIDDEN} {mark}"),
            format!("SPUBLISH app2:shard {SECRET}"),
            format!("SETRANGE app2:{HIDDEN} 0 v"),
            "SETRANGE zzz 0 v".to_owned(),
        ] {
            run(&mut self.observer, &line);
        }
    }

    /// Checks the server, past respgate, after an attack in every disguise.
    pub fn look_around(&mut self, name: &str) {
        self.check_monitor(name);
        let after = self.dump();
        for (at, (was, is)) in self.before.iter().zip(&after).enumerate() {
            assert_eq!(was, is, "{name}: {} changed something ({at})", was.escape_ascii());
        }
        self.check_listeners(name);
        let own = self.words("GET {a}s1");
        self.bystander.send_raw(&super::support::client::encode(&own));
        assert_eq!(self.bystander.reply(), b"$4\r\nown1\r\n", "{name}: others still work");
    }

    /// No command from respgate names what is not the attacker's.
    fn check_monitor(&mut self, name: &str) {
        let mark = format!("seen{}", self.count);
        run(&mut self.observer, &format!("ECHO {mark}"));
        let deadline = now() + PATIENCE;
        loop {
            assert!(now() < deadline, "MONITOR ends");
            let Got::Reply(line) = self.monitor.next(PATIENCE) else { panic!("MONITOR ended") };
            let line = String::from_utf8(line).unwrap();
            if line.contains(&mark) {
                return;
            }
            let source = line.split_once('[').unwrap().1.split_once(']').unwrap().0;
            if source.contains("unix:") || !self.watches_names {
                continue;
            }
            assert!(!names_other(&line), "{name}: the server was asked {line}");
        }
    }

    /// Everything that is the other application's, with its state.
    fn dump(&mut self) -> Vec<Vec<u8>> {
        let observer = &mut self.observer;
        let mut seen = Vec::new();
        for database in ["1", "0"] {
            assert_eq!(observer.ask(&["SELECT", database]), b"+OK\r\n");
            let listed = observer.ask(&["KEYS", "*"]);
            let listed = String::from_utf8_lossy(&listed).into_owned();
            let names = listed.split("\r\n").skip(2).step_by(2);
            let mut names: Vec<&str> = names
                .filter(|name| !name.is_empty())
                .filter(|name| database == "1" || !name.starts_with(OWN))
                .filter(|name| self.mode == Mode::Enforce || !name.starts_with(OWN))
                .collect();
            names.sort_unstable();
            seen.push(names.join(" ").into_bytes());
            for name in names {
                seen.push(observer.ask(&["DUMP", name]));
                seen.push(observer.ask(&["EXPIRETIME", name]));
                seen.push(observer.ask(&["OBJECT", "ENCODING", name]));
            }
        }
        seen.push(observer.ask(&["XINFO", "CONSUMERS", "app2:stream", &format!("{SECRET}g")]));
        seen.push(observer.ask(&["XPENDING", "app2:stream", &format!("{SECRET}g")]));
        seen.push(observer.ask(&["CONFIG", "GET", "maxmemory"]));
        seen
    }

    /// The other's listeners received only what the other sent.
    fn check_listeners(&mut self, name: &str) {
        for listener in &mut self.listeners {
            listener.send(&["PING", "mark"]);
            loop {
                let Got::Reply(frame) = listener.next(PATIENCE) else { panic!("{name}") };
                let has = |text: &str| frame.windows(text.len()).any(|w| w == text.as_bytes());
                if has("mark") {
                    break;
                }
                let right = has(SECRET) || has("last") || has("setrange");
                assert!(right, "{name}: the other received {}", frame.escape_ascii());
            }
        }
    }

    /// Nothing more is to come on any connection.
    pub fn close(&mut self) {
        let Some(client) = &mut self.attacker else { return };
        let (rest, ended) = client.drain(Duration::from_millis(30));
        assert!(rest.is_empty() && !ended, "{}", rest.escape_ascii());
    }
}

/// Whether a line of MONITOR has a name of the other application that is not behind the prefix.
fn names_other(line: &str) -> bool {
    let arguments = line.split_once("] ").unwrap().1;
    let mut words = arguments.split("\" \"").map(|word| word.trim_matches(['"', '\r', '\n']));
    let command = words.next().unwrap().to_ascii_lowercase();
    // COMMAND describes the names in its arguments alone; UNSUBSCRIBE is free.
    if command == "command" || command.ends_with("unsubscribe") {
        return false;
    }
    // A value of the attacker's own that looks like a request.
    let is_value = |word: &str| word.contains("\\r\\n*");
    words.filter(|word| word.contains("app2") && !is_value(word)).any(|word| {
        let key = word.strip_prefix("__keyspace@0__:").unwrap_or(word);
        !key.starts_with(OWN)
    })
}

fn until(client: &mut Client, mark: &str, attack: &Attack, way: Way) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    loop {
        match client.next(PATIENCE) {
            Got::Reply(reply) if ends_with(&reply, mark) => return replies,
            Got::Reply(reply) => replies.push(reply),
            other => {
                let shown: Vec<_> =
                    replies.iter().map(|reply| reply.escape_ascii().to_string()).collect();
                panic!("{} {way:?}: {other:?} after {shown:?}", attack.name);
            }
        }
    }
}

fn ends_with(reply: &[u8], mark: &str) -> bool {
    reply.ends_with(format!("{mark}\r\n").as_bytes())
}

fn run(client: &mut Client, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let reply = client.ask(&words);
    assert!(!reply.starts_with(b"-"), "{line}: {}", reply.escape_ascii());
}

fn listeners(server: &Server) -> (Vec<Client>, String) {
    let mut first = server.observer();
    assert!(first.ask(&["HELLO", "3"]).starts_with(b"%"));
    let id = first.ask_text(&["CLIENT", "ID"]).trim_start_matches(':').to_owned();
    let channels =
        ["app2:news", "__redis__:invalidate", "__sentinel__:hello", "__keyevent@0__:forged9"];
    for channel in channels {
        first.ask(&["SUBSCRIBE", channel]);
    }
    for pattern in ["app2:*", "__keyspace@*__:app2:*"] {
        first.ask(&["PSUBSCRIBE", pattern]);
    }
    first.ask(&["SSUBSCRIBE", "app2:shard"]);
    (vec![first], id)
}

fn text(
    server: &Server,
    mode: Mode,
    rules: &str,
    upstream: &str,
    port: u16,
    telemetry: u16,
) -> String {
    let text = configuration(server, &listener(&Target::Tcp(port), ""), "ACL", telemetry);
    let text = text.replace("acl = \"ACL\"\n", &policy(mode, rules));
    text.replace("[upstream]\n", &format!("[upstream]\n{upstream}"))
}

/// `\0 \r \n \s` as bytes, `\e` nothing, `\B` many bytes.
fn unescape(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word.chars();
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (_, true) => match rest.next() {
                Some('0') => bytes.push(0),
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('s') => bytes.push(b' '),
                Some('e') => {}
                Some('B') => bytes.resize(bytes.len() + (140 << 10), b'z'),
                Some(other) => bytes.push(other as u8),
                None => bytes.push(b'\\'),
            },
            _ => bytes.extend(c.to_string().as_bytes()),
        }
    }
    bytes
}

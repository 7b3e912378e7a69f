//! What the server executed for scripts, as MONITOR shows it, and which keys each command names by the
//! server's own account.
//!
//! Owns: [`Monitor`], [`Executed`]. Never knows: respgate, policies.

use respgate::internals::resp::{Protocol, Value};

use super::super::support::client::{Client, encode};
use super::super::support::real_server::Server;

/// A command that a script has executed.
#[derive(Debug)]
pub(super) struct Executed {
    pub database: u32,
    pub words: Vec<Vec<u8>>,
}

/// A key of such a command.
#[derive(Debug)]
pub(super) struct Named {
    pub name: Vec<u8>,
    pub reads: bool,
    pub writes: bool,
    /// Every name that begins so, not this one alone.
    pub is_pattern: bool,
    pub is_channel: bool,
}

/// Two connections: one that listens, one that marks the ends.
pub(super) struct Monitor {
    listener: Client,
    observer: Client,
    marks: u32,
}

impl Monitor {
    pub fn of(server: &Server) -> Self {
        let (mut listener, observer) = (server.observer(), server.observer());
        assert_eq!(listener.ask(&["MONITOR"]), b"+OK\r\n");
        Self { listener, observer, marks: 0 }
    }

    /// What scripts have executed since this was last asked for.
    pub fn executed(&mut self) -> Vec<Executed> {
        self.marks += 1;
        let mark = format!("mark-{}", self.marks);
        self.observer.ask(&["ECHO", &mark]);
        let mut all = Vec::new();
        loop {
            let line = self.listener.reply();
            let line = line.strip_prefix(b"+").unwrap().strip_suffix(b"\r\n").unwrap();
            let open = line.iter().position(|byte| *byte == b'[').unwrap();
            let close = line.iter().position(|byte| *byte == b']').unwrap();
            let head = String::from_utf8(line[open + 1..close].to_vec()).unwrap();
            let words = words(&line[close + 1..]);
            if words.len() == 2 && words[1] == mark.as_bytes() {
                return all;
            }
            let (database, from) = head.split_once(' ').unwrap();
            if from == "lua" {
                all.push(Executed { database: database.parse().unwrap(), words });
            }
        }
    }

    /// The keys and channels that the server finds in a command, and those that it does not report.
    pub fn names(&mut self, words: &[Vec<u8>]) -> Vec<Named> {
        let mut names = self.listed(words);
        let key = |name: &[u8], reads, writes, is_pattern| Named {
            name: name.to_vec(),
            reads,
            writes,
            is_pattern,
            is_channel: false,
        };
        match &*words[0].to_ascii_lowercase() {
            b"sort" | b"sort_ro" => {
                let mut at = 2;
                while at < words.len() {
                    let option = words[at].to_ascii_lowercase();
                    let next = words.get(at + 1).map_or(&b""[..], Vec::as_slice);
                    at += match &*option {
                        b"limit" => 3,
                        b"by" | b"get" | b"store" => 2,
                        _ => 1,
                    };
                    match &*option {
                        b"store" => names.push(key(next, false, true, false)),
                        // A NUL ends a pattern for the server.
                        b"by" | b"get" if text(next).contains(&b'*') => {
                            names.push(key(next, true, false, true));
                        }
                        _ => {}
                    }
                }
            }
            b"georadius" | b"georadiusbymember" => {
                for pair in words[if words[0].len() == 9 { 6 } else { 5 }..].windows(2) {
                    if pair[0].to_ascii_lowercase().starts_with(b"store") {
                        names.push(key(&pair[1], false, true, false));
                    }
                }
            }
            b"keys" => names.push(key(&words[1], true, false, true)),
            b"scan" => {
                let last = words
                    .windows(2)
                    .rev()
                    .find(|pair| text(&pair[0]).eq_ignore_ascii_case(b"match"));
                let pattern = last.map_or(&b"*"[..], |pair| &pair[1]);
                names.push(key(pattern, true, false, true));
            }
            b"publish" | b"spublish" => {
                names = vec![Named { is_channel: true, ..key(&words[1], false, false, false) }];
            }
            _ => {}
        }
        names
    }

    fn listed(&mut self, words: &[Vec<u8>]) -> Vec<Named> {
        let mut request = vec![b"COMMAND".to_vec(), b"GETKEYSANDFLAGS".to_vec()];
        request.extend_from_slice(words);
        self.observer.send_raw(&encode(&request));
        let reply = self.observer.reply();
        let value = Value::decode(&reply, Protocol::Resp2).unwrap();
        let Some(keys) = value.elements() else {
            let line = String::from_utf8_lossy(&reply).into_owned();
            let keyless = ["has no key arguments", "Invalid", "wrong number"]
                .iter()
                .any(|words| line.contains(words));
            assert!(keyless, "{line} {words:?}");
            return Vec::new();
        };
        let named = |key: &Value| {
            let [name, flags] = key.elements().unwrap() else { panic!("{reply:?}") };
            let flags: Vec<&[u8]> =
                flags.elements().unwrap().iter().filter_map(Value::as_bytes).collect();
            let has = |flag: &[u8]| flags.contains(&flag);
            Named {
                name: name.as_bytes().unwrap().to_vec(),
                reads: has(b"access"),
                writes: has(b"update") || has(b"insert") || has(b"delete"),
                is_pattern: false,
                is_channel: false,
            }
        };
        keys.iter().map(named).collect()
    }
}

/// What the server reads of a word that it takes for a text: up to a NUL.
fn text(word: &[u8]) -> &[u8] {
    word.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The words of one line, each in quotes (redis sds.c, `sdscatrepr`).
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.iter().copied();
    while rest.by_ref().any(|byte| byte == b'"') {
        let mut word = Vec::new();
        while let Some(byte) = rest.next().filter(|byte| *byte != b'"') {
            if byte != b'\\' {
                word.push(byte);
                continue;
            }
            word.push(match rest.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'a' => 7,
                b'b' => 8,
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        words.push(word);
    }
    words
}

//! A client whose every value carries its own name and a number, so that a strange one shows.
//!
//! Owns: [`Worker`], [`Tally`], [`check_list`]. Never knows: what breaks meanwhile.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::support::client::{Client, Got, Target, encode, show};

/// Longer than respgate's own deadlines: silence for this long is a lost reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// On a slow machine a worker goes on until it has done so many.
const ROUNDS_MIN: usize = 6;

/// What all workers together met.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub rounds: usize,
    /// Error replies.
    pub errors: usize,
    /// Connections that respgate closed.
    pub ends: usize,
    /// One of the errors.
    pub example: String,
    /// Lists, what of them was acknowledged, and what has an unknown outcome.
    pub written: Vec<(String, Vec<String>, BTreeSet<String>)>,
}

impl Tally {
    pub fn add(mut self, other: Self) -> Self {
        self.rounds += other.rounds;
        self.errors += other.errors;
        self.ends += other.ends;
        self.written.extend(other.written);
        if self.example.is_empty() {
            self.example = other.example;
        }
        self
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rounds, errors, ends, example, .. } = self;
        write!(f, "{rounds} rounds, {errors} errors, {ends} connections closed {example}")
    }
}

/// What may come back for one command when nothing is wrong.
enum Expect {
    Exactly(Vec<u8>),
    /// An integer: the length of a list.
    Length,
    /// This, or a null when the command did not run.
    OrNull(Vec<u8>),
}

pub struct Worker {
    name: usize,
    target: Target,
    client: Option<Client>,
    tally: Tally,
    acknowledged: Vec<String>,
    unknown: BTreeSet<String>,
    watch_failed: bool,
}

impl Worker {
    pub fn new(name: usize, target: Target) -> Self {
        let (acknowledged, unknown) = (Vec::new(), BTreeSet::new());
        Self {
            name,
            target,
            client: None,
            tally: Tally::default(),
            acknowledged,
            unknown,
            watch_failed: false,
        }
    }

    pub fn run(mut self, stop: &AtomicBool) -> Tally {
        let mut number = 0;
        while !stop.load(Relaxed) || self.tally.rounds < ROUNDS_MIN {
            let value = format!("{}:{number}", self.name);
            match (self.name + number) % 5 {
                0 | 1 => self.pipeline(&value),
                2 => self.transaction(&value),
                3 => self.watched(&value),
                _ => self.blocking(&value),
            }
            number += 1;
            self.tally.rounds += 1;
        }
        self.tally.written.push((self.list(), self.acknowledged, self.unknown));
        self.tally
    }

    fn list(&self) -> String {
        format!("log:{}", self.name)
    }

    fn pipeline(&mut self, value: &str) {
        let (key, list) = (format!("value:{}", self.name), self.list());
        let ok = || Expect::Exactly(b"+OK\r\n".to_vec());
        let echo = || Expect::Exactly(bulk(value));
        let replies = self.ask(
            &[
                (&["ECHO", value], echo()),
                (&["SET", &key, value], ok()),
                (&["RPUSH", &list, value], Expect::Length),
                (&["LRANGE", &list, "-1", "-1"], Expect::Exactly(array(&[value]))),
                (&["GET", &key], echo()),
                (&["ECHO", value], echo()),
            ],
            // Reads after a write that failed prove nothing.
            &[3, 4],
        );
        self.note(value, replies.get(2));
    }

    fn transaction(&mut self, value: &str) {
        let list = self.list();
        let queued = || Expect::Exactly(b"+QUEUED\r\n".to_vec());
        let replies = self.ask(
            &[
                (&["MULTI"], Expect::Exactly(b"+OK\r\n".to_vec())),
                (&["ECHO", value], queued()),
                (&["RPUSH", &list, value], queued()),
                (&["LRANGE", &list, "-1", "-1"], queued()),
                (&["EXEC"], Expect::Length),
                (&["ECHO", value], Expect::Exactly(bulk(value))),
            ],
            &[4],
        );
        let exec = replies.get(4).cloned().unwrap_or_default();
        if exec.starts_with(b"*3\r\n") {
            let (head, tail) = ([b"*3\r\n", &bulk(value)[..]].concat(), array(&[value]));
            assert!(exec.starts_with(&head) && exec.ends_with(&tail), "astray: {}", show(&exec));
        } else {
            // A WATCH that was answered with an error may still make one EXEC fail.
            let excused = exec == b"*-1\r\n" && self.watch_failed;
            let failed = exec.is_empty() || exec.starts_with(b"-");
            assert!(failed || excused, "EXEC: {}", show(&exec));
        }
        self.watch_failed = false;
        if exec != b"*-1\r\n" {
            self.note(value, replies.get(4));
        }
    }

    fn watched(&mut self, value: &str) {
        let list = self.list();
        let ok = || Expect::Exactly(b"+OK\r\n".to_vec());
        let watched = self.ask(&[(&["WATCH", &list], ok())], &[]);
        if watched != [b"+OK\r\n"] {
            self.watch_failed = true;
            return;
        }
        let replies = self.ask(
            &[
                (&["MULTI"], ok()),
                (&["RPUSH", &list, value], Expect::Exactly(b"+QUEUED\r\n".to_vec())),
                (&["EXEC"], Expect::Length),
            ],
            &[2],
        );
        let exec = replies.get(2).cloned().unwrap_or_default();
        if exec != b"*-1\r\n" {
            self.note(value, replies.get(2));
        }
    }

    /// A pop that waits on a connection of its own, with an element that is there already.
    fn blocking(&mut self, value: &str) {
        let queue = format!("queue:{}:{value}", self.name);
        let pushed = self.ask(&[(&["RPUSH", &queue, value], Expect::Length)], &[]);
        let popped = array(&[&queue, value]);
        let expect =
            if pushed == [b":1\r\n"] { Expect::Exactly(popped) } else { Expect::OrNull(popped) };
        self.ask(&[(&["BLPOP", &queue, "0.05"], expect)], &[]);
        self.ask(&[(&["ECHO", value], Expect::Exactly(bulk(value)))], &[]);
    }

    /// Remembers what became of the write: a reply that is an error, or none, leaves it unknown.
    fn note(&mut self, value: &str, reply: Option<&Vec<u8>>) {
        match reply {
            Some(reply) if !reply.starts_with(b"-") => self.acknowledged.push(value.to_owned()),
            _ => drop(self.unknown.insert(value.to_owned())),
        }
    }

    /// Sends the commands in one write and reads their replies, each of which must be what is
    /// expected or an error. Those at `shaky` may show another value of this worker once a write of
    /// unknown outcome is about.
    fn ask(&mut self, commands: &[(&[&str], Expect)], shaky: &[usize]) -> Vec<Vec<u8>> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.target).unwrap(),
        };
        let bytes: Vec<u8> = commands.iter().flat_map(|(words, _)| encode(words)).collect();
        client.send_raw(&bytes);
        let mut replies = Vec::new();
        let mut failed = false;
        for (index, (words, expect)) in commands.iter().enumerate() {
            let reply = match client.next(PATIENCE) {
                Got::Reply(reply) => reply,
                Got::End => {
                    self.tally.ends += 1;
                    return replies;
                }
                Got::Silence => panic!("worker {}: {words:?} has no reply", self.name),
            };
            if reply.starts_with(b"-") {
                failed = true;
                self.tally.errors += 1;
                self.tally.example = show(&reply);
            } else if !(expect.fits(&reply)
                || shaky.contains(&index)
                    && (failed || !self.unknown.is_empty())
                    && self.owns(&reply))
            {
                panic!("worker {}: {words:?} was answered {}", self.name, show(&reply));
            }
            replies.push(reply);
        }
        self.client = Some(client);
        replies
    }
}

impl Worker {
    /// The reply is a value of this worker, or none.
    fn owns(&self, reply: &[u8]) -> bool {
        let text = String::from_utf8_lossy(reply);
        let own = format!("{}:", self.name);
        text.lines().filter(|line| !line.starts_with(['$', '*'])).all(|line| line.starts_with(&own))
    }
}

impl Expect {
    fn fits(&self, reply: &[u8]) -> bool {
        match self {
            Self::Exactly(bytes) => reply == bytes,
            Self::Length => reply.starts_with(b":") || reply.starts_with(b"*"),
            Self::OrNull(bytes) => reply == bytes || reply == b"*-1\r\n",
        }
    }
}

/// Every acknowledged value is in the list, once and in order; what else is there has an unknown
/// outcome, and is there once.
pub fn check_list(
    observer: &mut Client,
    list: &str,
    acknowledged: &[String],
    unknown: &BTreeSet<String>,
) {
    let reply = observer.ask(&["LRANGE", list, "0", "-1"]);
    let text = String::from_utf8(reply).unwrap();
    let found: Vec<&str> = text.lines().filter(|line| line.contains(':')).collect();
    let known: Vec<&str> =
        found.iter().copied().filter(|value| !unknown.contains(*value)).collect();
    assert_eq!(known, acknowledged, "{list}: acknowledged writes");
    let distinct: BTreeSet<&str> = found.iter().copied().collect();
    assert_eq!(distinct.len(), found.len(), "{list}: a write ran twice");
}

fn bulk(value: &str) -> Vec<u8> {
    format!("${}\r\n{value}\r\n", value.len()).into_bytes()
}

fn array(values: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", values.len()).into_bytes();
    bytes.extend(values.iter().flat_map(|value| bulk(value)));
    bytes
}

//! What the model does with keys and channels.
//!
//! Owns: the commands on data, subscriptions, and what happens from outside. Never knows: connections'
//! transactions.

use std::collections::VecDeque;

use bytes::BytesMut;
use respgate::internals::resp::{Protocol, encode};

use super::model::{DATABASES, Model, Value};

const WRONGTYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "ERR value is not an integer or out of range";

impl Model {
    pub(super) fn run_on_data(&mut self, at: usize, name: &str, words: &[Vec<u8>]) {
        let (database, protocol) = {
            let connection = &self.connections[at];
            (connection.database, connection.protocol)
        };
        let mut out = std::mem::take(&mut self.connections[at].output);
        let key = words.get(1).map(Vec::as_slice).unwrap_or_default();
        match name {
            "ping" => self.ping(at, words, &mut out),
            "echo" => encode::bulk(&mut out, key),
            "wait" => encode::integer(&mut out, 0),
            "select" => match std::str::from_utf8(key).unwrap_or_default().parse::<u32>() {
                Ok(number) if number < DATABASES => {
                    self.connections[at].database = number;
                    encode::simple(&mut out, "OK");
                }
                Ok(_) => encode::error(&mut out, "ERR DB index is out of range"),
                Err(_) => encode::error(&mut out, NOT_INTEGER),
            },
            "set" => {
                self.data.insert((database, key.to_vec()), Value::Text(words[2].clone()));
                encode::simple(&mut out, "OK");
                self.touch(database, key);
            }
            "incr" => self.incr(database, key, &mut out),
            "del" => {
                let mut count = 0;
                for key in &words[1..] {
                    if self.data.remove(&(database, key.clone())).is_some() {
                        count += 1;
                        self.touch(database, key);
                    }
                }
                encode::integer(&mut out, count);
            }
            "get" | "llen" | "lrange" => {
                self.note_read(at, key);
                self.read(name, database, key, protocol, &mut out);
            }
            "mget" => {
                encode::array(&mut out, words.len() - 1);
                for key in &words[1..] {
                    self.note_read(at, key);
                    match self.data.get(&(database, key.clone())) {
                        Some(Value::Text(text)) => encode::bulk(&mut out, text),
                        Some(Value::List(_)) | None => encode::null(&mut out, protocol),
                    }
                }
            }
            "rpush" => match self.append(database, key, &words[2..]) {
                Some(length) => encode::integer(&mut out, length),
                None => encode::error(&mut out, WRONGTYPE),
            },
            "blpop" => self.blpop(at, database, &words[1..words.len() - 1], &mut out),
            _ => encode::error(&mut out, "ERR not in this model"),
        }
        out.unsplit(self.connections[at].output.split());
        self.connections[at].output = out;
        if name == "rpush" {
            self.serve_blocked();
        }
    }

    fn ping(&self, at: usize, words: &[Vec<u8>], out: &mut BytesMut) {
        let connection = &self.connections[at];
        if connection.protocol == Protocol::Resp2 && connection.subscribed() {
            encode::array(out, 2);
            encode::bulk(out, "pong");
            encode::bulk(out, words.get(1).map(Vec::as_slice).unwrap_or_default());
        } else if let Some(text) = words.get(1) {
            encode::bulk(out, text);
        } else {
            encode::simple(out, "PONG");
        }
    }

    fn incr(&mut self, database: u32, key: &[u8], out: &mut BytesMut) {
        let value = match self.data.get(&(database, key.to_vec())) {
            None => Ok(0),
            Some(Value::Text(text)) => std::str::from_utf8(text)
                .ok()
                .and_then(|t| t.parse::<i64>().ok())
                .ok_or(NOT_INTEGER),
            Some(Value::List(_)) => Err(WRONGTYPE),
        };
        match value {
            Ok(number) => {
                let text = (number + 1).to_string().into_bytes();
                self.data.insert((database, key.to_vec()), Value::Text(text));
                encode::integer(out, number + 1);
                self.touch(database, key);
            }
            Err(text) => encode::error(out, text),
        }
    }

    fn read(&self, name: &str, database: u32, key: &[u8], protocol: Protocol, out: &mut BytesMut) {
        match (name, self.data.get(&(database, key.to_vec()))) {
            ("get", None) => encode::null(out, protocol),
            ("get", Some(Value::Text(text))) => encode::bulk(out, text),
            ("llen", None) => encode::integer(out, 0),
            ("llen", Some(Value::List(list))) => {
                encode::integer(out, i64::try_from(list.len()).unwrap());
            }
            ("lrange", None) => encode::array(out, 0),
            ("lrange", Some(Value::List(list))) => {
                encode::array(out, list.len());
                list.iter().for_each(|element| encode::bulk(out, element));
            }
            _ => encode::error(out, WRONGTYPE),
        }
    }

    fn append(&mut self, database: u32, key: &[u8], elements: &[Vec<u8>]) -> Option<i64> {
        let value = self.data.entry((database, key.to_vec()));
        let Value::List(list) = value.or_insert_with(|| Value::List(VecDeque::new())) else {
            return None;
        };
        list.extend(elements.iter().cloned());
        let length = i64::try_from(list.len()).unwrap();
        self.touch(database, key);
        Some(length)
    }

    fn blpop(&mut self, at: usize, database: u32, keys: &[Vec<u8>], out: &mut BytesMut) {
        for key in keys {
            match self.data.get(&(database, key.clone())) {
                Some(Value::List(_)) => return self.pop_front(database, key, out),
                Some(Value::Text(_)) => return encode::error(out, WRONGTYPE),
                None => {}
            }
        }
        let connection = &mut self.connections[at];
        connection.blocked = Some((database, keys.to_vec()));
        connection.blocked_silently = connection.silent();
    }

    fn pop_front(&mut self, database: u32, key: &[u8], out: &mut BytesMut) {
        let Some(Value::List(list)) = self.data.get_mut(&(database, key.to_vec())) else { return };
        let element = list.pop_front().unwrap();
        if list.is_empty() {
            self.data.remove(&(database, key.to_vec()));
        }
        encode::array(out, 2);
        encode::bulk(out, key);
        encode::bulk(out, element);
        self.touch(database, key);
    }

    /// Gives elements to the connections that wait for them.
    fn serve_blocked(&mut self) {
        for at in 0..self.connections.len() {
            let Some((database, keys)) = self.connections[at].blocked.clone() else { continue };
            let full = |key: &&Vec<u8>| {
                matches!(self.data.get(&(database, (*key).clone())), Some(Value::List(_)))
            };
            if let Some(key) = keys.iter().find(full) {
                let mut out = BytesMut::new();
                self.pop_front(database, key, &mut out);
                self.connections[at].blocked = None;
                self.unblock(at, &out);
            }
        }
    }

    /// The delayed reply of a command that blocked.
    fn unblock(&mut self, at: usize, reply: &[u8]) {
        let connection = &mut self.connections[at];
        connection.blocked = None;
        if !connection.blocked_silently {
            connection.output.extend_from_slice(reply);
        }
    }

    /// The time of a blocked command is up.
    pub fn time_out(&mut self, at: usize) {
        let mut reply = BytesMut::new();
        encode::null_array(&mut reply, self.connections[at].protocol);
        self.unblock(at, &reply);
    }

    /// Another client writes a key.
    pub fn set_from_outside(&mut self, database: u32, key: &[u8], value: &[u8]) {
        self.data.insert((database, key.to_vec()), Value::Text(value.to_vec()));
        self.touch(database, key);
        self.invalidate();
    }

    /// Another client appends to a list.
    pub fn push_from_outside(&mut self, database: u32, key: &[u8], element: &[u8]) {
        self.append(database, key, &[element.to_vec()]);
        self.serve_blocked();
        self.invalidate();
    }

    /// Another client publishes.
    pub fn publish(&mut self, channel: &[u8], payload: &[u8], shard: bool) {
        for connection in &mut self.connections {
            let direct = if shard { &connection.shards } else { &connection.channels };
            let (out, protocol) = (&mut connection.output, connection.protocol);
            if direct.contains(channel) {
                encode::push(out, 3, protocol);
                encode::bulk(out, if shard { "smessage" } else { "message" });
                encode::bulk(out, channel);
                encode::bulk(out, payload);
            }
            for pattern in connection.patterns.iter().filter(|_| !shard) {
                let prefix = pattern.strip_suffix(b"*").unwrap_or(pattern);
                if channel.starts_with(prefix) {
                    encode::push(out, 4, protocol);
                    encode::bulk(out, "pmessage");
                    encode::bulk(out, pattern);
                    encode::bulk(out, channel);
                    encode::bulk(out, payload);
                }
            }
        }
    }

    pub(super) fn subscribe(&mut self, at: usize, name: &str, names: &[Vec<u8>]) {
        for channel in names {
            let connection = &mut self.connections[at];
            match name {
                "subscribe" => connection.channels.insert(channel.clone()),
                "psubscribe" => connection.patterns.insert(channel.clone()),
                _ => connection.shards.insert(channel.clone()),
            };
            self.acknowledge(at, name, Some(channel));
        }
    }

    pub(super) fn unsubscribe(&mut self, at: usize, name: &str, names: &[Vec<u8>]) {
        let connection = &mut self.connections[at];
        let set = match name {
            "unsubscribe" => &mut connection.channels,
            "punsubscribe" => &mut connection.patterns,
            _ => &mut connection.shards,
        };
        let removed: Vec<Vec<u8>> =
            if names.is_empty() { set.iter().cloned().collect() } else { names.to_vec() };
        if removed.is_empty() {
            return self.acknowledge(at, name, None);
        }
        for channel in &removed {
            let connection = &mut self.connections[at];
            match name {
                "unsubscribe" => connection.channels.remove(channel),
                "punsubscribe" => connection.patterns.remove(channel),
                _ => connection.shards.remove(channel),
            };
            self.acknowledge(at, name, Some(channel));
        }
    }

    fn acknowledge(&mut self, at: usize, name: &str, channel: Option<&Vec<u8>>) {
        let connection = &mut self.connections[at];
        let total = if name.starts_with("ss") || name.starts_with("sun") {
            connection.shards.len()
        } else {
            connection.channels.len() + connection.patterns.len()
        };
        let (out, protocol) = (&mut connection.output, connection.protocol);
        encode::push(out, 3, protocol);
        encode::bulk(out, name);
        match channel {
            Some(channel) => encode::bulk(out, channel),
            None => encode::null(out, protocol),
        }
        encode::integer(out, i64::try_from(total).unwrap());
    }
}

//! What a connection sends and exactly what must come back, made before the window opens.
//!
//! Owns: [`Script`], [`Step`]. Never knows: sockets.

use respgate::internals::base::sha1::Sha1;

use super::spec::Talk;

/// Bytes to send and the bytes that answer them.
#[derive(Debug, Default)]
pub struct Step {
    pub request: Vec<u8>,
    pub reply: Vec<u8>,
    pub operations: u64,
}

/// Requests that are sent once, then those that are repeated.
#[derive(Debug)]
pub struct Script {
    pub prelude: Vec<Step>,
    pub cycle: Vec<Step>,
}

impl Step {
    fn set(&mut self, key: &str, value: &[u8], expires: bool) {
        let all: [&[u8]; 5] = [b"SET", key.as_bytes(), value, b"EX", b"3600"];
        command(&mut self.request, if expires { &all } else { &all[..3] });
        self.reply.extend_from_slice(b"+OK\r\n");
        self.operations += 1;
    }

    fn get(&mut self, key: &str, value: &[u8]) {
        command(&mut self.request, &[b"GET", key.as_bytes()]);
        self.reply.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
        self.reply.extend_from_slice(value);
        self.reply.extend_from_slice(b"\r\n");
        self.operations += 1;
    }
}

/// A script with so many calls that answers its first argument.
fn lua(calls: usize) -> String {
    let Some(before) = calls.checked_sub(1) else { return "return ARGV[1]".to_owned() };
    let kinds = ["redis.call('SET',KEYS[1],ARGV[1]) ", "redis.call('INCRBY',KEYS[2],1) "];
    let mut text: String = kinds.iter().cycle().take(before).copied().collect();
    text.push_str("return redis.call('GET',KEYS[1])");
    text
}

fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// A value that no other connection, key or turn has.
fn value(connection: usize, key: usize, turn: usize, bytes: usize) -> Vec<u8> {
    let tag = format!("<connection {connection} key {key} turn {turn}>");
    tag.bytes().cycle().take(bytes).collect()
}

impl Script {
    /// What `talk` means for one connection. Two turns with different values: a stale reply differs
    /// from the right one as a foreign one does.
    pub fn new(talk: Talk, connection: usize) -> Self {
        if let Some(calls) = talk.calls {
            return Self::of_lua(&lua(calls), talk, connection);
        }
        let Talk { value_bytes, pipeline, only_get, expires, .. } = talk;
        let keys = if only_get { pipeline } else { pipeline.div_ceil(2) };
        let names: Vec<String> = (0..keys).map(|key| format!("app1:{connection}:{key}")).collect();
        let turns = if only_get { 1 } else { 2 };
        let mut script = Self { prelude: Vec::new(), cycle: Vec::new() };
        for turn in 0..turns {
            let mut sets = Step::default();
            let mut gets = Step::default();
            let mut both = Step::default();
            for (key, name) in names.iter().enumerate() {
                let value = value(connection, key, turn, value_bytes);
                sets.set(name, &value, expires);
                gets.get(name, &value);
                both.set(name, &value, expires);
                both.get(name, &value);
            }
            match (only_get, pipeline) {
                (true, _) => {
                    script.prelude.push(sets);
                    script.cycle.push(gets);
                }
                (false, 1) => script.cycle.extend([sets, gets]),
                (false, _) => script.cycle.push(both),
            }
        }
        script
    }

    fn of_lua(text: &str, talk: Talk, connection: usize) -> Self {
        let names = ["0", "count"].map(|key| format!("app1:{connection}:{key}"));
        let sha = Sha1::of(text.as_bytes()).to_string();
        let turn = |turn| {
            let value = value(connection, 0, turn, talk.value_bytes);
            let step = |head: [&str; 2]| {
                let mut step = Step { operations: 1, ..Step::default() };
                let [name, count] = &names;
                let args = [head[0], head[1], "2", name, count].map(str::as_bytes);
                command(&mut step.request, &[&args[..], &[&value]].concat());
                step.reply.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
                step.reply.extend_from_slice(&value);
                step.reply.extend_from_slice(b"\r\n");
                step
            };
            let (eval, by_name) = (step(["EVAL", text]), step(["EVALSHA", &sha]));
            if talk.by_name { (eval, by_name) } else { (step(["EVAL", text]), eval) }
        };
        let (prelude, cycle) = [0, 1].map(turn).into_iter().unzip();
        Self { prelude, cycle }
    }
}

//! What one client would receive from a Redis of its own, and whether it received that.
//!
//! Owns: [`Reference`]: the expected replies, one by one. Never knows: sessions, connections between.

use std::collections::{BTreeSet, VecDeque};

use respgate::internals::resp::{Protocol, ReplyScanner};
use respgate::internals::traffic::PoolKey;

use super::model::{Mode, Model, Queued, Words};

/// What has become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A request that was sent and that the server has not executed.
    Open,
    /// The server has executed it, or the proxy answers it.
    Executed,
    /// The server refused it.
    Forbidden,
    /// The proxy would not send it, with this line.
    Refused(String),
    /// A request that was sent, or half sent, and answered with this line instead of the reply.
    Lost(String),
}

/// What EXEC may change of the proxy's own state.
#[derive(Debug)]
struct Before {
    name: Vec<u8>,
    mode: Mode,
    protocol: Protocol,
}

#[derive(Debug)]
struct Asked {
    words: Words,
    fate: Fate,
}

/// One client's Redis.
#[derive(Debug)]
pub struct Reference {
    pub model: Model,
    /// Requests that it has not executed, because the server has not; the first has number `next`.
    asked: VecDeque<Asked>,
    next: usize,
    /// Replies that the client has not received, with the number of their request.
    replies: VecDeque<(usize, Vec<u8>)>,
    /// Messages and invalidations: in order among themselves.
    messages: VecDeque<Vec<u8>>,
    /// A request that blocks.
    blocked: Option<usize>,
    silent: BTreeSet<usize>,
    /// The latest EXEC, and how the client was called and answered before it, where that changes.
    executed: Option<(usize, Before)>,
    /// Messages may be lost from here on: the client sent RESET while some were in flight.
    pub forgetful: bool,
    /// The replies could not be distinguished from messages any more.
    is_confused: bool,
    received: Vec<u8>,
}

pub const FORBIDDEN: &str = "NOPERM this user has no permissions to be served";

impl Reference {
    pub fn new(id: u64) -> Self {
        let mut model = Model::default();
        model.connect(i64::try_from(id).unwrap(), Protocol::Resp2, 0);
        Self {
            model,
            asked: VecDeque::new(),
            next: 0,
            replies: VecDeque::new(),
            messages: VecDeque::new(),
            blocked: None,
            silent: BTreeSet::new(),
            executed: None,
            forgetful: false,
            is_confused: false,
            received: Vec::new(),
        }
    }

    /// A request was dealt with; returns its number.
    pub fn ask(&mut self, words: &Words, fate: Fate) -> usize {
        self.asked.push_back(Asked { words: words.clone(), fate });
        let number = self.next + self.asked.len() - 1;
        self.advance();
        number
    }

    /// The server has executed a request, or refused to.
    pub fn note(&mut self, number: usize, fate: Fate) {
        if let Some(at) = number.checked_sub(self.next) {
            self.asked[at].fate = fate;
        }
        self.advance();
    }

    /// Executes every request that is due.
    pub fn advance(&mut self) {
        while self.model.connections[0].blocked.is_none()
            && self.asked.front().is_some_and(|asked| asked.fate != Fate::Open)
        {
            let Asked { words, fate } = self.asked.pop_front().unwrap();
            let number = self.next;
            self.next += 1;
            if self.model.connections[0].silent() {
                self.silent.insert(number);
            }
            let name = words[0].to_ascii_lowercase();
            self.forgetful |= name == b"reset";
            if name == b"exec" {
                let connection = &self.model.connections[0];
                // Nothing behind such a one is sent before it is answered.
                let holds = connection.transaction.as_ref().is_some_and(Queued::has_own);
                let (name, mode) = (connection.name.clone(), connection.mode);
                let before = Before { name, mode, protocol: connection.protocol };
                self.executed = holds.then_some((number, before));
            }
            match fate {
                Fate::Open => unreachable!(),
                Fate::Executed => self.model.execute(0, &words),
                Fate::Forbidden => {
                    self.forget(&words);
                    self.expect_line(FORBIDDEN);
                }
                Fate::Refused(line) => {
                    let name = String::from_utf8(name).unwrap();
                    let mode = self.model.connections[0].silent();
                    self.model.reject(0, &name, &line);
                    self.after(mode);
                }
                Fate::Lost(line) => {
                    self.forget(&words);
                    self.expect_line(&line);
                }
            }
            if self.model.connections[0].blocked.is_some() {
                self.blocked = Some(number);
            }
            self.collect(number);
        }
    }

    fn expect_line(&mut self, line: &str) {
        let connection = &mut self.model.connections[0];
        let silent = connection.silent();
        respgate::internals::resp::encode::error(&mut connection.output, line);
        self.after(silent);
    }

    fn after(&mut self, silent: bool) {
        let connection = &mut self.model.connections[0];
        if silent {
            connection.output.clear();
        }
        connection.next_command();
    }

    /// The client takes a request for done that was not executed.
    fn forget(&mut self, words: &Words) {
        let connection = &mut self.model.connections[0];
        match words[0].to_ascii_lowercase().as_slice() {
            b"exec" | b"discard" | b"unwatch" => {
                connection.transaction = None;
                connection.watched.clear();
                connection.touched = false;
            }
            b"watch" => connection.touched = true,
            _ => {}
        }
    }

    /// Collects the output of the model for request `number`.
    fn collect(&mut self, number: usize) {
        let bytes = self.model.connections[0].output.split();
        let (whole, rest) = frames(&bytes);
        // CLIENT REPLY OFF within a transaction: its array has fewer elements than announced.
        self.is_confused |= !rest.is_empty();
        for frame in whole {
            if is_message(frame) {
                self.messages.push_back(frame.to_vec());
            } else {
                self.replies.push_back((number, frame.to_vec()));
            }
        }
    }

    /// Something happened from outside.
    pub fn outside(&mut self, happen: impl FnOnce(&mut Model)) {
        happen(&mut self.model);
        self.take_outside();
    }

    fn take_outside(&mut self) {
        self.collect(self.blocked.unwrap_or(self.next));
        if self.model.connections[0].blocked.is_none() {
            self.blocked = None;
        }
        self.advance();
    }

    /// The client receives `line` instead of the reply to `number`.
    pub fn lose(&mut self, number: usize, line: &str) {
        if number >= self.next {
            return self.note(number, Fate::Lost(line.to_owned()));
        }
        if self.blocked == Some(number) {
            self.blocked = None;
            self.model.connections[0].blocked = None;
        }
        if let Some((_, before)) = self.executed.take_if(|(executed, _)| *executed == number) {
            // What it did to the proxy's own state was not done.
            let connection = &mut self.model.connections[0];
            (connection.name, connection.mode) = (before.name, before.mode);
            connection.protocol = before.protocol;
            connection.next_command();
        }
        self.replace(number, format!("-{line}\r\n").into_bytes());
        self.advance();
    }

    /// A read was executed once more.
    pub fn repeat(&mut self, number: usize, words: &Words, key: PoolKey) {
        let reply = self.aside(std::slice::from_ref(words), key);
        self.replace(number, reply);
    }

    /// Commands whose replies are no longer awaited are executed after all.
    pub fn aside(&mut self, commands: &[Words], key: PoolKey) -> Vec<u8> {
        let at = self.model.connect(0, key.protocol, key.database);
        for words in commands {
            self.model.execute(at, words);
        }
        let reply = self.model.connections[at].output.to_vec();
        self.model.connections.pop();
        // What they push may be what the client waits for.
        self.take_outside();
        reply
    }

    fn replace(&mut self, number: usize, reply: Vec<u8>) {
        self.replies.retain(|(of, _)| *of != number);
        if !self.silent.contains(&number) {
            let at = self.replies.partition_point(|(of, _)| *of < number);
            self.replies.insert(at, (number, reply));
        }
    }

    /// The connection with the session's state is gone, without the client being sent away.
    pub fn lose_state(&mut self, key: PoolKey) {
        self.messages.clear();
        let connection = &mut self.model.connections[0];
        // A HELLO or SELECT within a transaction whose outcome is unknown may have been executed, or not.
        (connection.database, connection.protocol) = (key.database, key.protocol);
        connection.stop_tracking();
        connection.channels.clear();
        connection.patterns.clear();
        connection.shards.clear();
    }

    /// What was watched may have changed.
    pub fn lose_watch(&mut self) {
        let connection = &mut self.model.connections[0];
        connection.touched |= !connection.watched.is_empty();
        connection.watched.clear();
    }

    /// Something watched counts as written to.
    pub fn touch(&mut self) {
        self.model.connections[0].touched = true;
    }

    /// The client has received these bytes: they must be what comes next.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.is_confused {
            return self.received.clear();
        }
        self.received.extend_from_slice(bytes);
        let received = std::mem::take(&mut self.received);
        let (whole, rest) = frames(&received);
        for frame in whole {
            if is_message(frame) {
                self.take_message(frame);
                continue;
            }
            let (number, reply) = self
                .replies
                .pop_front()
                .unwrap_or_else(|| panic!("nothing was due: {:?}", show(frame)));
            assert_eq!(show(frame), show(&reply), "the reply to request {number}");
        }
        if let Some((number, reply)) = self.replies.front()
            && !is_message_begun(rest)
        {
            assert!(
                reply.starts_with(rest),
                "the reply to request {number}: {:?} is not the beginning of {:?}",
                show(rest),
                show(reply)
            );
        }
        self.received = rest.to_vec();
    }

    fn take_message(&mut self, frame: &[u8]) {
        while let Some(message) = self.messages.pop_front() {
            if message == frame {
                return;
            }
            assert!(self.forgetful, "a message is missing: {:?}", show(&message));
        }
        panic!("not a message for this client: {:?}", show(frame));
    }

    /// The number that the next request will have.
    pub fn next_number(&self) -> usize {
        self.next + self.asked.len()
    }

    /// The connection is closed in the place of request `number`: everything before is answered.
    pub fn finish_before(&self, number: usize) {
        assert!(self.received.is_empty(), "half a reply: {:?}", show(&self.received));
        if self.is_confused {
            return;
        }
        let missing = self.replies.front().filter(|(of, _)| *of < number);
        assert!(missing.is_none(), "closed before a reply that was due: {missing:?}");
    }

    /// The client has received everything.
    pub fn finish(&self) {
        assert!(self.received.is_empty(), "half a reply: {:?}", show(&self.received));
        assert!(self.asked.is_empty(), "requests were not executed: {:?}", self.asked);
        if self.is_confused {
            return;
        }
        let missing: Vec<String> = self.replies.iter().map(|(_, reply)| show(reply)).collect();
        assert!(missing.is_empty(), "replies are missing: {missing:?}");
        let missing: Vec<String> = self.messages.iter().map(|message| show(message)).collect();
        assert!(self.forgetful || missing.is_empty(), "messages are missing: {missing:?}");
    }
}

/// Whole frames, and what is behind them.
pub fn frames(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut all, mut rest) = (Vec::new(), bytes);
    loop {
        let mut scanner = ReplyScanner::default();
        let advance = scanner.advance(rest).unwrap_or_else(|e| panic!("{e:?}: {:?}", show(rest)));
        if !advance.done {
            return (all, rest);
        }
        let (frame, after) = rest.split_at(advance.used);
        all.push(frame);
        rest = after;
    }
}

/// Something published, or an invalidation.
fn is_message(frame: &[u8]) -> bool {
    let mut lines = frame.split(|&byte| byte == b'\n');
    let head = lines.next().unwrap_or_default();
    let word = lines.nth(1).unwrap_or_default();
    matches!(head.first(), Some(b'*' | b'>'))
        && matches!(word, b"message\r" | b"pmessage\r" | b"smessage\r" | b"invalidate\r")
}

fn is_message_begun(rest: &[u8]) -> bool {
    matches!(rest.first(), Some(b'*' | b'>'))
}

pub fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

//! A make-believe server and the wires to it, in make-believe time.
//!
//! Owns: [`Server`], [`Wire`]: what is executed and what is answered. Never knows: respgate's decisions,
//! what a test asserts.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// A large reply, and its pieces.
const LARGE_BYTES: usize = 90_000;
const PIECE_BYTES: usize = 8_000;

/// Bytes that arrive at a time.
type Packets = VecDeque<(Instant, Vec<u8>)>;

/// One connection, from the login on.
#[derive(Debug)]
pub struct Wire {
    pub generation: u64,
    /// The password it is logged in with.
    pub password: u64,
    pub replica: bool,
    to_server: Packets,
    to_proxy: Packets,
    input: Vec<u8>,
    /// When each byte of it came.
    arrived: Vec<Instant>,
    /// The server works on a slow command until then.
    busy_until: Option<Instant>,
    /// The server has closed it: the proxy notices after the last packet.
    closed: bool,
    pub open: bool,
    /// Bytes that the kernel takes until the server reads again.
    pub window: usize,
    /// When packets that vanished are sent again.
    again_at: Option<Instant>,
    /// The connection ends at the first request.
    pub hangs_up: bool,
    /// The last request of a session, if it was refused.
    refused: Option<(usize, u64)>,
    /// The proxy has read a part of a reply.
    pub half: bool,
    /// What the proxy has asked for itself and was answered, from what it has not judged yet on.
    own: VecDeque<Own>,
}

/// A request of the proxy's own, as the server has answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    /// A PING, or a question about the role, which may be a PING, too.
    Question,
    Login(bool),
}

impl Wire {
    /// The proxy takes a reply for a sign of life.
    pub fn check_sign_of_life(&mut self) {
        let own = self.own.pop_front();
        assert_eq!(own, Some(Own::Question), "that is taken for the answer to a probe");
    }

    /// The proxy takes a reply for the server's verdict on a login.
    pub fn check_login(&mut self, accepted: bool) {
        // Not each answer to a question is reported.
        let own = std::iter::from_fn(|| self.own.pop_front()).find(|own| *own != Own::Question);
        assert_eq!(own, Some(Own::Login(accepted)), "that is taken for the answer to a login");
    }
}

/// A write.
#[derive(Clone, Copy, Debug)]
pub struct Executed {
    pub session: usize,
    pub ticket: u64,
    pub wire: usize,
    /// When all of it was with the server.
    pub arrived: Instant,
    /// The server has refused the request before it on this connection, of the same session.
    pub behind_refused: bool,
}

/// What arrives at the proxy.
#[derive(Debug)]
pub enum Arrival {
    Bytes(Vec<u8>),
    End,
}

#[derive(Debug)]
pub struct Server {
    pub wires: Vec<Wire>,
    /// In the order of execution.
    pub executed: Vec<Executed>,
    pub latency: Duration,
    /// Packets vanish.
    pub path_is_dead: bool,
    pub refuses: bool,
    pub loading: bool,
    pub password_is_wrong: bool,
    pub busy_with_script: bool,
    /// Whether the server has only the first database.
    pub lacks_database: bool,
    /// New connections lead to a replica.
    pub replica: bool,
    pub hangs_up: bool,
    pub paused: bool,
    /// Whether writes wait, as after CLIENT PAUSE WRITE.
    pub writes_are_paused: bool,
    /// What requests that complete others are answered, and whether all writes are.
    pub refusal: Option<(&'static str, bool)>,
    /// Requests that complete others, have their error, and will have it again.
    pub denied: HashSet<Vec<u8>>,
    /// The next replies come in two halves, and so long apart.
    pub halves: u32,
    pub half_pause: Duration,
}

impl Server {
    pub fn new(latency: Duration) -> Self {
        Self {
            wires: Vec::new(),
            executed: Vec::new(),
            latency,
            path_is_dead: false,
            refuses: false,
            loading: false,
            password_is_wrong: false,
            busy_with_script: false,
            lacks_database: false,
            replica: false,
            hangs_up: false,
            paused: false,
            writes_are_paused: false,
            refusal: None,
            denied: HashSet::new(),
            halves: 0,
            half_pause: Duration::ZERO,
        }
    }

    /// Whether it sends nothing on a new connection. While it is busy with a script it answers with an error.
    pub const fn is_silent(&self) -> bool {
        self.paused && !self.busy_with_script
    }

    /// A connection is logged in; its number.
    pub fn accept(&mut self, generation: u64, password: u64, replica: bool) -> usize {
        self.wires.push(Wire {
            generation,
            password,
            replica,
            to_server: Packets::new(),
            to_proxy: Packets::new(),
            input: Vec::new(),
            arrived: Vec::new(),
            busy_until: None,
            closed: false,
            open: true,
            window: usize::MAX,
            again_at: None,
            hangs_up: self.hangs_up,
            refused: None,
            half: false,
            own: VecDeque::new(),
        });
        self.wires.len() - 1
    }

    /// The proxy writes; how much the kernel takes.
    pub fn write(&mut self, wire: usize, bytes: &[u8], now: Instant) -> usize {
        let at = now + self.latency;
        let wire = &mut self.wires[wire];
        let count = bytes.len().min(wire.window);
        if wire.window != usize::MAX {
            wire.window -= count;
        }
        if count > 0 {
            wire.to_server.push_back((at, bytes[..count].to_vec()));
        }
        count
    }

    /// The proxy closes its end. What its kernel holds is discarded, or delivered when it can be.
    pub fn close(&mut self, wire: usize, discard: bool) {
        let dead = self.path_is_dead;
        let wire = &mut self.wires[wire];
        wire.open = false;
        wire.to_proxy.clear();
        if discard && (dead || wire.again_at.is_some()) {
            wire.to_server.clear();
        }
    }

    /// The path is free again. Each kernel repeats what vanished at a time of its own.
    pub fn heal(&mut self, now: Instant, mut delay: impl FnMut() -> Duration) {
        self.path_is_dead = false;
        for wire in &mut self.wires {
            if !wire.to_server.is_empty() || !wire.to_proxy.is_empty() {
                wire.again_at = Some(now + delay());
            }
        }
    }

    /// The server ends every connection, or one.
    pub fn hang_up(&mut self, wire: usize) {
        self.wires[wire].closed = true;
        self.wires[wire].to_server.clear();
        self.wires[wire].input.clear();
        self.wires[wire].arrived.clear();
    }

    /// Sends an unrequested reply.
    pub fn push_bytes(&mut self, wire: usize, bytes: &[u8], now: Instant) {
        self.wires[wire].to_proxy.push_back((now, bytes.to_vec()));
    }

    /// Whether an unrequested reply arrives now, and cannot be taken for that to a request.
    pub fn has_nothing_outstanding(&self, wire: usize) -> bool {
        let wire = &self.wires[wire];
        let arrives = !self.path_is_dead && wire.again_at.is_none();
        arrives && wire.to_server.is_empty() && wire.to_proxy.is_empty() && wire.input.is_empty()
    }

    /// When something happens next of itself.
    pub fn next(&self) -> Option<Instant> {
        if self.path_is_dead {
            return None;
        }
        let times = self.wires.iter().filter_map(|wire| {
            let sent = wire.to_server.front().map(|(at, _)| *at);
            let echo = wire.to_proxy.front().map(|(at, _)| *at).filter(|_| wire.open);
            let first = [sent, echo].into_iter().flatten().min();
            let first = first.map(|first| wire.again_at.map_or(first, |again| first.max(again)));
            let works = wire.busy_until.filter(|_| !wire.input.is_empty());
            [first, works].into_iter().flatten().min()
        });
        times.min()
    }

    /// Receives and executes what has arrived.
    pub fn advance(&mut self, now: Instant) {
        for at in 0..self.wires.len() {
            let wire = &mut self.wires[at];
            if !wire.open && wire.to_server.is_empty() && wire.input.is_empty() {
                continue;
            }
            if wire.again_at.is_some_and(|again| now >= again) {
                wire.again_at = None;
            }
            if !self.path_is_dead && wire.again_at.is_none() {
                while wire.to_server.front().is_some_and(|(time, _)| *time <= now) {
                    let (_, bytes) = wire.to_server.pop_front().unwrap();
                    wire.arrived.resize(wire.input.len() + bytes.len(), now);
                    wire.input.extend_from_slice(&bytes);
                }
            }
            if wire.busy_until.is_some_and(|until| now >= until) {
                wire.busy_until = None;
            }
            while !self.paused && self.wires[at].busy_until.is_none() && self.execute(at, now) {}
        }
    }

    /// What the proxy reads.
    pub fn read(&mut self, wire: usize, now: Instant) -> Option<Arrival> {
        let vanished = self.path_is_dead;
        let wire = &mut self.wires[wire];
        if vanished || wire.again_at.is_some_and(|again| now < again) {
            return None;
        }
        if wire.to_proxy.front().is_some_and(|(at, _)| *at <= now) {
            let bytes = wire.to_proxy.pop_front().map(|(_, bytes)| bytes);
            wire.half = bytes.as_ref().is_some_and(|bytes| !bytes.ends_with(b"\n"));
            return bytes.map(Arrival::Bytes);
        }
        (wire.closed && wire.to_proxy.is_empty()).then_some(Arrival::End)
    }

    /// Executes the first request that is there as a whole. Returns whether there was one.
    fn execute(&mut self, at: usize, now: Instant) -> bool {
        let wire = &mut self.wires[at];
        if wire.closed {
            wire.input.clear();
            wire.arrived.clear();
            return false;
        }
        if let Some(own) = own(&wire.input) {
            let answer = self.answer_own(own, at);
            self.wires[at].input.drain(..own.len());
            self.wires[at].arrived.drain(..own.len());
            self.wires[at].own.push_back(Own::Question);
            self.answer(at, answer, now);
            return true;
        }
        if wire.input.starts_with(AUTH) {
            return self.log_in(at, now);
        }
        if wire.input.first() == Some(&b'*') {
            // The rest is to come.
            return false;
        }
        let Some(end) = wire.input.iter().position(|byte| *byte == b'\n') else { return false };
        let line: Vec<u8> = wire.input.drain(..=end).collect();
        let arrived = wire.arrived.drain(..=end).next_back().unwrap();
        if wire.hangs_up {
            wire.closed = true;
            return false;
        }
        let line = String::from_utf8(line).unwrap();
        let refusal = self.refusal.filter(|(_, all)| *all || line.starts_with('C'));
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap();
        let session: usize = words.next().unwrap().parse().unwrap();
        let ticket: u64 = words.next().unwrap().parse().unwrap();
        let writes = matches!(kind, "W" | "S" | "X" | "C");
        let answer = if self.loading {
            "-LOADING Redis is loading the dataset in memory\r\n".to_owned()
        } else if writes && self.writes_are_paused {
            // Neither is what follows it on this connection executed.
            wire.input.splice(..0, line.bytes());
            wire.arrived.splice(..0, std::iter::repeat_n(arrived, line.len()));
            return false;
        } else if writes && wire.replica {
            "-READONLY You can't write against a read only replica.\r\n".to_owned()
        } else if let Some((error, _)) = refusal.filter(|_| writes) {
            if error == DENIED && kind == "C" {
                self.denied.insert(line.clone().into_bytes());
            }
            error.to_owned()
        } else {
            let echo = format!("{session}:{ticket}");
            match kind {
                "M" => "+OK\r\n".to_owned(),
                "B" => "+QUEUED\r\n".to_owned(),
                "E" => format!("-ERR {echo}\r\n"),
                "L" => {
                    let padded = " ".repeat(LARGE_BYTES) + &echo;
                    format!("${}\r\n{padded}\r\n", padded.len())
                }
                "X" => format!("*1\r\n${}\r\n{echo}\r\n", echo.len()),
                _ => format!("${}\r\n{echo}\r\n", echo.len()),
            }
        };
        let refused = answer.starts_with('-').then_some((session, ticket));
        let before = std::mem::replace(&mut self.wires[at].refused, refused);
        if writes && refused.is_none() {
            let behind_refused =
                before.is_some_and(|(of, last)| of == session && last + 1 == ticket);
            self.executed.push(Executed { session, ticket, wire: at, arrived, behind_refused });
        }
        if kind == "S" {
            let time = Duration::from_millis(words.next().unwrap().parse().unwrap());
            self.wires[at].busy_until = Some(now + time);
            self.answer(at, answer, now + time);
        } else {
            self.answer(at, answer, now);
        }
        true
    }

    /// A login on an open connection, if all of it is there.
    fn log_in(&mut self, at: usize, now: Instant) -> bool {
        let wire = &mut self.wires[at];
        let Some(end) = wire.input.iter().position(|byte| *byte == b'!') else { return false };
        let request: Vec<u8> = wire.input.drain(..=end).collect();
        wire.arrived.drain(..=end);
        let password = String::from_utf8(request[AUTH.len()..end].to_vec()).unwrap();
        wire.own.push_back(Own::Login(!self.password_is_wrong));
        if self.password_is_wrong {
            self.answer(at, "-WRONGPASS invalid username-password pair\r\n".to_owned(), now);
        } else {
            wire.password = password.parse().unwrap();
            self.answer(at, "+OK\r\n".to_owned(), now);
        }
        true
    }

    fn answer_own(&self, own: &[u8], at: usize) -> String {
        let role = if self.wires[at].replica { "replica" } else { "master" };
        match own {
            PING if self.loading => "-LOADING Redis is loading the dataset in memory\r\n".into(),
            PING => "+PONG\r\n".into(),
            HELLO => {
                format!("*4\r\n$5\r\nproto\r\n:2\r\n$4\r\nrole\r\n${}\r\n{role}\r\n", role.len())
            }
            _ => format!("*1\r\n${}\r\n{role}\r\n", role.len()),
        }
    }

    fn answer(&mut self, at: usize, answer: String, ready: Instant) {
        let mut first = answer.into_bytes();
        let arrives = ready + self.latency;
        let wire = &mut self.wires[at];
        // What is sent later arrives later.
        let arrives = wire.to_proxy.back().map_or(arrives, |(last, _)| arrives.max(*last));
        if first.len() > LARGE_BYTES {
            let pieces = first.chunks(PIECE_BYTES).map(|piece| (arrives, piece.to_vec()));
            wire.to_proxy.extend(pieces);
        } else if self.halves > 0 && first.len() > 2 {
            self.halves -= 1;
            let second = first.split_off(first.len() / 2);
            wire.to_proxy.push_back((arrives, first));
            wire.to_proxy.push_back((arrives + self.half_pause, second));
        } else {
            wire.to_proxy.push_back((arrives, first));
        }
    }
}

/// The errors about the state of the server, and the one about a request.
pub const PASSING: [&str; 4] = [
    "-BUSY Redis is busy running a script.\r\n",
    "-LOADING Redis is loading the dataset in memory\r\n",
    "-READONLY You can't write against a read only replica.\r\n",
    "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
];
pub const DENIED: &str = "-NOPERM this user has no permissions to run it\r\n";
/// Then the password, and `!`.
pub const AUTH: &[u8] = b"*AUTH ";
const PING: &[u8] = b"*1\r\n$4\r\npInG\r\n";
const HELLO: &[u8] = b"*1\r\n$5\r\nhElLo\r\n";
const ROLE: &[u8] = b"*1\r\n$4\r\nrOlE\r\n";

/// A request of the proxy's own at the front.
fn own(input: &[u8]) -> Option<&'static [u8]> {
    [PING, HELLO, ROLE].into_iter().find(|own| input.starts_with(own))
}

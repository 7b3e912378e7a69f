//! A RESP server that misbehaves on order.
//!
//! Owns: [`FakeServer`], [`Order`]. Never knows: respgate, what a test asserts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use respgate::internals::base::clock::now;

use super::client::encode;
use super::real_server::{free_port, wait_until};

const TICK: Duration = Duration::from_millis(1);

/// What to do with a request instead of answering it properly.
#[derive(Clone, Debug)]
pub enum Order {
    /// Send this instead.
    Instead(Vec<u8>),
    /// Send this before, or behind, the proper answer.
    Before(Vec<u8>),
    Behind(Vec<u8>),
    /// Answer properly once the test lets the gate of this name go; until then no request behind is answered.
    Gate(&'static str),
    /// Answer properly after this time.
    Late(Duration),
    /// Neither this nor anything behind it is ever answered.
    Never,
    /// Close the connection after so many bytes of the answer.
    Close(usize),
    /// Reset the connection, as a machine does that knows nothing of it any more.
    Reset,
}

/// A request that arrived whole; a greeting is none.
#[derive(Clone, Debug)]
pub struct Seen {
    pub connection: usize,
    pub line: String,
}

#[derive(Debug, Default)]
struct Stage {
    listening: bool,
    mute: bool,
    /// What PING is answered within a greeting.
    greeting: Option<Vec<u8>>,
    ended: bool,
    seen: Vec<Seen>,
    /// For requests that begin so, for so many of them.
    orders: Vec<(String, Order, usize)>,
    gates: BTreeSet<&'static str>,
    data: BTreeMap<String, String>,
    /// Connections are closed when so many bytes of requests have arrived on one.
    cut: Option<usize>,
    streams: Vec<Option<TcpStream>>,
    /// Connections that the other side has reset.
    resets: BTreeSet<usize>,
    /// Connections before this one lead to a server that reports that it is a replica.
    demoted: usize,
}

/// Listens in plaintext; ended on drop.
#[derive(Debug)]
pub struct FakeServer {
    pub port: u16,
    stage: Arc<Mutex<Stage>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Ready {
    Now,
    At(Instant),
    Gate(&'static str),
    Never,
}

#[derive(Debug)]
struct Answer {
    bytes: Vec<u8>,
    ready: Ready,
    close: bool,
    reset: bool,
}

/// One connection, on a thread of its own.
struct Service {
    at: usize,
    stream: TcpStream,
    stage: Arc<Mutex<Stage>>,
    input: Vec<u8>,
    answers: VecDeque<Answer>,
    protocol: u8,
    queued: Option<Vec<Vec<String>>>,
    /// Bytes of requests besides the greeting.
    received: usize,
    /// The connection ends with a reset.
    resets: bool,
}

impl FakeServer {
    pub fn start() -> Self {
        // While it is down no program gets its port by chance, not even respgate that dials it.
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let stage = Arc::new(Mutex::new(Stage { listening: true, ..Stage::default() }));
        let shared = Arc::clone(&stage);
        let accepting = std::thread::spawn(move || accept(listener, port, &shared));
        Self { port, stage, accepting: Some(accepting) }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap()
    }

    /// The next `times` requests that begin with `line` get something else than an answer; where `line`
    /// begins with `*`, the next that contain the rest of it.
    pub fn order(&self, line: &str, order: Order, times: usize) {
        self.stage().orders.push((line.to_owned(), order, times));
    }

    /// Requests that begin with `line` get no other answer than that of the next order for them.
    pub fn withdraw(&self, line: &str) {
        self.stage().orders.retain(|(about, ..)| about != line);
    }

    /// Connections made so far lead to a replica from now on, others to a primary.
    pub fn demote(&self) {
        let mut stage = self.stage();
        stage.demoted = stage.streams.len();
    }

    /// Lets the answers go that wait behind a gate.
    pub fn release(&self, gate: &'static str) {
        self.stage().gates.insert(gate);
    }

    /// Closes every further connection when so many bytes of requests have arrived on it.
    pub fn cut_at(&self, bytes: Option<usize>) {
        self.stage().cut = bytes;
    }

    /// Accepts connections and sends nothing on them.
    pub fn be_mute(&self, mute: bool) {
        self.stage().mute = mute;
    }

    /// Answers the PING of a greeting with this.
    pub fn greet_with(&self, bytes: Option<Vec<u8>>) {
        self.stage().greeting = bytes;
    }

    /// Closes everything and accepts nothing more.
    pub fn go_down(&self) {
        self.stage().listening = false;
        self.close_all();
        let port = self.port;
        wait_until("the fake server is down", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    /// Listens again.
    pub fn come_up(&self) {
        self.stage().listening = true;
        let port = self.port;
        wait_until("the fake server is up", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// Closes every connection; new ones are accepted.
    pub fn close_all(&self) {
        for stream in self.stage().streams.iter_mut().filter_map(Option::take) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Sends unrequested bytes on a connection.
    pub fn push_bytes(&self, connection: usize, bytes: &[u8]) {
        let stage = self.stage();
        stage.streams[connection].as_ref().unwrap().write_all_of(bytes);
    }

    /// How many requests that begin so have arrived.
    pub fn count(&self, line: &str) -> usize {
        self.stage().seen.iter().filter(|seen| seen.line.starts_with(line)).count()
    }

    /// The connection on which the latest request that begins so arrived; it must arrive.
    pub fn connection_of(&self, line: &str) -> usize {
        wait_until(&format!("{line} arrives"), || self.count(line) > 0);
        let stage = self.stage();
        let seen = stage.seen.iter().rev().find(|seen| seen.line.starts_with(line));
        seen.unwrap().connection
    }

    /// The same, when such a request arrives within this time.
    pub fn connection_within(&self, line: &str, patience: Duration) -> Option<usize> {
        let deadline = now() + patience;
        while self.count(line) == 0 && now() < deadline {
            std::thread::sleep(TICK);
        }
        (self.count(line) > 0).then(|| self.connection_of(line))
    }

    /// Whether the other side has closed a connection, or this one.
    pub fn is_closed(&self, connection: usize) -> bool {
        self.stage().streams[connection].is_none()
    }

    /// Whether the other side has reset a connection, so that what it had written is discarded.
    pub fn is_reset(&self, connection: usize) -> bool {
        self.stage().resets.contains(&connection)
    }

    /// Connections that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.stage().streams.len()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stage().ended = true;
        self.close_all();
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

trait WriteAll {
    fn write_all_of(&self, bytes: &[u8]);
}

impl WriteAll for TcpStream {
    /// A write to a peer that is gone is no error here.
    fn write_all_of(&self, bytes: &[u8]) {
        let mut stream = self;
        let _ = stream.write_all(bytes);
    }
}

fn accept(listener: TcpListener, port: u16, stage: &Arc<Mutex<Stage>>) {
    listener.set_nonblocking(true).unwrap();
    let mut listener = Some(listener);
    loop {
        let (listening, ended) = {
            let stage = stage.lock().unwrap();
            (stage.listening, stage.ended)
        };
        if ended {
            return;
        }
        if !listening {
            // A program that another test starts at this moment has a copy of the socket for a while.
            if let Some(old) = listener.take() {
                socket2::SockRef::from(&old).shutdown(Shutdown::Both).unwrap();
            }
        } else if listener.is_none() {
            let new = TcpListener::bind(("127.0.0.1", port)).unwrap();
            new.set_nonblocking(true).unwrap();
            listener = Some(new);
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => serve(stream, stage),
            Some(Err(_)) | None => std::thread::sleep(TICK),
        }
    }
}

fn serve(stream: TcpStream, shared: &Arc<Mutex<Stage>>) {
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(TICK)).unwrap();
    let mut stage = shared.lock().unwrap();
    let at = stage.streams.len();
    stage.streams.push(Some(stream.try_clone().unwrap()));
    let service = Service {
        at,
        stream,
        stage: Arc::clone(shared),
        input: Vec::new(),
        answers: VecDeque::new(),
        protocol: 2,
        queued: None,
        received: 0,
        resets: false,
    };
    std::thread::spawn(move || service.run());
}

impl Service {
    fn run(mut self) {
        while self.step() {}
        if self.resets {
            // When the last descriptor is closed, that is at the end of this function.
            socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
        } else {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        self.stage.lock().unwrap().streams[self.at] = None;
    }

    fn step(&mut self) -> bool {
        if !self.answer() {
            return false;
        }
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(count) => self.input.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => {
                self.stage.lock().unwrap().resets.insert(self.at);
                return false;
            }
        }
        while let Some((words, used)) = parse(&self.input) {
            self.input.drain(..used);
            self.take(&words, used);
        }
        let cut = self.stage.lock().unwrap().cut;
        cut.is_none_or(|cut| self.received + self.input.len() < cut)
    }

    /// Sends what is due. `false`: the connection ends here.
    fn answer(&mut self) -> bool {
        while let Some(answer) = self.answers.front() {
            let stage = self.stage.lock().unwrap();
            let ready = match answer.ready {
                Ready::Now => true,
                Ready::At(at) => now() >= at,
                Ready::Gate(gate) => stage.gates.contains(gate),
                Ready::Never => false,
            };
            if !ready || stage.mute {
                return true;
            }
            drop(stage);
            self.stream.write_all_of(&answer.bytes);
            if answer.close {
                self.resets = answer.reset;
                return false;
            }
            self.answers.pop_front();
        }
        true
    }

    fn take(&mut self, words: &[String], used: usize) {
        // Respgate's own requests are in letters of their own.
        let words: Vec<String> = words.iter().map(|word| own(word)).collect();
        let words = words.as_slice();
        let line = words.join(" ");
        let greeting = matches!(words[0].as_str(), "HELLO" | "SELECT" | "AUTH")
            || line.starts_with("CLIENT SETINFO")
            || (line == "PING" && self.received == 0);
        let bytes = self.execute(words);
        let mut answer = Answer { bytes, ready: Ready::Now, close: false, reset: false };
        if greeting
            && line == "PING"
            && let Some(bytes) = &self.stage.lock().unwrap().greeting
        {
            answer.bytes.clone_from(bytes);
        }
        if !greeting {
            self.received += used;
            let mut stage = self.stage.lock().unwrap();
            let found = stage
                .orders
                .iter()
                .position(|(about, _, times)| *times > 0 && is_about(&line, about));
            if let Some(found) = found {
                stage.orders[found].2 -= 1;
                answer.apply(&stage.orders[found].1);
            }
            stage.seen.push(Seen { connection: self.at, line });
        }
        self.answers.push_back(answer);
    }

    /// The proper answer.
    fn execute(&mut self, words: &[String]) -> Vec<u8> {
        let name = words[0].to_ascii_uppercase();
        if let Some(queued) = &mut self.queued
            && name != "EXEC"
        {
            queued.push(words.to_vec());
            return b"+QUEUED\r\n".to_vec();
        }
        let argument = words.get(1).map(String::as_str).unwrap_or_default();
        match name.as_str() {
            "HELLO" => {
                if !argument.is_empty() {
                    self.protocol = if argument == "3" { 3 } else { 2 };
                }
                let demoted = self.stage.lock().unwrap().demoted;
                hello(self.protocol, if self.at < demoted { "replica" } else { "master" })
            }
            "PING" => b"+PONG\r\n".to_vec(),
            "ECHO" => bulk(argument),
            "MULTI" => {
                self.queued = Some(Vec::new());
                b"+OK\r\n".to_vec()
            }
            "EXEC" => {
                let queued = self.queued.take().unwrap_or_default();
                let mut reply = format!("*{}\r\n", queued.len()).into_bytes();
                for words in queued {
                    reply.extend(self.execute(&words));
                }
                reply
            }
            "SET" => {
                self.stage.lock().unwrap().data.insert(argument.to_owned(), words[2].clone());
                b"+OK\r\n".to_vec()
            }
            "GET" => {
                let stage = self.stage.lock().unwrap();
                stage.data.get(argument).map_or_else(|| b"$-1\r\n".to_vec(), |value| bulk(value))
            }
            "SUBSCRIBE" => {
                let kind = if self.protocol == 3 { '>' } else { '*' };
                let channel = String::from_utf8(bulk(argument)).unwrap();
                format!("{kind}3\r\n$9\r\nsubscribe\r\n{channel}:1\r\n").into_bytes()
            }
            _ => b"+OK\r\n".to_vec(),
        }
    }
}

impl Answer {
    fn apply(&mut self, order: &Order) {
        match order {
            Order::Instead(bytes) => self.bytes.clone_from(bytes),
            Order::Before(bytes) => self.bytes.splice(..0, bytes.iter().copied()).for_each(drop),
            Order::Behind(bytes) => self.bytes.extend_from_slice(bytes),
            Order::Gate(gate) => self.ready = Ready::Gate(gate),
            Order::Late(after) => self.ready = Ready::At(now() + *after),
            Order::Never => self.ready = Ready::Never,
            Order::Reset => {
                self.bytes.clear();
                self.close = true;
                self.reset = true;
            }
            Order::Close(after) => {
                self.bytes.truncate(*after);
                self.close = true;
            }
        }
    }
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

fn hello(protocol: u8, role: &str) -> Vec<u8> {
    let head = if protocol == 3 { "%7\r\n" } else { "*14\r\n" };
    let pairs = format!(
        "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:{protocol}\r\n\
         $2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n${}\r\n{role}\r\n$7\r\nmodules\r\n*0\r\n",
        role.len()
    );
    [head, &pairs].concat().into_bytes()
}

/// The first request of the input, and its length.
fn parse(input: &[u8]) -> Option<(Vec<String>, usize)> {
    let text = String::from_utf8_lossy(input);
    let count: usize = text.strip_prefix('*')?.split_once("\r\n")?.0.parse().unwrap();
    let mut at = text.find("\r\n")? + 2;
    let mut words = Vec::new();
    for _ in 0..count {
        let end = at + text.get(at..)?.find("\r\n")?;
        let length: usize = text[at + 1..end].parse().unwrap();
        words.push(text.get(end + 2..end + 2 + length)?.to_owned());
        at = end + 2 + length + 2;
    }
    (text.len() >= at).then_some((words, at))
}

fn is_about(line: &str, about: &str) -> bool {
    about.strip_prefix('*').map_or_else(|| line.starts_with(about), |part| line.contains(part))
}

/// The bytes of a request, as respgate sends them.
pub fn length_of(words: &[&str]) -> usize {
    encode(words).len()
}

fn own(word: &str) -> String {
    if respgate::internals::traffic::own::begins(word.as_bytes()) {
        word.to_ascii_uppercase()
    } else {
        word.to_owned()
    }
}

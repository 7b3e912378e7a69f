//! A blocking client that shows replies as the bytes they are.
//!
//! Owns: [`Client`], [`Target`], the length of a reply. Never knows: which side of a comparison it is.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use respgate::internals::base::clock::now;

/// How long a reply may take before a test calls it missing, on a machine that is busy with compilers too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// From this size on a write has a thread of its own, so that replies can be read meanwhile.
const BACKGROUND_WRITE_BYTES: usize = 32 << 10;

/// How much one read takes at most.
const READ_BYTES: usize = 128 << 10;

/// Where a server or a proxy listens.
#[derive(Clone, Debug)]
pub enum Target {
    Tcp(u16),
    Unix(PathBuf),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    received: Vec<u8>,
    taken: usize,
    writer: Option<JoinHandle<()>>,
    /// Whether the connection ends by a reset.
    resets: bool,
}

/// What came of waiting for a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Reply(Vec<u8>),
    Silence,
    End,
}

impl Stream {
    fn try_clone(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    fn set_receive_buffer(&self, bytes: usize) {
        match self {
            Self::Tcp(stream) => {
                socket2::SockRef::from(stream).set_recv_buffer_size(bytes).unwrap()
            }
            Self::Unix(stream) => {
                socket2::SockRef::from(stream).set_recv_buffer_size(bytes).unwrap()
            }
        }
    }

    /// Zero: reads return at once. (A kernel rounds anything else up to milliseconds.)
    fn set_read_timeout(&self, timeout: Duration) {
        let some = (!timeout.is_zero()).then_some(timeout);
        match self {
            Self::Tcp(stream) => {
                stream.set_nonblocking(some.is_none()).unwrap();
                stream.set_read_timeout(some).unwrap();
            }
            Self::Unix(stream) => {
                stream.set_nonblocking(some.is_none()).unwrap();
                stream.set_read_timeout(some).unwrap();
            }
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
    }
}

impl Client {
    /// # Errors
    ///
    /// When no process listens.
    pub fn connect(target: &Target) -> std::io::Result<Self> {
        let stream = match target {
            Target::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Target::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        Ok(Self { stream, received: Vec::new(), taken: 0, writer: None, resets: false })
    }

    /// Writes the bytes; a peer that is gone shows at the next read.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if let Some(writer) = self.writer.take() {
            writer.join().unwrap();
        }
        if bytes.len() < BACKGROUND_WRITE_BYTES {
            let _ = self.stream.write_all(bytes);
            return;
        }
        let mut stream = self.stream.try_clone().unwrap();
        let bytes = bytes.to_vec();
        self.writer = Some(std::thread::spawn(move || drop(stream.write_all(&bytes))));
    }

    /// Whether the peer's system has taken everything that was sent.
    pub fn has_sent(&self) -> bool {
        self.writer.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub fn send(&mut self, words: &[&str]) {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.send_raw(&encode(&words));
    }

    /// Sends one command and waits for its reply.
    pub fn ask(&mut self, words: &[&str]) -> Vec<u8> {
        self.send(words);
        self.reply()
    }

    /// The reply to a request, as text without its last line break.
    pub fn ask_text(&mut self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.ask(words)).trim_end().to_owned()
    }

    /// The next reply, which must come.
    pub fn reply(&mut self) -> Vec<u8> {
        match self.next(PATIENCE) {
            Got::Reply(reply) => reply,
            other => panic!("a reply was due: {other:?}"),
        }
    }

    /// The next reply or push, whole.
    pub fn next(&mut self, patience: Duration) -> Got {
        let deadline = now() + patience;
        loop {
            let pending = &self.received[self.taken..];
            if let Some(length) = reply_length(pending) {
                let reply = pending[..length].to_vec();
                self.take(length);
                return Got::Reply(reply);
            }
            match self.fill(deadline.saturating_duration_since(now())) {
                Some(0) => return Got::End,
                Some(_) => {}
                None if now() >= deadline => return Got::Silence,
                None => {}
            }
        }
    }

    /// Everything that comes until nothing comes for `quiet`, whole replies or not; `true`: it ended.
    pub fn drain(&mut self, quiet: Duration) -> (Vec<u8>, bool) {
        let mut ended = false;
        loop {
            match self.fill(quiet) {
                Some(0) => {
                    ended = true;
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
        let bytes = self.received.split_off(self.taken);
        self.received.clear();
        self.taken = 0;
        (bytes, ended)
    }

    /// The kernel keeps little of what this client does not read; otherwise it may keep some ten megabytes.
    pub fn keep_little_unread(&self) {
        self.stream.set_receive_buffer(64 << 10);
    }

    /// Exactly `count` bytes, or as many as come in time.
    pub fn bytes(&mut self, count: usize, patience: Duration) -> Vec<u8> {
        let deadline = now() + patience;
        while self.received.len() - self.taken < count {
            match self.fill(deadline.saturating_duration_since(now())) {
                Some(0) => break,
                None if now() >= deadline => break,
                Some(_) | None => {}
            }
        }
        let count = count.min(self.received.len() - self.taken);
        let bytes = self.received[self.taken..self.taken + count].to_vec();
        self.take(count);
        bytes
    }

    /// Shuts down the sending half, and goes on reading.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection without a farewell: the peer sees a reset, not the end of what is sent. A Unix socket
    /// knows no reset.
    pub fn reset(mut self) {
        self.resets = true;
        if let Stream::Tcp(stream) = &self.stream {
            let now = Some(Duration::ZERO);
            socket2::SockRef::from(stream).set_linger(now).unwrap();
        }
    }

    fn take(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.received.len() {
            self.received.clear();
            self.taken = 0;
        }
    }

    fn fill(&mut self, timeout: Duration) -> Option<usize> {
        if let Some(writer) =
            self.writer.take_if(|writer| timeout.is_zero() || writer.is_finished())
        {
            // The kernel's mark for calls that return at once is one for both directions.
            writer.join().unwrap();
        }
        self.stream.set_read_timeout(timeout);
        // On the stack: to make a vector longer takes a test's own, slow code.
        let mut read = [0; READ_BYTES];
        let result = self.stream.read(&mut read);
        self.received.extend_from_slice(&read[..*result.as_ref().unwrap_or(&0)]);
        if timeout.is_zero() {
            self.stream.set_read_timeout(PATIENCE);
        }
        match result {
            Ok(count) => Some(count),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => None,
                _ => Some(0),
            },
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.resets {
            self.stream.shutdown(Shutdown::Both);
        }
    }
}

/// A command as an array of bulk strings.
pub fn encode<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// How many bytes the first reply or push of `bytes` has; `None`: its end is missing.
///
/// # Panics
///
/// When the bytes are no RESP.
pub fn reply_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut left = 1_u64;
    while left > 0 {
        let line = bytes.get(at..)?;
        let end = line.windows(2).position(|pair| pair == b"\r\n")?;
        let declared = || -> i64 {
            let text = std::str::from_utf8(&line[1..end]).unwrap();
            text.parse().unwrap_or_else(|_| panic!("no length: {text:?}"))
        };
        at += end + 2;
        left -= 1;
        match line[0] {
            b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(' => {}
            b'$' | b'=' | b'!' => {
                if let Ok(length) = usize::try_from(declared()) {
                    at += length + 2;
                }
            }
            b'*' | b'~' | b'>' => left += u64::try_from(declared()).unwrap_or(0),
            b'%' => left += 2 * u64::try_from(declared()).unwrap_or(0),
            b'|' => left += 2 * u64::try_from(declared()).unwrap_or(0) + 1,
            other => panic!("no reply begins with {:?}", char::from(other)),
        }
    }
    (bytes.len() >= at).then_some(at)
}

/// Bytes for people: escaped, and the middle of long ones left out.
pub fn show(bytes: &[u8]) -> String {
    const KEEP: usize = 300;
    if bytes.len() <= 2 * KEEP {
        return bytes.escape_ascii().to_string();
    }
    format!(
        "{} … {} bytes … {}",
        bytes[..KEEP].escape_ascii(),
        bytes.len() - 2 * KEEP,
        bytes[bytes.len() - KEEP..].escape_ascii()
    )
}

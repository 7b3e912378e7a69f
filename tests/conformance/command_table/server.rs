//! A real server for the time of a test, and just enough RESP2 to ask it.
//!
//! Owns: the process, its directory and its socket. Never knows: what is asked.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use respgate::internals::resp::RequestBuf;

pub(crate) type Args = Vec<Vec<u8>>;

/// One entry of the server's own table.
pub(crate) struct ServerCommand {
    pub(crate) name: String,
    pub(crate) arity: i64,
    pub(crate) flags: BTreeSet<String>,
    pub(crate) categories: BTreeSet<String>,
    pub(crate) container: bool,
}

#[derive(Debug)]
pub(crate) enum Reply {
    Nil,
    Integer(i64),
    Bytes(Vec<u8>),
    Error(String),
    Array(Vec<Self>),
}

impl Reply {
    pub(crate) fn array(self) -> Vec<Self> {
        let Self::Array(elements) = self else { panic!("not an array: {self:?}") };
        elements
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let Self::Bytes(bytes) = self else { panic!("not a string: {self:?}") };
        bytes
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

/// A server of our own, on a Unix socket in a directory of its own.
pub(crate) struct Server {
    process: Child,
    connection: BufReader<UnixStream>,
    _directory: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(binary: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let mut process = Command::new(binary)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let mut tries = 0;
        let connection = loop {
            match UnixStream::connect(&socket) {
                Ok(connection) => break connection,
                Err(error) => assert!(tries < 1000, "{}: {error}", binary.display()),
            }
            assert!(process.try_wait().unwrap().is_none(), "{} ended", binary.display());
            tries += 1;
            std::thread::sleep(Duration::from_millis(10));
        };
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { process, connection: BufReader::new(connection), _directory: directory }
    }

    pub(crate) fn version(&mut self) -> String {
        let info = self.call(&vec![b"INFO".to_vec(), b"server".to_vec()]).text();
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|version| version.rsplit_once('.').unwrap().0)
        };
        match field("valkey_version") {
            Some(version) => format!("valkey {version}"),
            None => format!("redis {}", field("redis_version").unwrap()),
        }
    }

    pub(crate) fn commands(&mut self) -> Vec<ServerCommand> {
        fn add(entry: Reply, out: &mut Vec<ServerCommand>) {
            let mut fields = entry.array().into_iter();
            let name = fields.next().unwrap().text().to_lowercase();
            let Some(Reply::Integer(arity)) = fields.next() else { panic!("{name}") };
            let mut words = |skip| -> BTreeSet<String> {
                fields.nth(skip).unwrap().array().into_iter().map(Reply::text).collect()
            };
            let (flags, categories) = (words(0), words(3));
            let subcommands = fields.nth(2).unwrap().array();
            let container = !subcommands.is_empty();
            out.push(ServerCommand { name, arity, flags, categories, container });
            subcommands.into_iter().for_each(|subcommand| add(subcommand, out));
        }
        let mut out = Vec::new();
        for entry in self.call(&vec![b"COMMAND".to_vec()]).array() {
            add(entry, &mut out);
        }
        out
    }

    pub(crate) fn call(&mut self, args: &Args) -> Reply {
        self.call_all(std::slice::from_ref(args)).remove(0)
    }

    pub(crate) fn call_all(&mut self, requests: &[Args]) -> Vec<Reply> {
        let mut bytes = Vec::new();
        for args in requests {
            bytes.extend_from_slice(RequestBuf::from_args(args).as_request().raw());
        }
        self.connection.get_mut().write_all(&bytes).unwrap();
        requests.iter().map(|_| self.read()).collect()
    }

    pub(crate) fn read(&mut self) -> Reply {
        let mut line = Vec::new();
        self.connection.read_until(b'\n', &mut line).unwrap();
        let text = String::from_utf8(line[1..line.len() - 2].to_vec()).unwrap();
        match (line[0], text.parse::<i64>()) {
            (b'+', _) => Reply::Bytes(text.into()),
            (b'-', _) => Reply::Error(text),
            (b':', Ok(number)) => Reply::Integer(number),
            (b'$' | b'*', Ok(-1)) => Reply::Nil,
            (b'$', Ok(len)) => {
                let mut bytes = vec![0; usize::try_from(len).unwrap() + 2];
                self.connection.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Bytes(bytes)
            }
            (b'*', Ok(len)) => Reply::Array((0..len).map(|_| self.read()).collect()),
            _ => panic!("not a reply: {text:?}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

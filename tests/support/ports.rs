//! Ports for the servers of a test: of two test programs that run at the same time, no one chooses a port of the other.
//!
//! Owns: [`free_port`], the ports of this process. Never knows: what listens on them.

use std::net::TcpStream;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Ports below those that the system gives to clients: no program gets one by chance before the test's process has
/// bound it. `tests/tools/ports.py` has the same.
const FIRST: u16 = 10_000;
const BLOCKS: u16 = 400;
/// Ports in a block.
const PORTS: u16 = 50;

/// The blocks of this process: what is left of the last one, and the marks of all, which last as long as the process.
#[derive(Debug)]
struct Blocks {
    rest: Range<u16>,
    marks: Vec<UnixListener>,
}

static BLOCKS_OF_THIS_PROCESS: Mutex<Blocks> = Mutex::new(Blocks { rest: 0..0, marks: Vec::new() });

/// A port on which no process listens, and that no other test is going to use.
pub fn free_port() -> u16 {
    let mut blocks = BLOCKS_OF_THIS_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = blocks.next();
        // A listener for a trial could live on in a program that another test starts at this moment.
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return port;
        }
    }
}

impl Blocks {
    fn next(&mut self) -> u16 {
        loop {
            if let Some(port) = self.rest.next() {
                return port;
            }
            let begin = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap();
            let mut candidates = (0..BLOCKS).map(|number| (begin + number) % BLOCKS);
            let found = candidates.find_map(|block| Some((block, mark(block)?)));
            let (block, mark) = found.expect("a block of ports that no other test has");
            let first = FIRST + block * PORTS;
            self.rest = first..first + PORTS;
            self.marks.push(mark);
        }
    }
}

/// Marks a block as that of this process, unless it is marked already. An abstract socket is of one network, as ports
/// are, and ends with its process.
fn mark(block: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("respgate-test-ports-{block}")).unwrap();
    UnixListener::bind_addr(&name).ok()
}

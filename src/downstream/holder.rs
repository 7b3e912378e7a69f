//! The process of this machine that listens on an address that is in use.
//!
//! Owns: [`holder`], [`Holder`]. Never knows: sockets of ours, what is done about it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::base::limits;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// A process that listens, and the name of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub pid: u32,
    pub program: String,
}

/// The process that listens on `address`, if the system shows it: processes of other users and of other
/// containers are hidden.
#[must_use]
pub(crate) fn holder(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| listening(line, address))
    })?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.take(limits::PROC_ENTRIES_MAX).find(|pid| has_open(*pid, &wanted))?;
    let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Holder { pid, program: program.trim_end().chars().filter(|c| !c.is_control()).collect() })
}

fn has_open(pid: u32, wanted: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .take(limits::PROC_FILES_MAX)
        .any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == Path::new(wanted)))
}

/// The inode of a line of `/proc/net/tcp` or `tcp6`, when it listens where `address` would.
fn listening(line: &str, address: SocketAddr) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let (ip, port) = fields.nth(1)?.rsplit_once(':')?;
    let is_listening = fields.nth(1)? == LISTEN;
    let same_port = u16::from_str_radix(port, 16) == Ok(address.port());
    let ip = parse(ip)?;
    let same_place = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
    let inode = fields.nth(5)?.parse().ok()?;
    (is_listening && same_port && same_place).then_some(inode)
}

/// An address as the kernel prints it: words of four bytes in the order of this machine.
fn parse(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = digits.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match digits.len() {
        8 => word(0).map(IpAddr::from),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *four = word(at)?;
            }
            Some(IpAddr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acl_line_is_read() {
        let line = "   0: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1 0 100 0 0 10 0";
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(listening(line, at("127.0.0.1:6379")), Some(4711));
        assert_eq!(listening(line, at("0.0.0.0:6379")), Some(4711));
        assert_eq!(listening(line, at("127.0.0.1:6380")), None);
        assert_eq!(listening(line, at("127.0.0.2:6379")), None);
        assert_eq!(listening(&line.replace(" 0A ", " 01 "), at("127.0.0.1:6379")), None);
        let all = line.replace("0100007F", &"0".repeat(32));
        assert_eq!(listening(&all, at("127.0.0.1:6379")), Some(4711));
        assert_eq!(listening("nonsense", at("127.0.0.1:6379")), None);
    }

    #[test]
    fn holder_of_an_address_is_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = holder(listener.local_addr().unwrap()).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(!found.program.is_empty());
    }
}

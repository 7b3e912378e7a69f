//! How the server says that it is not, or not now, the primary that is wanted.
//!
//! Owns: [`is_misplaced`]. Never knows: connections, what follows from it.

use std::time::Duration;

/// A connection is not given up for such a server before it is this old: while there is no other, not
/// for each such reply.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Whether a reply, or its first piece, says that another server may be the primary by now: this one
/// is a replica, has lost its primary, or reads its data after a start (Redis server.c
/// `processCommand`).
pub(super) fn is_misplaced(reply: &[u8]) -> bool {
    [b"-READONLY ".as_slice(), b"-MASTERDOWN ", b"-LOADING "]
        .iter()
        .any(|sign| reply.starts_with(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs() {
        let lines = [
            ("-READONLY You can't write against a read only replica.\r\n", true),
            ("-MASTERDOWN Link with MASTER is down\r\n", true),
            ("-LOADING Redis is loading the dataset in memory\r\n", true),
            ("-ERR READONLY\r\n", false),
            ("-READONLYX a\r\n", false),
            ("+READONLY \r\n", false),
        ];
        for (line, expected) in lines {
            assert_eq!(is_misplaced(line.as_bytes()), expected, "{line}");
        }
    }
}

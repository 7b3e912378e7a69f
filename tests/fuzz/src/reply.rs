//! Any bytes of a server, in pieces of any size, are the same replies; decoding never crashes.
//!
//! Owns: [`read`], a make-believe server connection. Never knows: what a reply means.

use respgate::internals::resp::{Protocol, ReplyError, ReplyScanner, Value};

/// Where replies end.
#[derive(Debug, PartialEq, Eq)]
pub struct Replies {
    /// The kind of each whole reply and where it ends in the data.
    pub ends: Vec<(u8, usize)>,
    /// The kind of the unfinished one, if the data stop within a reply.
    pub unfinished: Option<u8>,
    pub error: Option<ReplyError>,
}

/// Reads `data` as it would arrive in pieces of `size` bytes.
pub fn read(data: &[u8], size: usize) -> Replies {
    read_as(Protocol::Resp3, data, size)
}

fn read_as(protocol: Protocol, data: &[u8], size: usize) -> Replies {
    let mut scanner = ReplyScanner::new(protocol);
    let mut replies = Replies { ends: Vec::new(), unfinished: None, error: None };
    let mut position = 0;
    for piece in data.chunks(size.max(1)) {
        let mut rest = piece;
        while !rest.is_empty() {
            let seen = match scanner.advance(rest) {
                Ok(seen) => seen,
                Err(error) => {
                    replies.error = Some(error);
                    return replies;
                }
            };
            assert!(seen.done || seen.used == rest.len(), "all of it or up to the end");
            assert_eq!(scanner.in_progress(), !seen.done);
            position += seen.used;
            rest = &rest[seen.used..];
            if seen.done {
                replies.ends.push((scanner.kind(), position));
            }
        }
    }
    replies.unfinished = scanner.in_progress().then(|| scanner.kind());
    replies
}

/// The same replies in any pieces; every one of them alone is one reply; each may be decoded or
/// refused.
pub fn check(data: &[u8]) {
    let whole = read(data, usize::MAX);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(read(data, size), whole, "in pieces of {size}");
    }
    // RESP2 is a part of RESP3.
    let known = read_as(Protocol::Resp2, data, usize::MAX);
    assert!(whole.ends.starts_with(&known.ends));
    assert!(known.error.is_some() || known == whole);
    assert!(known.ends.iter().all(|(kind, _)| b"+-:$*".contains(kind)));
    let mut start = 0;
    for &(kind, end) in &whole.ends {
        let reply = &data[start..end];
        assert_eq!(read(reply, usize::MAX).ends, [(kind, reply.len())]);
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let _ = Value::decode(reply, protocol);
        }
        start = end;
    }
    let _ = Value::decode(data, Protocol::Resp3);
}

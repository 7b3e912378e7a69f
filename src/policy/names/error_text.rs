//! Error texts of the server that repeat names of the request.
//!
//! Owns: [`strip`] and the texts that are known (Redis 7.0 to 8.x, Valkey 7.2 to 9.x). Never knows:
//! which command was refused.
//!
//! Everything here is the client's own text, so a name that looks like the end of another can at
//! most show the client its own prefix.

use std::ops::Range;

use bytes::BytesMut;

use super::shape::Strip;

/// t_stream.c: the key follows (`XREADGROUP`, `XPENDING`, `XCLAIM`, `XAUTOCLAIM`).
const KEY_OR_GROUP: &[u8] = b"-NOGROUP No such key '";
/// t_stream.c: the key is last, in quotes (`XGROUP`, `XINFO`).
const GROUP_FOR_KEY: &[u8] = b"-NOGROUP No such consumer group '";
/// server.c, `commandCheckExistence`: the arguments follow, each in quotes.
const UNKNOWN: &[u8] = b"-ERR unknown command '";
const UNKNOWN_ARGUMENTS: &[u8] = b"', with args beginning with: ";
/// tracking.c, `checkPrefixCollisionsOrReply`: two prefixes.
const OVERLAP: &[u8] = b"-ERR Prefix '";
const OVERLAPPED: &[u8] = b" prefix '";

/// Writes an error line, from its `-` to its line end, without the prefix of its names.
pub(super) fn strip(strip: &Strip, line: &[u8], out: &mut BytesMut) {
    let prefix = strip.prefix.text();
    let at = |begin: usize| -> Option<Range<usize>> {
        line.get(begin..)?.starts_with(prefix).then(|| begin..begin + prefix.len())
    };
    if line.starts_with(KEY_OR_GROUP) {
        return write_without(line, at(KEY_OR_GROUP.len()), out);
    }
    if line.starts_with(GROUP_FOR_KEY) {
        let behind = prefix.len() + strip.key_bytes as usize + b"'\r\n".len();
        return write_without(line, line.len().checked_sub(behind).and_then(at), out);
    }
    if line.starts_with(OVERLAP) {
        let second = memchr::memmem::rfind(line, OVERLAPPED).map(|at| at + OVERLAPPED.len());
        let cuts = at(OVERLAP.len()).into_iter().chain(second.and_then(at));
        return write_without(line, cuts, out);
    }
    if line.starts_with(UNKNOWN)
        && let Some(found) = memchr::memmem::find(line, UNKNOWN_ARGUMENTS)
    {
        let begin = found + UNKNOWN_ARGUMENTS.len();
        let glob = strip.prefix.glob();
        let pattern =
            |begin: usize| line.get(begin..)?.starts_with(glob).then(|| begin..begin + glob.len());
        let cuts =
            echoed(strip, line, begin).filter_map(|begin| at(begin).or_else(|| pattern(begin)));
        return write_without(line, cuts, out);
    }
    out.extend_from_slice(line);
}

/// Where the repeated arguments begin that have the prefix.
fn echoed(strip: &Strip, line: &[u8], begin: usize) -> impl Iterator<Item = usize> {
    let arguments = line.get(begin..).unwrap_or_default();
    let inner = memchr::memmem::find_iter(arguments, b"' '").map(move |at| begin + at + 3);
    let mask = strip.echoed;
    std::iter::once(begin + 1)
        .chain(inner)
        .zip(1_u32..64)
        .filter_map(move |(at, arg)| (mask >> arg & 1 == 1).then_some(at))
}

/// Ranges in their order, none within another.
fn write_without(line: &[u8], cuts: impl IntoIterator<Item = Range<usize>>, out: &mut BytesMut) {
    let mut done = 0;
    for cut in cuts {
        out.extend_from_slice(line.get(done..cut.start).unwrap_or_default());
        done = done.max(cut.end);
    }
    out.extend_from_slice(line.get(done..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::prefix::Prefix;
    use super::*;
    use crate::command::ReplyNames;

    fn check(echoed: u64, key_bytes: u32, line: &str, expected: &str) {
        let prefix = Arc::new(Prefix::new(b"a:"));
        let how = Strip {
            prefix,
            echoed,
            key_bytes,
            names: ReplyNames::Errors,
            hidden: None,
            digests: None,
            loaded: false,
        };
        let mut out = BytesMut::new();
        strip(&how, format!("-{line}\r\n").as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("-{expected}\r\n"));
    }

    #[test]
    fn names_in_errors() {
        check(
            0,
            1,
            "NOGROUP No such key 'a:a:' or consumer group 'a:g'",
            "NOGROUP No such key 'a:' or consumer group 'a:g'",
        );
        check(
            0,
            3,
            "NOGROUP No such consumer group 'x' for key name 'a:y' for key name 'a:a:k'",
            "NOGROUP No such consumer group 'x' for key name 'a:y' for key name 'a:k'",
        );
        check(0, 0, "NOGROUP No such consumer group ''", "NOGROUP No such consumer group ''");
        check(
            0b1010,
            0,
            "ERR unknown command 'NEW', with args beginning with: 'a:k' 'a:v' 'a:l' ",
            "ERR unknown command 'NEW', with args beginning with: 'k' 'a:v' 'l' ",
        );
        check(
            0b10,
            0,
            "ERR unknown command 'a:', with args beginning with: 'a",
            "ERR unknown command 'a:', with args beginning with: 'a",
        );
        check(
            0,
            0,
            "ERR Prefix 'a:xy' overlaps with an existing prefix 'a:'. Prefixes for a single client must not overlap.",
            "ERR Prefix 'xy' overlaps with an existing prefix ''. Prefixes for a single client must not overlap.",
        );
        check(0, 0, "ERR a: 'a:k'", "ERR a: 'a:k'");
    }
}

//! Writes frames: requests for the server, replies for a client, each in the client's protocol.
//!
//! Owns: the spelling of every type. Never knows: why a frame is sent.

use bytes::{BufMut, BytesMut};

use super::{Protocol, number};
use crate::base::limits::ECHO_BYTES_MAX;

const LINE_END: &[u8] = b"\r\n";

/// An error. `message` begins with its code (`ERR …`); a CR or LF in it becomes a blank, as in Redis
/// (networking.c, `addReplyErrorFormat`).
pub fn error(out: &mut BytesMut, message: impl AsRef<[u8]>) {
    line(out, b'-', message.as_ref());
}

/// A simple string (`OK`); a CR or LF in it becomes a blank.
pub fn simple(out: &mut BytesMut, text: impl AsRef<[u8]>) {
    line(out, b'+', text.as_ref());
}

pub fn integer(out: &mut BytesMut, value: i64) {
    out.put_u8(b':');
    number::write_i64(out, value);
    out.put_slice(LINE_END);
}

pub fn bulk(out: &mut BytesMut, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    out.reserve(bytes.len() + 24);
    header(out, b'$', bytes.len());
    debug_assert!(out.ends_with(LINE_END), "a header is a line");
    out.put_slice(bytes);
    out.put_slice(LINE_END);
}

/// The absence of a string.
pub fn null(out: &mut BytesMut, protocol: Protocol) {
    out.put_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// The absence of an array: an aborted `EXEC`, a `BLPOP` that timed out.
pub fn null_array(out: &mut BytesMut, protocol: Protocol) {
    out.put_slice(match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// The header of an array; the caller writes its `count` elements.
pub fn array(out: &mut BytesMut, count: usize) {
    header(out, b'*', count);
}

/// The header of a map; the caller writes `pairs` keys, each followed by its value.
pub fn map(out: &mut BytesMut, pairs: usize, protocol: Protocol) {
    match protocol {
        Protocol::Resp2 => header(out, b'*', pairs * 2),
        Protocol::Resp3 => header(out, b'%', pairs),
    }
}

/// The header of a set; the caller writes its `count` elements.
pub(crate) fn set(out: &mut BytesMut, count: usize, protocol: Protocol) {
    match protocol {
        Protocol::Resp2 => header(out, b'*', count),
        Protocol::Resp3 => header(out, b'~', count),
    }
}

/// The header of a message that answers no request; the caller writes its `count` elements.
pub fn push(out: &mut BytesMut, count: usize, protocol: Protocol) {
    match protocol {
        Protocol::Resp2 => header(out, b'*', count),
        Protocol::Resp3 => header(out, b'>', count),
    }
}

/// A whole request.
pub fn request<I, A>(out: &mut BytesMut, args: I)
where
    I: IntoIterator<Item = A>,
    I::IntoIter: ExactSizeIterator,
    A: AsRef<[u8]>,
{
    let args = args.into_iter();
    debug_assert!(args.len() > 0, "a request without a command");
    array(out, args.len());
    for arg in args {
        bulk(out, arg);
    }
}

/// A client's bytes made fit to be repeated in an error: control characters become blanks, what is
/// not UTF-8 becomes `?`, and no more than [`ECHO_BYTES_MAX`] bytes are repeated.
#[must_use]
pub fn echo(bytes: &[u8]) -> String {
    let cut = bytes.get(..ECHO_BYTES_MAX).unwrap_or(bytes);
    let mut text = String::with_capacity(cut.len());
    for chunk in cut.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|c| if c.is_control() { ' ' } else { c }));
        if !chunk.invalid().is_empty() {
            text.push('?');
        }
    }
    text
}

fn header(out: &mut BytesMut, kind: u8, count: usize) {
    number::write_line(out, kind, count as u64);
}

fn line(out: &mut BytesMut, kind: u8, text: &[u8]) {
    debug_assert!(matches!(kind, b'+' | b'-'), "a text in one line");
    out.reserve(text.len() + 3);
    out.put_u8(kind);
    for &byte in text {
        out.put_u8(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
    }
    out.put_slice(LINE_END);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl Fn(&mut BytesMut, Protocol), resp2: &str, resp3: &str) {
        for (protocol, expected) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut out = BytesMut::new();
            write(&mut out, protocol);
            assert_eq!(out, expected.as_bytes(), "{protocol:?}");
        }
    }

    #[test]
    fn encoder_spells_each_type() {
        check(|o, _| error(o, "ERR no"), "-ERR no\r\n", "-ERR no\r\n");
        check(|o, _| simple(o, "OK"), "+OK\r\n", "+OK\r\n");
        check(|o, _| integer(o, -5), ":-5\r\n", ":-5\r\n");
        check(|o, _| bulk(o, "a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n");
        check(null, "$-1\r\n", "_\r\n");
        check(null_array, "*-1\r\n", "_\r\n");
        check(|o, _| array(o, 12), "*12\r\n", "*12\r\n");
        check(|o, p| map(o, 3, p), "*6\r\n", "%3\r\n");
        check(|o, p| set(o, 3, p), "*3\r\n", "~3\r\n");
        check(|o, p| push(o, 3, p), "*3\r\n", ">3\r\n");
        let get = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        check(|o, _| request(o, ["GET", "k"]), get, get);
    }

    #[test]
    fn no_text_forges_a_reply() {
        check(|o, _| error(o, "ERR a\r\n+OK\t"), "-ERR a  +OK\t\r\n", "-ERR a  +OK\t\r\n");
        assert_eq!(echo(b"a\r\n+OK\x00\x7f"), "a  +OK  ");
        assert_eq!(echo("é\u{85}".as_bytes()), "é ");
        assert_eq!(echo(b"\xff\xfeab"), "??ab");
        assert_eq!(echo(&[b'x'; 1000]).len(), ECHO_BYTES_MAX);
        assert!(echo(&[0xff; 1000]).len() <= ECHO_BYTES_MAX);
    }
}

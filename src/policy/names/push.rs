//! Taking the prefix off what a server sends unasked: messages, acknowledgements of
//! subscriptions, invalidations.
//!
//! Owns: [`Prefix::push`]. Never knows: sessions, subscriptions.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::prefix::{Own, Prefix, own};
use crate::base::client_text;
use crate::resp::{ReplyScanner, encode, number};

/// Elements of a frame whose names are known; no such frame has more.
const ELEMENTS_MAX: usize = 4;

/// On which the server reports keys that another client has read.
const INVALIDATIONS: &[u8] = b"__redis__:invalidate";

impl Prefix {
    /// Writes a whole frame as the client shall see it: an array of RESP2 or a push of RESP3, which
    /// its first element marks as a message, an acknowledgement or an invalidation. Nothing when
    /// it is about another application; anything else as it is.
    pub fn push(&self, frame: &[u8], out: &mut BytesMut) {
        let Some((header, elements)) = split(frame) else { return out.put_slice(frame) };
        let [word, first, second, third] = elements;
        match (text(word), text(first), text(second), text(third)) {
            // Redirected, to a client with RESP2.
            (Some(b"message"), Some(INVALIDATIONS), None, _) => {
                self.invalidation(header, &[word, first], second, out);
            }
            (Some(b"message"), Some(channel), Some(payload), _) => {
                self.message(header, &[word], channel, payload, out);
            }
            (Some(b"pmessage"), Some(pattern), Some(channel), Some(payload)) => {
                let Some(found) = self.in_pattern(pattern) else { return };
                let mut own = BytesMut::with_capacity(pattern.len() + 24);
                put_without(pattern, &found, &mut own);
                self.message(header, &[word, &own], channel, payload, out);
            }
            (Some(b"smessage"), Some(channel), ..) if channel.starts_with(self.text()) => {
                out.put_slice(header);
                out.put_slice(word);
                put_without(channel, &(0..self.text().len()), out);
                out.put_slice(second);
            }
            (Some(b"smessage"), ..) => {}
            (Some(kind), Some(name), ..) if is_acknowledgement(kind) => {
                let is_pattern = kind.starts_with(b"p");
                let found = if is_pattern { self.in_pattern(name) } else { self.in_channel(name) };
                out.put_slice(header);
                out.put_slice(word);
                match found {
                    Some(found) => put_without(name, &found, out),
                    None => encode::error(out, client_text::FOREIGN_CHANNEL),
                }
                out.put_slice(second);
            }
            (Some(b"invalidate"), ..) => self.invalidation(header, &[word], first, out),
            _ => out.put_slice(frame),
        }
    }

    /// `before`: elements before the channel. Of a keyevent the payload is the key.
    fn message(
        &self,
        header: &[u8],
        before: &[&[u8]],
        channel: &[u8],
        payload: &[u8],
        out: &mut BytesMut,
    ) {
        let Some(found) = self.in_channel(channel) else { return };
        let reports_key = found.is_empty() && own(channel) == Some(Own::Keyevent);
        if reports_key && !payload.starts_with(self.text()) {
            return;
        }
        out.put_slice(header);
        for element in before {
            out.put_slice(element);
        }
        put_without(channel, &found, out);
        put_without(payload, &(0..if reports_key { self.text().len() } else { 0 }), out);
    }

    /// Redis tracking.c, `sendTrackingMessage`: names, or null when everything is invalid.
    fn invalidation(&self, header: &[u8], before: &[&[u8]], list: &[u8], out: &mut BytesMut) {
        let begin = memchr::memchr(b'\n', list).map_or(list.len(), |end| end + 1);
        let (line, mut rest) = list.split_at_checked(begin).unwrap_or((list, &[]));
        if !line.starts_with(b"*") || line.starts_with(b"*-") {
            out.put_slice(header);
            before.iter().for_each(|element| out.put_slice(element));
            out.put_slice(list);
            return;
        }
        let (mut count, mut names) = (0, BytesMut::with_capacity(rest.len()));
        while let Some((element, after)) = next(rest) {
            if let Some(name) = text(element)
                && name.starts_with(self.text())
            {
                put_without(name, &(0..self.text().len()), &mut names);
                count += 1;
            }
            rest = after;
        }
        if count > 0 {
            out.put_slice(header);
            before.iter().for_each(|element| out.put_slice(element));
            encode::array(out, count);
            out.put_slice(&names);
        }
    }
}

fn is_acknowledgement(word: &[u8]) -> bool {
    let family = word.strip_prefix(b"un").or_else(|| word.strip_prefix(b"pun"));
    let family = family.or_else(|| word.strip_prefix(b"sun")).unwrap_or(word);
    matches!(family, b"subscribe" | b"psubscribe" | b"ssubscribe")
}

/// A bulk string without a part of it.
fn put_without(name: &[u8], range: &Range<usize>, out: &mut BytesMut) {
    out.put_u8(b'$');
    number::write_u64(out, (name.len() - range.len()) as u64);
    out.put_slice(b"\r\n");
    out.put_slice(name.get(..range.start).unwrap_or_default());
    out.put_slice(name.get(range.end..).unwrap_or_default());
    out.put_slice(b"\r\n");
}

/// The first line of an aggregate, and its elements.
fn split(frame: &[u8]) -> Option<(&[u8], [&[u8]; ELEMENTS_MAX])> {
    let (header, mut rest) = frame.split_at_checked(memchr::memchr(b'\n', frame)? + 1)?;
    let mut elements = [b"".as_slice(); ELEMENTS_MAX];
    for element in &mut elements {
        let Some((first, after)) = next(rest) else { break };
        (*element, rest) = (first, after);
    }
    rest.is_empty().then_some((header, elements))
}

/// The first value and what follows.
pub(super) fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let seen = ReplyScanner::default().advance(bytes).ok().filter(|seen| seen.done)?;
    bytes.split_at_checked(seen.used)
}

/// The text of a bulk string.
pub(super) fn text(value: &[u8]) -> Option<&[u8]> {
    let begin = memchr::memchr(b'\n', value)? + 1;
    let is_text = value.starts_with(b"$") && !value.starts_with(b"$-");
    value.get(begin..)?.strip_suffix(b"\r\n").filter(|_| is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blanks end lines; `expected` is empty when nothing may arrive.
    fn check(frame: &str, expected: &str) {
        let mut out = BytesMut::new();
        Prefix::new(b"a*:").push(frame.replace(' ', "\r\n").as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out).replace("\r\n", " "), expected, "{frame}");
    }

    #[test]
    fn messages() {
        check("*3 $7 message $4 a*:x $3 a*: ", "*3 $7 message $1 x $3 a*: ");
        check("*3 $7 message $3 b:x $1 y ", "");
        check(">3 $8 smessage $3 a*: $1 y ", ">3 $8 smessage $0  $1 y ");
        check(">3 $8 smessage $3 b:x $1 y ", "");
        check(">4 $8 pmessage $6 a\\*:x* $5 a*:xy $1 m ", ">4 $8 pmessage $2 x* $2 xy $1 m ");
        check(">4 $8 pmessage $3 b:* $5 a*:xy $1 m ", "");
    }

    #[test]
    fn events() {
        check(
            ">3 $7 message $19 __keyspace@0__:a*:k $3 set ",
            ">3 $7 message $16 __keyspace@0__:k $3 set ",
        );
        check(">3 $7 message $18 __keyspace@0__:b:k $3 set ", "");
        check("*4 $8 pmessage $20 __keyspace@*__:a\\*:* $23 __keyspace@0__:b:a*:__: $3 set ", "");
        check(
            ">3 $7 message $18 __keyevent@0__:set $4 a*:k ",
            ">3 $7 message $18 __keyevent@0__:set $1 k ",
        );
        check(">3 $7 message $18 __keyevent@0__:set $3 b:k ", "");
        check(
            ">4 $8 pmessage $10 __key*__:* $18 __keyevent@0__:set $4 a*:k ",
            ">4 $8 pmessage $10 __key*__:* $18 __keyevent@0__:set $1 k ",
        );
        check(
            ">4 $8 pmessage $10 __key*__:* $19 __keyspace@0__:a*:k $3 set ",
            ">4 $8 pmessage $10 __key*__:* $16 __keyspace@0__:k $3 set ",
        );
        check(">4 $8 pmessage $10 __key*__:* $18 __keyspace@0__:b:k $3 set ", "");
        check(">4 $8 pmessage $10 __key*__:* $9 __keyx__: $4 a*:k ", "");
    }

    #[test]
    fn acknowledgements() {
        check("*3 $9 subscribe $4 a*:x :1 ", "*3 $9 subscribe $1 x :1 ");
        check("*3 $11 unsubscribe $-1 :0 ", "*3 $11 unsubscribe $-1 :0 ");
        check(">3 $12 sunsubscribe _ :0 ", ">3 $12 sunsubscribe _ :0 ");
        check(">3 $10 psubscribe $5 a\\*:* :1 ", ">3 $10 psubscribe $1 * :1 ");
        check(
            ">3 $12 punsubscribe $20 __keyspace@*__:a\\*:k :1 ",
            ">3 $12 punsubscribe $16 __keyspace@*__:k :1 ",
        );
        check(
            ">3 $9 subscribe $3 b:x :1 ",
            &format!(">3 $9 subscribe -{} :1 ", client_text::FOREIGN_CHANNEL),
        );
    }

    #[test]
    fn invalidations() {
        check(">2 $10 invalidate *3 $4 a*:k $3 b:k $3 a*: ", ">2 $10 invalidate *2 $1 k $0  ");
        check(">2 $10 invalidate *1 $3 b:k ", "");
        check(">2 $10 invalidate _ ", ">2 $10 invalidate _ ");
        check(">1 $4 else ", ">1 $4 else ");
    }
}

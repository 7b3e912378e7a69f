//! Replies of every shape, in pieces of every size, with names of every kind.
//!
//! Owns: cases, and the property that what was added comes off. Never knows: requests.

#![allow(clippy::unwrap_used, reason = "a test may crash")]

use std::sync::Arc;

use proptest::prelude::*;

use super::super::prefix::Prefix;
use super::*;

const PREFIX: &[u8] = b"a*:";

fn strip(shape: ReplyNames) -> Strip {
    Strip {
        prefix: Arc::new(Prefix::new(PREFIX)),
        echoed: 0,
        key_bytes: 0,
        names: shape,
        hidden: None,
        digests: None,
        loaded: false,
    }
}

/// Blanks end lines.
fn check(shape: ReplyNames, reply: &str, expected: &str) {
    let reply = reply.replace(' ', "\r\n");
    for size in 1..=reply.len() {
        let (mut stripper, mut out) = (Stripper::default(), BytesMut::new());
        for piece in reply.as_bytes().chunks(size) {
            stripper.feed(&strip(shape), piece, &mut out);
        }
        assert_eq!(String::from_utf8_lossy(&out).replace("\r\n", " "), expected, "{reply} {size}");
        assert!(matches!(stripper.step, Step::Done), "{reply} {size}");
    }
}

#[test]
fn report_in_pieces() {
    let whole = |kind: &str, text: &str| format!("{kind}{}\r\n{text}\r\n", text.len());
    let text = "# Server\r\nredis_version:7\r\n\r\n# Keyspace\r\ndb0:keys=1\r\n";
    let own = "# Server\r\nredis_version:7\r\n\r\n# Keyspace\r\n";
    for (reply, expected) in [
        (whole("$", text), whole("$", own)),
        (whole("=", &format!("txt:{text}")), whole("=", &format!("txt:{own}"))),
        (whole("$", ""), whole("$", "")),
        ("$-1\r\n".to_owned(), "$-1\r\n".to_owned()),
        ("-NOPERM no\r\n".to_owned(), "-NOPERM no\r\n".to_owned()),
        ("*1\r\n$3\r\ndb0\r\n".to_owned(), format!("-{}\r\n", client_text::NO_REPORT)),
        (
            whole("$", &"x".repeat(limits::SERVER_REPORT_BYTES_MAX)),
            format!("-{}\r\n", client_text::NO_REPORT),
        ),
    ] {
        let strip = Strip::of_report(Arc::new(Prefix::new(b"")));
        for size in [1, 2, 7, 4096, reply.len()] {
            if reply.len() / size > 100_000 {
                continue;
            }
            let (mut stripper, mut out) = (Stripper::default(), BytesMut::new());
            for piece in reply.as_bytes().chunks(size) {
                stripper.feed(&strip, piece, &mut out);
            }
            assert_eq!(String::from_utf8_lossy(&out), expected, "{size}");
            assert!(matches!(stripper.step, Step::Done), "{size}");
        }
    }
}

#[test]
fn names_are_stripped_by_position() {
    check(ReplyNames::Names, "*2 $4 a*:k $3 a*: ", "*2 $1 k $0  ");
    check(ReplyNames::Names, "*0 ", "*0 ");
    check(ReplyNames::Names, "~1 $6 a*:a*: ", "~1 $3 a*: ");
    check(ReplyNames::Scan, "*2 $4 a*:1 *1 $4 a*:k ", "*2 $4 a*:1 *1 $1 k ");
    check(ReplyNames::First, "*2 $4 a*:k $4 a*:v ", "*2 $1 k $4 a*:v ");
    check(ReplyNames::First, "*2 $4 a*:k *1 *2 $4 a*:v ,1.5 ", "*2 $1 k *1 *2 $4 a*:v ,1.5 ");
    check(ReplyNames::First, "*-1 ", "*-1 ");
    check(ReplyNames::First, "_ ", "_ ");
    check(
        ReplyNames::Streams,
        "*2 *2 $4 a*:s *1 *2 $4 a*:1 *2 $3 a*: $4 a*:v *2 $4 a*:t *0 ",
        "*2 *2 $1 s *1 *2 $4 a*:1 *2 $3 a*: $4 a*:v *2 $1 t *0 ",
    );
    check(
        ReplyNames::Streams,
        "%2 $4 a*:s *1 *2 $4 a*:1 *2 $3 a*: $4 a*:v $4 a*:t *0 ",
        "%2 $1 s *1 *2 $4 a*:1 *2 $3 a*: $4 a*:v $1 t *0 ",
    );
    check(
        ReplyNames::Pairs,
        "*4 $4 a*:c :1 $19 __keyspace@0__:a*:k :2 ",
        "*4 $1 c :1 $16 __keyspace@0__:k :2 ",
    );
    check(
        ReplyNames::Tracking,
        "%3 $5 flags ~1 $3 a*: $8 redirect :0 $8 prefixes *2 $3 a*: $4 a*:x ",
        "%3 $5 flags ~1 $3 a*: $8 redirect :0 $8 prefixes *2 $0  $1 x ",
    );
    check(ReplyNames::Errors, "$4 a*:k ", "$4 a*:k ");
    check(ReplyNames::Names, "+QUEUED ", "+QUEUED ");
}

/// A server that sends anything else is at fault: the client learns that, and no name.
#[test]
fn foreign_names() {
    let fault = format!("-{} ", client_text::FOREIGN_NAME);
    let wrong = |reply: &str, expected: &str| {
        // The fault's own blanks would be read as line ends.
        let reply = reply.replace(' ', "\r\n");
        for size in 1..=reply.len() {
            let (mut stripper, mut out) = (Stripper::default(), BytesMut::new());
            for piece in reply.as_bytes().chunks(size) {
                stripper.feed(&strip(ReplyNames::Names), piece, &mut out);
            }
            let out = String::from_utf8_lossy(&out).replace("\r\n", " ");
            assert_eq!(out, expected.replace("FAULT ", &fault));
        }
    };
    wrong("*3 $4 b*:k $4 a*:k $1 a ", "*3 FAULT $1 k FAULT ");
    wrong("*3 $0  *1 $4 b*:k :1 ", "*3 FAULT FAULT :1 ");
    wrong("*2 +b:k =7 txt:b:k ", "*2 FAULT FAULT ");
    wrong("*? $4 b*:k . ", "FAULT ");
    wrong("|1 $1 x $1 y *1 $4 b*:k ", "FAULT ");
}

#[test]
fn errors_in_pieces() {
    check(ReplyNames::First, "-ERR ", "-ERR ");
    let strip = strip(ReplyNames::Streams);
    let line = b"-NOGROUP No such key 'a*:k' or consumer group 'g'\r\n";
    for size in 1..=line.len() {
        let (mut stripper, mut out) = (Stripper::default(), BytesMut::new());
        line.chunks(size).for_each(|piece| stripper.feed(&strip, piece, &mut out));
        assert_eq!(&*out, b"-NOGROUP No such key 'k' or consumer group 'g'\r\n");
    }
}

fn bulk(text: &[u8], out: &mut BytesMut) {
    encode::bulk(out, text);
}

/// A reply of the shape with these names, each behind `before`.
fn reply(shape: ReplyNames, names: &[Vec<u8>], before: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    let name = |name: &Vec<u8>, out: &mut BytesMut| bulk(&[before, name].concat(), out);
    match shape {
        ReplyNames::Names | ReplyNames::Channels => {
            encode::array(&mut out, names.len());
            names.iter().for_each(|one| name(one, &mut out));
        }
        ReplyNames::Scan => {
            out.extend_from_slice(b"*2\r\n$3\r\na*:\r\n");
            encode::array(&mut out, names.len());
            names.iter().for_each(|one| name(one, &mut out));
        }
        ReplyNames::Pairs => {
            encode::array(&mut out, names.len() * 2);
            for one in names {
                name(one, &mut out);
                out.extend_from_slice(b":7\r\n");
            }
        }
        ReplyNames::Streams => {
            encode::array(&mut out, names.len());
            for one in names {
                out.extend_from_slice(b"*2\r\n");
                name(one, &mut out);
                out.extend_from_slice(b"*2\r\n*2\r\n$3\r\na*:\r\n*1\r\n");
                bulk(one, &mut out);
                bulk(PREFIX, &mut out);
            }
        }
        ReplyNames::First
        | ReplyNames::Errors
        | ReplyNames::KeyAtEnd
        | ReplyNames::Tracking
        | ReplyNames::Acknowledged
        | ReplyNames::Report => {
            out.extend_from_slice(b"*2\r\n");
            name(&names.concat(), &mut out);
            bulk(PREFIX, &mut out);
        }
    }
    out
}

/// Keys of every kind: empty, like the prefix, with it inside, globs, NUL, line ends, long.
fn names() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let one = prop_oneof![
        Just(Vec::new()),
        Just(PREFIX.to_vec()),
        Just([PREFIX, b"x", PREFIX].concat()),
        Just(b"a*".to_vec()),
        Just(b"\0\r\n$1\r\n*?[]\\".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
        (0..3000_usize).prop_map(|length| vec![b'x'; length]),
    ];
    proptest::collection::vec(one, 0..6)
}

proptest! {
    /// Whatever the names are and however the reply is cut, the client sees its own.
    #[test]
    fn prefix_that_was_added_comes_off(
        names in names(),
        shape in prop::sample::select(&[
            ReplyNames::Names, ReplyNames::Channels, ReplyNames::Scan, ReplyNames::Pairs, ReplyNames::Streams, ReplyNames::First,
        ][..]),
        sizes in proptest::collection::vec(1..70_usize, 1..20),
    ) {
        let names: Vec<Vec<u8>> = if matches!(shape, ReplyNames::Channels | ReplyNames::Pairs) {
            names.into_iter().filter(|name| !name.starts_with(b"__key")).collect()
        } else {
            names
        };
        let (from, expected) = (reply(shape, &names, PREFIX), reply(shape, &names, b""));
        let (mut stripper, mut out, mut at) = (Stripper::default(), BytesMut::new(), 0);
        for size in sizes.iter().cycle() {
            let end = (at + size).min(from.len());
            stripper.feed(&strip(shape), from.get(at..end).unwrap(), &mut out);
            at = end;
            if at == from.len() {
                break;
            }
        }
        prop_assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
        prop_assert!(stripper.held.capacity() <= PREFIX.len() + 64);
        stripper.reset();
        let mut again = BytesMut::new();
        stripper.feed(&strip(shape), &from, &mut again);
        prop_assert_eq!(again, expected);
    }
}

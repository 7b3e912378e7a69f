//! Every type of reply and every way to be none, in pieces of every size.
//!
//! Owns: cases. Never knows: connections.

#![allow(clippy::unwrap_used, reason = "a test may crash")]
use super::*;

/// Where the first reply of `text` ends and of which kind it is, the same in pieces of every
/// size; `None` while it has not ended.
fn end(text: &[u8]) -> Result<Option<(usize, u8)>, ReplyError> {
    let mut results = (1..=text.len().max(1)).map(|size| {
        let mut scanner = ReplyScanner::default();
        let mut used = 0;
        for piece in text.chunks(size) {
            let seen = scanner.advance(piece)?;
            used += seen.used;
            assert_eq!(scanner.in_progress(), !seen.done);
            if seen.done {
                return Ok(Some((used, scanner.kind())));
            }
            assert_eq!(seen.used, piece.len());
        }
        Ok(None)
    });
    let first = results.next().unwrap();
    for other in results {
        assert_eq!(other, first, "{}", text.escape_ascii());
    }
    first
}

#[test]
fn reply_scanner_finds_the_end_of_every_type() {
    let replies: &[&[u8]] = &[
        b"+OK\r\n",
        b"+\r\n",
        b"+a\nb\rc\r\r\n",
        b"-\n\n\r\n",
        b"-ERR no\r\n",
        b":-9223372036854775808\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$4\r\n\r\n\r\n\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*3\r\n:1\r\n*1\r\n$1\r\na\r\n*0\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5e-9\r\n",
        b"(-12345678901234567890123\r\n",
        b"!5\r\nERR x\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
        b"%0\r\n",
        b"~2\r\n:1\r\n:2\r\n",
        b">3\r\n+message\r\n+c\r\n$1\r\nx\r\n",
        b"*2\r\n>3\r\n+subscribe\r\n+c\r\n:1\r\n+PONG\r\n",
        b"$?\r\n;4\r\nabcd\r\n;1\r\n\r\r\n;0\r\n",
        b"*?\r\n:1\r\n*?\r\n.\r\n$?\r\n;0\r\n.\r\n",
        b"%?\r\n+a\r\n|1\r\n+k\r\n+v\r\n:1\r\n.\r\n",
        b"~?\r\n~1\r\n:1\r\n.\r\n",
        b"*2\r\n*?\r\n*1\r\n%?\r\n:1\r\n*0\r\n.\r\n.\r\n:1\r\n",
        b"%?\r\n*2\r\n:1\r\n:2\r\n|1\r\n:1\r\n*?\r\n.\r\n:3\r\n.\r\n",
    ];
    for reply in replies {
        let text = [*reply, b"+next\r\n"].concat();
        assert_eq!(end(&text), Ok(Some((reply.len(), reply[0]))), "{}", reply.escape_ascii());
        for cut in 0..reply.len() {
            assert_eq!(end(&reply[..cut]), Ok(None), "{}", reply[..cut].escape_ascii());
        }
    }
}

#[test]
fn attribute_belongs_to_what_follows() {
    let text = b"|1\r\n+ttl\r\n|1\r\n+a\r\n+b\r\n*1\r\n:1\r\n$2\r\nhi\r\n+next\r\n";
    assert_eq!(end(text), Ok(Some((text.len() - 7, b'$'))));
    assert_eq!(end(b"|0\r\n>1\r\n:1\r\n"), Ok(Some((12, b'>'))));
    let mut scanner = ReplyScanner::default();
    scanner.advance(b"+OK\r\n").unwrap();
    scanner.advance(b"|1\r\n+k\r\n$5\r\nhello\r\n").unwrap();
    assert_eq!((scanner.kind(), scanner.announced()), (0, None));
}

#[test]
fn reply_scanner_refuses_what_is_no_reply() {
    use ReplyError as E;
    let cases: &[(&[u8], E)] = &[
        (b"OK\r\n", E::Type(b'O')),
        (b"\r\n", E::Type(b'\r')),
        (b".\r\n", E::Type(b'.')),
        (b";0\r\n", E::Type(b';')),
        (b"*1\r\n.\r\n", E::Type(b'.')),
        (b"%?\r\n+a\r\n.\r\n", E::Type(b'.')),
        (b"*?\r\n|1\r\n+k\r\n+v\r\n.\r\n", E::Type(b'.')),
        (b"$?\r\n+a\r\n", E::Type(b'+')),
        (b"*?\r\n*1\r\n.\r\n", E::Type(b'.')),
        (b"$?\r\n.\r\n", E::Type(b'.')),
        (b"*?\r\n;0\r\n", E::Type(b';')),
        (b"%?\r\n*?\r\n.\r\n.\r\n", E::Type(b'.')),
        (b"_x\r\n", E::LineEnd),
        (b"#tt\r\n", E::LineEnd),
        (b"$1\r\nab\r\n", E::LineEnd),
        (b"*?x", E::LineEnd),
        (b"#x\r\n", E::Scalar),
        (b":\r\n", E::Number),
        (b":+1\r\n", E::Number),
        (b"$-2\r\n", E::Number),
        (b"$01\r\n", E::Number),
        (b"%-1\r\n", E::Number),
        (b"!-1\r\n", E::Number),
        (b">?\r\n", E::Number),
        (b"|?\r\n", E::Number),
        (b"*9223372036854775808\r\n", E::Number),
        (b"*9223372036854775807\r\n%9223372036854775807\r\n", E::Number),
        (b"%9223372036854775807\r\n|9223372036854775807\r\n", E::Number),
    ];
    for (text, error) in cases {
        assert_eq!(end(text), Err(*error), "{}", text.escape_ascii());
    }
}

#[test]
fn bounds_nothing_but_streams() {
    let nested = |depth| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
    let mut scanner = ReplyScanner::default();
    for depth in [0, 1, 200, 1_000_000] {
        assert!(scanner.advance(&nested(depth)).unwrap().done);
    }
    assert!(size_of::<ReplyScanner>() <= 128);
    for kind in ["+", "-", ",", "("] {
        let text = format!("{kind}{}", "9".repeat(1 << 20));
        assert_eq!(scanner.advance(text.as_bytes()).unwrap().used, text.len());
        assert!(scanner.advance(b"\r\n").unwrap().done);
    }
    let streams = b"*?\r\n".repeat(REPLY_STREAMS_MAX);
    assert_eq!(scanner.advance(&streams).unwrap().used, streams.len());
    assert_eq!(scanner.advance(b"*?\r\n"), Err(ReplyError::Depth));
    let mut scanner = ReplyScanner::default();
    assert_eq!(scanner.advance(b"*9223372036854775807\r\n").unwrap().used, 22);
    let mut scanner = ReplyScanner::default();
    assert_eq!(scanner.advance(b"$9223372036854775807\r\n").unwrap().used, 22);
    assert_eq!(scanner.announced(), Some(i64::MAX.unsigned_abs()));
}

#[test]
fn reply_scanner_knows_whether_a_push_is_part_of_a_reply() {
    let cases: &[(&[u8], bool)] = &[
        (b"*1\r\n:1\r\n", false),
        (b">1\r\n:1\r\n", true),
        (b"*2\r\n:1\r\n>1\r\n:1\r\n", true),
        (b"+>1\r\n", false),
        (b"%1\r\n:1\r\n*1\r\n>0\r\n", true),
        (b"|1\r\n:1\r\n>0\r\n:1\r\n", true),
        (b"$4\r\n>1\r\n\r\n", false),
    ];
    let mut scanner = ReplyScanner::default();
    for (text, has_push) in cases {
        assert!(scanner.advance(text).unwrap().done);
        assert_eq!(scanner.has_push(), *has_push, "{}", text.escape_ascii());
    }
}

#[test]
fn resp2_has_five_types() {
    for byte in 0..=255_u8 {
        let known = b"+-:$*".contains(&byte);
        for text in [vec![byte], [b"*1\r\n", &[byte][..]].concat()] {
            let seen = ReplyScanner::new(Protocol::Resp2).advance(&text);
            assert_eq!(seen.is_ok(), known, "{}", text.escape_ascii());
            assert!(known || seen == Err(ReplyError::Type(byte)));
        }
    }
    for text in ["*?\r\n", "$?\r\n"] {
        let seen = ReplyScanner::new(Protocol::Resp2).advance(text.as_bytes());
        assert_eq!(seen, Err(ReplyError::Number));
    }
}

#[test]
fn reply_scanner_announces_the_length_of_a_single_string() {
    let cases: &[(&[u8], Option<u64>)] = &[
        (b"$5\r\nhello\r\n", Some(5)),
        (b"+OK\r\n", None),
        (b"=7\r\ntxt:abc\r\n", Some(7)),
        (b"*2\r\n$5\r\nhello\r\n$2\r\nhi\r\n", None),
        (b"$-1\r\n", None),
        (b"|1\r\n$1\r\na\r\n$1\r\nb\r\n$100000\r\nx", Some(100_000)),
    ];
    for size in [1, 64] {
        let mut scanner = ReplyScanner::default();
        for (text, announced) in cases {
            for piece in text.chunks(size) {
                scanner.advance(piece).unwrap();
            }
            assert_eq!(scanner.announced(), *announced, "{}", text.escape_ascii());
        }
    }
}

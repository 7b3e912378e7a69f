//! Every border of the request scanner, in pieces of every size.
//!
//! Owns: cases. Never knows: sockets, commands.

#![allow(clippy::unwrap_used, reason = "a test may crash")]
use super::*;

const LIMITS: RequestLimits = RequestLimits {
    max_args: limits::REQUEST_ARGS_MAX,
    max_bulk_bytes: 1000,
    max_inline_bytes: 64,
    large_bytes: 100,
    authenticated: true,
};

/// What the front of `text` is; `Scan` alone, whatever the size of the pieces it comes in.
fn scan(text: &[u8], limits: RequestLimits) -> Result<Scan, Violation> {
    let whole = RequestScanner::default().scan(text, &limits).map_err(|e| e.kind);
    for size in 1..text.len() {
        let mut scanner = RequestScanner::default();
        let mut last = Ok(Scan::More);
        for end in (size..text.len()).step_by(size).chain([text.len()]) {
            last = scanner.scan(&text[..end], &limits).map_err(|e| e.kind);
            if last != Ok(Scan::More) {
                break;
            }
        }
        assert_eq!(last, whole, "{} in pieces of {size}", text.escape_ascii());
    }
    whole
}

#[test]
fn request_scanner_refuses_in_the_words_of_the_server() {
    use Violation as V;
    let cases: &[(&[u8], V)] = &[
        (b"*01\r\n", V::MultibulkLength),
        (b"*+1\r\n", V::MultibulkLength),
        (b"*-0\r\n", V::MultibulkLength),
        (b"*\r\n", V::MultibulkLength),
        (b"*1\n$4\nPING\r\n", V::MultibulkLength),
        (b"*18446744073709551617\r\n", V::MultibulkLength),
        (b"*4294967298\r\n", V::MultibulkLength),
        (b"*1\r\n:5\r\n", V::ExpectedBulk(b':')),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", V::ExpectedBulk(b'f')),
        (b"*1\r\n*1\r\n", V::ExpectedBulk(b'*')),
        (b"*1\r\n$-1\r\n", V::BulkLength),
        (b"*1\r\n$04\r\nPING\r\n", V::BulkLength),
        (b"*1\r\n$536870913\r\n", V::BulkLength),
        (b"*1\r\n$blabla\r\n", V::BulkLength),
        (b"set \"\"\"k\"\"\" v\r\n", V::UnbalancedQuotes),
        (b"*2147483648\r\n", V::MultibulkLength),
        (b"*1\r\n\r\n", V::ExpectedBulk(b'\r')),
        (b"*1\r\n$4\n\r\n", V::BulkLength),
        (&[b'a'; 65], V::TooBigInline),
        (&[b'*'; 65], V::TooBigCount),
        (&[&b"*1\r\n"[..], &[b'$'; 65]].concat(), V::TooBigLength),
        (&[&b"*\0\r\n"[..], &[b'\n'; 61]].concat(), V::TooBigCount),
        (&[&b"PING\0\r\n"[..], &[b'\n'; 61]].concat(), V::TooBigInline),
        (b"POST / HTTP/1.1\r\n", V::CrossProtocol),
        (b"\"post\" a\r\n", V::CrossProtocol),
        (b"host: localhost\r\n", V::CrossProtocol),
        (b"*2\r\n$4\r\nPoSt\r\n$1\r\nx\r\n", V::CrossProtocol),
        (b"*1\r\n$7\r\npost\0ab\r\n", V::CrossProtocol),
        (b"*1\r\n$5\r\nHost:\r\n", V::CrossProtocol),
    ];
    for (text, kind) in cases {
        assert_eq!(scan(text, LIMITS), Err(*kind), "{}", text.escape_ascii());
    }
}

#[test]
fn request_scanner_waits_while_the_server_waits() {
    let cases: &[&[u8]] = &[
        b"*",
        b"*abc",
        b"*abc\r",
        b"*\0abc\r\n",
        b"*1\r\n:5",
        b"*1\r\n:5\r",
        b"*1\r\n\0\r\n",
        b"*1\r\n$99999999999999999999",
        b"*2\r\n$4\r\nPOST\r\n",
        b"*1048577\r\n",
        b"*2147483647\r\n",
        b"*1\r\n$4\r\nPINGX",
        b"PING \"",
        b"\x16\x03\x01\0\n",
        &[b'a'; 64],
    ];
    for text in cases {
        assert_eq!(scan(text, LIMITS), Ok(Scan::More), "{}", text.escape_ascii());
    }
}

#[test]
fn request_scanner_writes_odd_spellings_anew() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"*1\r\n$4\r\nPINGXX", b"*1\r\n$4\r\nPING\r\n"),
        (b"*1\rX$4\r*PING\n\r", b"*1\r\n$4\r\nPING\r\n"),
        (b"*2\r\n$3\r\nGET\0\0$2\r\n\r\n\r\n", b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n"),
        (b"host:localhost\n", b"*1\r\n$14\r\nhost:localhost\r\n"),
        (b"GET \"a\"\r\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"),
    ];
    for (text, canonical) in cases {
        assert_eq!(scan(text, LIMITS), Ok(Scan::Request { used: text.len() }));
        let mut scanner = RequestScanner::default();
        scanner.scan(text, &LIMITS).unwrap();
        assert_eq!(scanner.request(text).raw(), *canonical, "{}", text.escape_ascii());
        assert!(scanner.held_bytes() > 0);
    }
    let text = b"*3\rX$3\r\nSET\r\n$1\r\nk\r\n$100\rY";
    let mut scanner = RequestScanner::default();
    assert_eq!(scanner.scan(text, &LIMITS), Ok(Scan::Head { used: text.len() }));
    let head = scanner.request(text);
    assert_eq!(head.raw(), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\n");
    assert_eq!((head.len(), head.available(), head.announced()), (3, 2, Some(100)));
    let text = [&text[..], &[b'x'; 100], b"\0\0"].concat();
    scanner.collect();
    assert_eq!(scanner.scan(&text, &LIMITS), Ok(Scan::Request { used: text.len() }));
    let whole = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\n{}\r\n", "x".repeat(100));
    assert_eq!(scanner.request(&text).raw(), whole.as_bytes());
}

#[test]
fn request_scanner_counts_arguments_where_they_begin() {
    let all = RequestLimits { max_args: limits::REQUEST_ARGS_MAX, ..LIMITS };
    let mut text = b"*1048577\r\n".to_vec();
    for _ in 0..limits::REQUEST_ARGS_MAX {
        text.extend_from_slice(b"$0\r\n\r\n");
    }
    let error = RequestScanner::default().scan(&text, &all).unwrap_err();
    assert_eq!(error.kind, Violation::TooManyArguments(limits::REQUEST_ARGS_MAX));
}

#[test]
fn bounds_what_a_stranger_may_send() {
    let stranger = RequestLimits { authenticated: false, max_bulk_bytes: 1 << 20, ..LIMITS };
    let stranger = RequestLimits { large_bytes: 1 << 20, ..stranger };
    assert_eq!(scan(b"*10\r\n$16384\r\n", stranger), Ok(Scan::More));
    let args = scan(b"*11\r\n", stranger);
    assert_eq!(args, Err(Violation::UnauthenticatedMultibulkLength));
    let bulk = scan(b"*1\r\n$16385\r\n", stranger);
    assert_eq!(bulk, Err(Violation::UnauthenticatedBulkLength));
    let whole = format!("*1\r\n$16385\r\n{}\r\n", "x".repeat(16385));
    assert_eq!(scan(whole.as_bytes(), stranger), Err(Violation::UnauthenticatedBulkLength));
    let few = RequestLimits { max_args: 3, ..LIMITS };
    assert_eq!(scan(b"*4\r\n", few), Err(Violation::TooManyArguments(3)));
    assert_eq!(scan(b"a b c d\r\n", few), Err(Violation::TooManyArguments(3)));
}

#[test]
fn request_scanner_ignores_what_the_server_ignores() {
    let cases: &[(&[u8], usize)] = &[
        (b"*0\r\n", 4),
        (b"*-1\r\n", 5),
        (b"*-9999999999\r\n", 14),
        (b"\r\n", 2),
        (b"\n", 1),
        (b"  \t\r\n", 5),
    ];
    for (text, used) in cases {
        assert_eq!(scan(text, LIMITS), Ok(Scan::Ignored { used: *used }));
    }
}

#[test]
fn request_scanner_finds_requests_and_nothing_behind_them() {
    let text = b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n";
    let mut scanner = RequestScanner::default();
    assert_eq!(scanner.scan(text, &LIMITS), Ok(Scan::Request { used: 19 }));
    let request = scanner.request(text);
    assert!(request.args().eq([&b"GET"[..], b""]));
    assert_eq!(request.raw(), &text[..19]);
    assert_eq!((request.len(), request.available(), request.announced()), (2, 2, None));
    assert!(scanner.is_idle());

    let text = b"get 'a b'\r\nPING\n";
    assert_eq!(scanner.scan(text, &LIMITS), Ok(Scan::Request { used: 11 }));
    assert_eq!(scanner.request(text).raw(), b"*2\r\n$3\r\nget\r\n$3\r\na b\r\n");
    assert_eq!(scanner.scan(&text[11..], &LIMITS), Ok(Scan::Request { used: 5 }));
    assert_eq!(scanner.request(&text[11..]).raw(), b"*1\r\n$4\r\nPING\r\n");
}

fn large() -> Vec<u8> {
    let body = "x".repeat(100);
    format!("*4\r\n$4\r\nMSET\r\n$1\r\na\r\n$100\r\n{body}\r\n$100\r\n{body}\r\n").into_bytes()
}

#[test]
fn request_scanner_announces_a_large_bulk_once() {
    let text = large();
    let head = Scan::Head { used: 27 };
    assert_eq!(scan(&text, LIMITS), Ok(head));
    let mut scanner = RequestScanner::default();
    assert_eq!(scanner.scan(&text[..27], &LIMITS), Ok(head));
    let request = scanner.request(&text);
    assert!(request.args().eq([&b"MSET"[..], b"a"]));
    assert_eq!((request.len(), request.available()), (4, 2));
    assert_eq!((request.announced(), request.raw()), (Some(100), &text[..27]));
    assert!(!scanner.is_idle());

    scanner.collect();
    assert_eq!(scanner.scan(&text[..100], &LIMITS), Ok(Scan::More));
    assert_eq!(scanner.scan(&text, &LIMITS), Ok(Scan::Request { used: text.len() }));
    assert_eq!(scanner.request(&text).available(), 4);
    // The next request is announced again.
    assert_eq!(scanner.scan(&text, &LIMITS), Ok(head));
}

#[test]
fn request_scanner_skips_the_rest_in_any_pieces() {
    let text = [large(), b"PING\r\n".to_vec()].concat();
    for size in 1..text.len() {
        let mut scanner = RequestScanner::default();
        scanner.scan(&text, &LIMITS).unwrap();
        scanner.pass();
        let (mut rest, mut passed) = (Vec::new(), Vec::new());
        let mut used = 27;
        let done = text[27..].chunks(size).any(|piece| {
            rest.extend_from_slice(piece);
            let body = scanner.body(&rest, &LIMITS, |piece| passed.extend_from_slice(piece));
            let body = body.unwrap();
            assert!(!body.oversize);
            used += body.used;
            rest.drain(..body.used);
            body.done
        });
        assert!(done && scanner.is_idle());
        assert_eq!(used, text.len() - 6);
        assert_eq!(passed, text[27..used]);
        let next = scanner.scan(&text[used..], &LIMITS);
        assert_eq!(next, Ok(Scan::Request { used: 6 }));
    }
}

#[test]
fn request_scanner_skips_a_bulk_that_is_too_long() {
    let text = format!("*3\r\n$3\r\nSET\r\n$1001\r\n{}\r\n$1\r\nv\r\n", "x".repeat(1001));
    let text = text.as_bytes();
    assert_eq!(scan(text, LIMITS), Ok(Scan::Oversize { used: 20, length: 1001 }));
    let mut scanner = RequestScanner::default();
    scanner.scan(text, &LIMITS).unwrap();
    assert_eq!(scanner.request(text).arg(0), Some(&b"SET"[..]));
    scanner.pass();
    let rest = &text[20..];
    let all = Body { used: rest.len(), done: true, oversize: true };
    assert_eq!(scanner.body(rest, &LIMITS, |_| {}), Ok(all));
}

#[test]
fn request_scanner_checks_what_it_passes() {
    let begin = |text: &[u8]| {
        let mut scanner = RequestScanner::default();
        scanner.scan(text, &LIMITS).unwrap();
        scanner.pass();
        scanner
    };
    let head = b"*3\r\n$3\r\nSET\r\n$100\r\n";
    let body = "x".repeat(100);
    let mut scanner = begin(head);
    let rest = format!("{body}\r\n$1001\r\n");
    let seen = scanner.body(rest.as_bytes(), &LIMITS, |_| {}).unwrap();
    assert_eq!(seen, Body { used: rest.len(), done: false, oversize: true });
    for (rest, kind) in [
        (format!("{body}\r\n$1\n\r\n"), Violation::BulkLength),
        (format!("{body}\r\n:1\r\n"), Violation::ExpectedBulk(b':')),
        (format!("{body}\r\n$-1\r\n"), Violation::BulkLength),
    ] {
        let mut passed = Vec::new();
        let emit = |piece: &[u8]| passed.extend_from_slice(piece);
        let error = begin(head).body(rest.as_bytes(), &LIMITS, emit).unwrap_err();
        assert_eq!(error.kind, kind);
        assert_eq!(passed, format!("{body}\r\n").as_bytes(), "nothing of a malformed line");
    }
    let (mut scanner, mut passed) = (begin(b"*4\r\n$3\r\nSET\r\n$100\r\n"), Vec::new());
    let rest = format!("{body}ab$2\r*vv\0\0$1\r\n");
    let emit = |piece: &[u8]| passed.extend_from_slice(piece);
    assert_eq!(scanner.body(rest.as_bytes(), &LIMITS, emit).map(|body| body.used), Ok(rest.len()));
    assert_eq!(passed, format!("{body}\r\n$2\r\nvv\r\n$1\r\n").as_bytes());
}

#[test]
fn request_scanner_examines_no_byte_over_and_over() {
    let mut multibulk = b"*2000\r\n".to_vec();
    for _ in 0..2000 {
        multibulk.extend_from_slice(b"$12\r\nxxxxxxxxxxxx\r\n");
    }
    let long = RequestLimits { max_inline_bytes: 1 << 16, ..LIMITS };
    let header = [b"*1\r\n$", &[b'1'; 5000][..]].concat();
    for (text, whole) in
        [(multibulk, true), ([&[b'x'; 5000][..], b"\n"].concat(), true), (header, false)]
    {
        let mut scanner = RequestScanner::default();
        for end in 1..=text.len() {
            scanner.scan(&text[..end], &long).unwrap();
        }
        assert_eq!(scanner.is_idle(), whole);
        let examined = scanner.examined + scanner.line.examined;
        assert!(examined < text.len() * 2, "{examined} of {}", text.len());
    }
}

#[test]
fn announcement_costs_no_memory() {
    let mut scanner = RequestScanner::default();
    assert_eq!(scanner.scan(b"*1048576\r\n", &LIMITS), Ok(Scan::More));
    assert_eq!(scanner.spans.capacity(), 0);
    let text = [&b"*1000\r\n"[..], &b"$1\r\nx\r\n".repeat(1000)].concat();
    let mut scanner = RequestScanner::default();
    scanner.scan(&text, &LIMITS).unwrap();
    scanner.reset();
    assert_eq!(scanner.spans.capacity(), 0);
    assert!(size_of::<RequestScanner>() <= 120);
}

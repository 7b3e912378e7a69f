//! What must hold for requests and replies whatever their content and however they are cut.
//!
//! Owns: pipelines made by chance. Never knows: how the scanners work.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use respgate::internals::base::limits::REPLY_STREAMS_MAX;
use respgate::internals::resp::{
    ReplyError, ReplyScanner, RequestBuf, RequestLimits, RequestScanner, Scan, Violation, encode,
    number,
};

const LIMITS: RequestLimits = RequestLimits {
    max_args: 1000,
    max_bulk_bytes: 1 << 20,
    max_inline_bytes: 1 << 16,
    large_bytes: 1 << 20,
    authenticated: true,
};

/// Text that looks like framing.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..20),
        vec(prop::sample::select(b"\r\n$*0123456789PING".to_vec()), 0..30),
    ]
}

/// A client's spelling of one request, and its canonical bytes; none for what is ignored.
fn spelled() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
    let args = vec(bytes(), 1..12)
        .prop_filter("HTTP", |args| {
            let name = args[0].to_ascii_lowercase();
            let name = name.split(|byte| *byte == 0).next().unwrap();
            name != b"post" && name != b"host:"
        })
        .boxed();
    let raw = |args: &Vec<Vec<u8>>| RequestBuf::from_args(args).as_request().raw().to_vec();
    prop_oneof![
        4 => args.clone().prop_map(move |args| (raw(&args), Some(raw(&args)))),
        2 => (args, any::<bool>()).prop_map(move |(args, crlf)| (inline(&args, crlf), Some(raw(&args)))),
        1 => prop::sample::select(vec!["\r\n", "\n", " \r\n", "*0\r\n", "*-1\r\n"])
            .prop_map(|text| (text.as_bytes().to_vec(), None)),
    ]
}

/// `args` as a person would have to type them.
fn inline(args: &[Vec<u8>], crlf: bool) -> Vec<u8> {
    let mut line = Vec::new();
    for arg in args {
        let plain = !arg.is_empty() && arg.iter().all(u8::is_ascii_alphanumeric);
        if plain {
            line.extend_from_slice(arg);
        } else {
            let hex: String = arg.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            line.extend_from_slice(format!("\"{hex}\"").as_bytes());
        }
        line.push(b' ');
    }
    line.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
    line
}

/// Reads `stream` in pieces that end at `cuts`; the canonical bytes of each request.
fn requests(stream: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut scanner = RequestScanner::default();
    let (mut read, mut found) = (0, Vec::new());
    for end in ends(stream.len(), cuts) {
        loop {
            let buffer = &stream[read..end];
            match scanner.scan(buffer, &LIMITS).unwrap() {
                Scan::More => break,
                Scan::Ignored { used } => read += used,
                Scan::Request { used } => {
                    found.push(scanner.request(buffer).raw().to_vec());
                    read += used;
                }
                other @ (Scan::Head { .. } | Scan::Oversize { .. }) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(read, stream.len());
    assert!(scanner.is_idle());
    found
}

/// `cuts` in order, and the end.
fn ends(len: usize, cuts: &[prop::sample::Index]) -> Vec<usize> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(len + 1)).chain([len]).collect();
    ends.sort_unstable();
    ends
}

/// The bytes of one reply of any type, streamed ones included.
fn reply() -> impl Strategy<Value = Vec<u8>> {
    let bulk = |kind: char| {
        bytes().prop_map(move |body| {
            [format!("{kind}{}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat()
        })
    };
    let chunks = vec(vec(any::<u8>(), 1..9), 0..4).prop_map(|chunks| {
        let mut text = b"$?\r\n".to_vec();
        for chunk in chunks {
            text.extend_from_slice(format!(";{}\r\n", chunk.len()).as_bytes());
            text.extend_from_slice(&chunk);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b";0\r\n");
        text
    });
    let leaf = prop_oneof![
        "[-+][ -~]{0,20}\r\n".prop_map(String::into_bytes),
        any::<i64>().prop_map(|value| format!(":{value}\r\n").into_bytes()),
        "(\\$-1|\\*-1|_|#t|#f|,inf|,-1\\.5e3|\\(-?[1-9]{30})\r\n".prop_map(String::into_bytes),
        bulk('$'),
        bulk('!'),
        bulk('='),
        chunks,
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let header = prop::sample::select(vec!['*', '~', '%']);
        (vec(inner, 0..6), header, any::<bool>(), any::<bool>()).prop_map(aggregate)
    })
}

fn aggregate(
    (mut elements, kind, streamed, attributed): (Vec<Vec<u8>>, char, bool, bool),
) -> Vec<u8> {
    if kind == '%' && elements.len() % 2 == 1 {
        elements.pop();
    }
    let count = if kind == '%' { elements.len() / 2 } else { elements.len() };
    let header = if streamed { format!("{kind}?\r\n") } else { format!("{kind}{count}\r\n") };
    let mut text = header.into_bytes();
    text.extend(elements.concat());
    if streamed {
        text.extend_from_slice(b".\r\n");
    }
    if attributed && elements.len() >= 2 {
        let pair = elements[..2].concat();
        text = [b"|1\r\n", &pair[..], &text].concat();
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pipeline_is_its_requests(
        spelled in vec(spelled(), 0..12),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let (texts, expected): (Vec<_>, Vec<_>) = spelled.into_iter().unzip();
        let expected: Vec<_> = expected.into_iter().flatten().collect();
        prop_assert_eq!(requests(&texts.concat(), &cuts), expected);
    }

    #[test]
    fn stream_is_its_replies(
        replies in vec((reply(), any::<bool>()), 1..8),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let replies: Vec<_> = replies
            .into_iter()
            .map(|(text, push)| if push { [b">1\r\n", &text[..]].concat() } else { text })
            .collect();
        let stream = replies.concat();
        let mut expected = Vec::new();
        for reply in &replies {
            expected.push(expected.last().unwrap_or(&0) + reply.len());
        }
        let (mut scanner, mut read, mut found) = (ReplyScanner::default(), 0, Vec::new());
        for end in ends(stream.len(), &cuts) {
            while read < end {
                let seen = scanner.advance(&stream[read..end]).unwrap();
                read += seen.used;
                if seen.done {
                    found.push(read);
                }
            }
        }
        prop_assert_eq!(found, expected);
        prop_assert!(!scanner.in_progress());
    }

    #[test]
    fn no_message_forges_a_reply(message in bytes()) {
        let mut out = BytesMut::new();
        encode::error(&mut out, &message);
        let seen = ReplyScanner::default().advance(&out).unwrap();
        prop_assert!(seen.done);
        prop_assert_eq!(seen.used, message.len() + 3);
        prop_assert!(encode::echo(&message).chars().all(|c| !c.is_control()));
    }

    #[test]
    fn number_has_one_spelling(text in "[-+]?[ 0]?[0-9]{0,20}") {
        let value = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
        prop_assert_eq!(number::parse_i64(text.as_bytes()), value);
        let length = value.and_then(|value| u64::try_from(value).ok());
        prop_assert_eq!(number::parse_length(text.as_bytes()), length);
    }
}

#[test]
fn nested_requests_end_at_the_second_array() {
    let bomb = b"*1\r\n".repeat(100_000);
    let error = RequestScanner::default().scan(&bomb, &LIMITS).unwrap_err();
    assert_eq!(error.kind, Violation::ExpectedBulk(b'*'));
}

#[test]
fn nested_replies_need_no_memory() {
    for level in ["*1\r\n", "|1\r\n", "%1\r\n:1\r\n", "~1\r\n|1\r\n"] {
        let bomb = level.repeat(1_000_000);
        let mut scanner = ReplyScanner::default();
        assert_eq!(scanner.advance(bomb.as_bytes()).unwrap().used, bomb.len(), "{level}");
    }
    let bomb = "*?\r\n".repeat(REPLY_STREAMS_MAX + 1);
    let error = ReplyScanner::default().advance(bomb.as_bytes());
    assert_eq!(error, Err(ReplyError::Depth));
}

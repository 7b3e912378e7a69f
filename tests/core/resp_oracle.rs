//! Compares the scanners with the redis-protocol crate.
//!
//! Owns: frames made by chance. Never knows: how either side works.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode as decode2;
use redis_protocol::resp2::encode::encode as encode2;
use redis_protocol::resp2::types::{OwnedFrame as Frame2, Resp2Frame};
use redis_protocol::resp3::decode::complete::decode as decode3;
use redis_protocol::resp3::encode::complete::encode as encode3;
use redis_protocol::resp3::types::{OwnedFrame as Frame3, Resp3Frame, VerbatimStringFormat};
use respgate::internals::resp::{
    ReplyScanner, RequestBuf, RequestLimits, RequestScanner, Scan, encode,
};

const LIMITS: RequestLimits = RequestLimits {
    max_args: 1000,
    max_bulk_bytes: 1 << 20,
    max_inline_bytes: 1 << 16,
    large_bytes: 1 << 20,
    authenticated: true,
};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..20),
        1 => vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'$'), Just(b'*')], 0..8),
        1 => vec(any::<u8>(), 90..120),
    ]
}

fn line() -> impl Strategy<Value = String> {
    "[ -~]{0,20}"
}

fn frame2() -> impl Strategy<Value = Frame2> {
    let leaf = prop_oneof![
        line().prop_map(|s| Frame2::SimpleString(s.into_bytes())),
        line().prop_map(Frame2::Error),
        any::<i64>().prop_map(Frame2::Integer),
        bytes().prop_map(Frame2::BulkString),
        Just(Frame2::Null),
    ];
    leaf.prop_recursive(5, 40, 8, |inner| vec(inner, 0..8).prop_map(Frame2::Array))
}

fn scalar3() -> impl Strategy<Value = Frame3> {
    prop_oneof![
        line().prop_map(|s| Frame3::SimpleString { data: s.into_bytes(), attributes: None }),
        line().prop_map(|data| Frame3::SimpleError { data, attributes: None }),
        any::<i64>().prop_map(|data| Frame3::Number { data, attributes: None }),
        (-1e9..1e9).prop_map(|data: f64| Frame3::Double { data, attributes: None }),
        any::<bool>().prop_map(|data| Frame3::Boolean { data, attributes: None }),
        "-?[1-9][0-9]{0,40}"
            .prop_map(|s| Frame3::BigNumber { data: s.into_bytes(), attributes: None }),
        bytes().prop_map(|data| Frame3::BlobString { data, attributes: None }),
        bytes().prop_map(|data| Frame3::BlobError { data, attributes: None }),
        bytes().prop_map(|data| Frame3::VerbatimString {
            data,
            format: VerbatimStringFormat::Text,
            attributes: None
        }),
        Just(Frame3::Null),
        Just(Frame3::Array { data: Vec::new(), attributes: None }),
    ]
}

fn frame3() -> impl Strategy<Value = Frame3> {
    let nested = scalar3().prop_recursive(5, 40, 8, |inner| {
        let pairs = vec((line(), inner.clone()), 0..5).prop_map(|pairs| {
            let key = |s: String| Frame3::SimpleString { data: s.into_bytes(), attributes: None };
            pairs.into_iter().map(|(k, v)| (key(k), v)).collect::<Vec<_>>()
        });
        let pairs = pairs.boxed();
        let attributes = proptest::option::weighted(0.2, pairs.clone())
            .prop_map(|pairs| pairs.map(|pairs| pairs.into_iter().collect()))
            .boxed();
        prop_oneof![
            (vec(inner, 0..8), attributes.clone())
                .prop_map(|(data, attributes)| Frame3::Array { data, attributes }),
            (pairs, attributes).prop_map(|(data, attributes)| Frame3::Map {
                data: data.into_iter().collect(),
                attributes
            }),
            vec(any::<i64>(), 0..5).prop_map(|numbers| Frame3::Set {
                data: numbers
                    .into_iter()
                    .map(|data| Frame3::Number { data, attributes: None })
                    .collect(),
                attributes: None,
            }),
        ]
    });
    (nested, any::<bool>()).prop_map(|(frame, push)| match frame {
        Frame3::Array { data, attributes } if push => Frame3::Push { data, attributes },
        frame => frame,
    })
}

/// Feeds `text` in pieces of `size`; where the first reply ends.
fn end(text: &[u8], size: usize) -> Option<usize> {
    let mut scanner = ReplyScanner::default();
    let mut used = 0;
    for piece in text.chunks(size) {
        let seen = scanner.advance(piece).unwrap();
        used += seen.used;
        if seen.done {
            return Some(used);
        }
    }
    None
}

/// Breaks `text` a little.
fn broken(mut text: Vec<u8>, edits: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (index, byte) in edits {
        if !text.is_empty() {
            let at = index.index(text.len());
            text[at] = *byte;
        }
    }
    text
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    let byte = prop::sample::select(b"\r\n$*+-:_#,(!=%~>|0123x".to_vec());
    vec((any::<prop::sample::Index>(), byte), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_what_the_crate_reads(args in vec(bytes(), 1..40), size in 1_usize..50) {
        let mut raw = BytesMut::new();
        encode::request(&mut raw, &args);
        let array = args.iter().cloned().map(Frame2::BulkString).collect();
        prop_assert_eq!(decode2(&raw).unwrap(), Some((Frame2::Array(array), raw.len())));
        let same = RequestBuf::from_args(&args);
        prop_assert_eq!(same.as_request().raw(), &raw[..]);

        let mut scanner = RequestScanner::default();
        for end in (size..raw.len()).step_by(size) {
            prop_assert_eq!(scanner.scan(&raw[..end], &LIMITS).unwrap(), Scan::More);
        }
        prop_assert_eq!(scanner.scan(&raw, &LIMITS).unwrap(), Scan::Request { used: raw.len() });
        prop_assert!(scanner.request(&raw).args().eq(args.iter()));
    }

    /// What goes on is canonical, however the client spelled it.
    #[test]
    fn crate_reads_every_request_that_passes(
        args in vec(bytes(), 1..10),
        edits in edits(),
    ) {
        let raw = broken(RequestBuf::from_args(&args).as_request().raw().to_vec(), &edits);
        let mut scanner = RequestScanner::default();
        if raw.first() == Some(&b'*') && let Ok(Scan::Request { .. }) = scanner.scan(&raw, &LIMITS) {
            let request = scanner.request(&raw);
            let args: Vec<_> = request.args().map(|arg| Frame2::BulkString(arg.to_vec())).collect();
            prop_assert_eq!(args.len(), request.len());
            let wire = request.raw();
            prop_assert_eq!(decode2(wire).unwrap(), Some((Frame2::Array(args), wire.len())));
        }
    }

    #[test]
    fn replies_of_resp2_end_where_the_crate_ends_them(
        frame in frame2(),
        edits in edits(),
        size in 1_usize..50,
    ) {
        let mut text = vec![0; frame.encode_len(false)];
        let len = encode2(&mut text, &frame, false).unwrap();
        prop_assert_eq!(len, text.len());
        text.extend_from_slice(b"+next\r\n");
        prop_assert_eq!(end(&text, size), Some(len));

        let text = broken(text, &edits);
        let ours = ReplyScanner::default().advance(&text);
        if let (Ok(ours), Ok(Some((_, theirs)))) = (ours, decode2(&text)) {
            prop_assert!(ours.done);
            prop_assert_eq!(ours.used, theirs);
        }
    }

    #[test]
    fn replies_of_resp3_end_where_the_crate_ends_them(
        frame in frame3(),
        edits in edits(),
        size in 1_usize..50,
    ) {
        let mut text = vec![0; frame.encode_len(false)];
        let len = encode3(&mut text, &frame, false).unwrap();
        prop_assert_eq!(len, text.len());
        text.extend_from_slice(b"+next\r\n");
        prop_assert_eq!(end(&text, size), Some(len));

        let text = broken(text, &edits);
        let ours = ReplyScanner::default().advance(&text);
        if let (Ok(ours), Ok(Some((_, theirs)))) = (ours, decode3(&text)) {
            prop_assert!(ours.done);
            prop_assert_eq!(ours.used, theirs);
        }
    }
}

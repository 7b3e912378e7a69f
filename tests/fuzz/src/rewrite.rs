//! Any request that gets a prefix before its names stays within that prefix; any reply to it, in pieces
//! of any size, loses the prefix to the same bytes.
//!
//! Owns: [`check`]. Never knows: where the names of a request are.

use std::sync::LazyLock;

use bytes::BytesMut;
use respgate::internals::command::{Effect, lookup};
use respgate::internals::config::{KeyMode, KeyRules, Rules, ScriptMode, ScriptRules};
use respgate::internals::policy::{Policy, Rule, Scratch, Strip, Stripper, compile, known};
use respgate::internals::resp::{
    ReplyScanner, Request, RequestBuf, RequestLimits, RequestScanner, Scan,
};

const PREFIX: &str = "app:";
const LIMITS: RequestLimits = RequestLimits {
    max_args: 1024,
    max_bulk_bytes: 1 << 16,
    max_inline_bytes: 1 << 16,
    large_bytes: 1 << 16,
    authenticated: true,
};

static REWRITING: LazyLock<Policy> = LazyLock::new(|| {
    let (mode, prefix) = (KeyMode::Rewrite, Some(PREFIX.to_owned()));
    let keys = KeyRules { mode, prefix, flushdb: true, dbsize: true, ..KeyRules::default() };
    policy("+@all ~* &*", keys)
});

/// Nothing but what begins with the prefix, and the server's own channels about that.
static ENFORCING: LazyLock<Policy> = LazyLock::new(|| {
    policy("+@all ~app:* &app:* &__keyspace@*__:app:* &__keyevent@*", KeyRules::default())
});

/// The lines up to an empty one are a request, what follows is the server's reply to it.
pub fn check(data: &[u8]) {
    let at = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let (head, reply) = data.split_at(at);
    let request = RequestBuf::from_args(head.split(|byte| *byte == b'\n'));
    if request.as_request().raw().len() > 1 << 15 {
        return;
    }
    let rewriting = &*REWRITING;
    let mut scratch = Scratch::default();
    let request = request.as_request();
    let decided = rewriting.decide(lookup(&request), &request, 0, &mut scratch);
    let Ok(grant) = decided else { return };
    assert_eq!(grant.companions, 0, "nothing is asked behind it");
    if grant.changed {
        let wire = scratch.take_wire();
        assert_eq!(grant.split, wire.len());
        stays_inside(&wire);
    } else if grant.scan.is_none() {
        stays_inside(request.raw());
    }
    let replies = reply.get(2..).unwrap_or_default();
    frames(replies, |frame| {
        if let Some(strip) = &grant.strip {
            loses_the_prefix(strip, frame);
        }
        if let Some(prefix) = rewriting.prefix() {
            let mut out = BytesMut::new();
            prefix.push(frame, &mut out);
            assert!(out.is_empty() || frames(&out, |_| {}) == 1, "{}", out.escape_ascii());
        }
    });
}

fn policy(acl: &str, keys: KeyRules) -> Policy {
    let scripts = ScriptRules { mode: Some(ScriptMode::DeclaredKeys), ..ScriptRules::default() };
    let rules = Rules { acl: Some(acl.to_owned()), keys, scripts, ..Rules::default() };
    compile(&rules).expect("the rules are right")
}

/// What is sent passes where nothing but these names is permitted.
fn stays_inside(wire: &[u8]) {
    let mut scanner = RequestScanner::default();
    let scan = scanner.scan(wire, &LIMITS);
    assert!(matches!(scan, Ok(Scan::Request { used }) if used == wire.len()), "{scan:?}");
    let request = scanner.request(wire);
    let Ok(spec) = known(lookup(&request)) else { panic!("another command was sent") };
    if matches!(spec.name, "psubscribe" | "punsubscribe") {
        // Only a pattern that is in an ACL word for word is permitted by it.
        return names(&request).for_each(|name| assert!(is_own(name), "{}", name.escape_ascii()));
    }
    if spec.effect == Effect::Never || matches!(spec.name, "copy" | "move") {
        // In another database, the names are still the application's own.
        return;
    }
    let decided = ENFORCING.decide(lookup(&request), &request, 0, &mut Scratch::default());
    if let Err(refusal) = decided {
        // The server reports what is wrong with it.
        assert_eq!(refusal.rule, Rule::Syntax, "{}", wire.escape_ascii());
    }
}

fn names<'a>(request: &'a Request<'a>) -> impl Iterator<Item = &'a [u8]> {
    (1..request.len()).filter_map(|at| request.arg(at))
}

fn is_own(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes()) || name.starts_with(b"__key")
}

/// In whatever pieces it comes, the client gets the same reply.
fn loses_the_prefix(strip: &Strip, frame: &[u8]) {
    let mut whole = BytesMut::new();
    strip.frame(frame, &mut whole);
    assert_eq!(frames(&whole, |_| {}), 1, "{} -> {}", frame.escape_ascii(), whole.escape_ascii());
    for size in [1, 2, 3, 7, 64] {
        let (mut stripper, mut out) = (Stripper::default(), BytesMut::new());
        for piece in frame.chunks(size) {
            stripper.feed(strip, piece, &mut out);
        }
        assert_eq!(out, whole, "in pieces of {size}");
    }
}

/// Whole replies at the beginning; how many, with nothing behind them.
fn frames(bytes: &[u8], mut each: impl FnMut(&[u8])) -> usize {
    let (mut rest, mut count) = (bytes, 0);
    while !rest.is_empty() {
        let mut scanner = ReplyScanner::default();
        let Ok(seen) = scanner.advance(rest) else { return usize::MAX };
        if !seen.done {
            return usize::MAX;
        }
        let (frame, after) = rest.split_at(seen.used);
        each(frame);
        (rest, count) = (after, count + 1);
    }
    count
}

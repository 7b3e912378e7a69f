//! What is sent for a request, and where its reply has names.
//!
//! Owns: cases. Never knows: replies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may crash")]

use bytes::BytesMut;

use super::*;
use crate::command::lookup;
use crate::command::testing::with_head;
use crate::config::{Rules, ScriptMode, ScriptRules};
use crate::policy::{Policy, Rule, Scratch, compile};
use crate::resp::RequestBuf;

fn policy(acl: &str, prefix: &str) -> Policy {
    let prefix = Some(prefix.to_owned());
    let keys = KeyRules { mode: KeyMode::Rewrite, prefix, ..KeyRules::default() };
    let scripts = ScriptRules { mode: Some(ScriptMode::DeclaredKeys), ..ScriptRules::default() };
    compile(&Rules { acl: Some(acl.to_owned()), keys, scripts, ..Rules::default() }).unwrap()
}

/// What is sent for a line, its words parted by blanks; `-` and the rule when it is refused.
fn sent(policy: &Policy, line: &str) -> (String, Option<ReplyNames>) {
    let words = line.split(' ').map(|word| if word == "''" { "" } else { word });
    let request = RequestBuf::from_args(words);
    let request = request.as_request();
    let mut scratch = Scratch::default();
    let grant = match policy.decide(lookup(&request), &request, 0, &mut scratch) {
        Ok(grant) => grant,
        Err(refusal) => {
            let mut text = BytesMut::new();
            refusal.write_text(&request, &mut text);
            return (format!("-{} {}", refusal.rule.label(), String::from_utf8_lossy(&text)), None);
        }
    };
    let wire = if grant.changed { scratch.take_wire() } else { request.raw().into() };
    assert!(!grant.changed || grant.split == wire.len());
    let wire = String::from_utf8_lossy(&wire).into_owned();
    let mut words = wire.split("\r\n").skip(2).step_by(2).collect::<Vec<_>>();
    words.truncate(words.len().saturating_sub(usize::from(wire.ends_with("\r\n\r\n"))));
    (words.join(" ").trim_end().to_owned(), grant.strip.map(|strip| strip.names))
}

fn check(line: &str, expected: &str, names: ReplyNames) {
    let policy = policy("+@all allkeys &*", "a:");
    assert_eq!(sent(&policy, line), (expected.to_owned(), Some(names)), "{line}");
}

fn refused(line: &str, expected: &str) {
    let policy = policy("+@all allkeys &*", "a:");
    let (text, _) = sent(&policy, line);
    assert!(text.starts_with(expected), "{line}: {text}");
}

#[test]
fn keys() {
    check("GET k", "GET a:k", ReplyNames::Errors);
    check("GET ''", "GET a:", ReplyNames::Errors);
    check("GET a:", "GET a:a:", ReplyNames::Errors);
    check("MSET k 1 l 2", "MSET a:k 1 a:l 2", ReplyNames::Errors);
    check("COPY k l DB 2", "COPY a:k a:l DB 2", ReplyNames::Errors);
    check("MOVE k 2", "MOVE a:k 2", ReplyNames::Errors);
    check("EVAL x 1 k k", "EVAL x 1 a:k k", ReplyNames::Errors);
    check(
        "SORT l BY w_*->f GET # STORE d",
        "SORT a:l BY a:w_*->f GET # STORE a:d",
        ReplyNames::Errors,
    );
    check("SORT l BY nosort GET p", "SORT a:l BY nosort GET p", ReplyNames::Errors);
    check("XREAD STREAMS s 0", "XREAD STREAMS a:s 0", ReplyNames::Streams);
    check("BLPOP k l 0", "BLPOP a:k a:l 0", ReplyNames::First);
    check("ZMPOP 2 k l MIN", "ZMPOP 2 a:k a:l MIN", ReplyNames::First);
    check("XINFO GROUPS s", "XINFO GROUPS a:s", ReplyNames::KeyAtEnd);
    check("WATCH k", "WATCH a:k", ReplyNames::Errors);
}

#[test]
fn patterns_of_keys() {
    check("KEYS *", "KEYS a:*", ReplyNames::Names);
    check("KEYS ''", "KEYS a:", ReplyNames::Names);
    check("SCAN 0", "SCAN 0 MATCH a:*", ReplyNames::Scan);
    check("SCAN 0 COUNT 5 MATCH x MATCH *", "SCAN 0 COUNT 5 MATCH a:x MATCH a:*", ReplyNames::Scan);
    check("CLUSTERSCAN 0 SLOT 5", "CLUSTERSCAN 0 SLOT 5 MATCH a:*", ReplyNames::Scan);
    refused("SCAN 0 NEW x", "-syntax ");
    let glob = policy("+@all allkeys &*", "[a*?^\\");
    assert_eq!(sent(&glob, "KEYS k*").0, "KEYS \\[a\\*\\?\\^\\\\k*");
    assert_eq!(sent(&glob, "GET k*").0, "GET [a*?^\\k*");
    let (text, _) = sent(&glob, "SORT l BY w_*");
    assert!(text.contains("cannot have a prefix with a *"), "{text}");
    assert_eq!(sent(&glob, "SORT l BY nosort").0, "SORT [a*?^\\l BY nosort");
}

#[test]
fn channels() {
    check("PUBLISH c m", "PUBLISH a:c m", ReplyNames::Errors);
    check("PUBLISH __keyevent@0__:set k", "PUBLISH a:__keyevent@0__:set k", ReplyNames::Errors);
    check("PUBLISH __keyspace@0__:k set", "PUBLISH a:__keyspace@0__:k set", ReplyNames::Errors);
    check(
        "SPUBLISH __redis__:invalidate k",
        "SPUBLISH a:__redis__:invalidate k",
        ReplyNames::Errors,
    );
    check("SUBSCRIBE c d", "SUBSCRIBE a:c a:d", ReplyNames::Acknowledged);
    check(
        "SUBSCRIBE __keyspace@0__:k __keyevent@0__:set",
        "SUBSCRIBE __keyspace@0__:a:k __keyevent@0__:set",
        ReplyNames::Acknowledged,
    );
    check("SSUBSCRIBE __keyspace@0__:k", "SSUBSCRIBE a:__keyspace@0__:k", ReplyNames::Acknowledged);
    check("PSUBSCRIBE * n?w*", "PSUBSCRIBE a:* a:n?w*", ReplyNames::Acknowledged);
    check("PSUBSCRIBE __key*__:*", "PSUBSCRIBE __key*__:*", ReplyNames::Acknowledged);
    check(
        "PSUBSCRIBE __keyspace@*__:k*",
        "PSUBSCRIBE __keyspace@*__:a:k*",
        ReplyNames::Acknowledged,
    );
    check("UNSUBSCRIBE", "UNSUBSCRIBE", ReplyNames::Acknowledged);
    check("PUNSUBSCRIBE __key*", "PUNSUBSCRIBE a:__key*", ReplyNames::Acknowledged);
    refused("PSUBSCRIBE __key*", "-namespace NOPERM respgate: 'psubscribe'");
    refused("PSUBSCRIBE x __redis__:*", "-namespace NOPERM");
    check("PUBSUB CHANNELS", "PUBSUB CHANNELS a:*", ReplyNames::Channels);
    check("PUBSUB SHARDCHANNELS", "PUBSUB SHARDCHANNELS a:*", ReplyNames::Channels);
    check("PUBSUB CHANNELS __key*", "PUBSUB CHANNELS a:__key*", ReplyNames::Channels);
    check(
        "PUBSUB NUMSUB c __keyspace@0__:k __keyevent@0__:set",
        "PUBSUB NUMSUB a:c __keyspace@0__:a:k a:__keyevent@0__:set",
        ReplyNames::Pairs,
    );
}

#[test]
fn tracking() {
    check("CLIENT TRACKING ON", "CLIENT TRACKING ON", ReplyNames::Errors);
    check("CLIENT TRACKING ON BCAST", "CLIENT TRACKING ON BCAST PREFIX a:", ReplyNames::Errors);
    check(
        "CLIENT TRACKING ON PREFIX x BCAST PREFIX ''",
        "CLIENT TRACKING ON PREFIX a:x BCAST PREFIX a:",
        ReplyNames::Errors,
    );
    check("CLIENT TRACKINGINFO", "CLIENT TRACKINGINFO", ReplyNames::Tracking);
}

/// The server reports what is wrong; whatever it takes for a key has the prefix.
#[test]
fn numbers_of_keys_that_do_not_fit() {
    check("EVAL x 5 k", "EVAL x 5 a:k", ReplyNames::Errors);
    check("EVAL x 01 k v", "EVAL x 01 a:k a:v", ReplyNames::Errors);
    check("ZUNIONSTORE d 0 k", "ZUNIONSTORE a:d 0 a:k", ReplyNames::Errors);
    check("LMPOP 0 k LEFT", "LMPOP 0 a:k a:LEFT", ReplyNames::First);
    check("XREAD STREAMS s t 0", "XREAD STREAMS a:s a:t a:0", ReplyNames::Streams);
    refused("XREAD COUNT 1 s 0", "-syntax ");
    refused("SORT l NEW", "-syntax ");
    refused("GEORADIUS g 1 2 3 km STORE", "-syntax ");
}

/// Whatever the role permits.
#[test]
fn commands_that_reach_keys_of_others() {
    for line in [
        "RANDOMKEY",
        "DBSIZE",
        "FLUSHDB",
        "FLUSHALL",
        "SWAPDB 0 1",
        "CLUSTER GETKEYSINSLOT 0 1",
        "CLUSTER COUNTKEYSINSLOT 0",
        "MONITOR",
        "SLOWLOG GET",
        "DEBUG OBJECT k",
        "MIGRATE h 1 k 0 9",
        "MEMORY STATS",
        "ACL LOG",
    ] {
        refused(line, "-namespace NOPERM respgate: '");
    }
    refused(
        "DBSIZE",
        "-namespace NOPERM respgate: 'dbsize' counts all keys (rule namespace); keys.dbsize = true",
    );
}

#[test]
fn role_has_names_without_prefix() {
    let policy = policy("+@all ~x* &y*", "a:");
    assert_eq!(sent(&policy, "GET x").0, "GET a:x");
    assert_eq!(sent(&policy, "KEYS x*").0, "KEYS a:x*");
    assert_eq!(sent(&policy, "SUBSCRIBE y").0, "SUBSCRIBE a:y");
    for line in ["GET a:x", "KEYS *", "SUBSCRIBE a:y", "SUBSCRIBE __keyspace@0__:x"] {
        assert!(sent(&policy, line).0.starts_with('-'), "{line}");
    }
}

#[test]
fn request_without_keys_is_unchanged() {
    let policy = policy("+@all allkeys &*", "a:");
    for line in ["PING", "COMMAND GETKEYS GET k", "OBJECT HELP", "CLIENT LIST"] {
        assert_eq!(sent(&policy, line), (line.to_owned(), None));
    }
    assert_eq!(sent(&policy, "INFO").0, "INFO");
}

/// What is missing of a request is asked for where it decides.
#[test]
fn head_of_a_request_is_not_yet_known_where_more_decides() {
    let policy = policy("+@all allkeys &*", "a:");
    let judge = |line: &str, len: usize| {
        with_head(line, len, |request| {
            let mut scratch = Scratch::default();
            let grant = policy.decide(lookup(request), request, 0, &mut scratch);
            let wire = String::from_utf8_lossy(&scratch.take_wire()).replace("\r\n", " ");
            grant.map(|_| wire).map_err(|refusal| refusal.rule)
        })
    };
    assert_eq!(judge("SET k", 3), Ok("*3 $3 SET $3 a:k $65536 ".to_owned()));
    assert_eq!(judge("MSET k", 5), Err(Rule::Incomplete));
    assert_eq!(judge("EVAL s 5", 4), Err(Rule::Incomplete));
    assert_eq!(judge("SCAN 0", 4), Err(Rule::Incomplete));
}

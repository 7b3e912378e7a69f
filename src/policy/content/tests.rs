//! Requests against the rules about keys and values, as tables.
//!
//! Owns: requests and the verdict expected for each. Never knows: servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may crash")]

use bytes::BytesMut;

use crate::command::testing::with_head;
use crate::command::{Lookup, lookup};
use crate::config::{Charset, Encoding, KeyRules, Rules, ScriptMode, ScriptRules, ValueRules};
use crate::policy::{EvalContext, Policy, Rule, Scratch, compile};
use crate::resp::{Request, RequestBuf};

fn policy(keys: KeyRules, values: ValueRules) -> Policy {
    let scripts = ScriptRules { mode: Some(ScriptMode::DeclaredKeys), ..ScriptRules::default() };
    let preset = Some("full".to_owned());
    compile(&Rules { preset, keys, values, scripts, ..Rules::default() }).unwrap()
}

fn judged(policy: &Policy, request: &Request<'_>) -> String {
    let Lookup::Command(spec) = lookup(request) else { panic!("{request:?}") };
    match policy.permit(spec, request, &EvalContext::default(), &mut Scratch::default()) {
        Ok(grant) => {
            assert!(!grant.changed);
            "=".to_owned()
        }
        Err(refusal) => {
            let mut text = BytesMut::new();
            refusal.write_text(request, &mut text);
            String::from_utf8_lossy(&text).replace("NOPERM respgate: ", "")
        }
    }
}

fn check(policy: &Policy, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let request = RequestBuf::from_args(line.split(' '));
        assert_eq!(judged(policy, &request.as_request()), *expected, "{line}");
    }
}

#[test]
fn contents_are_not_read_without_a_rule() {
    assert!(super::Content::new(&KeyRules::default(), &ValueRules::default()).is_none());
}

#[test]
fn keys() {
    let keys = KeyRules {
        max_bytes: Some(8),
        pattern: Some("user:*".to_owned()),
        charset: Charset::Printable,
        deny: vec!["user:0*".to_owned()],
        ..KeyRules::default()
    };
    let policy = policy(keys, ValueRules::default());
    let long = "a key of 'get' has 9 bytes (rule key); at most 8 are allowed";
    let pattern = |name: &str| {
        format!(
            "a key of '{name}' does not match (rule key); policy.keys.pattern has those that do"
        )
    };
    let denied = |name: &str| {
        format!("a key of '{name}' is denied (rule key); policy.keys.deny has the names that are")
    };
    let charset = "a key of 'get' has bytes besides visible ASCII (rule key); use printable \
                   ASCII without spaces";
    check(
        &policy,
        &[
            ("GET user:1", "="),
            ("GET user:123", "="),
            ("GET user:1234", long),
            ("GET other", &pattern("get")),
            ("GET user:é", charset),
            ("GET user:01", &denied("get")),
            ("MGET user:1 user:2 x", &pattern("mget")),
            ("MSET user:1 x user:01 y", &denied("mset")),
            ("SUBSCRIBE other", "="),
            ("PING", "="),
            ("EVAL s 1 x", &pattern("eval")),
            ("EVAL s 01 user:1", "="),
            ("SORT user:1 GET user:1*", "="),
            ("SORT user:1 GET user:*", &denied("sort")),
            ("SORT user:1 BY user:02*", &denied("sort")),
            ("SORT user:1 GET other*", &pattern("sort")),
            ("SORT user:1 GET #", "="),
        ],
    );
    let keys = KeyRules { charset: Charset::Utf8, ..KeyRules::default() };
    let policy = self::policy(keys, ValueRules::default());
    check(&policy, &[("GET é", "="), ("GET a", "=")]);
    let request = RequestBuf::from_args([&b"GET"[..], b"\xff"]);
    let text = "a key of 'get' is not UTF-8 (rule key); write its text in UTF-8";
    assert_eq!(judged(&policy, &request.as_request()), text);
}

/// Denied names are left out of a list of keys unless no name in it can be denied.
#[test]
fn lists_of_keys_hide_denied_names() {
    let deny = vec!["secret:*".to_owned(), "*:password".to_owned()];
    let policy = policy(KeyRules { deny, ..KeyRules::default() }, ValueRules::default());
    for (line, hides) in [
        ("KEYS *", true),
        ("KEYS user:*:name", false),
        ("KEYS user:*", true),
        ("SCAN 0", true),
        ("SCAN 0 MATCH user:*:name COUNT 5", false),
        ("SCAN 0 MATCH user:*:name MATCH s*", true),
        ("SCAN 0 MATCH [s]ecret:x", true),
        ("SCAN 0 LATER x MATCH user:*:name", true),
        ("HSCAN k 0", false),
    ] {
        let request = RequestBuf::from_args(line.split(' '));
        let request = request.as_request();
        let (lookup, mut scratch) = (policy.lookup(&request), Scratch::default());
        let grant = policy.decide(lookup, &request, 0, &mut scratch).unwrap();
        assert_eq!(grant.strip.is_some(), hides, "{line}");
    }
}

/// What is denied is neither shown nor touched by commands that name no key.
#[test]
fn denied_keys_are_out_of_reach() {
    let deny = vec!["secret:*".to_owned(), "*:password".to_owned()];
    let policy = policy(KeyRules { deny, ..KeyRules::default() }, ValueRules::default());
    let reach = |name: &str| {
        format!(
            "'{name}' may show or touch keys that are denied (rule key); give a pattern that no name \
             of policy.keys.deny fits"
        )
    };
    let touch = |name: &str| {
        format!(
            "'{name}' may show or touch keys that are denied (rule key); no form of it leaves out those \
             of policy.keys.deny; SCAN does"
        )
    };
    check(
        &policy,
        &[
            ("KEYS *", "="),
            ("KEYS user:*:name", "="),
            ("KEYS user:*", "="),
            ("SCAN 0", "="),
            ("SCAN 0 MATCH user:*:name", "="),
            ("SCAN 0 MATCH user:*:name MATCH s*", "="),
            ("RANDOMKEY", &touch("randomkey")),
            ("FLUSHDB", &touch("flushdb")),
            ("FLUSHALL", &touch("flushall")),
            ("SWAPDB 0 1", &touch("swapdb")),
            ("MONITOR", &touch("monitor")),
            ("SLOWLOG GET", &touch("slowlog|get")),
            ("DBSIZE", "="),
            ("CONFIG GET x", "="),
            ("INFO", "="),
            ("CLIENT TRACKING ON", "="),
            ("CLIENT TRACKING ON BCAST", &reach("client|tracking")),
            ("CLIENT TRACKING ON BCAST PREFIX sec", &reach("client|tracking")),
            ("CLIENT TRACKING ON BCAST PREFIX secret:a", &reach("client|tracking")),
            ("SUBSCRIBE news", "="),
            ("PSUBSCRIBE news*", "="),
            ("PSUBSCRIBE *", &reach("psubscribe")),
            ("SUBSCRIBE __keyspace@0__:user", "="),
            ("SUBSCRIBE __keyspace@0__:secret:x", &reach("subscribe")),
            ("PSUBSCRIBE __keyspace@0__:user:*:name", "="),
            ("PSUBSCRIBE __keyspace@0__:user*", &reach("psubscribe")),
            ("PSUBSCRIBE __keyspace@*__:user", &reach("psubscribe")),
            ("SUBSCRIBE __keyevent@0__:set", &reach("subscribe")),
            ("PUBLISH __keyevent@0__:set x", "="),
            ("UNSUBSCRIBE __keyevent@0__:set", "="),
        ],
    );
}

#[test]
fn sizes_and_numbers_of_values() {
    let values = ValueRules { max_bytes: Some(4), max_args: Some(5), encoding: Encoding::Any };
    let policy = policy(KeyRules::default(), values);
    let long = |name: &str| {
        format!("an argument of '{name}' has 5 bytes (rule value); at most 4 are allowed")
    };
    let grows = |name: &str, bytes: u64| {
        format!(
            "'{name}' makes a value of at least {bytes} bytes (rule value); at most 4 are allowed"
        )
    };
    check(
        &policy,
        &[
            ("SET longkey 1234", "="),
            ("SET longkey 12345", &long("set")),
            ("MSET longkey 1 otherlong 12345", &long("mset")),
            ("HSET k field 1", &long("hset")),
            ("PUBLISH c 12345", "="),
            ("GET longkey", "="),
            ("EVAL script 1 longkey 1234", "="),
            ("EVAL script 1 k 12345", &long("eval")),
            (
                "EVAL script 1 k 1 2 3",
                "'eval' has 7 arguments (rule value); at most 5 are allowed, send several commands",
            ),
            ("EVAL_RO script 1 k 1 2 3", "="),
            ("SETRANGE k 2 12", "="),
            ("SETRANGE k 3 12", &grows("setrange", 5)),
            ("SETBIT k 31 1", "="),
            ("SETBIT k 32 1", &grows("setbit", 5)),
            ("BITFIELD k GET u8 99", "="),
            ("BITFIELD k SET u8 32", &grows("bitfield", 5)),
            ("EVAL script 0 12345", &long("eval")),
            ("EVALSHA digest 1 longkey 12345", &long("evalsha")),
            ("FCALL function 1 longkey 12345", &long("fcall")),
            ("SCRIPT LOAD script", "="),
            ("EVAL_RO script 1 k 12345", "="),
            ("FCALL_RO function 1 k 12345", "="),
            (
                "MSET a 1 b 2 c 3",
                "'mset' has 7 arguments (rule value); at most 5 are allowed, send several commands",
            ),
            ("MGET a b c d e f g", "="),
            // Whatever the server's reply to it is.
            (
                "MSETEX x longkey 12345",
                "an argument of 'msetex' has 7 bytes (rule value); at most 4 \
              are allowed",
            ),
        ],
    );
}

#[test]
fn encodings() {
    let json = ValueRules { encoding: Encoding::Json, ..ValueRules::default() };
    let policy = policy(KeyRules::default(), json);
    let unseen = |name: &str| {
        format!("'{name}' writes a value that cannot be seen to be JSON (rule value); use SET")
    };
    let bad = |name: &str| {
        format!("a value of '{name}' is not JSON (rule value); write a JSON text in UTF-8")
    };
    check(
        &policy,
        &[
            ("SET k {\"a\":[1,null]}", "="),
            ("SET k {a}", &bad("set")),
            ("SET k 1 EX x", "="),
            ("SETEX k x 1", "="),
            ("SETEX k 1 x", &bad("setex")),
            ("MSET a 1 b [] c x", &bad("mset")),
            ("MSETEX 2 a 1 b 2 EX 5", "="),
            ("MSETEX 2 a 1 b x EX 5", &bad("msetex")),
            ("GETSET k x", &bad("getset")),
            ("HSET k f x", "="),
            ("HSETNX k f x", "="),
            ("HSETEX k EX 9 FIELDS 1 f x", "="),
            ("LPUSH k 1 x", "="),
            ("LINSERT k BEFORE x 1", "="),
            ("SADD k 1 x", "="),
            ("ZADD k NX 1 x", "="),
            ("GEOADD k 1 1 x", "="),
            ("XADD k MAXLEN ~ 9 * f 1 g x", "="),
            ("INCRBY k 5", "="),
            ("PUBLISH c x", "="),
            ("APPEND k 1", &unseen("append")),
            ("SETRANGE k 0 1", &unseen("setrange")),
            ("SETBIT k 0 1", &unseen("setbit")),
            ("BITFIELD k GET u8 0", "="),
            ("BITFIELD k SET u8 0 1", &unseen("bitfield")),
            ("BITOP NOT k l", &unseen("bitop")),
            ("RESTORE k 0 x", &unseen("restore")),
            ("GET k", "="),
        ],
    );
}

#[test]
fn text_in_every_kind_of_value() {
    let json = ValueRules { encoding: Encoding::Json, ..ValueRules::default() };
    let json = policy(KeyRules::default(), json);
    let utf8 = ValueRules { encoding: Encoding::Utf8, ..ValueRules::default() };
    let policy = policy(KeyRules::default(), utf8);
    check(
        &policy,
        &[
            ("SET k é", "="),
            ("APPEND k é", "="),
            (
                "SETRANGE k 0 é",
                "'setrange' writes a value that cannot be seen to be UTF-8 (rule value); use SET",
            ),
        ],
    );
    let is_refused = |line: &str| {
        let words =
            line.split(' ').map(|word| if word == "bad" { &b"\xff"[..] } else { word.as_bytes() });
        let request = RequestBuf::from_args(words);
        let name = line.split(' ').next().unwrap().to_lowercase();
        let text =
            format!("a value of '{name}' is not UTF-8 (rule value); write its text in UTF-8");
        assert_eq!(judged(&policy, &request.as_request()), text, "{line}");
        assert_eq!(judged(&json, &request.as_request()).contains("is not UTF-8"), name != "append");
    };
    for line in [
        "APPEND k bad",
        "HSET k f 1 g bad",
        "HMSET k f bad",
        "HSETNX k f bad",
        "HSETEX k EX 9 FIELDS 1 f bad",
        "LPUSH k 1 bad",
        "RPUSHX k bad",
        "LSET k 0 bad",
        "LINSERT k BEFORE x bad",
        "SADD k 1 bad",
        "ZADD k NX 1 bad",
        "ZINCRBY k 1 bad",
        "GEOADD k 1 1 bad",
        "XADD k MAXLEN ~ 9 * f 1 g bad",
        "ARSET k 0 bad",
        "ARMSET k 0 1 5 bad",
    ] {
        is_refused(line);
    }
    let request = RequestBuf::from_args([&b"SET"[..], b"k", b"\xff"]);
    let text = "a value of 'set' is not UTF-8 (rule value); write its text in UTF-8";
    assert_eq!(judged(&policy, &request.as_request()), text);
}

/// Only the arguments of `line` are here, and that another has 65536 bytes, of `len` in all.
fn of_head(policy: &Policy, line: &str, len: usize) -> String {
    with_head(line, len, |request| judged(policy, request))
}

#[test]
fn large_argument_is_judged_by_its_announcement() {
    let value = |name: &str| {
        format!("an argument of '{name}' has 65536 bytes (rule value); at most 1000 are allowed")
    };
    let key = |name: &str| {
        format!("a key of '{name}' has 65536 bytes (rule key); at most 100 are allowed")
    };
    let incomplete = "ERR respgate: request is not complete";
    let keys = KeyRules { max_bytes: Some(100), ..KeyRules::default() };
    let values = ValueRules { max_bytes: Some(1000), ..ValueRules::default() };
    let both = policy(keys.clone(), values.clone());
    for (line, len, expected) in [
        ("SET k", 3, value("set")),
        ("SET k", 5, value("set")),
        ("SET", 3, key("set")),
        ("GET", 2, key("get")),
        ("MSET a 1", 5, key("mset")),
        ("MSET a", 5, value("mset")),
        ("SORT l BY", 4, value("sort")),
        ("PUBLISH c", 3, "=".to_owned()),
        ("EVAL", 3, incomplete.to_owned()),
        ("EVAL s 0", 4, value("eval")),
        ("EVALSHA s 1 k", 5, value("evalsha")),
        ("EVAL_RO s 0", 4, "=".to_owned()),
    ] {
        assert_eq!(of_head(&both, line, len), expected, "{line} of {len}");
    }
    let alone = policy(KeyRules::default(), values);
    assert_eq!(of_head(&alone, "SET", 3), "=");
    assert_eq!(of_head(&alone, "SET k", 5), value("set"));
    assert_eq!(of_head(&alone, "EVAL", 3), "=");
    assert_eq!(of_head(&alone, "SCRIPT LOAD", 3), "=");
    assert_eq!(of_head(&alone, "EVAL s 1", 5), "=");
    assert_eq!(of_head(&alone, "EVAL s 1 k", 5), value("eval"));
    let alone = policy(keys, ValueRules::default());
    assert_eq!(of_head(&alone, "SET k", 3), "=");
    let json = ValueRules { encoding: Encoding::Json, ..ValueRules::default() };
    let json = policy(KeyRules::default(), json);
    assert_eq!(of_head(&json, "SET k", 3), incomplete);
    assert_eq!(of_head(&json, "LPUSH k", 3), incomplete);
    let utf8 = ValueRules { encoding: Encoding::Utf8, ..ValueRules::default() };
    assert_eq!(of_head(&policy(KeyRules::default(), utf8), "APPEND k", 3), incomplete);
}

/// An observed rule about keys does not hide a fault of a rule about values.
#[test]
fn observed_contents_pass() {
    let keys = KeyRules { max_bytes: Some(3), ..KeyRules::default() };
    let values = ValueRules { max_bytes: Some(4), ..ValueRules::default() };
    let preset = Some("full".to_owned());
    let observe = vec!["key".to_owned()];
    let rules = Rules { preset, keys, values, observe, ..Rules::default() };
    let observed = |rules: &Rules, line: &str| {
        let request = RequestBuf::from_args(line.split(' '));
        let request = request.as_request();
        let decided =
            compile(rules).unwrap().decide(lookup(&request), &request, 0, &mut Scratch::default());
        match decided {
            Ok(grant) => grant.observed.map_or("passes", |refusal| refusal.rule.label()),
            Err(refusal) if refusal.rule == Rule::Value => "no value",
            Err(_) => "no",
        }
    };
    assert_eq!(observed(&rules, "SET k 1"), "passes");
    assert_eq!(observed(&rules, "SET long 1"), "key");
    assert_eq!(observed(&rules, "SET long 12345"), "no value");
    assert_eq!(observed(&rules, "EVAL s 01 k"), "passes");
    let both = Rules { observe_all: true, ..rules };
    assert_eq!(observed(&both, "SET long 12345"), "key");
    assert_eq!(observed(&both, "SET k 12345"), "value");
    assert_eq!(compile(&both).unwrap().argument_max(crate::command::by_name("set").unwrap()), None);
}

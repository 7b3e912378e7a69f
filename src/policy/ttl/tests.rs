//! What becomes of each way to write a key, as tables.
//!
//! Owns: requests and the wire expected for each. Never knows: servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may crash")]

use bytes::BytesMut;

use crate::command::testing::with_head;
use crate::command::{Lookup, lookup};
use crate::config::{KeyMode, KeyRules, OnExceed, OnMissing, Rules, TtlRules};
use crate::policy::{EvalContext, Policy, Scratch, compile};
use crate::resp::{Request, RequestBuf};

use std::time::Duration;

/// 2024-01-01, in milliseconds.
const NOW: u64 = 1_704_067_200_000;

fn rules(on_missing: OnMissing, on_exceed: OnExceed, max: Option<u64>) -> TtlRules {
    TtlRules {
        default: Some(Duration::from_secs(60)),
        max: max.map(Duration::from_secs),
        on_missing,
        on_exceed,
        apply_to: Vec::new(),
        exempt: vec!["lock:*".to_owned()],
    }
}

fn policy(ttl: TtlRules) -> Policy {
    compile(&Rules { preset: Some("full".to_owned()), ttl, ..Rules::default() }).unwrap()
}

fn inject() -> Policy {
    policy(rules(OnMissing::Inject, OnExceed::Clamp, Some(3600)))
}

fn reject() -> Policy {
    policy(rules(OnMissing::Reject, OnExceed::Reject, Some(3600)))
}

/// The requests that are sent, `+` between them; `=` when nothing changes; the refusal's text.
fn judged(policy: &Policy, request: &Request<'_>) -> String {
    let Lookup::Command(spec) = lookup(request) else { panic!("{request:?}") };
    let mut scratch = Scratch::default();
    let moment = EvalContext { database: 2, unix_ms: NOW };
    match policy.permit(spec, request, &moment, &mut scratch) {
        Ok(grant) if !grant.changed => "=".to_owned(),
        Ok(grant) => {
            let wire = String::from_utf8(scratch.take_wire().to_vec()).unwrap();
            let (own, behind) = wire.split_at(grant.split);
            let count = behind.matches('*').count();
            assert_eq!(count, usize::try_from(grant.companions).unwrap(), "{wire}");
            words(own) + &words(behind)
        }
        Err(refusal) => {
            let mut text = BytesMut::new();
            refusal.write_text(request, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        }
    }
}

/// The arguments alone.
fn words(wire: &str) -> String {
    let mut text = String::new();
    for line in wire.split_terminator("\r\n") {
        match line.as_bytes().first() {
            Some(b'*') => text += " +",
            Some(b'$') => {}
            Some(_) | None => text = text + " " + line,
        }
    }
    text
}

fn check(policy: &Policy, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let request = RequestBuf::from_args(line.split(' '));
        let found = judged(policy, &request.as_request());
        assert_eq!(found.trim_start_matches(" + "), *expected, "{line}");
    }
}

#[test]
fn missing_time_to_live_is_written_into_the_command() {
    check(
        &inject(),
        &[
            ("SET k v", "SET k v EX 60"),
            ("SET k v NX GET", "SET k v NX GET EX 60"),
            ("SET k v IFEQ EX", "SET k v IFEQ EX EX 60"),
            ("MSETEX 2 a 1 b 2 NX", "MSETEX 2 a 1 b 2 NX EX 60"),
            ("SET lock:k v", "="),
            ("SET k v EX 5", "="),
        ],
    );
    let mut odd = rules(OnMissing::Inject, OnExceed::Clamp, None);
    odd.default = Some(Duration::from_millis(1500));
    check(
        &policy(odd),
        &[("SET k v", "SET k v PX 1500"), ("INCR k", "INCR k + PEXPIRE k 1500 NX")],
    );
}

#[test]
fn time_to_live_without_an_option_follows_as_a_companion() {
    check(
        &inject(),
        &[
            ("SET k v KEEPTTL", "SET k v KEEPTTL + EXPIRE k 60 NX"),
            ("MSETEX 2 a 1 lock:b 2", "MSETEX 2 a 1 lock:b 2 + EXPIRE a 60 NX"),
            ("MSETEX 1 a 1 KEEPTTL", "MSETEX 1 a 1 KEEPTTL + EXPIRE a 60 NX"),
            ("MSET a 1 b 2 lock:c 3", "MSET a 1 b 2 lock:c 3 + EXPIRE a 60 NX + EXPIRE b 60 NX"),
            ("SETNX k v", "SETNX k v + EXPIRE k 60 NX"),
            ("INCR k", "INCR k + EXPIRE k 60 NX"),
            ("INCREX k BYINT 1", "INCREX k BYINT 1 + EXPIRE k 60 NX"),
            ("INCREX k EX 5", "="),
            ("HSETEX k EX 5 FIELDS 1 f v", "HSETEX k EX 5 FIELDS 1 f v + EXPIRE k 60 NX"),
            ("LPUSHX k v", "LPUSHX k v + EXPIRE k 60 NX"),
            ("LMOVE a b LEFT LEFT", "LMOVE a b LEFT LEFT + EXPIRE b 60 NX"),
            ("BRPOPLPUSH a b 0", "BRPOPLPUSH a b 0 + EXPIRE b 60 NX"),
            ("SMOVE a lock:b m", "="),
            ("PFMERGE d a", "PFMERGE d a + EXPIRE d 60 NX"),
            ("SORT l STORE d", "SORT l STORE d + EXPIRE d 60 NX"),
            ("SORT l", "="),
            ("BITFIELD k GET u8 0", "="),
            ("PERSIST k", "PERSIST k + EXPIRE k 60 NX"),
            ("PERSIST lock:k", "="),
            ("GETEX k PERSIST", "GETEX k PERSIST + EXPIRE k 60 NX"),
            ("GETEX k", "="),
            ("RESTORE k 0 x", "RESTORE k 60000 x"),
            ("RESTORE k 0 x IDLETIME 9", "RESTORE k 60000 x IDLETIME 9"),
            ("RESTORE k 0 x ABSTTL", &format!("RESTORE k {} x ABSTTL", NOW + 60000)),
            ("DEL k", "="),
            ("LPOP k", "="),
            ("XREADGROUP GROUP g c STREAMS k >", "="),
            ("EVAL s 0 k", "="),
            ("EVAL s 1 k", "EVAL s 1 k + EXPIRE k 60 NX + EXPIRE k 3600 XX LT"),
            ("EVAL_RO s 1 k", "="),
            ("COPY a b", "COPY a b + EXPIRE b 60 NX + EXPIRE b 3600 XX LT"),
            ("RENAME a b", "RENAME a b + EXPIRE b 60 NX + EXPIRE b 3600 XX LT"),
            ("COPY a b DB 2", "COPY a b DB 2 + EXPIRE b 60 NX + EXPIRE b 3600 XX LT"),
            (
                "COPY a b REPLACE db 3",
                "NOPERM respgate: 'copy' makes a key in another database, where it may have no time \
                 to live (rule ttl); leave out DB",
            ),
            ("COPY a lock:b DB 3", "="),
            // What is not understood here may be understood there.
            ("SET k v NEW EX 9999", "SET k v NEW EX 9999 + EXPIRE k 60 NX + EXPIRE k 3600 XX LT"),
            ("RESTORE k 5 x NEW", "RESTORE k 5 x NEW + EXPIRE k 60 NX + EXPIRE k 3600 XX LT"),
            ("SORT l NEW", "ERR syntax error"),
        ],
    );
}

#[test]
fn excessive_time_to_live_is_cut() {
    let (absolute, milliseconds) = (NOW / 1000 + 3600, NOW + 3_600_000);
    check(
        &inject(),
        &[
            ("SET k v EX 3600", "="),
            ("SET k v EX 3601", "SET k v EX 3600"),
            ("SET k v PX 3600001", "SET k v PX 3600000"),
            ("set k v nx px 9223372036854775 get", "set k v nx px 3600000 get"),
            ("SET k v EX 9999 PX 9999999", "SET k v EX 3600 PX 3600000"),
            ("SET lock:k v EX 9999", "="),
            (&format!("SET k v EXAT {absolute}"), "="),
            (&format!("SET k v EXAT {}", absolute + 1), &format!("SET k v EXAT {absolute}")),
            (
                &format!("SET k v PXAT {}", milliseconds + 1),
                &format!("SET k v PXAT {milliseconds}"),
            ),
            ("SET k v EXAT 5", "="),
            ("SETEX k 9999 v", "SETEX k 3600 v"),
            ("PSETEX k 9999999 v", "PSETEX k 3600000 v"),
            ("GETEX k EX 9999", "GETEX k EX 3600"),
            ("EXPIRE k 9999 GT", "EXPIRE k 3600 GT"),
            ("EXPIRE k -1", "="),
            ("PEXPIRE k 9999999", "PEXPIRE k 3600000"),
            (&format!("EXPIREAT k {}", absolute + 9), &format!("EXPIREAT k {absolute}")),
            (&format!("PEXPIREAT k {}", milliseconds + 9), &format!("PEXPIREAT k {milliseconds}")),
            ("RESTORE k 9999999 x", "RESTORE k 3600000 x"),
            (
                &format!("RESTORE k {} x REPLACE ABSTTL", milliseconds + 9),
                &format!("RESTORE k {milliseconds} x REPLACE ABSTTL"),
            ),
            ("RESTORE k 9223372036854775807 x", "RESTORE k 3600000 x"),
            ("MSETEX 1 a 1 EX 9999", "MSETEX 1 a 1 EX 3600"),
        ],
    );
}

/// The server has words of its own for them.
#[test]
fn commands_that_the_server_refuses_pass_unchanged() {
    let policy = inject();
    for number in ["0", "-5", "x", "01", "+5", "1e3", "9223372036854775807", "99999999999999999999"]
    {
        for line in ["SET k v EX #", "SETEX k # v", "GETEX k PX #", "EXPIRE k #", "PSETEX k # v"] {
            check(&policy, &[(&line.replace('#', number), "=")]);
        }
    }
    // More than any clock could add to, by far; and less than that.
    check(&policy, &[("PEXPIRE k 9223372036854775000", "=")]);
    check(&policy, &[("PEXPIRE k 9223371000000000000", "PEXPIRE k 3600000")]);
}

#[test]
fn refusals() {
    let missing = |name: &str| {
        format!(
            "NOPERM respgate: '{name}' leaves a key without a time to live (rule ttl); add EX with \
             seconds"
        )
    };
    let cannot = |name: &str| {
        format!(
            "NOPERM respgate: '{name}' may leave a key without a time to live (rule ttl); use a \
             command that sets one, as SET key value EX seconds"
        )
    };
    let ended = |name: &str| {
        format!(
            "NOPERM respgate: '{name}' removes the time to live of a key (rule ttl); use EXPIRE \
             to set a longer one"
        )
    };
    let long = |name: &str| {
        format!(
            "NOPERM respgate: '{name}' has a time to live that is too long (rule ttl); the \
             longest allowed is 1h"
        )
    };
    check(
        &reject(),
        &[
            ("SET k v", &missing("set")),
            ("SET k v KEEPTTL", &missing("set")),
            ("SET k v EX 5", "="),
            ("SET lock:k v", "="),
            ("SET k v EX 3601", &long("set")),
            ("EXPIRE k 3601", &long("expire")),
            ("EXPIRE k 3600", "="),
            ("RESTORE k 0 x", &missing("restore")),
            ("MSET lock:a 1", "="),
            ("MSET lock:a 1 b 2", &cannot("mset")),
            ("LPUSH k v", &cannot("lpush")),
            ("LPUSHX k v", "="),
            ("EVAL s 1 k", &cannot("eval")),
            ("EVAL s 0", "="),
            ("PERSIST k", &ended("persist")),
            ("GETEX k PERSIST", &ended("getex")),
            ("GETEX k", "="),
            ("RENAME a b", "RENAME a b + EXPIRE b 3600 XX LT"),
            (
                "RENAME lock:a b",
                "NOPERM respgate: 'rename' takes over the time to live of a key that may have none \
                 (rule ttl); use a key to which the rule applies too",
            ),
            ("SMOVE a b m", &cannot("smove")),
            ("DEL k", "="),
        ],
    );
}

#[test]
fn maximum_alone_leaves_what_has_no_time_to_live() {
    let policy = policy(rules(OnMissing::Allow, OnExceed::Clamp, Some(3600)));
    check(
        &policy,
        &[
            ("SET k v", "="),
            ("SET k v EX 9999", "SET k v EX 3600"),
            ("PERSIST k", "="),
            ("LPUSH k v", "="),
            ("EVAL s 1 k", "EVAL s 1 k + EXPIRE k 3600 XX LT"),
            ("COPY a b DB 5", "COPY a b DB 5 + EXPIRE b 3600 XX LT"),
        ],
    );
}

#[test]
fn names_choose_the_keys() {
    let mut chosen = rules(OnMissing::Inject, OnExceed::Clamp, None);
    chosen.apply_to = vec!["cache:*".to_owned(), "tmp?".to_owned()];
    chosen.exempt = vec!["cache:keep".to_owned()];
    let policy = policy(chosen);
    check(
        &policy,
        &[
            ("SET cache:a v", "SET cache:a v EX 60"),
            ("SET cache:keep v", "="),
            ("SET other v", "="),
            ("MSET tmp1 v other v", "MSET tmp1 v other v + EXPIRE tmp1 60 NX"),
        ],
    );
    assert!(policy.needs_wall_clock());
    assert!(inject().needs_wall_clock());
    assert!(!Policy::open().needs_wall_clock());
}

/// Only the arguments of `line` are here, and the length of another, of `len` in all.
fn of_head(policy: &Policy, line: &str, len: usize) -> String {
    with_head(line, len, |request| judged(policy, request))
}

#[test]
fn large_value_is_not_waited_for() {
    let policy = inject();
    let incomplete = "ERR respgate: request is not complete";
    for (line, len, expected) in [
        // What follows the head goes behind the value.
        ("SET k", 3, " + SET k EX 60"),
        ("SET k", 5, incomplete),
        ("SETEX k 9999", 4, " + SETEX k 3600"),
        ("SETEX k", 4, incomplete),
        ("APPEND k", 3, " + APPEND k + EXPIRE k 60 NX"),
        ("MSET k", 3, " + MSET k + EXPIRE k 60 NX"),
        ("MSET k", 5, incomplete),
        ("RESTORE k 0", 4, " + RESTORE k 60000"),
        ("RESTORE k 0", 5, incomplete),
        ("RESTORE k 5", 5, incomplete),
        ("SET", 3, incomplete),
        ("SET lock:k", 3, "="),
    ] {
        assert_eq!(of_head(&policy, line, len), expected, "{line} of {len}");
    }
}

/// An observed rule changes nothing either.
#[test]
fn observed_times_to_live_pass() {
    let ttl = rules(OnMissing::Reject, OnExceed::Clamp, Some(3600));
    let preset = Some("full".to_owned());
    let observe = vec!["ttl".to_owned()];
    let policy = compile(&Rules { preset, ttl, observe, ..Rules::default() }).unwrap();
    check(&policy, &[("SET k v EX 9999", "="), ("SET k v", "="), ("RENAME a b", "=")]);
    let request = RequestBuf::from_args(["SET", "k", "v"]);
    let request = request.as_request();
    let grant = policy.decide(lookup(&request), &request, 0, &mut Scratch::default()).unwrap();
    assert_eq!(grant.observed.unwrap().rule.label(), "ttl");
}

/// Where keys have a prefix, what follows names them as the server does.
#[test]
fn names_with_a_prefix() {
    let keys = KeyRules {
        mode: KeyMode::Rewrite,
        prefix: Some("app1:".to_owned()),
        ..KeyRules::default()
    };
    let ttl = rules(OnMissing::Inject, OnExceed::Clamp, Some(3600));
    let preset = Some("full".to_owned());
    let policy = compile(&Rules { preset, keys, ttl, ..Rules::default() }).unwrap();
    check(
        &policy,
        &[
            ("SET k v", "SET app1:k v EX 60"),
            ("SET lock:k v", "SET app1:lock:k v"),
            ("SET k v EX 9999", "SET app1:k v EX 3600"),
            ("MSET a 1 b 2", "MSET app1:a 1 app1:b 2 + EXPIRE app1:a 60 NX + EXPIRE app1:b 60 NX"),
            ("LMOVE a b LEFT LEFT", "LMOVE app1:a app1:b LEFT LEFT + EXPIRE app1:b 60 NX"),
        ],
    );
}

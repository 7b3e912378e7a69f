//! What was seen, and the policy that it makes.
//!
//! Owns: cases. Never knows: connections.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may crash")]

use std::sync::Arc;

use super::*;
use crate::base::limits;
use crate::command::{Lookup, lookup};
use crate::config::{KeyMode, KeyRules, Rules};
use crate::policy::{Policy, Scratch, TrafficProfiles, compile};
use crate::resp::RequestBuf;

const TRAFFIC: &str = "GET app:1|GET app:2|SET app:1 v|MGET app:1 log:3|HSET h f v|\
    EXISTS tmp:x|SUBSCRIBE news|PSUBSCRIBE n*|PUBLISH ev:1 x|KEYS app:*|SCAN 0 MATCH log:*|\
    CLIENT SETNAME x|HELLO 3|SORT h BY w_*|XREAD STREAMS st:1 0|SUBSCRIBE a[1]|\
    BITOP AND app:d app:a log:b|INCR q[1]|PING|MULTI|EXEC|PUBSUB NUMPAT";

/// What reaches names that it does not give.
const MORE: &str = "SCAN 0|KEYS *|DBSIZE|PSUBSCRIBE __key*|PSUBSCRIBE *|RANDOMKEY|COPY a b DB 1|\
    PUBSUB CHANNELS|PUBSUB CHANNELS n*|PUBSUB NUMSUB a|SORT h BY *|FLUSHDB|CLIENT TRACKING ON BCAST";

fn note(profile: &mut TrafficProfile, traffic: &str) {
    for line in traffic.split('|') {
        let request = RequestBuf::from_args(line.split(' '));
        let Lookup::Command(spec) = lookup(&request.as_request()) else { panic!("{line}") };
        profile.note(spec, &request.as_request(), None);
    }
}

fn learned(traffic: &str) -> TrafficProfile {
    let mut profile = TrafficProfile::default();
    note(&mut profile, traffic);
    profile
}

fn passes(policy: &Policy, line: &str) -> bool {
    let request = RequestBuf::from_args(line.split(' '));
    let request = request.as_request();
    policy.decide(lookup(&request), &request, 0, &mut Scratch::default()).is_ok()
}

#[test]
fn learned_rules_permit_what_was_seen_and_nothing_else() {
    let words = learned(TRAFFIC).words();
    let policy = compile(&Rules { acl: Some(words.clone()), ..Rules::default() }).unwrap();
    for line in TRAFFIC.split('|') {
        assert!(passes(&policy, line), "{line}: {words}");
    }
    for line in ["DEL app:1", "GET other:1", "SET log:1 v", "SUBSCRIBE other", "KEYS *", "SCAN 0"] {
        assert!(!passes(&policy, line), "{line}: {words}");
    }
}

#[test]
fn commands_that_reach_more_than_they_name_pass_and_open_nothing_else() {
    let profile = learned(&format!("{MORE}|GET a:1"));
    let words = profile.words();
    let policy = compile(&Rules { acl: Some(words.clone()), ..Rules::default() }).unwrap();
    for line in MORE.split('|') {
        assert!(passes(&policy, line), "{line}: {words}");
    }
    for line in ["GET b:1", "SET a:1 x", "PUBLISH a x", "SUBSCRIBE a"] {
        assert!(!passes(&policy, line), "{line}: {words}");
    }
    let keys = KeyRules {
        mode: KeyMode::Rewrite,
        prefix: Some("p:".to_owned()),
        flushdb: true,
        dbsize: true,
        ..KeyRules::default()
    };
    let policy = compile(&Rules { acl: Some(words.clone()), keys, ..Rules::default() }).unwrap();
    for line in ["SCAN 0", "KEYS *", "DBSIZE", "FLUSHDB", "GET a:1", "PUBSUB CHANNELS"] {
        assert!(passes(&policy, line), "{line}: {words}");
    }
}

fn text(traffic: &str) -> String {
    let mut text = String::new();
    learned(traffic).write("policy", &mut text);
    text
}

#[test]
fn values_and_whole_keys_are_never_shown() {
    let text = text("SET user:4711:mail secret EX 5|APPEND user:4712 hidden");
    for word in ["secret", "hidden", "4711", "4712", "mail"] {
        assert!(!text.contains(word), "{text}");
    }
    assert!(text.contains("\n[policy]\nacl = \"+append +set %W~user:*\""), "{text}");
    assert!(text.contains("# commands: append 1, set 1\n"), "{text}");
}

#[test]
fn scripts_that_ran_are_listed() {
    let one = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let printed = text(&format!("EVALSHA {one} 1 k:1|FCALL f 0|EVALSHA {one} 0"));
    let list = format!("[policy.scripts]\nmode = \"allowlist\"\nallow = [\"{one}\"]\n");
    assert!(printed.contains(&list) && printed.contains("allow_functions = [\"f\"]"), "{printed}");
    assert!(!text("GET a").contains("scripts"));
    let many: Vec<String> = (0..100).map(|n| format!("EVAL return{n} 0")).collect();
    for unlisted in [many.join("|"), "FUNCTION LOAD x".to_owned()] {
        assert!(text(&unlisted).contains("mode = \"declared-keys\""), "{unlisted}");
    }
}

#[test]
fn many_names_are_one() {
    let mut profile = TrafficProfile::default();
    for i in 0..1000 {
        note(&mut profile, &format!("GET k{i}|GET k{i}:x"));
    }
    assert!(profile.words().contains("%R~*"));
    note(&mut profile, &format!("GETSET {} v", "k".repeat(65)));
    assert_eq!(profile.words(), "+get +getset ~*");
    assert!(profile.keys.prefixes.len() <= limits::LEARN_PREFIXES_MAX + 1);
    assert!(profile.keys.literals.len() <= limits::LEARN_LITERALS_MAX);
}

fn observe(profiles: &mut TrafficProfiles, policy: &Arc<Policy>, traffic: &str) {
    for line in traffic.split('|') {
        let request = RequestBuf::from_args(line.split(' '));
        let request = request.as_request();
        let mut scratch = Scratch::default();
        let found = lookup(&request);
        let decided = policy.decide(found, &request, 0, &mut scratch);
        let spec = if let Lookup::Command(spec) = found { Some(spec) } else { None };
        let (observed, refused) = match &decided {
            Ok(grant) => (grant.observed.as_deref(), None),
            Err(refusal) => (None, Some(refusal)),
        };
        profiles.note(policy, spec, &request, observed, refused);
    }
}

#[test]
fn refused_commands_are_listed_all_the_same() {
    let mut profiles = TrafficProfiles::default();
    let policy = compile(&Rules { observe_all: true, ..Rules::default() }).unwrap();
    let policy = Arc::new(policy);
    assert_eq!(profiles.to_toml("app", false), None);
    observe(&mut profiles, &policy, "FOO a|FOO b|CONFIG NOSUCH|PSYNC ? -1|GET|FLUSHALL");
    let printed = profiles.to_toml("app", false).unwrap();
    for words in [
        "unknown: foo 2",
        "unknown: config|nosuch 1",
        "command: psync 1",
        "arity: get 1",
        "category: flushall 1",
        "\nacl = \"(+flushall ~* &*)\"\n",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let long = format!("{}\n", "x,\u{e9}".repeat(100));
    for n in 0..1000 {
        observe(&mut profiles, &policy, &format!("{long}{n}|U{n}"));
    }
    let printed = profiles.to_toml("app", false).unwrap();
    let line = printed.lines().find(|line| line.starts_with("# refused although")).unwrap();
    assert!(
        line.is_ascii() && line.len() < 128 * 90 && line.contains("unknown: others "),
        "{line}"
    );
}

/// Each policy by itself, in the names of its application; for the server with what goes before them
/// and with what respgate sends itself.
#[test]
fn profile_is_of_one_policy() {
    let mut profiles = TrafficProfiles::default();
    let with = |prefix: &str| {
        let keys = KeyRules {
            mode: KeyMode::Rewrite,
            prefix: Some(prefix.to_owned()),
            flushdb: true,
            ..KeyRules::default()
        };
        let mut rules = Rules { observe_all: true, keys, ..Rules::default() };
        rules.ttl.max = Some(std::time::Duration::from_secs(60));
        compile(&rules).unwrap()
    };
    observe(&mut profiles, &Arc::new(with("one:")), "GET user:1|FLUSHDB");
    observe(&mut profiles, &Arc::new(with("two:").named("policies.b")), "SET b 1");
    let printed = profiles.to_toml("app", false).unwrap();
    for words in [
        "[policy]\nacl = \"+get %R~user:* (+flushdb ~* &*)\"",
        "[policies.b]\nacl = \"+set %W~b\"",
        "# ACL SETUSER app on clearselectors resetkeys resetchannels -@all +get %R~one:user:* ",
        " +ping ",
        " +expire +pexpire ",
        "(+flushdb ~one:* &one:* -flushdb +scan +unlink",
        "(+set %W~two:b",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
}

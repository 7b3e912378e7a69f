//! Nothing outside a prefix is named, shown or touched: every command of the table is tried.
//!
//! Owns: the written list of commands that reach no key. Never knows: how a policy decides.
use crate::support;
mod bounded;
mod through;

use respgate::internals::command::{self, Effect, find_keys, lookup};
use respgate::internals::config::{KeyMode, KeyRules, Rules, ScriptMode, ScriptRules};
use respgate::internals::policy::{Policy, Rule, Scratch, compile};
use respgate::internals::resp::RequestBuf;
use support::forms::{escapes, forms, plain};

/// Commands with keys that nevertheless reach others.
const NEVER_INSIDE: &[&str] = &["debug", "move"];

#[test]
fn every_key_has_a_form() {
    let mut found = Vec::new();
    for spec in command::all().iter().filter(|spec| !spec.keys.is_empty()) {
        let forms = forms(spec, "app1:");
        assert!(!forms.is_empty(), "{} needs a template", spec.name);
        for form in forms {
            let request = RequestBuf::from_args(&form.words);
            assert!(spec.accepts(form.words.len()), "{}", show(&form.words));
            find_keys(spec, &request.as_request(), &mut found).unwrap();
            let mut places: Vec<_> = found.iter().map(|at| (at.arg as usize, at.kind)).collect();
            places.sort_by_key(|(place, _)| *place);
            assert_eq!(places, form.places, "{}", show(&form.words));
        }
    }
}

/// One foreign name at any place is refused, whatever the command.
#[test]
fn no_place_lets_a_foreign_name_through() {
    let policy = policy("+@all ~app1:* &app1:*");
    let mut tried = 0;
    for form in command::all().iter().flat_map(|spec| forms(spec, "app1:")) {
        let leaves = form.spec.effect == Effect::Unsubscribe;
        let carried = form.spec.effect != Effect::Never && !NEVER_INSIDE.contains(&form.spec.name);
        let verdict = judge(&policy, &form.words);
        assert_eq!(verdict.is_none(), carried, "{}: {verdict:?}", show(&form.words));
        for words in escapes(&form, "app2:").into_iter().chain(escapes(&form, "")) {
            let verdict = judge(&policy, &words);
            assert_eq!(verdict.is_none(), leaves, "{}: {verdict:?}", show(&words));
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried}");
}

/// Commands that neither name nor show nor touch a key, nor anything else of other clients.
#[rustfmt::skip]
const REACHES_NO_KEY: &[&str] = &[
    "acl|cat", "acl|genpass", "acl|help", "acl|whoami", "asking", "auth", "backup|help",
    "client|caching", "client|capa", "client|getname", "client|getredir", "client|help",
    "client|id", "client|import-source", "client|info", "client|kill", "client|list",
    "client|no-evict", "client|no-touch", "client|reply", "client|setinfo", "client|setname",
    "client|trackinginfo", "client|unblock", "cluster|help", "cluster|info", "cluster|keyslot",
    "cluster|links", "cluster|myid", "cluster|myshardid", "cluster|nodes", "cluster|replicas",
    "cluster|shards", "cluster|slaves", "cluster|slots", "command|count", "command|docs",
    "command|getkeys", "command|getkeysandflags", "command|help", "command|info", "command|list",
    "commandlog|help", "config|help", "discard", "echo", "exec", "function|help", "hello",
    "hotkeys|help", "info", "latency|help", "lolwut", "memory|help", "module|help", "multi",
    "object|help", "ping", "pubsub|help", "quit", "readonly", "readwrite", "reset", "role",
    "script|exists", "script|help", "script|load", "select", "slowlog|help", "time", "unwatch",
    "wait", "waitaof", "xgroup|help", "xinfo|help",
];

/// A command without keys is refused, or is in the list: a new one needs a decision. It is the
/// same list whatever bounds the policy, but for what a database has alone.
#[test]
fn commands_without_keys_reach_none() {
    const OF_A_DATABASE: [&str; 6] =
        ["clusterscan", "dbsize", "flushdb", "keys", "randomkey", "scan"];
    for (acl, rewrites) in [
        ("+@all ~app1:*", false),
        ("+@all %R~app1:* %W~app1:*", false),
        ("+@all ~app1:* (+@all ~app2:*)", false),
        ("+@all ~* &* db=0", false),
        ("+@all ~app1:* db=0", false),
        ("+@all ~* &*", true),
        ("+@all ~* &* db=0", true),
    ] {
        let policy = if rewrites { rewriting(acl) } else { policy(acl) };
        let mut passed = Vec::new();
        for spec in command::all().iter().filter(|spec| !spec.container && spec.keys.is_empty()) {
            if judge(&policy, &plain(spec).words).is_none() {
                passed.push(spec.name);
            }
        }
        let all_keys = acl.contains("~*");
        passed.retain(|name| !(all_keys && OF_A_DATABASE.contains(name)));
        // The plain form of SELECT names database 1.
        let missing = |name: &&&str| acl.contains("db=0") && **name == "select";
        let expected: Vec<&str> =
            REACHES_NO_KEY.iter().filter(|name| !missing(name)).copied().collect();
        assert_eq!(passed, expected, "{acl}");
    }
}

/// What is about the server needs its name in the rules; what shows keys, a selector for all of them.
#[test]
fn server_commands_pass_by_name() {
    let words = |name: &str| plain(command::by_name(name).unwrap()).words;
    for name in ["config|get", "function|load", "script|flush", "memory|doctor", "acl|list"] {
        for prefixed in [false, true] {
            let keys = if prefixed { "~*" } else { "~app1:*" };
            let rules = |more: &str| {
                let acl = format!("+@all {keys} {more}");
                if prefixed { rewriting(&acl) } else { policy(&acl) }
            };
            assert!(judge(&rules(""), &words(name)).is_some(), "{name}");
            assert!(judge(&rules("+@scripting +@admin +@slow"), &words(name)).is_some(), "{name}");
            assert!(judge(&rules(&format!("+{name}")), &words(name)).is_none(), "{name}");
            let container = name.split('|').next().unwrap();
            assert!(judge(&rules(&format!("+{container}")), &words(name)).is_none(), "{name}");
        }
    }
    for name in ["slowlog|get", "function|stats", "flushall", "randomkey"] {
        let named = policy(&format!("+@all ~app1:* +{name}"));
        assert!(judge(&named, &words(name)).is_some(), "{name}");
        assert!(judge(&rewriting(&format!("+@all ~* +{name}")), &words(name)).is_some(), "{name}");
        let open = policy(&format!("+@all ~app1:* (+{name} allkeys)"));
        assert!(judge(&open, &words(name)).is_none(), "{name}");
    }
}

fn rewriting(acl: &str) -> Policy {
    let prefix = Some("app1:".to_owned());
    let keys = KeyRules { mode: KeyMode::Rewrite, prefix, ..KeyRules::default() };
    let scripts = ScriptRules { mode: Some(ScriptMode::DeclaredKeys), ..ScriptRules::default() };
    compile(&Rules { acl: Some(acl.to_owned()), keys, scripts, ..Rules::default() }).unwrap()
}

fn policy(acl: &str) -> Policy {
    let scripts = ScriptRules { mode: Some(ScriptMode::DeclaredKeys), ..ScriptRules::default() };
    compile(&Rules { acl: Some(acl.to_owned()), scripts, ..Rules::default() }).unwrap()
}

/// Nothing when the request passes.
fn judge(policy: &Policy, words: &[Vec<u8>]) -> Option<Rule> {
    let request = RequestBuf::from_args(words);
    let request = request.as_request();
    let refused = policy.decide(lookup(&request), &request, 0, &mut Scratch::default());
    refused.err().map(|refusal| refusal.rule)
}

fn show(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

//! Nothing outside a prefix is named, shown or touched: every command of the table is tried.
//!
//! Owns: the written list of commands that reach no key. Never knows: how a policy decides.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test may crash"
)]

mod support;

#[path = "no_escape/through.rs"]
mod through;

use respgate::command::{self, Effect, find_keys, lookup};
use respgate::config::{Rules, ScriptMode, ScriptRules};
use respgate::policy::{Policy, Rule, Scratch, compile};
use respgate::resp::RequestBuf;
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

/// Commands that neither name nor show nor touch a key. Some of them serve administration and may
/// hurt in other ways: that is for `-@admin` to say.
#[rustfmt::skip]
const REACHES_NO_KEY: &[&str] = &[
    "acl|cat", "acl|deluser", "acl|dryrun", "acl|genpass", "acl|getuser", "acl|help", "acl|list",
    "acl|load", "acl|save", "acl|setuser", "acl|users", "acl|whoami", "asking", "auth",
    "backup|abort", "backup|cleanup", "backup|help", "backup|list", "backup|seal", "backup|start",
    "backup|status", "bgrewriteaof", "bgsave", "client|caching", "client|capa", "client|getname",
    "client|getredir", "client|help", "client|id", "client|import-source", "client|info",
    "client|kill", "client|list", "client|no-evict", "client|no-touch", "client|pause", "client|reply",
    "client|setinfo", "client|setname", "client|trackinginfo", "client|unblock", "client|unpause",
    "cluster|addslots", "cluster|addslotsrange", "cluster|bumpepoch",
    "cluster|cancelslotmigrations", "cluster|count-failure-reports", "cluster|delslots",
    "cluster|delslotsrange", "cluster|failover", "cluster|flushslots", "cluster|forget",
    "cluster|getslotmigrations", "cluster|help", "cluster|info", "cluster|keyslot",
    "cluster|links", "cluster|meet", "cluster|myid", "cluster|myshardid", "cluster|nodes",
    "cluster|replicas", "cluster|saveconfig", "cluster|set-config-epoch", "cluster|setslot",
    "cluster|shards", "cluster|slaves", "cluster|slots", "command|count", "command|docs",
    "command|getkeys", "command|getkeysandflags", "command|help", "command|info", "command|list",
    "commandlog|help", "commandlog|len", "commandlog|reset", "config|get", "config|help",
    "config|resetstat", "config|rewrite", "config|set", "discard", "echo", "exec", "failover",
    "function|delete", "function|dump", "function|flush", "function|help", "function|kill",
    "function|list", "function|load", "function|restore", "hello",
    "hotkeys|help", "hotkeys|reset", "hotkeys|start", "hotkeys|stop", "info", "lastsave",
    "latency|doctor", "latency|graph", "latency|help", "latency|histogram", "latency|history",
    "latency|latest", "latency|reset", "lolwut", "memory|doctor", "memory|help",
    "memory|malloc-stats", "memory|purge", "module|help", "module|list", "module|load",
    "module|loadex", "module|unload", "multi", "object|help", "pfselftest", "ping", "pubsub|help",
    "pubsub|numpat", "quit", "readonly", "readwrite", "reset", "role", "save", "script|exists",
    "script|flush", "script|help", "script|kill", "script|load", "script|show", "select",
    "shutdown", "slowlog|help", "slowlog|len", "slowlog|reset", "time", "unwatch", "wait",
    "waitaof", "xgroup|help", "xinfo|help",
];

/// A command without keys is refused, or stands in the list: a new one asks for a decision.
#[test]
fn what_names_no_key_reaches_none() {
    let policy = policy("+@all ~app1:*");
    let mut passed = Vec::new();
    for spec in command::all().iter().filter(|spec| !spec.container && spec.keys.is_empty()) {
        if judge(&policy, &plain(spec).words).is_none() {
            passed.push(spec.name);
        }
    }
    assert_eq!(passed, REACHES_NO_KEY);
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

//! A file that a server has written means here what it means there.
//!
//! Owns: that comparison, over many users and every command. Never knows: how the file is read.

use bytes::BytesMut;
use respgate::internals::command::{Lookup, by_name, lookup};
use respgate::internals::config::Rules;
use respgate::internals::policy::{AclUser, Policy, Scratch, read_accounts};
use respgate::internals::resp::RequestBuf;

use super::support::forms::{forms, plain};
use super::*;

const ROLES: [(&str, &str); 14] = [
    ("all", "on nopass allkeys allchannels allcommands"),
    ("none", "on >x"),
    ("off", "off nopass ~* &* +@all"),
    ("sanitized", "on nopass skip-sanitize-payload ~a:* +@all"),
    ("keys", "on nopass ~a:* +@all"),
    ("reading", "on nopass %R~a:* %W~b:* +@all"),
    ("both", "on nopass %R~a:* %W~a:* &a:* +@all -@dangerous +keys"),
    ("categories", "on nopass ~* &* +@read +@write -@string +get -@slow"),
    ("subcommands", "on nopass ~* +config|get +client -client|kill +xgroup|create"),
    ("first", "on nopass ~* +select|0 +@hash"),
    ("selectors", "on nopass ~a:* +@read (~b:* +@write) (%R~c:* &c:* +@all)"),
    ("selector", "on nopass (~a:* +@all -get)"),
    ("globs", "on nopass ~[ab]:? ~b* ~*c &?:* +@all"),
    ("unset", "on nopass ~* +@all resetkeys ~b:* resetchannels &b:* -@all +@list"),
];

/// Rules that only Valkey knows, since 9.1.
const DATABASES: [(&str, &str); 5] = [
    ("first database", "on nopass ~* &* +@all db=0"),
    ("other databases", "on nopass ~* &* +@all db=2,1"),
    ("no database", "on nopass ~* &* +@all resetdbs"),
    ("all databases", "on nopass ~a:* +@all db=1 alldbs"),
    ("a database each", "on nopass ~a:* +@all db=1 (~b:* +@read db=0)"),
];

fn roles(brand: Brand) -> impl Iterator<Item = (String, &'static str)> {
    let own: &[_] = if brand == Brand::Valkey { &DATABASES } else { &[] };
    ROLES.iter().chain(own).map(|(name, rules)| (name.replace(' ', "-"), *rules))
}

fn saved(brand: Brand) -> (Server, Vec<AclUser>) {
    let home = proxy::directory();
    let file = home.path().join("users.acl");
    std::fs::write(&file, "").unwrap();
    let server = Server::new(brand, false, &["--aclfile", file.to_str().unwrap()]);
    let mut observer = server.observer();
    for (name, rules) in roles(brand) {
        let words: Vec<&str> =
            ["ACL", "SETUSER", &name].into_iter().chain(rules.split_whitespace()).collect();
        // The text in parentheses is one word to the server.
        let mut merged: Vec<String> = Vec::new();
        for word in words {
            match merged.last_mut() {
                Some(open) if open.starts_with('(') && !open.ends_with(')') => {
                    *open = format!("{open} {word}");
                }
                _ => merged.push(word.to_owned()),
            }
        }
        let merged: Vec<&str> = merged.iter().map(String::as_str).collect();
        assert_eq!(observer.ask(&merged), OK, "{name}");
    }
    assert_eq!(observer.ask(&["ACL", "SAVE"]), OK);
    let text = std::fs::read(&file).unwrap();
    (server, read_accounts(&text, &Rules::default(), &std::sync::Arc::default()).unwrap())
}

/// What is against a request: nothing, the server's own rules, or a stricter one of respgate.
fn verdict(policy: &Policy, words: &[Vec<u8>]) -> &'static str {
    let request = RequestBuf::from_args(words);
    let request = request.as_request();
    let Err(refusal) = policy.decide(lookup(&request), &request, 0, &mut Scratch::default()) else {
        return "pass";
    };
    let mut text = BytesMut::new();
    refusal.write_text(&request, &mut text);
    let text = String::from_utf8(text.to_vec()).unwrap();
    if text.contains("respgate") || text.contains("option of SORT") { "stricter" } else { "no" }
}

fn compare(brand: Brand) {
    if !brand.available() {
        return;
    }
    let (server, accounts) = saved(brand);
    assert_eq!(accounts.len(), roles(brand).count() + 1, "default besides");
    for account in &accounts {
        assert_eq!(account.enabled, account.name != "off");
    }
    let mut client = server.observer();
    let mut cases = Vec::new();
    for name in client.ask_text(&["COMMAND", "LIST"]).lines().map(str::trim) {
        let Some(spec) = by_name(name).filter(|spec| !spec.container) else { continue };
        // Whose keys the server's ACL does not see; whose category changed; which removes the keys of all
        // databases, although the server's ACL does not show it; which another rule refuses here.
        let others = ["debug", "wait", "cluster|reset", "cluster|cancelslotmigrations"];
        if others.contains(&spec.name) {
            continue;
        }
        let before = cases.len();
        for form in ["a:", "b:", "c:"].iter().flat_map(|prefix| forms(spec, prefix)) {
            cases.push(form.words);
        }
        if cases.len() == before {
            cases.push(plain(spec).words);
        }
    }
    assert!(cases.len() > 500, "{}", cases.len());
    let (mut counts, mut wrong) = ([0; 3], Vec::new());
    for account in &accounts {
        for words in &cases {
            let head: [&[u8]; 3] = [b"ACL", b"DRYRUN", account.name.as_bytes()];
            let dry: Vec<&[u8]> = head.into_iter().chain(words.iter().map(|w| &**w)).collect();
            client.send_raw(&encode(&dry));
        }
        for words in &cases {
            let reply = client.reply();
            let request = RequestBuf::from_args(words);
            if reply.starts_with(b"-")
                || !matches!(lookup(&request.as_request()), Lookup::Command(_))
            {
                continue;
            }
            let ours = verdict(&account.policy, words);
            let same = match (ours, reply == OK) {
                ("pass", theirs) => theirs,
                ("no", theirs) => !theirs,
                (_, theirs) => theirs,
            };
            if !same {
                let words: Vec<_> = words.iter().map(|w| String::from_utf8_lossy(w)).collect();
                wrong.push(format!("{}: {words:?}: {ours}", account.name));
            }
            counts[["pass", "no", "stricter"].iter().position(|own| *own == ours).unwrap()] += 1;
        }
    }
    assert!(wrong.is_empty(), "{brand:?}: {} of {counts:?}\n{}", wrong.len(), wrong.join("\n"));
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}

#[test]
fn file_of_redis() {
    compare(Brand::Redis);
}

#[test]
fn file_of_valkey() {
    compare(Brand::Valkey);
}

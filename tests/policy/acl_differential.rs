//! Random rules and random requests: a policy decides as a server with the same ACL does.
//!
//! Owns: the written list of what differs. Never knows: why a rule is right.
use crate::support;
use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use respgate::internals::command::{self, KeyKind, Lookup, Spec, lookup};
use respgate::internals::config::{Rules, ScriptMode, ScriptRules};
use respgate::internals::policy::{Pattern, Policy, Scratch, compile};
use respgate::internals::resp::RequestBuf;
use support::choices::Choices;
use support::client::{Client, encode};
use support::forms::{Form, forms, plain};
use support::real_server::{Brand, Server};

type Words = Vec<Vec<u8>>;

const RULE_SETS: usize = 500;
const REQUESTS: usize = 60;

/// Commands that other versions put into other categories than this server does, so that rules
/// about categories may differ: the table holds those of the newest.
const OTHER_CATEGORIES: &[&str] = &["wait"];

/// Commands of which later versions want fewer arguments.
const OTHER_ARITY: &[&str] = &["command|getkeys", "command|getkeysandflags"];

/// Commands whose keys the server's ACL does not see.
const UNSEEN: &[&str] = &["debug"];

#[test]
fn globs_match_as_the_server_matches() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let mut client = server.observer();
    let mut prng = Choices::from_seed(7);
    let alphabet = ["a", "b", "c", "*", "*", "?", "[", "]", "^", "-", "\\", "\u{e9}"];
    let text = |prng: &mut Choices, letters: &[&str], most: usize| -> String {
        (0..prng.below(most + 1)).map(|_| *prng.pick(letters)).collect()
    };
    let mut cases = Vec::new();
    for _ in 0..1500 {
        let pattern = text(&mut prng, &alphabet, 9);
        let set = ["ACL", "SETUSER", "g", "reset", "+get", &format!("%RW~{pattern}")];
        client.send_raw(&encode(&set));
        for _ in 0..8 {
            // Half of the subjects are made from the pattern, so that many match.
            let subject = if prng.chance(50) {
                pattern.replace(['*', '[', ']', '^', '\\'], "").replace('?', "b")
            } else {
                text(&mut prng, &["a", "b", "c", "-", "]", "\u{e9}", "\\"], 6)
            };
            client.send_raw(&encode(&["ACL", "DRYRUN", "g", "GET", &subject]));
            cases.push((pattern.clone(), subject));
        }
    }
    let mut matched = 0;
    for (number, (pattern, subject)) in cases.iter().enumerate() {
        if number % 8 == 0 {
            assert_eq!(client.reply(), b"+OK\r\n", "{pattern}");
        }
        let expected = client.reply() == b"+OK\r\n";
        let prepared = Pattern::new(pattern.as_bytes());
        assert_eq!(prepared.matches(subject.as_bytes()), expected, "{pattern:?} {subject:?}");
        matched += usize::from(expected);
    }
    assert!(matched > cases.len() / 10, "{matched} of {}", cases.len());
}

#[test]
fn rules_mean_what_they_mean_to_the_server() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let mut client = server.observer();
    let known = known_commands(&mut client);
    let pool = Pool::new(&known);
    let mut scratch = Scratch::default();
    let mut verdicts = BTreeMap::<&str, usize>::new();
    for seed in 0..RULE_SETS {
        let mut prng = Choices::from_seed(seed as u64);
        let rules = pool.rules(&mut prng);
        let accepted = set_user(&mut client, &rules);
        let policy = policy(&rules);
        assert_eq!(policy.is_some(), accepted, "seed {seed}: {rules}");
        let Some(policy) = policy else { continue };
        let requests: Vec<Words> = (0..REQUESTS).map(|_| pool.request(&mut prng)).collect();
        for words in &requests {
            let dry: Vec<&[u8]> = [&b"ACL"[..], b"DRYRUN", b"t"]
                .into_iter()
                .chain(words.iter().map(|w| &**w))
                .collect();
            client.send_raw(&encode(&dry));
        }
        for words in &requests {
            let server = reason(&client.reply());
            let ours = judge(&policy, words, &mut scratch);
            let ours = ours.as_deref().map_or("pass", reason_of);
            *verdicts.entry(ours).or_default() += 1;
            let same = match ours {
                // The server would let it pass: its ACL does not check, or checks later.
                "own" | "sort" => server == "pass",
                "key" if UNSEEN.contains(&spec_of(words).name) => server == "pass",
                _ => server == ours,
            };
            assert!(same, "seed {seed}: {rules}\n  {}\n  {ours}, server {server}", show(words));
        }
    }
    for verdict in ["pass", "run", "key", "channel", "own", "sort"] {
        assert!(verdicts.get(verdict).is_some_and(|count| *count >= 10), "{verdicts:?}");
    }
    eprintln!("{verdicts:?}");
}

/// What random rules and requests are made of.
struct Pool {
    names: Vec<&'static str>,
    categories: Vec<&'static str>,
    forms: Vec<Form>,
}

const KEYS: [&str; 6] = ["a:1", "a:2", "b:1", "b", "c", ""];
const PATTERNS: [&str; 9] = ["a:*", "b:*", "a:?", "[ab]*", "c", "*", "a:1", "b", "*1"];
const CHANNELS: [&str; 5] = ["a:1", "b:1", "c", "__keyspace@0__:a:1", ""];

impl Pool {
    fn new(known: &[&'static Spec]) -> Self {
        let names = known.iter().map(|spec| spec.name).collect();
        let categories =
            command::Categories::NAMES.iter().map(|(name, _)| *name).take(21).collect();
        let mut all = Vec::new();
        // A container by itself is no request.
        let whole = |spec: &&&Spec| !spec.container && !OTHER_ARITY.contains(&spec.name);
        for spec in known.iter().filter(whole) {
            let own = forms(spec, "a:");
            let plain = own.is_empty().then(|| plain(spec));
            all.extend(own.into_iter().chain(plain));
        }
        Self { names, categories, forms: all }
    }

    fn rules(&self, prng: &mut Choices) -> String {
        let mut words = Vec::new();
        if prng.chance(70) {
            words.push(
                prng.pick(&["+@all", "+@read", "+@write", "allcommands", "+@all"]).to_string(),
            );
        }
        for _ in 0..prng.below(7) {
            words.push(self.word(prng));
        }
        if prng.chance(30) {
            let inner: Vec<String> = (0..prng.below(6)).map(|_| self.word(prng)).collect();
            words.push(format!("({})", inner.join(" ")));
        }
        for _ in 0..prng.below(3) {
            words.push(self.word(prng));
        }
        words.join(" ")
    }

    fn word(&self, prng: &mut Choices) -> String {
        let sign = *prng.pick(&["+", "-"]);
        match prng.weighted(&[6, 4, 8, 4, 3, 1, 1]) {
            0 => format!("{sign}{}", prng.pick(&self.names)),
            1 => format!("{sign}@{}", prng.pick(&self.categories)),
            2 => format!("~{}", prng.pick(&PATTERNS)),
            3 => format!("%{}~{}", prng.pick(&["R", "W", "RW", "r", "wr"]), prng.pick(&PATTERNS)),
            4 => format!("&{}", prng.pick(&PATTERNS)),
            5 => format!(
                "+{}|{}",
                prng.pick(&["select", "get", "SET", "config", "del"]),
                prng.pick(&KEYS)
            ),
            _ => (*prng.pick(&[
                "allkeys",
                "resetkeys",
                "allchannels",
                "RESETCHANNELS",
                "nocommands",
                "-@all",
                "+@ALL",
            ]))
            .to_owned(),
        }
    }

    fn request(&self, prng: &mut Choices) -> Words {
        let form = prng.pick(&self.forms);
        let mut words = form.words.clone();
        for (place, kind) in &form.places {
            if prng.chance(60) {
                words[*place] = match kind {
                    KeyKind::Key => prng.pick(&KEYS).as_bytes().into(),
                    KeyKind::Channel | KeyKind::ShardChannel => {
                        prng.pick(&CHANNELS).as_bytes().into()
                    }
                    KeyKind::KeyPattern | KeyKind::ChannelPattern | KeyKind::KeyPrefix => {
                        prng.pick(&PATTERNS).as_bytes().into()
                    }
                };
            }
        }
        words
    }
}

/// The commands of the table that this server has, in the same categories.
fn known_commands(client: &mut Client) -> Vec<&'static Spec> {
    let mut categories = BTreeMap::<String, BTreeSet<String>>::new();
    for category in client.ask_text(&["ACL", "CAT"]).split_whitespace().filter(|w| is_name(w)) {
        for name in
            client.ask_text(&["ACL", "CAT", category]).split_whitespace().filter(|w| is_name(w))
        {
            categories.entry(name.to_owned()).or_default().insert(category.to_owned());
        }
    }
    let mut known = Vec::new();
    let mut others = Vec::new();
    for (name, theirs) in &categories {
        let spec = command::by_name(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let ours: BTreeSet<String> = spec.categories.names().map(str::to_owned).collect();
        if ours == *theirs {
            known.push(spec);
        } else {
            others.push(name.as_str());
        }
    }
    assert_eq!(others, OTHER_CATEGORIES);
    assert!(known.len() > 200);
    known
}

/// Not a length or a count of the reply's own.
fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn set_user(client: &mut Client, rules: &str) -> bool {
    let words: Vec<&str> =
        ["ACL", "SETUSER", "t", "reset"].into_iter().chain(rules.split_whitespace()).collect();
    client.send_raw(&encode(&words));
    let reply = client.reply();
    assert!(reply == b"+OK\r\n" || reply.starts_with(b"-ERR Error in ACL SETUSER"), "{rules}");
    reply == b"+OK\r\n"
}

fn policy(acl: &str) -> Option<Policy> {
    let scripts = ScriptRules { mode: Some(ScriptMode::DeclaredKeys), ..ScriptRules::default() };
    compile(&Rules { acl: Some(acl.to_owned()), scripts, ..Rules::default() }).ok()
}

fn judge(policy: &Policy, words: &[Vec<u8>], scratch: &mut Scratch) -> Option<String> {
    let request = RequestBuf::from_args(words);
    let request = request.as_request();
    let lookup = lookup(&request);
    assert!(matches!(lookup, Lookup::Command(_)), "{}", show(words));
    let refusal = policy.decide(lookup, &request, 0, scratch).err()?;
    let mut text = BytesMut::new();
    refusal.write_text(&request, &mut text);
    Some(String::from_utf8(text.to_vec()).unwrap())
}

fn spec_of(words: &[Vec<u8>]) -> &'static Spec {
    let request = RequestBuf::from_args(words);
    let Lookup::Command(spec) = lookup(&request.as_request()) else { panic!("{}", show(words)) };
    spec
}

/// Our words, and those of `ACL DRYRUN`, in one.
fn reason_of(text: &str) -> &'static str {
    match text {
        _ if text.contains("respgate") => "own",
        _ if text.contains("option of SORT") => "sort",
        _ if text.contains("permissions to run") => "run",
        _ if text.contains("one of the keys") || text.contains("' key") => "key",
        _ if text.contains("one of the channels") || text.contains("' channel") => "channel",
        _ => panic!("{text}"),
    }
}

fn reason(reply: &[u8]) -> &'static str {
    if reply == b"+OK\r\n" {
        "pass"
    } else {
        reason_of(&reply.escape_ascii().to_string().replace("\\'", "'"))
    }
}

fn show(words: &[Vec<u8>]) -> String {
    words
        .iter()
        .map(|word| format!("{:?}", word.escape_ascii().to_string()))
        .collect::<Vec<_>>()
        .join(" ")
}

//! Rules, a command, the verdict: cases as data (`tests/policy/cases/*.txt`), judged by a policy and, where
//! the words are the server's own, by a real server under the same ACL.
//!
//! Owns: the notation of the cases. Never knows: what any command means.
//!
//! ```text
//! acl: +@all ~app1:*               rules for the lines that follow (also `preset: name`, `default`)
//! GET app1:x => pass               a command and its verdict
//! GET app2:x => key                the server's words about keys (`channel`: about channels)
//! FLUSHALL => run flushall         … about a command that the user may not run
//! FOO => ERR unknown command …     any other words, to the byte
//! strict: PFMERGE app2:x => key    the server itself would let this pass
//! ```
use crate::support;
use std::path::Path;

use bytes::BytesMut;
use respgate::internals::command::lookup;
use respgate::internals::config::{Rules, ScriptMode, ScriptRules};
use respgate::internals::policy::{Policy, Scratch, compile};
use respgate::internals::resp::RequestBuf;
use support::client::{Client, encode};
use support::real_server::{Brand, Server};

/// One line of a file.
#[derive(Debug)]
struct Case {
    place: String,
    rules: Rules,
    words: Vec<Vec<u8>>,
    /// Nothing when it passes.
    refusal: Option<Vec<u8>>,
    strict: bool,
}

#[test]
fn verdicts() {
    let mut scratch = Scratch::default();
    let mut wrong = Vec::new();
    for case in cases() {
        let policy = compile(&case.rules).unwrap_or_else(|e| panic!("{}: {e:?}", case.place));
        let verdict = judge(&policy, &case.words, &mut scratch);
        if verdict != case.refusal {
            wrong.push(format!("{}\n    is {}", case.place, show(verdict.as_ref())));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn server_decides_the_same() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let mut admin = server.observer();
    let mut wrong = Vec::new();
    for case in cases() {
        let (None, Some(acl)) = (&case.rules.preset, &case.rules.acl) else { continue };
        let own = case.refusal.as_ref().is_some_and(|text| contains(text, b"respgate"));
        let mut set: Vec<Vec<u8>> = ["ACL", "SETUSER", "t", "reset"].map(Into::into).into();
        set.extend(acl.split_whitespace().map(Into::into));
        set.extend(["on", "nopass"].map(Into::into));
        admin.send_raw(&encode(&set));
        assert_eq!(admin.reply(), b"+OK\r\n", "{}", case.place);
        let mut client = Client::connect(&server.socket()).unwrap();
        assert_eq!(client.ask(&["AUTH", "t", "x"]), b"+OK\r\n");
        client.send_raw(&encode(&case.words));
        let reply = client.reply();
        let denied = reply.starts_with(b"-NOPERM") || contains(&reply, b"denied due to");
        let same = match &case.refusal {
            // What only a proxy refuses, the server lets pass as far as its ACL goes.
            Some(_) if own || case.strict => !denied,
            Some(text) => reply == [b"-", &text[..], b"\r\n"].concat(),
            None => !denied,
        };
        if !(same || case.strict && case.refusal.is_none()) {
            wrong.push(format!("{}\n    server: {}", case.place, show(Some(&reply))));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn judge(policy: &Policy, words: &[Vec<u8>], scratch: &mut Scratch) -> Option<Vec<u8>> {
    let request = RequestBuf::from_args(words);
    let request = request.as_request();
    let refusal = policy.decide(lookup(&request), &request, 0, scratch).err()?;
    let mut text = BytesMut::new();
    refusal.write_text(&request, &mut text);
    Some(text.to_vec())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn show(text: Option<&Vec<u8>>) -> String {
    text.map_or_else(|| "pass".to_owned(), |text| text.escape_ascii().to_string())
}

fn cases() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/cases");
    let mut files: Vec<_> =
        directory.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let cases: Vec<Case> = files
        .iter()
        .flat_map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            parse(&name, &std::fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(cases.len() > 100, "the cases are not found");
    cases
}

/// The cases are about the ACL alone: other tests cover what scripts.mode refuses.
fn scripts() -> ScriptRules {
    ScriptRules { mode: Some(ScriptMode::DeclaredKeys), ..ScriptRules::default() }
}

fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut rules = Rules::default();
    let mut cases = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}: {line}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "default" {
            rules = Rules::default();
        } else if let Some(acl) = line.strip_prefix("acl:") {
            rules =
                Rules { acl: Some(acl.trim().to_owned()), scripts: scripts(), ..Rules::default() };
        } else if let Some(preset) = line.strip_prefix("preset:") {
            let (name, acl) = preset.trim().split_once(' ').unwrap_or_else(|| (preset.trim(), ""));
            let acl = (!acl.is_empty()).then(|| acl.to_owned());
            let preset = Some(name.to_owned());
            rules = Rules { preset, acl, scripts: scripts(), ..Rules::default() };
        } else {
            let (command, verdict) = line.split_once(" => ").unwrap_or_else(|| panic!("{place}"));
            let strict = command.strip_prefix("strict: ");
            cases.push(Case {
                rules: rules.clone(),
                words: split(strict.unwrap_or(command)),
                refusal: refusal(verdict),
                strict: strict.is_some(),
                place,
            });
        }
    }
    cases
}

fn refusal(verdict: &str) -> Option<Vec<u8>> {
    let user = "NOPERM this user has no permissions to";
    let text = match verdict.split_once(' ') {
        None if verdict == "pass" => return None,
        None if verdict == "key" => format!("{user} access one of the keys used as arguments"),
        None if verdict == "channel" => {
            format!("{user} access one of the channels used as arguments")
        }
        Some(("run", name)) => format!("{user} run the '{name}' command"),
        // A dot at the end of the line keeps the blank before it.
        _ => return Some(verdict.strip_suffix('$').unwrap_or(verdict).as_bytes().to_vec()),
    };
    Some(text.into_bytes())
}

/// Words between blanks; `\xNN` is a byte, `\e` an empty word.
fn split(command: &str) -> Vec<Vec<u8>> {
    command
        .split(' ')
        .map(|word| {
            let mut bytes = Vec::new();
            let mut rest = word;
            while let Some((before, after)) = rest.split_once("\\x") {
                bytes.extend_from_slice(before.as_bytes());
                bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
                rest = &after[2..];
            }
            bytes.extend_from_slice(rest.as_bytes());
            if word == "\\e" { Vec::new() } else { bytes }
        })
        .collect()
}

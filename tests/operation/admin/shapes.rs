//! The answers of every verb for programs, as `deploy/docs/command-line.md` lists them.
//!
//! Owns: that list, the scenes in which each member is seen. Never knows: what a member means.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::house::{AdminState, respgate};
use super::support::client::{Client, Target};
use super::support::real_server::wait_until;

/// Objects whose members are names of something; and those of which an answer has some members only.
const NAMED: [&str; 7] = [
    "metrics ",
    "health checks",
    "wait checks",
    "status upstream.connections",
    "check summary",
    "check --connect summary",
    "logs recent events[]",
];
const INSIGHT: &str = "[slowlog]\nthreshold = \"1ms\"\n[hotkeys]\nsample = 1\nbig = \"1KiB\"\n\
    [[audit.sink]]\ntype = \"file\"\npath = \"audit.log\"\n\
    [[audit.sink]]\ntype = \"syslog\"\naddress = \"unix:/nonexistent/log\"\n";

/// What each answer of a verb has: the path of a member, and the kinds of its values.
#[derive(Default)]
struct Answers(BTreeMap<String, BTreeMap<String, BTreeSet<&'static str>>>);

impl Answers {
    /// Takes in an answer; `verb` as it is documented.
    fn note(&mut self, verb: &str, answer: &Value) {
        let members = self.0.entry(verb.to_owned()).or_default();
        collect(verb, "", answer, members);
    }

    fn page(&self) -> String {
        let mut page = String::new();
        for (verb, members) in &self.0 {
            let program = if verb.starts_with("an") { "" } else { "respgate " };
            let _ = write!(page, "\n### {program}{verb}\n\n```\n");
            for (member, kinds) in members {
                let kinds: Vec<&str> = kinds.iter().copied().collect();
                let member = if member.is_empty() { "(the answer)" } else { member };
                let _ = writeln!(page, "{member}: {}", kinds.join(" or "));
            }
            page.push_str("```\n");
        }
        page + "\n"
    }
}

fn collect(
    verb: &str,
    path: &str,
    value: &Value,
    into: &mut BTreeMap<String, BTreeSet<&'static str>>,
) {
    let kind = match value {
        Value::Object(members) if !members.is_empty() => {
            let named = NAMED.contains(&format!("{verb} {path}").as_str());
            for (name, value) in members {
                let own = ["time", "level", "target", "message"].contains(&name.as_str());
                let name = if named && !own { "*" } else { name };
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                collect(verb, &path, value, into);
            }
            return;
        }
        Value::Array(elements) if !elements.is_empty() => {
            let path = format!("{path}[]");
            elements.iter().for_each(|element| collect(verb, &path, element, into));
            return;
        }
        // Other answers show what is in it.
        Value::Object(_) | Value::Array(_) => return,
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "number",
        Value::String(_) => "text",
    };
    into.entry(path.to_owned()).or_default().insert(kind);
}

struct Scene {
    house: AdminState,
    answers: Answers,
    config: String,
}

impl Scene {
    /// The answer of a verb of the running respgate.
    fn ask(&mut self, verb: &str, words: &[&str]) -> Value {
        let answer = self.house.json(words);
        self.answers.note(verb, &answer);
        answer
    }

    /// The answer of a verb that needs no running respgate.
    fn run(&mut self, verb: &str, words: &[&str]) {
        let (_, printed) = respgate(words, &[]);
        // Standard error comes after the answer.
        let mut answers = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
        let answer = answers.next().unwrap_or_else(|| panic!("{words:?}: {printed}"));
        let answer = answer.unwrap_or_else(|error| panic!("{words:?}: {error}: {printed}"));
        self.answers.note(verb, &answer);
    }

    /// Flags precede the words of the command.
    fn explain(&mut self, command: &str) {
        let socket = self.house.socket.clone();
        self.run("explain", &["explain", "--json", "--socket", &socket, command]);
    }

    fn path(&self, name: &str) -> String {
        self.house.proxy.directory().join(name).to_str().unwrap().to_owned()
    }
}

/// Verbs of a respgate that has something to report about each of its parts.
fn ask_while_all_is_well(scene: &mut Scene) {
    let mut client = scene.house.proxy.client();
    assert_eq!(client.ask_text(&["CLIENT", "SETNAME", "worker"]), "+OK");
    assert_eq!(client.ask_text(&["SET", "app:a", &"x".repeat(2000)]), "+OK");
    let slow = "for i = 1, 3000000 do end";
    assert_eq!(client.ask_text(&["EVAL", slow, "1", "app:a"]), "$-1");
    assert_eq!(client.ask_text(&["EVAL", slow, "0"]), "$-1");
    scene.house.proxy.reconfigure("+@all ~*", "+@all -flushall ~*");
    scene.ask("reload", &["reload"]);
    assert!(client.ask_text(&["FLUSHALL"]).starts_with("-NOPERM"));
    let path = scene.house.unix_listener();
    let mut other = Client::connect(&Target::Unix(path)).unwrap();
    assert_eq!(other.ask_text(&["PING"]), "+PONG");
    scene.ask("status", &["status"]);
    scene.ask("block", &["block", "--command", "lpush", "--for", "1h"]);
    scene.ask("block", &["block", "--user", "stranger"]);
    scene.ask("log-level", &["log-level", "debug", "--for", "1h"]);
    scene.ask("log-level", &["log-level", "default"]);
    scene.ask("log-level", &["log-level", "debug", "--for", "1h"]);
    scene.ask("status", &["status"]);
    scene.ask("unblock", &["unblock", "--all"]);
    scene.ask("clients", &["clients"]);
    scene.ask("health", &["health", "ready"]);
    scene.ask("wait", &["wait", "--for", "upstream"]);
    scene.ask("metrics", &["metrics"]);
    scene.ask("logs recent", &["logs", "recent"]);
    scene.ask("slowlog", &["slowlog"]);
    scene.ask("hotkeys", &["hotkeys"]);
    scene.ask("hotkeys --big", &["hotkeys", "--big"]);
    scene.ask("slowlog reset", &["slowlog", "reset"]);
    scene.ask("hotkeys reset", &["hotkeys", "reset"]);
    scene.ask("audit recent", &["audit", "recent"]);
    scene.ask("audit recent --since", &["audit", "recent", "--since", "0"]);
    scene.explain("FLUSHALL");
    scene.explain("SORT app:a BY w_* STORE app:b");
    scene.explain("SCAN 0 MATCH app:*");
    scene.house.proxy.reconfigure("[policy]", "[policy]\nmode = \"observe\"");
    scene.ask("reload", &["reload"]);
    assert_eq!(client.ask_text(&["FLUSHALL"]), "+OK");
    scene.explain("FLUSHALL");
    scene.ask("learn", &["learn"]);
    scene.house.proxy.reconfigure("[policy]\nmode = \"observe\"", "[policy]");
    scene.ask("reload", &["reload"]);
    scene.ask("disconnect", &["disconnect", "--name", "worker"]);
}

/// Verbs that read files or the server.
fn run_the_others(scene: &mut Scene) {
    let config = scene.config.clone();
    let own = ["--config", config.as_str()];
    let run = |scene: &mut Scene, verb: &str, words: &[&str]| {
        scene.run(verb, &[words, &own].concat());
    };
    run(scene, "check", &["check", "--json"]);
    run(scene, "check --connect", &["check", "--connect", "--json"]);
    run(scene, "acl", &["acl", "--json"]);
    run(scene, "acl --diff", &["acl", "--diff", "--json"]);
    run(scene, "doctor", &["doctor", "--json"]);
    run(scene, "test --format json", &["test", "redis-security", "--format", "json"]);
    scene.run("explain", &["explain", "--json", "--config", &config, "GET a"]);
    scene.run("version", &["version", "--json"]);
    let (dev, log) = (scene.path("dev"), scene.path("audit.log"));
    scene.run("certs dev", &["certs", "dev", &dev, "--json"]);
    let crt = format!("{dev}/server.crt");
    let (key, ca) = (format!("{dev}/server.key"), format!("{dev}/ca.crt"));
    scene.run("certs inspect", &["certs", "inspect", &crt, &key, &ca, "--json"]);
    scene.run("certs inspect", &["certs", "inspect", &crt, "--for", "client", "--json"]);
    scene.run("audit verify", &["audit", "verify", "--json", &log]);
    let broken = scene.path("broken.log");
    std::fs::write(&broken, "{}\n").unwrap();
    scene.run("audit verify", &["audit", "verify", "--json", &broken]);
}

/// The verbs that report faults.
fn ask_while_something_is_wrong(scene: &mut Scene) {
    let text = std::fs::read_to_string(&scene.config).unwrap();
    std::fs::write(&scene.config, text.replace("[policy]", "[policy]\nnonsense = 1")).unwrap();
    scene.ask("reload", &["reload"]);
    let config = scene.config.clone();
    scene.run("an invalid configuration", &["check", "--json", "--config", &config]);
    std::fs::write(&scene.config, &text).unwrap();
    scene.ask("reload", &["reload"]);
    scene.run("any other failure", &["status", "--json", "--socket", "/nonexistent"]);
    let at_a_place = text.replace("[policy]", "[policy]\npreset = \"cahce\"");
    std::fs::write(&scene.config, at_a_place).unwrap();
    scene.ask("reload", &["reload"]);
    scene.house.server.stop();
    scene.house.await_status(|status| status["upstream"]["last_error"]["code"].is_string());
    scene.ask("status", &["status"]);
    std::fs::write(&scene.config, &text).unwrap();
    scene.run("check --connect", &["check", "--connect", "--json", "--config", &config]);
    scene.run("doctor", &["doctor", "--json", "--config", &config]);
    // A client keeps the drain from its end.
    let _client = scene.house.proxy.client();
    wait_until("the client is counted", || scene.house.json(&["clients"])["count"] == 1);
    scene.ask("drain", &["drain"]);
    scene.ask("shutdown", &["shutdown", "--now"]);
}

#[test]
fn answers_page_lists_the_members_of_every_answer_and_no_others() {
    let house = AdminState::new(INSIGHT);
    let config = house.proxy.configuration_file().to_str().unwrap().to_owned();
    let mut scene = Scene { house, answers: Answers::default(), config };
    ask_while_all_is_well(&mut scene);
    run_the_others(&mut scene);
    ask_while_something_is_wrong(&mut scene);
    compare("answers", &scene.answers.page(), "answers_page_lists");
}

/// Whether documents are to be written, not compared.
fn writes() -> bool {
    std::env::var_os("RESPGATE_WRITE_DOCUMENTS").is_some()
}

/// Compares a part of `deploy/docs/command-line.md` with what the program prints.
fn compare(part: &str, page: &str, test: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/docs/command-line.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let begin = format!("<!-- {part}: written by tests/operation/admin/shapes.rs -->\n");
    let end = format!("<!-- end of {part} -->");
    let (head, rest) = text.split_once(&begin).unwrap();
    let (own, tail) = rest.split_once(&end).unwrap();
    if writes() {
        return std::fs::write(file, [head, &begin, page, &end, tail].concat()).unwrap();
    }
    let first = own.lines().zip(page.lines()).find(|(own, page)| own != page);
    assert!(
        own == page,
        "deploy/docs/command-line.md is not up to date, first at {first:?}; \
         run: RESPGATE_WRITE_DOCUMENTS=1 cargo test --test operation admin:: {test} -- --test-threads=1"
    );
}

/// Each verb with its help, those of other verbs too.
pub fn verbs(path: &[&str], into: &mut Vec<(String, String)>) {
    let (code, help) = respgate(&[path, &["--help"]].concat(), &[]);
    assert_eq!(code, 0, "{path:?}: {help}");
    into.push((path.join(" "), help.clone()));
    let Some((_, commands)) = help.split_once("\nCommands:\n") else { return };
    for line in commands.lines().take_while(|line| !line.is_empty()) {
        let name = line.strip_prefix("  ").filter(|line| !line.starts_with(' '));
        let name = name.and_then(|line| line.split_whitespace().next());
        // `get` is the verb itself.
        if let Some(name) = name.filter(|name| !["help", "get"].contains(name)) {
            verbs(&[path, &[name]].concat(), into);
        }
    }
}

/// Number and meaning of each exit code that a help names.
fn exit_codes(help: &str) -> Vec<(u8, String)> {
    let (_, codes) = help.split_once("\nExit codes:\n").unwrap();
    let mut found: Vec<(u8, String)> = Vec::new();
    for line in codes.lines().take_while(|line| !line.is_empty()) {
        match line.trim().split_once("  ") {
            Some((code, meaning)) if code.len() == 1 => {
                found.push((code.parse().unwrap(), meaning.trim().to_owned()));
            }
            // A meaning goes on in the next line.
            _ => found.last_mut().unwrap().1 += &format!(" {}", line.trim()),
        }
    }
    found
}

#[test]
fn answers_page_has_every_verb_that_prints_json_and_every_exit_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/docs/command-line.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    verbs(&[], &mut all);
    assert!(all.len() > 30, "{all:?}");
    let mut page = "\n| verb | 0 | 1 | 2 | 3 | 4 |\n|---|---|---|---|---|---|\n".to_owned();
    for (verb, help) in all.iter().skip(1) {
        if help.contains("\n      --json") || help.contains("\n      --format") {
            let name = if verb.starts_with("test") { "test --format json" } else { verb };
            if !text.contains(&format!("\n### respgate {name}\n")) && !writes() {
                missing.push(verb.clone());
            }
        }
        let codes = exit_codes(help);
        let of = |code| {
            let own = codes.iter().find(|(own, _)| *own == code);
            own.map_or(String::new(), |(_, meaning)| meaning.replace('|', "\\|"))
        };
        assert!(codes.iter().all(|(code, _)| *code <= 4), "{verb}: {codes:?}");
        let two = if of(2) == "the command line is invalid" { String::new() } else { of(2) };
        let _ =
            writeln!(page, "| `{verb}` | {} | {} | {two} | {} | {} |", of(0), of(1), of(3), of(4));
        let numbers: Vec<u8> = codes.iter().map(|(code, _)| *code).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{verb}: {numbers:?}");
    }
    assert_eq!(missing, Vec::<String>::new(), "verbs that are not on the page");
    compare("exit codes", &format!("{page}\n"), "answers_page_has");
}

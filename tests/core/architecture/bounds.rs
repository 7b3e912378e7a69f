//! Bounds are declared in `src/base/limits`, where their relations are asserted.
//!
//! Owns: the rule and its exceptions. Never knows: the numbers.

use super::source::{Source, Token};

/// Constants that look like bounds and are none of memory, queues, counts or waiting.
const EXCEPTIONS: &[(&str, &[&str], &str)] = &[
    ("src/audit/mod.rs", &["KEY_BYTES"], "what a key for hashes is: its least and greatest length"),
    ("src/cli/certs_dev.rs", &["DAY"], "a unit"),
    ("src/cli/connect.rs", &["WORDS_MAX"], "the length of a line of text"),
    ("src/cli/demo/screen.rs", &["CHARACTERS_MAX"], "the length of a line of text"),
    ("src/cli/demo/stage.rs", &["STEPS_MAX", "LIFETIME"], "what the demonstration is made of"),
    ("src/cli/demo/tour.rs", &["CONNECTIONS_MAX"], "a setting that the demonstration shows"),
    ("src/command/dictionary.rs", &["NAME_BYTES_MAX"], "what a command's name is"),
    ("src/command/lookup.rs", &["NAME_BYTES_MAX"], "the longest name of the table"),
    (
        "src/config/address.rs",
        &["UNIX_PATH_BYTES_MAX", "HOST_BYTES_MAX", "LABEL_BYTES_MAX"],
        "forms",
    ),
    ("src/config/audit.rs", &["QUEUE_BYTES", "WAIT", "FILE_BYTES"], "defaults of settings"),
    ("src/config/commands.rs", &["NAME_BYTES_MAX"], "what a command's name is"),
    ("src/config/listener_tls.rs", &["HANDSHAKE_TIMEOUT"], "default of a setting"),
    ("src/config/nearest.rs", &["CHARACTERS_MAX"], "the longest word that a suggestion compares"),
    ("src/config/policy.rs", &["BYTES_MAX"], "the length of a name"),
    (
        "src/config/quoting.rs",
        &["CHARACTERS_MAX", "WORD_CHARACTERS_MAX", "SHORT_CHARACTERS_MAX", "CHANGES_MAX"],
        "what a value looks like that errors may repeat",
    ),
    ("src/config/rate.rs", &["MAX_DELAY"], "default of a setting"),
    ("src/config/section.rs", &["PATH_BYTES_MAX", "WORD_BYTES_MAX"], "forms"),
    ("src/config/server_auth.rs", &["TIMEOUT", "REFRESH"], "defaults of settings"),
    ("src/config/upstream.rs", &["OUTAGE_WAIT"], "default of a setting"),
    ("src/policy/compile.rs", &["BYTES_MAX"], "the length of a line of text"),
    ("src/policy/refusal.rs", &["NAME_BYTES_MAX"], "the length of a line of text"),
    ("src/policy/guard/prologue.rs", &["COMPARED_MAX"], "the form of a generated script"),
    ("src/policy/names/prefix.rs", &["DATABASE_DIGITS_MAX"], "digits of a number"),
    ("src/policy/names/push.rs", &["ELEMENTS_MAX"], "the form of a frame"),
    ("src/policy/overview.rs", &["NAMED_MAX"], "the length of a line of text"),
    ("src/resp/number.rs", &["DIGITS_MAX"], "digits of a number"),
    ("src/resp/request.rs", &["FIRST_LINE_BYTES"], "the form of a frame"),
    ("src/resp/request_scanner.rs", &["BULK_END_BYTES"], "the form of a frame"),
    ("src/security/copies.rs", &["DAY"], "a unit"),
    ("src/security/judge.rs", &["LIFETIME_MAX"], "a rule that the security test holds"),
    ("src/session/hello.rs", &["DATABASE_MAX"], "the greatest number that Redis reads"),
    ("src/tls/identity.rs", &["NAMES_MAX"], "the length of a line of text"),
    ("src/tls/inspect/certificate.rs", &["NAMES_MAX", "NAME_CHARS_MAX"], "the length of a text"),
];

/// Files with literal durations or sizes that bound nothing.
const LITERALS: &[(&str, &str)] = &[
    ("src/cli/certs_dev.rs", "a unit"),
    ("src/cli/demo/stage.rs", "what the demonstration is made of"),
    ("src/config/audit.rs", "defaults of settings"),
    ("src/config/listener.rs", "defaults of settings"),
    ("src/config/listener_tls.rs", "default of a setting"),
    ("src/config/rate.rs", "default of a setting"),
    ("src/config/server_auth.rs", "defaults of settings"),
    ("src/config/telemetry.rs", "default of a setting"),
    ("src/config/units.rs", "units"),
    ("src/config/upstream.rs", "defaults of settings"),
    ("src/security/copies.rs", "a unit"),
    ("src/security/judge.rs", "a rule that the security test holds"),
    ("src/session/client_line.rs", "a figure of Redis that CLIENT LIST repeats"),
];

/// Durations and sizes that are written where they are used: `from_secs(5)`, `1 << 20`, `64 * 1024`.
pub fn literals(source: &Source) -> Vec<(usize, String)> {
    let excepted = LITERALS.iter().any(|(path, _)| *path == source.path);
    if excepted || source.path.starts_with("src/base/limits/") {
        return Vec::new();
    }
    let number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let constructors = ["from_secs", "from_millis", "from_micros", "from_nanos", "from_mins"];
    let written = |at: &[Token]| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| at.get(i).map_or("", |token| token.text.as_str()));
        let duration = constructors.contains(&a) && b == "(" && number(c);
        let shifted = |text: &str| text.parse().is_ok_and(|bits: u32| (16..=40).contains(&bits));
        let size = number(a) && b == "<" && c == "<" && shifted(d);
        duration || size || number(a) && b == "*" && c == "1024"
    };
    let found = (0..source.live.len()).filter(|at| written(&source.live[*at..]));
    found
        .map(|at| {
            (
                source.live[at].line,
                "a literal duration or size; name it in src/base/limits".to_owned(),
            )
        })
        .collect()
}

/// Exceptions for files without such literals.
pub fn outdated_literals(sources: &[Source]) -> Vec<String> {
    let needs = |path: &str| {
        let source = sources.iter().find(|source| source.path == path);
        source.is_some_and(|source| {
            let elsewhere = Source::new("src/elsewhere.rs", &source.text);
            !literals(&elsewhere).is_empty()
        })
    };
    let idle = LITERALS.iter().filter(|(path, _)| !needs(path));
    idle.map(|(path, _)| format!("{path}: excepted and has no literal duration or size")).collect()
}

/// Constants of this file that bound something: by their name, or because they are durations.
pub fn stray(source: &Source) -> Vec<(usize, String)> {
    if source.path.starts_with("src/base/limits/") {
        return Vec::new();
    }
    let excepted = EXCEPTIONS.iter().filter(|(path, ..)| *path == source.path);
    let excepted: Vec<&str> = excepted.flat_map(|(_, names, _)| *names).copied().collect();
    let found = declared(source).into_iter().filter(|(_, name)| !excepted.contains(&name.as_str()));
    found.map(|(line, name)| (line, format!("{name}: a bound outside src/base/limits"))).collect()
}

/// Exceptions for constants that do not exist.
pub fn outdated(sources: &[Source]) -> Vec<String> {
    let exists = |path: &str, name: &str| {
        let source = sources.iter().find(|source| source.path == path);
        source.is_some_and(|source| declared(source).iter().any(|(_, found)| found == name))
    };
    let all = EXCEPTIONS.iter().flat_map(|(path, names, _)| names.iter().map(move |n| (path, n)));
    all.filter(|(path, name)| !exists(path, name))
        .map(|(path, name)| format!("{path}: {name} is excepted and does not exist"))
        .collect()
}

fn declared(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (i, token) in source.live.iter().enumerate().filter(|(_, token)| token.text == "const") {
        let [name, colon, rest @ ..] = &source.live[i + 1..] else { continue };
        let generic = i > 0 && matches!(source.live[i - 1].text.as_str(), "<" | ",");
        let declared =
            !generic && colon.text == ":" && name.text.chars().all(|c| !c.is_lowercase());
        let duration = rest.iter().take_while(|t| t.text != "=").any(|t| t.text == "Duration");
        let parts: Vec<&str> = name.text.split('_').collect();
        let bound = parts.contains(&"MAX")
            || matches!(parts.last(), Some(&("BYTES" | "TIMEOUT" | "PATIENCE")));
        if declared && name.text != "_" && (bound || duration) {
            found.push((token.line, name.text.clone()));
        }
    }
    found
}

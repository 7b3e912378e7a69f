//! Errors for clients are written in one table, and denials in the policy's.
//!
//! Owns: the rule and its exceptions. Never knows: the texts.

use super::source::Source;

const CODES: &[&str] = &[
    "BUSY",
    "DENIED",
    "ERR",
    "EXECABORT",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOAUTH",
    "NOPERM",
    "NOPROTO",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNKILLABLE",
    "WRONGPASS",
    "WRONGTYPE",
];

/// Where errors are written.
const TABLES: &[&str] =
    &["src/base/client_text.rs", "src/policy/fault.rs", "src/policy/refusal.rs"];

/// Errors of the server that code must recognize or repeat.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("src/policy/guard/globals.rs", "errors of the server's Lua, repeated inside a guarded script"),
    ("src/policy/names/error_text.rs", "errors of the server that name a key"),
    ("src/session/interface.rs", "the code before a message of the protocol"),
    ("src/session/script_cache.rs", "errors of the server about a script"),
];

/// Lines with a literal that begins with an error's code and has more text, unless it is only compared with.
pub fn stray(source: &Source) -> Vec<(usize, String)> {
    let excepted = EXCEPTIONS.iter().map(|(path, _)| path).chain(TABLES);
    if excepted.into_iter().any(|path| *path == source.path) || source.live.is_empty() {
        return Vec::new();
    }
    let live = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = live.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with("//"));
    lines.filter_map(|(line, n)| text(line).map(|code| (n, code))).map(fault).collect()
}

fn fault((line, code): (usize, &str)) -> (usize, String) {
    (line, format!("a text for clients ({code} …) outside src/base/client_text.rs"))
}

fn text(line: &str) -> Option<&'static str> {
    let compared = ["starts_with(b", "starts_with(", "strip_prefix(b", "strip_prefix("];
    line.match_indices('"').find_map(|(at, _)| {
        let (before, literal) = (&line[..at], &line[at + 1..]);
        let literal = literal.strip_prefix('-').unwrap_or(literal);
        let code = CODES.iter().find(|code| {
            let rest = literal.strip_prefix(**code).and_then(|rest| rest.strip_prefix(' '));
            rest.is_some_and(|rest| !rest.is_empty())
        })?;
        let is_compared = compared.iter().any(|call| before.ends_with(call));
        (!is_compared).then_some(*code)
    })
}

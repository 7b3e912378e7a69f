//! What is written before a script's text.
//!
//! Owns: [`Guard`], [`Guarded`]. Never knows: sessions, connections, digests.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use super::globals::{self, Globals};
use super::{lua, rules, table, words};
use crate::base::client_text;
use crate::command::Dictionary;
use crate::config::{Charset, Encoding, KeyMode, OnExceed, OnMissing, Rules, ScriptMode};
use crate::policy::role::Role;

/// What every guarded script runs first.
const FAST: &str = include_str!("fast.lua");
/// What is made of a call that is not one of the simplest.
const COLD: &str = include_str!("cold.lua");
/// Names of commands that a call is compared with one by one.
const COMPARED_MAX: usize = 8;
/// What of `redis` a script keeps besides `call` and `pcall`.
const KEPT: [&str; 22] = [
    "LOG_DEBUG",
    "LOG_NOTICE",
    "LOG_VERBOSE",
    "LOG_WARNING",
    "REDIS_VERSION",
    "REDIS_VERSION_NUM",
    "REPL_ALL",
    "REPL_AOF",
    "REPL_NONE",
    "REPL_REPLICA",
    "REPL_SLAVE",
    "SERVER_NAME",
    "SERVER_VERSION",
    "VALKEY_VERSION",
    "VALKEY_VERSION_NUM",
    "error_reply",
    "log",
    "replicate_commands",
    "set_repl",
    "setresp",
    "sha1hex",
    "status_reply",
];

/// What one policy puts before scripts. Built once, then only read.
#[derive(Debug)]
pub struct Guard {
    /// Everything that is the same for every script; what differs between servers is marked.
    cold: Box<str>,
    /// The prologue in the words of each kind of server.
    worded: [OnceLock<Box<str>>; globals::DIALECTS],
    fast: Box<str>,
    /// The commands that need no more than their key, in lower case.
    simple: HashMap<&'static str, u8>,
    /// What is to be taken off the names in `KEYS`.
    prefix: Box<[u8]>,
    id: u64,
}

/// A guard before the scripts of one server.
#[derive(Clone, Debug)]
pub struct Guarded {
    guard: Arc<Guard>,
    globals: Arc<Globals>,
    /// `limits.max_repeated` of the client.
    repeats: usize,
}

/// Whether the rules of a policy can be kept inside scripts.
///
/// # Errors
///
/// With one that cannot.
pub(in crate::policy) fn obstacle(
    rules: &Rules,
    role: &Role,
    observes: bool,
) -> Result<(), &'static str> {
    let ttl = &rules.ttl;
    let rejects = ttl.on_missing == OnMissing::Reject
        || (ttl.max.is_some() && ttl.on_exceed == OnExceed::Reject);
    if observes {
        Err("rules that are only observed")
    } else if !role.selectors.is_empty() {
        Err("an acl with selectors")
    } else if rules.values.encoding != Encoding::Any {
        Err("values.encoding")
    } else if rules.keys.charset == Charset::Utf8 {
        Err("keys.charset = \"utf8\"")
    } else if rejects {
        Err("a ttl rule that rejects")
    } else {
        Ok(())
    }
}

/// What keeps a configuration from taking effect.
pub(in crate::policy) fn unguardable(
    rules: &Rules,
    role: &Role,
    observes: bool,
) -> Option<&'static str> {
    let asked = rules.scripts.mode == Some(ScriptMode::Guarded);
    obstacle(rules, role, observes).err().filter(|_| asked)
}

impl Guard {
    /// For rules to which there is no [`obstacle`].
    pub(in crate::policy) fn new(rules: &Rules, role: &Role, dictionary: &Dictionary) -> Self {
        let rewrites = rules.keys.mode == KeyMode::Rewrite;
        let prefix = rules.keys.prefix.as_deref().filter(|_| rewrites).unwrap_or_default();
        let names = rules::Names::new(rules, &role.root);
        let (rows, simple) = table::rows(rules, &role.root, dictionary, names.reports_access());
        let (may_key, rest) = (names.may_key(), names.rest(prefix));
        let text = lua::quote(prefix.as_bytes());
        let fast = if may_key.is_some() {
            "if mayKey(k,s<5 and s or s-4) then r=rp(c,@WHOLE@,...) \
             else if not C then C,W=make(@REPEATS@) end r=C(false,c,k,...) end"
        } else {
            "r=rp(c,@WHOLE@,...)"
        };
        let sends_names = may_key.is_none() && !prefix.is_empty();
        let scans = if prefix.is_empty() { String::new() } else { rules::scans(prefix) };
        let filled = lua::compact(COLD)
            .replace("@TABLE@", &rows)
            .replace("@RULES@", &rest)
            .replace("@SCANS@", &scans)
            .replace("@REPEATED@", &lua::quote(client_text::SCRIPT_REPEATED.as_bytes()))
            .replace("@FOREIGN@", &lua::quote(client_text::FOREIGN_NAME.as_bytes()))
            .replace("@SYNTAX@", &lua::quote(client_text::SYNTAX.as_bytes()))
            .replace("@WITHOUT@", if prefix.is_empty() { "r" } else { "without(r,a,o,m)" })
            .replace("@STRIPS@", if prefix.is_empty() { "" } else { rules::STRIPS })
            .replace("@TTL@", &rules::ttl(rules, prefix))
            .replace("@ANY@", if sends_names { "@PREFIX@..a[i+1]" } else { "\"\"" })
            .replace("@EACH@", if sends_names { "@PREFIX@..a[i]" } else { "\"\"" })
            .replace("@PREFIX@", &text)
            .replace("@BYTES@", &prefix.len().to_string());
        let may_key = may_key.unwrap_or_default();
        let cold = format!("{may_key} {filled}").into_boxed_str();
        let fast = lua::compact(FAST).replace("@FAST@", fast).into_boxed_str();
        let id = lua::fingerprint([cold.as_bytes(), fast.as_bytes()]);
        let prefix = prefix.as_bytes().into();
        Self { cold, worded: Default::default(), fast, simple, prefix, id }
    }

    /// One that lets a script do nothing at all: whatever succeeds behind it has escaped.
    pub(super) fn closed() -> Self {
        let none = Rules { acl: Some(String::new()), ..Rules::default() };
        Self::new(&none, &Role::default(), &Dictionary::default())
    }

    fn worded(&self, globals: &Globals) -> &str {
        let known = self.worded.get(globals.dialect());
        known.map_or("", |known| known.get_or_init(|| globals.worded(&self.cold).into_boxed_str()))
    }

    /// The members of `redis` that the text names, as a table.
    fn members(&self, words: &words::Words<'_>) -> String {
        let mut members = String::from("{call=call");
        for name in KEPT.into_iter().filter(|name| words.has(name)) {
            let _ = write!(members, ",{name}=redis.{name}");
        }
        if words.has("pcall") {
            members.push_str(",pcall=try");
        }
        if words.has("acl_check_cmd") {
            members.push_str(
                ",acl_check_cmd=function(...) if not C then C,W=make(@REPEATS@) end return C(true,...) end",
            );
        }
        members.push('}');
        members
    }

    /// What the fast way needs besides its text, and the text: the commands that the script names, spelled
    /// as there. `keys`: it names `KEYS`.
    fn fast(&self, words: &words::Words<'_>, keys: bool) -> (String, String) {
        let simple = words.iter().filter_map(|word| {
            let code = self.simple.get(&*word.to_ascii_lowercase())?;
            Some((word, *code))
        });
        let simple: Vec<(&str, u8)> = simple.collect();
        let list = |form: fn(&(&str, u8)) -> String, between: &str| {
            simple.iter().map(form).collect::<Vec<_>>().join(between)
        };
        let (table, code) = match simple.len() {
            0 => (String::new(), "false".to_owned()),
            // Fewer comparisons cost less than a table that is made anew for each run.
            1..=COMPARED_MAX => {
                let code = list(|(word, code)| format!("c==\"{word}\" and {code}"), " or ");
                (String::new(), code)
            }
            _ => {
                let list = list(|(word, code)| format!("[\"{word}\"]={code}"), ",");
                (format!(" local T={{{list}}} "), "T[c]".to_owned())
            }
        };
        let whole = lua::quote(&self.prefix) + "..k";
        let (known, is_text, whole) = if self.prefix.is_empty() {
            ("nil", "type(k)==\"string\"", "k".to_owned())
        } else if keys {
            ("P[k]", "(f or type(k)==\"string\")", format!("f or {whole}"))
        } else {
            ("nil", "type(k)==\"string\"", whole)
        };
        let several = simple.iter().any(|(_, code)| *code > 4);
        let alone = if several { " and (s<5 or select(\"#\",...)==0)" } else { "" };
        let text = self.fast.replace("@CODE@", &code).replace("@KNOWN@", known);
        let text = text.replace("@STRING@", is_text).replace("@ALONE@", alone);
        (table, text.replace("@WHOLE@", &whole))
    }
}

impl Guarded {
    #[must_use]
    pub const fn new(guard: Arc<Guard>, globals: Arc<Globals>, repeats: usize) -> Self {
        Self { guard, globals, repeats }
    }

    /// Another number for whatever writes other prologues.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.guard.id.rotate_left(1) ^ self.globals.id() ^ (self.repeats as u64).rotate_left(32)
    }

    /// The script as the server is to run it. A line `#!lua` stays first; the prologue takes no line
    /// of its own.
    #[must_use]
    pub fn write(&self, text: &[u8]) -> Vec<u8> {
        let begin = begin_of(text);
        let (head, body) = text.split_at_checked(begin).unwrap_or((&[], text));
        let mut out = Vec::with_capacity(text.len() + self.guard.cold.len() + 2048);
        out.extend_from_slice(head);
        let words = words::Words::of(body);
        let line = if memchr::memchr(b'\n', body).is_some() {
            "nil"
        } else if head.is_empty() {
            "1"
        } else {
            "2"
        };
        self.prologue(&words, line, &mut out);
        let first = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if out.is_empty() && body.starts_with(b"#!") && !names_lua(first) {
            // No longer the first line's beginning, it names no other engine.
            out.push(b' ');
        }
        out.extend_from_slice(body);
        out
    }

    /// What replaces `redis`: the variable `api`.
    fn api(&self, words: &words::Words<'_>, line: &str, keys: bool, body: &mut String) {
        let repeats = self.repeats.to_string();
        let (table, fast) = self.guard.fast(words, keys);
        let fast = fast.replace("@REPEATS@", &repeats);
        body.push_str("local rp,type,C,W=redis.pcall,type ");
        body.push_str(self.guard.worded(&self.globals));
        body.push_str(&table);
        let raise = format!(
            "if type(r)==\"table\" and r.err then if not C then C,W=make({repeats}) end \
             error(W(r,{line})) end"
        );
        body.push(' ');
        body.push_str(&fast.replace("@NAME@", "call").replace("@RAISE@", &raise));
        if words.has("pcall") {
            body.push(' ');
            body.push_str(&fast.replace("@NAME@", "try").replace("@RAISE@", ""));
        }
        let members = self.guard.members(words).replace("@REPEATS@", &repeats);
        let _ = write!(body, " local api={members} ");
    }

    fn prologue(&self, words: &words::Words<'_>, line: &str, out: &mut Vec<u8>) {
        let prefix = &self.guard.prefix;
        let apis: Vec<&str> = globals::APIS.into_iter().filter(|name| words.has(name)).collect();
        let (mut names, mut values) = (Vec::new(), Vec::new());
        let mut body = String::new();
        let keys = words.has("KEYS") && !prefix.is_empty();
        if keys {
            // `P` has the whole names; scripts with few keys need no larger tables.
            let _ = write!(
                body,
                "local P,own={{}},{{nil,nil,nil,nil}} for i=1,#KEYS do \
                 local k=string.sub(KEYS[i],{}) own[i],P[k]=k,{}..k end ",
                prefix.len() + 1,
                lua::quote(prefix)
            );
        }
        if !apis.is_empty() {
            self.api(words, line, keys, &mut body);
            for name in apis {
                names.push(name.to_owned());
                values.push("api".to_owned());
            }
        }
        if keys {
            names.push("KEYS".to_owned());
            values.push("own".to_owned());
        }
        for (name, value) in globals::REPLACED {
            let needed = *name != "cjson" || words.configures_json();
            if words.has(name) && self.globals.has(name) && needed {
                names.push((*name).to_owned());
                values.push((*value).to_owned());
            }
        }
        for name in words.iter().filter(|name| self.globals.hides(name)) {
            names.push(name.to_owned());
        }
        if names.is_empty() {
            return;
        }
        out.extend_from_slice(b"local ");
        out.extend_from_slice(names.join(",").as_bytes());
        if !values.is_empty() {
            let _ = write!(body, " return {} ", values.join(","));
            out.extend_from_slice(b"=(function() ");
            out.extend_from_slice(body.as_bytes());
            out.extend_from_slice(b"end)()");
        }
        out.extend_from_slice(b";");
    }
}

/// Where the Lua text begins: behind a first line `#!lua`, which the server reads. A line that names
/// another engine gets the prologue before it, so that no server can run it.
fn begin_of(text: &[u8]) -> usize {
    let Some(end) = memchr::memchr(b'\n', text) else { return 0 };
    if names_lua(text.get(..end).unwrap_or_default()) { end + 1 } else { 0 }
}

/// Whether a first line is one that only the server's own Lua reads.
fn names_lua(line: &[u8]) -> bool {
    let words = line.strip_prefix(b"#!lua");
    words.is_some_and(|rest| rest.is_empty() || rest.starts_with(b" ")) && !line.contains(&0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::config::KeyRules;
    use crate::policy::compile;

    fn guarded(names: &[&str]) -> Guarded {
        let keys = KeyRules {
            mode: KeyMode::Rewrite,
            prefix: Some("a\"%:".to_owned()),
            ..KeyRules::default()
        };
        let rules = Rules { acl: Some("+@all ~* &*".to_owned()), keys, ..Rules::default() };
        let guard = Arc::clone(compile(&rules).unwrap().guard().unwrap());
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        Guarded::new(guard, Arc::new(Globals::new(&names, false, (7, 0)).unwrap()), 100)
    }

    fn written(text: &str) -> String {
        let names = ["redis", "_G", "pcall", "KEYS", "getfenv", "newone", "string"];
        String::from_utf8(guarded(&names).write(text.as_bytes())).unwrap()
    }

    #[test]
    fn globals_that_a_text_does_not_name_are_not_hidden() {
        assert_eq!(written("return 1"), "return 1");
        assert_eq!(written("return string.rep('x',2)"), "return string.rep('x',2)");
        assert_eq!(written("return newone"), "local newone;return newone");
        assert_eq!(written("return getfenv(_G)"), "local _G,getfenv;return getfenv(_G)");
        assert_eq!(written("-- debug"), "local debug;-- debug");
        let server = written("x = server");
        assert!(server.starts_with("local server=(function() "), "{server}");
        assert!(server.ends_with(" return api end)();x = server"), "{server}");
    }

    #[test]
    fn prefix_or_pattern_that_is_a_mark_of_the_template_stays_what_it_is() {
        for mark in [
            "NAME", "RAISE", "BYTES", "PREFIX", "KEY", "RUN", "ARGS", "TTL", "STRIPS", "FAST",
            "ANY",
        ] {
            let prefix = format!("@{mark}@:");
            let keys = KeyRules {
                mode: KeyMode::Rewrite,
                prefix: Some(prefix.clone()),
                deny: vec![format!("x{prefix}*")],
                ..KeyRules::default()
            };
            let rules = Rules { acl: Some("+@all ~* &*".to_owned()), keys, ..Rules::default() };
            let guard = Arc::clone(compile(&rules).unwrap().guard().unwrap());
            let names: Vec<&[u8]> = ["redis", "_G", "pcall", "string"].map(str::as_bytes).to_vec();
            let guarded =
                Guarded::new(guard, Arc::new(Globals::new(&names, false, (7, 0)).unwrap()), 100);
            let text = guarded.write(b"redis.call('GET','a') redis.pcall('GET','a')");
            let text = String::from_utf8(text).unwrap();
            let literal = format!("\\064{mark}\\064:");
            assert!(text.matches(&*literal).count() >= 3, "{mark}: {text}");
            assert!(!text.contains(&*format!("@{mark}@")), "{mark}: {text}");
        }
    }

    #[test]
    fn line_that_names_another_engine_never_begins_a_script() {
        for text in ["#!js\nreturn 1", "#!js", "#!luax\nreturn 1"] {
            assert_eq!(written(text), format!(" {text}"));
        }
        assert_eq!(written("#!lua\nreturn 1"), "#!lua\nreturn 1");
    }

    #[test]
    fn prologue_takes_no_line() {
        for (text, lines) in [
            ("redis.call('GET',KEYS[1])", 0),
            ("\n\nredis.call('x')", 2),
            ("#!lua flags=no-writes\nredis.call('x')", 1),
        ] {
            let written = written(text);
            assert_eq!(written.matches('\n').count(), lines, "{written}");
            let begin = text.find('\n').filter(|_| text.starts_with('#')).map_or(0, |at| at + 1);
            assert!(written.starts_with(&text[..begin]), "{written}");
            assert!(written.get(begin..).unwrap().starts_with("local "), "{written}");
            assert!(written.ends_with(&text[begin..]), "{written}");
        }
    }

    #[test]
    fn foreign_engine_is_never_named_first() {
        for text in
            ["#!js\nredis", "#!luax\nredis", "#!lua\tx\nredis", "#!lua\0\nredis", "#!lua redis"]
        {
            assert!(written(text).starts_with("local redis="), "{text}");
        }
    }

    #[test]
    fn rules_that_cannot_be_kept_are_reported() {
        let mode = Some(ScriptMode::Guarded);
        for acl in ["+@all ~a:* (+get ~b:*)", "+@all ~a:*"] {
            let mut rules = Rules { acl: Some(acl.to_owned()), ..Rules::default() };
            rules.scripts.mode = mode;
            let selectors = acl.contains('(');
            assert_eq!(compile(&rules).is_err(), selectors, "{acl}");
            rules.scripts.mode = None;
            assert_eq!(compile(&rules).unwrap().guard().is_none(), selectors, "{acl}");
        }
    }
}

//! The shape of a policy's section: every key, its type, and the rule it becomes.
//!
//! Owns: the names of the keys under `[policy]`. Never knows: how a rule is applied.

use super::error::ValueError;
use super::quoting::quoted;
use super::rate;
use super::rules::{
    Charset, Degraded, Encoding, KeyMode, KeyRules, OnExceed, OnMissing, Rules, TtlRules,
    ValueRules,
};
use super::scripts::{ScriptMode, ScriptRules};
use super::section::{Section, boolean, choice, count, duration, path, size, string, strings};
use super::tree::Node;
use super::units::show_duration;
use crate::base::limits;
use crate::base::sha1::Sha1;

/// One policy.
pub(super) fn read(at: &Section<'_>) -> Rules {
    let presets = Rules::PRESETS.map(|name| (name, name));
    Rules {
        preset: at.get("preset", choice(&presets)).map(str::to_owned),
        acl: at.get("acl", string),
        observe_all: at
            .get("mode", choice(&[("enforce", false), ("observe", true)]))
            .unwrap_or_default(),
        observe: at.get("observe", strings).unwrap_or_default(),
        keys: keys(&at.section("keys")),
        values: values(&at.section("values")),
        ttl: ttl(&at.section("ttl")),
        scripts: scripts(&at.section("scripts")),
        limits: at.list("limit").iter().map(rate::read).collect(),
        degraded: at
            .get("degraded", choice(&[("error", Degraded::Error), ("miss", Degraded::Miss)]))
            .unwrap_or_default(),
    }
}

fn keys(at: &Section<'_>) -> KeyRules {
    let modes = [("enforce", KeyMode::Enforce), ("rewrite", KeyMode::Rewrite)];
    let charsets =
        [("any", Charset::Any), ("printable", Charset::Printable), ("utf8", Charset::Utf8)];
    let keys = KeyRules {
        mode: at.get("mode", choice(&modes)).unwrap_or_default(),
        prefix: at.get("prefix", string),
        flushdb: at.get("flushdb", boolean).unwrap_or(false),
        dbsize: at.get("dbsize", boolean).unwrap_or(false),
        max_bytes: at.get("max_bytes", size),
        pattern: at.get("pattern", string),
        charset: at.get("charset", choice(&charsets)).unwrap_or_default(),
        deny: at.get("deny", strings).unwrap_or_default(),
    };
    match (keys.mode, &keys.prefix) {
        (KeyMode::Rewrite, None) => {
            let hint = "write prefix = \"app1:\", the text before every key of this application";
            at.report("prefix", ValueError::new("missing").hint(hint));
        }
        (KeyMode::Rewrite, Some(prefix)) => {
            if let Some((what, hint)) = unfit(prefix) {
                at.report("prefix", ValueError::new(what).hint(hint));
            }
        }
        (KeyMode::Enforce, Some(prefix)) if !is_plain(prefix) => {
            let hint = "write the patterns into acl: ~app1:* &app1:*";
            at.report("prefix", ValueError::new("empty, or with a blank or * ? [ ] \\").hint(hint));
        }
        (KeyMode::Enforce, _) => {}
    }
    for (name, is_set) in [("flushdb", keys.flushdb), ("dbsize", keys.dbsize)] {
        if is_set && keys.mode == KeyMode::Enforce {
            let hint = "without a prefix, the keys of one application cannot be distinguished from those of others";
            at.report(name, ValueError::new("only with mode = \"rewrite\"").hint(hint));
        }
    }
    positive(at, "max_bytes", keys.max_bytes.map(|bytes| bytes as u64));
    globs(at, "pattern", keys.pattern.as_slice());
    globs(at, "deny", &keys.deny);
    keys
}

/// Whether a prefix can be in the ACL language as it is.
fn is_plain(prefix: &str) -> bool {
    let special = |c: char| c.is_whitespace() || "*?[]\\()\"'".contains(c);
    !prefix.is_empty() && !prefix.contains(special)
}

/// Why a text cannot be before keys, and what to do.
fn unfit(prefix: &str) -> Option<(&'static str, &'static str)> {
    const BYTES_MAX: usize = 128;
    if prefix.is_empty() || prefix.contains(['{', '}']) {
        let hint = "braces choose the slot of a key in a cluster; use another character";
        return Some(("empty, or with a brace", hint));
    }
    if prefix.starts_with('_') {
        let hint = "the server's own channels begin so (__keyspace@0__:); begin with a letter";
        return Some(("begins with _", hint));
    }
    if prefix.chars().any(char::is_control) {
        return Some(("with a control character", "use visible characters, as in \"app1:\""));
    }
    (prefix.len() > BYTES_MAX).then_some((
        "longer than 128 bytes",
        "the server stores it with every key; \"app1:\" will do",
    ))
}

fn values(at: &Section<'_>) -> ValueRules {
    let encodings = [("any", Encoding::Any), ("utf8", Encoding::Utf8), ("json", Encoding::Json)];
    let values = ValueRules {
        max_bytes: at.get("max_bytes", size),
        max_args: at.get("max_args", count),
        encoding: at.get("encoding", choice(&encodings)).unwrap_or_default(),
    };
    positive(at, "max_bytes", values.max_bytes);
    positive(at, "max_args", values.max_args.map(u64::from));
    values
}

fn ttl(at: &Section<'_>) -> TtlRules {
    let missing =
        [("allow", OnMissing::Allow), ("inject", OnMissing::Inject), ("reject", OnMissing::Reject)];
    let exceed = [("clamp", OnExceed::Clamp), ("reject", OnExceed::Reject)];
    let ttl = TtlRules {
        default: at.get("default", duration),
        max: at.get("max", duration),
        on_missing: at.get("on_missing", choice(&missing)).unwrap_or_default(),
        on_exceed: at.get("on_exceed", choice(&exceed)).unwrap_or_default(),
        apply_to: at.get("apply_to", strings).unwrap_or_default(),
        exempt: at.get("exempt", strings).unwrap_or_default(),
    };
    for (key, duration) in [("default", ttl.default), ("max", ttl.max)] {
        if duration.is_some_and(|duration| duration < limits::TTL_MIN) {
            at.report(key, ValueError::new("must be at least 1s"));
        }
    }
    if let (Some(default), Some(max)) = (ttl.default, ttl.max)
        && default > max
    {
        let [default, max] = [default, max].map(show_duration);
        at.report(
            "default",
            ValueError::new(format!("default is {default}, more than max, which is {max}")),
        );
    }
    if ttl.on_missing == OnMissing::Inject && ttl.default.is_none() {
        let hint = "write default = \"1h\", the time to live of keys that have none";
        at.report("on_missing", ValueError::new("\"inject\" needs a default").hint(hint));
    }
    let rules = ttl.max.is_some() || ttl.on_missing != OnMissing::Allow;
    for (key, patterns) in [("apply_to", &ttl.apply_to), ("exempt", &ttl.exempt)] {
        globs(at, key, patterns);
        if !rules && !patterns.is_empty() {
            let hint = "add max, or on_missing = \"inject\" with a default";
            at.report(key, ValueError::new("without effect").hint(hint));
        }
    }
    ttl
}

fn positive(at: &Section<'_>, key: &str, number: Option<u64>) {
    if number == Some(0) {
        at.report(key, ValueError::new("must be more than 0").hint("remove it for no limit"));
    }
}

/// The server takes any text for a pattern; what is certainly not meant is rejected here.
fn globs(at: &Section<'_>, key: &str, patterns: &[String]) {
    for pattern in patterns {
        let mut bytes = pattern.bytes();
        let mut class = false;
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' if bytes.next().is_none() => {
                    let problem = format!("{} ends with a backslash", quoted(pattern));
                    at.report(key, ValueError::new(problem).hint("write two for one"));
                }
                b'[' => class = true,
                b']' => class = false,
                _ => {}
            }
        }
        if class {
            let problem = format!("{} has a bracket that is not closed", quoted(pattern));
            at.report(key, ValueError::new(problem).hint("write \\[ for the bracket itself"));
        }
    }
}

fn scripts(at: &Section<'_>) -> ScriptRules {
    let modes = [
        ("guarded", ScriptMode::Guarded),
        ("declared-keys", ScriptMode::DeclaredKeys),
        ("allowlist", ScriptMode::Allowlist),
        ("deny", ScriptMode::Deny),
    ];
    let mode = at.get("mode", choice(&modes));
    let rules = ScriptRules {
        mode,
        allow: at.get("allow", digests).unwrap_or_default(),
        directory: at.get("directory", path),
        functions: at.get("allow_functions", strings).unwrap_or_default(),
        heal: at.get("heal", boolean),
    };
    let lists = [
        ("allow", !rules.allow.is_empty()),
        ("directory", rules.directory.is_some()),
        ("allow_functions", !rules.functions.is_empty()),
    ];
    let counts = |key: &str| match mode {
        Some(ScriptMode::Allowlist) => true,
        Some(ScriptMode::Guarded) => key == "allow_functions",
        Some(ScriptMode::DeclaredKeys | ScriptMode::Deny) | None => false,
    };
    for (key, _) in lists.iter().filter(|(key, given)| *given && !counts(key)) {
        let hint = "add mode = \"allowlist\" under [policy.scripts], or remove it";
        at.report(key, ValueError::new("without effect").hint(hint));
    }
    rules
}

fn digests(node: &Node) -> Result<Vec<Sha1>, ValueError> {
    let read = |text: String| {
        Sha1::parse(text.as_bytes()).ok_or_else(|| {
            ValueError::new(format!("{} is no SHA-1 of a script", quoted(&text)))
                .hint("write the 40 hexadecimal digits that SCRIPT LOAD answers")
        })
    };
    strings(node)?.into_iter().map(read).collect()
}

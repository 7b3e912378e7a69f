//! Settings of a policy that the rest of it makes void.
//!
//! Owns: [`Void`], the comparison of settings with what the rules permit. Never knows: places in files.

use super::acl;
use super::compile::pieces;
use super::role::Selector;
use super::script::may_run;
use super::{Policy, Rule};
use crate::command::{Flags, Script, Spec, TtlEffect, by_name};
use crate::config::{Encoding, KeyMode, Rules, ScriptMode};

/// A setting that is written and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Void {
    /// The key of the setting, such as `scripts.mode`.
    pub setting: String,
    pub why: String,
    pub hint: &'static str,
}

impl Void {
    /// The settings the policy was built from that change nothing.
    #[must_use]
    pub(crate) fn all_of(policy: &Policy) -> Vec<Self> {
        let Some(rules) = policy.source.as_deref() else { return Vec::new() };
        let mut found = Found(Vec::new());
        void_scripts(policy, rules, &mut found);
        void_keys(policy, rules, &mut found);
        void_values(policy, rules, &mut found);
        void_observed(policy, rules, &mut found);
        void_limits(policy, rules, &mut found);
        found.0
    }
}

fn permits(policy: &Policy, fits: impl Fn(&'static Spec) -> bool) -> bool {
    policy.roles.dictionary.all().any(|spec| fits(spec) && policy.permits_command(spec))
}

fn void_scripts(policy: &Policy, rules: &Rules, found: &mut Found) {
    let scripts = &rules.scripts;
    let texts =
        permits(policy, |spec| matches!(spec.script, Some(Script::Text { .. } | Script::Digest)));
    let functions = permits(policy, |spec| spec.script == Some(Script::Function));
    let given = matches!(
        scripts.mode,
        Some(ScriptMode::Allowlist | ScriptMode::DeclaredKeys | ScriptMode::Guarded)
    );
    let hint = "add +eval +evalsha or +fcall to acl, or remove it";
    let any = texts || functions || policy.roles.role.iter().any(may_run);
    found.add(given && !any, "scripts.mode", "the rules permit no command that runs scripts", hint);
    let hint = "add +eval +evalsha to acl, or remove it";
    let none = any && !texts;
    let why = "the rules permit no EVAL and no EVALSHA";
    found.add(none && !scripts.allow.is_empty(), "scripts.allow", why, hint);
    found.add(none && scripts.directory.is_some(), "scripts.directory", why, hint);
    let hint = "add +fcall to acl, or remove it";
    let none = any && !functions && !scripts.functions.is_empty();
    found.add(none, "scripts.allow_functions", "the rules permit no FCALL", hint);
    let denied = policy.scripts.mode() == ScriptMode::Deny;
    let eval = policy.permits_named("eval");
    let (why, hint) = if denied {
        ("no script may run", "set scripts.mode, or remove it")
    } else {
        ("a script is sent again with EVAL, which the rules do not permit", "remove it")
    };
    found.add(scripts.heal.is_some() && (denied || !eval), "scripts.heal", why, hint);
}

fn void_keys(policy: &Policy, rules: &Rules, found: &mut Found) {
    let keys = &rules.keys;
    let pieces = pieces(rules).unwrap_or_default();
    let checked =
        pieces.iter().any(|(setting, word)| *setting == "keys.prefix" && word.starts_with('~'));
    found.add(
        keys.prefix.is_some() && keys.mode == KeyMode::Enforce && !checked,
        "keys.prefix",
        "acl names keys, and they count alone",
        "remove it, or the words of acl about keys (~… %… allkeys resetkeys)",
    );
    for (asked, name) in [(keys.flushdb, "flushdb"), (keys.dbsize, "dbsize")] {
        if !asked || keys.mode != KeyMode::Rewrite {
            continue;
        }
        let setting = if name == "flushdb" { "keys.flushdb" } else { "keys.dbsize" };
        let denied = acl::words(rules.acl.as_deref().unwrap_or_default());
        let denied = denied.into_iter().flatten().any(|word| {
            word.text.strip_prefix('-').is_some_and(|word| word.eq_ignore_ascii_case(name))
        });
        if denied {
            let hint = "remove it, or the word of acl";
            found.add(true, setting, &format!("acl denies it: -{name}"), hint);
            continue;
        }
        let open = |one: &Selector| {
            by_name(name).is_some_and(|spec| one.allows(spec.id) && one.is_open_to(spec.reach))
        };
        found.add(
            !policy.roles.role.iter().any(open),
            setting,
            "acl names keys, and it is about all that begin with the prefix",
            "remove it, or write ~* in acl",
        );
    }
}

fn void_values(policy: &Policy, rules: &Rules, found: &mut Found) {
    let stores = |spec: &Spec| {
        let runs = spec.script.is_some() && !spec.flags.has(Flags::READONLY);
        spec.flags.has(Flags::WRITE) || runs
    };
    let hint = "permit a command that writes, or remove it";
    let why = "the rules permit no command that writes";
    let none = !permits(policy, stores);
    let values = &rules.values;
    found.add(none && values.max_bytes.is_some(), "values.max_bytes", why, hint);
    found.add(none && values.max_args.is_some(), "values.max_args", why, hint);
    found.add(none && values.encoding != Encoding::Any, "values.encoding", why, hint);
    let lives = permits(policy, |spec| spec.lifetime != TtlEffect::Untouched);
    let none = policy.ttl.is_some() && !lives;
    let setting = if rules.ttl.max.is_some() { "ttl.max" } else { "ttl.on_missing" };
    found.add(none, setting, why, hint);
}

/// Rules that are to be observed, and of which there are none.
fn void_observed(policy: &Policy, rules: &Rules, found: &mut Found) {
    let rate = rules.limits.iter().any(|limit| limit.rate.is_some());
    let concurrency = rules.limits.iter().any(|limit| limit.concurrency.is_some());
    let keys = &rules.keys;
    let about_keys = keys.max_bytes.is_some()
        || keys.pattern.is_some()
        || keys.charset != crate::config::Charset::Any
        || !keys.deny.is_empty();
    let values = &rules.values;
    let about_values =
        values.max_bytes.is_some() || values.max_args.is_some() || values.encoding != Encoding::Any;
    for name in &rules.observe {
        let rule = Rule::ALL.into_iter().find(|rule| rule.label() == name);
        let (there, about) = match rule {
            Some(Rule::Ttl) => (policy.ttl.is_some(), "ttl"),
            Some(Rule::Key) => (about_keys, "keys"),
            Some(Rule::Value) => (about_values, "values"),
            Some(Rule::Rate) => (rate, "a rate"),
            Some(Rule::Concurrency) => (concurrency, "concurrency"),
            Some(Rule::Script) => (policy.scripts.mode() != ScriptMode::DeclaredKeys, "scripts"),
            Some(_) | None => (true, ""),
        };
        let why = format!("there are no rules about {about}, so that rule {name} refuses nothing");
        found.add(!there, "observe", &why, "remove the name, or add the rule");
    }
}

fn void_limits(policy: &Policy, rules: &Rules, found: &mut Found) {
    for (index, (limit, rule)) in policy.limits.iter().zip(&rules.limits).enumerate() {
        let limited = rule.rate.is_some() || rule.concurrency.is_some();
        let covers = permits(policy, |spec| limit.covers(spec));
        found.add(
            limited && !covers,
            &format!("limit.{index}.commands"),
            "the rules permit none of these commands",
            "name others, or remove this limit",
        );
    }
}

struct Found(Vec<Void>);

impl Found {
    fn add(&mut self, is_void: bool, setting: &str, why: &str, hint: &'static str) {
        if is_void {
            let why = format!("without effect: {why}");
            self.0.push(Void { setting: setting.to_owned(), why, hint });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use std::time::Duration;

    use super::*;
    use crate::base::sha1::Sha1;
    use crate::config::{LimitRule, OnMissing, Rate, ScriptRules};
    use crate::policy::compile;

    fn void(rules: &Rules) -> Vec<String> {
        Void::all_of(&compile(rules).unwrap()).into_iter().map(|void| void.setting).collect()
    }

    fn preset(name: &str) -> Rules {
        Rules { preset: Some(name.to_owned()), ..Rules::default() }
    }

    fn acl(acl: &str) -> Rules {
        Rules { acl: Some(acl.to_owned()), ..Rules::default() }
    }

    #[test]
    fn scripts() {
        let with = |rules: Rules, mode| {
            let scripts = ScriptRules {
                mode,
                allow: vec![Sha1::of(b"return 1")],
                functions: vec!["f".to_owned()],
                heal: Some(true),
                ..ScriptRules::default()
            };
            void(&Rules { scripts, ..rules })
        };
        let allowlist = Some(ScriptMode::Allowlist);
        assert!(with(preset("full"), allowlist).is_empty());
        assert_eq!(with(preset("cache"), allowlist), ["scripts.mode", "scripts.heal"]);
        assert_eq!(with(acl("+fcall ~*"), allowlist), ["scripts.allow", "scripts.heal"]);
        assert_eq!(with(acl("+eval ~*"), allowlist), ["scripts.allow_functions"]);
        assert_eq!(with(preset("default"), Some(ScriptMode::Deny)), ["scripts.heal"]);
        let heal = ScriptRules { heal: Some(false), ..ScriptRules::default() };
        assert!(void(&Rules { scripts: heal.clone(), ..acl("+@all ~a") }).is_empty());
        let selectors = acl("+@all ~a (+eval ~b)");
        assert_eq!(void(&Rules { scripts: heal.clone(), ..selectors }), ["scripts.heal"]);
        assert!(void(&Rules { scripts: heal, ..acl("+@all ~*") }).is_empty());
    }

    #[test]
    fn keys() {
        let with = |text: &str, mode| {
            let mut rules = acl(text);
            rules.keys.prefix = Some("a:".to_owned());
            rules.keys.mode = mode;
            (rules.keys.flushdb, rules.keys.dbsize) =
                (mode == KeyMode::Rewrite, mode == KeyMode::Rewrite);
            void(&rules)
        };
        for (text, expected) in [
            ("+@all", &[][..]),
            ("+@all &x", &[]),
            ("+@all ~x", &["keys.prefix"]),
            ("+@all %R~x &x", &["keys.prefix"]),
            ("+@all allkeys", &["keys.prefix"]),
        ] {
            assert_eq!(with(text, KeyMode::Enforce), expected, "{text}");
        }
        for (text, expected) in [
            ("+@all -@dangerous ~*", &[][..]),
            ("+get ~*", &[]),
            ("+get ~x", &["keys.flushdb", "keys.dbsize"]),
            ("+get %R~*", &["keys.flushdb"]),
            ("+get ~x (+flushdb +dbsize ~*)", &[]),
            ("+@all -flushdb ~*", &["keys.flushdb"]),
        ] {
            assert_eq!(with(text, KeyMode::Rewrite), expected, "{text}");
        }
    }

    #[test]
    fn rules_that_only_writes_need() {
        let full = |mut rules: Rules| {
            rules.values.max_bytes = Some(1);
            rules.values.max_args = Some(9);
            rules.values.encoding = Encoding::Utf8;
            rules.ttl.max = Some(Duration::from_secs(9));
            void(&rules)
        };
        let all = ["values.max_bytes", "values.max_args", "values.encoding", "ttl.max"];
        assert_eq!(full(preset("readonly")), all);
        assert!(full(preset("cache")).is_empty());
        let mut reject = preset("readonly");
        reject.ttl.on_missing = OnMissing::Reject;
        assert_eq!(void(&reject), ["ttl.on_missing"]);
    }

    #[test]
    fn rules_that_are_observed_and_are_not_there() {
        let names = ["ttl", "key", "value", "rate", "concurrency", "script", "command"];
        let mut rules = Rules { observe: names.map(str::to_owned).into(), ..Rules::default() };
        assert_eq!(void(&rules), ["observe"; 6]);
        rules.ttl.max = Some(Duration::from_secs(9));
        rules.keys.max_bytes = Some(9);
        rules.values.max_args = Some(9);
        rules.scripts.mode = Some(ScriptMode::Deny);
        let rate = Some(Rate { count: 1, period: Duration::from_secs(1), burst: 1 });
        let limit = LimitRule { commands: "@all".to_owned(), rate, ..LimitRule::default() };
        rules.limits = vec![LimitRule { concurrency: Some(1), ..limit.clone() }];
        assert!(void(&rules).is_empty());
        let limits = vec![LimitRule { commands: "set".to_owned(), ..limit }];
        assert_eq!(void(&Rules { limits, ..preset("readonly") }), ["limit.0.commands"]);
    }
}

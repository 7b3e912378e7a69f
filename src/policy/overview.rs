//! A policy as a whole, in the words of operators: whether it refuses, which keys it is about, what
//! scripts are beyond it.
//!
//! Owns: [`Overview`], [`Mode`]. Never knows: where it is shown, requests.

use super::role::{Scope, Selector};
use super::{Policy, Rule, RuleSet, script};
use crate::command::{Does, Flags, Reach, Spec, all};
use crate::config::{KeyMode, Rules, ScriptMode, ScriptRules};

/// Whether a policy refuses what its rules do not permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Enforce,
    /// Some of its rules refuse nothing.
    Partly,
    /// The policy refuses nothing but what respgate cannot carry.
    Observe,
}

impl Mode {
    /// The label of the metric and the field of the log.
    #[must_use]
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Partly => "partly",
            Self::Observe => "observe",
        }
    }
}

/// What operators should know about a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overview {
    pub mode: Mode,
    /// Whether something is refused: `enforce`, `observe: nothing is refused`.
    pub refuses: String,
    /// The keys: `app1:* (rewrite: …)`.
    pub keys: String,
    /// The scripts that may run, and what of them is not seen; none where no command runs any.
    pub scripts: Option<String>,
    /// What is allowed, and yet not what one may expect of a policy: a code and a sentence.
    pub warnings: Vec<(&'static str, String)>,
}

const GUARDED: &str = "guarded: every command inside a script is held to the same keys and rules";
const NOT_SEEN: &str = "what they do inside is not seen";
const ANY_KEY: &str = "a script can use any key and run any command that the server's user may, \
    FLUSHALL included; give that user the rules that respgate acl prints";
const BEYOND_RULES: &str = "keys and commands inside a script are not seen: it can run what the \
    server's user may, whatever the rules deny";

const BEYOND_BOUNDS: &str = "permitted by name or for all keys, and beyond the keys and databases that \
    the policy bounds: other clients of the server are affected";
const NO_KEY: &str = "acl allows no key, so every command with a key is refused; add ~* for all keys \
    (with a prefix: all that begin with it), or the patterns that are needed, as in ~user:*";
/// Commands that a warning names; the rest are counted.
const NAMED_MAX: usize = 8;

impl Overview {
    /// What operators should know about it.
    #[must_use]
    pub(crate) fn of(policy: &Policy) -> Self {
        let (mode, refuses) = refuses(policy);
        let mut warnings = Vec::new();
        if mode != Mode::Enforce {
            warnings.push(("POL-W002", refuses.clone()));
        }
        let rules = policy.source.as_deref();
        let given = rules.map(|rules| rules.scripts.clone()).unwrap_or_default();
        let may_run = policy.roles.role.iter().any(script::may_run);
        let scripts = may_run.then(|| scripts_that_run(policy, &given));
        if may_run
            && policy.scripts.mode() == ScriptMode::DeclaredKeys
            && policy.scripts.are_bound()
        {
            let asked = "scripts.mode = \"declared-keys\"";
            warnings.push(("POL-W003", format!("{asked}: {ANY_KEY}")));
        }
        if let Some(names) = beyond_bounds(policy) {
            warnings.push(("POL-W004", format!("{names}: {BEYOND_BOUNDS}")));
        }
        if let Some(words) = reaches_nothing(policy) {
            warnings.push(("POL-W005", words.to_owned()));
        }
        Self { mode, refuses, keys: keys_in_words(policy, rules), scripts, warnings }
    }
}

/// The commands of a bounded policy that reach more than it bounds.
fn beyond_bounds(policy: &Policy) -> Option<String> {
    let prefixed = policy.namespace.is_some();
    if !prefixed && policy.roles.role.root.is_boundless() {
        return None;
    }
    let passes = |spec: &&Spec| {
        let names = |one: &Selector| one.allows(spec.id) && one.names(spec.id);
        let open = |one: &Selector| one.allows(spec.id) && one.is_open_to(spec.reach);
        // Of databases only those can be exchanged that are allowed.
        if let Reach::Server(does) = spec.reach
            && does != Does::ExchangesDatabases
        {
            let by_name = does.access().is_none() && policy.roles.role.iter().any(names);
            return by_name || (!prefixed && policy.roles.role.iter().any(open));
        }
        false
    };
    let mut names: Vec<&str> =
        all().iter().filter(|spec| !spec.container).filter(passes).map(|spec| spec.name).collect();
    if names.is_empty() {
        return None;
    }
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{}{more}", names.join(", ")))
}

fn refuses(policy: &Policy) -> (Mode, String) {
    let observed: Vec<&str> = policy.roles.observed.iter().map(Rule::label).collect();
    if observed.is_empty() {
        return (Mode::Enforce, "enforce".to_owned());
    }
    if policy.roles.observed == RuleSet::OBSERVABLE {
        let text = "observe: nothing is refused; what would be is counted and logged";
        return (Mode::Observe, text.to_owned());
    }
    let text = format!("enforce, but these rules refuse nothing: {}", observed.join(", "));
    (Mode::Partly, text)
}

fn scripts_that_run(policy: &Policy, given: &ScriptRules) -> String {
    match policy.scripts.mode() {
        ScriptMode::Deny if policy.scripts.is_by_default() => {
            "none, because keys are bound by rules that cannot be kept inside scripts; scripts.mode permits some"
                .to_owned()
        }
        ScriptMode::Deny => "none".to_owned(),
        ScriptMode::Guarded if given.functions.is_empty() => GUARDED.to_owned(),
        ScriptMode::Guarded => format!("{GUARDED}; {} functions: {NOT_SEEN}", given.functions.len()),
        ScriptMode::Allowlist => format!("{}; {NOT_SEEN}", listed(given)),
        ScriptMode::DeclaredKeys if policy.scripts.are_bound() => {
            format!("declared-keys: {ANY_KEY}")
        }
        ScriptMode::DeclaredKeys => format!("declared-keys: {BEYOND_RULES}"),
    }
}

fn keys_in_words(policy: &Policy, rules: Option<&Rules>) -> String {
    let words = policy.roles.role.iter().flat_map(Selector::words);
    let mut keys: Vec<String> = words.filter(|word| !word.starts_with('&')).collect();
    keys.dedup();
    if allows_no_key(policy) {
        keys.insert(0, "none".to_owned());
        return keys.join(" ");
    }
    let prefix = rules.and_then(|rules| rules.keys.prefix.as_deref());
    let rewrites = rules.is_some_and(|rules| rules.keys.mode == KeyMode::Rewrite);
    let Some(prefix) = prefix.filter(|_| rewrites) else { return keys.join(" ") };
    let own = keys.iter().map(|word| match word.split_once('~') {
        // Before the tilde: nothing, or `%R`, `%W`, `%RW`.
        Some(("", pattern)) => format!("{prefix}{pattern}"),
        Some((access, pattern)) => format!("{access}~{prefix}{pattern}"),
        None => word.clone(),
    });
    let own = own.collect::<Vec<_>>().join(" ");
    format!("{own} (rewrite: respgate puts the prefix before every key)")
}

/// Whether no selector allows any key.
fn allows_no_key(policy: &Policy) -> bool {
    policy.roles.role.iter().all(|one| matches!(&one.keys, Scope::Only(known) if known.is_empty()))
}

/// The words for a policy that permits commands with keys and allows none of the keys.
fn reaches_nothing(policy: &Policy) -> Option<&'static str> {
    let permits = |spec: &Spec| {
        let has_keys = !spec.keys.is_empty() && !spec.flags.has(Flags::PUBSUB);
        has_keys && policy.roles.role.iter().any(|one| one.allows(spec.id))
    };
    (allows_no_key(policy) && all().iter().any(permits)).then_some(NO_KEY)
}

fn listed(rules: &ScriptRules) -> String {
    let mut listed = Vec::new();
    if !rules.allow.is_empty() {
        listed.push(format!("{} by SHA-1", rules.allow.len()));
    }
    listed.extend(rules.directory.iter().map(|path| format!("files in {}", path.display())));
    if !rules.functions.is_empty() {
        listed.push(format!("functions {}", rules.functions.join(" ")));
    }
    if listed.is_empty() { "an empty list".to_owned() } else { listed.join(", ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::config::KeyRules;
    use crate::policy::compile;

    fn overview(rules: &Rules) -> Overview {
        Overview::of(&compile(rules).unwrap())
    }

    fn acl(acl: &str) -> Rules {
        Rules { acl: Some(acl.to_owned()), ..Rules::default() }
    }

    fn with_prefix(mode: KeyMode) -> Rules {
        let prefix = Some("app1:".to_owned());
        Rules { keys: KeyRules { mode, prefix, ..KeyRules::default() }, ..Rules::default() }
    }

    fn under_prefix(acl: &str) -> Rules {
        Rules { acl: Some(acl.to_owned()), ..with_prefix(KeyMode::Rewrite) }
    }

    /// What bounds keys or databases holds inside scripts, or takes them away where it cannot.
    #[test]
    fn scripts_of_each_kind_of_policy() {
        let none = "none, because keys are bound";
        let guarded = "guarded: every command inside a script";
        let open = "declared-keys: keys and commands inside a script are not seen";
        let mut pattern = Rules::default();
        pattern.keys.pattern = Some("a*".to_owned());
        let mut denied = Rules::default();
        denied.keys.deny = vec!["a*".to_owned()];
        for (rules, expected) in [
            (Rules::default(), Some(open)),
            (acl("+@all ~*"), Some(open)),
            (acl("+@all -@dangerous %RW~*"), Some(open)),
            (acl("+@all ~a"), Some(guarded)),
            (acl("+@all ~a ~b*"), Some(guarded)),
            (acl("+@all %R~*"), Some(guarded)),
            (acl("+@all"), Some(guarded)),
            (acl("+@all ~* db=0"), Some(guarded)),
            (acl("+@all -@scripting ~* (+eval ~a)"), Some(none)),
            (acl("+@all ~a (+eval ~*)"), Some(open)),
            (acl("+script|load ~a"), Some(guarded)),
            (acl("+@read -@scripting ~a"), None),
            (Rules { preset: Some("cache".to_owned()), ..Rules::default() }, None),
            (with_prefix(KeyMode::Enforce), Some(guarded)),
            (with_prefix(KeyMode::Rewrite), Some(guarded)),
            (pattern, Some(guarded)),
            (denied, Some(guarded)),
        ] {
            let shown = overview(&rules).scripts;
            let fits = match (&shown, expected) {
                (Some(shown), Some(words)) => shown.starts_with(words),
                (shown, expected) => shown.is_none() && expected.is_none(),
            };
            assert!(fits, "{rules:?}: {shown:?}");
        }
    }

    #[test]
    fn scripts_that_were_asked_for() {
        let with = |mode, rules: Rules| {
            let scripts = ScriptRules { mode: Some(mode), ..ScriptRules::default() };
            let Overview { scripts, warnings, .. } = overview(&Rules { scripts, ..rules });
            (scripts.unwrap_or_default(), warnings.len())
        };
        let bound = || with_prefix(KeyMode::Rewrite);
        let (text, warnings) = with(ScriptMode::DeclaredKeys, bound());
        assert!(text.contains("FLUSHALL included") && warnings == 1, "{text}");
        let (text, warnings) = with(ScriptMode::DeclaredKeys, Rules::default());
        assert!(text.contains("whatever the rules deny") && warnings == 0, "{text}");
        let (text, warnings) = with(ScriptMode::Allowlist, bound());
        assert_eq!(
            (text.as_str(), warnings),
            ("an empty list; what they do inside is not seen", 0)
        );
        assert_eq!(with(ScriptMode::Deny, bound()), ("none".to_owned(), 0));
    }

    #[test]
    fn commands_beyond_what_is_bound() {
        let warned = |rules: &Rules| {
            let warnings = overview(rules).warnings;
            warnings.into_iter().find(|(code, _)| *code == "POL-W004").map(|(_, text)| text)
        };
        let starts = |rules: &Rules, text: &str| {
            let shown = warned(rules).unwrap_or_default();
            assert!(shown.starts_with(text), "{shown}");
        };
        assert_eq!(warned(&Rules::default()), None);
        assert_eq!(warned(&acl("+@all ~*")), None);
        assert_eq!(warned(&acl("+@all ~app1:*")), None);
        assert_eq!(warned(&with_prefix(KeyMode::Enforce)), None);
        assert_eq!(warned(&with_prefix(KeyMode::Rewrite)), None);
        starts(&acl("+@all ~app1:* +config|get +function|load"), "config|get, function|load: ");
        starts(&acl("+@all ~app1:* (+slowlog|get allkeys)"), "slowlog|get: ");
        starts(&acl("+@all ~* db=0 +memory|doctor"), "memory|doctor: ");
        starts(&acl("+@all ~app1:* +acl"), "acl|deluser, acl|dryrun, acl|getuser, acl|list, ");
        let named =
            Rules { acl: Some("+@all +lastsave".to_owned()), ..with_prefix(KeyMode::Rewrite) };
        starts(&named, "lastsave: ");
    }

    #[test]
    fn modes() {
        let all = Rules { observe_all: true, ..Rules::default() };
        let some = Rules { observe: vec!["ttl".to_owned(), "command".to_owned()], ..all.clone() };
        let partly = Rules { observe_all: false, ..some.clone() };
        for (rules, mode, text) in [
            (Rules::default(), Mode::Enforce, "enforce"),
            (
                all,
                Mode::Observe,
                "observe: nothing is refused; what would be is counted and logged",
            ),
            (
                some,
                Mode::Observe,
                "observe: nothing is refused; what would be is counted and logged",
            ),
            (partly, Mode::Partly, "enforce, but these rules refuse nothing: command, ttl"),
        ] {
            let shown = overview(&rules);
            assert_eq!((shown.mode, shown.refuses.as_str()), (mode, text));
            assert_eq!(shown.warnings.len(), usize::from(mode != Mode::Enforce));
        }
    }

    #[test]
    fn keys() {
        for (rules, expected) in [
            (acl("+get ~a %R~b &c (+set ~d)"), "~a %R~b ~d"),
            (acl("+get"), "none"),
            (acl("+get db=0"), "none db=0"),
            (Rules::default(), "~*"),
            (with_prefix(KeyMode::Enforce), "~app1:*"),
            (
                with_prefix(KeyMode::Rewrite),
                "app1:* (rewrite: respgate puts the prefix before every key)",
            ),
            (under_prefix("+@read"), "none"),
            (
                under_prefix("+get ~user:* %R~b (+set ~c)"),
                "app1:user:* %R~app1:b app1:c (rewrite: respgate puts the prefix before every key)",
            ),
        ] {
            assert_eq!(overview(&rules).keys, expected);
        }
    }

    #[test]
    fn policies_that_allow_no_key() {
        for (rules, warned) in [
            (under_prefix("+@read"), true),
            (under_prefix("+@read ~*"), false),
            (acl("+@all"), true),
            (acl("+@all (+get ~a)"), false),
            (acl("+ping +publish +subscribe +time"), false),
            (acl("+@all -@all ~a resetkeys"), false),
            (with_prefix(KeyMode::Rewrite), false),
            (with_prefix(KeyMode::Enforce), false),
            (Rules { acl: Some("+@read".to_owned()), ..with_prefix(KeyMode::Enforce) }, false),
        ] {
            let warnings = overview(&rules).warnings;
            let found = warnings.iter().any(|(code, _)| *code == "POL-W005");
            assert_eq!(found, warned, "{:?}: {warnings:?}", rules.acl);
        }
    }
}

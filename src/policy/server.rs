//! The same rules for the server's own user: what holds even where a proxy cannot look.
//!
//! Owns: [`ServerRole`], [`server_rules`], [`differences`]. Never knows: servers, users, passwords.

use std::sync::Arc;

use super::acl::{self, Word};
use super::compile::pieces;
use super::pattern::escape;
use super::role::Selector;
use super::{Policy, RuleError, compile_with};
use crate::command::{self, Dictionary, Does, Flags, Reach, Script, Spec, TtlEffect};
use crate::config::{KeyMode, OnMissing, Rules, ScriptMode};

/// What respgate itself sends to a server, whatever the application may.
const OWN: &str =
    "+hello +auth +ping +select +client|setname +client|info +command +multi +exec +unwatch";

/// Commands that respgate passes on only where every key is allowed, but that a script could call: key
/// patterns of the server do not restrict them. A word about a command that the server does not know
/// would be an error.
fn reaches_unnamed_keys(spec: &Spec) -> bool {
    let reaches = match spec.reach {
        Reach::Move => true,
        Reach::Database(does) | Reach::Server(does) => does.access().is_some(),
        // These name their keys, or stay visible to scripts (see [`ServerRole::new`]).
        Reach::Named
        | Reach::Scan(_)
        | Reach::Copy
        | Reach::Migrate
        | Reach::ChannelScan
        | Reach::ChannelCount
        | Reach::Invalidations
        | Reach::Report => false,
    };
    reaches && spec.everywhere && !spec.flags.has(Flags::NOSCRIPT)
}

/// What one policy permits, in words for the server: what is in force together there.
#[derive(Debug, Default)]
pub(crate) struct ServerRole {
    root: Vec<String>,
    selectors: Vec<Vec<String>>,
}

impl ServerRole {
    /// The rules of a policy as its names are on the server.
    ///
    /// Scripts remain able to see other keys' names where `KEYS` or `SCAN` is allowed.
    ///
    /// # Errors
    ///
    /// Every word that cannot be applied.
    pub(crate) fn new(rules: &Rules, dictionary: &Arc<Dictionary>) -> Result<Self, Vec<RuleError>> {
        let policy = compile_with(rules, dictionary)?;
        let pieces = pieces(rules).map_err(|error| vec![error])?;
        let prefix = rules.keys.prefix.as_deref().filter(|_| rules.keys.mode == KeyMode::Rewrite);
        let prefix = prefix.map(|prefix| escape(prefix.as_bytes()));
        let prefix = prefix.map(|prefix| String::from_utf8_lossy(&prefix).into_owned());
        let mut role = Self::default();
        for word in pieces.iter().flat_map(|(_, text)| acl::words(text)).flatten() {
            role.add(word, prefix.as_deref(), dictionary);
        }
        role.root.extend(withheld(&policy.roles.role.root, prefix.is_some()));
        let sets = std::iter::once(&mut role.root).chain(&mut role.selectors);
        for (words, selector) in sets.zip(policy.roles.role.iter()) {
            let guarded = policy.scripts.mode() == ScriptMode::Guarded;
            let needs = needs(rules, selector, guarded);
            words.extend(needs.into_iter().map(str::to_owned));
        }
        Ok(role)
    }

    fn add(&mut self, word: Word<'_>, prefix: Option<&str>, dictionary: &Dictionary) {
        if let Some(inner) = acl::selector_words(word) {
            let (mut words, mut selector) = (Vec::new(), Selector::default());
            for word in inner {
                // That every word can be applied is known by now.
                let _ = acl::step(word.text, dictionary).and_then(|step| selector.apply(step, 0));
                words.push(on_server(word.text, prefix));
            }
            words.extend(withheld(&selector, prefix.is_some()));
            self.selectors.push(words);
        } else if word.text.eq_ignore_ascii_case("reset") {
            *self = Self::default();
        } else if word.text.eq_ignore_ascii_case("clearselectors") {
            self.selectors.clear();
        } else {
            self.root.push(on_server(word.text, prefix));
        }
    }
}

/// The rules as `ACL SETUSER` of the server takes them, for the user that respgate authenticates as:
/// what one of the roles permits is permitted, each but the first in selectors. They begin from nothing
/// and leave passwords alone.
///
/// # Errors
///
/// The word that cannot be in a selector.
pub(crate) fn server_rules(roles: &[ServerRole]) -> Result<Vec<String>, String> {
    let sets = |role: &'_ ServerRole| -> Vec<Vec<String>> {
        std::iter::once(&role.root).chain(&role.selectors).cloned().collect()
    };
    let mut sets = roles.iter().flat_map(sets);
    let root = sets.next().unwrap_or_default();
    let mut selectors: Vec<Vec<String>> = Vec::new();
    for words in sets {
        if !words.is_empty() && words != root && !selectors.contains(&words) {
            selectors.push(words);
        }
    }
    let about_databases = |word: &String| {
        let word = word.to_ascii_lowercase();
        word == "resetdbs" || word.starts_with("db=")
    };
    if root.iter().chain(selectors.iter().flatten()).any(about_databases) {
        // Each is alone with its databases, those that respgate selects included.
        selectors.iter_mut().for_each(|selector| selector.push("+select".to_owned()));
    }
    let mut words: Vec<String> =
        ["clearselectors", "resetkeys", "resetchannels", "-@all"].map(str::to_owned).into();
    words.extend(root);
    words.extend(OWN.split(' ').map(str::to_owned));
    for selector in selectors {
        if let Some(word) = selector.iter().find(|word| !fits_selector(word)) {
            return Err(word.clone());
        }
        words.push(format!("({})", selector.join(" ")));
    }
    Ok(words)
}

/// Whether the server reads a word within parentheses as it does outside (acl.c,
/// `ACLMergeSelectorArguments`; sds.c, `sdssplitargs`).
fn fits_selector(word: &str) -> bool {
    !word.ends_with(')') && !word.contains(|c: char| c.is_whitespace() || "\"'".contains(c))
}

/// What the rules of a selector must take back. A key does not leave its prefix with `MOVE`.
fn withheld(selector: &Selector, has_prefix: bool) -> Vec<String> {
    let is_withheld = |spec: &&Spec| {
        let stays =
            if has_prefix { spec.reach == Reach::Move } else { selector.is_open_to(spec.reach) };
        reaches_unnamed_keys(spec) && selector.allows(spec.id) && !stays
    };
    let withheld = command::all().iter().filter(is_withheld);
    withheld.map(|spec| format!("-{}", spec.name)).collect()
}

/// What respgate itself sends on the keys of a selector: behind a write, and to scan all keys of
/// the application. The prologue of `guarded` scripts is tried with EVAL, writes fractional numbers by
/// ECHO, and looks at times to live.
fn needs(rules: &Rules, selector: &Selector, guarded: bool) -> Vec<&'static str> {
    let reaches = |does| {
        let is_permitted =
            |spec: &Spec| spec.reach == Reach::Database(does) && selector.allows(spec.id);
        command::all().iter().any(is_permitted)
    };
    let writes = |spec: &Spec| spec.lifetime != TtlEffect::Untouched && selector.allows(spec.id);
    let mut needs = Vec::new();
    let shortens = rules.ttl.on_missing == OnMissing::Inject || rules.ttl.max.is_some();
    if shortens && command::all().iter().any(writes) {
        needs.extend(["+expire", "+pexpire"]);
    }
    let runs = |spec: &Spec| spec.script.is_some_and(Script::runs) && selector.allows(spec.id);
    if guarded && command::all().iter().any(runs) {
        let own = [("eval", "+eval"), ("echo", "+echo"), ("pttl", "+pttl")];
        let lacks = |name| command::by_name(name).is_some_and(|spec| !selector.allows(spec.id));
        let lacking = own.iter().filter(|(name, _)| (*name != "pttl" || shortens) && lacks(*name));
        needs.extend(lacking.map(|(_, word)| *word));
    }
    if rules.keys.flushdb && reaches(Does::RemovesKeys) {
        needs.extend(["+scan", "+unlink"]);
    } else if rules.keys.dbsize && reaches(Does::CountsKeys) {
        needs.push("+scan");
    }
    needs
}

/// A word as it is meant for names that carry the prefix.
fn on_server(text: &str, prefix: Option<&str>) -> String {
    let Some(prefix) = prefix else { return text.to_owned() };
    match (text.split_once('~'), text.strip_prefix('&')) {
        _ if text.eq_ignore_ascii_case("allkeys") => format!("~{prefix}*"),
        _ if text.eq_ignore_ascii_case("allchannels") => format!("&{prefix}*"),
        (Some((access, pattern)), _) if access.is_empty() || access.starts_with('%') => {
            format!("{access}~{prefix}{pattern}")
        }
        (_, Some(pattern)) => format!("&{prefix}{pattern}"),
        _ => text.to_owned(),
    }
}

/// What the rules of a live user permit or refuse otherwise than `wanted`, a line each; none when they
/// are the same. Selectors count with the root: what one of them permits is permitted.
#[must_use]
pub(crate) fn differences(wanted: &Policy, live: &Policy) -> Vec<String> {
    let allows = |policy: &Policy, spec: &Spec| {
        spec.flags.has(Flags::NO_AUTH) || policy.roles.role.iter().any(|one| one.allows(spec.id))
    };
    let only = |a: &Policy, b: &Policy| {
        let commands = command::all().iter().filter(|spec| !spec.container);
        commands
            .filter(|spec| allows(a, spec) && !allows(b, spec))
            .map(|spec| spec.name.to_owned())
            .collect::<Vec<_>>()
    };
    let names =
        |policy: &Policy| policy.roles.role.iter().flat_map(Selector::words).collect::<Vec<_>>();
    let (ours, theirs) = (names(wanted), names(live));
    let missing = |a: &[String], b: &[String]| {
        a.iter().filter(|word| !b.contains(word)).cloned().collect::<Vec<_>>()
    };
    let rows = [
        ("the server refuses", only(wanted, live)),
        ("the server permits besides", only(live, wanted)),
        ("names the server does not have", missing(&ours, &theirs)),
        ("names the server has besides", missing(&theirs, &ours)),
    ];
    let rows = rows.into_iter().filter(|(_, words)| !words.is_empty());
    let rows: Vec<String> =
        rows.map(|(what, words)| format!("{what}: {}", words.join(" "))).collect();
    if rows.is_empty() { apart(wanted, live) } else { rows }
}

/// What is in one of two roles alone, by its names: the same commands and the same
/// names may be paired otherwise.
fn apart(wanted: &Policy, live: &Policy) -> Vec<String> {
    let counts = |spec: &&Spec| !spec.container && !spec.flags.has(Flags::NO_AUTH);
    let commands: Vec<_> = command::all().iter().filter(counts).map(|spec| spec.id).collect();
    let only = |a: &Policy, b: &Policy, what: &str| {
        let alone =
            |one: &&Selector| !b.roles.role.iter().any(|other| one.permits_as(other, &commands));
        let line = |one: &Selector| format!("{what}: {}", one.words().join(" "));
        a.roles.role.iter().filter(alone).map(line).collect::<Vec<_>>()
    };
    let missing = only(wanted, live, "the server permits other commands on");
    let besides = only(live, wanted, "the server has further rules on");
    if missing.is_empty() { besides } else { missing }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::config::KeyRules;

    fn role(rules: &Rules) -> ServerRole {
        ServerRole::new(rules, &Arc::default()).unwrap()
    }

    fn words(rules: &Rules) -> String {
        server_rules(&[role(rules)]).unwrap().join(" ")
    }

    #[test]
    fn words_for_guarded_scripts_are_those_that_the_policy_lacks() {
        let mut rules = Rules { acl: Some("+set +evalsha ~a:*".to_owned()), ..Rules::default() };
        let begin = "clearselectors resetkeys resetchannels -@all";
        assert_eq!(words(&rules), format!("{begin} +set +evalsha ~a:* +eval +echo {OWN}"));
        rules.ttl.default = Some(std::time::Duration::from_secs(60));
        rules.ttl.on_missing = OnMissing::Inject;
        assert!(words(&rules).contains("+expire +pexpire +eval +echo +pttl"), "{}", words(&rules));
        rules.scripts.mode = Some(ScriptMode::DeclaredKeys);
        assert!(!words(&rules).contains("+echo"));
        rules.scripts.mode = None;
        rules.acl = Some("+@all ~a:*".to_owned());
        assert!(!words(&rules).contains("+echo"), "it is allowed already");
    }

    #[test]
    fn words_in_their_order_then_what_respgate_needs() {
        let acl = |text: &str| Rules { acl: Some(text.to_owned()), ..Rules::default() };
        assert_eq!(
            words(&acl("+hset ~a:* (+get %R~b)")),
            format!("clearselectors resetkeys resetchannels -@all +hset ~a:* {OWN} (+get %R~b)")
        );
        assert_eq!(
            words(&acl("+flushall +dbsize +keys %R~* ~a:* (+@all allkeys) (+flushdb ~a:*)")),
            format!(
                "clearselectors resetkeys resetchannels -@all +flushall +dbsize +keys %R~* ~a:* \
                 -flushall {OWN} (+@all allkeys) (+flushdb ~a:* -flushdb)"
            )
        );
        let keys = KeyRules {
            mode: KeyMode::Rewrite,
            prefix: Some("a*:".to_owned()),
            flushdb: true,
            ..KeyRules::default()
        };
        let rules = Rules { keys, ..acl("+get %W~y* &x (+set ~* allchannels)") };
        assert_eq!(
            words(&rules),
            format!(
                "clearselectors resetkeys resetchannels -@all +get %W~a\\*:y* &a\\*:x \
                 +flushdb -flushdb +scan +unlink {OWN} (+set ~a\\*:* &a\\*:*)"
            )
        );
    }

    /// What is reset in the words of a policy is not reset on the server: there it would be the user.
    #[test]
    fn server_user_for_several_policies() {
        let acl = |text: &str| Rules { acl: Some(text.to_owned()), ..Rules::default() };
        let printed = |texts: &[&str]| {
            let roles: Vec<ServerRole> = texts.iter().map(|text| role(&acl(text))).collect();
            let words = server_rules(&roles).map(|words| words.join(" "));
            words.map(|words| {
                let begin = "clearselectors resetkeys resetchannels -@all";
                words.replace(begin, "…").replace(OWN, "own")
            })
        };
        assert_eq!(
            printed(&["+get ~a (+set ~b)", "+set ~b", "+get ~a", "(+del ~c)", "+dbsize ~d"])
                .unwrap(),
            "… +get ~a own (+set ~b) (+del ~c) (+dbsize ~d -dbsize)"
        );
        assert_eq!(
            printed(&["+set (+get) reset +get ~a", "+hget (+get) clearselectors (+set ~b)"])
                .unwrap(),
            "… +get ~a own (+hget) (+set ~b)"
        );
        assert_eq!(
            printed(&["+get ~a", "+set ~b db=1"]).unwrap(),
            "… +get ~a own (+set ~b db=1 +select)"
        );
        assert_eq!(printed(&[]).unwrap(), "… own");
        for word in ["~b)", "~b\"", "~'b"] {
            let rules = format!("+set {word}");
            assert_eq!(printed(&["+get", &rules]).unwrap_err(), word);
            assert!(printed(&[&rules, "+get"]).unwrap().contains(word));
        }
    }

    #[test]
    fn words_that_stand_together_otherwise() {
        let read = |acl: &str| {
            let rules = Rules { acl: Some(acl.to_owned()), ..Rules::default() };
            compile_with(&rules, &Arc::default()).unwrap()
        };
        let wanted = read("+get ~a (+set ~b)");
        let differences = |live: &str| differences(&wanted, &read(live));
        assert!(differences("+set ~b (+get ~a)").is_empty());
        assert!(differences("+get ~a +ping (+set ~b)").len() == 1);
        assert_eq!(
            differences("+set ~a (+get ~b)"),
            [
                "the server permits other commands on: ~a",
                "the server permits other commands on: ~b"
            ]
        );
        assert_eq!(
            differences("+get ~a (+set ~b) (+get +set ~a ~b)"),
            ["the server has further rules on: ~a ~b"]
        );
    }
}

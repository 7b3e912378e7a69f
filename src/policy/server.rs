//! The same rules for the server's own user: what holds even where a proxy cannot look.
//!
//! Owns: [`server_rules`], [`differences`]. Never knows: servers, users, passwords.

use std::sync::Arc;

use super::acl::{self, Word};
use super::compile::pieces;
use super::keyspace::Hazards;
use super::pattern::escape;
use super::role::Selector;
use super::{Policy, RuleError, compile_with};
use crate::command::{self, Dictionary, Flags, Spec};
use crate::config::{KeyMode, OnMissing, Rules};

/// What respgate itself says to a server, whatever the application may.
const OWN: &str = "+hello +auth +ping +select +client|setname +command +multi +exec +unwatch";

/// What a script could say although respgate passes it on only where every key is allowed; key
/// patterns of the server do not hold it back. Every server has them.
const UNNAMED_KEYS: [&str; 10] = [
    "randomkey",
    "dbsize",
    "move",
    "swapdb",
    "flushall",
    "flushdb",
    "memory|stats",
    "slowlog|get",
    "cluster|getkeysinslot",
    "cluster|countkeysinslot",
];

/// The rules of a policy as `ACL SETUSER` of the server takes them, for the user that respgate
/// authenticates as. They begin from nothing and leave passwords alone.
///
/// Scripts remain able to see other keys' names where `KEYS` or `SCAN` is allowed.
///
/// # Errors
///
/// Every word that cannot be applied.
pub fn server_rules(
    rules: &Rules,
    dictionary: &Arc<Dictionary>,
) -> Result<Vec<String>, Vec<RuleError>> {
    let policy = compile_with(rules, dictionary)?;
    let pieces = pieces(rules).map_err(|error| vec![error])?;
    let prefix = rules.keys.prefix.as_deref().filter(|_| rules.keys.mode == KeyMode::Rewrite);
    let prefix = prefix.map(|prefix| escape(prefix.as_bytes()));
    let prefix = prefix.map(|prefix| String::from_utf8_lossy(&prefix).into_owned());
    let mut words: Vec<String> =
        ["clearselectors", "resetkeys", "resetchannels", "-@all"].map(str::to_owned).into();
    for (_, text) in &pieces {
        let known = acl::words(text).into_iter().flatten();
        words.extend(known.map(|word| on_server(word, prefix.as_deref(), dictionary)));
    }
    words.extend(withheld(&policy.role.root, prefix.is_some()));
    words.extend(OWN.split(' ').map(str::to_owned));
    if rules.ttl.on_missing == OnMissing::Inject {
        words.extend(["+expire", "+pexpire"].map(str::to_owned));
    }
    if rules.keys.flushdb {
        words.extend(["+scan", "+unlink"].map(str::to_owned));
    } else if rules.keys.dbsize {
        words.push("+scan".to_owned());
    }
    Ok(words)
}

/// What the rules of a selector must take back. A key does not leave its prefix with `MOVE`.
fn withheld(selector: &Selector, has_prefix: bool) -> Vec<String> {
    let hazards = Hazards::new();
    let is_withheld = |name: &&str| {
        let Some(spec) = command::by_name(name) else { return false };
        let stays = hazards.get(spec.id).is_none_or(|hazard| {
            if has_prefix { *name == "move" } else { hazard.is_open_to(selector) }
        });
        selector.allows(spec.id) && !stays
    };
    UNNAMED_KEYS.into_iter().filter(is_withheld).map(|name| format!("-{name}")).collect()
}

/// A word as it is meant for names that carry the prefix.
fn on_server(word: Word<'_>, prefix: Option<&str>, dictionary: &Dictionary) -> String {
    if let Some(inner) = acl::selector_words(word) {
        let (mut words, mut selector) = (Vec::new(), Selector::default());
        for word in inner {
            // That every word can be applied is known by now.
            let _ = acl::step(word.text, dictionary).and_then(|step| selector.apply(step, 0));
            words.push(on_server(word, prefix, dictionary));
        }
        words.extend(withheld(&selector, prefix.is_some()));
        return format!("({})", words.join(" "));
    }
    let Some(prefix) = prefix else { return word.text.to_owned() };
    let text = word.text;
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
pub fn differences(wanted: &Policy, live: &Policy) -> Vec<String> {
    let allows = |policy: &Policy, spec: &Spec| {
        spec.flags.has(Flags::NO_AUTH) || policy.role.iter().any(|one| one.allows(spec.id))
    };
    let only = |a: &Policy, b: &Policy| {
        let commands = command::all().iter().filter(|spec| !spec.container);
        commands
            .filter(|spec| allows(a, spec) && !allows(b, spec))
            .map(|spec| spec.name.to_owned())
            .collect::<Vec<_>>()
    };
    let names = |policy: &Policy| policy.role.iter().flat_map(Selector::words).collect::<Vec<_>>();
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
    rows.map(|(what, words)| format!("{what}: {}", words.join(" "))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::config::KeyRules;

    fn words(rules: &Rules) -> String {
        server_rules(rules, &Arc::default()).unwrap().join(" ")
    }

    #[test]
    fn the_words_in_their_order_then_what_respgate_needs() {
        let acl = |text: &str| Rules { acl: Some(text.to_owned()), ..Rules::default() };
        assert_eq!(
            words(&acl("+hset ~a:* (+get %R~b)")),
            format!("clearselectors resetkeys resetchannels -@all +hset ~a:* (+get %R~b) {OWN}")
        );
        assert_eq!(
            words(&acl("+flushall +dbsize +keys %R~* ~a:* (+@all allkeys) (+flushdb ~a:*)")),
            format!(
                "clearselectors resetkeys resetchannels -@all +flushall +dbsize +keys %R~* ~a:* \
                 (+@all allkeys) (+flushdb ~a:* -flushdb) -flushall {OWN}"
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
                 (+set ~a\\*:* &a\\*:*) {OWN} +scan +unlink"
            )
        );
    }
}

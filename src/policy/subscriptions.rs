//! Whether subscriptions outlive a change of policy.
//!
//! Owns: the comparison. Never knows: which subscriptions there are, how they end.

use super::keyspace::{may_be_reserved, names_reserved};
use super::pattern::Pattern;
use super::role::{Scope, Selector};
use super::{Policy, Rule};

/// Whether every channel that was allowed under `old` is allowed under `policy`, and has the
/// same name at the server. As the server has it, patterns are compared letter by letter, and a
/// command that is taken away ends nothing (acl.c `ACLKillPubsubClientsIfNeeded`).
#[must_use]
pub(crate) fn keeps_subscriptions(policy: &Policy, old: &Policy) -> bool {
    policy.prefix() == old.prefix()
        && old.roles.role.iter().all(|had| allows_all_of(policy, had, old))
}

/// Whether every channel that one selector of `old` allowed is allowed under `policy`, with the same prefix.
fn allows_all_of(policy: &Policy, had: &Selector, old: &Policy) -> bool {
    let keeps = |pattern: Option<&Pattern>| {
        let named = pattern.is_some_and(names_reserved);
        let reserved = pattern.is_none_or(|known| may_be_reserved(known.text(), true))
            && (named || had.reports_keys() || old.observes(Rule::Namespace));
        let fits = |has: &Selector| {
            let (keeps, names) = match &has.channels {
                Scope::All => (true, false),
                Scope::Only(known) => {
                    let has = pattern.is_some_and(|pattern| known.contains(pattern));
                    (has, has && named)
                }
            };
            let events = (names || has.reports_keys()) && has.databases.cover(&had.databases);
            (keeps || policy.observes(Rule::Channel))
                && (!reserved || events || policy.observes(Rule::Namespace))
        };
        policy.roles.role.iter().any(fits)
    };
    match &had.channels {
        Scope::Only(known) if !old.observes(Rule::Channel) => {
            known.iter().all(|pattern| keeps(Some(pattern)))
        }
        Scope::Only(_) | Scope::All => keeps(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::command::lookup;
    use crate::config::{KeyMode, KeyRules, Rules};
    use crate::policy::{Scratch, compile};
    use crate::resp::RequestBuf;

    fn rules(acl: &str) -> Rules {
        Rules { acl: Some(format!("+@all {acl}")), ..Rules::default() }
    }

    #[test]
    fn subscriptions_within_wider_rules_are_kept() {
        for (old, new, expected) in [
            ("", "", true),
            ("", "&a", true),
            ("&a &b", "&b &c &a", true),
            ("&a &b", "&a", false),
            ("&a &b", "&a (&b)", true),
            ("&a (+get &b)", "&a", false),
            ("&a*", "&a* -@pubsub", true),
            ("&a", "&a*", false),
            ("&a", "&*", true),
            ("&*", "&a &b", false),
            ("~* &*", "~* &*", true),
            ("~a &*", "~b &*", true),
            ("~* &*", "~a &*", false),
            ("~* &*", "~a &* (~* &*)", true),
            ("~* &a*", "~b &a*", true),
            ("~* &__key*", "~b &__key*", false),
            ("~* &__keyspace@*", "~b &__keyspace@*", true),
            ("~b &__keyspace@*", "~b &*", false),
            ("~b &__keyspace@*", "~b &__keyspace@* (~b &*)", true),
        ] {
            let (policy, before) = (compile(&rules(new)).unwrap(), compile(&rules(old)).unwrap());
            assert_eq!(keeps_subscriptions(&policy, &before), expected, "{old} -> {new}");
        }
    }

    #[test]
    fn changed_prefix_and_observed_rules_end_subscriptions() {
        let prefix = |prefix: &str| {
            let (mode, prefix) = (KeyMode::Rewrite, Some(prefix.to_owned()));
            Rules { keys: KeyRules { mode, prefix, ..KeyRules::default() }, ..rules("~* &*") }
        };
        let observed = |rule: &str| Rules { observe: vec![rule.to_owned()], ..rules("~a &a") };
        for (old, new, expected) in [
            (prefix("a:"), prefix("a:"), true),
            (prefix("a:"), prefix("b:"), false),
            (prefix("a:"), rules("~* &*"), false),
            (rules("~* &*"), prefix("a:"), false),
            (rules("~a &b"), observed("channel"), true),
            (observed("channel"), rules("~a &a"), false),
            (rules("~* &__key*"), rules("~a &__key*"), false),
            (observed("channel"), observed("namespace"), false),
        ] {
            let (old, new) = (compile(&old).unwrap(), compile(&new).unwrap());
            assert_eq!(keeps_subscriptions(&new, &old), expected);
        }
    }

    proptest::proptest! {
        /// Subscriptions that are reported as still permitted are permitted.
        #[test]
        fn subscriptions_promised_are_kept(
            old in "(~\\*|~a)( &(n|n\\*|__key\\*|__keyspace@0__:a|_\\*)){0,3}( \\((~\\*|~a) &\\*\\))?",
            new in "(~\\*|~a)( &(n|n\\*|__key\\*|__keyspace@0__:a|_\\*)){0,3}( \\((~\\*|~a) &\\*\\))?",
        ) {
            let [old, new] =
                [old, new].map(|acl| compile(&rules(&acl.replace('(', "(+@all "))).unwrap());
            let may = |policy: &Policy, words: [&str; 2]| {
                let request = RequestBuf::from_args(words);
                let request = request.as_request();
                policy.decide(lookup(&request), &request, 0, &mut Scratch::default()).is_ok()
            };
            let names = ["n", "nn", "n*", "__key*", "__keyspace@0__:a", "_*", "_x", "*", "other"];
            let lost = |command| {
                names.iter().any(|name| may(&old, [command, name]) && !may(&new, [command, name]))
            };
            if keeps_subscriptions(&new, &old) {
                proptest::prop_assert!(!["subscribe", "psubscribe", "ssubscribe"].into_iter().any(lost));
            }
        }
    }
}

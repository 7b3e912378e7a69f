//! Prefixes that do not keep two policies apart.
//!
//! Owns: [`overlaps`]. Never knows: requests, the use of the result.

use super::compile::pieces;
use crate::config::{KeyMode, Rules};

/// A line for each two policies of which one reaches the keys of the other, because its prefix is the
/// beginning of the other's. The same prefix is the same keys on purpose.
#[must_use]
pub(crate) fn overlaps<'a>(policies: impl Iterator<Item = (String, &'a Rules)>) -> Vec<String> {
    let with_prefix = |(section, rules)| Some((section, prefix(rules)?));
    let all: Vec<(String, &str)> = policies.filter_map(with_prefix).collect();
    let mut lines = Vec::new();
    for (outer, short) in &all {
        for (inner, long) in &all {
            if long != short && long.starts_with(short) {
                let beginning = format!("keys.prefix {short:?} is the beginning of {long:?}");
                lines.push(format!("{outer} reaches the keys of {inner}: {beginning}"));
            }
        }
    }
    lines
}

/// The text before all keys of a policy, unless its rules name keys otherwise.
fn prefix(rules: &Rules) -> Option<&str> {
    let checked = || {
        let pieces = pieces(rules).unwrap_or_default();
        pieces.iter().any(|(setting, word)| *setting == "keys.prefix" && word.starts_with('~'))
    };
    let holds = rules.keys.mode == KeyMode::Rewrite || checked();
    rules.keys.prefix.as_deref().filter(|_| holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeyRules;

    fn rules(mode: KeyMode, prefix: &str, acl: &str) -> Rules {
        let keys = KeyRules { mode, prefix: Some(prefix.to_owned()), ..KeyRules::default() };
        Rules { keys, acl: Some(acl.to_owned()), ..Rules::default() }
    }

    #[test]
    fn overlap_of_a_prefix_with_its_beginning() {
        let policies = [
            ("a", rules(KeyMode::Rewrite, "a:", "+@all ~x")),
            ("ab", rules(KeyMode::Rewrite, "a:b:", "+@all ~*")),
            ("again", rules(KeyMode::Rewrite, "a:b:", "+@all ~*")),
            ("b", rules(KeyMode::Rewrite, "b:", "+@all ~*")),
            ("checked", rules(KeyMode::Enforce, "b:c:", "+@all")),
            ("by name", rules(KeyMode::Enforce, "b", "+@all ~c:*")),
            ("none", Rules::default()),
        ];
        let policies = policies.iter().map(|(name, rules)| ((*name).to_owned(), rules));
        assert_eq!(
            overlaps(policies),
            [
                "a reaches the keys of ab: keys.prefix \"a:\" is the beginning of \"a:b:\"",
                "a reaches the keys of again: keys.prefix \"a:\" is the beginning of \"a:b:\"",
                "b reaches the keys of checked: keys.prefix \"b:\" is the beginning of \"b:c:\"",
            ]
        );
    }
}

//! Sets of kinds of rule.
//!
//! Owns: [`RuleSet`]. Never knows: requests, texts for clients.

use crate::base::rule::Rule;

/// Some of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleSet(u32);

impl RuleSet {
    /// Every rule that can be only observed. A request that the server itself would not understand,
    /// or whose effect on a connection is unknown, is refused all the same.
    pub(crate) const OBSERVABLE: Self = {
        let (mut bits, mut rules) = (0, Rule::ALL.as_slice());
        while let Some((rule, rest)) = rules.split_first() {
            if !matches!(rule, Rule::Unknown | Rule::Arity | Rule::Blocked | Rule::Incomplete) {
                bits |= 1 << *rule as u32;
            }
            rules = rest;
        }
        Self(bits)
    };

    #[must_use]
    pub(crate) const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }

    #[must_use]
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rules in it, in their order.
    pub(crate) fn iter(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.into_iter().filter(move |rule| self.has(*rule))
    }

    /// The rules of these names.
    ///
    /// # Errors
    ///
    /// With the first name that no observable rule has.
    pub(crate) fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        names.into_iter().try_fold(Self::default(), |Self(bits), name| {
            let rule = Rule::ALL.into_iter().find(|rule| rule.label() == name);
            let rule = rule.filter(|rule| Self::OBSERVABLE.has(*rule)).ok_or(name)?;
            Ok(Self(bits | 1 << rule as u32))
        })
    }
}

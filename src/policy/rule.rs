//! The kinds of rule that can refuse a request, by the names that metrics and the configuration use.
//!
//! Owns: [`Rule`], [`RuleSet`]. Never knows: requests, texts for clients.

/// The kind of rule that refused: the label of the counter and the field of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// No such command, or no such subcommand.
    Unknown,
    /// Too few or too many arguments.
    Arity,
    /// The keys cannot be found, and not every key is allowed.
    Syntax,
    /// The command is denied by name, or nothing allows it.
    Command,
    /// The command is denied by its category.
    Category,
    /// A key is outside the patterns, or the command would reach such keys without naming them.
    Namespace,
    /// A channel is outside the patterns.
    Channel,
    /// A script or function that may not run.
    Script,
    /// Too often.
    Rate,
    /// Too many at once.
    Concurrency,
    /// A key that the rules about keys do not allow.
    Key,
    /// A value, or the number of them, that the rules about values do not allow.
    Value,
    /// A time to live that is missing or too long.
    Ttl,
    /// An operator has denied it for a while.
    Blocked,
    /// Not a refusal: the request is not all there. Collect it and ask again.
    Incomplete,
}

impl Rule {
    pub const ALL: [Self; 15] = [
        Self::Unknown,
        Self::Arity,
        Self::Syntax,
        Self::Command,
        Self::Category,
        Self::Namespace,
        Self::Channel,
        Self::Script,
        Self::Rate,
        Self::Concurrency,
        Self::Key,
        Self::Value,
        Self::Ttl,
        Self::Blocked,
        Self::Incomplete,
    ];

    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Arity => "arity",
            Self::Syntax => "syntax",
            Self::Command => "command",
            Self::Category => "category",
            Self::Namespace => "namespace",
            Self::Channel => "channel",
            Self::Script => "script",
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
            Self::Key => "key",
            Self::Value => "value",
            Self::Ttl => "ttl",
            Self::Blocked => "blocked",
            Self::Incomplete => "incomplete",
        }
    }
}

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

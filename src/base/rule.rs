//! The kinds of rule that can refuse a request, by the names that metrics and the configuration use.
//!
//! Owns: [`Rule`]. Never knows: requests, policies, metrics.

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

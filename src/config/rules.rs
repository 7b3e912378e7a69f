//! Settings of the policy: what may pass, in Redis's own ACL language.
//!
//! Owns: [`Rules`]. Never knows: how a rule is applied.

/// What an application may do.
///
/// | `preset` | `acl` | meaning |
/// |---|---|---|
/// | none | none | the safe default, as `preset = "default"` |
/// | some | none | the rules that the preset stands for |
/// | some | some | those rules, then `acl` |
/// | none | some | `acl` alone, on a role that may nothing: no commands, no keys, no channels |
///
/// A preset speaks of commands: all keys and all channels are allowed unless `acl` names some.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rules {
    /// Named starting point that expands to ACL rules; one of [`Rules::PRESETS`].
    pub preset: Option<String>,
    /// ACL rules as Redis's `ACL SETUSER` takes them.
    pub acl: Option<String>,
}

impl Rules {
    /// The presets there are.
    pub const PRESETS: [&'static str; 5] = ["default", "cache", "readwrite", "readonly", "full"];
}

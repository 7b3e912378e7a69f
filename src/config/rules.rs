//! Settings of the policy: what may pass, in Redis's own ACL language.
//!
//! Owns: [`Rules`]. Never knows: how a rule is applied.

/// What an application may do.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rules {
    /// Named starting point that expands to ACL rules: `cache`, `readwrite`, `readonly`, `full`.
    pub preset: Option<String>,
    /// ACL rules as Redis's `ACL SETUSER` takes them, after those of the preset; `None` and no
    /// preset: the safe default.
    pub acl: Option<String>,
}

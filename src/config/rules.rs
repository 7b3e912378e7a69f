//! Settings of the policy: what may pass, in Redis's own ACL language.
//!
//! Owns: [`Rules`] and its parts. Never knows: how a rule is applied.

use std::time::Duration;

use super::rate::LimitRule;
use super::scripts::ScriptRules;

/// What an application may do.
///
/// | `preset` | `acl` | meaning |
/// |---|---|---|
/// | none | none | the safe default, as `preset = "default"` |
/// | some | none | the rules that the preset means |
/// | some | some | those rules, then `acl` |
/// | none | some | `acl` alone, on a role that may nothing: no commands, no keys, no channels |
///
/// A preset has rules of commands: all keys and all channels are allowed unless `acl` names some.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rules {
    /// Named starting point that expands to ACL rules; one of [`Rules::PRESETS`].
    pub preset: Option<String>,
    /// ACL rules as Redis's `ACL SETUSER` takes them.
    pub acl: Option<String>,
    /// Nothing is refused, what would be is counted and logged.
    pub observe_all: bool,
    /// Rules that refuse nothing and are counted and logged, by name.
    pub observe: Vec<String>,
    pub keys: KeyRules,
    pub values: ValueRules,
    pub ttl: TtlRules,
    pub scripts: ScriptRules,
    /// Each holds by itself.
    pub limits: Vec<LimitRule>,
    pub degraded: Degraded,
}

/// What commands are answered while the server cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Degraded {
    /// Commands wait or fail, according to `upstream.on_outage`.
    #[default]
    Error,
    /// Reads are answered as by a server without data, writes with errors.
    Miss,
}

/// What keys look like, and whether the application shares them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyRules {
    pub mode: KeyMode,
    /// The text before every key and channel: the application writes it, or with
    /// [`KeyMode::Rewrite`] respgate does.
    pub prefix: Option<String>,
    /// With [`KeyMode::Rewrite`]: `FLUSHDB` and `DBSIZE` scan the application's own keys.
    pub flushdb: bool,
    pub dbsize: bool,
    /// The longest key, bytes as the application writes it.
    pub max_bytes: Option<usize>,
    /// A glob that every key must match.
    pub pattern: Option<String>,
    pub charset: Charset,
    /// Globs of keys that no command may name.
    pub deny: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyMode {
    /// Keys travel as they are; those outside the ACL's patterns are refused.
    #[default]
    Enforce,
    /// The prefix is put before every key of a request and taken off every key of a reply.
    Rewrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Charset {
    #[default]
    Any,
    /// Visible ASCII, no blanks.
    Printable,
    Utf8,
}

/// What values look like.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ValueRules {
    /// The longest argument that is no key, bytes.
    pub max_bytes: Option<u64>,
    /// Arguments of one command that writes.
    pub max_args: Option<u32>,
    pub encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Any,
    Utf8,
    Json,
}

/// How long keys live.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TtlRules {
    pub default: Option<Duration>,
    pub max: Option<Duration>,
    /// A write that leaves a key without a time to live.
    pub on_missing: OnMissing,
    /// A time to live above `max`.
    pub on_exceed: OnExceed,
    /// Globs of keys the rules are for; none: all.
    pub apply_to: Vec<String>,
    /// Globs of keys they are not for.
    pub exempt: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnMissing {
    #[default]
    Allow,
    /// The key gets the time to live `default`.
    Inject,
    Reject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnExceed {
    #[default]
    Clamp,
    Reject,
}

impl Rules {
    /// The presets there are.
    pub const PRESETS: [&'static str; 5] = ["default", "cache", "readwrite", "readonly", "full"];
}

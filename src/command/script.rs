//! What a command has to do with scripts and functions.
//!
//! Owns: [`Script`]. Never knows: which scripts may run.

use super::{Categories, Spec};

/// What runs, or what changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// `EVAL`, `SCRIPT LOAD` and kin: the script's text is the argument of this number.
    Text { arg: usize },
    /// `EVALSHA` and kin: its first argument is the SHA-1 of a script that the server has seen.
    Digest,
    /// `FCALL` and kin: its first argument is the name of a function that the server has.
    Function,
    /// What the server keeps, or runs for others, is replaced, removed or stopped.
    Change,
}

impl Script {
    /// The argument that says which script.
    #[must_use]
    pub const fn argument(self) -> usize {
        match self {
            Self::Text { arg } => arg,
            Self::Digest | Self::Function | Self::Change => 1,
        }
    }
}

/// What `spec` does with scripts; `None`: nothing, or it only tells about them.
#[must_use]
pub fn script(spec: &Spec) -> Option<Script> {
    if !spec.categories.has(Categories::SCRIPTING) {
        return None;
    }
    match spec.name {
        "eval" | "eval_ro" => Some(Script::Text { arg: 1 }),
        "script|load" => Some(Script::Text { arg: 2 }),
        "evalsha" | "evalsha_ro" => Some(Script::Digest),
        "fcall" | "fcall_ro" => Some(Script::Function),
        "script|flush" | "script|kill" | "function|delete" | "function|flush" | "function|kill"
        | "function|load" | "function|restore" => Some(Script::Change),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;

    /// A command that a later server brings must be thought about.
    #[test]
    fn every_scripting_command_is_known() {
        let harmless = all().iter().filter(|spec| {
            spec.categories.has(Categories::SCRIPTING) && !spec.container && script(spec).is_none()
        });
        let names: Vec<&str> = harmless.map(|spec| spec.name).collect();
        assert_eq!(
            names,
            [
                "function|dump",
                "function|help",
                "function|list",
                "function|stats",
                "script|debug",
                "script|exists",
                "script|help",
                "script|show",
            ]
        );
    }
}

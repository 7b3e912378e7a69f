//! The scripts and functions that were seen.
//!
//! Owns: [`SeenScripts`]. Never knows: their texts, whether they may run.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::base::limits;
use crate::base::sha1::Sha1;
use crate::command::{Script, Spec};
use crate::resp::Request;

#[derive(Debug, Default)]
pub(super) struct SeenScripts {
    scripts: BTreeSet<Sha1>,
    functions: BTreeSet<String>,
    /// What a list cannot permit: too many, or a change of what the server keeps.
    unlisted: bool,
}

impl SeenScripts {
    pub(crate) fn note(&mut self, spec: &'static Spec, request: &Request<'_>) {
        let Some(what) = spec.script else { return };
        if matches!(what, Script::Exists | Script::Shows) {
            return;
        }
        let changes = matches!(what, Script::Change { .. });
        let Some(named) = request.arg(what.argument()).filter(|_| !changes) else {
            self.unlisted = true;
            return;
        };
        let listed = match what {
            Script::Text { .. } => add(&mut self.scripts, Sha1::of(named)),
            // The server has no script of another name.
            Script::Digest => Sha1::parse(named).is_none_or(|sha| add(&mut self.scripts, sha)),
            Script::Function => match std::str::from_utf8(named) {
                Ok(name) if name.len() <= limits::LEARN_FUNCTION_BYTES_MAX => {
                    add(&mut self.functions, name.to_owned())
                }
                _ => false,
            },
            Script::Change { .. } | Script::Exists | Script::Shows => false,
        };
        self.unlisted |= !listed;
    }

    pub(crate) fn any(&self) -> bool {
        self.unlisted || !self.scripts.is_empty() || !self.functions.is_empty()
    }

    /// The settings that permit them, under `section`; nothing when there are none.
    pub(crate) fn write(&self, section: &str, text: &mut String) {
        if self.unlisted {
            let _ = write!(
                text,
                "\n# More scripts than a list can hold, or scripts that change what the server keeps. A script\n\
                 # can use any key: give the server's user the rules below.\n\
                 [{section}.scripts]\nmode = \"declared-keys\"\n"
            );
            return;
        }
        if !self.any() {
            return;
        }
        let quoted = |name: &String| format!("{name:?}");
        let scripts: Vec<String> = self.scripts.iter().map(|sha| format!("\"{sha}\"")).collect();
        let functions: Vec<String> = self.functions.iter().map(quoted).collect();
        let _ = write!(text, "\n[{section}.scripts]\nmode = \"allowlist\"\n");
        for (key, listed) in [("allow", scripts), ("allow_functions", functions)] {
            if !listed.is_empty() {
                let _ = writeln!(text, "{key} = [{}]", listed.join(", "));
            }
        }
    }
}

/// Whether it is among them now.
fn add<T: Ord>(seen: &mut BTreeSet<T>, new: T) -> bool {
    if seen.len() >= limits::LEARN_SCRIPTS_MAX && !seen.contains(&new) {
        return false;
    }
    seen.insert(new);
    true
}

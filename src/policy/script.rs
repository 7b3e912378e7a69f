//! The scripts and functions that may run.
//!
//! A script may build the names of keys and run any command that the server's user may: what it
//! declares is all that a proxy sees of it. So where a policy bounds keys or databases, scripts are
//! guarded, or do not run, unless the configuration lists those that may run as they are.
//!
//! Owns: [`Scripts`]. Never knows: files, what a script does.

use std::collections::HashSet;

use super::refusal::{Cause, No, Refusal};
use super::role::{Role, Selector};
use crate::base::rule::Rule;
use crate::base::sha1::Sha1;
use crate::command::{Access, Script, Spec, all};
use crate::config::{KeyRules, ScriptMode, ScriptRules};
use crate::resp::Request;

/// The part of a policy that is about scripts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Scripts {
    mode: ScriptMode,
    /// The mode follows from what the rest of the policy bounds.
    by_default: bool,
    /// The rest of the policy bounds what the caller of a script may reach.
    bound: bool,
    allowed: HashSet<Sha1>,
    functions: HashSet<Box<[u8]>>,
}

impl Scripts {
    /// `bound`: the rest of the policy bounds what the caller of a script may reach. `guardable`: it
    /// can be kept inside scripts.
    pub(super) fn new(rules: &ScriptRules, bound: bool, guardable: bool) -> Self {
        let default = match (bound, guardable) {
            (false, _) => ScriptMode::DeclaredKeys,
            (true, true) => ScriptMode::Guarded,
            (true, false) => ScriptMode::Deny,
        };
        Self {
            mode: rules.mode.unwrap_or(default),
            by_default: rules.mode.is_none(),
            bound,
            allowed: rules.allow.iter().copied().collect(),
            functions: rules.functions.iter().map(|name| name.as_bytes().into()).collect(),
        }
    }

    /// The mode in force.
    pub(super) const fn mode(&self) -> ScriptMode {
        self.mode
    }

    /// Whether no setting decides it.
    pub(super) const fn is_by_default(&self) -> bool {
        self.by_default
    }

    /// Whether a script could reach what its caller may not.
    pub(super) const fn are_bound(&self) -> bool {
        self.bound
    }

    /// Whether the request may run or load what it names, whatever else is allowed.
    pub(super) fn judge(
        &self,
        what: Script,
        spec: &'static Spec,
        request: &Request<'_>,
    ) -> Result<(), Refusal> {
        if self.mode == ScriptMode::DeclaredKeys {
            return Ok(());
        }
        let refuse = |no| Err(Refusal::new(Rule::Script, Some(spec), Cause::Script(no)));
        if matches!(what, Script::Change { .. }) {
            return refuse(No::Change);
        }
        if what == Script::Shows {
            return refuse(No::Shows);
        }
        let is_script = matches!(what, Script::Text { .. } | Script::Digest | Script::Exists);
        if self.mode == ScriptMode::Guarded && is_script {
            // What is not all here could not be changed.
            let needed = if what == Script::Exists { request.len() } else { what.argument() + 1 };
            if request.available() < needed {
                return Err(Refusal::new(Rule::Incomplete, Some(spec), Cause::Incomplete));
            }
            return Ok(());
        }
        if self.mode == ScriptMode::Deny {
            return refuse(No::Denied { by_default: self.by_default });
        }
        let Some(named) = request.arg(what.argument()) else {
            return Err(Refusal::new(Rule::Incomplete, Some(spec), Cause::Incomplete));
        };
        let listed = match what {
            Script::Text { .. } => self.allowed.contains(&Sha1::of(named)),
            Script::Digest => Sha1::parse(named).is_some_and(|sha| self.allowed.contains(&sha)),
            Script::Function => self.functions.contains(named),
            Script::Exists => request
                .args()
                .skip(what.argument())
                .all(|named| Sha1::parse(named).is_some_and(|sha| self.allowed.contains(&sha))),
            Script::Shows | Script::Change { .. } => false,
        };
        if listed { Ok(()) } else { refuse(No::Unlisted(what)) }
    }
}

/// Whether a script could reach keys or databases that its caller may not: every selector that permits
/// one bounds them.
pub(super) fn are_bound(role: &Role, keys: &KeyRules) -> bool {
    let is_open = |one: &Selector| {
        let all_keys = one.keys.is_unrestricted(Access::READ_WRITE);
        all_keys && one.databases.word().is_none() && may_run(one)
    };
    let named = keys.prefix.is_some() || keys.pattern.is_some() || !keys.deny.is_empty();
    named || !role.iter().any(is_open)
}

/// Whether a selector permits a command that runs a script or a function, or could change one.
pub(super) fn may_run(selector: &Selector) -> bool {
    let runs = |spec: &&Spec| {
        spec.script.is_some_and(|what| !matches!(what, Script::Exists | Script::Shows))
    };
    all().iter().filter(runs).any(|spec| selector.allows(spec.id))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::command::{Lookup, lookup};
    use crate::resp::{RequestBuf, RequestLimits, RequestScanner, Scan};

    /// `return 1`.
    const ONE: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    /// `return 2`.
    const TWO: &str = "7f923f79fe76194c868d7e1d0820de36700eb649";

    fn scripts(mode: ScriptMode) -> Scripts {
        let rules = ScriptRules {
            mode: Some(mode),
            allow: Sha1::parse(ONE.as_bytes()).into_iter().collect(),
            functions: vec!["known".to_owned()],
            ..ScriptRules::default()
        };
        Scripts::new(&rules, true, true)
    }

    fn text(scripts: &Scripts, request: &Request<'_>) -> String {
        let Lookup::Command(spec) = lookup(request) else { return "unknown".to_owned() };
        let Some(what) = spec.script else { return String::new() };
        let Err(refusal) = scripts.judge(what, spec, request) else { return String::new() };
        let mut text = BytesMut::new();
        refusal.write_text(request, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn scripts_that_pass_in_each_mode() {
        let none = "is about scripts, and scripts.mode = \"deny\" permits none (rule script)";
        let script = "a script that is not on the list (rule script); its SHA-1 is 7f923f79fe76";
        let function = "a function that is not on the list (rule script)";
        let shows = "shows what all applications of the server use (rule script)";
        let script_asked = "names a script that is not on the list (rule script)";
        let change = "changes what all applications of the server use (rule script)";
        let upper = ONE.to_uppercase();
        for (line, deny, allowlist) in [
            ("EVAL|return 1|0", none, ""),
            ("eval|return 2|0", none, script),
            ("EVAL_RO|return 1|0", none, ""),
            ("EVAL_RO|return 2|0", none, script),
            ("EVAL|return 1 |0", none, "a script that is not on the list"),
            (&format!("EVALSHA|{ONE}|0"), none, ""),
            (&format!("EVALSHA_RO|{upper}|0"), none, ""),
            (&format!("EVALSHA|{TWO}|0"), none, script),
            (&format!("EVALSHA_RO|{TWO}|0"), none, script),
            ("EVALSHA|x|0", none, "names a script that is not on the list (rule script)"),
            ("SCRIPT|LOAD|return 1", none, ""),
            ("Script|Load|return 2", none, script),
            ("SCRIPT|EXISTS|x", none, "names a script that is not on the list (rule script)"),
            (&format!("SCRIPT|EXISTS|{ONE}"), none, ""),
            (&format!("SCRIPT|EXISTS|{ONE}|{TWO}"), none, script_asked),
            ("SCRIPT|SHOW|x", shows, shows),
            ("SCRIPT|FLUSH", change, change),
            ("SCRIPT|KILL", change, change),
            ("FCALL|known|0", none, ""),
            ("FCALL|Known|0", none, function),
            ("FCALL_RO|other|0", none, function),
            ("FUNCTION|LOAD|x", change, change),
            ("FUNCTION|RESTORE|x", change, change),
            ("FUNCTION|DELETE|x", change, change),
            ("FUNCTION|FLUSH", change, change),
            ("FUNCTION|LIST", shows, shows),
            ("FUNCTION|DUMP", shows, shows),
            ("FUNCTION|STATS", shows, shows),
            ("GET|a", "", ""),
        ] {
            let request = RequestBuf::from_args(line.split('|'));
            for (mode, expected) in [
                (ScriptMode::DeclaredKeys, ""),
                (ScriptMode::Deny, deny),
                (ScriptMode::Allowlist, allowlist),
            ] {
                let refusal = text(&scripts(mode), &request.as_request());
                assert_eq!(refusal.is_empty(), expected.is_empty(), "{line} {mode:?}: {refusal}");
                assert!(refusal.contains(expected), "{line} {mode:?}: {refusal}");
            }
        }
    }

    #[test]
    fn large_text_is_awaited_only_where_it_decides() {
        let limits = RequestLimits { large_bytes: 1 << 16, ..RequestLimits::NONE };
        for (frame, mode, expected) in [
            ("*3\r\n$4\r\nEVAL\r\n$65536\r\n", ScriptMode::Allowlist, Some(Rule::Incomplete)),
            ("*3\r\n$4\r\nEVAL\r\n$65536\r\n", ScriptMode::Deny, Some(Rule::Script)),
            ("*3\r\n$4\r\nEVAL\r\n$65536\r\n", ScriptMode::DeclaredKeys, None),
            (
                "*4\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n$65536\r\n",
                ScriptMode::Allowlist,
                None,
            ),
        ] {
            let mut scanner = RequestScanner::default();
            let scan = scanner.scan(frame.as_bytes(), &limits);
            assert!(matches!(scan, Ok(Scan::Head { .. })), "{scan:?}");
            let request = scanner.request(frame.as_bytes());
            let Lookup::Command(spec) = lookup(&request) else { continue };
            let Some(what) = spec.script else { continue };
            let rule = scripts(mode).judge(what, spec, &request).err().map(|refusal| refusal.rule);
            assert_eq!(rule, expected, "{frame:?} {mode:?}");
        }
    }
}

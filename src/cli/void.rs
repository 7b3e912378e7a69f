//! Settings that have no effect: errors of `check`, warnings of `run`.
//!
//! Owns: [`problems`]. Never knows: which settings those are.

use std::sync::Arc;

use crate::command::Dictionary;
use crate::config::{Config, ConfigSource, Document, Problem, environment};
use crate::policy::{self, Policy, Void};

/// Everything written that another setting makes void, in the order in which it is written. The
/// configuration is right otherwise.
pub(super) fn problems(source: &ConfigSource, config: &Config) -> Vec<Problem> {
    let Ok(document) = source.document(environment()) else { return Vec::new() };
    let mut problems = document.void(config);
    let dictionary = Arc::new(Dictionary::of(&config.commands).unwrap_or_default());
    let compiled = config.sections().filter_map(|(section, rules)| {
        Some((section, policy::compile_with(rules, &dictionary).ok()?))
    });
    let policies: Vec<(String, Policy)> = compiled.collect();
    for (section, policy) in &policies {
        problems.extend(Void::all_of(policy).into_iter().map(|void| {
            let key = format!("{section}.{}", void.setting);
            document.problem(&key, void.why, Some(void.hint.to_owned()))
        }));
    }
    problems.extend(unpermitted(&document, config, &policies));
    problems.sort_by(|a, b| a.place.cmp(&b.place));
    problems
}

/// Commands that are declared and that no policy permits.
fn unpermitted(
    document: &Document,
    config: &Config,
    policies: &[(String, Policy)],
) -> Vec<Problem> {
    if config.acl_file.is_some() {
        // Its users have rules of their own.
        return Vec::new();
    }
    let denied = config.commands.custom.iter().filter(|command| {
        let name = command.name.to_ascii_lowercase();
        !policies.iter().any(|(_, policy)| policy.permits_named(&name))
    });
    let problem = |name: &str| {
        let hint = format!("add +{} to acl, or remove it", name.to_ascii_lowercase());
        let key = format!("commands.custom.\"{name}\"");
        document.problem(&key, "without effect: no policy permits the command", Some(hint))
    };
    denied.map(|command| problem(&command.name)).collect()
}

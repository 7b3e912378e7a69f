//! What the policies of a configuration mean, as rows of `check`.
//!
//! Owns: [`rows`]. Never knows: files, how a rule is applied.

use std::sync::Arc;

use crate::command::Dictionary;
use crate::config::{Config, LimitRule, OnLimit, Per, Rate, Rules, show_duration};
use crate::policy::{self, Overview};

/// A label and words each: its rules, whether it refuses, which scripts may run, each limit, what to
/// be warned of.
pub(super) fn rows(config: &Config) -> Vec<(&'static str, String)> {
    let dictionary = Arc::new(Dictionary::of(&config.commands).unwrap_or_default());
    let (mut rows, mut warnings) = (Vec::new(), Vec::new());
    for (section, own) in config.sections() {
        let name = section.strip_prefix("policies.").map(|name| format!("{name}: "));
        let name = name.unwrap_or_default();
        let mut add = |words: String| rows.push(("policy", format!("{name}{words}")));
        add(rules(own));
        // That every word can be applied is known by now.
        if let Ok(policy) = policy::compile_with(own, &dictionary) {
            let overview = Overview::of(&policy);
            overview_rows(own, &overview).into_iter().for_each(&mut add);
            let warned = overview.warnings.into_iter();
            warnings.extend(warned.map(|(_, words)| ("warning", format!("{section}: {words}"))));
        }
        own.limits.iter().map(limit).for_each(&mut add);
    }
    rows.extend(warnings);
    rows
}

fn overview_rows(own: &Rules, overview: &Overview) -> Vec<String> {
    let mut rows = Vec::new();
    if own.keys.mode == crate::config::KeyMode::Rewrite {
        rows.push(format!("keys {}", overview.keys));
    }
    if overview.mode != policy::Mode::Enforce {
        rows.push(overview.refuses.clone());
    }
    rows.extend(overview.scripts.iter().map(|scripts| format!("scripts: {scripts}")));
    rows
}

fn limit(limit: &LimitRule) -> String {
    let mut most = Vec::new();
    if let Some(Rate { count, period, burst }) = limit.rate {
        most.push(format!("{count} in {}", show_duration(period)));
        most.extend((burst != count).then(|| format!("{burst} in a burst")));
    }
    most.extend(limit.concurrency.map(|count| format!("{count} at once")));
    if most.is_empty() {
        return format!("limit on {}: none", limit.commands);
    }
    let whose = match limit.per {
        Per::Policy => "all clients together",
        Per::Client => "each client",
    };
    let beyond = match limit.on_exceed {
        OnLimit::Delay => format!("waits, at most {}", show_duration(limit.max_delay)),
        OnLimit::Error => "is refused".to_owned(),
    };
    format!("limit on {}: {}, {whose}; what is beyond {beyond}", limit.commands, most.join(", "))
}

fn rules(rules: &Rules) -> String {
    let acl = rules.acl.as_deref().map(|acl| acl.split_whitespace().collect::<Vec<_>>().join(" "));
    let words = match (&rules.preset, acl) {
        (None, None) => "preset default".to_owned(),
        (Some(preset), None) => format!("preset {preset}"),
        (Some(preset), Some(acl)) => format!("preset {preset}, then {acl}"),
        (None, Some(acl)) => acl,
    };
    match &rules.keys.prefix {
        Some(prefix) => format!("{words}, keys {prefix}*"),
        None => words,
    }
}

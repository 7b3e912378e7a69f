//! From observed traffic to the smallest policy that would pass it.
//!
//! Owns: [`TrafficProfile`]: what was seen under one policy. Never knows: values, whole keys where a prefix
//! is enough, sockets.

mod names;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::Refusal;
use super::keyspace::{may_be_reserved, names_reserved};
use super::pattern::Pattern;
use super::role::{KeyPattern, Scope, Selector};
use crate::base::limits;
use crate::command::{
    Access, Flags, KeyKind, KeyPosition, Local, Reach, Spec, by_name, find_keys, scan_match,
};
use crate::resp::Request;
use names::{Names, certain};
use scripts::SeenScripts;

/// What was seen, without values: commands, prefixes of names, what was or would be refused.
#[derive(Debug, Default)]
pub(crate) struct TrafficProfile {
    commands: BTreeMap<&'static str, u64>,
    /// Commands that reach names beyond their arguments.
    whole: BTreeSet<&'static str>,
    keys: Names,
    channels: Names,
    scripts: SeenScripts,
    /// By the label of the rule and the command.
    would_refuse: BTreeMap<(&'static str, &'static str), u64>,
    refused: BTreeMap<(&'static str, String), u64>,
    total: u64,
    /// Room for positions, kept between requests.
    found: Vec<KeyPosition>,
    patterns: Vec<u32>,
}

impl TrafficProfile {
    /// A request that passed, if only because a rule is observed.
    pub(super) fn note(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        observed: Option<&Refusal>,
    ) {
        self.total += 1;
        if let Some(refusal) = observed {
            *self.would_refuse.entry((refusal.rule.label(), spec.name)).or_default() += 1;
        }
        *self.commands.entry(spec.name).or_default() += 1;
        self.scripts.note(spec, request);
        if self.whole.contains(spec.name) {
            return;
        }
        let (mut found, mut patterns) =
            (std::mem::take(&mut self.found), std::mem::take(&mut self.patterns));
        if find_keys(spec, request, &mut found).is_err() {
            found.clear();
        }
        if scan_match(spec, request, &mut patterns).is_err() {
            patterns.clear();
        }
        if reaches_more(spec, request, &found, &patterns) {
            self.whole.insert(spec.name);
        } else {
            self.note_names(request, &found, &patterns);
        }
        (self.found, self.patterns) = (found, patterns);
    }

    /// A request that was refused although rules are only observed.
    pub(super) fn note_refused(&mut self, request: &Request<'_>, refusal: &Refusal) {
        self.total += 1;
        let label = refusal.rule.label();
        let name = refusal.command(request).into_owned();
        let full = self.refused.len() >= limits::LEARN_REFUSED_MAX;
        let key = (label, name);
        let key = if full && !self.refused.contains_key(&key) {
            (label, "others".to_owned())
        } else {
            key
        };
        *self.refused.entry(key).or_default() += 1;
    }

    fn note_names(&mut self, request: &Request<'_>, found: &[KeyPosition], patterns: &[u32]) {
        for at in found {
            let name = at.name(request);
            match at.kind {
                KeyKind::Key => self.keys.note(name, at.access),
                KeyKind::KeyPattern => self.keys.note_pattern(name, at.access),
                KeyKind::KeyPrefix => self.keys.note_prefix(name, at.access),
                KeyKind::Channel | KeyKind::ShardChannel => self.channels.note(name, at.access),
                // The server compares a pattern with the allowed ones letter by letter.
                KeyKind::ChannelPattern => self.channels.note_literal(name, at.access),
            }
        }
        for arg in patterns {
            let pattern = request.arg(*arg as usize).unwrap_or_default();
            self.keys.note_pattern(pattern, Access::READ);
        }
    }

    /// Whether anything was seen.
    pub(super) const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether scripts or functions were run, loaded or changed.
    pub(super) fn has_scripts(&self) -> bool {
        self.scripts.any()
    }

    /// The rules, as `acl` of a policy takes them.
    #[must_use]
    pub(crate) fn words(&self) -> String {
        self.words_about(|_| true)
    }

    /// The rules for the server's user. What respgate answers itself is not among them: the server may
    /// be older than the command.
    pub(super) fn server_words(&self) -> String {
        self.words_about(|name| {
            let local = by_name(name).and_then(|spec| spec.effect.local());
            local.is_none_or(Local::may_ask_server)
        })
    }

    fn words_about(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut words = Vec::new();
        let commands = self.commands.keys().filter(|name| !is_free(name) && wanted(name));
        let (whole, named): (Vec<&&str>, Vec<&&str>) =
            commands.partition(|name| self.whole.contains(**name));
        words.extend(named.iter().map(|name| format!("+{name}")));
        self.keys.write_words("~", true, &mut words);
        self.channels.write_words("&", false, &mut words);
        words.extend(whole.iter().map(|name| format!("(+{name} ~* &*)")));
        words.join(" ")
    }

    /// The policy in TOML, as the section of that name, with the counts behind it as comments.
    pub(super) fn write(&self, section: &str, text: &mut String) {
        let _ = writeln!(text, "# Learned from {} commands.", self.total);
        comment(text, "commands", self.commands.iter().map(|(name, n)| format!("{name} {n}")));
        comment(text, "keys", self.keys.counts());
        comment(text, "channels", self.channels.counts());
        let would = self.would_refuse.iter();
        let would = would.map(|((rule, name), n)| format!("{rule}: {name} {n}"));
        comment(text, "against the policy in force", would);
        let refused = self.refused.iter().map(|((rule, name), n)| format!("{rule}: {name} {n}"));
        comment(text, "refused although rules are only observed", refused);
        let quoted = self.words().replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(text, "\n[{section}]\nacl = \"{quoted}\"\n");
        self.scripts.write(section, text);
    }
}

/// Whether it reaches names that it does not give, so that patterns of the given ones would refuse it.
fn reaches_more(
    spec: &'static Spec,
    request: &Request<'_>,
    found: &[KeyPosition],
    patterns: &[u32],
) -> bool {
    let given: Vec<&[u8]> = patterns.iter().map(|arg| pattern_at(request, *arg)).collect();
    let unclear = |at: &KeyPosition| {
        let name = at.name(request);
        match at.kind {
            KeyKind::Key => false,
            KeyKind::KeyPattern => certain(name).is_empty(),
            KeyKind::KeyPrefix => name.is_empty(),
            KeyKind::Channel | KeyKind::ShardChannel | KeyKind::ChannelPattern => {
                let is_pattern = at.kind == KeyKind::ChannelPattern;
                at.access != Access::NONE
                    && may_be_reserved(name, is_pattern)
                    && !names_reserved(&Pattern::new(name))
            }
        }
    };
    if spec.hides_keys() || given.iter().any(|it| it.is_empty()) || found.iter().any(unclear) {
        return true;
    }
    // What is about the server and not about keys is permitted by its name.
    if matches!(spec.reach, Reach::Server(does) if does.access().is_none()) {
        return false;
    }
    let pattern =
        |prefix: &[u8]| Pattern::new(&[&super::pattern::escape(prefix), &b"*"[..]].concat());
    let key = |it: &&[u8]| KeyPattern { pattern: pattern(it), access: Access::READ_WRITE };
    let mut selector = Selector::default();
    selector.keys = Scope::Only(given.iter().map(key).collect());
    let mut room = Vec::new();
    !matches!(selector.holds(spec, request, u32::MAX, &mut room), Ok(true))
}

/// What is certain of a pattern of names.
fn pattern_at<'a>(request: &'a Request<'_>, arg: u32) -> &'a [u8] {
    certain(request.arg(arg as usize).unwrap_or_default())
}

/// Whether every role may run it.
fn is_free(name: &str) -> bool {
    by_name(name).is_some_and(|spec| spec.flags.has(Flags::NO_AUTH))
}

fn comment(text: &mut String, what: &str, entries: impl Iterator<Item = String>) {
    let entries: Vec<String> = entries.collect();
    if !entries.is_empty() {
        let _ = writeln!(text, "# {what}: {}", entries.join(", "));
    }
}

#[cfg(test)]
mod tests;

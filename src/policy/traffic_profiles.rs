//! What was seen under each policy that observes, and the answer of `learn`.
//!
//! Owns: [`TrafficProfiles`]. Never knows: how a policy follows from what was seen, sockets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::traffic_profile::TrafficProfile;
use super::{Policy, Refusal, ServerRole, server_rules};
use crate::base::limits;
use crate::command::Spec;
use crate::config::{KeyMode, Rules};
use crate::resp::Request;

/// What was seen, by the section of the policy in the configuration.
#[derive(Debug, Default)]
pub(crate) struct TrafficProfiles(BTreeMap<Box<str>, One>);

#[derive(Debug)]
struct One {
    profile: TrafficProfile,
    /// The last one under that name.
    policy: Arc<Policy>,
}

impl TrafficProfiles {
    /// A request under `policy`: it passed, if only because a rule is observed, or it was refused
    /// all the same.
    pub(crate) fn note(
        &mut self,
        policy: &Arc<Policy>,
        spec: Option<&'static Spec>,
        request: &Request<'_>,
        observed: Option<&Refusal>,
        refused: Option<&Refusal>,
    ) {
        if !self.0.contains_key(policy.section()) {
            if self.0.len() >= limits::LEARN_POLICIES_MAX {
                return;
            }
            let one = One { profile: TrafficProfile::default(), policy: Arc::clone(policy) };
            self.0.insert(policy.section().into(), one);
        }
        let Some(one) = self.0.get_mut(policy.section()) else { return };
        if !Arc::ptr_eq(&one.policy, policy) {
            one.policy = Arc::clone(policy);
        }
        match (refused, spec) {
            (Some(refusal), _) => one.profile.note_refused(request, refusal),
            (None, Some(spec)) => one.profile.note(spec, request, observed),
            (None, None) => {}
        }
    }

    /// The policies in TOML, and the rules for the server's user `user`; none when nothing was seen.
    /// `dedicated`: each client has a connection to the server of its own, which receives everything.
    #[must_use]
    pub(crate) fn to_toml(&self, user: &str, dedicated: bool) -> Option<String> {
        let (mut text, mut roles) = (String::new(), Vec::new());
        let mut all: Vec<_> = self.0.iter().collect();
        // [policy] first, as it is in the configuration.
        all.sort_by_key(|(section, _)| ***section != *"policy");
        for (section, One { profile, policy }) in all {
            if profile.is_empty() {
                continue;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            let rules = policy.source.as_deref().cloned().unwrap_or_default();
            if rules.keys.mode == KeyMode::Enforce && rules.keys.prefix.is_some() {
                text.push_str("# Remove keys.prefix: the patterns of acl take its place.\n");
            }
            profile.write(section, &mut text);
            let words = if dedicated { profile.words() } else { profile.server_words() };
            let learned = Rules { preset: None, acl: Some(words), ..rules };
            roles.extend(ServerRole::new(&learned, &policy.roles.dictionary));
        }
        if text.is_empty() {
            return None;
        }
        text.push_str(
            "\n# On the server, for what is learned here alone (respgate acl: for all policies):\n",
        );
        if self.0.values().any(|one| one.profile.has_scripts()) {
            text.push_str("# What scripts run was not seen: add the commands that they use.\n");
        }
        let _ = match server_rules(&roles) {
            Ok(words) => writeln!(text, "# ACL SETUSER {user} on {}", words.join(" ")),
            Err(word) => writeln!(text, "# {word} cannot be in a selector of the server"),
        };
        Some(text)
    }
}

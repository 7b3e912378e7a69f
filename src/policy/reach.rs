//! How far a policy reaches: whether it changes requests, whether it bounds what may be seen, whether
//! it permits a command at all.
//!
//! Owns: those questions, and what a list of keys must not show. Never knows: how a request is judged.

use std::sync::Arc;

use super::database::Databases;
use super::names::{Prefix, Strip};
use super::role::Scope;
use super::{Policy, Rule};
use crate::command::Spec;
use crate::resp::Request;

impl Policy {
    /// Whether permitted requests go to the server as they are.
    #[must_use]
    pub const fn leaves_requests_alone(&self) -> bool {
        self.namespace.is_none() && self.ttl.is_none()
    }

    /// Whether every key of every database is allowed, so that what others do there may be seen.
    #[must_use]
    pub const fn is_unbounded(&self) -> bool {
        let root = &self.roles.role.root;
        self.namespace.is_none()
            && matches!(root.keys, Scope::All)
            && matches!(root.databases, Databases::All)
    }

    /// Whether it permits the command with some arguments.
    pub(super) fn permits_command(&self, spec: &Spec) -> bool {
        self.roles.role.iter().any(|one| one.allows(spec.id))
    }

    /// Whether it permits the command of this name.
    #[must_use]
    pub fn permits_named(&self, name: &str) -> bool {
        self.roles.dictionary.by_name(name).is_some_and(|spec| self.permits_command(spec))
    }

    /// What is taken off a reply, with the names that a list must not show.
    pub(super) fn without_denied(
        &self,
        strip: Option<Strip>,
        spec: &Spec,
        request: &Request<'_>,
    ) -> Option<Strip> {
        let content = self.content.as_ref().filter(|_| !self.roles.observed.has(Rule::Key));
        let Some(hidden) = content.and_then(|content| content.hides(spec, request)) else {
            return strip;
        };
        let strip = strip.unwrap_or_else(|| Strip::of_errors(Arc::new(Prefix::new(b""))));
        Some(strip.hiding(spec.names, Arc::clone(hidden)))
    }
}

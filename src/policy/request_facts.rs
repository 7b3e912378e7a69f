//! A permitted request, as the rules see it that look into it or change it.
//!
//! Owns: [`EvalContext`], [`RequestFacts`], [`ObservedDenials`]. Never knows: any rule.

use super::refusal::{Cause, Refusal};
use super::rule_set::RuleSet;
use crate::base::rule::Rule;
use crate::command::{KeyError, Spec};
use crate::resp::Request;

/// What a decision depends on besides the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct EvalContext {
    /// The session's database.
    pub database: u32,
    /// Milliseconds since 1970; 0 unless [`Policy::needs_wall_clock`](super::Policy::needs_wall_clock).
    pub unix_ms: u64,
}

/// The request and its circumstances.
#[derive(Clone, Copy)]
pub(super) struct RequestFacts<'a> {
    pub spec: &'static Spec,
    pub request: &'a Request<'a>,
    pub moment: &'a EvalContext,
    /// The prefix of every key on the server, which the request does not have.
    pub prefix: &'a [u8],
}

impl RequestFacts<'_> {
    pub(super) const fn refuse(&self, rule: Rule, cause: Cause) -> Refusal {
        Refusal::new(rule, Some(self.spec), cause)
    }

    /// The keys, or the options that matter, are unknown.
    pub(super) const fn unclear(&self, error: KeyError) -> Refusal {
        match error {
            KeyError::Syntax | KeyError::Refused => self.refuse(Rule::Syntax, Cause::Syntax),
            KeyError::NotYetKnown => self.refuse(Rule::Incomplete, Cause::Incomplete),
        }
    }
}

/// Remembers the no of a rule that is only observed.
#[derive(Debug)]
pub(super) struct ObservedDenials {
    observed: RuleSet,
    first: Option<Refusal>,
}

impl ObservedDenials {
    pub(super) const fn new(observed: RuleSet) -> Self {
        Self { observed, first: None }
    }

    pub(super) const fn observes(&self, rule: Rule) -> bool {
        self.observed.has(rule)
    }

    /// The first no of all.
    pub(super) const fn first(&self) -> Option<Refusal> {
        self.first
    }

    /// A rule refuses the request.
    ///
    /// # Errors
    ///
    /// When it is not only observed.
    pub(super) fn hold(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        if !self.observed.has(refusal.rule) {
            return Err(refusal);
        }
        self.first.get_or_insert(refusal);
        Ok(())
    }
}

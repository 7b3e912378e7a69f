//! A limit on some commands: how often, and how many at once.
//!
//! Owns: [`Limit`]. Never knows: how much of it is used, waiting requests.

use std::time::Duration;

use super::rate::Rate;
use super::role::Selector;
use crate::command::{Flags, Spec};
use crate::config::{LimitRule, OnLimit, Per};

/// One limit. Its use is counted where it is enforced.
#[derive(Clone, Debug)]
pub struct Limit {
    commands: Selector,
    pub rate: Option<Rate>,
    pub concurrency: Option<u32>,
    /// Each client has one of its own.
    pub per_client: bool,
    /// The longest wait; none at all where commands over the limit are refused.
    pub max_delay: Duration,
}

impl Limit {
    pub(super) fn new(commands: Selector, rule: &LimitRule) -> Self {
        Self {
            commands,
            rate: rule.rate.as_ref().map(Rate::new),
            concurrency: rule.concurrency,
            per_client: rule.per == Per::Client,
            max_delay: match rule.on_exceed {
                OnLimit::Delay => rule.max_delay,
                OnLimit::Error => Duration::ZERO,
            },
        }
    }

    /// Whether the limit applies to this command. Commands that every client may send at any time are free.
    #[must_use]
    pub fn covers(&self, spec: &Spec) -> bool {
        self.commands.allows(spec.id) && !spec.flags.has(Flags::NO_AUTH)
    }
}

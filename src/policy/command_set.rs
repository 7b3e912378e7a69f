//! Some commands, named by words of the ACL language.
//!
//! Owns: [`CommandSet`]. Never knows: what they are chosen for.

use super::role::Selector;
use crate::command::Spec;

/// Some commands.
#[derive(Clone, Debug)]
pub(crate) struct CommandSet(Selector);

impl CommandSet {
    pub(super) const fn new(commands: Selector) -> Self {
        Self(commands)
    }

    #[must_use]
    pub(crate) fn has(&self, spec: &Spec) -> bool {
        self.0.allows(spec.id)
    }
}

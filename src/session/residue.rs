//! What of a session is left on its pinned connection, and what becomes of the connection.
//!
//! Owns: [`Residue`], [`LeaseFate`] and the one table that joins them. Never knows: what left it there.

use super::pinning::Pinning;

/// What is left on the pinned connection. What is worse hides what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Residue {
    #[default]
    /// The connection is as if it had never been lent.
    Clean,
    /// State that another session must not meet: it is closed once it is not needed.
    Dirty,
    /// What is left is unknown: not even this session may ask anything more on it.
    Poisoned,
}

impl Residue {
    pub(super) fn note(&mut self, residue: Self) {
        *self = residue.max(*self);
    }

    pub(super) fn note_if(&mut self, left: bool, residue: Self) {
        if left {
            self.note(residue);
        }
    }
}

/// What shall become of the pinned connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseFate {
    Keep,
    /// The connection is as if it had never been lent.
    Return,
    /// The connection carries state of this session.
    Drop,
}

/// What becomes of a pinned connection on which nothing is asked. `dedicated`: each client keeps one.
pub(super) const fn fate(residue: Residue, pinning: Pinning, dedicated: bool) -> LeaseFate {
    match (residue, pinning) {
        (_, Pinning::Living(_)) => LeaseFate::Keep,
        (Residue::Poisoned, Pinning::Watching | Pinning::Large | Pinning::No) => LeaseFate::Drop,
        (Residue::Clean | Residue::Dirty, Pinning::Watching | Pinning::Large) => LeaseFate::Keep,
        (Residue::Clean | Residue::Dirty, Pinning::No) if dedicated => LeaseFate::Keep,
        (Residue::Dirty, Pinning::No) => LeaseFate::Drop,
        (Residue::Clean, Pinning::No) => LeaseFate::Return,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Cause;

    #[test]
    fn residue_never_becomes_less_by_more() {
        let mut residue = Residue::Clean;
        residue.note(Residue::Poisoned);
        residue.note(Residue::Dirty);
        residue.note_if(false, Residue::Clean);
        assert_eq!(residue, Residue::Poisoned);
    }

    const PINNINGS: [Pinning; 4] =
        [Pinning::No, Pinning::Large, Pinning::Watching, Pinning::Living(Cause::Monitor)];

    #[test]
    fn fate_is_a_return_only_of_a_clean_connection_without_need() {
        for residue in [Residue::Clean, Residue::Dirty, Residue::Poisoned] {
            for (pinning, dedicated) in PINNINGS.into_iter().flat_map(|p| [(p, false), (p, true)]) {
                let returns = fate(residue, pinning, dedicated) == LeaseFate::Return;
                let free = pinning == Pinning::No && !dedicated;
                assert_eq!(returns, residue == Residue::Clean && free);
            }
        }
    }

    #[test]
    fn fate_of_a_poisoned_connection_is_its_end_unless_the_session_ends_with_it() {
        for (pinning, dedicated) in PINNINGS.into_iter().flat_map(|p| [(p, false), (p, true)]) {
            let drops = fate(Residue::Poisoned, pinning, dedicated) == LeaseFate::Drop;
            assert_eq!(drops, !pinning.is_fatal());
        }
    }
}

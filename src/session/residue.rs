//! What of a session is left on its pinned connection, and what becomes of the connection.
//!
//! Owns: [`Residue`], [`Need`], [`LeaseFate`] and the one table that joins them. Never knows: what left it there.

/// What is left on the pinned connection. What is worse hides what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Residue {
    /// It is as if it had never been lent.
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

/// What the session needs its pinned connection for; the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Requests on it are not answered.
    Replies,
    /// State on it cannot be had again.
    State,
    /// It would rather keep it.
    Wish,
    No,
}

/// What shall become of the pinned connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseFate {
    Keep,
    /// It is as if it had never been lent.
    Return,
    /// It carries state of this session.
    Drop,
}

pub(super) const fn fate(residue: Residue, need: Need) -> LeaseFate {
    match (residue, need) {
        (_, Need::Replies | Need::State) | (Residue::Clean | Residue::Dirty, Need::Wish) => {
            LeaseFate::Keep
        }
        (Residue::Poisoned, Need::Wish | Need::No) | (Residue::Dirty, Need::No) => LeaseFate::Drop,
        (Residue::Clean, Need::No) => LeaseFate::Return,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residue_never_becomes_less_by_more() {
        let mut residue = Residue::Clean;
        residue.note(Residue::Poisoned);
        residue.note(Residue::Dirty);
        residue.note_if(false, Residue::Clean);
        assert_eq!(residue, Residue::Poisoned);
    }

    #[test]
    fn fate_is_a_return_only_of_a_clean_connection_without_need() {
        for residue in [Residue::Clean, Residue::Dirty, Residue::Poisoned] {
            for need in [Need::Replies, Need::State, Need::Wish, Need::No] {
                let returns = fate(residue, need) == LeaseFate::Return;
                assert_eq!(returns, residue == Residue::Clean && need == Need::No);
            }
        }
    }
}

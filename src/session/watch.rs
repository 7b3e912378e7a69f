//! The keys that a client watches, and whether one of them may have changed unseen.
//!
//! Owns: [`Watch`]. Never knows: WATCH and EXEC, connections.

/// What the pinned connection watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Watched {
    #[default]
    Nothing,
    Keys,
    /// What the client does not watch any more.
    Stale,
}

/// What a client watches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    watched: Watched,
    /// The number of keys that were named.
    keys: u32,
    /// What it watched before may have changed unseen: EXEC answers nil, as if it had.
    is_lost: bool,
}

impl Watch {
    /// Whether it watches keys on its pinned connection.
    pub(super) const fn is_on(&self) -> bool {
        matches!(self.watched, Watched::Keys)
    }

    pub(super) const fn keys(&self) -> u32 {
        self.keys
    }

    pub(super) const fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether the pinned connection watches what the client does not any more.
    pub(super) const fn is_stale(&self) -> bool {
        matches!(self.watched, Watched::Stale)
    }

    /// WATCH with so many names was sent.
    pub(super) fn add(&mut self, names: usize) {
        debug_assert!(!self.is_stale(), "what is stale would be watched again");
        debug_assert!(names > 0, "WATCH of nothing");
        let names = u32::try_from(names).unwrap_or(u32::MAX);
        (self.watched, self.keys) = (Watched::Keys, self.keys.saturating_add(names));
        self.check_invariants();
    }

    /// EXEC was sent, or DISCARD: the server lets go of all keys.
    pub(super) const fn end(&mut self) {
        if self.is_on() {
            (self.watched, self.keys) = (Watched::Nothing, 0);
        }
    }

    /// UNWATCH was sent on the pinned connection.
    pub(super) const fn unwatch(&mut self) {
        debug_assert!(!matches!(self.watched, Watched::Nothing), "UNWATCH of nothing");
        *self = Self { watched: Watched::Nothing, keys: 0, is_lost: false };
    }

    /// The client watches nothing any more, but its pinned connection does.
    pub(super) fn abandon(&mut self) {
        debug_assert!(self.is_on(), "nothing is watched");
        *self = Self { watched: Watched::Stale, keys: 0, is_lost: false };
    }

    pub(super) fn check_invariants(self) {
        debug_assert!(self.is_on() == (self.keys > 0), "WATCH of nothing, or keys of none");
        debug_assert!(!self.is_stale() || !self.is_lost, "what the client has ended is lost");
    }

    /// Nothing is watched, so nothing was lost.
    pub(super) const fn forget_loss(&mut self) {
        self.is_lost = false;
    }

    /// The pinned connection is lost. What was watched there may change unseen from here on.
    pub(super) const fn lose(&mut self) {
        self.is_lost |= self.is_on();
        (self.watched, self.keys) = (Watched::Nothing, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watch_counts_names_until_it_ends() {
        let mut watch = Watch::default();
        watch.add(2);
        watch.add(3);
        assert_eq!((watch.is_on(), watch.keys()), (true, 5));
        watch.end();
        assert_eq!((watch.is_on(), watch.keys(), watch.is_lost()), (false, 0, false));
    }

    #[test]
    fn watch_is_lost_with_its_connection_until_it_is_given_up() {
        let mut watch = Watch::default();
        watch.lose();
        assert!(!watch.is_lost(), "nothing was watched");
        watch.add(1);
        watch.lose();
        assert!(watch.is_lost() && !watch.is_on());
        watch.add(1);
        assert!(watch.is_lost(), "a second WATCH does not bring the first one back");
        watch.unwatch();
        assert!(!watch.is_lost());
    }

    #[test]
    fn watch_given_up_stays_on_its_connection() {
        let mut watch = Watch::default();
        watch.add(1);
        watch.abandon();
        assert!(watch.is_stale() && !watch.is_on());
        watch.end();
        assert!(watch.is_stale(), "EXEC was not sent for it");
        watch.lose();
        assert!(!watch.is_stale() && !watch.is_lost());
    }
}

//! The users and listeners to which pinned connections are lent, and how many one user and one listener may
//! have, so that others find some.
//!
//! Owns: [`Holder`], [`Holders`]. Never knows: what connections are used for, waiting sessions.

use std::collections::HashMap;
use std::sync::Arc;

/// The user and listener to which a pinned connection is lent. One client never has more than one, and one
/// that frees the server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// `None` where the listener needs no login: its clients count as one user then.
    pub user: Option<Arc<str>>,
    pub listener: Arc<str>,
}

/// One connection stays free for others for each so many that a user has …
const USER_PART: usize = 7;
/// … and a listener, which may have several users, one for each so many.
const LISTENER_PART: usize = 15;
const _: () = assert!(USER_PART < LISTENER_PART, "one user cannot take all of its listener");

/// How many connections each user and each listener has.
///
/// What is kept free grows with what one has, so it is there for any number of others, and nothing has to be known
/// of them before they come.
#[derive(Debug)]
pub(super) struct Holders {
    /// There are so few connections that one may have them all.
    is_off: bool,
    /// There is one listener: nothing is kept free for another.
    one_listener: bool,
    users: HashMap<Arc<str>, usize>,
    listeners: HashMap<Arc<str>, usize>,
}

impl Holders {
    pub(super) fn new(is_off: bool) -> Self {
        Self { is_off, one_listener: true, users: HashMap::new(), listeners: HashMap::new() }
    }

    pub(super) const fn share_among(&mut self, listeners: usize) {
        self.one_listener = listeners < 2;
    }

    /// Whether this holder may have one more, when `room` are free for what it is wanted for.
    pub(super) fn may_take(&self, holder: &Holder, room: usize) -> bool {
        let leaves = |all: &HashMap<Arc<str>, usize>, name: &Arc<str>, part| {
            room > all.get(name).map_or(0, |taken| taken.div_ceil(part))
        };
        let user = holder.user.as_ref().is_none_or(|name| leaves(&self.users, name, USER_PART));
        let listener =
            self.one_listener || leaves(&self.listeners, &holder.listener, LISTENER_PART);
        room > 0 && (self.is_off || (user && listener))
    }

    pub(super) fn note_taken(&mut self, holder: &Holder) {
        if let Some(name) = &holder.user {
            *self.users.entry(Arc::clone(name)).or_default() += 1;
        }
        *self.listeners.entry(Arc::clone(&holder.listener)).or_default() += 1;
        self.check_invariants();
    }

    /// How many all of them have.
    pub(super) fn taken(&self) -> usize {
        self.listeners.values().sum()
    }

    /// What holds whenever a `note_…` returns.
    fn check_invariants(&self) {
        let sum = |all: &HashMap<Arc<str>, usize>| all.values().sum::<usize>();
        debug_assert!(!self.users.values().any(|taken| *taken == 0), "one that has none is known");
        debug_assert!(!self.listeners.values().any(|taken| *taken == 0), "one has none");
        debug_assert!(
            sum(&self.users) <= sum(&self.listeners),
            "what a user has, its listener has as well"
        );
    }

    pub(super) fn note_given_back(&mut self, holder: &Holder) {
        let less = |all: &mut HashMap<Arc<str>, usize>, name: &Arc<str>| {
            let taken = all.get_mut(name);
            debug_assert!(taken.as_ref().is_some_and(|taken| **taken > 0), "it was counted");
            let left = taken.map_or(0, |taken| {
                *taken = taken.saturating_sub(1);
                *taken
            });
            if left == 0 {
                all.remove(name);
            }
        };
        if let Some(name) = &holder.user {
            less(&mut self.users, name);
        }
        less(&mut self.listeners, &holder.listener);
        self.check_invariants();
    }
}

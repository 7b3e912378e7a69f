//! The pinned connection: what of the session is on it, and what shall become of it.
//!
//! Owns: what a session needs its connection for, the usual way of a request. Never knows: connections themselves.

use std::time::Instant;

use super::queue::{BlockEnd, Class, Expect, Remote};
use super::replica::Replication;
use super::residue::{LeaseFate, Need, Residue, fate};
use super::state::{Cause, Context, Route, Session};

impl Session {
    /// Since when the oldest request on the pinned connection waits for its reply; one that blocks does
    /// not before the time is over that it asks for, which may be in the future. `None` when it may for ever.
    #[must_use]
    pub fn pinned_since(&self) -> Option<Instant> {
        let front = self.queue.peek().filter(|_| self.flight == Route::Pinned)?;
        match (front.class, self.block) {
            (Class::Blocking, BlockEnd::At(end)) => Some(end),
            (Class::Blocking, BlockEnd::Never) => None,
            _ => Some(front.at),
        }
    }

    /// Whether it waits for messages on its pinned connection and for nothing else: a server that is gone
    /// would not be noticed.
    #[must_use]
    pub fn only_listens(&self) -> bool {
        let listens = self.subscriptions.any() || self.tracking;
        let executes = self.transaction.is_some() || self.transacts_on_own();
        listens && self.is_settled() && self.partial.is_empty() && !executes && !self.replicates()
    }

    /// Asks the pinned connection for a sign of life: what is to be sent. The client sees nothing of it.
    pub fn ask_alive(&mut self, now: Instant) -> &'static [u8] {
        debug_assert!(self.only_listens(), "nothing else is under way");
        self.flight = Route::Pinned;
        self.queue.push_remote(None, Expect::Alive, 0, Class::Other, now, false);
        b"*1\r\n$4\r\npInG\r\n"
    }

    /// Whether requests are on their way that the pinned connection answers.
    #[must_use]
    pub fn asks_lease(&self) -> bool {
        self.in_flight() > 0 && self.flight == Route::Pinned
    }

    /// Whether the next reply of the pinned connection answers EXEC.
    #[must_use]
    pub fn awaits_exec(&self) -> bool {
        let exec = |front: &Remote| matches!(front.expect, Expect::Block | Expect::Exec(_));
        self.flight == Route::Pinned && self.queue.peek().is_some_and(exec)
    }

    /// Whether some of a reply from the pinned connection, not all, has been handed to the client.
    #[must_use]
    pub fn reply_has_begun(&self) -> bool {
        self.begun && self.flight == Route::Pinned
    }

    /// Whether the pinned connection must go before the next request.
    #[must_use]
    pub fn closes_lease(&self, dedicated: bool) -> bool {
        self.residue != Residue::Clean && self.lease_need(dedicated) == LeaseFate::Drop
    }

    /// Whether not even a request that waits for it may take the pinned connection.
    #[must_use]
    pub const fn must_discard_lease(&self) -> bool {
        matches!(self.residue, Residue::Poisoned)
    }

    /// What shall become of the pinned connection, if there is one.
    #[must_use]
    pub fn lease_need(&self, dedicated: bool) -> LeaseFate {
        let need = if self.asks_lease() {
            Need::Replies
        } else if self.state_lost_with_lease() {
            Need::State
        } else if self.watching || self.large_reply_credit > 0 || dedicated {
            Need::Wish
        } else {
            Need::No
        };
        fate(self.residue, need)
    }

    /// The shell has given the pinned connection away.
    pub fn handle_lease_gone(&mut self) {
        self.seat.end_target();
        self.residue = Residue::Clean;
        self.must_unwatch = false;
        if let Some(own) = &mut self.own {
            own.move_on();
        }
        if self.watching {
            // What was watched may change unseen: EXEC will answer nil, as if it had.
            self.watching = false;
            self.watch_lost = true;
        }
        if self.in_flight() == 0 || self.flight == Route::Pinned {
            // Half a message, of a connection that is not read any more.
            self.partial.clear();
        }
    }

    /// Whether the session's state lives on a pinned connection.
    pub(super) fn pins(&self) -> bool {
        self.watching || self.state_lost_with_lease()
    }

    /// Whether what is on the pinned connection cannot be had again, so that the session ends with it.
    #[must_use]
    pub fn state_lost_with_lease(&self) -> bool {
        let own = self.own.as_ref().is_some_and(|own| own.is_bound() || self.watching);
        self.listens() || self.flags.any() || self.seat.is_target() || own
    }

    /// Whether anything may come that is not asked for.
    pub(super) fn hears(&self) -> bool {
        self.listens() || self.seat.is_target()
    }

    fn listens(&self) -> bool {
        self.subscribes() || self.tracking || self.monitor || self.replicates()
    }

    /// Whether the session may be ended politely: no transaction, no watch, no subscription.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_settled() && self.transaction.is_none() && !self.is_engaged()
    }

    /// Whether it is in the middle of something, so that it is not idle although nothing is asked.
    pub(super) fn is_engaged(&self) -> bool {
        self.watching || self.listens() || self.transacts_on_own()
    }

    fn replicates(&self) -> bool {
        self.replication != Replication::No
    }

    /// Whether it is subscribed to anything, or is about to be.
    #[must_use]
    pub const fn subscribes(&self) -> bool {
        self.subscriptions.any() || self.subscriptions.pending > 0
    }

    /// Whether nothing of this session is on the pinned connection, on its way or kept there.
    #[must_use]
    pub fn has_left_lease(&self) -> bool {
        self.in_flight() == 0 && !self.pins()
    }

    /// Whether nothing but the memory of a large reply keeps the pinned connection.
    #[must_use]
    pub fn keeps_idle_lease(&self) -> bool {
        self.large_reply_credit > 0 && self.is_settled() && !self.pins()
    }

    /// The next large reply finds the session as it was before the first.
    pub const fn forget_large_reply(&mut self) {
        self.large_reply_credit = 0;
    }

    /// Whether a request that would have waited for a pinned connection may do without: it is to be
    /// presented again, and goes on a shared one unless it is large itself.
    pub const fn forgoes_lease(&mut self, cause: Cause) -> bool {
        let forgoes = self.large_reply_credit > 0 && matches!(cause, Cause::Large);
        if forgoes {
            self.large_reply_credit = 0;
        }
        forgoes
    }

    #[inline(always)]
    pub(super) fn usual_route(&self, ctx: &Context<'_>) -> Route {
        // After a large reply a connection of its own would be nice, but is not needed.
        let spare = self.large_reply_credit > 0 && (ctx.has_lease || ctx.lends_at_once);
        if ctx.dedicated || self.pins() || spare {
            Route::Pinned
        } else {
            Route::Shared(self.key())
        }
    }

    /// The same for a command that may write, or not.
    pub(super) fn route(&self, writes: bool, ctx: &Context<'_>) -> Route {
        match self.usual_route(ctx) {
            Route::Shared(key) if writes && ctx.held => Route::Held(key),
            route @ (Route::Shared(_) | Route::Held(_) | Route::Pinned) => route,
        }
    }

    pub(super) fn cause(&self, ctx: &Context<'_>) -> Cause {
        if self.watching {
            Cause::Watch
        } else if self.subscribes() {
            Cause::Subscribe
        } else if self.replicates() {
            Cause::Replication
        } else if self.monitor {
            Cause::Monitor
        } else if self.tracking || self.seat.is_target() {
            Cause::Tracking
        } else if ctx.dedicated {
            Cause::Session
        } else {
            Cause::Large
        }
    }
}

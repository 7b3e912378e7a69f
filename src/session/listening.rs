//! What arrives for a client without being asked for: messages, invalidations, lines of MONITOR, a
//! replication stream.
//!
//! Owns: [`Listening`]. Never knows: commands, connections, other clients.

use std::sync::Arc;

use super::replica::Replication;
use super::step::Cause;
use super::subscriptions::Subscriptions;
use super::tracking::Tracking;
use crate::base::lazy_box::Initial;
use crate::policy::Prefix;

/// What a client listens to on its pinned connection. It is lost with that.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub subscriptions: Subscriptions,
    pub tracking: Tracking,
    monitor: bool,
    replication: Replication,
    /// The prefix of the names in what arrives.
    names: Option<Arc<Prefix>>,
}

impl Initial for Listening {
    const INITIAL: &'static Self = &Self {
        subscriptions: Subscriptions::NONE,
        tracking: Tracking::OFF,
        monitor: false,
        replication: Replication::No,
        names: None,
    };
}

impl Listening {
    /// Whether anything may arrive that is not asked for.
    pub(super) fn is_any(&self) -> bool {
        self.subscribes() || self.tracking.is_on() || self.monitor || self.replicates()
    }

    /// Why the pinned connection is needed for it, or for another client's invalidations.
    pub(super) fn cause(&self) -> Cause {
        if self.subscribes() {
            Cause::Subscribe
        } else if self.replicates() {
            Cause::Replication
        } else if self.monitor {
            Cause::Monitor
        } else {
            Cause::Tracking
        }
    }

    /// Whether it is subscribed to anything, or is about to be.
    pub(super) const fn subscribes(&self) -> bool {
        self.subscriptions.any() || self.subscriptions.is_pending()
    }

    pub(super) const fn monitors(&self) -> bool {
        self.monitor
    }

    /// Whether the client is a replica, or has announced itself as one.
    pub(super) fn replicates(&self) -> bool {
        self.replication != Replication::No
    }

    /// Whether what arrives on the pinned connection passes unread.
    pub(super) fn is_streaming(&self) -> bool {
        self.replication == Replication::Streaming
    }

    /// Whether a frame may be something else than the reply to the oldest request.
    pub(super) const fn confuses_replies(&self) -> bool {
        self.subscribes() || self.tracking.is_on() || self.monitor
    }

    /// Whether what arrives has names, of keys or channels.
    pub(super) const fn brings_names(&self) -> bool {
        self.subscribes() || self.tracking.is_on()
    }

    pub(super) const fn names(&self) -> Option<&Arc<Prefix>> {
        self.names.as_ref()
    }

    /// Names that arrive from here on have this prefix.
    pub(super) fn set_names(&mut self, prefix: Option<Arc<Prefix>>) {
        let same = self.names == prefix;
        debug_assert!(same || !self.brings_names(), "what arrives would have two prefixes");
        self.names = prefix;
    }

    /// The server has answered MONITOR.
    pub(super) const fn note_monitor(&mut self, ok: bool) {
        self.monitor = ok;
    }

    /// The server knows the client's REPLCONF.
    pub(super) fn announce(&mut self) {
        debug_assert!(!self.is_streaming(), "REPLCONF within a stream is not answered");
        if self.replication == Replication::No {
            self.replication = Replication::Announced;
        }
    }

    pub(super) fn check_invariants(&self) {
        self.subscriptions.check_invariants();
        let plain = !self.subscriptions.is_pending();
        debug_assert!(
            plain || !self.is_streaming(),
            "an acknowledgement is looked for in a stream"
        );
    }

    /// SYNC or PSYNC was sent.
    pub(super) fn stream(&mut self) {
        debug_assert!(!self.is_streaming(), "a stream within a stream");
        debug_assert!(!self.subscriptions.is_pending(), "an acknowledgement would be streamed");
        self.replication = Replication::Streaming;
    }
}

//! Settings of the connection itself.
//!
//! Owns: [`ConnectionFlags`]. Never knows: what they do at the server.

use super::figures::Marks;
use crate::command::{Local, Spec};

/// Settings that a client has switched on: `CLIENT NO-EVICT`, `NO-TOUCH` and `IMPORT-SOURCE`, which are on its
/// pinned connection, and `READONLY` (Valkey), which is here alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct ConnectionFlags {
    no_evict: bool,
    no_touch: bool,
    import_source: bool,
    reads_only: bool,
}

impl ConnectionFlags {
    /// Whether the pinned connection has one of them.
    pub(super) const fn any(self) -> bool {
        self.no_evict || self.no_touch || self.import_source
    }

    /// The server has switched the one that a command is about.
    pub(super) fn note(&mut self, spec: &Spec, on: bool) {
        match spec.effect.local() {
            Some(Local::NoEvict) => self.no_evict = on,
            Some(Local::NoTouch) => self.no_touch = on,
            Some(Local::ImportSource) => self.import_source = on,
            _ => debug_assert!(false, "{} is about no setting", spec.name),
        }
    }

    /// READONLY or READWRITE.
    pub(super) const fn set_reads_only(&mut self, on: bool) {
        self.reads_only = on;
    }

    /// Sets the marks that CLIENT LIST shows.
    pub(super) const fn mark(self, marks: &mut Marks) {
        marks.set(Marks::READS_ONLY, self.reads_only);
        marks.set(Marks::NO_EVICT, self.no_evict);
        marks.set(Marks::NO_TOUCH, self.no_touch);
        marks.set(Marks::IMPORT_SOURCE, self.import_source);
    }
}

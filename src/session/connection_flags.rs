//! Settings of the connection itself.
//!
//! Owns: [`ConnectionFlags`]. Never knows: what they do at the server.

use crate::command::{Local, Spec};

/// Settings of the connection itself that a client has switched on (`CLIENT NO-EVICT`, `NO-TOUCH`,
/// `IMPORT-SOURCE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct ConnectionFlags {
    pub no_evict: bool,
    pub no_touch: bool,
    pub import_source: bool,
}

impl ConnectionFlags {
    pub(super) const fn any(self) -> bool {
        self.no_evict || self.no_touch || self.import_source
    }

    /// The one that a command is about.
    pub(super) fn of(&mut self, spec: &Spec) -> Option<&mut bool> {
        let local = spec.effect.local();
        if local == Some(Local::NoEvict) {
            Some(&mut self.no_evict)
        } else if local == Some(Local::NoTouch) {
            Some(&mut self.no_touch)
        } else if local == Some(Local::ImportSource) {
            Some(&mut self.import_source)
        } else {
            None
        }
    }
}

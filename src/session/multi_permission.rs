//! Whether the server takes MULTI from respgate's user.
//!
//! Owns: [`MultiPermission`]. Never knows: when it is asked.

/// What is known of the server's rules for respgate's user; nothing at first. One for all sessions of
/// a thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct MultiPermission(Option<bool>);

impl MultiPermission {
    /// MULTI was taken, or refused.
    pub const fn note(&mut self, taken: bool) {
        self.0 = Some(taken);
    }

    pub(super) const fn known(self) -> Option<bool> {
        self.0
    }

    /// What the reply to EXEC shows of the MULTI before it.
    pub(super) fn said(exec: &[u8]) -> Option<bool> {
        let refused = exec.starts_with(b"-NOPERM") || exec.starts_with(b"-ERR EXEC without MULTI");
        if refused { Some(false) } else { exec.starts_with(b"*").then_some(true) }
    }
}

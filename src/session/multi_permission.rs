//! Whether the server accepts MULTI from respgate's user.
//!
//! Owns: [`MultiPermission`]. Never knows: when it is queried.

/// What is known of the server's rules for respgate's user; nothing at first. One for all sessions of
/// a thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct MultiPermission(Option<bool>);

impl MultiPermission {
    /// MULTI was accepted, or refused.
    pub const fn note(&mut self, accepted: bool) {
        self.0 = Some(accepted);
    }

    pub(super) const fn known(self) -> Option<bool> {
        self.0
    }

    /// Whether the MULTI before was accepted, read from the reply to EXEC.
    pub(super) fn read_exec(exec: &[u8]) -> Option<bool> {
        let refused = exec.starts_with(b"-NOPERM") || exec.starts_with(b"-ERR EXEC without MULTI");
        if refused { Some(false) } else { exec.starts_with(b"*").then_some(true) }
    }
}

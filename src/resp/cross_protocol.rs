//! The requests that a browser sends in a cross-protocol attack.
//!
//! Owns: [`refuse_http`]. Never knows: frames, what any other command means.

use super::error::{ProtocolError, Violation};

/// Refuses the names of commands that a browser was made to send, in any case and up to a NUL
/// (Redis: `processCommand`, server.c, with `strcasecmp`).
#[inline]
pub(super) fn refuse_http(name: &[u8]) -> Result<(), ProtocolError> {
    if !matches!(name, [b'P' | b'p' | b'H' | b'h', ..]) {
        return Ok(());
    }
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let http = name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:");
    if http { Err(ProtocolError::new(Violation::CrossProtocol)) } else { Ok(()) }
}

//! How a permitted request is sent: as it came, or changed.
//!
//! Owns: [`Grant`]. Never knows: why a request is changed, sessions.

use super::names::{KeyScan, Strip};
use super::refusal::Refusal;

/// How a permitted request travels.
#[derive(Debug, Default)]
pub struct Grant {
    /// The request is sent as [`Scratch::take_wire`](super::Scratch::take_wire) has it, not as it came.
    pub changed: bool,
    /// Bytes of that which are the request itself, or of a head the head.
    pub split: usize,
    /// Bytes behind a head that belong to the request: they go behind its last byte.
    pub rest: u32,
    /// Requests of the proxy's own behind it, whose replies reach no client.
    pub companions: u32,
    /// What to take off the names in its reply.
    pub strip: Option<Strip>,
    /// The refusal of a rule that is only observed, if there is one.
    pub observed: Option<Box<Refusal>>,
    /// The request is not sent: the answer comes from a scan of the application's keys.
    pub scan: Option<Box<KeyScan>>,
}

impl Grant {
    /// Whether it is sent as it came and nothing more is to be known of it: it is [`Self::default`].
    #[must_use]
    #[inline]
    pub(crate) const fn is_plain(&self) -> bool {
        !self.changed
            && self.split == 0
            && self.companions == 0
            && self.strip.is_none()
            && self.observed.is_none()
            && self.scan.is_none()
    }
}

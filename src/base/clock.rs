//! The only two functions that read a clock; everything else takes time as an argument.
//!
//! Owns: the choice of clocks. Never knows: who asks.

use std::time::{Instant, SystemTime};

/// The monotonic clock, for deadlines and durations.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// The calendar, for certificates and time stamps.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

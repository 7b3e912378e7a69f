//! The only two functions that read a clock; everything else takes time as an argument.
//!
//! Owns: the choice of clocks. Never knows: its callers.

use std::time::{Instant, SystemTime};

/// The monotonic clock, for deadlines and durations.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, as servers count time.
#[must_use]
pub(crate) fn unix_ms() -> u64 {
    let since = wall().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The calendar, for certificates and time stamps.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

//! Settings of what is found out about traffic: slow commands, hot keys, big keys.
//!
//! Owns: [`Insight`], [`SlowLog`], [`HotKeys`]. Never knows: how it is found out.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Insight {
    pub slow: SlowLog,
    pub hot: HotKeys,
}

/// The commands that take longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowLog {
    /// Commands that take at least this long are kept; zero: none.
    pub threshold: Duration,
    /// Slow commands that are kept; a new one replaces the oldest.
    pub max_entries: usize,
}

/// The keys that are used most and hold the most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotKeys {
    /// One in so many commands is looked at; 0: none.
    pub sample: u64,
    /// Values and replies of at least so many bytes are noted with their key; 0: none.
    pub big: u64,
    /// Keys of one policy that have a counter of their own.
    pub max_keys: usize,
}

impl Default for SlowLog {
    fn default() -> Self {
        Self { threshold: Duration::ZERO, max_entries: 128 }
    }
}

impl Default for HotKeys {
    fn default() -> Self {
        Self { sample: 0, big: 0, max_keys: 128 }
    }
}

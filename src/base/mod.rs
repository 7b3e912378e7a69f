//! Basic types without knowledge of Redis, usable everywhere.
//!
//! Owns: limits, texts for clients, clocks, durations, secrets, password hashes, digests, kinds of rule,
//! live values, parts allocated on use, values with numbers, backoff, late wakes, entropy, small files, programs,
//! work that may block. Never knows: any module above.

pub(crate) mod aside;
pub(crate) mod backoff;
pub(crate) mod client_text;
pub(crate) mod clock;
pub(crate) mod entropy;
pub(crate) mod hex;
pub(crate) mod late_wake;
pub(crate) mod lazy_box;
pub(crate) mod limits;
pub(crate) mod live;
pub(crate) mod numbered;
pub(crate) mod password;
pub(crate) mod program;
pub(crate) mod rule;
pub(crate) mod secret;
pub(crate) mod sha1;
pub(crate) mod small_file;
pub(crate) mod terminal;
pub(crate) mod utc;

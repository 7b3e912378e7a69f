//! The ground: values with no opinion, usable everywhere.
//!
//! Owns: limits, clocks, durations, secrets, password hashes, digests, live values, backoff, entropy, small
//! files, programs, work that may block. Never knows: Redis, or anything above.

pub mod aside;
pub mod backoff;
pub mod clock;
pub mod elapsed;
pub mod entropy;
pub mod hex;
pub mod limits;
pub mod live;
pub mod password;
pub mod program;
pub mod secret;
pub mod sha1;
pub mod small_file;
pub mod terminal;
pub mod utc;

//! The same bytes as from a server without respgate.
//!
//! Owns: the list of these tests. Never knows: what each of them tries.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    reason = "a test may crash"
)]
#![allow(
    clippy::duplicate_mod,
    reason = "tests that share a file take it as a module of their own"
)]

mod clients;
mod command_table;
mod differential;
mod malformed;
mod random_sessions;
mod replication;
mod session_mode;
#[path = "../support/mod.rs"]
mod support;
mod wrong_arguments;

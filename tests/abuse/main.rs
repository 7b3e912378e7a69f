//! What clients and servers that misbehave cost the others.
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

mod bounds;
mod chaos;
mod failure;
mod hostile;
#[path = "../support/mod.rs"]
mod support;

//! What a policy permits, refuses and rewrites, on real servers.
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

mod acl_differential;
mod content;
mod custom_commands;
mod observe;
mod policy_cases;
mod rate;
mod roles;
mod scripts;
#[path = "../support/mod.rs"]
mod support;
mod ttl;

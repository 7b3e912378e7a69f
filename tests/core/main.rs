//! The parts without a server: framing, sessions and connections in simulation, the rules of the house.
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

mod architecture;
mod fuzz_as_tests;
mod resp_oracle;
mod resp_properties;
mod session_sim;
#[path = "../support/mod.rs"]
mod support;
mod upstream_sim;

//! The parts without a server: framing, sessions and connections in simulation, the rules of the house.
//!
//! Owns: the list of these tests. Never knows: what each of them tries.

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

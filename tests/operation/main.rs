//! What operators and auditors touch: configuration, files, verbs, logs, metrics, documents.
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

mod admin;
mod audit;
mod cli;
mod config;
mod config_reference;
mod demo;
mod documents;
mod first_hour;
mod lifecycle;
mod listener_tls;
mod listeners;
mod reload;
mod secrets;
mod security;
#[path = "../support/mod.rs"]
mod support;
mod telemetry;
mod tls;

//! What integration tests share: real servers, the proxy as a process, a client that sees bytes.
//!
//! Owns: the list of its parts. Never knows: what any test asserts.
#![allow(dead_code, reason = "each test uses the part it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test may crash"
)]

pub mod allowed;
pub mod certs;
pub mod choices;
pub mod client;
pub mod fake_server;
pub mod forms;
pub mod grammar;
pub mod operator;
pub mod pair;
pub mod pki;
pub mod ports;
pub mod prefixed;
pub mod proxy;
pub mod real_server;
pub mod script;
pub mod secure;
pub mod seeds;
pub mod shrink;

//! What must hold for any bytes; each check panics when it does not.
//!
//! Owns: the list of checks. Never knows: where the bytes come from.

pub mod acl_rule;
pub mod config;
pub mod model;
pub mod reply;
pub mod request;
pub mod rewrite;
pub mod session_operations;

//! What clients and servers that misbehave cost the others.
//!
//! Owns: the list of these tests. Never knows: what each of them tries.

mod bounds;
mod chaos;
mod failure;
mod hostile;
#[path = "../support/mod.rs"]
mod support;

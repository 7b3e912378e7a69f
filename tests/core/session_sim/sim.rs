//! A simulation of sessions between clients and a server: a seed decides everything that happens.
//!
//! Owns: the list of its parts. Never knows: how often it is run.

#[path = "../../support/choices.rs"]
pub mod choices;
pub mod client;
mod conversations;
mod data;
pub mod grammar;
pub mod model;
mod network;
pub mod reference;
mod shared;
mod surroundings;
pub mod world;

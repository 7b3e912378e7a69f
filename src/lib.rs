//! respgate: a sidecar proxy between applications with plain RESP and a Redis or Valkey
//! that accepts only mutual TLS.
//!
//! The modules are on levels; imports go down only and two modules of one level never meet
//! (`tests/core/architecture.rs` holds this). A command meets them in this order: `downstream` reads it,
//! `resp` frames it, `command` knows it, `policy` judges it, `session` decides where it goes,
//! `upstream` carries it and matches the reply, `session` puts the reply in its place.
#![warn(unreachable_pub)]

// L0: values with no opinion.
mod base;
// L1: bytes <-> frames, text -> settings.
mod config;
mod resp;
// L2: what is known about each command, what is counted and logged.
mod command;
mod telemetry;
// L3: types that both sides share, TLS identities.
mod tls;
mod traffic;
// L4: may this command pass; what auditors read.
mod audit;
mod policy;
// L5: one client's conversation (pure), connections to the server. They never meet.
mod session;
mod upstream;
// L6: the application's side: the task around a session; looking at a server.
mod downstream;
mod probe;
// L7: what operators see over HTTP, and what is found out about a server: why it does not
// work, what of it is not safe.
mod admin;
mod doctor;
mod security;
// L8: assembly, reload, drain.
mod proxy;
// L9: words for people.
pub mod cli;

// What tests and benches may use; all else is visible in this crate alone.
#[doc(hidden)]
pub mod internals;

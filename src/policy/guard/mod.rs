//! Scripts that stay among the application's own names: what respgate writes before a script's text.
//!
//! The text runs in the same chunk behind it, so that the local variables of this prologue hide the
//! server's globals from it: its `redis.call` is one that knows where each command's keys are. A name
//! that does not occur in the text cannot be used by it, for Lua has no other way to a global once
//! `_G`, `getfenv` and `loadstring` are hidden; so only names that occur are hidden, and few scripts come
//! near Lua's limit of 200 local variables.
//!
//! Owns: what a request with a script becomes. Never knows: sessions, connections.

mod globals;
mod lua;
mod probe;
mod prologue;
mod rules;
mod shaped;
mod table;
mod words;

pub use globals::{Globals, question};
pub(crate) use globals::{GlobalsSource, GuardFailure, Guarding};
pub(crate) use probe::{canary, seal};
pub(crate) use prologue::Guard;
pub use prologue::Guarded;
pub(super) use prologue::{obstacle, unguardable};
pub(crate) use shaped::{Digests, Shaped, digests};

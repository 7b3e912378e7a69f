//! Why a server cannot be used, step by step, and what to do about it.
//!
//! Owns: the list of its parts. Never knows: how a report looks.

mod collect;
mod facts;
mod judge;
mod mounts;
mod page;
mod trouble;

pub(crate) use collect::collect;
pub(crate) use facts::Facts;
pub(crate) use judge::{Outcome, Step, judge};
pub use page::{codes, page};

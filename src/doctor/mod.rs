//! Why a server cannot be used, step by step, and what to do about it.
//!
//! Owns: the list of its parts. Never knows: how a report looks.

mod collect;
mod facts;
mod judge;
mod mounts;
mod page;
mod trouble;

pub use collect::collect;
pub use facts::{Facts, FileFact, Identity, Instead, Reached};
pub use judge::{Outcome, Step, judge};
pub use page::{codes, page};
pub use trouble::Trouble;

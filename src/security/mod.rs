//! What of a server, of the path to it and of respgate's own configuration is not as safe as it could be.
//!
//! Owns: the list of its parts. Never knows: how a report looks.

mod audited;
mod collect;
mod copies;
mod facts;
mod judge;
mod own;
mod page;
mod path;
mod revoked;
mod table;

pub(crate) use collect::{Target, collect};
pub(crate) use judge::{Finding, Outcome, judge};
pub use page::page;
pub use table::CHECKS;
pub(crate) use table::{Check, Feature, Profile};

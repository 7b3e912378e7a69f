//! The parts that decide, and neither wait nor touch a socket, for `tests/core/upstream_sim.rs`.
//!
//! Owns: nothing; it names what the simulation may use. Never knows: what the parts do.

pub use super::addresses::{Attempted, Finding, Known, Lookup, Race, Verdict};
pub use super::breaker::BreakerRules;
pub use super::carrier::{Carrier, Dialed, Relieved, Served, Step, TURN, Unread};
pub use super::connection::{Action, Around, BUSY_TICK, Freshness, HOME, Timing};
pub use super::connector::{After, Connector, Outcome, Turn as ConnectTurn};
pub use super::ended::Ended;
pub use super::handshake_limit::Waiter;
pub use super::holder::Holder;
pub use super::idle::{Checked, Pooled};
pub use super::line::{Line, Next, WAIT_TICK};
pub use super::missing::{MissingDatabases, Selection};
pub use super::node::{Ask, Attempt, Begun, Node};
pub use super::outage::{Overdue, Patience};
pub use super::owner::Owner;
pub use super::pipeline::Pipeline;
pub use super::pool_core::{Answer, PoolCore, Turn, Upkeep};
pub use super::registry::{ASIDE_MAX, Member, Place, Registry};
pub use super::retry_budget::{Repeat, RetryBudget};
pub use super::shares::{Use, most_for_one_use};
pub use super::wait::Wait;

//! Any bytes, taken for the decisions of a simulation, leave every conversation one with Redis.
//!
//! Owns: [`check`]. Never knows: what is simulated.

#[path = "../../core/session_sim/sim.rs"]
mod sim;

/// A longer input decides nothing more.
const STEPS: usize = 400;

pub fn check(data: &[u8]) {
    let mut choices = sim::choices::Choices::from_bytes(data);
    let now = respgate::internals::base::clock::now();
    sim::grammar::run(&mut choices, STEPS, now, false, &mut |_| true);
}

//! Which seeds a simulation plays: those of the test, more of them, or one again with its events.
//!
//! Owns: `RESPGATE_SEEDS` and `RESPGATE_SEED`. Never knows: what is simulated.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The number in a variable of the environment, if it is set.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Plays `usual` seeds, or as many as `RESPGATE_SEEDS` says; with `RESPGATE_SEED` that one alone, and `play` is
/// to show its events.
pub fn play(usual: u64, mut play: impl FnMut(u64, bool)) {
    let one = number("RESPGATE_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("RESPGATE_SEEDS").unwrap_or(usual),
    };
    for seed in seeds {
        let held = catch_unwind(AssertUnwindSafe(|| play(seed, one.is_some())));
        assert!(held.is_ok(), "run it alone, with its events: RESPGATE_SEED={seed}");
    }
}

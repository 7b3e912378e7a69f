//! The seeds that a simulation plays: those of the test, more or other ones, or one again with its events.
//!
//! Owns: `RESPGATE_SEEDS` and `RESPGATE_SEED`. Never knows: what is simulated.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The number in a variable of the environment, if it is set.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The first `usual` seeds, or those of `RESPGATE_SEEDS`: so many (`10000`), or from one to before another
/// (`5000..9000`).
pub fn range(usual: u64) -> Range<u64> {
    match std::env::var("RESPGATE_SEEDS") {
        Ok(text) => parse(&text),
        Err(_) => 0..usual,
    }
}

/// Panics where the text is neither.
pub fn parse(text: &str) -> Range<u64> {
    let seed = |text: &str| {
        text.parse().unwrap_or_else(|_| panic!("RESPGATE_SEEDS=10000 or 5000..9000, not {text:?}"))
    };
    match text.split_once("..") {
        Some((from, to)) => seed(from)..seed(to),
        None => 0..seed(text),
    }
}

/// What runs one seed of this test alone.
pub fn command(seed: u64) -> String {
    let thread = std::thread::current();
    // With one thread for all tests it has no test's name.
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default().to_owned();
    format!("RESPGATE_SEED={seed} cargo test --locked --test {} {test}", env!("CARGO_CRATE_NAME"))
}

/// Plays like [`play`]; of a seed that fails, `explain` returns what is to be shown besides.
pub fn play_and_explain(
    usual: u64,
    mut play: impl FnMut(u64, bool),
    mut explain: impl FnMut(u64) -> String,
) {
    let one = number("RESPGATE_SEED");
    let seeds = one.map_or_else(|| range(usual), |seed| seed..seed + 1);
    assert!(!seeds.is_empty(), "there is no seed to play");
    for seed in seeds {
        let held = catch_unwind(AssertUnwindSafe(|| play(seed, one.is_some())));
        if held.is_err() {
            let more = explain(seed);
            panic!("seed {seed}; with its events: {}\n{more}", command(seed));
        }
    }
}

/// Plays `usual` seeds, or those of `RESPGATE_SEEDS`; with `RESPGATE_SEED` that one alone, and `play` is
/// to show its events.
pub fn play(usual: u64, play: impl FnMut(u64, bool)) {
    play_and_explain(usual, play, |_| String::new());
}

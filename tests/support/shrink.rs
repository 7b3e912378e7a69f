//! Makes a failing run of a simulation smaller: leaves out steps as long as it still fails.
//!
//! Owns: [`fewest`], [`Kept`]. Never knows: what a step is, why a run fails.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// So many further runs are made at most.
const RUNS_MAX: usize = 400;

/// The steps of a run, by their numbers, that are not left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept(Option<Vec<usize>>);

impl Kept {
    /// `None`: all of them.
    pub const fn new(steps: Option<Vec<usize>>) -> Self {
        Self(steps)
    }

    pub fn has(&self, step: usize) -> bool {
        self.0.as_ref().is_none_or(|steps| steps.binary_search(&step).is_ok())
    }
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Whether the run fails. Its message is not shown.
fn fails(mut play: impl FnMut()) -> bool {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                usual(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let failed = catch_unwind(AssertUnwindSafe(&mut play)).is_err();
    IS_QUIET.set(false);
    failed
}

/// A run of the steps `0..count` fails: fewer of them that fail as well, none of which can be left out alone (unless it
/// takes too many runs to find out). `None`: it does not fail a second time.
pub fn fewest(count: usize, mut play: impl FnMut(&Kept)) -> Option<Vec<usize>> {
    let mut runs = 0;
    let mut try_out = |steps: &[usize]| {
        runs += 1;
        runs <= RUNS_MAX && fails(|| play(&Kept::new(Some(steps.to_vec()))))
    };
    let mut best: Vec<usize> = (0..count).collect();
    if !try_out(&best) {
        return None;
    }
    let mut size = best.len().div_ceil(2).max(1);
    loop {
        let (before, mut at) = (best.len(), 0);
        while at < best.len() {
            let end = (at + size).min(best.len());
            let candidate = [&best[..at], &best[end..]].concat();
            if try_out(&candidate) {
                best = candidate;
            } else {
                at = end;
            }
        }
        if size == 1 && best.len() == before {
            return Some(best);
        }
        size = (size / 2).max(1);
    }
}

//! Makes a failing run of a simulation smaller: leaves out steps as long as it still fails.
//!
//! Owns: [`explain`], [`Replay`], [`fewest`], [`Kept`]. Never knows: what a step is, why a run fails.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::rc::Rc;
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

/// One run of a seed. At each step `C`, from which everything is drawn, is as it was in the first run, whichever steps
/// are left out before.
#[derive(Debug)]
pub struct Replay<C> {
    /// Of the first run.
    draws: Option<Rc<Vec<C>>>,
    kept: Kept,
    recorded: Vec<C>,
    next: usize,
    happens: bool,
    notes: Vec<String>,
}

impl<C> Default for Replay<C> {
    /// The first run, of all steps.
    fn default() -> Self {
        Self {
            draws: None,
            kept: Kept::default(),
            recorded: Vec::new(),
            next: 0,
            happens: true,
            notes: Vec::new(),
        }
    }
}

impl<C: Clone> Replay<C> {
    fn again(draws: &Rc<Vec<C>>, kept: &Kept) -> Self {
        Self { draws: Some(Rc::clone(draws)), kept: kept.clone(), ..Self::default() }
    }

    /// The next step begins. Returns whether it happens.
    pub fn step(&mut self, choices: &mut C) -> bool {
        let step = self.next;
        self.next += 1;
        self.happens = self.kept.has(step);
        match &self.draws {
            None => self.recorded.push(choices.clone()),
            Some(draws) => draws.get(step).into_iter().for_each(|draws| *choices = draws.clone()),
        }
        if self.happens {
            self.notes.push(format!("step {step}"));
        }
        self.happens
    }

    /// What happens in this step.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(note) = self.notes.last_mut().filter(|_| self.happens && self.draws.is_some()) {
            *note = format!("{note}: {}", what());
        }
    }
}

/// The fewest steps with which a run fails, a line for each.
pub fn explain<C: Clone>(mut play: impl FnMut(&mut Replay<C>)) -> String {
    let mut first = Replay::default();
    let failed = fails(|| play(&mut first));
    let (draws, count) = (Rc::new(first.recorded), first.next);
    let steps = fewest(count, |kept| play(&mut Replay::again(&draws, kept)));
    let Some(steps) = steps.filter(|_| failed) else {
        return "it does not fail again".to_owned();
    };
    let mut last = Replay::again(&draws, &Kept::new(Some(steps.clone())));
    fails(|| play(&mut last));
    let lines: String = last.notes.iter().map(|note| format!("  {note}\n")).collect();
    format!("{} of its {count} steps are enough:\n{lines}", steps.len())
}

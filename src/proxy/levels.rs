//! What is logged at this moment: as configured, or as an operator wants it for a while.
//!
//! Owns: [`Levels`]. Never knows: clocks, the verb.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::telemetry::{LogError, LogHandle};

#[derive(Debug)]
pub(super) struct Levels {
    log: LogHandle,
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
struct State {
    configured: String,
    wanted: Option<Wanted>,
    last: u64,
}

/// A level that an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub level: String,
    /// Seconds since 1970.
    pub until: Option<u64>,
    number: u64,
}

impl Levels {
    pub(super) fn new(log: LogHandle, configured: &str) -> Self {
        let state = State { configured: configured.to_owned(), wanted: None, last: 0 };
        Self { log, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configured level, and what an operator wants instead.
    pub(super) fn now(&self) -> (String, Option<Wanted>) {
        let state = self.state();
        (state.configured.clone(), state.wanted.clone())
    }

    /// This is configured from here on; what an operator wants stays in force.
    ///
    /// # Errors
    ///
    /// When it is no filter.
    pub(super) fn configure(&self, level: &str) -> Result<(), LogError> {
        let mut state = self.state();
        if state.configured == level {
            return Ok(());
        }
        if state.wanted.is_none() {
            self.log.set_level(level)?;
        }
        state.configured = level.to_owned();
        Ok(())
    }

    /// An operator wants this level. Returns its number, for [`Self::end`].
    ///
    /// # Errors
    ///
    /// When it is no filter.
    pub(super) fn want(&self, level: &str, until: Option<u64>) -> Result<u64, LogError> {
        let mut state = self.state();
        self.log.set_level(level)?;
        state.last += 1;
        let number = state.last;
        state.wanted = Some(Wanted { level: level.to_owned(), until, number });
        Ok(number)
    }

    /// The level of the configuration is in force again; with a number, only if that is what is wanted.
    ///
    /// # Errors
    ///
    /// When it is no filter, which the configuration does not permit.
    pub(super) fn end(&self, number: Option<u64>) -> Result<(), LogError> {
        let mut state = self.state();
        let other = |wanted: &Wanted| number.is_some_and(|number| number != wanted.number);
        if state.wanted.as_ref().is_none_or(other) {
            return Ok(());
        }
        state.wanted = None;
        self.log.set_level(&state.configured)
    }
}

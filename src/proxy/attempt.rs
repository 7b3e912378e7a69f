//! What came of reloading one part: the configuration, the identity, or the password.
//!
//! Owns: [`Attempt`], [`Rejection`]. Never knows: how a reload is done.

use crate::telemetry::{Label, Reload, ReloadRejection, ReloadResult};

/// What came of reloading one part.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub what: Reload,
    pub result: ReloadResult,
    pub rejection: Option<Rejection>,
}

impl Attempt {
    /// The part, as metrics call it.
    pub(super) fn part(&self) -> &'static str {
        self.what.label()
    }

    pub(super) fn result(&self) -> &'static str {
        self.result.label()
    }

    /// The kind of a rejection, as metrics call it …
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.rejection.as_ref().map(|rejection| rejection.reason.label())
    }

    /// … and its text.
    pub(super) fn cause(&self) -> Option<&str> {
        self.rejection.as_ref().map(|rejection| rejection.text.as_str())
    }
}

/// Why one part was not replaced.
#[derive(Clone, Debug)]
pub(super) struct Rejection {
    pub reason: ReloadRejection,
    pub text: String,
}

impl Rejection {
    /// With the kind that has this label.
    pub(super) fn of(label: &str, text: impl std::fmt::Display) -> Self {
        let known = ReloadRejection::ALL.iter().find(|known| known.label() == label);
        Self::new(known.copied().unwrap_or(ReloadRejection::Parse), text)
    }

    pub(super) fn new(reason: ReloadRejection, text: impl std::fmt::Display) -> Self {
        Self { reason, text: text.to_string() }
    }
}

//! What came of reloading one part: the configuration, the identity, or the password.
//!
//! Owns: [`Attempt`], [`Rejection`]. Never knows: how a reload is done.

use super::retry::Hindrance;
use crate::telemetry::{Label, Reload, ReloadRejection, ReloadResult};
use crate::tls;
use crate::upstream::credentials::LoginError;

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
    /// What may pass although no file changes.
    pub hindrance: Option<Hindrance>,
}

impl Rejection {
    pub(super) fn new(reason: ReloadRejection, text: impl std::fmt::Display) -> Self {
        Self { reason, text: text.to_string(), hindrance: None }
    }

    /// The configuration, or a file that it names. `slow`: one was not read in time, and nothing reports when that has
    /// passed.
    pub(super) fn of_slow_files(self, slow: bool) -> Self {
        let hindrance = slow.then_some(Hindrance::Surroundings);
        Self { hindrance: self.hindrance.or(hindrance), ..self }
    }

    /// Certificates, keys or lists that cannot be used.
    pub(super) fn of_files(fault: tls::Fault, text: impl std::fmt::Display) -> Self {
        let known = ReloadRejection::ALL.iter().find(|known| known.label() == fault.reason());
        let hindrance = fault.may_pass().then_some(Hindrance::Surroundings);
        Self { hindrance, ..Self::new(known.copied().unwrap_or(ReloadRejection::Parse), text) }
    }

    /// A password that cannot be read. When a program prints it, that is run again by a plan of its own.
    pub(super) fn of_login(error: &LoginError) -> Self {
        let hindrance = error.is_of_files().then_some(Hindrance::Surroundings);
        Self { hindrance, ..Self::new(error.reason(), error) }
    }

    /// What was probed, and is not published.
    pub(super) fn of_probe(error: impl std::fmt::Display) -> Self {
        let hindrance = Some(Hindrance::Server);
        Self { hindrance, ..Self::new(ReloadRejection::ProbeFailed, error) }
    }
}

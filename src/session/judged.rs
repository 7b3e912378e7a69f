//! What a session says of a request.
//!
//! Owns: [`Judged`], [`Denial`]. Never knows: how it is judged, what becomes of it.

use super::access::Login;
use super::step::Step;
use crate::command::Spec;
use crate::policy::Refusal;

/// What is to be done with a request, and all that is to be known of it.
#[derive(Clone, Debug)]
pub struct Judged {
    pub step: Step,
    /// Which command it is, if it is one.
    pub command: Option<&'static Spec>,
    /// What came of an attempt to log in.
    pub authentication: Option<Login>,
    pub denial: Option<Denial>,
    /// It passes only because a rule is observed: that rule's refusal.
    pub observed: Option<Refusal>,
    /// It has an answer of respgate's own: whether that is an error.
    pub answered: Option<bool>,
}

/// Why a request is not carried out.
#[derive(Clone, Copy, Debug)]
pub enum Denial {
    /// The policy refuses it.
    Refused(Refusal),
    /// It is a driver's question that no server knows: the answer is an error of the server's own kind.
    Probe,
}

impl Judged {
    /// A request of which nothing more is known.
    #[must_use]
    pub const fn only(step: Step) -> Self {
        Self {
            step,
            command: None,
            authentication: None,
            denial: None,
            observed: None,
            answered: None,
        }
    }

    /// The policy's refusal.
    #[must_use]
    pub const fn refused(&self) -> Option<&Refusal> {
        match &self.denial {
            Some(Denial::Refused(refusal)) => Some(refusal),
            Some(Denial::Probe) | None => None,
        }
    }
}

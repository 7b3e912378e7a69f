//! A session's judgement of a request.
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
    /// The command, if the request is one.
    pub command: Option<&'static Spec>,
    /// Whether respgate's own answer is an error, if respgate answers.
    pub answered: Option<bool>,
    extras: Option<Box<Extras>>,
}

/// What is known of few requests.
#[derive(Clone, Debug)]
struct Extras {
    /// What came of an attempt to log in.
    authentication: Option<Login>,
    /// What the policy has against it.
    denial: Option<Denial>,
}

/// What a policy has against a request.
#[derive(Clone, Copy, Debug)]
pub enum Denial {
    /// The request is refused.
    Refused(Refusal),
    /// The request passes because the rule of this refusal is only observed.
    Observed(Refusal),
    /// The request is a driver's probe that no server knows: the answer is an error of the server's own kind.
    Probe,
}

impl Judged {
    /// A request of which nothing more is known.
    #[must_use]
    pub const fn new(step: Step, command: Option<&'static Spec>, answered: Option<bool>) -> Self {
        Self { step, command, answered, extras: None }
    }

    /// The same request, and what few have.
    #[cold]
    #[inline(never)]
    pub(super) fn with(self, authentication: Option<Login>, denial: Option<Denial>) -> Self {
        debug_assert!(authentication.is_some() || denial.is_some(), "nothing more is known");
        Self { extras: Some(Box::new(Extras { authentication, denial })), ..self }
    }

    /// What came of an attempt to log in, once.
    #[inline]
    pub fn take_authentication(&mut self) -> Option<Login> {
        self.extras.as_deref_mut()?.authentication.take()
    }

    /// What the policy has against it.
    #[must_use]
    #[inline]
    pub fn denial(&self) -> Option<&Denial> {
        self.extras.as_deref()?.denial.as_ref()
    }

    /// The policy's refusal.
    #[must_use]
    pub fn refused(&self) -> Option<&Refusal> {
        match self.denial() {
            Some(Denial::Refused(refusal)) => Some(refusal),
            Some(Denial::Observed(_) | Denial::Probe) | None => None,
        }
    }

    /// The refusal of a rule that is observed.
    #[must_use]
    pub fn observed(&self) -> Option<&Refusal> {
        match self.denial() {
            Some(Denial::Observed(refusal)) => Some(refusal),
            Some(Denial::Refused(_) | Denial::Probe) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judged_request_stays_small() {
        // It is written and copied for each command.
        assert_eq!(
            [size_of::<Judged>(), size_of::<Step>(), size_of::<Denial>(), size_of::<Login>()],
            [72, 48, 48, 24]
        );
    }
}

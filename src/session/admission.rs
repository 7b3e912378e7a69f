//! Whether a permitted request may go at this moment, or must wait, or comes too often.
//!
//! Owns: the order of tokens and slots. Never knows: how much of a limit is used by
//! whom, what the request does.

use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::gates::{Admission, Gate};
use super::state::{Context, Session};
use crate::command::Spec;
use crate::policy::{Limit, Refusal};

/// Why a request does not go at this moment.
#[derive(Debug)]
pub(super) enum Halt {
    /// It is presented again then, or when [`Session::poll_turn`] says so.
    Until(Instant),
    Refused(Refusal),
}

impl Session {
    /// Whether the request at hand may go. Nothing of it is counted twice, however often it is
    /// presented.
    #[inline(always)]
    pub(super) fn admit(&mut self, spec: &'static Spec, ctx: &mut Context<'_>) -> Result<(), Halt> {
        if ctx.gates.is_empty() { Ok(()) } else { self.admit_limited(spec, ctx) }
    }

    fn admit_limited(&mut self, spec: &'static Spec, ctx: &mut Context<'_>) -> Result<(), Halt> {
        let mut admission = match self.admission.take() {
            Some(admission) => admission,
            None => Box::new(reserve(spec, ctx).map_err(Halt::Refused)?),
        };
        if ctx.now < admission.until {
            let until = admission.until;
            self.admission = Some(admission);
            return Err(Halt::Until(until));
        }
        let entered = enter(&mut admission, spec, ctx);
        ctx.desk.observed = ctx.desk.observed.or(admission.observed);
        if !matches!(entered, Err(Halt::Refused(_))) {
            self.admission = Some(admission);
        }
        entered
    }

    /// Whether the request that waits is to be presented again; if not, `waker` is called when it is.
    #[must_use]
    pub fn poll_turn(&self, waker: &Waker) -> bool {
        let queued = self.admission.as_ref().and_then(|held| held.queued.as_ref());
        queued.is_some_and(|queued| queued.poll(waker))
    }

    /// Another policy is in force, with gates of its own.
    pub fn forget_admission(&mut self) {
        self.admission = None;
    }
}

/// Takes a token of every bucket, unless one of them is too far from having it.
fn reserve(spec: &'static Spec, ctx: &Context<'_>) -> Result<Admission, Refusal> {
    let mut admission = Admission::new(ctx.now);
    for (limit, gate) in covering(spec, ctx) {
        let wait = limit.rate.as_ref().map_or(0, |rate| gate.wait_us(rate, ctx.now));
        let wait = Duration::from_micros(wait);
        if wait > limit.max_delay {
            over(Refusal::rate(spec, wait), &mut admission, ctx)?;
        } else if limit.concurrency.is_some_and(|most| gate.is_full(most))
            && limit.max_delay.is_zero()
        {
            over(Refusal::concurrency(spec), &mut admission, ctx)?;
        } else {
            admission.until = admission.until.max(ctx.now + wait);
        }
    }
    // Nothing refuses it: only here is anything taken.
    for (limit, gate) in covering(spec, ctx) {
        if let Some(rate) = &limit.rate
            && Duration::from_micros(gate.wait_us(rate, ctx.now)) <= limit.max_delay
        {
            gate.take_token(rate, ctx.now);
        }
    }
    Ok(admission)
}

/// Takes a slot of every limit on how many there are at once; all in one order, so that nobody
/// waits for each other.
fn enter(admission: &mut Admission, spec: &'static Spec, ctx: &Context<'_>) -> Result<(), Halt> {
    for (at, (limit, gate)) in covering(spec, ctx).enumerate().skip(admission.passed) {
        let Some(most) = limit.concurrency else { continue };
        let slot = match &admission.queued {
            Some(queued) => queued.take(),
            None => gate.enter(most),
        };
        let deadline = admission.since + limit.max_delay;
        if slot.is_none() && ctx.now < deadline {
            admission.queued.get_or_insert_with(|| gate.queue());
            return Err(Halt::Until(deadline));
        }
        admission.queued = None;
        admission.passed = at + 1;
        match slot {
            Some(slot) => admission.slots.push(slot),
            None => over(Refusal::concurrency(spec), admission, ctx).map_err(Halt::Refused)?,
        }
    }
    Ok(())
}

/// A limit is exceeded: refused, unless that is only observed.
fn over(refusal: Refusal, admission: &mut Admission, ctx: &Context<'_>) -> Result<(), Refusal> {
    if !ctx.policy.observes(refusal.rule) {
        return Err(refusal);
    }
    admission.observed = Some(refusal);
    Ok(())
}

/// The limits that are about a command, and what is used of them.
fn covering<'a>(spec: &Spec, ctx: &Context<'a>) -> impl Iterator<Item = (&'a Limit, &'a Rc<Gate>)> {
    let limits = ctx.policy.limits().iter().zip(ctx.gates.iter());
    limits.filter(|(limit, _)| limit.covers(spec))
}

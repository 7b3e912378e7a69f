//! Applies limits of rate and concurrency: a permitted request is admitted, delayed or rejected.
//!
//! Owns: [`Admissions`]: the order of tokens and slots. Never knows: which clients have used
//! a limit, what the request does.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::context::Context;
use super::judged::Denial;
use super::limiter::{Admission, Limiter, Waiter};
use crate::base::lazy_box::{Initial, LazyBox};
use crate::command::{Effect, Spec};
use crate::policy::{Limit, Refusal};

/// Why a request does not go at this moment.
#[derive(Debug)]
pub(super) enum Halt {
    /// The request is presented again then, or when [`Admissions::turn`] has a slot.
    Until(Instant),
    Refused(Refusal),
}

/// What the request at hand has been given, and what EXEC will have to be.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    at_hand: Option<Box<Admission>>,
    queued: LazyBox<QueuedLimits>,
}

/// Limits of the policy whose slots EXEC takes for the commands that are queued.
#[derive(Debug, Default)]
struct QueuedLimits {
    numbers: Vec<usize>,
}

impl Initial for QueuedLimits {
    const INITIAL: &'static Self = &Self { numbers: Vec::new() };
}

impl Admissions {
    /// Whether the request at hand may go; `queued`: within a transaction. Nothing of it is counted twice,
    /// however often it is presented.
    pub(super) fn admit(
        &mut self,
        spec: &'static Spec,
        queued: bool,
        ctx: &mut Context<'_>,
    ) -> Result<(), Halt> {
        let limits = ctx.policy.limits().len();
        debug_assert_eq!(ctx.limiters.iter().count(), limits, "limiters of another policy");
        let mut admission = match self.at_hand.take() {
            Some(admission) => admission,
            None => Box::new(self.take_tokens(spec, queued, ctx).map_err(Halt::Refused)?),
        };
        if ctx.now < admission.until {
            let until = admission.until;
            self.at_hand = Some(admission);
            return Err(Halt::Until(until));
        }
        let entered = self.take_slots(&mut admission, spec, queued, ctx);
        if let Some(observed) = admission.observed {
            ctx.request_scratch.denial.get_or_insert(Denial::Observed(observed));
        }
        if !matches!(entered, Err(Halt::Refused(_))) {
            self.at_hand = Some(admission);
        }
        if entered.is_ok() {
            self.note_queued_limits(spec, queued, ctx);
        }
        entered
    }

    /// The place in the line for a slot, if the request at hand waits for one.
    pub(super) fn turn(&self) -> Option<&Waiter> {
        self.at_hand.as_ref().and_then(|held| held.queued.as_ref())
    }

    /// What the request at hand keeps until it is answered.
    #[inline(always)]
    pub(super) const fn take(&mut self) -> Option<Box<Admission>> {
        self.at_hand.take()
    }

    /// The request at hand is dealt with, or given up.
    #[inline(always)]
    pub(super) fn forget(&mut self) {
        if self.at_hand.is_some() {
            self.at_hand = None;
        }
    }

    /// Takes a token of every bucket, unless one of them is too far from having it.
    fn take_tokens(
        &self,
        spec: &'static Spec,
        queued: bool,
        ctx: &Context<'_>,
    ) -> Result<Admission, Refusal> {
        let mut admission = Admission::new(ctx.now);
        for (limit, limiter, needs) in self.needed(spec, queued, ctx) {
            let wait = if needs.token { limiter.wait_us(ctx.now) } else { 0 };
            let wait = Duration::from_micros(wait);
            let most = limit.concurrency.filter(|_| needs.slot);
            if wait > limit.max_delay {
                over(Refusal::rate(spec, wait), &mut admission, ctx)?;
            } else if most.is_some_and(|most| limiter.is_full(most)) && limit.max_delay.is_zero() {
                over(Refusal::concurrency(spec), &mut admission, ctx)?;
            } else {
                admission.until = admission.until.max(ctx.now + wait);
            }
        }
        // Nothing refuses it: only here is anything taken.
        for (limit, limiter, needs) in self.needed(spec, queued, ctx) {
            if needs.token && Duration::from_micros(limiter.wait_us(ctx.now)) <= limit.max_delay {
                limiter.take_token(ctx.now);
            }
        }
        Ok(admission)
    }

    /// Takes a slot of every limit on how many there are at once; always in the same order,
    /// so that two requests never wait for each other.
    fn take_slots(
        &self,
        admission: &mut Admission,
        spec: &'static Spec,
        queued: bool,
        ctx: &Context<'_>,
    ) -> Result<(), Halt> {
        for (at, (limit, limiter, needs)) in
            self.needed(spec, queued, ctx).enumerate().skip(admission.passed)
        {
            let Some(most) = limit.concurrency.filter(|_| needs.slot) else { continue };
            let slot = match &admission.queued {
                Some(queued) => queued.take(),
                None => limiter.enter(most),
            };
            let deadline = admission.since + limit.max_delay;
            if slot.is_none() && ctx.now < deadline {
                admission.queued.get_or_insert_with(|| limiter.queue());
                return Err(Halt::Until(deadline));
            }
            admission.queued = None;
            admission.passed = at + 1;
            match slot {
                Some(slot) => admission.slots.push(slot),
                None => over(Refusal::concurrency(spec), admission, ctx).map_err(Halt::Refused)?,
            }
        }
        debug_assert!(admission.queued.is_none(), "a request goes on that waits for a slot");
        debug_assert!(admission.slots.len() <= admission.passed, "more slots than limits");
        Ok(())
    }

    /// The limits that a command meets, and what is used of them. A command that is queued in a transaction takes
    /// its tokens; its slots are taken by EXEC, which is when it runs.
    fn needed<'a>(
        &'a self,
        spec: &'a Spec,
        queued: bool,
        ctx: &Context<'a>,
    ) -> impl Iterator<Item = (&'a Limit, &'a Rc<Limiter>, Needs)> {
        let runs = spec.effect == Effect::Exec;
        let limits = ctx.policy.limits().iter().zip(ctx.limiters.iter()).enumerate();
        limits.filter_map(move |(at, (limit, limiter))| {
            let covers = limit.covers(spec);
            let executed = queued && runs && self.queued.numbers.contains(&at);
            let needs = Needs { token: covers, slot: executed || (covers && (runs || !queued)) };
            (needs.token || needs.slot).then_some((limit, limiter, needs))
        })
    }

    /// EXEC takes the slots of a command that is queued.
    fn note_queued_limits(&mut self, spec: &Spec, queued: bool, ctx: &Context<'_>) {
        if !queued {
            self.queued.allocated_mut().into_iter().for_each(|queued| queued.numbers.clear());
        } else if spec.effect != Effect::Exec {
            for (at, limit) in ctx.policy.limits().iter().enumerate() {
                let counts = limit.concurrency.is_some() && limit.covers(spec);
                if counts && !self.queued.numbers.contains(&at) {
                    self.queued.numbers.push(at);
                }
            }
        }
        let limits = ctx.policy.limits().len();
        debug_assert!(self.queued.numbers.len() <= limits, "a limit is noted twice");
    }
}

/// What a command takes of one limit.
#[derive(Clone, Copy, Debug)]
struct Needs {
    token: bool,
    slot: bool,
}

/// A limit is exceeded: refused, unless that is only observed.
fn over(refusal: Refusal, admission: &mut Admission, ctx: &Context<'_>) -> Result<(), Refusal> {
    if !ctx.policy.observes(refusal.rule) {
        return Err(refusal);
    }
    admission.observed = Some(refusal);
    Ok(())
}

//! `EVALSHA` of a script that the server may have lost, and what tells of scripts.
//!
//! Owns: when a session's further requests are held for a script. Never knows: which scripts may run,
//! connections.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;

use super::queue::{Class, Expect};
use super::request::class_of;
use super::script_cache::{NoscriptRetry, Resend, Script};
use super::state::{Cause, Context, Route, Session, Step, WireLayout};
use crate::base::limits;
use crate::base::sha1::Sha1;
use crate::command::{self, Flags, Spec};
use crate::policy::guard::{Distrust, digests};
use crate::policy::{EvalContext, Grant, Guarded, Shaped};
use crate::resp::Request;
use crate::traffic::Ticket;

/// How many scripts of a client that does not wait for their answers go with their texts.
const TEXTS: u8 = 200;
const EVAL: &str = "EVAL";
const EVALSHA: &str = "EVALSHA";

impl Session {
    /// What goes before scripts under the policy of this moment.
    ///
    /// # Errors
    ///
    /// With [`None`] when the server has not been asked yet, else why no script may run there.
    pub(super) fn guarded(ctx: &Context<'_>) -> Result<Option<Guarded>, Option<Distrust>> {
        let Some(guard) = ctx.policy.guard() else { return Ok(None) };
        match ctx.scripts.globals() {
            None => Err(None),
            Some(Err(why)) => Err(Some(why)),
            Some(Ok(globals)) => {
                let repeats = ctx.limits.max_repeated;
                Ok(Some(Guarded::new(Arc::clone(guard), globals, repeats)))
            }
        }
    }

    /// A script waits until the server has been asked; `None`: for too long.
    pub(super) fn await_server(&mut self, ctx: &Context<'_>) -> Option<Step> {
        let since = *self.guard_wait.get_or_insert(ctx.now);
        if ctx.now.saturating_duration_since(since) >= limits::LUA_FACTS_TIMEOUT {
            self.guard_wait = None;
            return None;
        }
        Some(Step::Pause(ctx.now + limits::LUA_FACTS_CHECK_INTERVAL))
    }

    /// Notes in the scratch what goes to the server instead of a script, if scripts are guarded.
    ///
    /// # Errors
    ///
    /// As [`Self::guarded`].
    pub(super) fn guard_script(
        &self,
        what: command::Script,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Option<Distrust>> {
        let known = |name: &[u8]| Sha1::parse(name).and_then(|name| ctx.scripts.find(name));
        let shaped = match what {
            command::Script::Text { arg } => {
                let Some(guarded) = Self::guarded(ctx)? else { return Ok(()) };
                let Some(text) = request.arg(arg) else { return Ok(()) };
                self.guard_text(text, arg, &guarded, request, ctx)
            }
            command::Script::Digest => {
                let Some(guarded) = Self::guarded(ctx)? else { return Ok(()) };
                let Some(named) = request.arg(1) else { return Ok(()) };
                let script = known(named);
                script.map_or(Shaped::Named(None), |script| {
                    self.guard_name(&script, &guarded, request, ctx)
                })
            }
            command::Script::Asks => {
                let Some(guarded) = Self::guarded(ctx)? else { return Ok(()) };
                let names = request.args().skip(2);
                let name = |named| known(named).map(|script| script.digests(&guarded));
                Shaped::Asked(names.map(name).collect())
            }
            command::Script::Function | command::Script::Shows | command::Script::Change { .. } => {
                return Ok(());
            }
        };
        ctx.request_scratch.scratch.guarded = shaped;
        Ok(())
    }

    /// `EVAL`, `SCRIPT LOAD`: the text behind its guard, or the name by which the server has it.
    fn guard_text(
        &self,
        text: &[u8],
        arg: usize,
        guarded: &Guarded,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Shaped {
        let script = ctx.scripts.remember(text);
        let loads = arg != 1;
        if let Some(script) = script.as_ref().filter(|_| !loads && self.may_call(request, ctx))
            && script.is_at_server(guarded, ctx.epoch)
        {
            let read_only = request.arg(0).is_some_and(|word| word.len() > EVAL.len());
            return Shaped::Called { digests: script.digests(guarded), read_only };
        }
        let written = guarded.write(text);
        let digests = match script {
            Some(script) => {
                let digests = script.digests(guarded);
                script.note_sent(guarded, ctx.epoch);
                digests
            }
            None => digests(Sha1::of(text), Sha1::of(&written)),
        };
        let arg = u32::try_from(arg).unwrap_or(u32::MAX);
        Shaped::Text { arg, text: written, digests, loads }
    }

    /// `EVALSHA`: in a transaction nothing can be sent again, so a script that went to the server behind other
    /// rules, or to another server, goes with its text there.
    fn guard_name(
        &self,
        script: &Script,
        guarded: &Guarded,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Shaped {
        let digests = script.digests(guarded);
        let may_spell = ctx.policy.retries_noscript() && request.announced().is_none();
        if !self.is_queueing() || !may_spell || script.note_sent(guarded, ctx.epoch) {
            return Shaped::Named(Some(digests));
        }
        let read_only = request.arg(0).is_some_and(|word| word.len() > EVALSHA.len());
        Shaped::Spelled { text: script.written(guarded), digests, read_only }
    }

    fn is_queueing(&self) -> bool {
        self.transaction.is_some() || self.transacts_on_own()
    }

    /// Whether `EVAL` may go as `EVALSHA`: alone, so that it can be sent again in its place.
    fn may_call(&self, request: &Request<'_>, ctx: &Context<'_>) -> bool {
        let queued = self.is_queueing();
        let pipelines = self.replays.as_ref().is_some_and(|replays| replays.texts > 0);
        !queued && !pipelines && request.announced().is_none() && !is_large(request, ctx)
    }

    /// The request at hand has been dealt with: what it says about scripts.
    pub(super) fn note_script(&self, spec: &Spec, request: &Request<'_>, ctx: &Context<'_>) {
        match spec.script {
            // A guarded one is known already.
            Some(command::Script::Text { arg }) if ctx.policy.guard().is_none() => {
                if let Some(text) = request.arg(arg) {
                    ctx.scripts.remember(text);
                }
            }
            Some(command::Script::Change { forgets: true }) => ctx.scripts.forget(),
            Some(_) | None => {}
        }
    }

    /// The script that the request runs, if it is known here and its reply wants to be looked at.
    fn script_of(
        what: command::Script,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Option<Rc<Script>> {
        match (what, &ctx.request_scratch.scratch.guarded) {
            (_, Shaped::Called { digests, .. } | Shaped::Text { digests, loads: false, .. }) => {
                ctx.scripts.find(Sha1::parse(&digests.client)?)
            }
            (command::Script::Digest, _) if ctx.policy.retries_noscript() => {
                ctx.scripts.find(Sha1::parse(request.arg(1)?)?)
            }
            _ => None,
        }
    }

    /// Whether scripts are guarded, and the policy permits the request whatever is in it.
    pub(super) fn admits(
        spec: &'static Spec,
        request: &Request<'_>,
        moment: &EvalContext,
        ctx: &mut Context<'_>,
    ) -> bool {
        let scratch = &mut ctx.request_scratch.scratch;
        ctx.policy.guard().is_some() && ctx.policy.admits(spec, request, moment, scratch)
    }

    /// A request that runs a script which is known here.
    pub(super) fn forward_known(
        &mut self,
        what: command::Script,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Option<Step> {
        let script = Self::script_of(what, request, ctx)?;
        if matches!(ctx.request_scratch.scratch.guarded, Shaped::Text { .. }) {
            return self.forward_text(script, spec, request, ctx);
        }
        Some(self.forward_script(script, spec, request, ctx))
    }

    /// A guarded script with its text: from its answer it is known that the server has it.
    fn forward_text(
        &mut self,
        script: Rc<Script>,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Option<Step> {
        let guarded = Self::guarded(ctx).ok().flatten()?;
        if request.announced().is_some() || is_large(request, ctx) {
            return None;
        }
        let (route, cause) = (self.route(spec.may_write(), ctx), self.cause(ctx));
        let expect = Expect::Script(Box::new(NoscriptRetry::of_text(script, guarded, ctx.epoch)));
        Some(match self.enqueue(route, cause, expect, 0, class_of(spec), ctx) {
            Ok(ticket) => {
                self.large_reply_credit = self.large_reply_credit.saturating_sub(1);
                if let Some(replays) = &mut self.replays {
                    replays.texts = replays.texts.saturating_sub(1);
                }
                Step::Send { route, ticket, retry: spec.may_repeat() }
            }
            Err(step) => step,
        })
    }

    /// A request waits for a script: those behind it better come with their texts.
    pub(super) fn note_held(&mut self) {
        if let Some(replays) = self.replays.as_mut().filter(|replays| replays.calls) {
            replays.texts = TEXTS;
        }
    }

    /// A script by its name, with what is needed to send it again.
    fn forward_script(
        &mut self,
        script: Rc<Script>,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Step {
        let called = matches!(ctx.request_scratch.scratch.guarded, Shaped::Called { .. });
        let seen = self.replays.as_ref();
        let held = called || !seen.is_some_and(|replays| replays.seen.holds(&script, ctx.epoch));
        // A large argument passes without being stored as long as the server has the script.
        let streamed = request.announced().is_some();
        if streamed && held {
            return Step::Collect;
        }
        let large = streamed || is_large(request, ctx);
        let (route, cause) = if large {
            (Route::Pinned, Cause::Large)
        } else {
            (self.route(spec.may_write(), ctx), self.cause(ctx))
        };
        if let Err(step) = self.passable(route, cause, ctx) {
            return step;
        }
        let guarded = Self::guarded(ctx).ok().flatten();
        let Grant { changed, split, .. } = ctx.request_scratch.grant;
        let changed = ctx.request_scratch.wire().get(..split).filter(|_| changed);
        let wire = changed.unwrap_or_else(|| request.raw());
        let wire = (!streamed).then_some(wire);
        let read_only = spec.flags.has(Flags::READONLY);
        let mut replay =
            NoscriptRetry::new((script, guarded), ctx.epoch, held, read_only, request.len(), wire);
        replay.called = called;
        let kept = replay.kept_bytes();
        let class = class_of(spec);
        match self.enqueue(route, cause, Expect::Script(Box::new(replay)), 0, class, ctx) {
            Ok(ticket) => {
                self.executing = held;
                let replays = self.replays.get_or_insert_default();
                replays.kept_bytes += kept;
                replays.calls = called;
                self.large_reply_credit = self.large_reply_credit.saturating_sub(u8::from(!large));
                Step::Send { route, ticket, retry: class == Class::Read }
            }
            Err(step) => step,
        }
    }

    /// What must be sent at once, in the place of a request that stays in line, and its bytes.
    pub fn take_resend(&mut self) -> Option<(Route, Ticket, WireLayout, BytesMut)> {
        let Resend { ticket, retry, wire } = self.replays.as_mut()?.resend.take()?;
        let how = WireLayout { retry, split: wire.len(), ..WireLayout::default() };
        Some((self.flight, ticket, how, wire))
    }

    /// A request has been answered; when it was the last, nothing is kept to be sent again.
    pub(super) fn settle_replays(&mut self) {
        if self.queue.in_flight() == 0
            && let Some(replays) = &mut self.replays
        {
            replays.kept_bytes = 0;
        }
    }
}

/// Whether a request travels where no other client waits behind it.
fn is_large(request: &Request<'_>, ctx: &Context<'_>) -> bool {
    u64::try_from(request.raw().len()).unwrap_or(u64::MAX) >= ctx.limits.large_bytes
}

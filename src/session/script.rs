//! `EVALSHA` of a script that the server may have lost, and what tells of scripts.
//!
//! Owns: when a session's further requests are held for a script. Never knows: which scripts may run,
//! connections.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::queue::{Class, Expect};
use super::request::class_of;
use super::script_cache::{NoscriptRetry, Resend, Script};
use super::state::{Cause, Context, Route, Session, Step, WireLayout};
use crate::base::sha1::Sha1;
use crate::command::{self, Flags, Spec};
use crate::policy::guard::{Distrust, digests};
use crate::policy::{Grant, Guarded, Shaped};
use crate::resp::Request;
use crate::traffic::Ticket;

/// How long a script waits for the server to be asked about its Lua, and how often it looks.
const SERVER_WAIT: Duration = Duration::from_secs(10);
const SERVER_LOOK: Duration = Duration::from_millis(5);

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
            Some(Ok(globals)) => Ok(Some(Guarded::new(Arc::clone(guard), globals))),
        }
    }

    /// A script waits until the server has been asked; `None`: for too long.
    pub(super) fn await_server(&mut self, ctx: &Context<'_>) -> Option<Step> {
        let since = *self.guard_wait.get_or_insert(ctx.now);
        if ctx.now.saturating_duration_since(since) >= SERVER_WAIT {
            self.guard_wait = None;
            return None;
        }
        Some(Step::Pause(ctx.now + SERVER_LOOK))
    }

    /// Notes in the scratch what goes to the server instead of a script, if scripts are guarded.
    ///
    /// # Errors
    ///
    /// As [`Self::guarded`].
    pub(super) fn guard_script(
        what: command::Script,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Option<Distrust>> {
        let known = |name: &[u8]| Sha1::parse(name).and_then(|name| ctx.scripts.find(name));
        let shaped = match what {
            command::Script::Text { arg } => {
                let Some(guarded) = Self::guarded(ctx)? else { return Ok(()) };
                let Some(text) = request.arg(arg) else { return Ok(()) };
                let name = Sha1::of(text);
                let written = guarded.write(text);
                let digests = match ctx.scripts.find(name) {
                    Some(script) => script.digests(&guarded),
                    None => digests(name, Sha1::of(&written)),
                };
                Shaped::Text {
                    arg: u32::try_from(arg).unwrap_or(u32::MAX),
                    text: written,
                    digests,
                    loads: arg != 1,
                }
            }
            command::Script::Digest => {
                let Some(guarded) = Self::guarded(ctx)? else { return Ok(()) };
                let Some(named) = request.arg(1) else { return Ok(()) };
                let names = known(named).map(|script| script.digests(&guarded));
                Shaped::Named(names)
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

    /// The request at hand has been dealt with: what it says about scripts.
    pub(super) fn note_script(&self, spec: &Spec, request: &Request<'_>, ctx: &Context<'_>) {
        match spec.script {
            Some(command::Script::Text { arg }) => {
                if let Some(text) = request.arg(arg) {
                    ctx.scripts.remember(text);
                }
            }
            Some(command::Script::Change { forgets: true }) => ctx.scripts.forget(),
            Some(_) | None => {}
        }
    }

    /// The script that the request names, if it is known here.
    pub(super) fn named_script(
        spec: &Spec,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Option<Rc<Script>> {
        if spec.script != Some(command::Script::Digest) || !ctx.policy.retries_noscript() {
            return None;
        }
        ctx.scripts.find(Sha1::parse(request.arg(1)?)?)
    }

    /// A script by its name, with what is needed to send it again.
    pub(super) fn forward_script(
        &mut self,
        script: Rc<Script>,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Step {
        let seen = self.replays.as_ref();
        let held = !seen.is_some_and(|replays| replays.seen.holds(&script, ctx.epoch));
        // A large argument passes without being stored as long as the server has the script.
        let streamed = request.announced().is_some();
        if streamed && held {
            return Step::Collect;
        }
        let large = streamed
            || u64::try_from(request.raw().len()).unwrap_or(u64::MAX) >= ctx.limits.large_bytes;
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
        let replay =
            NoscriptRetry::new((script, guarded), ctx.epoch, held, read_only, request.len(), wire);
        let kept = replay.kept_bytes();
        let class = class_of(spec);
        match self.enqueue(route, cause, Expect::Script(Box::new(replay)), 0, class, ctx) {
            Ok(ticket) => {
                self.executing = held;
                self.replays.get_or_insert_default().kept_bytes += kept;
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

//! The order of everything that is asked about a request, and where each kind of command goes.
//!
//! Owns: [`Session::handle_request`]. Never knows: connections, how a command is carried out.

use bytes::BytesMut;

use super::admission::Halt;
use super::queue::{Class, Expect};
use super::residue::Residue;
use super::state::{Cause, Context, Route, Session, Step, WireLayout};
use super::{client_text, local, subscriptions};
use crate::command::{Blocking, Effect, Flags, Local, Spec, blocking};
use crate::policy::guard::Distrust;
use crate::policy::{self, EvalContext, Grant, Refusal, Rule};
use crate::resp::{Protocol, Request, encode};

impl Session {
    /// One request. May be called again with the same request after [`Step::Wait`],
    /// [`Step::Pause`] and [`Step::Acquire`]; nothing has changed then.
    pub fn handle_request(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        ctx.request_scratch.clear();
        let step = self.judge(request, ctx, out);
        if self.admission.is_some() && !step.presents_again() {
            self.admission = None;
        }
        if self.wrong_until.is_some() && !step.presents_again() {
            self.wrong_until = None;
        }
        step
    }

    fn judge(&mut self, request: &Request<'_>, ctx: &mut Context<'_>, out: &mut BytesMut) -> Step {
        debug_assert!(self.opening.is_none(), "no request while one waits for a connection");
        if self.is_streaming() {
            return self.judge_streaming(request, ctx);
        }
        if self.executing {
            self.note_held();
            return Step::Wait;
        }
        if self.farewell {
            // It was killed within a transaction: nothing more of it is heard.
            return Step::Close;
        }
        let known = policy::known(ctx.policy.lookup(request));
        if let Ok(spec) = known
            && !local::serves(spec, ctx.server)
        {
            let word = request.arg(1).unwrap_or_default();
            return self.refuse_text(client_text::no_subcommand(spec.name, word), out);
        }
        let known = known.and_then(|spec| policy::arity(spec, request).map(|()| spec));
        let spec = match known {
            Ok(spec) => spec,
            // The words for an unknown command repeat its arguments.
            Err(refusal) if refusal.rule == Rule::Unknown && request.announced().is_some() => {
                return Step::Collect;
            }
            Err(refusal) => return self.refuse(refusal, request, ctx, out),
        };
        self.last_command = Some(spec);
        self.degraded.on = ctx.policy.answers_misses();
        self.shown_command = Some(spec);
        if !self.authenticated && !spec.flags.has(Flags::NO_AUTH) {
            return self.reject(spec, client_text::NOAUTH, ctx, out);
        }
        if let Some(refusal) = self.seat.block_of(spec) {
            return self.refuse(refusal, request, ctx, out);
        }
        let own_words = !ctx.valkey
            && matches!(spec.effect, Effect::Watch | Effect::Multi | Effect::Local(Local::Reply));
        if self.transaction.is_some() && spec.flags.has(Flags::NO_MULTI) && !own_words {
            let text = client_text::not_in_multi(spec.name, ctx.valkey);
            return self.refuse_text(text, out);
        }
        let moment = EvalContext { database: self.database_then(), unix_ms: ctx.unix_ms };
        let guarded = match spec.script {
            // A text is not read before it is known that it may be sent at all.
            Some(script) if Self::admits(spec, request, &moment, ctx) => {
                self.guard_script(script, request, ctx)
            }
            Some(_) | None => Ok(()),
        };
        match ctx.policy.permit(spec, request, &moment, &mut ctx.request_scratch.scratch) {
            Ok(_) if self.names_have_changed(spec, ctx) => {
                self.refuse_text(client_text::PREFIX_CHANGED, out)
            }
            Ok(grant) => self.permitted(spec, grant, guarded, request, ctx, out),
            Err(refusal) if refusal.rule == Rule::Incomplete => Step::Collect,
            Err(refusal) => self.refuse(refusal, request, ctx, out),
        }
    }

    /// The policy permits it.
    #[inline(always)]
    fn permitted(
        &mut self,
        spec: &'static Spec,
        grant: Grant,
        guarded: Result<(), Option<Distrust>>,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        ctx.request_scratch.observed = grant.observed;
        if let Some(text) = self.excess(spec, request, ctx) {
            return self.refuse_text(text, out);
        }
        match self.admit(spec, ctx) {
            Ok(()) => {}
            Err(Halt::Until(until)) => return Step::Pause(until),
            Err(Halt::Refused(refusal)) => return self.refuse(refusal, request, ctx, out),
        }
        match guarded {
            Ok(()) => self.guard_wait = None,
            Err(None) => match self.await_server(ctx) {
                Some(step) => return step,
                None => return self.refuse_text(client_text::SCRIPTS_NOT_YET, out),
            },
            Err(Some(why)) => {
                return self.refuse(Refusal::unguarded(spec, why), request, ctx, out);
            }
        }
        let changed = grant.changed;
        ctx.request_scratch.grant = grant;
        let step = if changed {
            self.dispatch_changed(spec, request, ctx, out)
        } else {
            self.dispatch(spec, request, ctx, out)
        };
        let remembers = ctx.policy.retries_noscript() || ctx.policy.guard().is_some();
        if remembers && !step.presents_again() {
            self.note_script(spec, request, ctx);
        }
        step
    }

    /// The database in which the request at hand will run: a transaction may go to another.
    fn database_then(&self) -> u32 {
        let queued = self.transaction.as_ref().and_then(|transaction| transaction.database());
        let sent = self.own.as_ref().and_then(|own| own.database);
        queued.or(sent).unwrap_or(self.database)
    }

    /// Whether the policy puts another prefix before names than when this session subscribed or
    /// began to track: messages without a request have the old one.
    fn names_have_changed(&self, spec: &Spec, ctx: &Context<'_>) -> bool {
        (self.tracking || self.subscribes())
            && !spec.keys.is_empty()
            && self.names.as_deref() != ctx.policy.prefix()
    }

    /// The policy's no.
    fn refuse(
        &mut self,
        refusal: Refusal,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let probe = refusal.is_probe(request);
        if probe {
            ctx.request_scratch.probed = true;
        } else {
            ctx.request_scratch.refused = Some(refusal);
        }
        self.query = None;
        let mut text = BytesMut::new();
        refusal.write_text(request, &mut text);
        // A driver's question is no event.
        if let Some(event) = ctx.request_scratch.reference.filter(|_| !probe) {
            text.extend_from_slice(format!(" (event {event:016x})").as_bytes());
        }
        match refusal.spec {
            Some(spec) if spec.effect == Effect::Exec => self.abort_exec(&text, ctx, out),
            Some(_) | None => self.refuse_text(&text, out),
        }
    }

    /// A command that Redis would not run here.
    fn reject(
        &mut self,
        spec: &Spec,
        text: &str,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        if spec.effect == Effect::Exec {
            self.abort_exec(text.as_bytes(), ctx, out)
        } else {
            self.refuse_text(text, out)
        }
    }

    /// A request that the policy has changed: whatever would send it sends the scratch's wire instead.
    fn dispatch_changed(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let Grant { split, companions, .. } = ctx.request_scratch.grant;
        let step = self.dispatch(spec, request, ctx, out);
        if let Step::Send { route, ticket, retry } = step {
            let wire = WireLayout { skip: 0, retry, split, companions };
            return Step::SendWire { route, ticket, wire };
        }
        step
    }

    fn dispatch(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        if self.protocol == Protocol::Resp2 && !self.subscriptions.allows(spec) {
            if self.subscriptions.pending > 0 {
                return Step::Wait;
            }
            if self.subscriptions.any() && spec.effect == Effect::Exec && self.own.is_some() {
                return self.own_exec_refused(ctx);
            }
            if self.subscriptions.any() {
                let text = subscriptions::modal_refusal(spec);
                return self.reject(spec, &text, ctx, out);
            }
        }
        if let Some(step) = self.hold_login(spec, request, ctx) {
            return step;
        }
        if let Some(step) = self.dispatch_own(spec, request, ctx, out) {
            return step;
        }
        if self.transaction.is_some()
            && !matches!(
                spec.effect,
                Effect::Multi
                    | Effect::Exec
                    | Effect::Discard
                    | Effect::Watch
                    | Effect::Quit
                    | Effect::Reset
            )
        {
            return self.queue_command(spec, request, ctx, out);
        }
        if let Some(walk) = ctx.request_scratch.grant.walk.take() {
            return self.walk(walk, request, ctx, out);
        }
        if request.announced().is_some() && !spec.effect.leaves_nothing() {
            return Step::Collect;
        }
        match spec.effect {
            Effect::Shared | Effect::Ping | Effect::Pushes => self.forward(spec, request, ctx, out),
            Effect::Local(local) => self.answer_local(local, spec, request, ctx, out),
            Effect::Auth => self.auth(request, ctx, out),
            Effect::Hello => self.hello(request, ctx, out),
            Effect::Reset => self.reset(ctx, out),
            Effect::Quit => {
                self.answer(out, |out| encode::simple(out, client_text::OK));
                Step::Close
            }
            Effect::Select => self.select(request, ctx, out),
            Effect::Multi => self.multi(request, ctx, out),
            Effect::Exec => self.exec(request, ctx, out),
            Effect::Discard => self.discard(ctx, out),
            Effect::Watch => self.watch(request, ctx, out),
            Effect::Unwatch => self.unwatch(ctx, out),
            Effect::Block(_) => match blocking(spec, request) {
                Blocking::No => self.forward(spec, request, ctx, out),
                time @ (Blocking::For(_) | Blocking::Forever) => self.block(time, ctx),
            },
            Effect::Wait => self.wait(spec, request, ctx),
            Effect::Subscribe | Effect::Unsubscribe => self.subscribe(spec, request, ctx),
            Effect::Monitor => self.start_monitor(ctx),
            Effect::Tracking | Effect::Caching => self.track(spec, request, ctx, out),
            Effect::Release => self.release(ctx),
            Effect::Replicate { .. } => self.replicate(spec, request, ctx),
            Effect::Never => self.refuse_text(client_text::NEVER, out),
        }
    }

    /// A command without state: on the shared connection, unless the session is pinned or the
    /// command large.
    pub(super) fn forward(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        _out: &mut BytesMut,
    ) -> Step {
        if let Some(what) = spec.script
            && let Some(step) = self.forward_known(what, spec, request, ctx)
        {
            return step;
        }
        let large = request.announced().is_some()
            || spec.effect == Effect::Pushes
            || u64::try_from(request.raw().len()).unwrap_or(u64::MAX) >= ctx.limits.large_bytes;
        let class = class_of(spec);
        if large {
            let step = self.send(Route::Pinned, Cause::Large, Expect::Plain, class, ctx);
            if let Step::Send { ticket, .. } = step
                && self.degraded.on
            {
                self.queue.note_miss(ticket, spec.miss.reply(request));
            }
            return step;
        }
        let (route, cause) = (self.route(spec.may_write(), ctx), self.cause(ctx));
        match self.enqueue(route, cause, Expect::Plain, 0, class, ctx) {
            Ok(ticket) => {
                if self.degraded.on {
                    self.queue.note_miss(ticket, spec.miss.reply(request));
                }
                self.large_reply_credit = self.large_reply_credit.saturating_sub(1);
                Step::Send { route, ticket, retry: spec.may_repeat() }
            }
            Err(step) => step,
        }
    }

    /// A command that frees the server, on a connection that nothing else is asked on: it need not be
    /// in the session's database.
    fn release(&mut self, ctx: &mut Context<'_>) -> Step {
        let own = ctx.dedicated || self.pins();
        let step = self.send(Route::Pinned, Cause::Release, Expect::Plain, Class::Other, ctx);
        self.residue.note_if(!own && matches!(step, Step::Send { .. }), Residue::Poisoned);
        step
    }
}

pub(super) fn class_of(spec: &Spec) -> Class {
    if spec.flags.has(Flags::WRITE) {
        Class::Write
    } else if spec.flags.has(Flags::READONLY) {
        Class::Read
    } else {
        Class::Other
    }
}

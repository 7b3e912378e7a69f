//! MULTI, EXEC, DISCARD, WATCH: a transaction is queued here and sent as one contiguous block.
//!
//! Owns: when a transaction runs and what its answer is. Never knows: connections; policy beyond a
//! spoiled flag.

use std::sync::Arc;

use bytes::BytesMut;

use super::exec_reply::ExecReply;
use super::multi_permission::MultiPermission;
use super::pending_query::{Arrived, PendingQuery};
use super::queue::{Class, Expect};
use super::residue::Residue;
use super::state::{Cause, Context, Route, Session, Step};
use super::transaction::{ExecFixup, Transaction};
use super::{client_text, tracking};
use crate::command::{Cost, Effect, Flags, Spec};
use crate::resp::{Protocol, Request, encode};
use crate::traffic::{Loss, own};

impl Session {
    pub(super) fn multi(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        if self.transaction.is_some() {
            // Not a rejection: the transaction stays good (redis multi.c `multiCommand`).
            self.answer(out, |out| encode::error(out, client_text::MULTI_NESTED.as_bytes()));
            return Step::Done;
        }
        match self.may_transact(ctx) {
            Ok(true) => {
                self.transaction = Some(Box::new(Transaction::begun(request.arg(0))));
                self.answer(out, |out| encode::simple(out, client_text::OK));
                Step::Done
            }
            Ok(false) => self.refuse_text(client_text::MULTI_DENIED, out),
            Err(step) => step,
        }
    }

    /// Whether MULTI may be promised to the client. Refused once, it is asked for again each time:
    /// the server's rules may be others. Where it cannot be asked, what was seen last decides.
    ///
    /// # Errors
    ///
    /// With the step to be taken before it is known.
    pub(super) fn may_transact(&mut self, ctx: &mut Context<'_>) -> Result<bool, Step> {
        let known = ctx.multi_permission.known();
        // An empty transaction would end a WATCH, and what is pushed comes between.
        if known == Some(true) || self.pins() {
            return Ok(known != Some(false));
        }
        self.query.take_if(|query| query.walk.is_some());
        let taken = match self.query.as_ref().map(|query| query.arrived.as_ref()) {
            None => return Err(self.ask_for_multi(ctx)),
            Some(None) => return Err(Step::Wait),
            Some(Some(Arrived::Page(frame))) => MultiPermission::said(frame),
            Some(Some(Arrived::Lost(loss))) => (*loss == Loss::MultiRefused).then_some(false),
        };
        self.query = None;
        if let Some(taken) = taken {
            ctx.multi_permission.note(taken);
        }
        // Where it is unknown, the reply of the transaction says it.
        Ok(taken != Some(false))
    }

    fn ask_for_multi(&mut self, ctx: &mut Context<'_>) -> Step {
        let (route, cause) = (self.usual_route(ctx), self.cause(ctx));
        // On a shared connection the reply to MULTI is looked at with that to EXEC.
        let ticket = match self.enqueue(route, cause, Expect::Page, 1, Class::Other, ctx) {
            Ok(ticket) => ticket,
            Err(step) => return step,
        };
        let block = ctx.request_scratch.fresh_wire();
        encode::request(block, [own::MULTI]);
        encode::request(block, [own::EXEC]);
        self.query = Some(Box::new(PendingQuery { walk: None, ticket, arrived: None }));
        // An empty transaction changes nothing, however often it runs.
        Step::Ask { route, ticket, skip: 1, retry: true }
    }

    /// A permitted command inside MULTI.
    pub(super) fn queue_command(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        if request.announced().is_some() {
            return Step::Collect;
        }
        if ctx.request_scratch.grant.walk.is_some() {
            return self.refuse_text(client_text::NOT_IN_MULTI_HERE, out);
        }
        let special = match self.special_of(spec, request, ctx) {
            Ok(special) => special,
            Err(text) => return self.refuse_text(text, out),
        };
        if spec.effect == Effect::Tracking {
            self.note_prefixes(tracking::turns_on(request), request);
        }
        let Some(transaction) = &mut self.transaction else { return Step::Done };
        if !transaction.spoiled {
            let changed = ctx.request_scratch.grant.changed;
            let wire = if changed { &**ctx.request_scratch.wire() } else { request.raw() };
            if transaction.size() + wire.len() > ctx.limits.max_transaction_bytes {
                return self.refuse_text(client_text::MULTI_TOO_LARGE, out);
            }
            match &special {
                Some(ExecFixup::Late { .. }) => transaction.kept += wire.len(),
                Some(ExecFixup::Hello(greeted)) => greeted.request(&mut transaction.wire),
                Some(special) if special.stays_here() => {
                    encode::request(&mut transaction.wire, [own::PING]);
                    transaction.kept += request.raw().len();
                }
                Some(_) | None => transaction.wire.extend_from_slice(wire),
            }
            let strip = ctx.request_scratch.grant.strip.take();
            if let (true, Some(strip)) = (names_stay(spec), &strip) {
                self.names = Some(Arc::clone(strip.prefix()));
            }
            // An unknown command ends the transaction; other errors say names of some commands only.
            let strip = strip.filter(|strip| !strip.is_for_errors());
            let special = match special {
                Some(ExecFixup::Renamed(_)) => Some(ExecFixup::Renamed(strip)),
                special => special.or_else(|| strip.map(ExecFixup::Names)),
            };
            if let Some(special) = special {
                transaction.specials.push((transaction.count, special));
            }
            if spec.cost == Cost::Patterns && spec.effect == Effect::Subscribe {
                transaction.patterns += request.len() - 1;
            }
            transaction.writes |= spec.may_write();
            transaction.count += 1;
            transaction.pushes |= spec.effect == Effect::Pushes;
            if transaction.hears && spec.flags.has(Flags::READONLY) {
                transaction.reads.push(transaction.count - 1);
            }
            transaction.hears |= spec.effect == Effect::Subscribe;
            for _ in 0..ctx.request_scratch.grant.companions {
                transaction.specials.push((transaction.count, ExecFixup::Swallow));
                transaction.count += 1;
            }
        }
        self.answer(out, |out| encode::simple(out, client_text::QUEUED));
        Step::Done
    }

    /// What is queued was judged by rules that are no longer in force (redis multi.c asks its ACL
    /// again at EXEC).
    pub fn handle_new_policy(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.spoil();
        }
        if let Some(own) = &mut self.own {
            own.spoil();
        }
    }

    pub(super) fn exec(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        if let Some(step) = self.catch_up(ctx) {
            return step;
        }
        let Some(transaction) = &self.transaction else {
            // The watch stays (redis multi.c `execCommand`).
            self.answer(out, |out| encode::error(out, client_text::EXEC_ALONE.as_bytes()));
            return Step::Done;
        };
        if transaction.spoiled {
            return self.end_without_execution(ctx, out, |out, _| {
                encode::error(out, client_text::EXECABORT.as_bytes());
            });
        }
        if self.watch_lost {
            return self.end_without_execution(ctx, out, encode::null_array);
        }
        let stateful = transaction.pushes
            || transaction.specials.iter().any(|(_, special)| special.is_stateful());
        let large =
            u64::try_from(transaction.wire.len()).unwrap_or(u64::MAX) >= ctx.limits.large_bytes;
        let (route, cause) = if self.usual_route(ctx) == Route::Pinned {
            (Route::Pinned, self.cause(ctx))
        } else if stateful || large {
            (Route::Pinned, if large { Cause::Large } else { Cause::Multi })
        } else {
            let writes = transaction.writes;
            (
                if writes && ctx.held {
                    Route::Held(self.key())
                } else {
                    Route::Shared(self.key())
                },
                Cause::Multi,
            )
        };
        if let Err(step) = self.passable(route, cause, ctx) {
            return step;
        }
        if let Err(step) = self.look_up_late(ctx) {
            return step;
        }
        let Some(transaction) = self.transaction.take() else { return Step::Done };
        let queued = transaction.queued();
        let Transaction { multi, wire, count, specials, reads, hears, .. } = *transaction;
        let (skip, special) = (count.saturating_add(1), !specials.is_empty());
        let changes = |(_, special): &(u32, ExecFixup)| {
            !matches!(special, ExecFixup::Names(_) | ExecFixup::Swallow)
        };
        let executing = specials.iter().any(changes);
        let expect = if special || hears || self.hears() {
            Expect::Exec(Box::new(ExecReply::new(specials, reads, executing)))
        } else {
            Expect::Block
        };
        let ticket = match self.enqueue(route, cause, expect, skip, Class::Write, ctx) {
            Ok(ticket) => ticket,
            Err(step) => return step,
        };
        self.watching = false;
        self.executing = executing;
        self.executes = executing.then_some(queued);
        let block = ctx.request_scratch.fresh_wire();
        // The client's own letters, as MONITOR shows them.
        encode::request(block, [multi.as_slice()]);
        block.extend_from_slice(&wire);
        encode::request(block, [request.arg(0).unwrap_or(b"EXEC")]);
        Self::send_wire(route, ticket, skip)
    }

    /// EXEC that is itself refused ends the transaction (redis multi.c `execCommandAbort`).
    pub(super) fn abort_exec(
        &mut self,
        text: &[u8],
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let reason = text.strip_prefix(b"ERR ").unwrap_or(text);
        let words = [client_text::EXECABORT_BECAUSE.as_bytes(), reason].concat();
        if self.transacts_on_own() {
            return self.abort_own(&words, ctx);
        }
        self.end_without_execution(ctx, out, |out, _| encode::error(out, words))
    }

    /// EXEC or DISCARD that runs nothing; what was watched is let go.
    pub(super) fn end_without_execution(
        &mut self,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut, Protocol),
    ) -> Step {
        let protocol = self.protocol;
        if !self.watching {
            self.transaction = None;
            self.watch_lost = false;
            self.answer(out, |out| write(out, protocol));
            return Step::Done;
        }
        if protocol == Protocol::Resp2 && self.subscriptions.any() {
            // A subscriber may not say UNWATCH.
            (self.watching, self.watch_lost) = (false, false);
            self.must_unwatch = true;
            self.residue.note(Residue::Poisoned);
            self.transaction = None;
            self.answer(out, |out| write(out, protocol));
            return Step::Done;
        }
        match self.send_unwatch(Expect::Hidden, ctx) {
            Ok(step) => {
                self.transaction = None;
                self.answer(out, |out| write(out, protocol));
                step
            }
            Err(step) => step,
        }
    }

    pub(super) fn discard(&mut self, ctx: &mut Context<'_>, out: &mut BytesMut) -> Step {
        if self.transaction.is_none() {
            self.answer(out, |out| encode::error(out, client_text::DISCARD_ALONE.as_bytes()));
            return Step::Done;
        }
        self.end_without_execution(ctx, out, |out, _| encode::simple(out, client_text::OK))
    }

    pub(super) fn watch(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        if self.transaction.is_some() {
            self.answer(out, |out| encode::error(out, client_text::WATCH_INSIDE.as_bytes()));
            return Step::Done;
        }
        // While it watches MULTI cannot be asked for.
        if (!ctx.has_lease || ctx.dedicated)
            && let Err(step) = self.may_transact(ctx)
        {
            return step;
        }
        if let Some(step) = self.catch_up(ctx) {
            return step;
        }
        let step = self.send(Route::Pinned, Cause::Watch, Expect::Watch, Class::Other, ctx);
        if matches!(step, Step::Send { .. }) {
            let named = u32::try_from(request.len() - 1).unwrap_or(u32::MAX);
            let before = if self.watching { self.watched } else { 0 };
            self.watched = before.saturating_add(named);
            self.watching = true;
        }
        step
    }

    pub(super) fn unwatch(&mut self, ctx: &mut Context<'_>, out: &mut BytesMut) -> Step {
        self.watch_lost = false;
        if !self.watching {
            self.answer(out, |out| encode::simple(out, client_text::OK));
            return Step::Done;
        }
        self.send_unwatch(Expect::Watch, ctx).unwrap_or_else(|step| step)
    }

    /// Lets go of what is still watched, before more is or it spoils a transaction.
    fn catch_up(&mut self, ctx: &mut Context<'_>) -> Option<Step> {
        if !self.must_unwatch {
            return None;
        }
        let expect = Expect::Page;
        match self.enqueue(Route::Pinned, Cause::Watch, expect, 0, Class::Other, ctx) {
            Ok(ticket) => {
                self.must_unwatch = false;
                encode::request(ctx.request_scratch.fresh_wire(), [own::UNWATCH]);
                Some(Step::Ask { route: Route::Pinned, ticket, skip: 0, retry: false })
            }
            Err(step) => Some(step),
        }
    }

    fn send_unwatch(&mut self, expect: Expect, ctx: &mut Context<'_>) -> Result<Step, Step> {
        let hidden = matches!(expect, Expect::Hidden);
        let ticket = self.enqueue(Route::Pinned, Cause::Watch, expect, 0, Class::Other, ctx)?;
        self.watching = false;
        self.watch_lost = false;
        let word = if hidden { own::UNWATCH } else { b"UNWATCH" };
        encode::request(ctx.request_scratch.fresh_wire(), [word]);
        Ok(Self::send_wire(Route::Pinned, ticket, 0))
    }
}

/// Whether names that it brings later carry the prefix of the policy of this moment.
fn names_stay(spec: &Spec) -> bool {
    matches!(spec.effect, Effect::Subscribe | Effect::Unsubscribe | Effect::Tracking)
}

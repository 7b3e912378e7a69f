//! SUBSCRIBE, UNSUBSCRIBE, MONITOR and WAIT: the session moves to a connection of its own.
//!
//! Owns: what is expected in return. Never knows: frames, channel names.

use super::queue::{Class, Expect};
use super::state::{Cause, Context, Route, Session, Step};
use super::subscriptions::Kind;
use crate::command::{Blocking, Effect, KeyKind, KeySpec, Spec, blocking};
use crate::resp::{Request, encode};
use crate::traffic::own;

impl Session {
    pub(super) fn subscribe(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Step {
        let subscribe = spec.effect == Effect::Subscribe;
        let kind = kind_of(spec);
        let named = u32::try_from(request.len() - 1).unwrap_or(u32::MAX);
        let left = None;
        let expect = Expect::Acks { named, left, kind, subscribe };
        match self.enqueue(Route::Pinned, Cause::Subscribe, expect, 0, Class::Other, ctx) {
            Ok(ticket) => {
                self.subscriptions.pending += 1;
                if subscribe && kind == Kind::Pattern {
                    self.subscriptions.asked += u64::from(named);
                }
                Step::Send { route: Route::Pinned, ticket, retry: false }
            }
            Err(step) => step,
        }
    }

    pub(super) fn start_monitor(&mut self, ctx: &mut Context<'_>) -> Step {
        self.send(Route::Pinned, Cause::Monitor, Expect::Monitor, Class::Other, ctx)
    }

    /// A command that may wait so long, on the session's own connection.
    pub(super) fn block(&mut self, time: Blocking, ctx: &mut Context<'_>) -> Step {
        let first = self.in_flight() == 0;
        let (route, cause) = (Route::Pinned, Cause::Blocking);
        let step = self.send(route, cause, Expect::Plain, Class::Blocking, ctx);
        if matches!(step, Step::Send { .. }) {
            self.block = self.block.behind(time, first, ctx.now);
        }
        step
    }

    /// WAIT and WAITAOF count what their own connection wrote; on a connection where a PING has just
    /// been executed, that is everything the server wrote so far, which includes what this session
    /// wrote (redis replication.c `waitCommand`, server.c `c->woff`).
    pub(super) fn wait(
        &mut self,
        spec: &Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Step {
        let first = self.in_flight() == 0;
        let ticket = match self.enqueue(
            Route::Pinned,
            Cause::Blocking,
            Expect::Plain,
            1,
            Class::Blocking,
            ctx,
        ) {
            Ok(ticket) => ticket,
            Err(step) => return step,
        };
        self.block = self.block.behind(blocking(spec, request), first, ctx.now);
        let wire = ctx.request_scratch.fresh_wire();
        encode::request(wire, [own::PING]);
        wire.extend_from_slice(request.raw());
        Self::send_wire(Route::Pinned, ticket, 1)
    }
}

/// The family of subscriptions that a command is about.
pub(super) fn kind_of(spec: &Spec) -> Kind {
    match spec.keys.first().and_then(KeySpec::kind) {
        Some(KeyKind::ChannelPattern) => Kind::Pattern,
        Some(KeyKind::ShardChannel) => Kind::Shard,
        _ => Kind::Channel,
    }
}

//! Commands between MULTI and EXEC on a session's own connection: the server queues them.
//!
//! Owns: what the server is sent of them. Never knows: when the transaction begins and ends.

use bytes::BytesMut;

use super::own::OwnReply;
use super::queue::Expect;
use super::state::{Context, Session, Step};
use super::transaction::ExecFixup;
use super::{client_text, tracking};
use crate::command::{Cost, Effect, Flags, Local, Spec};
use crate::resp::{Request, encode};
use crate::traffic::own;

/// What the server is sent of a command that it is to queue.
pub(super) struct Sent {
    special: Option<ExecFixup>,
    /// `None`: the request as it is.
    wire: Option<BytesMut>,
}

/// Why a command is not queued.
pub(super) enum Unqueued {
    Refused(String),
    /// This comes first.
    First(Step),
}

impl Session {
    /// What the server is sent of a command that it is to queue, and what is special about the reply.
    pub(super) fn sent_to_own(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Result<Sent, Unqueued> {
        let as_it_is = |special| Ok(Sent { special, wire: None });
        let own = matches!(spec.effect, Effect::Auth | Effect::Local(_));
        if own && self.goes_to_own(spec, ctx) {
            return as_it_is(None);
        }
        if spec.effect == Effect::Hello && ctx.auth.is_off() {
            let (greeted, says_who) = self.read_hello(request, ctx);
            if says_who {
                self.own.get_or_insert_default().bound = true;
            }
            return as_it_is(Some(ExecFixup::Hello(greeted)));
        }
        let mut wire = BytesMut::new();
        if ctx.valkey && spec.effect == Effect::Local(Local::Reply) {
            return Err(Unqueued::Refused(client_text::not_in_multi(spec.name, true)));
        }
        let special = self.special_of(spec, request, ctx);
        match special.map_err(|text| Unqueued::Refused(text.to_owned()))? {
            Some(ExecFixup::Late { request, .. }) => {
                let late = self.look_up(&request.as_request(), ctx).map_err(Unqueued::First)?;
                late.aim(self);
                Ok(Sent { special: late.special, wire: Some(late.wire) })
            }
            Some(ExecFixup::Hello(mut greeted)) => {
                greeted.is_numbered = self.is_numbered(ctx);
                greeted.request_named(&mut wire);
                Ok(Sent { special: Some(ExecFixup::Hello(greeted)), wire: Some(wire) })
            }
            Some(special) if special.stays_here() => {
                encode::request(&mut wire, [own::PING]);
                Ok(Sent { special: Some(special), wire: Some(wire) })
            }
            special => as_it_is(special),
        }
    }

    pub(super) fn queue_own(
        &mut self,
        sent: Sent,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let Sent { special, wire } = sent;
        let strip = ctx.request_scratch.grant.strip.take().filter(|strip| !strip.is_for_errors());
        let special = special.or_else(|| strip.map(ExecFixup::Names));
        let size = request.raw().len() as u64 + request.announced().unwrap_or(0);
        let bytes = self.own.as_ref().map_or(0, |own| own.bytes) + size;
        if bytes > ctx.limits.max_transaction_bytes as u64 {
            return self.refuse_text(client_text::MULTI_TOO_LARGE, out);
        }
        let changes = special.is_some();
        let database = match &special {
            Some(ExecFixup::Select(database)) => Some(*database),
            Some(_) | None => None,
        };
        let hears = self.own.as_ref().is_some_and(|own| own.hears);
        let reads = hears && spec.flags.has(Flags::READONLY);
        let special = special.map(Box::new);
        let mut step = self.send_own(Expect::Own(OwnReply::Queued { special, reads }), ctx);
        let Step::Send { route, ticket, .. } = step else { return step };
        if let Some(wire) = wire {
            *ctx.request_scratch.fresh_wire() = wire;
            step = Self::send_wire(route, ticket, 0);
        } else if matches!(spec.effect, Effect::Auth | Effect::Local(_)) {
            self.note_own_state(spec, request);
        }
        if spec.effect == Effect::Tracking {
            self.note_prefixes(tracking::turns_on(request), request);
        }
        let own = self.own.get_or_insert_default();
        own.bytes = bytes;
        own.special |= changes;
        own.database = database.or(own.database);
        if spec.effect == Effect::Subscribe {
            own.hears = true;
            own.patterns += if spec.cost == Cost::Patterns { request.len() - 1 } else { 0 };
        }
        step
    }
}

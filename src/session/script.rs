//! `EVALSHA` of a script that the server may have lost, and what tells of scripts.
//!
//! Owns: when a session's further requests are held for a script. Never knows: which scripts may run,
//! connections.

use std::rc::Rc;

use bytes::BytesMut;

use super::queue::{Class, Expect};
use super::replay::{Replay, Resend, Script};
use super::request::class_of;
use super::state::{Cause, Context, Route, Session, Step, Wire};
use crate::base::sha1::Sha1;
use crate::command::{self, Flags, Spec};
use crate::policy::Grant;
use crate::resp::Request;
use crate::traffic::Ticket;

impl Session {
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
        if spec.script != Some(command::Script::Digest) || !ctx.policy.heals_scripts() {
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
        let Grant { changed, split, .. } = ctx.desk.grant;
        let changed = ctx.desk.wire().get(..split).filter(|_| changed);
        let wire = changed.unwrap_or_else(|| request.raw());
        let wire = (!streamed).then_some(wire);
        let read_only = spec.flags.has(Flags::READONLY);
        let replay = Replay::new(script, ctx.epoch, held, read_only, request.len(), wire);
        let kept = replay.kept_bytes();
        let class = class_of(spec);
        match self.enqueue(route, cause, Expect::Script(Box::new(replay)), 0, class, ctx) {
            Ok(ticket) => {
                self.executing = held;
                self.replays.get_or_insert_default().kept_bytes += kept;
                self.bulky = self.bulky.saturating_sub(u8::from(!large));
                Step::Send { route, ticket, retry: class == Class::Read }
            }
            Err(step) => step,
        }
    }

    /// What must be sent at once, in the place of a request that stays in line, and its bytes.
    pub fn take_resend(&mut self) -> Option<(Route, Ticket, Wire, BytesMut)> {
        let Resend { ticket, retry, wire } = self.replays.as_mut()?.resend.take()?;
        let how = Wire { retry, split: wire.len(), ..Wire::default() };
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

//! CLIENT TRACKING, CACHING and other settings of the connection itself: they are made on a connection
//! of the session's own, which then stays.
//!
//! Owns: what of them is sent, and whose numbers are in it. Never knows: connections, what is tracked.

use std::rc::Rc;

use bytes::BytesMut;

use super::bounds::prefixes;
use super::client_text;
use super::connection_flags::ConnectionFlags;
use super::queue::{Class, Expect};
use super::residue::Residue;
use super::roster::Seat;
use super::state::{Cause, Context, Route, Session, Step};
use crate::base::limits;
use crate::command::{Effect, Local, Spec, is_word};
use crate::policy::Strip;
use crate::resp::{Request, RequestLimits, RequestScanner, Scan, encode, number};

/// A number that no client of a server has: of it the server says in its own words, and at its own
/// moment, that there is no such client.
const NOBODY: i64 = i64::MAX;

/// The text before the number in a reply to CLIENT TRACKINGINFO.
const REDIRECT: &[u8] = b"$8\r\nredirect\r\n:";
/// Redis tracking.c `sendTrackingMessage`, when the other client is gone.
const BROKEN: &[u8] = b">2\r\n$21\r\ntracking-redir-broken\r\n:";

type Words = Vec<Vec<u8>>;

/// A CLIENT TRACKING with the numbers at the server.
pub(super) struct Aim {
    pub words: Words,
    /// The client that shall receive the invalidations, by its number here.
    pub redirect: i64,
    pub seat: Option<Rc<Seat>>,
}

impl Session {
    pub(super) fn track(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        if spec.effect == Effect::Caching {
            return self.send(Route::Pinned, Cause::Tracking, Expect::Plain, Class::Other, ctx);
        }
        let on = turns_on(request);
        let off = request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"off"));
        // Of the options the server speaks first.
        if !on && !off && request.len() == 3 {
            self.answer(out, |out| encode::error(out, client_text::SYNTAX));
            return Step::Done;
        }
        // With a connection at hand ON may be on its way.
        if !on && !self.tracking && !ctx.has_lease && request.len() == 3 {
            self.answer(out, |out| encode::simple(out, client_text::OK));
            return Step::Done;
        }
        // The number is the server's where CLIENT ID is.
        let own = self.own.is_some() && ctx.policy.is_unbounded();
        if redirects(request) && !own {
            return self.track_for_another(on, request, ctx, out);
        }
        let expect = Expect::Tracking { on, broadcast: is_broad(request), redirect: 0 };
        let step = self.send(Route::Pinned, Cause::Tracking, expect, Class::Other, ctx);
        if matches!(step, Step::Send { .. }) {
            self.note_prefixes(on, request);
        }
        step
    }

    /// The server has done it.
    pub(super) fn note_tracking(&mut self, on: bool, broadcast: bool, redirect: i64) {
        (self.tracking, self.broadcast) = (on, on && broadcast);
        self.redirect = if on { redirect } else { 0 };
        self.redirect_broken = false;
    }

    pub(super) fn note_prefixes(&mut self, on: bool, request: &Request<'_>) {
        self.prefixes = if on { self.prefixes + prefixes(request) } else { 0 };
    }

    /// REDIRECT: the client of that number is one of respgate's, which has another at the server.
    fn track_for_another(
        &mut self,
        on: bool,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        if let Err(step) = self.passable(Route::Pinned, Cause::Tracking, ctx) {
            return step;
        }
        let Aim { words, redirect, seat } = match self.aim_redirect(words_of(request, ctx)) {
            Ok(aim) => aim,
            Err(target) => {
                return match self.await_target(&target, ctx) {
                    Some(step) => step,
                    None => self.refuse_text(client_text::tracking_target(target.id), out),
                };
            }
        };
        let expect = Expect::Tracking { on, broadcast: is_broad(request), redirect };
        let route = Route::Pinned;
        let ticket = match self.enqueue(route, Cause::Tracking, expect, 0, Class::Other, ctx) {
            Ok(ticket) => ticket,
            Err(step) => return step,
        };
        self.note_prefixes(on, request);
        if let Some(seat) = seat.filter(|_| on) {
            seat.become_target(self.names.clone());
        }
        encode::request(ctx.request_scratch.fresh_wire(), words.iter().map(Vec::as_slice));
        Self::send_wire(route, ticket, 0)
    }

    /// Puts the numbers at the server into a CLIENT TRACKING.
    ///
    /// # Errors
    ///
    /// With the client that has none yet.
    pub(super) fn aim_redirect(&mut self, mut words: Words) -> Result<Aim, Rc<Seat>> {
        let (mut redirect, mut seat) = (0, None);
        let mut at = 3;
        while at < words.len() {
            let is = |name: &[u8]| words.get(at).is_some_and(|word| is_word(word, name));
            let step = if is(b"redirect") || is(b"prefix") { 2 } else { 1 };
            let value = words.get(at + 1).and_then(|word| number::parse_i64(word));
            if let (true, Some(id)) = (is(b"redirect"), value) {
                let there = match self.roster.find(&self.seat, id) {
                    None => NOBODY,
                    Some(target) => {
                        let link = target.figures().link;
                        if link == 0 {
                            return Err(target);
                        }
                        (redirect, seat) = (id, Some(target));
                        i64::try_from(link).unwrap_or(NOBODY)
                    }
                };
                if let Some(word) = words.get_mut(at + 1) {
                    *word = there.to_string().into_bytes();
                }
            }
            at += step;
        }
        self.awaits_since = None;
        Ok(Aim { words, redirect, seat })
    }

    /// The other client gets a pinned connection first; `None`: it has got none in time.
    pub(super) fn await_target(&mut self, target: &Seat, ctx: &Context<'_>) -> Option<Step> {
        let since = *self.awaits_since.get_or_insert(ctx.now);
        if ctx.now.saturating_duration_since(since) >= limits::TRACKING_TARGET_TIMEOUT {
            self.awaits_since = None;
            target.end_want(false);
            return None;
        }
        self.roster.want(target);
        Some(Step::Pause(ctx.now + limits::TRACKING_TARGET_CHECK_INTERVAL))
    }

    /// The server's answer to what is about the pinned connection itself, as the client shall see it.
    pub(super) fn take_own(&mut self, expect: Expect, frame: &[u8], out: &mut BytesMut) {
        let error = frame.starts_with(b"-") || frame.starts_with(b"!");
        match expect {
            Expect::Hello(_) if error => {
                self.executing = false;
                out.extend_from_slice(frame);
            }
            Expect::Hello(greeted) => {
                self.executing = false;
                self.take_hello(*greeted, frame, out);
            }
            Expect::Redirect(Some(strip)) => {
                let mut own = BytesMut::new();
                self.rename_redirect(frame, &mut own);
                strip.frame(&own, out);
            }
            Expect::Redirect(None) => self.rename_redirect(frame, out),
            Expect::Tracking { on, broadcast, redirect } => {
                self.residue.note(Residue::Dirty);
                match self.names.clone().filter(|_| error) {
                    Some(prefix) => Strip::of_errors(prefix).frame(frame, out),
                    None => out.extend_from_slice(frame),
                }
                if !error {
                    self.note_tracking(on, broadcast, redirect);
                }
            }
            Expect::Plain
            | Expect::Block
            | Expect::Hidden
            | Expect::Alive
            | Expect::Page
            | Expect::Names(_)
            | Expect::Acks { .. }
            | Expect::Watch
            | Expect::Select(_)
            | Expect::Exec(_)
            | Expect::Script(_)
            | Expect::Manner { .. }
            | Expect::Own(_)
            | Expect::Monitor => debug_assert!(false, "not about the connection itself"),
        }
    }

    pub(super) fn take_manner(&mut self, spec: &Spec, on: bool, ok: bool) {
        self.residue.note(Residue::Dirty);
        if let Some(manner) = self.flags.of(spec).filter(|_| ok) {
            *manner = on;
        }
    }

    /// A reply that may name another client, with its number here.
    pub(super) fn rename_redirect(&self, frame: &[u8], out: &mut BytesMut) {
        let begin = match frame.first() {
            Some(b':') => Some(1),
            _ => frame
                .windows(REDIRECT.len())
                .position(|part| part == REDIRECT)
                .map(|at| at + REDIRECT.len()),
        };
        let Some((head, tail)) = begin.and_then(|begin| frame.split_at_checked(begin)) else {
            return out.extend_from_slice(frame);
        };
        let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = tail.split_at_checked(digits).unwrap_or((tail, &[]));
        out.extend_from_slice(head);
        match number::parse_i64(number) {
            Some(1..) => number::write_u64(out, self.redirect.unsigned_abs()),
            _ => out.extend_from_slice(number),
        }
        out.extend_from_slice(rest);
    }

    /// A push that says that the client which heard of the keys is gone.
    pub(super) fn take_broken(&mut self, frame: &[u8], out: &mut BytesMut) -> bool {
        if !frame.starts_with(BROKEN) {
            return false;
        }
        self.redirect_broken = true;
        out.extend_from_slice(BROKEN);
        number::write_u64(out, self.redirect.unsigned_abs());
        out.extend_from_slice(b"\r\n");
        true
    }

    /// CLIENT NO-EVICT, NO-TOUCH and IMPORT-SOURCE.
    pub(super) fn set_manner(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let word = request.arg(2).unwrap_or_default();
        let on = word.eq_ignore_ascii_case(b"on");
        let off = word.eq_ignore_ascii_case(b"off");
        // Whether it can be at all comes first.
        let imports = spec.effect == Effect::Local(Local::ImportSource);
        if !on && !off && !imports {
            self.answer(out, |out| encode::error(out, client_text::SYNTAX));
            return Step::Done;
        }
        let has = ConnectionFlags::default() != self.flags || ctx.has_lease;
        if !on && !has && !imports {
            self.answer(out, |out| encode::simple(out, client_text::OK));
            return Step::Done;
        }
        let expect = Expect::Manner { spec, on };
        self.send(Route::Pinned, Cause::Session, expect, Class::Other, ctx)
    }
}

/// Whether one of the options is REDIRECT.
pub(super) fn redirects(request: &Request<'_>) -> bool {
    request.args().skip(3).any(|option| is_word(option, b"redirect"))
}

/// Whether a CLIENT TRACKING asks for it.
pub(super) fn turns_on(request: &Request<'_>) -> bool {
    request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"on"))
}

/// Whether it asks for all keys, read or not.
pub(super) fn is_broad(request: &Request<'_>) -> bool {
    request.args().skip(3).any(|word| is_word(word, b"bcast"))
}

pub(super) fn words_of_request(request: &Request<'_>) -> Words {
    request.args().map(<[u8]>::to_vec).collect()
}

/// The request's words, with the prefix where the policy puts one.
pub(super) fn words_of(request: &Request<'_>, ctx: &mut Context<'_>) -> Words {
    if !ctx.request_scratch.grant.changed {
        return words_of_request(request);
    }
    let wire = ctx.request_scratch.wire();
    let limits = RequestLimits {
        max_args: ctx.limits.max_args,
        max_bulk_bytes: u64::MAX,
        max_inline_bytes: 0,
        large_bytes: u64::MAX,
        authenticated: true,
    };
    let mut scanner = RequestScanner::default();
    match scanner.scan(wire, &limits) {
        Ok(Scan::Request { .. }) => words_of_request(&scanner.request(wire)),
        _ => words_of_request(request),
    }
}

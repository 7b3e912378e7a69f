//! `pool.mode = "session"`: what a client says of its connection, and its transactions, go to the
//! connection that is its own at the server.
//!
//! Owns: which commands go there and what they change here. Never knows: sessions that share connections.

use bytes::BytesMut;

use super::client_info::is_valid_name;
use super::greeted::Greeted;
use super::own::{Multi, OwnReply};
use super::own_queue::Unqueued;
use super::queue::{Class, Expect};
use super::residue::Residue;
use super::state::{Cause, Context, Route, Session, Step};
use crate::command::{Effect, Local, Spec};
use crate::resp::{Protocol, Request, encode};
use crate::traffic::own;

impl Session {
    /// Whether the session has a connection of its own to which everything about it goes. Rules that
    /// change requests need a transaction that is queued here.
    fn owns_connection(&mut self, ctx: &Context<'_>) -> bool {
        if self.own.as_ref().is_some_and(|own| own.multi_permission()) {
            return true;
        }
        let owns = ctx.dedicated && ctx.policy.leaves_requests_alone();
        match (owns, &mut self.own) {
            (true, None) => self.own = Some(Box::default()),
            (false, Some(_)) if self.transaction.is_none() => self.own = None,
            _ => {}
        }
        owns && self.transaction.is_none()
    }

    /// A permitted command, if it is one that goes to the session's own connection.
    pub(super) fn dispatch_own(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Option<Step> {
        if !ctx.dedicated && self.own.is_none() || !self.owns_connection(ctx) {
            return None;
        }
        if let Some(step) = self.introduce(ctx) {
            return Some(step);
        }
        if self.own.as_ref().is_some_and(|own| own.multi_permission()) {
            return self.dispatch_queued(spec, request, ctx, out);
        }
        if request.announced().is_some() {
            return None;
        }
        if let Some(step) = self.hold_login_at_server(spec, request, ctx) {
            return Some(step);
        }
        if spec.effect == Effect::Multi {
            Some(self.own_multi(ctx))
        } else if matches!(spec.effect, Effect::Exec | Effect::Discard) {
            Some(self.send_own(Expect::Plain, ctx))
        } else if matches!(spec.effect, Effect::Watch | Effect::Unwatch) {
            let step = self.send_own(Expect::Watch, ctx);
            if matches!(step, Step::Send { .. }) {
                self.watching = spec.effect == Effect::Watch;
            }
            Some(step)
        } else if spec.effect == Effect::Hello {
            Some(self.own_hello(request, ctx, out))
        } else {
            self.goes_to_own(spec, ctx).then(|| self.own_state(spec, request, ctx))
        }
    }

    /// Whether the server's answer about the connection is the client's own.
    pub(super) fn goes_to_own(&self, spec: &Spec, ctx: &Context<'_>) -> bool {
        if spec.effect == Effect::Auth {
            return ctx.auth.is_off();
        }
        let Effect::Local(local) = spec.effect else { return false };
        match local {
            Local::WhoAmI => ctx.auth.is_off(),
            Local::Reply => false,
            // These reach connections of others, or say a number by which they are reached.
            Local::List
            | Local::Kill
            | Local::Unblock
            | Local::Id
            | Local::Info
            | Local::GetRedirect
            | Local::TrackingInfo => ctx.policy.is_unbounded(),
            Local::Asking
            | Local::ReadOnly
            | Local::ReadWrite
            | Local::Capa
            | Local::GetName
            | Local::Help
            | Local::ImportSource
            | Local::NoEvict
            | Local::NoTouch
            | Local::SetInfo
            | Local::SetName => true,
        }
    }

    /// A command about the connection.
    fn own_state(&mut self, spec: &Spec, request: &Request<'_>, ctx: &mut Context<'_>) -> Step {
        let is_login = spec.effect == Effect::Auth;
        let expect = if is_login { Expect::Own(OwnReply::Login) } else { Expect::Plain };
        let step = self.send_own(expect, ctx);
        if matches!(step, Step::Send { .. }) {
            self.note_own_state(spec, request);
        }
        step
    }

    /// What it leaves on the connection. Names can be set on another one.
    pub(super) fn note_own_state(&mut self, spec: &Spec, request: &Request<'_>) {
        let option = request.arg(2).unwrap_or_default();
        let value = request.arg(3).unwrap_or_default();
        match spec.effect.local() {
            Some(Local::SetName) if is_valid_name(option) => {
                self.client_info_mut().name = option.to_vec();
            }
            Some(Local::SetInfo) if is_valid_name(value) => {
                if option.eq_ignore_ascii_case(b"lib-name") {
                    self.client_info_mut().lib_name = value.to_vec();
                } else if option.eq_ignore_ascii_case(b"lib-ver") {
                    self.client_info_mut().lib_ver = value.to_vec();
                }
            }
            Some(
                Local::SetName
                | Local::SetInfo
                | Local::GetName
                | Local::Info
                | Local::List
                | Local::GetRedirect
                | Local::TrackingInfo
                | Local::WhoAmI,
            ) => {}
            Some(
                Local::Asking
                | Local::ReadOnly
                | Local::ReadWrite
                | Local::Capa
                | Local::Help
                | Local::Id
                | Local::ImportSource
                | Local::Kill
                | Local::NoEvict
                | Local::NoTouch
                | Local::Reply
                | Local::Unblock,
            )
            | None => {
                self.own.get_or_insert_default().bound = true;
                self.residue.note(Residue::Dirty);
            }
        }
    }

    pub(super) fn send_own(&mut self, expect: Expect, ctx: &mut Context<'_>) -> Step {
        self.send(Route::Pinned, Cause::Session, expect, Class::Other, ctx)
    }

    /// Tells a new connection what the client said of itself.
    fn introduce(&mut self, ctx: &mut Context<'_>) -> Option<Step> {
        let own = self.own.as_ref().filter(|own| own.nameless)?;
        debug_assert!(!own.multi_permission(), "a transaction does not move");
        let client_info = self.seat.client_info.borrow();
        let words = client_info.as_deref().map_or_else(Vec::new, |client_info| {
            let [name, lib_name, lib_ver] =
                [&client_info.name, &client_info.lib_name, &client_info.lib_ver]
                    .map(|text| text.as_slice());
            let said: [&[&[u8]]; 3] = [
                &[own::CLIENT, b"SETNAME", name],
                &[own::CLIENT, b"SETINFO", b"lib-name", lib_name],
                &[own::CLIENT, b"SETINFO", b"lib-ver", lib_ver],
            ];
            let said = said.into_iter().filter(|words| words.last().is_some_and(|w| !w.is_empty()));
            said.map(|words| words.iter().map(|word| word.to_vec()).collect())
                .collect::<Vec<Vec<_>>>()
        });
        drop(client_info);
        let Some(skip) = u32::try_from(words.len()).ok().and_then(|count| count.checked_sub(1))
        else {
            self.own.get_or_insert_default().nameless = false;
            return None;
        };
        let ticket = match self.enqueue(
            Route::Pinned,
            Cause::Session,
            Expect::Page,
            skip,
            Class::Other,
            ctx,
        ) {
            Ok(ticket) => ticket,
            Err(step) => return Some(step),
        };
        self.own.get_or_insert_default().nameless = false;
        let wire = ctx.request_scratch.fresh_wire();
        for request in &words {
            encode::request(wire, request.iter().map(Vec::as_slice));
        }
        Some(Step::Ask { route: Route::Pinned, ticket, skip, retry: false })
    }

    fn own_multi(&mut self, ctx: &mut Context<'_>) -> Step {
        let step = self.send_own(Expect::Own(OwnReply::Multi), ctx);
        if matches!(step, Step::Send { .. }) {
            let own = self.own.get_or_insert_default();
            own.end_transaction();
            own.multi = Multi::Asked;
            own.asked += 1;
        }
        step
    }

    /// A command between MULTI and EXEC. The server says of most whether they are queued.
    fn dispatch_queued(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Option<Step> {
        let asked = self.own.as_ref().is_some_and(|own| own.multi == Multi::Asked);
        if asked
            && !spec.effect.leaves_nothing()
            && !matches!(spec.effect, Effect::Exec | Effect::Discard)
        {
            // Without MULTI it would be carried out at once.
            return Some(Step::Wait);
        }
        if request.announced().is_some() && !spec.effect.leaves_nothing() {
            return Some(Step::Collect);
        }
        if matches!(spec.effect, Effect::Multi | Effect::Watch) {
            return Some(self.send_own(Expect::Plain, ctx));
        } else if spec.effect == Effect::Exec {
            return Some(self.own_exec(request, ctx));
        } else if spec.effect == Effect::Discard {
            let step = self.send_own(Expect::Plain, ctx);
            if matches!(step, Step::Send { .. }) {
                self.end_own_transaction();
            }
            return Some(step);
        } else if matches!(spec.effect, Effect::Quit | Effect::Reset) {
            return None;
        }
        Some(match self.sent_to_own(spec, request, ctx) {
            Ok(sent) => self.queue_own(sent, spec, request, ctx, out),
            Err(Unqueued::Refused(text)) => self.refuse_text(text, out),
            Err(Unqueued::First(step)) => step,
        })
    }

    /// Whether the client's number is that of its connection at the server.
    pub(super) fn is_numbered(&self, ctx: &Context<'_>) -> bool {
        self.own.is_some() && ctx.policy.is_unbounded()
    }

    fn own_exec(&mut self, request: &Request<'_>, ctx: &mut Context<'_>) -> Step {
        let (spoiled, special, asked) = self.own.as_ref().map_or((false, false, false), |own| {
            (own.spoiled, own.special, own.multi == Multi::Asked)
        });
        if spoiled && asked {
            // Was MULTI refused, EXEC is answered otherwise.
            return Step::Wait;
        }
        if spoiled {
            return self.exec_spoiled(request, ctx);
        }
        let walks = special || self.hears();
        let expect = if walks { Expect::Own(OwnReply::Exec) } else { Expect::Plain };
        let step = self.send(Route::Pinned, Cause::Session, expect, Class::Write, ctx);
        if matches!(step, Step::Send { .. }) {
            self.executing = walks;
            self.end_own_transaction();
        }
        step
    }

    /// EXEC after something was refused here. A command without its argument, which the server refuses,
    /// makes it refuse EXEC as well, in its own words.
    fn exec_spoiled(&mut self, request: &Request<'_>, ctx: &mut Context<'_>) -> Step {
        let expect = Expect::Plain;
        match self.enqueue(Route::Pinned, Cause::Session, expect, 1, Class::Other, ctx) {
            Ok(ticket) => {
                self.end_own_transaction();
                let wire = ctx.request_scratch.fresh_wire();
                encode::request(wire, [b"GET".as_slice()]);
                wire.extend_from_slice(request.raw());
                Self::send_wire(Route::Pinned, ticket, 1)
            }
            Err(step) => step,
        }
    }

    /// EXEC of a client that is subscribed: the server refuses it and lets go of what was watched.
    pub(super) fn own_exec_refused(&mut self, ctx: &mut Context<'_>) -> Step {
        let step = self.send_own(Expect::Plain, ctx);
        if matches!(step, Step::Send { .. }) {
            self.end_own_transaction();
        }
        step
    }

    /// EXEC that the rules refuse, answered with this text. The server drops what it has queued.
    pub(super) fn abort_own(&mut self, text: &[u8], ctx: &mut Context<'_>) -> Step {
        let expect = Expect::Own(OwnReply::Abort(text.into()));
        match self.enqueue(Route::Pinned, Cause::Session, expect, 0, Class::Other, ctx) {
            Ok(ticket) => {
                self.end_own_transaction();
                encode::request(ctx.request_scratch.fresh_wire(), [b"DISCARD".as_slice()]);
                Self::send_wire(Route::Pinned, ticket, 0)
            }
            Err(step) => step,
        }
    }

    /// Whether commands are queued at the server.
    pub(super) fn transacts_on_own(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.multi_permission())
    }

    fn end_own_transaction(&mut self) {
        self.watching = false;
        if let Some(own) = &mut self.own {
            own.end_transaction();
        }
    }

    /// HELLO changes the protocol of the connection itself. A password that respgate asks for is not
    /// the server's to see.
    fn own_hello(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let mut wire = BytesMut::new();
        let greeted = if ctx.auth.is_off() {
            let (greeted, says_who) = self.read_hello(request, ctx);
            if says_who {
                self.own.get_or_insert_default().bound = true;
            }
            greeted
        } else {
            match self.judge_hello(request, ctx) {
                Ok(greeted) => {
                    greeted.request_named(&mut wire);
                    Greeted { is_numbered: self.is_numbered(ctx), ..greeted }
                }
                Err(text) => {
                    self.answer(out, |out| encode::error(out, text.as_bytes()));
                    return Step::Done;
                }
            }
        };
        let expect = Expect::Own(OwnReply::Hello(Box::new(greeted)));
        let ticket = match self.enqueue(Route::Pinned, Cause::Session, expect, 0, Class::Other, ctx)
        {
            Ok(ticket) => ticket,
            Err(step) => return step,
        };
        self.executing = true;
        self.residue.note(Residue::Dirty);
        if wire.is_empty() {
            return Step::Send { route: Route::Pinned, ticket, retry: false };
        }
        *ctx.request_scratch.fresh_wire() = wire;
        Self::send_wire(Route::Pinned, ticket, 0)
    }

    /// What HELLO asks for, where the server judges it: the protocol, a name, whether as another user.
    pub(super) fn read_hello(&self, request: &Request<'_>, ctx: &Context<'_>) -> (Greeted, bool) {
        let protocol = match request.arg(1) {
            Some(b"2") => Protocol::Resp2,
            Some(b"3") => Protocol::Resp3,
            Some(_) | None => self.protocol,
        };
        let (mut name, mut says_who, mut at) = (None, false, 2);
        while let Some(option) = request.arg(at) {
            if option.eq_ignore_ascii_case(b"auth") {
                says_who = true;
                at += 3;
            } else if option.eq_ignore_ascii_case(b"setname") {
                name = request.arg(at + 1).map(<[u8]>::to_vec);
                at += 2;
            } else {
                break;
            }
        }
        let is_numbered = self.is_numbered(ctx);
        (Greeted { protocol, name, user: None, is_numbered }, says_who)
    }

    /// The server's reply to one of these; what the client gets of it.
    pub(super) fn take_own_reply(
        &mut self,
        reply: OwnReply,
        kind: u8,
        frame: &[u8],
        silent: bool,
        out: &mut BytesMut,
    ) {
        let mut unheard = BytesMut::new();
        let out = if silent { &mut unheard } else { out };
        let own = self.own.get_or_insert_default();
        match reply {
            OwnReply::Multi => {
                own.asked = own.asked.saturating_sub(1);
                (own.queued, own.specials, own.reads) = (0, Vec::new(), Vec::new());
                if own.asked == 0 && own.multi == Multi::Asked {
                    if kind == b'+' {
                        own.multi = Multi::Open;
                    } else {
                        own.end_transaction();
                    }
                }
            }
            OwnReply::Queued { special, reads } => {
                if frame.starts_with(b"+QUEUED") {
                    own.note_queued(special, reads);
                }
            }
            OwnReply::Exec => debug_assert!(false, "taken as that of any transaction"),
            OwnReply::Abort(text) if kind == b'+' => return encode::error(out, text),
            OwnReply::Abort(_) => {}
            OwnReply::Login => self.note_server_login(frame),
            OwnReply::Hello(greeted) => {
                self.executing = false;
                self.note_server_login(frame);
                if kind != b'-' {
                    return self.take_hello(*greeted, frame, out);
                }
            }
        }
        out.extend_from_slice(frame);
    }
}

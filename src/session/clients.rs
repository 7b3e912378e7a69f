//! CLIENT INFO, LIST, KILL and UNBLOCK: what a client sees of those with the same policy, and does to
//! them.
//!
//! Owns: the answers. Never knows: how a client is described, which options choose it.

use bytes::BytesMut;

use super::access::Auth;
use super::client_filter::Filter;
use super::client_info::Form;
use super::client_line::write_line;
use super::client_text;
use super::pending_query::{Arrived, PendingQuery};
use super::queue::{Class, Expect};
use super::roster::{Figures, Marks};
use super::state::{Context, Session, Step};
use crate::command::Spec;
use crate::resp::{Protocol, Request, encode, number};
use crate::traffic::own;

impl Session {
    /// What of this session is shown; the other figures are the connection's.
    pub fn show(&self, figures: &mut Figures) {
        let transaction = self.transaction.as_ref();
        figures.database = self.database;
        figures.protocol = self.protocol;
        (figures.channels, figures.patterns, figures.shards) = self.subscriptions.counts();
        figures.queued =
            transaction.map_or(self.executes, |transaction| Some(transaction.queued()));
        figures.queued_bytes = transaction.map_or(0, |transaction| transaction.size());
        figures.watched = if self.watching { self.watched } else { 0 };
        figures.redirect = if self.tracking { self.redirect } else { -1 };
        let mut marks = Marks::default();
        marks.set(Marks::MONITOR, self.monitor);
        marks.set(Marks::PUBSUB, self.subscriptions.any());
        marks.set(Marks::MULTI, figures.queued.is_some());
        marks.set(Marks::BLOCKED, self.is_blocked() && !self.is_streaming());
        marks.set(Marks::REPLICA, self.is_streaming());
        marks.set(Marks::TRACKING, self.tracking);
        marks.set(Marks::BROADCAST, self.tracking && self.broadcast);
        marks.set(Marks::BROKEN_REDIRECT, self.redirect_broken);
        marks.set(Marks::READS_ONLY, self.reads_only);
        marks.set(Marks::NO_EVICT, self.flags.no_evict);
        marks.set(Marks::NO_TOUCH, self.flags.no_touch);
        marks.set(Marks::IMPORT_SOURCE, self.flags.import_source);
        marks.set(Marks::DIRTY, self.watch_lost);
        marks.set(Marks::UNIX, self.seat.peer.is_unix);
        figures.marks = marks;
    }

    /// The session's own line shows the request at hand.
    fn show_request(&self, spec: &'static Spec, request: &Request<'_>) {
        self.seat.show(|figures| {
            self.show(figures);
            // Within a transaction it is EXEC that runs.
            figures.command = if self.executes.is_some() { self.shown_command } else { Some(spec) };
            figures.active = self.roster.now();
            figures.unread = request.raw().len();
            figures.arguments = request.args().map(<[u8]>::len).sum();
            figures.unwritten = 0;
        });
    }

    /// The server describes a connection of respgate's own, once, so that respgate describes clients
    /// as this server does.
    pub(super) fn learn_form(&mut self, ctx: &mut Context<'_>) -> Result<(), Step> {
        self.roster.note_server(ctx.server);
        // What is pushed would come between.
        if self.roster.form().is_of(ctx.server) || self.pins() {
            return Ok(());
        }
        self.query.take_if(|query| query.walk.is_some());
        let form = match self.query.as_ref().map(|query| query.arrived.as_ref()) {
            None => return Err(self.ask_for_form(ctx)),
            Some(None) => return Err(Step::Wait),
            Some(Some(Arrived::Page(frame))) => {
                text_of(frame).and_then(|line| Form::learn(ctx.server, line))
            }
            Some(Some(Arrived::Lost(_))) => None,
        };
        self.query = None;
        self.roster.note_form(form.unwrap_or_else(|| Form::of(ctx.server)));
        Ok(())
    }

    fn ask_for_form(&mut self, ctx: &mut Context<'_>) -> Step {
        let (route, cause) = (self.usual_route(ctx), self.cause(ctx));
        let ticket = match self.enqueue(route, cause, Expect::Page, 0, Class::Other, ctx) {
            Ok(ticket) => ticket,
            Err(step) => return step,
        };
        encode::request(ctx.request_scratch.fresh_wire(), [own::CLIENT, b"INFO"]);
        self.query = Some(Box::new(PendingQuery { walk: None, ticket, arrived: None }));
        Step::Ask { route, ticket, skip: 0, retry: true }
    }

    /// Redis networking.c `clientCommand`, INFO.
    pub(super) fn write_info(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        out: &mut BytesMut,
    ) {
        self.show_request(spec, request);
        let mut text = String::new();
        self.with_form(|form| write_line(form, &self.seat, self.roster.now(), &mut text));
        write_text(out, text.as_bytes(), self.protocol);
    }

    fn with_form(&self, write: impl FnOnce(&Form)) {
        let known = self.roster.form();
        if known.is_of(self.roster.server()) {
            write(&known);
        } else {
            write(&Form::of(self.roster.server()));
        }
    }

    /// LIST: the clients of the same policy.
    pub(super) fn write_list(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        auth: Option<&Auth>,
        out: &mut BytesMut,
    ) {
        self.show_request(spec, request);
        let found = match Filter::of_list(request, self.roster.server(), auth) {
            Ok(found) => found,
            Err(line) => return encode::error(out, line),
        };
        let (own, now) = (&self.seat, self.roster.now());
        let seats = match found {
            Ok(filter) => {
                let mut seats = self.roster.all(own);
                seats.retain(|seat| {
                    filter.fits(seat, now) && !(filter.skip_me && seat.id == own.id)
                });
                seats
            }
            Err(ids) => ids.into_iter().filter_map(|id| self.roster.find(own, id)).collect(),
        };
        let mut text = String::new();
        self.with_form(|form| seats.iter().for_each(|seat| write_line(form, seat, now, &mut text)));
        write_text(out, text.as_bytes(), self.protocol);
    }

    /// KILL. A client that kills itself reads the answer first.
    pub(super) fn write_kill(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        auth: Option<&Auth>,
        out: &mut BytesMut,
    ) {
        self.show_request(spec, request);
        let filter = match Filter::of_kill(request, self.roster.server(), auth) {
            Ok(filter) => filter,
            Err(line) => return encode::error(out, line),
        };
        let (own, now) = (self.seat.id, self.roster.now());
        let mut killed = 0;
        for seat in self.roster.all(&self.seat) {
            if !filter.fits(&seat, now) || (filter.skip_me && seat.id == own) {
                continue;
            }
            killed += 1;
            if seat.id == own {
                self.farewell = true;
            } else {
                self.roster.kill(&seat);
            }
        }
        match (request.len(), killed) {
            (3, 0) => encode::error(out, client_text::NO_SUCH_CLIENT),
            (3, _) => encode::simple(out, client_text::OK),
            _ => encode::integer(out, killed),
        }
    }

    /// UNBLOCK: the server does it, to the connection that the blocked client has there, so that
    /// nothing which is given to that client at the same moment is lost.
    pub(super) fn unblock(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let target = match Self::unblockable(request, ctx.valkey) {
            Ok(target) => target,
            Err(text) => {
                self.answer(out, |out| encode::error(out, text));
                return Step::Done;
            }
        };
        let Some((link, reason)) = self.blocked(target, request) else {
            self.answer(out, |out| encode::integer(out, 0));
            return Step::Done;
        };
        let (route, cause) = (self.usual_route(ctx), self.cause(ctx));
        let ticket = match self.enqueue(route, cause, Expect::Plain, 0, Class::Other, ctx) {
            Ok(ticket) => ticket,
            Err(step) => return step,
        };
        let link = link.to_string();
        let words: [&[u8]; 4] = [b"CLIENT", b"UNBLOCK", link.as_bytes(), reason];
        encode::request(ctx.request_scratch.fresh_wire(), words);
        Self::send_wire(route, ticket, 0)
    }

    pub(super) fn unblockable(request: &Request<'_>, valkey: bool) -> Result<i64, String> {
        let reason = request.arg(3).unwrap_or(b"timeout");
        let known =
            reason.eq_ignore_ascii_case(b"timeout") || reason.eq_ignore_ascii_case(b"error");
        if request.len() > 4 && !valkey {
            return Err(client_text::odd_subcommand(
                encode::echo(request.arg(1).unwrap_or_default()),
                "CLIENT",
            ));
        }
        // Valkey looks at the reason of a request of four words alone.
        if !known && request.len() == 4 {
            return Err(client_text::UNBLOCK_REASON.to_owned());
        }
        let id = request.arg(2).and_then(number::parse_i64);
        id.ok_or_else(|| client_text::NOT_INTEGER.to_owned())
    }

    /// Whether the client has killed itself, and its last answer is on its way.
    #[must_use]
    pub const fn says_farewell(&self) -> bool {
        self.farewell
    }
}

/// Text for people: a verbatim string in RESP3 (redis networking.c `addReplyVerbatim`).
fn write_text(out: &mut BytesMut, text: &[u8], protocol: Protocol) {
    match protocol {
        Protocol::Resp2 => encode::bulk(out, text),
        Protocol::Resp3 => {
            out.extend_from_slice(b"=");
            number::write_u64(out, text.len() as u64 + 4);
            out.extend_from_slice(b"\r\ntxt:");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The text in a reply of that kind.
fn text_of(frame: &[u8]) -> Option<&[u8]> {
    let head = frame.iter().position(|byte| *byte == b'\n')? + 1;
    let body = frame.get(head..)?.strip_suffix(b"\r\n")?;
    match frame.first()? {
        b'$' => Some(body),
        b'=' => body.strip_prefix(b"txt:"),
        _ => None,
    }
}

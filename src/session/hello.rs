//! Who the client is and how it speaks: HELLO, AUTH, SELECT, RESET.
//!
//! Owns: the session's protocol, database and authentication. Never knows: how the
//! server is reached; passwords of the upstream.

use bytes::BytesMut;

use super::client_info::is_valid_name;
use super::client_text;
use super::connection_flags::ConnectionFlags;
use super::greeted::Greeted;
use super::queue::{Class, Expect};
use super::replica::Replication;
use super::residue::Residue;
use super::state::{Cause, Context, PendingOpen, ReplyMode, Route, Session, Step};
use super::subscriptions::Subscriptions;
use super::users::Name;
use crate::resp::{Protocol, Request, encode, number};
use crate::traffic::{Facts, OpenFailure, PoolKey};

/// Databases a request may name at all; the server knows how many there are.
const DATABASE_MAX: i64 = i32::MAX as i64;

impl Session {
    /// Redis acl.c `authCommand`.
    pub(super) fn auth(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let text = self.judge_auth(request, ctx);
        self.answer(out, |out| match text {
            Ok(()) => encode::simple(out, client_text::OK),
            Err(text) => encode::error(out, text.as_bytes()),
        });
        text.map_or_else(|text| self.note_refused_login(text), |()| {});
        Step::Done
    }

    pub(super) fn judge_auth(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Result<(), &'static str> {
        let name = self.check_auth(request, ctx)?;
        self.log_in(name);
        Ok(())
    }

    /// As whom the client goes on.
    pub(super) fn check_auth(
        &self,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Result<Name, &'static str> {
        let (user, password) = match (request.arg(1), request.arg(2), request.len()) {
            (Some(password), None, 2) => {
                if ctx.auth.has_no_password() {
                    return Err(client_text::NO_PASSWORD_SET);
                }
                (b"default".as_slice(), password)
            }
            (Some(user), Some(password), 3) => (user, password),
            _ => return Err(client_text::SYNTAX),
        };
        self.admit_as(user, password, ctx)
    }

    fn admit_as(
        &self,
        user: &[u8],
        password: &[u8],
        ctx: &Context<'_>,
    ) -> Result<Name, &'static str> {
        let admitted = ctx.auth.admit(user, password).filter(|_| self.wrong_until.is_none());
        let name = admitted.ok_or(client_text::WRONGPASS)?;
        self.may_become(&name)?;
        Ok(name)
    }

    /// Redis networking.c `helloCommand`.
    pub(super) fn hello(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let greeted = match self.judge_hello(request, ctx) {
            Ok(greeted) => greeted,
            Err(text) => {
                self.answer(out, |out| encode::error(out, text.as_bytes()));
                self.note_refused_login(&text);
                return Step::Done;
            }
        };
        if greeted.protocol != self.protocol && (self.pins() || ctx.has_lease) {
            if self.in_flight() > 0 {
                return Step::Wait;
            }
            if self.pins() {
                if self.replication != Replication::No {
                    return self.refuse_text(client_text::HELLO_OF_REPLICA, out);
                }
                return self.hello_on_lease(greeted, ctx);
            }
            self.large_reply_credit = 0;
            self.residue.note_if(ctx.has_lease, Residue::Poisoned);
        }
        let key = PoolKey { protocol: greeted.protocol, database: self.database };
        self.opening = Some(Box::new(PendingOpen::Hello(greeted)));
        Step::Open(key)
    }

    /// What is on the pinned connection stays there: it is that connection which changes.
    fn hello_on_lease(&mut self, greeted: Greeted, ctx: &mut Context<'_>) -> Step {
        let cause = self.cause(ctx);
        let mut wire = BytesMut::new();
        greeted.request(&mut wire);
        let expect = Expect::Hello(Box::new(greeted));
        let ticket = match self.enqueue(Route::Pinned, cause, expect, 0, Class::Other, ctx) {
            Ok(ticket) => ticket,
            Err(step) => return step,
        };
        self.executing = true;
        ctx.request_scratch.fresh_wire().unsplit(wire);
        Self::send_wire(Route::Pinned, ticket, 0)
    }

    /// The server's answer to HELLO on the pinned connection, with the client's own number.
    pub(super) fn take_hello(&mut self, greeted: Greeted, frame: &[u8], out: &mut BytesMut) {
        self.residue.note(Residue::Dirty);
        let is_numbered = greeted.is_numbered;
        self.become_greeted(greeted);
        if is_numbered {
            return out.extend_from_slice(frame);
        }
        let mark: &[u8] = b"$2\r\nid\r\n:";
        let found = frame.windows(mark.len()).position(|part| part == mark);
        let found = found.and_then(|at| frame.split_at_checked(at + mark.len()));
        let Some((head, tail)) = found else { return out.extend_from_slice(frame) };
        let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        out.extend_from_slice(head);
        number::write_u64(out, self.seat.id);
        out.extend_from_slice(tail.get(digits..).unwrap_or_default());
    }

    pub(super) fn become_greeted(&mut self, greeted: Greeted) {
        let Greeted { protocol, name, user, .. } = greeted;
        self.protocol = protocol;
        if let Some(user) = user {
            self.log_in(user);
        }
        if let Some(name) = name {
            self.client_info_mut().name = name;
        }
    }

    pub(super) fn judge_hello(
        &self,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Result<Greeted, String> {
        let mut protocol = self.protocol;
        if let Some(version) = request.arg(1) {
            protocol = match number::parse_i64(version) {
                None => return Err(client_text::PROTO_NOT_INTEGER.to_owned()),
                Some(2) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                Some(_) => return Err(client_text::NOPROTO.to_owned()),
            };
        }
        let (mut name, mut admitted, mut at) = (None, None, 2);
        while let Some(option) = request.arg(at) {
            let rest = request.len() - at - 1;
            if option.eq_ignore_ascii_case(b"auth") && rest >= 2 {
                let user = request.arg(at + 1).unwrap_or_default();
                let password = request.arg(at + 2).unwrap_or_default();
                admitted = Some(self.admit_as(user, password, ctx)?);
                at += 3;
            } else if option.eq_ignore_ascii_case(b"setname") && rest >= 1 {
                let value = request.arg(at + 1).unwrap_or_default();
                if !is_valid_name(value) {
                    return Err(client_text::BAD_NAME.to_owned());
                }
                name = Some(value.to_vec());
                at += 2;
            } else {
                return Err(client_text::hello_option(encode::echo(option)));
            }
        }
        if !self.authenticated && admitted.is_none() {
            return Err(client_text::HELLO_NOAUTH.to_owned());
        }
        Ok(Greeted { protocol, name, user: admitted, is_numbered: false })
    }

    /// Redis db.c `selectCommand`.
    pub(super) fn select(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        let database = match parse_database(request.arg(1).unwrap_or_default()) {
            Ok(database) => database,
            Err(text) => {
                self.answer(out, |out| encode::error(out, text.as_bytes()));
                return Step::Done;
            }
        };
        if ctx.has_lease || self.usual_route(ctx) == Route::Pinned {
            let expect = Expect::Select(database);
            let step = self.send(Route::Pinned, Cause::Session, expect, Class::Other, ctx);
            self.executing = matches!(step, Step::Send { .. });
            return step;
        }
        self.opening = Some(Box::new(PendingOpen::Select(database)));
        Step::Open(PoolKey { protocol: self.protocol, database })
    }

    /// The outcome of [`Step::Open`].
    pub fn handle_opened(&mut self, opened: Result<Facts, OpenFailure>, out: &mut BytesMut) {
        let Some(opening) = self.opening.take() else { return };
        match (*opening, opened) {
            (PendingOpen::Select(database), Ok(_)) => {
                self.database = database;
                self.answer(out, |out| encode::simple(out, client_text::OK));
            }
            (PendingOpen::Hello(greeted), Ok(facts)) => {
                let (protocol, id) = (greeted.protocol, self.seat.id);
                self.become_greeted(greeted);
                self.answer(out, |out| write_hello(out, protocol, id, &facts));
            }
            (_, Err(OpenFailure::Refused(line))) => {
                self.answer(out, |out| encode::error(out, &line))
            }
            (_, Err(OpenFailure::Loss(loss))) if self.ends_with(loss) => self.queue.cut(),
            (_, Err(OpenFailure::Loss(loss))) => {
                let text = client_text::loss(loss);
                self.answer(out, |out| encode::error(out, text.as_bytes()));
            }
        }
    }

    /// Redis networking.c `resetCommand`: as if the client had just connected.
    pub(super) fn reset(&mut self, ctx: &mut Context<'_>, out: &mut BytesMut) -> Step {
        if self.in_flight() > 0 {
            return Step::Wait;
        }
        if self.reply_mode == ReplyMode::Off {
            // It ends before the answer; a SKIP is for the answer.
            self.reply_mode = ReplyMode::On;
        }
        self.answer(out, |out| encode::simple(out, client_text::RESET));
        self.protocol = Protocol::Resp2;
        self.database = 0;
        let (user, authenticated) = ctx.auth.enter(&self.seat.peer.identity);
        self.become_user(user, authenticated);
        self.transaction = None;
        self.watching = false;
        self.watch_lost = false;
        self.subscriptions = Subscriptions::default();
        self.names = None;
        (self.tracking, self.redirect, self.redirect_broken) = (false, 0, false);
        self.flags = ConnectionFlags::default();
        self.seat.end_target();
        self.prefixes = 0;
        (self.monitor, self.reads_only) = (false, false);
        self.replication = Replication::No;
        if let Some(own) = &mut self.own {
            own.move_on();
        }
        self.large_reply_credit = 0;
        self.reply_mode = ReplyMode::On;
        if let Some(client_info) = &mut *self.seat.client_info.borrow_mut() {
            // What the client's library said of itself stays (`clearClientConnectionState`).
            client_info.name = Vec::new();
        }
        self.residue.note_if(ctx.has_lease, Residue::Poisoned);
        Step::Done
    }
}

/// The number of a database, as far as it can be judged without the server.
pub(super) fn parse_database(text: &[u8]) -> Result<u32, &'static str> {
    let Some(number) = number::parse_i64(text) else { return Err(client_text::NOT_INTEGER) };
    if !(-DATABASE_MAX - 1..=DATABASE_MAX).contains(&number) {
        return Err(client_text::NOT_INTEGER);
    }
    u32::try_from(number).map_err(|_| client_text::DB_RANGE)
}

/// The answer to HELLO (redis networking.c `helloCommand`), with the session's own id.
fn write_hello(out: &mut BytesMut, protocol: Protocol, id: u64, facts: &Facts) {
    let bulk = |out: &mut BytesMut, text: &str| encode::bulk(out, text.as_bytes());
    let zone = facts.availability_zone.as_ref().filter(|zone| !zone.is_empty());
    encode::map(out, 7 + usize::from(zone.is_some()), protocol);
    bulk(out, "server");
    bulk(out, &facts.server);
    bulk(out, "version");
    bulk(out, &facts.version);
    bulk(out, "proto");
    encode::integer(out, if protocol == Protocol::Resp3 { 3 } else { 2 });
    bulk(out, "id");
    encode::integer(out, i64::try_from(id).unwrap_or(i64::MAX));
    bulk(out, "mode");
    bulk(out, &facts.mode);
    bulk(out, "role");
    bulk(out, &facts.role);
    bulk(out, "modules");
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => &facts.modules_resp2,
        Protocol::Resp3 => &facts.modules_resp3,
    });
    if let Some(zone) = zone {
        bulk(out, "availability_zone");
        bulk(out, zone);
    }
}

//! Commands that respgate answers itself, because the answer is about the client's connection and
//! the client's connection is respgate's.
//!
//! Owns: what CLIENT says of this session. Never knows: upstream connections, other sessions.

use bytes::BytesMut;

use super::about::{About, is_valid_name};
use super::queue::{Class, Expect};
use super::state::{Cause, Context, ReplyMode, Route, Session, Step};
use super::subscriptions::Kind;
use super::words;
use crate::command::{Effect, Spec, is_word};
use crate::resp::{Protocol, Request, encode, number};

impl Session {
    pub(super) fn about_mut(&mut self) -> &mut About {
        self.about.get_or_insert_default()
    }

    pub(super) fn answer_local(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        match spec.name {
            "client|reply" => return self.client_reply(request, out),
            "client|help" => return self.forward(spec, request, ctx, out),
            "client|getredir" | "client|trackinginfo" if self.tracking || ctx.has_lease => {
                return self.send(Route::Pinned, Cause::Tracking, Expect::Plain, Class::Other, ctx);
            }
            // Valkey takes them although it is no cluster; a Redis does not.
            "readonly" | "readwrite" if ctx.valkey => {
                self.answer(out, |out| encode::simple(out, words::OK));
                return Step::Done;
            }
            _ => {}
        }
        let mut reply = BytesMut::new();
        self.write_local(spec, request, &mut reply);
        self.answer(out, |out| out.extend_from_slice(&reply));
        Step::Done
    }

    /// Redis networking.c `clientCommand`, REPLY.
    fn client_reply(&mut self, request: &Request<'_>, out: &mut BytesMut) -> Step {
        let mode = request.arg(2).unwrap_or_default();
        if mode.eq_ignore_ascii_case(b"on") {
            self.reply_mode = ReplyMode::On;
            self.answer(out, |out| encode::simple(out, words::OK));
        } else if mode.eq_ignore_ascii_case(b"off") {
            self.reply_mode = ReplyMode::Off;
        } else if mode.eq_ignore_ascii_case(b"skip") {
            if self.reply_mode == ReplyMode::On {
                self.reply_mode = ReplyMode::SkipNext;
            }
        } else {
            self.answer(out, |out| encode::error(out, words::SYNTAX.as_bytes()));
        }
        Step::Done
    }

    /// The answer itself; also for places inside EXEC's array.
    pub(super) fn write_local(&mut self, spec: &Spec, request: &Request<'_>, out: &mut BytesMut) {
        let error = |out: &mut BytesMut, text: &str| encode::error(out, text.as_bytes());
        let option = request.arg(2).unwrap_or_default();
        match spec.name {
            "acl|whoami" => encode::bulk(out, self.user.as_str().as_bytes()),
            "client|id" => encode::integer(out, i64::try_from(self.id).unwrap_or(i64::MAX)),
            "client|getname" => match &self.about {
                Some(about) if !about.name.is_empty() => encode::bulk(out, &about.name),
                _ => encode::null(out, self.protocol),
            },
            "client|setname" if is_valid_name(option) => {
                self.about_mut().name = option.to_vec();
                encode::simple(out, words::OK);
            }
            "client|setname" => error(out, words::BAD_NAME),
            "client|setinfo" => self.set_info(option, request.arg(3).unwrap_or_default(), out),
            "client|info" => self.write_info(out),
            "client|list" => self.write_list(request, out),
            "client|no-evict" | "client|no-touch" => {
                if option.eq_ignore_ascii_case(b"on") || option.eq_ignore_ascii_case(b"off") {
                    encode::simple(out, words::OK);
                } else {
                    error(out, words::SYNTAX);
                }
            }
            "client|capa" => encode::simple(out, words::OK),
            "client|getredir" => encode::integer(out, -1),
            "client|trackinginfo" => self.write_no_tracking(out),
            "client|kill" => error(out, words::CLIENT_KILL),
            "client|unblock" => error(out, words::CLIENT_UNBLOCK),
            "client|reply" => error(out, words::NOT_IN_MULTI_HERE),
            "readonly" | "readwrite" | "asking" => error(out, words::NO_CLUSTER),
            _ => error(out, words::NEVER),
        }
    }

    /// Redis 7.2 networking.c `clientSetinfoCommand`.
    fn set_info(&mut self, option: &[u8], value: &[u8], out: &mut BytesMut) {
        let lib_name = option.eq_ignore_ascii_case(b"lib-name");
        if !lib_name && !option.eq_ignore_ascii_case(b"lib-ver") {
            let text = format!("ERR Unrecognized option '{}'", encode::echo(option));
            return encode::error(out, text.as_bytes());
        }
        let word = if lib_name { "lib-name" } else { "lib-ver" };
        if !is_valid_name(value) {
            let text = format!("ERR {word} cannot contain spaces, newlines or special characters.");
            return encode::error(out, text.as_bytes());
        }
        let about = self.about_mut();
        if lib_name {
            about.lib_name = value.to_vec();
        } else {
            about.lib_ver = value.to_vec();
        }
        encode::simple(out, words::OK);
    }

    /// CLIENT LIST knows the asking client alone (redis networking.c `clientCommand`, LIST).
    fn write_list(&self, request: &Request<'_>, out: &mut BytesMut) {
        let option = request.arg(2).unwrap_or_default();
        let wanted = match (request.len(), request.arg(3)) {
            (2, _) => true,
            (4, Some(kind)) if option.eq_ignore_ascii_case(b"type") => {
                let own: &[u8] = if self.subscriptions.any() { b"pubsub" } else { b"normal" };
                let known: [&[u8]; 5] = [b"normal", b"pubsub", b"master", b"replica", b"slave"];
                if !known.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
                    let text = format!("ERR Unknown client type '{}'", encode::echo(kind));
                    return encode::error(out, text);
                }
                kind.eq_ignore_ascii_case(own)
            }
            (4.., Some(_)) if option.eq_ignore_ascii_case(b"id") => {
                let ids = || request.args().skip(3).map(number::parse_i64);
                if ids().any(|id| id.is_none_or(|id| id < 1)) {
                    return encode::error(out, "ERR Invalid client ID");
                }
                ids().any(|id| id == i64::try_from(self.id).ok())
            }
            _ => return encode::error(out, words::SYNTAX),
        };
        if wanted { self.write_info(out) } else { write_text(out, b"", self.protocol) }
    }

    /// One line of CLIENT LIST, with the fields that are the proxy's to give.
    fn write_info(&self, out: &mut BytesMut) {
        let empty = About::default();
        let about = self.about.as_deref().unwrap_or(&empty);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let count = |kind| self.subscriptions.count(kind);
        let line = format!(
            "id={} addr=127.0.0.1:0 laddr=127.0.0.1:0 fd=0 name={} age=0 idle=0 flags=N db={} sub={} psub={} ssub={} multi={} cmd=client|info user={} redir=-1 resp={} lib-name={} lib-ver={}\n",
            self.id,
            text(&about.name),
            self.database,
            count(Kind::Channel),
            count(Kind::Pattern),
            count(Kind::Shard),
            if self.transaction.is_some() { "0" } else { "-1" },
            self.user.as_str(),
            if self.protocol == Protocol::Resp3 { 3 } else { 2 },
            text(&about.lib_name),
            text(&about.lib_ver),
        );
        write_text(out, line.as_bytes(), self.protocol);
    }

    /// Redis networking.c `clientCommand`, TRACKINGINFO of a client without tracking.
    fn write_no_tracking(&self, out: &mut BytesMut) {
        encode::map(out, 3, self.protocol);
        encode::bulk(out, b"flags");
        encode::set(out, 1, self.protocol);
        encode::bulk(out, b"off");
        encode::bulk(out, b"redirect");
        encode::integer(out, -1);
        encode::bulk(out, b"prefixes");
        encode::array(out, 0);
    }

    /// CLIENT TRACKING and CLIENT CACHING: state of the connection they are said on.
    pub(super) fn track(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Step {
        debug_assert_eq!(spec.effect, Effect::Tracking);
        if spec.name == "client|caching" {
            return self.send(Route::Pinned, Cause::Tracking, Expect::Plain, Class::Other, ctx);
        }
        if request.args().skip(3).any(|option| is_word(option, b"redirect")) {
            return self.refuse_text(words::TRACKING_REDIRECT, out);
        }
        let on = request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"on"));
        if !on && !request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"off")) {
            self.answer(out, |out| encode::error(out, words::SYNTAX));
            return Step::Done;
        }
        // With a connection at hand ON may be on its way.
        if !on && !self.tracking && !ctx.has_lease {
            self.answer(out, |out| encode::simple(out, words::OK));
            return Step::Done;
        }
        self.send(Route::Pinned, Cause::Tracking, Expect::Tracking { on }, Class::Other, ctx)
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

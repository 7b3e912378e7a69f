//! Commands inside MULTI that are the session's own, or change it: what is queued for them, and what
//! becomes of the server's answers.
//!
//! Owns: the ways of [`Special`]. Never knows: when a transaction runs, connections.

use bytes::BytesMut;

use super::state::{Context, Session};
use super::subscriptions::{Frame, classify};
use super::transaction::Special;
use super::{hello, local, tracking, words};
use crate::command::{Effect, Spec};
use crate::resp::{Request, RequestBuf, encode};

impl Special {
    /// Whether the server is not asked: on the wire a PING stands in its place.
    pub(super) const fn stays_here(&self) -> bool {
        matches!(self, Self::Local(..) | Self::Said(_) | Self::Become(_))
    }

    /// Whether it changes the connection that it is executed on.
    pub(super) const fn is_stateful(&self) -> bool {
        match self {
            Self::Select(_)
            | Self::Acknowledged
            | Self::Tracking(_)
            | Self::Hello(_)
            | Self::Manner(..) => true,
            Self::Local(..)
            | Self::Said(_)
            | Self::Become(_)
            | Self::Renamed
            | Self::Names(_)
            | Self::Swallow => false,
        }
    }
}

impl Session {
    /// What is special about a permitted command inside MULTI.
    ///
    /// # Errors
    ///
    /// With the words for one that cannot be queued.
    pub(super) fn special_of(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Result<Option<Special>, &'static str> {
        let argument = |at| request.arg(at).unwrap_or_default();
        let said = |text: &str| {
            let mut line = BytesMut::new();
            encode::error(&mut line, text.as_bytes());
            Some(Special::Said(Box::from(&*line)))
        };
        Ok(match spec.effect {
            Effect::Local => return self.special_of_local(spec, request, ctx),
            Effect::Select => hello::parse_database(argument(1)).ok().map(Special::Select),
            // Each name is acknowledged by itself, and EXEC's array has one place for each command.
            Effect::Subscribe | Effect::Unsubscribe if request.len() == 2 => {
                Some(Special::Acknowledged)
            }
            Effect::Auth => match self.check_auth(request, ctx) {
                Ok(name) => Some(Special::Become(name)),
                Err(text) => said(text),
            },
            Effect::Hello => match self.judge_hello(request, ctx) {
                // The server would hear the client's password, or not know the client's names.
                Ok(greeted) if greeted.user.is_some() => return Err(words::NOT_IN_MULTI_HERE),
                Ok(greeted) => Some(Special::Hello(greeted)),
                Err(text) => said(&text),
            },
            Effect::Monitor => said(words::MONITOR_IN_MULTI),
            Effect::Tracking if spec.name == "client|caching" => None,
            Effect::Tracking if !tracking::redirects(request) => {
                Some(Special::Tracking(argument(2).eq_ignore_ascii_case(b"on")))
            }
            Effect::Subscribe
            | Effect::Unsubscribe
            | Effect::Tracking
            | Effect::Replicate
            | Effect::Never => {
                return Err(words::NOT_IN_MULTI_HERE);
            }
            Effect::Shared | Effect::Block | Effect::Wait | Effect::Unwatch | Effect::Release => {
                None
            }
            Effect::Multi
            | Effect::Exec
            | Effect::Discard
            | Effect::Watch
            | Effect::Quit
            | Effect::Reset => {
                debug_assert!(false, "never queued");
                None
            }
        })
    }

    fn special_of_local(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Result<Option<Special>, &'static str> {
        if !local::serves(spec, ctx.server) {
            return Ok(None);
        }
        let on = request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"on"));
        Ok(match spec.name {
            "client|help" => None,
            "client|unblock" | "client|reply" => return Err(words::NOT_IN_MULTI_HERE),
            "client|no-evict" | "client|no-touch" | "client|import-source" => {
                Some(Special::Manner(spec, on))
            }
            // What was queued before may begin or end it.
            "client|getredir" | "client|trackinginfo" => Some(Special::Renamed),
            "readonly" | "readwrite" if ctx.valkey => {
                Some(Special::Said(Box::from(&b"+OK\r\n"[..])))
            }
            _ => Some(Special::Local(spec, RequestBuf::from_args(request.args()))),
        })
    }

    /// What the server answered in the place of a special command.
    pub(super) fn complete_special(
        &mut self,
        special: Special,
        element: &[u8],
        out: &mut BytesMut,
    ) {
        let ok = element.starts_with(b"+");
        match special {
            Special::Local(spec, request) => {
                return self.write_local(spec, &request.as_request(), None, out);
            }
            Special::Said(reply) => return out.extend_from_slice(&reply),
            Special::Become(name) => {
                return match self.may_become(&name) {
                    Ok(()) => {
                        self.become_user(name, true);
                        encode::simple(out, words::OK);
                    }
                    Err(text) => encode::error(out, text.as_bytes()),
                };
            }
            Special::Renamed => return self.rename_redirect(element, out),
            Special::Names(strip) => return strip.frame(element, out),
            Special::Swallow => return,
            Special::Acknowledged => {
                if let Frame::Ack { kind, total, .. } = classify(element) {
                    self.subscriptions.note(kind, total);
                }
                return self.write_push(element, out);
            }
            Special::Hello(greeted) => {
                if element.starts_with(b"-") {
                    return out.extend_from_slice(element);
                }
                return self.take_hello(greeted, element, out);
            }
            Special::Select(database) if ok => self.database = database,
            Special::Tracking(on) if ok => {
                (self.tracking, self.redirect, self.redirect_broken) = (on, 0, false);
            }
            Special::Manner(spec, on) if ok => {
                if let Some(manner) = self.manners.of(spec) {
                    *manner = on;
                }
            }
            Special::Select(_) | Special::Tracking(_) | Special::Manner(..) => {}
        }
        self.lease_dirty = true;
        out.extend_from_slice(element);
    }
}

//! Commands inside MULTI that are the session's own, or change it: what is queued for them, and what
//! becomes of the server's answers.
//!
//! Owns: the ways of [`Special`]. Never knows: when a transaction runs, connections.

use bytes::BytesMut;

use super::replica::Replication;
use super::state::{Context, Session};
use super::transaction::{Special, Talk};
use super::{hello, pubsub, replication, tracking, words};
use crate::command::{Effect, Local, Spec};
use crate::policy::Strip;
use crate::resp::{Request, RequestBuf, encode};

impl Special {
    /// Whether the server is not asked: on the wire a PING stands in its place.
    pub(super) const fn stays_here(&self) -> bool {
        matches!(
            self,
            Self::Local(..) | Self::Said(_) | Self::Become(_) | Self::Reply(_) | Self::Mute
        )
    }

    /// Whether it changes the connection that it is executed on.
    pub(super) fn is_stateful(&self) -> bool {
        match self {
            Self::Select(_)
            | Self::Acknowledged { .. }
            | Self::Tracking { .. }
            | Self::Hello(_)
            | Self::Announced
            | Self::Manner(..) => true,
            Self::Late { request, .. } => !is_unblock(&request.as_request()),
            Self::Local(..)
            | Self::Said(_)
            | Self::Reply(_)
            | Self::Mute
            | Self::Become(_)
            | Self::Renamed(_)
            | Self::Names(_)
            | Self::Swallow => false,
        }
    }
}

/// The answer of the proxy's own, an error.
fn said(text: &str) -> Special {
    let mut line = BytesMut::new();
    encode::error(&mut line, text.as_bytes());
    Special::Said(Box::from(&*line))
}

fn is_unblock(request: &Request<'_>) -> bool {
    request.arg(1).is_some_and(|word| word.eq_ignore_ascii_case(b"unblock"))
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
        ctx: &mut Context<'_>,
    ) -> Result<Option<Special>, &'static str> {
        let argument = |at| request.arg(at).unwrap_or_default();
        Ok(match spec.effect {
            Effect::Local(local) => self.special_of_local(local, spec, request, ctx),
            Effect::Select => hello::parse_database(argument(1)).ok().map(Special::Select),
            Effect::Subscribe | Effect::Unsubscribe => {
                let named = u32::try_from(request.len() - 1).unwrap_or(u32::MAX);
                Some(Special::Acknowledged { kind: pubsub::kind_of(spec), named })
            }
            Effect::Auth => match self.check_auth(request, ctx) {
                Ok(name) => Some(Special::Become(name)),
                Err(text) => Some(said(text)),
            },
            Effect::Hello => match self.judge_hello(request, ctx) {
                Ok(greeted) => Some(Special::Hello(greeted)),
                Err(text) => Some(said(&text)),
            },
            Effect::Monitor => Some(said(words::MONITOR_IN_MULTI)),
            Effect::Caching => None,
            Effect::Tracking if tracking::redirects(request) && !self.is_numbered(ctx) => {
                Some(self.late(&tracking::words_of(request, ctx)))
            }
            Effect::Tracking => {
                let (on, broadcast) = (tracking::turns_on(request), tracking::is_broad(request));
                Some(Special::Tracking { on, broadcast, redirect: 0 })
            }
            Effect::Replicate { .. } if replication::has_no_reply(request) => Some(Special::Mute),
            Effect::Replicate { .. } => Some(Special::Announced),
            Effect::Never => return Err(words::NOT_IN_MULTI_HERE),
            Effect::Shared
            | Effect::Ping
            | Effect::Pushes
            | Effect::Block(_)
            | Effect::Wait
            | Effect::Unwatch
            | Effect::Release => None,
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
        local: Local,
        spec: &'static Spec,
        request: &Request<'_>,
        ctx: &Context<'_>,
    ) -> Option<Special> {
        let on = request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"on"));
        match local {
            Local::Help => None,
            Local::Unblock => Some(self.late(&tracking::words_of_request(request))),
            Local::Reply => Some(match request.arg(2).unwrap_or_default() {
                word if word.eq_ignore_ascii_case(b"on") => Special::Reply(Talk::On),
                word if word.eq_ignore_ascii_case(b"off") => Special::Reply(Talk::Off),
                word if word.eq_ignore_ascii_case(b"skip") => Special::Reply(Talk::Skip),
                _ => said(words::SYNTAX),
            }),
            Local::NoEvict | Local::NoTouch | Local::ImportSource => {
                Some(Special::Manner(spec, on))
            }
            // What was queued before may begin or end it.
            Local::GetRedirect | Local::TrackingInfo => Some(Special::Renamed(None)),
            Local::WhoAmI
            | Local::Asking
            | Local::ReadOnly
            | Local::ReadWrite
            | Local::Capa
            | Local::GetName
            | Local::Id
            | Local::Info
            | Local::Kill
            | Local::List
            | Local::SetInfo
            | Local::SetName => {
                self.roster.note_server(ctx.server);
                Some(Special::Local(spec, RequestBuf::from_args(request.args())))
            }
        }
    }

    /// A command that names another client, at the end of what is queued so far.
    fn late(&self, words: &[Vec<u8>]) -> Special {
        let at = self.transaction.as_ref().map_or(0, |transaction| transaction.wire.len());
        Special::Late { at, request: RequestBuf::from_args(words) }
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
                        self.log_in(name);
                        encode::simple(out, words::OK);
                    }
                    Err(text) => encode::error(out, text.as_bytes()),
                };
            }
            Special::Renamed(None) => return self.rename_redirect(element, out),
            Special::Renamed(Some(strip)) => {
                let mut own = BytesMut::new();
                self.rename_redirect(element, &mut own);
                return strip.frame(&own, out);
            }
            Special::Names(strip) => return strip.frame(element, out),
            Special::Swallow | Special::Mute => return,
            Special::Hello(greeted) => {
                if element.starts_with(b"-") {
                    return out.extend_from_slice(element);
                }
                return self.take_hello(greeted, element, out);
            }
            Special::Select(database) if ok => self.database = database,
            Special::Tracking { on, broadcast, redirect } if ok => {
                self.note_tracking(on, broadcast, redirect);
            }
            Special::Announced if self.replication == Replication::No => {
                self.replication = Replication::Announced;
            }
            Special::Manner(spec, on) if ok => {
                if let Some(manner) = self.manners.of(spec) {
                    *manner = on;
                }
            }
            // Its error names prefixes as the server knows them.
            Special::Tracking { .. } if self.names.is_some() => {
                let names = self.names.clone().map(Strip::of_errors);
                return names.into_iter().for_each(|strip| strip.frame(element, out));
            }
            Special::Select(_)
            | Special::Tracking { .. }
            | Special::Manner(..)
            | Special::Announced
            | Special::Acknowledged { .. } => {}
            Special::Late { .. } | Special::Reply(_) => {
                debug_assert!(false, "looked up before, or dealt with elsewhere");
            }
        }
        self.lease_dirty = true;
        out.extend_from_slice(element);
    }
}

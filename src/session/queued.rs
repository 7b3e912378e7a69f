//! Commands inside MULTI that are the session's own, or change it: what is queued for them, and what
//! becomes of the server's answers.
//!
//! Owns: the ways of [`ExecFixup`]. Never knows: when a transaction runs, connections.

use bytes::BytesMut;

use super::replica::Replication;
use super::residue::Residue;
use super::state::{Context, Session};
use super::transaction::{ExecFixup, Talk};
use super::{client_text, hello, pubsub, replication, tracking};
use crate::command::{Effect, Local, Spec};
use crate::policy::Strip;
use crate::resp::{Request, RequestBuf, encode};

impl ExecFixup {
    /// Whether the server is not asked: on the wire a PING takes its place.
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
fn said(text: &str) -> ExecFixup {
    let mut line = BytesMut::new();
    encode::error(&mut line, text.as_bytes());
    ExecFixup::Said(Box::from(&*line))
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
    ) -> Result<Option<ExecFixup>, &'static str> {
        let argument = |at| request.arg(at).unwrap_or_default();
        Ok(match spec.effect {
            Effect::Local(local) => self.special_of_local(local, spec, request, ctx),
            Effect::Select => hello::parse_database(argument(1)).ok().map(ExecFixup::Select),
            Effect::Subscribe | Effect::Unsubscribe => {
                let named = u32::try_from(request.len() - 1).unwrap_or(u32::MAX);
                Some(ExecFixup::Acknowledged { kind: pubsub::kind_of(spec), named })
            }
            Effect::Auth => match self.check_auth(request, ctx) {
                Ok(name) => Some(ExecFixup::Become(name)),
                Err(text) => Some(said(text)),
            },
            Effect::Hello => match self.judge_hello(request, ctx) {
                Ok(greeted) => Some(ExecFixup::Hello(greeted)),
                Err(text) => Some(said(&text)),
            },
            Effect::Monitor => Some(said(client_text::MONITOR_IN_MULTI)),
            Effect::Caching => None,
            Effect::Tracking if tracking::redirects(request) && !self.is_numbered(ctx) => {
                Some(self.late(&tracking::words_of(request, ctx)))
            }
            Effect::Tracking => {
                let (on, broadcast) = (tracking::turns_on(request), tracking::is_broad(request));
                Some(ExecFixup::Tracking { on, broadcast, redirect: 0 })
            }
            Effect::Replicate { .. } if replication::has_no_reply(request) => Some(ExecFixup::Mute),
            Effect::Replicate { .. } => Some(ExecFixup::Announced),
            Effect::Never => return Err(client_text::NOT_IN_MULTI_HERE),
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
    ) -> Option<ExecFixup> {
        let on = request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"on"));
        match local {
            Local::Help => None,
            Local::Unblock => Some(self.late(&tracking::words_of_request(request))),
            Local::Reply => Some(match request.arg(2).unwrap_or_default() {
                word if word.eq_ignore_ascii_case(b"on") => ExecFixup::Reply(Talk::On),
                word if word.eq_ignore_ascii_case(b"off") => ExecFixup::Reply(Talk::Off),
                word if word.eq_ignore_ascii_case(b"skip") => ExecFixup::Reply(Talk::Skip),
                _ => said(client_text::SYNTAX),
            }),
            Local::NoEvict | Local::NoTouch | Local::ImportSource => {
                Some(ExecFixup::Manner(spec, on))
            }
            // What was queued before may begin or end it.
            Local::GetRedirect | Local::TrackingInfo => Some(ExecFixup::Renamed(None)),
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
                Some(ExecFixup::Local(spec, RequestBuf::from_args(request.args())))
            }
        }
    }

    /// A command that names another client, at the end of what is queued so far.
    fn late(&self, words: &[Vec<u8>]) -> ExecFixup {
        let at = self.transaction.as_ref().map_or(0, |transaction| transaction.wire.len());
        ExecFixup::Late { at, request: RequestBuf::from_args(words) }
    }

    /// What the server answered in the place of a special command.
    pub(super) fn complete_special(
        &mut self,
        special: ExecFixup,
        element: &[u8],
        out: &mut BytesMut,
    ) {
        let ok = element.starts_with(b"+");
        match special {
            ExecFixup::Local(spec, request) => {
                return self.write_local(spec, &request.as_request(), None, out);
            }
            ExecFixup::Said(reply) => return out.extend_from_slice(&reply),
            ExecFixup::Become(name) => {
                return match self.may_become(&name) {
                    Ok(()) => {
                        self.log_in(name);
                        encode::simple(out, client_text::OK);
                    }
                    Err(text) => encode::error(out, text.as_bytes()),
                };
            }
            ExecFixup::Renamed(None) => return self.rename_redirect(element, out),
            ExecFixup::Renamed(Some(strip)) => {
                let mut own = BytesMut::new();
                self.rename_redirect(element, &mut own);
                return strip.frame(&own, out);
            }
            ExecFixup::Names(strip) => return strip.frame(element, out),
            ExecFixup::Swallow | ExecFixup::Mute => return,
            ExecFixup::Hello(greeted) => {
                if element.starts_with(b"-") {
                    return out.extend_from_slice(element);
                }
                return self.take_hello(greeted, element, out);
            }
            ExecFixup::Select(database) if ok => self.database = database,
            ExecFixup::Tracking { on, broadcast, redirect } if ok => {
                self.note_tracking(on, broadcast, redirect);
            }
            ExecFixup::Announced if self.replication == Replication::No => {
                self.replication = Replication::Announced;
            }
            ExecFixup::Manner(spec, on) if ok => {
                if let Some(manner) = self.flags.of(spec) {
                    *manner = on;
                }
            }
            // Its error names prefixes as the server knows them.
            ExecFixup::Tracking { .. } if self.names.is_some() => {
                let names = self.names.clone().map(Strip::of_errors);
                return names.into_iter().for_each(|strip| strip.frame(element, out));
            }
            ExecFixup::Select(_)
            | ExecFixup::Tracking { .. }
            | ExecFixup::Manner(..)
            | ExecFixup::Announced
            | ExecFixup::Acknowledged { .. } => {}
            ExecFixup::Late { .. } | ExecFixup::Reply(_) => {
                debug_assert!(false, "looked up before, or dealt with elsewhere");
            }
        }
        self.residue.note(Residue::Dirty);
        out.extend_from_slice(element);
    }
}

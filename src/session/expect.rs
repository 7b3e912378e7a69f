//! The purpose of each reply that is expected.
//!
//! Owns: [`Expect`]. Never knows: its place in line, what it changes in the session.

use super::exec_reply::ExecReply;
use super::greeted::Greeted;
use super::own::OwnReply;
use super::script_cache::NoscriptRetry;
use super::subscriptions::Kind;
use crate::command::Spec;
use crate::policy::Strip;

/// What the session must do when a remote reply has arrived.
#[derive(Debug)]
pub(super) enum Expect {
    /// Pass it on.
    Plain,
    /// The answer to EXEC: pass it on, unless MULTI or a queued command was refused.
    Block,
    /// The proxy itself asked for the reply; the client never sees it.
    Hidden,
    /// The answer to a PING of the proxy's own, on a connection that only listens.
    Alive,
    /// The session itself asked for it, for the request that waits: a page of a scan, or another answer.
    Page,
    /// Names in it carry the prefix of the policy.
    Names(Strip),
    /// Acknowledgements of a SUBSCRIBE or UNSUBSCRIBE; `None` until it is known how many.
    Acks { named: u32, left: Option<u32>, kind: Kind, subscribe: bool },
    /// `+OK` to WATCH or UNWATCH.
    Watch,
    /// The answer to SELECT on a connection of the session's own.
    Select(u32),
    /// The answer to EXEC whose array the proxy completes.
    Exec(Box<ExecReply>),
    /// The answer to a script that the server may not have.
    Script(Box<NoscriptRetry>),
    /// The answer to CLIENT TRACKING; `redirect` is the client that shall receive the invalidations.
    Tracking { on: bool, broadcast: bool, redirect: i64 },
    /// The answer to CLIENT GETREDIR or TRACKINGINFO: it names a client by its number at the server.
    Redirect(Option<Strip>),
    /// The answer to CLIENT NO-EVICT and the like.
    Manner { spec: &'static Spec, on: bool },
    /// The answer to HELLO on a connection of the session's own.
    Hello(Box<Greeted>),
    /// The answer to MONITOR.
    Monitor,
    /// The answer to what went to the session's own connection.
    Own(OwnReply),
}

impl Expect {
    /// Bytes that are kept of a transaction until it is answered.
    #[inline(always)]
    pub(super) fn held_bytes(&self) -> usize {
        if let Self::Exec(executed) = self { executed.held_bytes() } else { 0 }
    }

    /// Whether nothing of the session is judged before it is answered.
    pub(super) fn holds_others(&self) -> bool {
        if let Self::Exec(executed) = self {
            return executed.holds;
        }
        if let Self::Script(retry) = self {
            return retry.held;
        }
        matches!(self, Self::Select(_) | Self::Hello(_))
    }
}

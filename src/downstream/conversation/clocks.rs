//! How long a client connection may rest in each of its states.
//!
//! Owns: the deadlines and what follows when one has passed. Never knows: the meaning of a request, sockets.
//!
//! | A client that | has until |
//! |---|---|
//! | has not logged in | `limits.login_timeout` |
//! | is idle | `limits.idle_timeout` |
//! | has sent a part of a request, or leaves replies unread | `limits.transfer_timeout` |
//! | leaves replies unread that hold up more than itself | `limits.output_soft_time` |
//! | waits for a reply on its pinned connection | `upstream.pool.command_timeout` |
//! | waits for a reply on a shared connection | the same, kept by that connection |
//! | receives nothing while it is subscribed | `upstream.pool.health_check_interval`, then the reply to a PING |
//! | sends a large request | `upstream.pool.command_timeout` |
//! | waits for a pinned connection | `upstream.pool.acquire_timeout` |
//! | waits for its turn under a limit | `policy.limit.max_delay` |
//! | keeps a pinned connection of an older identity | `upstream.pool.pinned_grace` |
//! | is to be closed | five seconds |
//!
//! A blocked client waits as long as the server lets it, a subscribed one as long as the server answers.

use std::time::Instant;

use super::host::{Host, Notice, PendingStep};
use super::inbound::Body;
use super::loan::{abandon_upload, lose_lease};
use super::progress::Progress;
use super::state::Conversation;
use crate::base::limits;
use crate::telemetry::ClientDisconnect;
use crate::traffic::Loss;

/// When the conversation must be looked at again, whatever happens until then.
#[must_use]
#[inline(always)]
pub(crate) fn deadline<H: Host>(of: &Conversation, host: &H) -> Option<Instant> {
    if of.is_simple()
        && !of.outlet.allocated().is_some_and(Progress::is_measured)
        && !of.is_ending()
        && of.inbound.is_idle()
        && of.session.is_authenticated()
    {
        let idle = idle_deadline(of);
        debug_assert_eq!(idle, earliest(of, host), "the short way leads to another time");
        return idle;
    }
    earliest(of, host)
}

/// The earliest of all deadlines.
fn earliest<H: Host>(of: &Conversation, host: &H) -> Option<Instant> {
    let ending = of.ending.reason.map(|(_, until)| until);
    let later = |moment: &Instant| *moment > of.now;
    let grace = of.leased.grace_end(host).filter(later);
    let last = of.leased.grace_last(host).filter(later);
    let rest = of.leased.loan.pacer.paused_until().filter(|at| of.has_lease() && later(at));
    let quiet = of.outlet.quiet_at().filter(later);
    let lease =
        [lease_deadline(of, host), upload_deadline(of, host), idle_lease_deadline(of, host), grace];
    let lease = lease.into_iter().chain([probe_deadline(of, host)]);
    let rest = [last, rest, quiet, outlet_deadline(of, host)];
    let pause = match of.inbound.waiting() {
        PendingStep::Pause(until) | PendingStep::Room(until) => Some(until),
        PendingStep::No | PendingStep::Reply | PendingStep::Lease(_) | PendingStep::Open(_) => None,
    };
    let own = [idle_deadline(of), login_deadline(of), transfer_deadline(of)];
    let own = own.into_iter().chain([ending, pause]);
    own.chain(lease).chain(rest).flatten().min()
}

/// A deadline has passed: what follows is done; returns why the connection is to be closed, if it is.
pub(crate) fn expire<H: Host>(of: &mut Conversation, host: &mut H) -> Option<ClientDisconnect> {
    let now = of.now;
    let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
    of.check_invariants();
    if let Some((why, until)) = of.ending.reason
        && now >= until
    {
        return Some(why);
    }
    if is_over(outlet_deadline(of, host)) {
        return Some(ClientDisconnect::OutputLimit);
    }
    if is_over(idle_deadline(of)) {
        return Some(ClientDisconnect::Idle);
    }
    if is_over(login_deadline(of)) {
        return Some(ClientDisconnect::LoginTimeout);
    }
    if is_over(transfer_deadline(of)) {
        return Some(ClientDisconnect::Stalled);
    }
    if is_over(probe_deadline(of, host)) {
        let (ticket, bytes) = of.session.ask_alive(now);
        of.sending.ask(ticket, bytes, now, host);
        debug_assert!(probe_deadline(of, host).is_none(), "two signs of life are asked for");
    }
    if is_over(idle_lease_deadline(of, host)) {
        of.session.forget_large_reply();
        debug_assert!(!of.session.keeps_idle_lease(), "the pinned connection is kept for ever");
    }
    if is_over(upload_deadline(of, host)) {
        host.notice(Notice::UploadTimedOut);
        abandon_upload(of, Loss::TimedOut, host);
    }
    if is_over(lease_deadline(of, host)) {
        let loss = if host.is_silent() { Loss::OutcomeUnknown } else { Loss::TimedOut };
        lose_lease(of, loss, host);
    }
    of.check_invariants();
    None
}

fn login_deadline(of: &Conversation) -> Option<Instant> {
    let limit = of.limits.login_timeout;
    let waits = !limit.is_zero() && !of.session.is_authenticated();
    debug_assert!(of.session.since() <= of.now, "the client comes later");
    waits.then(|| of.session.since() + limit)
}

/// When no more of a request has come, or no reply was read, for too long.
fn transfer_deadline(of: &Conversation) -> Option<Instant> {
    let limit = of.limits.transfer_timeout;
    if limit.is_zero() {
        return None;
    }
    let sends = !of.inbound.scanner.is_idle() || of.inbound.body == Body::Discard;
    let awaited = !of.inbound.is_waiting() && of.inbound.presented().is_none();
    let request = (sends && awaited && of.session.in_flight() == 0)
        .then(|| of.last_received + limit)
        .filter(|_| of.inbound.body != Body::Forward);
    debug_assert!(of.last_received <= of.now, "something comes later");
    request.into_iter().chain(of.outlet.deadline(limit)).min()
}

#[inline(always)]
fn idle_deadline(of: &Conversation) -> Option<Instant> {
    let idle = of.limits.idle_timeout;
    if idle.is_zero() {
        return None;
    }
    let idles = of.session.is_idle() && of.inbound.presented().is_none();
    idles.then(|| of.last_received + idle)
}

/// When the client has not read its replies for too long, while that holds up more than
/// itself: buffers, a connection to the server, or its own requests, which nothing else would end.
fn outlet_deadline<H: Host>(of: &Conversation, host: &H) -> Option<Instant> {
    let holds_lease = of.has_lease()
        && !host.is_dedicated()
        && !of.session.state_lost_with_lease()
        && of.session.in_flight() > 0;
    let holds = holds_lease
        || of.out.len() > of.limits.output_soft_bytes
        || !of.inbound.pending.is_empty()
        || host.holds_up()
        || host.is_aside();
    of.outlet.deadline(of.limits.output_soft_time).filter(|_| holds)
}

/// When the oldest request on the pinned connection has waited too long for its reply, or for the
/// rest of it: after the time for which it blocks, and after the reply before it.
fn lease_deadline<H: Host>(of: &Conversation, host: &H) -> Option<Instant> {
    if !of.has_lease() || of.inbound.body == Body::Forward || !of.out.is_empty() {
        return None;
    }
    let begun = of.session.reply_has_begun();
    debug_assert!(
        !begun || of.session.has_pinned_requests(),
        "some of a reply to nothing has come"
    );
    of.leased.reply_deadline(of.session.pinned_since()?, begun, host.command_timeout())
}

/// When the server is asked for a sign of life, on a connection that only listens and has been silent.
fn probe_deadline<H: Host>(of: &Conversation, host: &H) -> Option<Instant> {
    let is_due = of.has_lease()
        && !host.command_timeout().is_zero()
        && !of.inbound.is_waiting()
        && of.inbound.body == Body::No
        && of.inbound.presented().is_none()
        && of.session.only_listens();
    debug_assert!(!is_due || of.session.in_flight() == 0, "a reply is a sign of life as well");
    let read_at = of.leased.loan.read_at.unwrap_or_else(|| of.session.since());
    is_due.then(|| read_at + host.health_check_interval())
}

/// When the rest of a large request has failed to come, or to go on to the server, for too long.
fn upload_deadline<H: Host>(of: &Conversation, host: &H) -> Option<Instant> {
    let timeout = host.command_timeout();
    let passes = of.inbound.body == Body::Forward && !timeout.is_zero();
    let deadline = of.leased.loan.upload.deadline(timeout).filter(|_| passes);
    debug_assert!(!passes || !of.has_lease() || deadline.is_some(), "an upload waits for ever");
    deadline
}

/// When the pinned connection has been kept long enough for replies that do not come.
fn idle_lease_deadline<H: Host>(of: &Conversation, host: &H) -> Option<Instant> {
    let is_idle = of.has_lease() && !host.is_dedicated() && of.session.keeps_idle_lease();
    debug_assert!(!is_idle || of.session.in_flight() == 0, "it is still used");
    (is_idle && of.out.is_empty()).then(|| of.last_received + limits::LARGE_REPLY_LEASE_IDLE)
}

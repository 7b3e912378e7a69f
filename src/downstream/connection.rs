//! One client connection: the order in which it reads, asks, waits, answers and ends.
//!
//! Owns: [`Connection`]. Never knows: what a command means, how the server is reached.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use super::bulk_pacer::BulkPacer;
use super::metrics::Passed;
use super::notes::Counts;
use super::progress::Progress;
use super::worker::Worker;
use crate::base::clock;
use crate::base::live::Live;
use crate::config::ClientLimits;
use crate::policy::Policy;
use crate::resp::RequestScanner;
use crate::session::{Cause, LimiterRegistry, Limiters, ListenerAccess, Peer, Seat, Session};
use crate::telemetry::ClientDisconnect;
use crate::traffic::{Facts, OpenFailure};
use crate::upstream::{Lease, Mailbox, Shared, yield_to_io};

/// How long a connection that is to be closed may take to read its last replies.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);
/// Rounds of one connection before other tasks get their turn.
const ROUNDS_PER_TURN: u32 = 3;

/// What the request at the front of the client's bytes waits for.
pub(super) enum PendingStep {
    No,
    /// A reply: everything in flight must be answered first.
    Reply,
    /// Until then, or for its turn: a limit of the policy.
    Pause(Instant),
    /// Until the audit log has room, or until then.
    Room(Instant),
    Lease(Cause, Pin<Box<dyn Future<Output = Result<Lease, OpenFailure>>>>),
    Open(Pin<Box<dyn Future<Output = Result<Facts, OpenFailure>>>>),
}

/// What becomes of the rest of a large request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    No,
    /// On to the pinned connection.
    ToLease,
    /// Nowhere.
    Away,
}

/// The shell around one session.
pub(super) struct Connection<S> {
    pub id: u64,
    pub stream: S,
    pub worker: Rc<Worker>,
    /// Where the listener's rules of the moment are, and those last seen.
    pub live_access: Live<ListenerAccess>,
    pub access: Arc<ListenerAccess>,
    /// The policy of the session's user.
    pub policy: Arc<Policy>,
    pub limiter_registry: Rc<LimiterRegistry>,
    pub limiters: Limiters,
    pub limits: Arc<ClientLimits>,
    pub session: Session,
    /// Where it is shown to others.
    pub seat: Rc<Seat>,
    pub scanner: RequestScanner,
    /// Bytes of the client that are not consumed yet; empty while the client is idle.
    pub pending: BytesMut,
    /// A request at the front of `pending` was scanned and presented: so long, and only a head.
    pub presented: Option<(usize, bool)>,
    pub out: BytesMut,
    /// The stream may keep some of what was written: TLS does when the socket is full.
    pub unflushed: bool,
    pub mailbox: Rc<Mailbox>,
    pub shared: Option<Rc<Shared>>,
    pub lease: Option<Box<(Lease, Cause)>>,
    pub waiting: PendingStep,
    pub passing: Body,
    /// What follows the last byte of the request that is passing.
    pub tail: Box<[u8]>,
    /// No further argument of the request under way may be longer, whatever `limits` says.
    pub argument_max: Option<u64>,
    /// Bytes sent since nothing was in flight.
    pub sent_bytes: usize,
    pub eof: bool,
    /// A malformed request came while replies were off: nothing more is understood.
    pub deaf: bool,
    /// The socket had nothing more when it was asked in this turn, and will wake the task.
    pub socket_empty: bool,
    pub ending: Option<(ClientDisconnect, Instant)>,
    pub now: Instant,
    /// Milliseconds since 1970 in this turn, once somebody asked; 0 before.
    pub unix_ms: u64,
    /// When the client was accepted.
    pub since: Instant,
    pub last_heard: Instant,
    /// How the client takes the replies that wait for it.
    pub outlet: Progress,
    /// How a large request moves on to the pinned connection, and when the last one was complete.
    pub upload: Progress,
    pub uploaded_at: Instant,
    /// When the request before the oldest one on the pinned connection was answered.
    pub lease_turn: Instant,
    /// When the pinned connection was last heard.
    pub lease_heard: Instant,
    /// When something was written to it last.
    pub last_spoken: Instant,
    pub passed: Passed,
    pub counts: Counts,
    /// How a large value under way gives precedence to others.
    pub pacer: BulkPacer,
    timer: Option<Pin<Box<Sleep>>>,
    pub accounted: usize,
    /// How many changes of access rules this connection has applied.
    pub access_seen: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        stream: S,
        worker: Rc<Worker>,
        live_access: Live<ListenerAccess>,
        limiter_registry: Rc<LimiterRegistry>,
        peer: Peer,
    ) -> (u64, Box<Self>) {
        let now = clock::now();
        let (seat, mailbox) = worker.admit(peer, now);
        let id = seat.id;
        let access = live_access.get();
        let outage = worker.upstream.on_outage();
        let roster = Rc::clone(&worker.roster);
        let mut session = Session::enter(roster, Rc::clone(&seat), &access.auth, outage);
        let policy = session.policy(&access).unwrap_or_else(|| Arc::clone(&access.policy));
        seat.note_policy(&policy);
        worker.guard_scripts_of(&policy);
        let limiters = limiter_registry.limiters(&policy, seat.peer(), now);
        let counts = Counts::new(worker.metrics.tally(&policy));
        let connection = Box::new(Self {
            id,
            stream,
            policy,
            limiter_registry,
            limiters,
            session,
            seat,
            live_access,
            access,
            access_seen: worker.access_changes(),
            limits: worker.limits.get(),
            worker,
            scanner: RequestScanner::default(),
            pending: BytesMut::new(),
            presented: None,
            out: BytesMut::new(),
            unflushed: false,
            mailbox,
            shared: None,
            lease: None,
            waiting: PendingStep::No,
            passing: Body::No,
            tail: Box::default(),
            argument_max: None,
            sent_bytes: 0,
            eof: false,
            deaf: false,
            socket_empty: false,
            ending: None,
            now,
            unix_ms: 0,
            since: now,
            last_heard: now,
            outlet: Progress::default(),
            upload: Progress::default(),
            uploaded_at: now,
            lease_turn: now,
            lease_heard: now,
            last_spoken: now,
            passed: Passed::default(),
            counts,
            pacer: BulkPacer::default(),
            timer: None,
            accounted: 0,
        });
        connection.show();
        (id, connection)
    }

    /// Serves the client until it is gone; says why it went.
    pub(super) async fn serve(mut self: Box<Self>) -> ClientDisconnect {
        let why = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.report_end(why);
        if why == ClientDisconnect::UpstreamLost {
            self.worker.upstream.note_client_closed();
        }
        why
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ClientDisconnect> {
        self.now = clock::now();
        self.worker.roster.note_time(self.now);
        let polled = self.take_turn(cx);
        self.count_in_flight();
        self.show();
        polled
    }

    fn take_turn(&mut self, cx: &mut Context<'_>) -> Poll<ClientDisconnect> {
        self.unix_ms = 0;
        self.socket_empty = false;
        self.notice_doors();
        if self.seat.is_killed() {
            self.end_now(ClientDisconnect::Killed);
        }
        for _ in 0..ROUNDS_PER_TURN {
            let mut progress = self.take_replies(cx);
            if !self.is_simple() {
                progress |= self.poll_lease(cx);
                progress |= self.poll_waiting(cx);
                // What the replies have made of the pinned connection comes before the next request.
                self.release_if_free();
            }
            self.notice_cut();
            progress |= self.intake(cx);
            self.notice_cut();
            self.notice_degraded();
            if self.lease.is_some() {
                self.release_if_free();
            }
            match self.write(cx) {
                Ok(wrote) => progress |= wrote,
                Err(why) => return Poll::Ready(why),
            }
            if let Some(why) = self.account() {
                return Poll::Ready(why);
            }
            if let Some(why) = self.ended() {
                return Poll::Ready(why);
            }
            if !progress || (self.is_simple() && self.pending.is_empty() && self.socket_empty) {
                return self.poll_timer(cx);
            }
            if self.moves_bulk() {
                if self.pacer.note_round(self.worker.shared_requests(), self.now) {
                    return self.poll_timer(cx);
                }
                break;
            }
            self.pacer.note_end();
        }
        yield_to_io(cx);
        Poll::Pending
    }

    /// Whether nothing is waited for but replies of the shared connection and the client itself.
    pub(super) const fn is_simple(&self) -> bool {
        self.lease.is_none() && matches!(self.waiting, PendingStep::No)
    }

    /// The connection is to be closed once everything before is answered and read.
    pub(super) fn end(&mut self, why: ClientDisconnect) {
        if self.ending.is_none() {
            self.ending = Some((why, self.now + GOODBYE));
        }
        self.pending = BytesMut::new();
        self.presented = None;
        self.passing = Body::Away;
    }

    /// The connection is to be closed at once.
    pub(super) fn end_now(&mut self, why: ClientDisconnect) {
        self.end(why);
        self.ending = Some((why, self.now));
    }

    /// The rest of a stream that has ended waits for its reader for as long as any output does.
    pub(super) fn allow_slow_end(&mut self) {
        let Some((ClientDisconnect::UpstreamLost, until)) = &mut self.ending else { return };
        if *until > self.now && !self.out.is_empty() {
            self.outlet.begin(self.now);
            let slow = self.outlet.deadline(self.limits.output_soft_time);
            *until = slow.map_or(*until, |slow| slow.max(*until));
        }
    }

    fn ended(&mut self) -> Option<ClientDisconnect> {
        if self.session.says_farewell() {
            self.end(ClientDisconnect::Killed);
        }
        if self.ending.is_none()
            && self.worker.is_leaving()
            && self.session.is_idle()
            && self.pending.is_empty()
        {
            self.end(ClientDisconnect::Drain);
        }
        let finished = self.session.is_settled() && self.out.is_empty() && !self.unflushed;
        if let Some((why, until)) = self.ending {
            return (finished || self.now >= until).then_some(why);
        }
        if !self.eof {
            return None;
        }
        // A client that left while its blocking command waits is told nothing, and nothing is
        // popped for nobody: the pinned connection closes with this one. Other replies are still
        // written: the client may have closed its sending half only.
        let waits = !matches!(self.waiting, PendingStep::No) || self.presented.is_some();
        let left = self.session.is_blocked() || self.passing == Body::ToLease || self.gives_up();
        (left || (finished && !waits)).then_some(ClientDisconnect::Client)
    }

    /// Writes what need not be copied; what the client does not take of it waits.
    pub(super) fn write_through(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        let mut rest = bytes;
        if self.out.is_empty()
            && let Poll::Ready(Ok(count)) = Pin::new(&mut self.stream).poll_write(cx, bytes)
        {
            self.note_written(count);
            self.unflushed = true;
            rest = bytes.get(count..).unwrap_or_default();
        }
        self.out.extend_from_slice(rest);
    }

    /// Writes as much as the client takes.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, ClientDisconnect> {
        let mut wrote = 0;
        while !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    // Emptied, the buffer keeps its room; advanced to its end it would have none.
                    if count == self.out.len() {
                        self.out.clear();
                    } else {
                        self.out.advance(count);
                    }
                    wrote += count;
                }
                Poll::Ready(_) => return Err(ClientDisconnect::Reset),
                Poll::Pending => break,
            }
        }
        if wrote > 0 || self.unflushed {
            let flushed = Pin::new(&mut self.stream).poll_flush(cx);
            if let Poll::Ready(Err(_)) = flushed {
                return Err(ClientDisconnect::Reset);
            }
            self.unflushed = flushed.is_pending();
        }
        if wrote > 0 {
            self.note_written(wrote);
            self.outlet.note(wrote, self.now);
            self.allow_slow_end();
        }
        if self.out.is_empty() {
            self.outlet.end();
            if self.out.capacity() > 0 {
                self.worker.buffers.put(std::mem::take(&mut self.out));
            }
        } else {
            self.outlet.begin(self.now);
        }
        self.mailbox.note_unread(self.out.len());
        Ok(wrote > 0)
    }

    /// Waits for the next thing to happen, with the earliest deadline as an end.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<ClientDisconnect> {
        let Some(deadline) = self.deadline() else {
            self.timer = None;
            return Poll::Pending;
        };
        if self.now >= deadline {
            if let Some(why) = self.expire() {
                return Poll::Ready(why);
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if timer.deadline() != deadline.into() {
            timer.as_mut().reset(deadline.into());
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

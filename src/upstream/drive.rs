//! Drives one connection that is up: reads and writes together, sleeps, and carries out what is decided.
//!
//! Owns: the order of writing, reading and waiting. Never knows: sessions, the meaning of a request, how a
//! connection is made, when it is given up.

mod relief;
mod serving;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::time::Sleep;

use super::carrier::{Carrier, Relieved, Served, Step, TURN};
use super::connection::{Action, Around, BUSY_TICK, Timing};
use super::context::UpstreamContext;
use super::dial::ServerConnection;
use super::ended::Ended;
use super::failure::DialError;
use super::login_script;
use super::mailbox::Mailbox;
use super::owner::Owner;
use super::pipeline::{Answered, Broken};
use super::shared::{Shared, answer_all};
use super::yield_to_io::yield_to_io;
use crate::base::late_wake::LateWake;
use crate::base::{clock, limits};
use crate::traffic::Loss;
pub(super) use relief::Beside;
use relief::{id_of, outcome};
pub(super) use serving::report_lost;
use serving::{Arrival, Serving, remark};

/// Reads in a row before other tasks get their turn.
const READS_PER_TURN: u32 = 4;

type Dialing = Pin<Box<dyn Future<Output = Result<ServerConnection, DialError>>>>;

struct Driver<'a> {
    serving: Serving<'a>,
    shared: &'a Rc<Shared>,
    context: &'a Rc<UpstreamContext>,
    beside: Beside<'a>,
    carrier: Carrier<ServerConnection>,
    link: ServerConnection,
    read: Box<[u8]>,
    timer: Pin<Box<Sleep>>,
    timer_at: Instant,
    late_wake: LateWake,
    write_blocked: bool,
    flush_pending: bool,
    last_batch_owners: u32,
    dialing: Option<Dialing>,
    /// The generation of the credentials that a login in line is with.
    login: Option<u64>,
    relief: Option<Dialing>,
    /// The reply by which the server refused `relief`, since it is busy with a script.
    busy: Box<[u8]>,
}

/// Serves the connection until it ends.
pub(super) async fn drive(
    shared: &Rc<Shared>,
    context: &Rc<UpstreamContext>,
    beside: Beside<'_>,
    link: ServerConnection,
) -> Served<ServerConnection> {
    let now = clock::now();
    let timing = Timing::of(&context.settings.pool).jittered(context.draw());
    let mut driver = Driver {
        serving: Serving::begin(shared, context),
        shared,
        context,
        beside,
        carrier: Carrier::new(timing, shared.key(), now),
        link,
        read: vec![0; limits::READ_BYTES].into_boxed_slice(),
        timer: Box::pin(tokio::time::sleep(BUSY_TICK)),
        timer_at: now + BUSY_TICK,
        late_wake: LateWake::default(),
        write_blocked: false,
        flush_pending: false,
        last_batch_owners: 0,
        dialing: None,
        login: None,
        relief: None,
        busy: Box::default(),
    };
    driver.serve().await;
    let Driver { serving, carrier, mut link, .. } = driver;
    drop(serving);
    let ended = carrier.ended();
    let reason = ended.and_then(Ended::reason);
    reason.into_iter().for_each(|reason| context.metrics.ended(reason));
    if ended.is_none_or(Ended::discards) {
        link.stream.abort();
    } else {
        let _ = tokio::time::timeout(limits::SERVER_CLOSE_TIMEOUT, link.stream.shutdown()).await;
    }
    serving::end(shared, context, carrier)
}

impl Driver<'_> {
    async fn serve(&mut self) {
        loop {
            poll_fn(|cx| self.poll_turn(cx)).await;
            if self.has_ended() {
                return;
            }
            tokio::task::yield_now().await;
            poll_fn(|cx| {
                self.write(cx);
                Poll::Ready(())
            })
            .await;
            if self.has_ended() {
                return;
            }
        }
    }

    const fn has_ended(&self) -> bool {
        self.carrier.ended().is_some()
    }

    fn may_write(&self) -> bool {
        !self.write_blocked && !self.carrier.poll_write(&self.shared.inner.borrow().line).is_empty()
    }

    /// Others may be about to add to what is written next: after a batch, or while replies are outstanding, every
    /// task that is ready gets one turn first. A lone client pays nothing.
    fn awaits_others(&self) -> bool {
        self.last_batch_owners > 1
            || self.shared.inner.borrow().line.pipeline.has_outstanding_replies()
    }

    /// One turn; ready when the connection has ended, or when others get a turn before the rest is written.
    /// What is written at once needs no further turn: the steps before have registered every event that can wake
    /// the task.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for step in TURN {
            match step {
                Step::Read => self.read(cx),
                Step::Flush if self.write_blocked || self.flush_pending => self.write(cx),
                Step::Flush => {}
                Step::Time => self.poll_timer(cx),
                Step::Succeed => self.poll_successor(cx),
                Step::Relieve => self.poll_relief(cx),
                Step::Look => self.look(cx),
            }
        }
        if self.may_write() && !self.awaits_others() {
            self.write(cx);
        }
        if self.has_ended() || self.may_write() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn look(&mut self, cx: &Context<'_>) {
        self.beside.carry_detached(self.shared);
        let mut inner = self.shared.inner.borrow_mut();
        let (context, link) = (self.context, &self.link);
        self.carrier.handle_turn(&mut inner.line, || context.freshness(link), clock::now);
        inner.waker = Some(cx.waker().clone());
        drop(inner);
        self.act(cx);
    }

    /// Carries out what the connection has decided.
    fn act(&mut self, cx: &Context<'_>) {
        loop {
            let action = self.carrier.poll_action(&mut self.shared.inner.borrow_mut().line);
            let Some(action) = action else { return };
            match action {
                Action::DialSuccessor => {
                    let (context, key) = (Rc::clone(self.context), self.shared.key());
                    self.dialing = Some(Box::pin(async move { context.dial(key).await }));
                    cx.waker().wake_by_ref();
                }
                Action::LogIn => self.log_in(cx),
                Action::LoggedIn(accepted) => self.handle_login(accepted),
                Action::DialRelief => {
                    let (context, key) = (Rc::clone(self.context), self.shared.key());
                    self.relief = Some(Box::pin(async move { context.dial_beside(key).await }));
                    cx.waker().wake_by_ref();
                }
                Action::DropRelief => self.relief = None,
                Action::MoveOver => self.move_over(),
                Action::StepAside => self.beside.step_aside(self.shared),
                Action::Silent(silent) => self.serving.note_silence(silent),
                Action::Stalled(stalled) => self.shared.note_stalled(stalled),
                Action::Proven => self.context.note_proven(),
                Action::HealthCheck(alive) => {
                    self.context.metrics.health_check(alive);
                    if alive {
                        self.context.note_alive();
                    }
                }
                Action::NotCompleted => {
                    self.context.note_not_completed("the server refuses it");
                }
                Action::Misplaced => {
                    tracing::info!(
                        "the server is no primary any more; its name is looked up again"
                    );
                }
                Action::End(_) => debug_assert!(false, "the carrier keeps its end"),
            }
        }
    }

    /// Puts a login with the password in force in line.
    fn log_in(&mut self, cx: &Context<'_>) {
        let login = self.context.login();
        let mut inner = self.shared.inner.borrow_mut();
        let request = login_script::relogin(&login);
        self.carrier.push_login(&mut inner.line, &request, clock::now());
        self.shared.settle_charge(&mut inner);
        drop(inner);
        self.login = Some(login.generation);
        cx.waker().wake_by_ref();
    }

    fn handle_login(&mut self, accepted: bool) {
        self.context.metrics.logged_in(accepted);
        match self.login.take() {
            Some(generation) if accepted => self.link.credentials_generation = generation,
            _ => tracing::warn!(
                code = "CRD-W001",
                "the server refuses the new password on an open connection; another connection takes its place"
            ),
        }
    }

    /// Whether the reader of a long reply must catch up first.
    fn awaits_reader(&mut self, cx: &Context<'_>) -> bool {
        let inner = self.shared.inner.borrow();
        let unread = |mailbox: &Rc<Mailbox>| mailbox.unread();
        let slow = self.carrier.poll_reader(&inner.line, unread, Rc::ptr_eq, clock::now);
        let Some(waits) = slow else { return false };
        if let Some(reader) =
            inner.line.pipeline.reader().and_then(Owner::session).filter(|_| waits)
        {
            reader.wait_for_reader(cx.waker());
        }
        drop(inner);
        self.act(cx);
        if !waits {
            self.beside.detach_reader(self.shared);
        }
        waits
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        for _ in 0..READS_PER_TURN {
            if self.awaits_reader(cx) {
                return;
            }
            match self.link.stream.poll_receive(cx, &mut self.read) {
                Poll::Pending => return,
                Poll::Ready(Ok(filled)) => self.handle_bytes(filled),
                Poll::Ready(Err(reason)) => self.carrier.handle_closed(reason),
            }
            self.act(cx);
            if self.has_ended() {
                return;
            }
        }
        yield_to_io(cx);
    }

    fn handle_bytes(&mut self, filled: usize) {
        let now = clock::now();
        let bytes = self.read.get(..filled).unwrap_or_default();
        let (context, notable) = (self.context, self.context.notable.get());
        context.metrics.received(filled);
        let mut inner = self.shared.inner.borrow_mut();
        let line = &mut inner.line;
        let (largest, oldest) = line.pipeline.extremes(filled);
        let notes = oldest
            .is_some_and(|oldest| notable.is_met(now.saturating_duration_since(oldest), largest));
        let mut arrival = Arrival::begin(context, now);
        let mut note =
            |answered: Answered<'_, Owner<Rc<Mailbox>>>| remark(&notable, &answered, now);
        let result = self.carrier.handle_bytes(
            line,
            bytes,
            now,
            if notes { Some(&mut note) } else { None },
            |mailbox, delivery, took| arrival.hand_out(mailbox, delivery, took),
        );
        arrival.end();
        self.shared.settle_charge(&mut inner);
        drop(inner);
        if let Err(broken) = result {
            let reason = match broken {
                Broken::UnexpectedReply => "a reply to no request",
                Broken::Push => "a push on a shared connection",
                Broken::Framing(_) => "bytes that are not RESP",
            };
            tracing::error!(
                code = "UPS-E001",
                reason,
                "upstream connection closed: it cannot be trusted"
            );
        }
    }

    /// Writes everything in line as far as the socket takes it.
    fn write(&mut self, cx: &mut Context<'_>) {
        if self.has_ended() {
            return;
        }
        self.write_blocked = false;
        let mut inner = self.shared.inner.borrow_mut();
        let mut wrote = false;
        let mut broken = None;
        loop {
            let bytes = self.carrier.poll_write(&inner.line);
            if bytes.is_empty() {
                break;
            }
            match self.link.stream.poll_send(cx, bytes) {
                Poll::Ready(Ok(count)) => {
                    inner.line.pipeline.wrote(count);
                    self.context.metrics.sent(count);
                    wrote = true;
                }
                Poll::Ready(Err(reason)) => {
                    broken = Some(reason);
                    break;
                }
                Poll::Pending => {
                    self.write_blocked = true;
                    break;
                }
            }
        }
        if wrote {
            self.last_batch_owners = std::mem::take(&mut inner.batch_owners);
            self.context.note_batch(std::mem::take(&mut inner.batch));
        }
        drop(inner);
        if (wrote || self.flush_pending) && broken.is_none() {
            match self.link.stream.poll_sent(cx) {
                Poll::Ready(Ok(())) => self.flush_pending = false,
                Poll::Ready(Err(reason)) => broken = Some(reason),
                Poll::Pending => self.flush_pending = true,
            }
        }
        if let Some(reason) = broken {
            self.carrier.handle_closed(reason);
            return self.act(cx);
        }
        if (wrote || self.write_blocked) && self.carrier.handle_written(clock::now) {
            self.set_timer(cx);
        }
    }

    fn set_timer(&mut self, cx: &mut Context<'_>) {
        self.late_wake.is_in_time();
        self.timer_at = self.carrier.poll_timeout();
        self.timer.as_mut().reset(self.timer_at.into());
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) {
        if self.timer.as_mut().poll(cx).is_pending() || self.has_ended() {
            return;
        }
        let now = clock::now();
        if let Some(until) = self.late_wake.defers(self.timer_at.min(now), now) {
            self.timer.as_mut().reset(until.into());
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            return;
        }
        let around = Around {
            aside: self.shared.is_aside(),
            room: self.beside.registry.has_room(),
            freshness: self.context.freshness(&self.link),
        };
        let context = self.context;
        context.count_sent(now);
        let mut inner = self.shared.inner.borrow_mut();
        let has_left = |mailbox: &Rc<Mailbox>| mailbox.has_left();
        self.carrier.handle_timeout(
            &mut inner.line,
            around,
            now,
            has_left,
            |mailbox, ticket, loss, request| {
                // What was never sent ends with the client that has given it up.
                if loss != Loss::Abandoned {
                    context.metrics.timed_out();
                    context.remark_lost(mailbox, ticket, request);
                }
                mailbox.lose(ticket, loss);
            },
        );
        if around.aside && relief::holds_back(&inner.line.pipeline) {
            self.link.stream.drop_unacknowledged();
        }
        self.shared.settle_charge(&mut inner);
        drop(inner);
        self.act(cx);
        self.set_timer(cx);
    }

    /// A new connection takes over when the old one has answered everything.
    fn poll_successor(&mut self, cx: &mut Context<'_>) {
        let Some(dialing) = &mut self.dialing else { return };
        let Poll::Ready(dialed) = dialing.as_mut().poll(cx) else { return };
        self.dialing = None;
        drop(self.carrier.handle_successor(outcome(dialed), clock::now()));
    }

    /// Another connection that is up proves that the server serves others: it takes everything new.
    fn poll_relief(&mut self, cx: &mut Context<'_>) {
        self.answer_busy();
        let Some(relief) = &mut self.relief else { return };
        let Poll::Ready(dialed) = relief.as_mut().poll(cx) else { return };
        self.relief = None;
        if let Err(error) = &dialed {
            tracing::debug!(
                phase = error.label,
                cause = %error.text,
                "no second connection beside one that is held up"
            );
            self.busy = error.busy_line().unwrap_or_default().into();
        }
        let (room, aside) = (self.beside.registry.has_room(), self.shared.is_aside());
        let (dialed, now) = (outcome(dialed), clock::now());
        let mut inner = self.shared.inner.borrow_mut();
        let relieved = self.carrier.handle_relief(&mut inner.line, dialed, aside, room, id_of, now);
        self.shared.settle_charge(&mut inner);
        drop(inner);
        self.act(cx);
        match relieved {
            Relieved::HandOver(moved, link) => {
                self.beside.hand_over(self.shared, *moved, link, self.carrier.silence(now));
            }
            Relieved::Unneeded(_) => self.answer_busy(),
        }
    }

    /// The successor relieves this connection.
    fn move_over(&mut self) {
        let (aside, room) = (self.shared.is_aside(), self.beside.registry.has_room());
        let mut inner = self.shared.inner.borrow_mut();
        let moved = self.carrier.move_over(&mut inner.line, aside, room, id_of);
        self.shared.settle_charge(&mut inner);
        drop(inner);
        if let Some((moved, link)) = moved {
            let silence = self.carrier.silence(clock::now());
            self.beside.hand_over(self.shared, moved, link, silence);
        }
    }

    /// Replies `BUSY` to the requests that another connection could carry, since the server accepts none now.
    fn answer_busy(&self) {
        let mut inner = self.shared.inner.borrow_mut();
        let moved = self.carrier.take_busy(&mut inner.line, id_of, clock::now);
        let Some(moved) = moved else { return };
        self.shared.settle_charge(&mut inner);
        drop(inner);
        answer_all(moved, &self.busy);
    }
}

//! Pinned connections: carries out what is decided about them, with sockets and tasks.
//!
//! Owns: [`Pool`], [`Claim`], the task that looks after idle connections. Never knows: what they are lent
//! for, which session gets one first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};

use super::connection::HOME;
use super::context::UpstreamContext;
use super::dial::ServerConnection;
use super::holder::Holder;
use super::idle::{Checked, Pooled};
use super::metrics::UpstreamMetrics;
use super::not_primary::{Question, Sign, Verdict};
use super::pool_core::{Answer, PoolCore, Turn, Upkeep};
use super::reply_buffer::ReplyBuffer;
use super::shares::Use;
use crate::base::clock;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{Loss, OpenFailure, PoolKey, Unavailable};

/// An idle connection.
#[derive(Debug)]
struct Spare {
    link: ServerConnection,
    context: Rc<UpstreamContext>,
}

impl Pooled for Spare {
    fn key(&self) -> PoolKey {
        self.link.key
    }

    fn opened_at(&self) -> Instant {
        self.link.opened_at
    }

    fn is_current(&self) -> bool {
        self.context.is_current(&self.link)
    }

    fn is_silent(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buf = tokio::io::ReadBuf::new(&mut byte);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let stream = Pin::new(&mut self.link.stream);
        tokio::io::AsyncRead::poll_read(stream, &mut cx, &mut buf).is_pending()
    }
}

/// One session's claim to a pinned connection: it waits for one or has one. Dropped, that is free for the
/// next.
#[derive(Debug)]
pub(super) struct Claim {
    pool: Rc<Pool>,
    number: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.pool.waiting.borrow_mut().remove(&self.number);
        self.pool.core.borrow_mut().handle_left(self.number);
        self.pool.settle();
    }
}

/// The question what the server is, while it is asked; a panic of its task ends it, too.
struct Asking {
    pool: Rc<Pool>,
    answered: bool,
}

impl Asking {
    fn answer(mut self, link: ServerConnection, answer: Answer) {
        self.answered = true;
        let spare = self.pool.spare(link);
        self.pool.core.borrow_mut().handle_answer(spare, answer, clock::now());
        self.pool.settle();
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.answered {
            self.pool.core.borrow_mut().handle_unanswered();
            self.pool.settle();
        }
    }
}

/// Checks of idle connections that are under way.
struct Checks(Vec<Pin<Box<dyn Future<Output = ()>>>>);

impl Checks {
    /// Waits until one of them has ended; for ever when there is none.
    async fn next_end(&mut self) {
        poll_fn(|cx| {
            let before = self.0.len();
            self.0.retain_mut(|check| check.as_mut().poll(cx).is_pending());
            if self.0.len() < before { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The pinned connections of one server.
#[derive(Debug)]
pub(crate) struct Pool {
    context: Rc<UpstreamContext>,
    core: RefCell<PoolCore<Spare>>,
    /// Where sessions in line get their turn, by the numbers of their claims.
    waiting: RefCell<HashMap<u64, oneshot::Sender<()>>>,
    /// Idle connections are to be looked at now.
    hurried: Notify,
}

impl Pool {
    pub(super) fn new(context: Rc<UpstreamContext>) -> Rc<Self> {
        let core = PoolCore::new(&context.settings.pool, HOME, clock::now());
        let core = RefCell::new(core);
        Rc::new(Self { context, core, waiting: RefCell::default(), hurried: Notify::new() })
    }

    /// Whether a connection for this use could be had without waiting for others.
    pub(super) fn has_room_for(&self, purpose: Use) -> bool {
        self.core.borrow().has_room_for(purpose)
    }

    pub(super) fn share_among(&self, listeners: usize) {
        self.core.borrow_mut().share_among(listeners);
    }

    /// Whether any session waits for others to return a connection.
    pub(super) fn is_waited_for(&self) -> bool {
        self.core.borrow().is_waited_for()
    }

    /// Carries out what a change of the core has brought.
    fn settle(&self) {
        let mut core = self.core.borrow_mut();
        while let Some(reason) = core.poll_closed() {
            self.context.metrics.ended(reason);
        }
        while let Some(number) = core.poll_granted() {
            let sender = self.waiting.borrow_mut().remove(&number);
            // A claim whose session has just gone is dropped, and what it was granted with it.
            let _ = sender.map(|sender| sender.send(()));
        }
        let (idle, lent) = core.sizes();
        self.context.metrics.pinned(idle, lent);
        if core.is_hurried() {
            self.hurried.notify_one();
        }
    }

    /// A claim to one more connection, and the connection.
    ///
    /// # Errors
    ///
    /// When both together take longer than `acquire_timeout`; while the server cannot be reached,
    /// `outage_wait`.
    pub(super) async fn obtain(
        self: &Rc<Self>,
        key: PoolKey,
        purpose: Use,
        holder: Holder,
        eager: bool,
    ) -> Result<(Claim, ServerConnection), OpenFailure> {
        let usual = self.context.settings.pool.acquire_timeout;
        let patience = self.context.patience_of(eager);
        let claiming = self.claim_and_link(key, purpose, holder.clone());
        match self.context.bounded(usual, patience, claiming).await {
            Some(result) => result,
            None => Err(OpenFailure::Loss(Loss::Unavailable(self.lack(purpose, &holder)))),
        }
    }

    /// An idle connection or a new one, once the claim is granted.
    async fn claim_and_link(
        self: &Rc<Self>,
        key: PoolKey,
        purpose: Use,
        holder: Holder,
    ) -> Result<(Claim, ServerConnection), OpenFailure> {
        let number = self.core.borrow_mut().claim(key, purpose, holder);
        let mut claim = Claim { pool: Rc::clone(self), number };
        loop {
            let turn = self.core.borrow_mut().poll_turn(claim.number, key);
            match turn {
                Turn::Wait => self.turn_of(&claim).await,
                Turn::Lend(spare) => {
                    self.settle();
                    return Ok((claim, spare.link));
                }
                Turn::Dial => {
                    self.settle();
                    match self.context.dial(key).await {
                        Ok(link) => {
                            self.core.borrow_mut().handle_lent(claim.number);
                            self.settle();
                            return Ok((claim, link));
                        }
                        Err(error) => {
                            if let Some(line) = error.server_line {
                                return Err(OpenFailure::Refused(line));
                            }
                        }
                    }
                    claim.number = self.core.borrow_mut().handle_failed(claim.number, key);
                    self.settle();
                }
            }
        }
    }

    /// Waits until the claim is granted.
    async fn turn_of(&self, claim: &Claim) {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(claim.number, sender);
        let _ = receiver.await;
    }

    /// Why no connection could be had in time.
    fn lack(&self, purpose: Use, holder: &Holder) -> Unavailable {
        if self.context.outage_since().is_some() {
            self.context.last_failure()
        } else if !self.core.borrow().has_room_for_holder(purpose, holder) {
            Unavailable::Exhausted
        } else {
            Unavailable::Timeout
        }
    }

    /// A connection on loan has answered.
    pub(super) fn note_answer(&self) {
        self.context.note_proven();
    }

    /// The server, or the way to it, has ended a connection on loan.
    pub(super) fn note_connection_lost(&self, answered: bool, opened_at: Instant) {
        self.context.note_connection_lost(answered, opened_at);
    }

    /// A connection is closed.
    pub(super) fn note_closed(&self, reason: UpstreamDisconnect) {
        self.core.borrow_mut().note_closed(reason);
        self.settle();
    }

    /// What counts what passes on connections on loan, as on any other.
    pub(super) fn metrics(&self) -> &UpstreamMetrics {
        &self.context.metrics
    }

    /// Whether a connection may stay with the session that has it.
    pub(super) fn may_stay(&self, link: &ServerConnection) -> bool {
        self.context.may_stay(link)
    }

    fn spare(&self, link: ServerConnection) -> Spare {
        Spare { link, context: Rc::clone(&self.context) }
    }

    /// A connection that is as if it had never been lent.
    pub(super) fn put(&self, link: ServerConnection) {
        self.core.borrow_mut().put(self.spare(link), clock::now());
        self.settle();
    }

    /// Drops every idle connection that was made with an identity no longer in force.
    pub(super) fn retire(&self) {
        self.core.borrow_mut().retire();
        self.settle();
    }

    /// A connection on which an error arrived that only a server sends that is no primary, or
    /// a script: the server is asked, and its answer decides about the idle connections.
    pub(super) fn doubt(self: &Rc<Self>, mut link: ServerConnection, sign: Sign) {
        let is_due = self.core.borrow_mut().doubts(clock::now());
        self.settle();
        if !is_due {
            return;
        }
        let asking = Asking { pool: Rc::clone(self), answered: false };
        tokio::task::spawn_local(async move {
            let wait = asking.pool.context.settings.pool.connect_timeout;
            let asked = tokio::time::timeout(wait, ask(&mut link, sign)).await;
            asking.answer(link, asked.unwrap_or(Answer::Nothing));
        });
    }

    /// Keeps `min_idle` connections warm, checks idle ones and closes those idle for too long.
    pub(super) async fn keep(self: Rc<Self>) {
        let mut checks = Checks(Vec::new());
        self.context.connected_once().await;
        loop {
            let may_dial = self.context.may_dial();
            let upkeep = self.core.borrow_mut().poll_upkeep(may_dial, checks.0.len(), clock::now());
            self.settle();
            match upkeep {
                Upkeep::Check(checked) => {
                    let pool = Rc::clone(&self);
                    checks.0.push(Box::pin(async move { pool.check(checked).await }));
                    continue;
                }
                Upkeep::Dial(key) => match self.context.dial(key).await {
                    Ok(link) => {
                        self.put(link);
                        continue;
                    }
                    Err(_) => self.core.borrow_mut().handle_fill_failed(clock::now()),
                },
                Upkeep::Idle => {}
            }
            let idle_until = self.core.borrow().poll_timeout();
            tokio::select! {
                () = tokio::time::sleep_until(idle_until.into()) => {}
                () = self.hurried.notified() => {}
                () = checks.next_end() => {}
            }
        }
    }

    /// Sends PING on an idle connection.
    async fn check(&self, mut checked: Checked<Spare>) {
        let asked_at = clock::now();
        let alive = self.answers(&mut checked.connection.link).await;
        self.core.borrow_mut().handle_checked(checked, alive, asked_at);
        self.settle();
    }

    /// Sends PING and waits for any reply.
    async fn answers(&self, link: &mut ServerConnection) -> bool {
        let wait = self.context.settings.pool.connect_timeout;
        let answer = tokio::time::timeout(wait, reply_to(link, Question::Ping.wire())).await;
        let alive = matches!(answer, Ok(Ok(_)));
        self.context.metrics.health_check(alive);
        alive
    }
}

/// What the server answers to a question about the sign.
async fn ask(link: &mut ServerConnection, sign: Sign) -> Answer {
    let protocol = link.key.protocol;
    let mut question = Question::about(sign);
    // HELLO may be followed by ROLE.
    for _ in 0..2 {
        let Ok(reply) = reply_to(link, question.wire()).await else { break };
        match question.judge(&reply, protocol) {
            Verdict::Ask(next) => question = next,
            Verdict::Stay => return Answer::Primary,
            Verdict::Move => return Answer::Other,
        }
    }
    Answer::Nothing
}

/// The one reply to one request, on a connection that carries nothing else.
async fn reply_to(link: &mut ServerConnection, request: &[u8]) -> std::io::Result<BytesMut> {
    link.stream.write_all(request).await?;
    link.stream.flush().await?;
    let mut replies = ReplyBuffer::default();
    loop {
        if link.stream.read_buf(replies.bytes_mut()).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let reply = replies.take_bytes().map_err(|_| std::io::ErrorKind::InvalidData)?;
        if let Some(reply) = reply {
            let whole = replies.is_empty();
            return whole.then_some(reply).ok_or_else(|| std::io::ErrorKind::InvalidData.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config;
    use crate::telemetry::Metrics;
    use crate::upstream::Buffers;
    use crate::upstream::credentials::Credentials;
    use crate::upstream::dial::Dialer;
    use crate::upstream::target::Target;

    #[test]
    fn question_about_the_server_whose_task_panics_can_be_asked_again() {
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream]\naddress = \"127.0.0.1:1\"\n\
                    insecure_plaintext = true\n";
        let settings = config::parse(text, "test", []).unwrap().upstream;
        let (target, credentials) =
            (Target::of(&settings).unwrap(), Credentials::open(&settings.auth).unwrap());
        let dialer = Dialer::new(target, &settings, None, credentials);
        let metrics = Arc::new(Metrics::default());
        let buffers = Buffers::new(usize::MAX);
        let context = UpstreamContext::new(settings, 65_536, dialer, metrics, buffers, 1);
        let pool = Pool::new(context);
        assert!(pool.core.borrow_mut().doubts(clock::now()));
        let asking = Asking { pool: Rc::clone(&pool), answered: false };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let panics = async {
            let task = tokio::task::spawn_local(async move {
                let _asking = asking;
                std::panic::resume_unwind(Box::new("a defect"));
            });
            assert!(task.await.unwrap_err().is_panic());
        };
        tokio::task::LocalSet::new().block_on(&runtime, panics);
        assert!(pool.core.borrow_mut().doubts(clock::now() + Duration::from_secs(60)));
    }
}

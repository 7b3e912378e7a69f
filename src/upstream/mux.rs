//! The life of one shared connection: dial when it is needed, drive, replace, dial again.
//!
//! Owns: the task behind each [`Shared`]. Never knows: policy, sessions, the meaning of a request.

use std::collections::VecDeque;
use std::rc::Rc;

use tokio::time::{sleep_until, timeout_at};

use super::connection::HOME;
use super::connector::{After, Connector, Outcome, Turn};
use super::context::UpstreamContext;
use super::dial::ServerConnection;
use super::drive::{Beside, drive, report_lost};
use super::failure::DialError;
use super::line::Next;
use super::mailbox::Mailbox;
use super::outage::Overdue;
use super::owner::Owner;
use super::registry::Registry;
use super::remarks::Remark;
use super::shared::{Shared, answer_all};
use crate::base::clock;
use crate::telemetry::UpstreamDisconnect;
use crate::traffic::{Loss, OpenFailure, PoolKey, Unavailable};

/// Makes a shared connection and starts its task; the first of [`HOME`] is dialed at once and kept.
pub(super) fn spawn(
    key: PoolKey,
    first: bool,
    context: &Rc<UpstreamContext>,
    registry: &Rc<Registry<Shared>>,
) -> Rc<Shared> {
    let shared = Shared::new(key, first && key == HOME, Rc::clone(context));
    start(&shared, context, registry, None);
    shared
}

/// Starts its task, with a connection that is up or, without, when there is demand.
fn start(
    shared: &Rc<Shared>,
    context: &Rc<UpstreamContext>,
    registry: &Rc<Registry<Shared>>,
    first: Option<ServerConnection>,
) {
    let (shared, context, registry) = (Rc::clone(shared), Rc::clone(context), Rc::clone(registry));
    tokio::task::spawn_local(async move {
        let mut first = first;
        loop {
            let task = {
                let (shared, context) = (Rc::clone(&shared), Rc::clone(&context));
                let (registry, first) = (Rc::clone(&registry), first.take());
                async move { run(&shared, &context, &registry, first).await }
            };
            match tokio::task::spawn_local(task).await {
                Err(error) if error.is_panic() => handle_defect(&shared, &context),
                Ok(()) | Err(_) => break,
            }
        }
        registry.forget(&shared);
    });
}

/// A panic has ended the task. What was in line is lost: it cannot be known how far it had come. The
/// next task serves what is asked from now on.
fn handle_defect(shared: &Shared, context: &UpstreamContext) {
    let now = clock::now();
    let mut inner = shared.inner.borrow_mut();
    let was_up = inner.line.is_up();
    let lost = inner.line.handle_defect(now);
    inner.down();
    let gone = OpenFailure::Loss(Loss::Unavailable(Unavailable::Connect));
    inner.answer_openers(&Err(gone));
    shared.settle_charge(&mut inner);
    drop(inner);
    lost.completions().for_each(|_| context.note_not_completed("an internal error"));
    tracing::error!(
        code = "UPS-E002",
        lost = lost.len(),
        "an internal error ended the task of a shared connection; its requests are lost, and another one is made"
    );
    if was_up {
        context.metrics.ended(UpstreamDisconnect::Defect);
    }
    context.metrics.waiting(shared.replace_depth(0));
    context.note_change();
    // Another one is dialed when the backoff allows it.
    context.note_connection_lost(false, now);
    let lost = lost.into_losses().filter_map(|(owner, ticket, loss)| {
        owner.into_session().map(|mailbox| (mailbox, ticket, loss))
    });
    report_lost(lost.collect());
}

/// The life of one logical shared connection.
async fn run(
    shared: &Rc<Shared>,
    context: &Rc<UpstreamContext>,
    registry: &Rc<Registry<Shared>>,
    first: Option<ServerConnection>,
) {
    let begin =
        |next: &Rc<Shared>, link: Option<ServerConnection>| start(next, context, registry, link);
    let beside = Beside { registry, begin: &begin };
    let mut successor = first;
    loop {
        let link = match successor.take() {
            Some(link) => link,
            None => match connect(shared, context).await {
                Some(link) => link,
                None => return,
            },
        };
        up(shared, context, &link);
        let opened_at = link.opened_at;
        let served = drive(shared, context, beside, link).await;
        context.note_ended(served.next, served.answered, opened_at);
        if served.next == Next::Done {
            return;
        }
        successor = served.successor;
        if !shared.is_up() {
            context.note_waiting(shared.inner.borrow().line.pipeline.len());
        }
    }
}

/// A connection is there: what waits is sent on it.
fn up(shared: &Shared, context: &UpstreamContext, link: &ServerConnection) {
    let now = clock::now();
    let mut inner = shared.inner.borrow_mut();
    inner.up(&link.facts);
    inner.line.handle_up(
        now,
        |owner| owner.session().is_none_or(|mailbox| mailbox.is_closed()),
        |owner, ticket, waited, request| {
            context.metrics.waited(waited);
            let notable = context.notable.get();
            if let Some(mailbox) = owner.session().filter(|_| notable.is_on()) {
                let key = notable.key_of(request);
                mailbox.remark(ticket, Remark { waited, key, took: None });
            }
        },
    );
    context.metrics.waiting(shared.replace_depth(0));
    shared.settle_charge(&mut inner);
}

/// Gives up what has waited for too long; `None`: all of it, as the server does not have the database.
fn give_up(shared: &Shared, context: &UpstreamContext, overdue: Option<Overdue>, why: Unavailable) {
    let mut losses = VecDeque::new();
    let mut inner = shared.inner.borrow_mut();
    let report = |owner: &Owner<Rc<Mailbox>>, ticket, request: &[u8]| {
        if owner.is_completion() {
            context.note_not_completed(why.label());
        }
        let Some(mailbox) = owner.session() else { return };
        context.remark_lost(mailbox, ticket, request);
        losses.push_back((Rc::clone(mailbox), ticket, Loss::Unavailable(why)));
    };
    let exhausted = match overdue {
        Some(overdue) => inner.line.give_up(overdue, report),
        None => inner.line.refuse(report),
    };
    shared.settle_charge(&mut inner);
    drop(inner);
    context.metrics.exhausted(exhausted);
    losses.iter().for_each(|_| context.metrics.waited(context.patience.wait));
    report_lost(losses);
}

/// Dials whenever something needs a connection, while requests that have waited too long are given up, until
/// there is one. `None`: nothing will ever need it.
async fn connect(shared: &Shared, context: &Rc<UpstreamContext>) -> Option<ServerConnection> {
    let (mut connector, mut dialing) = (Connector::default(), None);
    loop {
        match shared.poll_connector(&mut connector, clock::now()) {
            Turn::Done => return None,
            Turn::Dial => dialing = Some(Box::pin(context.dial(shared.key()))),
            Turn::Cancel => dialing = None,
            Turn::GiveUp(overdue) => {
                give_up(shared, context, Some(overdue), context.last_failure());
            }
            Turn::Wait(until) => {
                note_depth(shared, context);
                let ended = match (&mut dialing, until) {
                    (Some(attempt), Some(until)) => timeout_at(until.into(), attempt).await.ok(),
                    (Some(attempt), None) => Some(attempt.await),
                    (None, Some(until)) => {
                        sleep_until(until.into()).await;
                        None
                    }
                    (None, None) => {
                        shared.changed().await;
                        None
                    }
                };
                let Some(result) = ended else { continue };
                dialing = None;
                if let Some(link) = dialed(shared, context, &mut connector, result) {
                    return Some(link);
                }
            }
        }
    }
}

/// An attempt to connect has ended.
fn dialed(
    shared: &Shared,
    context: &UpstreamContext,
    connector: &mut Connector,
    result: Result<ServerConnection, DialError>,
) -> Option<ServerConnection> {
    let outcome = match &result {
        Ok(_) => Outcome::Up,
        Err(error) if error.busy_line().is_some() => Outcome::Busy,
        Err(error) if error.server_line.is_some() => Outcome::NoDatabase,
        Err(_) => Outcome::Failed,
    };
    let mut inner = shared.inner.borrow_mut();
    let after = connector.handle_dialed(&mut inner.line, outcome, clock::now());
    drop(inner);
    let error = match result {
        Ok(link) => return Some(link),
        Err(error) => error,
    };
    if after == After::Answer {
        answer_waiting(shared, error.busy_line().unwrap_or_default());
    }
    if let Some(line) = error.server_line {
        shared.inner.borrow_mut().answer_openers(&Err(OpenFailure::Refused(line)));
    }
    if after == After::Refuse {
        give_up(shared, context, None, error.what);
    }
    None
}

/// Waiting requests get the answer that the server gives to every client at this moment.
fn answer_waiting(shared: &Shared, line: &[u8]) {
    let mut inner = shared.inner.borrow_mut();
    let waiting = inner.line.pipeline.take_waiting();
    shared.settle_charge(&mut inner);
    drop(inner);
    answer_all(waiting, line);
}

/// How many commands wait for this connection, for the metric.
fn note_depth(shared: &Shared, context: &UpstreamContext) {
    let depth = shared.inner.borrow().line.pipeline.len();
    context.metrics.waiting(shared.replace_depth(depth));
}

#[cfg(test)]
mod tests;

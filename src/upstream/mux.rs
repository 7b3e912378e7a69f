//! The life of one shared connection: dial on demand, drive, mend, replace.
//!
//! Owns: the task behind each [`Shared`]. Never knows: policy, sessions, what a request asks.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::dial::Link;
use super::drive::{Ended, drive};
use super::env::Env;
use super::failure::DialError;
use super::shared::{Owner, Shared};
use crate::base::backoff::Backoff;
use crate::base::clock;
use crate::traffic::{Facts, Loss, PoolKey, Ticket, Unavailable};

/// How often requests that wait for a connection are looked at.
const WAIT_TICK: Duration = Duration::from_millis(50);

/// Makes a shared connection and starts its task.
pub(super) fn spawn(key: PoolKey, env: Rc<Env>) -> Rc<Shared> {
    let shared = Shared::new(key);
    tokio::task::spawn_local(run(Rc::clone(&shared), env));
    shared
}

/// Tells owners of requests that gave up waiting for a connection.
fn report_lost(losses: VecDeque<(Owner, Ticket, Loss)>) {
    for (owner, ticket, loss) in losses {
        if let Some(mailbox) = owner {
            mailbox.lose(ticket, loss);
        }
    }
}

/// The life of one logical shared connection.
async fn run(shared: Rc<Shared>, env: Rc<Env>) {
    let mut attempt = 0;
    let mut successor: Option<Link> = None;
    loop {
        let link = match successor.take() {
            Some(link) => Ok(link),
            None => {
                if !demand(&shared).await {
                    return;
                }
                dial(&shared, &env).await
            }
        };
        match link {
            Ok(link) => {
                attempt = 0;
                shared.inner.borrow_mut().up(&facts_of(&link));
                let ended = drive(&shared, &env, link).await;
                env.note_change();
                match ended {
                    Ended::Replaced(link) => successor = Some(*link),
                    Ended::Closed => {
                        shared.inner.borrow_mut().facts = None;
                        return;
                    }
                    Ended::Idle => shared.inner.borrow_mut().facts = None,
                    Ended::Lost(_) => lost(&shared, &env),
                }
            }
            Err(error) => {
                env.note_dial_failure(&error);
                let refused = error.server_line.is_some();
                shared.inner.borrow_mut().failed(&error);
                if refused {
                    give_up(&shared, None, error.what);
                    continue;
                }
                let retry = &env.settings.retry;
                let backoff = Backoff {
                    initial: retry.initial,
                    multiplier: retry.multiplier,
                    cap: retry.max,
                };
                let delay = backoff.delay(attempt, env.draw());
                attempt = attempt.saturating_add(1);
                pause(&shared, &env, delay, error.what).await;
            }
        }
    }
}

fn lost(shared: &Shared, env: &Env) {
    let mut losses = VecDeque::new();
    let mut inner = shared.inner.borrow_mut();
    inner.facts = None;
    let again =
        inner.pipeline.handle_loss(env.settings.retry.max_retries, |owner, ticket, loss| {
            losses.push_back((owner.clone(), ticket, loss));
        });
    drop(inner);
    env.note_retries(again);
    report_lost(losses);
}

/// Fails what waits: everything, or what has waited since before `before`.
fn give_up(shared: &Shared, before: Option<Instant>, why: Unavailable) {
    let mut losses = VecDeque::new();
    shared.inner.borrow_mut().pipeline.give_up(before, |owner, ticket| {
        losses.push_back((owner.clone(), ticket, Loss::Unavailable(why)));
    });
    report_lost(losses);
}

/// Waits until somebody needs the connection. `false`: it will never be needed again.
async fn demand(shared: &Shared) -> bool {
    std::future::poll_fn(|cx| {
        let mut inner = shared.inner.borrow_mut();
        if inner.closing && inner.pipeline.is_empty() {
            return std::task::Poll::Ready(false);
        }
        if inner.wanted() {
            return std::task::Poll::Ready(true);
        }
        inner.waker = Some(cx.waker().clone());
        std::task::Poll::Pending
    })
    .await
}

/// Dials, while requests that have waited too long are given up.
async fn dial(shared: &Shared, env: &Rc<Env>) -> Result<Link, DialError> {
    let dialing = env.dial(shared.key());
    tokio::pin!(dialing);
    loop {
        tokio::select! {
            link = &mut dialing => return link,
            () = tokio::time::sleep(WAIT_TICK) => expire(shared, env, Unavailable::Timeout),
        }
    }
}

fn expire(shared: &Shared, env: &Env, why: Unavailable) {
    if let Some(before) = clock::now().checked_sub(env.settings.pool.acquire_timeout) {
        give_up(shared, Some(before), why);
    }
}

/// Waits before the next attempt; with the breaker open nothing waits along.
async fn pause(shared: &Shared, env: &Env, delay: Duration, why: Unavailable) {
    let until = clock::now() + delay;
    loop {
        let (open, closing) = shared.standing();
        if open || closing {
            give_up(shared, None, why);
        } else {
            expire(shared, env, why);
        }
        let now = clock::now();
        if now >= until || closing {
            return;
        }
        tokio::time::sleep(WAIT_TICK.min(until - now)).await;
    }
}

fn facts_of(link: &Link) -> Facts {
    let facts = link.facts.clone();
    Facts {
        server: facts.server,
        version: facts.version,
        mode: facts.mode,
        role: facts.role,
        modules_resp2: facts.modules_resp2,
        modules_resp3: facts.modules_resp3,
    }
}

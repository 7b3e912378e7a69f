//! Examines whether scripts can be guarded on a server: what its Lua has of globals, and whether a
//! script of respgate's own gets past the guard.
//!
//! Owns: how it is asked, on a connection of its own. Never knows: scripts of clients, when it is asked.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connection::HOME;
use super::context::UpstreamContext;
use super::dial::ServerConnection;
use super::lua_inquiry::{Answer, Inquiry, Turn};
use super::reply_buffer::ReplyBuffer;
use crate::base::{clock, limits};
use crate::policy::guard::{Globals, GuardFailure, canary, question, seal};
use crate::resp::{Value, encode};
use crate::traffic::{Server, own};

/// Examines the server whenever scripts are to be guarded and the server may be another one, and again from
/// time to time where they are refused: the server may have been busy, or its user may run scripts by now.
pub(super) async fn keep(env: Rc<UpstreamContext>) {
    let mut inquiry = Inquiry::default();
    env.connected_once().await;
    loop {
        let unknown = env.guarding.borrow().is_due();
        if let Turn::Wait(until) = inquiry.poll(unknown, clock::now()) {
            let due = env.guarding_due.notified();
            match until {
                None => due.await,
                Some(until) => drop(tokio::time::timeout_at(until.into(), due).await),
            }
            continue;
        }
        let epoch = env.guarding.borrow().epoch();
        let Ok(mut link) = env.dial(HOME).await else { continue };
        let asked = tokio::time::timeout(limits::LUA_PROBE_TIMEOUT, examine(&mut link)).await;
        let found = asked.ok().flatten();
        let outdated = env.guarding.borrow().epoch() != epoch;
        let answer = match &found {
            _ if outdated => Answer::Outdated,
            None => Answer::Nothing,
            Some(Ok(_)) => Answer::Guards,
            Some(Err(_)) => Answer::Refuses,
        };
        if inquiry.handle_answer(answer, clock::now()) {
            judged(&env, found.unwrap_or(Err(GuardFailure::Unlisted)));
        }
    }
}

fn judged(env: &UpstreamContext, found: Result<Arc<Globals>, GuardFailure>) {
    let before = env.guarding.borrow().get();
    if before.as_ref() == Some(&found) {
        return;
    }
    if let Err(why) = &found {
        env.metrics.unguarded(*why);
        tracing::error!(
            code = "POL-E001",
            reason = why.label(),
            "scripts are refused where scripts.mode is \"guarded\": {}",
            why.words()
        );
    } else if before.is_some() {
        tracing::info!("scripts may run again: the server has passed the test for guarded scripts");
    }
    env.guarding.borrow_mut().set(found);
}

/// `None`: no answer, or one after which the question is repeated.
async fn examine(link: &mut ServerConnection) -> Option<Result<Arc<Globals>, GuardFailure>> {
    let names = eval(link, question().as_bytes()).await?;
    let Some(names) = names.elements() else {
        return (!is_transient(&names)).then_some(Err(GuardFailure::Unlisted));
    };
    let names: Vec<&[u8]> = names.iter().filter_map(Value::as_bytes).collect();
    let Server { valkey, major, minor } = link.facts.product();
    let globals = match Globals::new(&names, valkey, (major, minor)) {
        Ok(globals) => Arc::new(globals),
        Err(why) => return Some(Err(why)),
    };
    let tried = eval(link, &canary(&globals)).await?;
    if is_transient(&tried) {
        return None;
    }
    if tried.as_bytes() != Some(b"kept") {
        return Some(Err(GuardFailure::Escaped));
    }
    let sealed = eval(link, &seal(&globals)).await?;
    let is_refused = matches!(sealed, Value::Error(_));
    if is_transient(&sealed) {
        return None;
    }
    Some(if is_refused { Ok(globals) } else { Err(GuardFailure::Escaped) })
}

/// Whether the server reports that it cannot answer now.
fn is_transient(answer: &Value) -> bool {
    let codes: [&[u8]; 4] = [b"LOADING", b"BUSY", b"MASTERDOWN", b"TRYAGAIN"];
    matches!(answer, Value::Error(line) if codes.iter().any(|code| line.starts_with(code)))
}

async fn eval(link: &mut ServerConnection, text: &[u8]) -> Option<Value> {
    let mut request = BytesMut::new();
    encode::request(&mut request, [own::EVAL, text, b"0"]);
    link.stream.write_all(&request).await.ok()?;
    link.stream.flush().await.ok()?;
    let mut replies = ReplyBuffer::default();
    loop {
        match replies.take(link.key.protocol) {
            Err(_) => return None,
            Ok(Some(reply)) => return Some(reply),
            Ok(None) => match link.stream.read_buf(replies.bytes_mut()).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            },
        }
    }
}

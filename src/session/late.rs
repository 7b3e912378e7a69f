//! Commands of a transaction that name another client: the client's number at the server may be another
//! one until the transaction is sent.
//!
//! Owns: when such a number is looked up. Never knows: which clients there are, what is done to them.

use std::rc::Rc;

use bytes::BytesMut;

use super::figures::Marks;
use super::roster::ClientEntry;
use super::seen::figures_of;
use super::state::Session;
use super::track::{Aim, is_broad, turns_on, words_of_request};
use super::transaction::ExecFixup;
use super::{client_text, track};
use crate::resp::{Request, encode, number};
use crate::traffic::own;

/// What is sent of such a command.
pub(super) struct Late {
    pub wire: BytesMut,
    /// What is special about its reply.
    pub special: Option<ExecFixup>,
    /// The client that receives invalidations from now on.
    target: Option<Rc<ClientEntry>>,
}

impl Late {
    /// The command is sent: the client that it names receives invalidations.
    pub(super) fn aim(&self, session: &Session) {
        if let Some(target) = &self.target {
            target.become_target(session.listening.names().cloned());
        }
    }

    /// The client that it names has got no pinned connection in time.
    pub(super) fn without(target: &ClientEntry) -> Self {
        let text = client_text::tracking_target(target.id);
        Self::decided(|line| encode::error(line, text))
    }

    /// The reply is decided already: a PING is sent in the place of the command.
    fn decided(write: impl FnOnce(&mut BytesMut)) -> Self {
        let (mut wire, mut line) = (BytesMut::new(), BytesMut::new());
        encode::request(&mut wire, [own::PING]);
        write(&mut line);
        Self { wire, special: Some(ExecFixup::Decided(Box::from(&*line))), target: None }
    }
}

/// What is sent of one of them at this moment.
///
/// # Errors
///
/// With the client that it names, which has no pinned connection yet.
pub(super) fn look_up(
    session: &Session,
    request: &Request<'_>,
    valkey: bool,
) -> Result<Late, Rc<ClientEntry>> {
    if request.arg(1).is_some_and(|word| word.eq_ignore_ascii_case(b"unblock")) {
        return Ok(look_up_blocked(session, request, valkey));
    }
    let words = words_of_request(request);
    let Aim { words, redirect, entry } = track::aim_redirect(session, words)?;
    let (on, broadcast) = (turns_on(request), is_broad(request));
    let mut wire = BytesMut::new();
    encode::request(&mut wire, words.iter().map(Vec::as_slice));
    let special = Some(ExecFixup::Tracking { on, broadcast, redirect });
    Ok(Late { wire, special, target: entry.filter(|_| on) })
}

fn look_up_blocked(session: &Session, request: &Request<'_>, valkey: bool) -> Late {
    let target = match unblockable(request, valkey) {
        Ok(target) => target,
        Err(text) => return Late::decided(|line| encode::error(line, text)),
    };
    let Some((link, reason)) = blocked(session, target, request) else {
        return Late::decided(|line| encode::integer(line, 0));
    };
    let mut wire = BytesMut::new();
    number::write_u64(&mut wire, link);
    let link = std::mem::take(&mut wire);
    let words: [&[u8]; 4] = [b"CLIENT", b"UNBLOCK", &link, reason];
    encode::request(&mut wire, words);
    Late { wire, special: None, target: None }
}

/// The number at the server of a client that is blocked, and how it is to be unblocked.
pub(super) fn blocked<'a>(
    session: &Session,
    id: i64,
    request: &Request<'a>,
) -> Option<(u64, &'a [u8])> {
    let entry = session.roster.find(&session.entry, id)?;
    let link = entry.link();
    let figures = if entry.id == session.entry.id {
        figures_of(session, session.roster.now())
    } else {
        entry.figures()
    };
    if !figures.marks.has(Marks::BLOCKED) || link == 0 {
        return None;
    }
    entry.aim();
    let reason = request.arg(3).filter(|_| request.len() == 4).unwrap_or(b"TIMEOUT");
    Some((link, reason))
}

/// Whose number an UNBLOCK names.
///
/// # Errors
///
/// With the words for the client.
pub(super) fn unblockable(request: &Request<'_>, valkey: bool) -> Result<i64, String> {
    let reason = request.arg(3).unwrap_or(b"timeout");
    let known = reason.eq_ignore_ascii_case(b"timeout") || reason.eq_ignore_ascii_case(b"error");
    if request.len() > 4 && !valkey {
        return Err(client_text::odd_subcommand(
            encode::echo(request.arg(1).unwrap_or_default()),
            "CLIENT",
        ));
    }
    // Valkey looks at the reason of a request of four words alone.
    if !known && request.len() == 4 {
        return Err(client_text::UNBLOCK_REASON.to_owned());
    }
    let id = request.arg(2).and_then(number::parse_i64);
    id.ok_or_else(|| client_text::NOT_INTEGER.to_owned())
}

//! Commands of a transaction that name another client: the client's number at the server may be another
//! one until the transaction is sent.
//!
//! Owns: when such a number is looked up. Never knows: which clients there are, what is done to them.

use std::rc::Rc;

use bytes::BytesMut;

use super::client_text;
use super::roster::{Marks, Seat};
use super::state::{Context, Session, Step};
use super::tracking::{Aim, is_broad, turns_on, words_of_request};
use super::transaction::ExecFixup;
use crate::resp::{Request, encode, number};
use crate::traffic::own;

/// What is sent of such a command.
pub(super) struct Late {
    pub wire: BytesMut,
    /// What is special about its reply.
    pub special: Option<ExecFixup>,
    /// The client that receives invalidations from now on.
    target: Option<Rc<Seat>>,
}

impl Late {
    /// It is sent: the client that it names receives invalidations.
    pub(super) fn aim(&self, session: &Session) {
        if let Some(target) = &self.target {
            target.become_target(session.names.clone());
        }
    }

    fn said(write: impl FnOnce(&mut BytesMut)) -> Self {
        let (mut wire, mut line) = (BytesMut::new(), BytesMut::new());
        encode::request(&mut wire, [own::PING]);
        write(&mut line);
        Self { wire, special: Some(ExecFixup::Said(Box::from(&*line))), target: None }
    }
}

impl Session {
    /// Puts the commands that wait for it into the wire of the transaction.
    ///
    /// # Errors
    ///
    /// With the step to take first; nothing has changed then.
    pub(super) fn look_up_late(&mut self, ctx: &mut Context<'_>) -> Result<(), Step> {
        let Some(mut transaction) = self.transaction.take() else { return Ok(()) };
        let mut found = Vec::new();
        for (_, special) in &transaction.specials {
            let ExecFixup::Late { request, .. } = special else { continue };
            match self.look_up(&request.as_request(), ctx) {
                Ok(late) => found.push(late),
                Err(step) => {
                    self.transaction = Some(transaction);
                    return Err(step);
                }
            }
        }
        if !found.is_empty() {
            let (mut wire, mut before, mut found) = (BytesMut::new(), 0, found.into_iter());
            for (index, special) in std::mem::take(&mut transaction.specials) {
                let ExecFixup::Late { at, .. } = special else {
                    transaction.specials.push((index, special));
                    continue;
                };
                let Some(late) = found.next() else { continue };
                wire.extend_from_slice(transaction.wire.get(before..at).unwrap_or_default());
                wire.extend_from_slice(&late.wire);
                before = at;
                late.aim(self);
                transaction.specials.extend(late.special.map(|special| (index, special)));
            }
            wire.extend_from_slice(transaction.wire.get(before..).unwrap_or_default());
            transaction.wire = wire;
        }
        self.transaction = Some(transaction);
        Ok(())
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// With the step to take first.
    pub(super) fn look_up(
        &mut self,
        request: &Request<'_>,
        ctx: &mut Context<'_>,
    ) -> Result<Late, Step> {
        if request.arg(1).is_some_and(|word| word.eq_ignore_ascii_case(b"unblock")) {
            return Ok(self.look_up_blocked(request, ctx));
        }
        match self.aim_redirect(words_of_request(request)) {
            Ok(Aim { words, redirect, seat }) => {
                let (on, broadcast) = (turns_on(request), is_broad(request));
                let mut wire = BytesMut::new();
                encode::request(&mut wire, words.iter().map(Vec::as_slice));
                let special = Some(ExecFixup::Tracking { on, broadcast, redirect });
                Ok(Late { wire, special, target: seat.filter(|_| on) })
            }
            Err(target) => match self.await_target(&target, ctx) {
                Some(step) => Err(step),
                None => {
                    let text = client_text::tracking_target(target.id);
                    Ok(Late::said(|line| encode::error(line, text)))
                }
            },
        }
    }

    fn look_up_blocked(&self, request: &Request<'_>, ctx: &Context<'_>) -> Late {
        let target = match Self::unblockable(request, ctx.valkey) {
            Ok(target) => target,
            Err(text) => return Late::said(|line| encode::error(line, text)),
        };
        let Some((link, reason)) = self.blocked(target, request) else {
            return Late::said(|line| encode::integer(line, 0));
        };
        let mut wire = BytesMut::new();
        number::write_u64(&mut wire, link);
        let link = std::mem::take(&mut wire);
        let words: [&[u8]; 4] = [b"CLIENT", b"UNBLOCK", &link, reason];
        encode::request(&mut wire, words);
        Late { wire, special: None, target: None }
    }

    /// The number at the server of a client that is blocked, and how it is to be unblocked.
    pub(super) fn blocked<'a>(&self, id: i64, request: &Request<'a>) -> Option<(u64, &'a [u8])> {
        let seat = self.roster.find(&self.seat, id)?;
        let figures = seat.figures();
        if !figures.marks.has(Marks::BLOCKED) || figures.link == 0 {
            return None;
        }
        seat.aim();
        let reason = request.arg(3).filter(|_| request.len() == 4).unwrap_or(b"TIMEOUT");
        Some((figures.link, reason))
    }
}

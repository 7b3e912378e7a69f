//! What the session itself answers, in line with what the server does.
//!
//! Owns: how such an answer gets its place. Never knows: what it is about.

use bytes::BytesMut;

use super::client_text;
use super::residue::Residue;
use super::state::{ReplyMode, Session, Step};
use crate::command::Effect;
use crate::resp::encode;
use crate::traffic::Loss;

impl Session {
    /// Whether the reply to the request at hand is suppressed; uses up a SKIP.
    pub(super) fn silence(&mut self) -> bool {
        let silent = self.reply_mode != ReplyMode::On;
        if self.reply_mode == ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::On;
        }
        silent
    }

    /// The proxy's own reply, in line.
    pub(super) fn answer(&mut self, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        let silent = self.silence();
        self.queue.push_local(silent, self.incomplete, out, write);
    }

    /// Whether the answer of the proxy's own to the last request is an error; `None` when it has none,
    /// or this was asked before.
    pub const fn take_own_error(&mut self) -> Option<bool> {
        self.queue.take_own_error()
    }

    /// Whether the request just presented was answered here with an error, as one without a login.
    #[must_use]
    pub fn answers_error(&self) -> bool {
        self.queue.answers_error()
    }

    /// An error instead of execution; spoils a transaction as Redis's `rejectCommand` does.
    pub(super) fn refuse_text(&mut self, text: impl AsRef<[u8]>, out: &mut BytesMut) -> Step {
        if let Some(transaction) = &mut self.transaction {
            transaction.spoil();
        }
        if let Some(own) = &mut self.own {
            own.spoil();
        }
        self.answer(out, |out| encode::error(out, text));
        Step::Done
    }

    /// The request at hand will not be sent: no connection of the kind it needs can be had.
    pub fn handle_unavailable(&mut self, loss: Loss, out: &mut BytesMut) {
        self.query = None;
        self.admission = None;
        if self.ends_with(loss) {
            return self.queue.cut();
        }
        if loss.is_outage() {
            self.degraded.note_failed();
        }
        let text = client_text::loss(loss);
        let exec = self.last_command.is_some_and(|spec| spec.effect == Effect::Exec);
        if exec {
            // Redis server.c `rejectCommand`, whether or not MULTI was said. Nothing is watched: what
            // is watched has its connection at hand.
            self.transaction = None;
            let line = [client_text::EXECABORT_BECAUSE, text.trim_start_matches("ERR ")].concat();
            return self.answer(out, |out| encode::error(out, line));
        }
        self.refuse_text(&text, out);
    }

    /// The request at hand is not judged: the audit log could not take it.
    pub fn handle_unaudited(&mut self, out: &mut BytesMut) {
        self.query = None;
        self.admission = None;
        self.last_command = None;
        self.refuse_text(client_text::UNAUDITED, out);
    }

    /// The request at hand has an argument over `limit`, or over that of the policy if it is lower;
    /// its bytes are thrown away.
    pub fn handle_oversize(
        &mut self,
        length: u64,
        policy: Option<u64>,
        limit: u64,
        out: &mut BytesMut,
    ) {
        self.admission = None;
        let text = match policy.filter(|max| *max < limit) {
            Some(max) => client_text::too_long(length, max),
            None => client_text::oversize(length, limit),
        };
        self.refuse_text(&text, out);
    }

    /// The frame at hand is malformed: the last words of this session.
    pub fn handle_protocol_error(&mut self, message: &[u8], out: &mut BytesMut) {
        self.answer(out, |out| encode::error(out, [b"ERR ", message].concat()));
    }

    /// Whether no byte will be written any more, whatever follows.
    #[must_use]
    pub fn is_mute(&self) -> bool {
        self.reply_mode != ReplyMode::On && !self.queue.will_speak()
    }

    /// A request without arguments: it is no command, but CLIENT REPLY SKIP counts it (redis
    /// networking.c `resetClient`).
    pub fn handle_nothing(&mut self) {
        self.silence();
    }

    /// Whether the request that is presented next has not arrived as a whole. An answer to it waits
    /// for [`Self::handle_whole`], since there is none if its rest is malformed.
    pub const fn note_incomplete(&mut self, incomplete: bool) {
        self.incomplete = incomplete;
    }

    /// The request that was presented last has arrived as a whole.
    pub fn handle_whole(&mut self, out: &mut BytesMut) {
        self.queue.release(out);
    }

    /// The rest of the request that was presented last is malformed: it is not answered. `sent`: so
    /// many places wait for the server, which will not answer them; what was sent before is answered,
    /// then the pinned connection must go.
    pub fn handle_withdrawal(&mut self, sent: usize) {
        self.queue.forget_withheld();
        for _ in 0..sent {
            self.queue.withdraw();
        }
        self.residue.note_if(sent > 0, Residue::Poisoned);
    }
}

//! EXEC's array: which of its frames belongs to which command, and what the client gets of them.
//!
//! Owns: the way of each frame. Never knows: what a special command does, when a transaction runs.

use bytes::BytesMut;

use super::exec_reply::ExecReply;
use super::own::OwnReply;
use super::queue::Expect;
use super::residue::Residue;
use super::state::{ReplyMode, Session};
use super::subscriptions::{self, Frame, classify};
use super::transaction::{ExecFixup, Talk};
use crate::resp::{Protocol, ReplyScanner, encode, number};

impl Session {
    /// Takes a frame of EXEC's answer. Returns whether it is whole: then all of it is in `out`.
    pub(super) fn complete_exec(
        &mut self,
        executed: &mut ExecReply,
        frame: &[u8],
        silent: bool,
        out: &mut BytesMut,
    ) -> bool {
        let mut rest = frame;
        let count = match executed.count {
            Some(count) => count,
            None => {
                let header = frame.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                let (head, elements) = frame.split_at_checked(header).unwrap_or((frame, &[]));
                let count = head.strip_prefix(b"*").and_then(|head| head.strip_suffix(b"\r\n"));
                let count = count.and_then(number::parse_i64).and_then(|n| u32::try_from(n).ok());
                let Some(count) = count else {
                    if !silent {
                        out.extend_from_slice(frame);
                    }
                    return true;
                };
                executed.muted = silent;
                executed.count = Some(count);
                if !silent {
                    let swallowed = executed.specials.iter();
                    let swallowed =
                        swallowed.filter(|(_, s)| matches!(s, ExecFixup::Swallow)).count();
                    let count = usize::try_from(count).unwrap_or(usize::MAX);
                    encode::array(&mut executed.out, count.saturating_sub(swallowed));
                }
                rest = elements;
                count
            }
        };
        while !rest.is_empty() && executed.index < count {
            let mut scanner = ReplyScanner::default();
            let Ok(advance) = scanner.advance(rest) else { break };
            if !advance.done {
                break;
            }
            let (element, after) = rest.split_at_checked(advance.used).unwrap_or((rest, &[]));
            self.complete_element(executed, element);
            rest = after;
        }
        if executed.index < count {
            return false;
        }
        if executed.skips_next && self.reply_mode == ReplyMode::On {
            self.reply_mode = ReplyMode::SkipNext;
        }
        out.extend_from_slice(&executed.out);
        true
    }

    /// The transaction whose answer is due, if one is.
    pub(super) fn awaited_exec(&mut self) -> Option<Box<ExecReply>> {
        let front = self.queue.front()?;
        if !matches!(front.expect, Expect::Exec(_) | Expect::Own(OwnReply::Exec)) {
            return None;
        }
        if let Expect::Exec(executed) = std::mem::replace(&mut front.expect, Expect::Plain) {
            return Some(executed);
        }
        Some(Box::new(self.own.get_or_insert_default().executed()))
    }

    /// The session's own connection ends within EXEC's array, as that of a client that has killed itself:
    /// what came of it is the client's.
    pub(super) fn end_exec(&mut self, out: &mut BytesMut) {
        let silent = self.queue.front_silent();
        if self.own.is_none() {
            return;
        }
        let Some(mut executed) = self.awaited_exec() else { return };
        let partial = std::mem::take(&mut self.partial);
        if partial.starts_with(b"*") || executed.has_begun() {
            if !self.complete_exec(&mut executed, &partial, silent, out) {
                out.extend_from_slice(&executed.out);
            }
            if let Some(ticket) = self.queue.waiting().first() {
                self.queue.cut_off(*ticket, out);
            }
        }
    }

    fn complete_element(&mut self, executed: &mut ExecReply, element: &[u8]) {
        if self.monitor && subscriptions::is_monitor_line(element) {
            if !subscriptions::is_own_line(element) {
                executed.out.extend_from_slice(element);
            }
            return;
        }
        let frame = classify(element);
        let due = executed.specials.front().filter(|(at, _)| *at == executed.index);
        if let (Some((_, ExecFixup::Acknowledged { named, kind })), Frame::Ack { kind: of, .. }) =
            (due, &frame)
            && kind == of
        {
            let (named, kind) = (*named, *kind);
            return self.complete_acknowledgement(executed, named, kind, element);
        }
        let pushed = element.starts_with(b">")
            || (self.protocol == Protocol::Resp2
                && self.subscriptions.any()
                && frame == Frame::Message
                && !executed.reads.contains(&executed.index));
        if pushed {
            return self.write_push(element, &mut executed.out);
        }
        match executed.special() {
            Some(ExecFixup::Reply(talk)) => self.complete_reply(executed, talk),
            Some(special) => {
                let mut own = BytesMut::new();
                self.complete_special(special, element, &mut own);
                executed.put(&own);
                // Nothing follows the answer to a client that has killed itself.
                executed.muted |= self.farewell;
            }
            None => executed.put(element),
        }
        executed.index += 1;
    }

    /// One of the names of SUBSCRIBE or UNSUBSCRIBE. Nothing suppresses it.
    fn complete_acknowledgement(
        &mut self,
        executed: &mut ExecReply,
        named: u32,
        kind: subscriptions::Kind,
        element: &[u8],
    ) {
        let before = u32::try_from(self.subscriptions.count(kind)).unwrap_or(u32::MAX);
        let due = executed.left.unwrap_or_else(|| if named > 0 { named } else { before.max(1) });
        if let Frame::Ack { total, .. } = classify(element) {
            self.subscriptions.note(kind, total);
        }
        self.residue.note(Residue::Dirty);
        self.write_push(element, &mut executed.out);
        executed.left = due.checked_sub(1).filter(|left| *left > 0);
        if executed.left.is_none() {
            executed.specials.pop_front();
            executed.index += 1;
        }
    }

    /// Redis networking.c `clientCommand`, REPLY.
    fn complete_reply(&mut self, executed: &mut ExecReply, talk: Talk) {
        match talk {
            Talk::On => {
                (self.reply_mode, executed.muted) = (ReplyMode::On, self.farewell);
                executed.put(b"+OK\r\n");
            }
            Talk::Off => (self.reply_mode, executed.muted) = (ReplyMode::Off, true),
            Talk::Skip => executed.skips_next |= self.reply_mode != ReplyMode::Off,
        }
    }
}

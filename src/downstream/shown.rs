//! What others see of a client (`CLIENT LIST`), brought up to date once a turn.
//!
//! Owns: the figures that the connection knows. Never knows: their readers.

use super::conversation::Conversation;
use super::links::Links;
use crate::session::{Bytes, Marks};

/// `held`: bytes of memory that the connection keeps.
#[inline(always)]
pub(super) fn show(conversation: &Conversation, links: &Links, held: usize) {
    links.entry.show(|figures| {
        let session = conversation.session();
        session.show(figures);
        if let Some(spec) = session.shown_command() {
            figures.command = Some(spec);
        }
        let rooms = conversation.rooms();
        figures.marks.set(Marks::CLOSING, conversation.is_ending());
        figures.active = conversation.active_at();
        figures.unread = Bytes::of(rooms.pending);
        figures.room = Bytes::of(rooms.pending_capacity - rooms.pending);
        figures.arguments = Bytes::default();
        figures.reply_room = Bytes::of(rooms.output_capacity);
        figures.unwritten = Bytes::of(conversation.output().len());
        figures.held = Bytes::of(held);
        figures.received = links.passed.received;
        figures.sent = links.passed.sent;
        figures.commands = links.passed.commands;
        figures.link = links.lease.as_ref().map_or(0, |lease| lease.0.client_id());
    });
}

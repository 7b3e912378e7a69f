//! What others see of a client (`CLIENT LIST`), computed when they look.
//!
//! Owns: the figures that the connection knows. Never knows: their readers.

use std::cell::RefCell;

use super::connection::Connection;
use crate::session::{Figures, Marks, Source, figures_of};

impl<S> Source for RefCell<Connection<S>> {
    fn figures(&self) -> Option<Figures> {
        let connection = self.try_borrow().ok()?;
        let conversation = &connection.conversation;
        let mut figures = figures_of(conversation.session(), conversation.active_at());
        let rooms = conversation.rooms();
        figures.marks.set(Marks::CLOSING, conversation.is_ending());
        figures.unread = rooms.pending;
        figures.room = rooms.pending_capacity - rooms.pending;
        figures.reply_room = rooms.output_capacity;
        figures.unwritten = conversation.output().len();
        Some(figures)
    }
}

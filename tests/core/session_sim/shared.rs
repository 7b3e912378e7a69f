//! A connection that many sessions share, after the rules of `upstream`: first in, first out; what was
//! not written, or may be read twice, survives its death.
//!
//! Owns: [`Shared`], [`Entry`]. Never knows: sessions.

use std::collections::VecDeque;

use respgate::internals::resp::ReplyScanner;
use respgate::internals::traffic::{PoolKey, Ticket};

use super::model::Words;

/// A request in line.
#[derive(Debug)]
pub struct Entry {
    pub client: usize,
    pub ticket: Ticket,
    pub number: usize,
    pub commands: Vec<Words>,
    /// Commands of it that were written, and that the server has executed.
    pub written: usize,
    pub executed: usize,
    /// Replies before the one that counts.
    pub skip: u32,
    pub retry: bool,
    pub attempts: u8,
    pub abandoned: bool,
}

#[derive(Debug)]
pub struct Shared {
    pub key: PoolKey,
    /// At the server, while it is up.
    pub connection: Option<usize>,
    pub line: VecDeque<Entry>,
    pub scanner: ReplyScanner,
    /// The reply in progress has been handed out in part.
    pub begun: bool,
}

impl Shared {
    pub fn new(key: PoolKey) -> Self {
        Self {
            key,
            connection: None,
            line: VecDeque::new(),
            scanner: ReplyScanner::default(),
            begun: false,
        }
    }

    /// The next command that the server has received and not executed.
    pub fn due(&mut self) -> Option<&mut Entry> {
        self.line.iter_mut().find(|entry| entry.executed < entry.written)
    }

    /// What is left for the next connection; the others, with whether their reply had begun.
    pub fn lose(&mut self, retries: u8) -> Vec<(Entry, bool)> {
        let begun = std::mem::take(&mut self.begun);
        let mut lost = Vec::new();
        let line = std::mem::take(&mut self.line);
        for (index, mut entry) in line.into_iter().enumerate() {
            let sent = entry.written == entry.commands.len();
            if index == 0 && begun {
                lost.push((entry, true));
            } else if entry.abandoned {
            } else if !sent || (entry.retry && entry.attempts < retries) {
                entry.attempts += u8::from(sent);
                entry.skip = u32::try_from(entry.commands.len() - 1).unwrap();
                (entry.written, entry.executed) = (0, 0);
                self.line.push_back(entry);
            } else {
                lost.push((entry, false));
            }
        }
        self.connection = None;
        self.scanner = ReplyScanner::default();
        lost
    }
}

//! The replies of one session in the order of its requests, from the server or from respgate.
//!
//! Owns: [`ReplyQueue`]. Never knows: what a reply means, where it comes from.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;

use super::exec_reply::ExecReply;
use super::expect::Expect;
use super::limiter::{Admission, HeldSlot};
use super::remote::Remote;
use crate::base::limits;
use crate::command::{EmptyReply, Flags, Spec};
pub(crate) use crate::telemetry::CommandClass as Class;
use crate::traffic::Ticket;

impl Class {
    #[inline(always)]
    pub(super) const fn of(spec: &Spec) -> Self {
        if spec.flags.has(Flags::WRITE) {
            Self::Write
        } else if spec.flags.has(Flags::READONLY) {
            Self::Read
        } else {
            Self::Other
        }
    }
}

#[derive(Debug)]
enum Content {
    /// The whole reply, from respgate or before its turn: it goes once those before it have gone out.
    Arrived(Box<[u8]>),
    /// The reply is expected from the server.
    Waiting(Remote),
    /// The client's connection is closed here.
    Cut,
}

#[derive(Debug)]
struct Place {
    content: Content,
    /// CLIENT REPLY OFF or SKIP was in force: nothing of it reaches the client.
    silent: bool,
}

/// Places in line, one per request that is not fully answered.
#[derive(Debug, Default)]
pub(super) struct ReplyQueue {
    places: VecDeque<Place>,
    in_flight: u32,
    /// Bytes of replies that wait for their turn.
    held: usize,
    /// Bytes that are kept of transactions that run.
    executed: usize,
    /// The newest place is the proxy's answer to a request that has not arrived as a whole: it waits.
    withheld: bool,
    /// Of the request at hand only the head is here.
    incomplete: bool,
    next: Ticket,
    /// A place is, or was, the last: nothing is put behind it.
    cut: bool,
    /// The proxy's own reply was put in line: whether it is an error.
    own_error: Option<bool>,
}

impl ReplyQueue {
    /// Requests in flight.
    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight as usize
    }

    /// Bytes of replies that wait for their turn.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held
    }

    /// Bytes that are kept of transactions that run, and of their replies.
    pub(super) const fn executed_bytes(&self) -> usize {
        self.executed
    }

    /// What is noted of the oldest place's transaction, if it is one: until it is put back, nothing of it is counted.
    pub(super) fn take_executed(&mut self) -> Option<Box<ExecReply>> {
        let front = self.front().filter(|front| matches!(front.expect, Expect::Exec(_)))?;
        let expect = std::mem::replace(&mut front.expect, Expect::Plain);
        let Expect::Exec(executed) = expect else { return None };
        debug_assert!(self.executed >= executed.held_bytes(), "a transaction was not counted");
        self.executed = self.executed.saturating_sub(executed.held_bytes());
        Some(executed)
    }

    /// The rest of the transaction's reply is still to come.
    pub(super) fn put_executed(&mut self, executed: Box<ExecReply>) {
        debug_assert!(executed.has_begun(), "an answer without an array has no rest");
        self.executed += executed.held_bytes();
        if let Some(front) = self.front() {
            debug_assert!(matches!(front.expect, Expect::Plain), "another reply is expected");
            front.expect = Expect::Exec(executed);
        }
    }

    /// Whether the oldest place waits for the reply to `ticket`, which goes to the client as it comes.
    #[inline]
    pub(super) fn front_is_plain(&self, ticket: Ticket) -> bool {
        self.places.front().is_some_and(|place| {
            let Content::Waiting(remote) = &place.content else { return false };
            remote.ticket == ticket && !place.silent && matches!(remote.expect, Expect::Plain)
        })
    }

    /// The oldest place, if it waits for the server.
    pub(super) fn front(&mut self) -> Option<&mut Remote> {
        match self.places.front_mut().map(|place| &mut place.content) {
            Some(Content::Waiting(remote)) => Some(remote),
            Some(Content::Arrived(_) | Content::Cut) | None => None,
        }
    }

    /// The server has refused a queued command of the transaction behind `ticket`, if that is the oldest.
    pub(super) fn note_refusal(&mut self, ticket: Ticket, line: &[u8]) {
        if let Some(front) = self.front().filter(|front| front.ticket == ticket) {
            front.note_refusal(line);
        }
    }

    pub(super) fn peek(&self) -> Option<&Remote> {
        match self.places.front().map(|place| &place.content) {
            Some(Content::Waiting(remote)) => Some(remote),
            Some(Content::Arrived(_) | Content::Cut) | None => None,
        }
    }

    /// Whether the client's connection is to be closed once every place before is answered.
    pub(super) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// The client's connection is to be closed behind everything that is in line.
    pub(super) fn cut(&mut self) {
        self.forget_withheld();
        self.cut_at(self.places.len());
    }

    /// The client's connection is to be closed in the place of `ticket`: what is behind it gets no
    /// answer any more. `None` when no request waits for that ticket.
    pub(super) fn cut_off(&mut self, ticket: Ticket, out: &mut BytesMut) -> Option<Remote> {
        let index = self.position(ticket)?;
        let place = self.places.get_mut(index)?;
        let Content::Waiting(remote) = std::mem::replace(&mut place.content, Content::Cut) else {
            debug_assert!(false, "it has its reply");
            return None;
        };
        self.leave(&remote);
        self.cut_at(index);
        self.flush(out);
        self.check_counts();
        Some(remote)
    }

    fn cut_at(&mut self, index: usize) {
        for place in self.places.split_off(index) {
            match place.content {
                Content::Waiting(remote) => self.leave(&remote),
                Content::Arrived(bytes) => uncount(&mut self.held, &bytes),
                Content::Cut => {}
            }
            self.withheld = false;
        }
        if !self.places.is_empty() {
            self.places.push_back(Place { content: Content::Cut, silent: true });
        }
        self.cut = true;
        debug_assert!(self.places.len() <= index + 1, "something is left behind the end");
        debug_assert!(!self.withheld, "an answer is withheld behind the end");
        self.check_counts();
    }

    pub(super) fn front_silent(&self) -> bool {
        self.places.front().is_some_and(|place| place.silent)
    }

    /// Puts the proxy's own reply in line: straight into `out` when nothing is before it. That to a
    /// request of which only the head is here waits for [`Self::release`], or is dropped by [`Self::withdraw`].
    pub(super) fn push_local(
        &mut self,
        silent: bool,
        out: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut),
    ) {
        let withhold = self.incomplete;
        debug_assert!(!self.withheld, "a request is answered behind half a request");
        if silent || self.cut {
            return;
        }
        if self.places.is_empty() && !withhold {
            let begin = out.len();
            write(out);
            debug_assert!(out.len() > begin, "an answer of no byte");
            self.own_error = Some(out.get(begin) == Some(&b'-'));
        } else {
            let mut own = BytesMut::new();
            write(&mut own);
            debug_assert!(!own.is_empty(), "an answer of no byte");
            self.own_error = Some(own.first() == Some(&b'-'));
            self.held += own.len() + size_of::<Place>();
            self.places.push_back(Place { content: Content::Arrived(Box::from(&*own)), silent });
            self.withheld = withhold;
        }
        self.check_counts();
    }

    /// Whether the proxy's own reply that was put in line last is an error; `None` when there was none
    /// since this was asked.
    pub(super) const fn take_own_error(&mut self) -> Option<bool> {
        self.own_error.take()
    }

    /// Whether the request that is judged next has not arrived as a whole.
    pub(super) const fn note_incomplete(&mut self, incomplete: bool) {
        debug_assert!(!incomplete || !self.withheld, "a request begins within another one");
        self.incomplete = incomplete;
    }

    /// What was withheld may go.
    pub(super) fn release(&mut self, out: &mut BytesMut) {
        if std::mem::take(&mut self.withheld) {
            self.flush(out);
            self.check_counts();
        }
    }

    /// Whether anything that waits in line will reach the client.
    pub(super) fn will_reply(&self) -> bool {
        self.places.iter().any(|place| !place.silent)
    }

    pub(super) fn push_remote(
        &mut self,
        command: Option<&'static Spec>,
        expect: Expect,
        class: Class,
        at: Instant,
        silent: bool,
    ) -> Ticket {
        let ticket = self.next;
        self.next = ticket.next();
        self.in_flight += 1;
        self.executed += expect.held_bytes();
        if self.places.capacity() == 0 {
            // Most sessions ask one thing after the other.
            self.places.reserve_exact(1);
        }
        let remote = Remote {
            ticket,
            command,
            expect,
            refusal: None,
            class,
            at,
            admission: None,
            miss: None,
        };
        debug_assert!(!self.withheld, "a request goes on behind one that is not here as a whole");
        self.places.push_back(Place { content: Content::Waiting(remote), silent });
        self.check_counts();
        ticket
    }

    /// The request that was put in line last keeps this until it is answered.
    pub(super) fn keep(&mut self, admission: Box<Admission>) {
        let newest = self.places.back_mut().map(|place| &mut place.content);
        debug_assert!(matches!(newest, Some(Content::Waiting(_))), "nothing holds the slots");
        if let Some(Content::Waiting(remote)) = newest {
            debug_assert!(remote.admission.is_none(), "one request has two shares");
            remote.admission = Some(admission);
        }
        self.check_counts();
    }

    /// The request put in line is answered so while the server cannot be reached.
    pub(super) fn note_miss(&mut self, ticket: Ticket, miss: Option<EmptyReply>) {
        let places = self.places.iter_mut().rev();
        let mut remotes = places.filter_map(|place| match &mut place.content {
            Content::Waiting(remote) => Some(remote),
            Content::Arrived(_) | Content::Cut => None,
        });
        let remote = remotes.find(|remote| remote.ticket == ticket);
        debug_assert!(remote.is_some(), "a request that is not in line has an answer");
        if let Some(remote) = remote {
            remote.miss = miss;
        }
    }

    pub(super) fn miss_of(&self, ticket: Ticket) -> Option<EmptyReply> {
        let place = self.places.get(self.position(ticket)?)?;
        match &place.content {
            Content::Waiting(remote) => remote.miss,
            Content::Arrived(_) | Content::Cut => None,
        }
    }

    /// What the requests in flight hold of limits.
    pub(super) fn take_held(&mut self) -> Vec<(Ticket, HeldSlot)> {
        let held = |place: &mut Place| match &mut place.content {
            Content::Waiting(remote) => {
                let held = remote.admission.take().and_then(HeldSlot::of)?;
                Some((remote.ticket, held))
            }
            Content::Arrived(_) | Content::Cut => None,
        };
        self.places.iter_mut().filter_map(held).collect()
    }

    /// Removes the oldest place, which waited for the server, and lets local replies behind it go.
    pub(super) fn pop(&mut self, out: &mut BytesMut) -> Option<Remote> {
        let place = self.places.pop_front()?;
        let Content::Waiting(remote) = place.content else {
            debug_assert!(false, "only remote places are popped");
            return None;
        };
        self.leave(&remote);
        self.flush(out);
        self.check_counts();
        Some(remote)
    }

    /// Removes the newest place: that of a request of which the rest will not come.
    pub(super) fn withdraw(&mut self) {
        if self.cut {
            return;
        }
        match self.places.pop_back().map(|place| place.content) {
            Some(Content::Waiting(remote)) => self.leave(&remote),
            Some(Content::Arrived(bytes)) => uncount(&mut self.held, &bytes),
            Some(Content::Cut) | None => {}
        }
        self.check_counts();
    }

    /// What holds whenever a place is put in line or leaves it; the rest is looked at once a turn.
    fn check_counts(&self) {
        debug_assert!(self.in_flight() <= self.places.len(), "more are in flight than in line");
        let others = self.places.len().saturating_sub(self.in_flight());
        debug_assert!(others > 0 || self.held == 0, "bytes are kept of no reply");
        // At most one of them is the end.
        let arrived = others.saturating_sub(usize::from(self.cut));
        debug_assert!(self.held >= arrived * size_of::<Place>(), "a reply is not counted");
        debug_assert!(others > 0 || !self.withheld, "nothing is withheld");
        let front = self.places.front().map(|place| &place.content);
        let first = matches!(front, Some(Content::Arrived(_) | Content::Cut));
        debug_assert!(!first || self.withheld, "a reply waits that nothing is before");
    }

    /// Drops what is withheld.
    pub(super) fn forget_withheld(&mut self) {
        if std::mem::take(&mut self.withheld) {
            debug_assert!(!self.cut, "an answer is withheld behind the end");
            self.withdraw();
        }
    }

    pub(super) fn check_invariants(&self) {
        let remote = |place: &&Place| matches!(place.content, Content::Waiting(_));
        debug_assert_eq!(
            self.in_flight(),
            self.places.iter().filter(remote).count(),
            "requests in flight are miscounted"
        );
        let back = self.places.back().map(|place| &place.content);
        let answered = matches!(back, Some(Content::Arrived(_)));
        debug_assert!(!self.withheld || answered, "what is withheld is not the newest");
        debug_assert_eq!(self.held, self.arrived_bytes(), "replies that wait are miscounted");
        debug_assert_eq!(self.executed, self.noted_bytes(), "transactions are miscounted");
        let tickets = || self.waiting();
        debug_assert!(tickets().is_sorted_by(|a, b| a < b), "replies would overtake each other");
        let comes_twice = |last: &Ticket| *last >= self.next;
        debug_assert!(!tickets().last().is_some_and(comes_twice), "a ticket comes twice");
        let mut before_last = self.places.iter().rev().skip(1);
        let cut = |place: &Place| matches!(place.content, Content::Cut);
        debug_assert!(!before_last.any(cut), "something is in line behind the end");
        let ends = self.places.back().is_some_and(cut);
        debug_assert!(self.cut || !ends, "the end is not noted");
        debug_assert!(!self.cut || ends || self.places.is_empty(), "something is behind the end");
    }

    /// Whether a request waits before whose answer nothing is judged.
    pub(super) fn holds_others(&self) -> bool {
        let holds = |place: &Place| match &place.content {
            Content::Waiting(remote) => remote.expect.holds_others(),
            Content::Arrived(_) | Content::Cut => false,
        };
        self.places.iter().any(holds)
    }

    fn noted_bytes(&self) -> usize {
        let bytes = |place: &Place| match &place.content {
            Content::Waiting(remote) => remote.expect.held_bytes(),
            Content::Arrived(_) | Content::Cut => 0,
        };
        self.places.iter().map(bytes).sum()
    }

    fn arrived_bytes(&self) -> usize {
        let bytes = |place: &Place| match &place.content {
            Content::Arrived(bytes) => bytes.len() + size_of::<Place>(),
            Content::Waiting(_) | Content::Cut => 0,
        };
        self.places.iter().map(bytes).sum()
    }

    /// Lets every local reply go that has nothing before it.
    pub(super) fn flush(&mut self, out: &mut BytesMut) {
        while self.places.len() > usize::from(self.withheld)
            && let Some(place) = self.places.front()
        {
            match &place.content {
                Content::Waiting(_) => break,
                Content::Arrived(bytes) => {
                    out.extend_from_slice(bytes);
                    uncount(&mut self.held, bytes);
                }
                Content::Cut => {}
            }
            self.places.pop_front();
        }
        if self.places.is_empty() && self.places.capacity() > limits::REPLY_PLACES_KEPT {
            self.places.shrink_to(limits::REPLY_PLACES_KEPT);
        }
    }

    /// The reply to `ticket` is here, wherever its place is: it waits there for its turn. `None` when no request
    /// waits for that ticket any more.
    pub(super) fn arrive(
        &mut self,
        ticket: Ticket,
        out: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut),
    ) -> Option<Remote> {
        let index = self.position(ticket)?;
        let place = self.places.get_mut(index)?;
        let mut bytes = BytesMut::new();
        let hidden = matches!(
            &place.content,
            Content::Waiting(Remote { expect: Expect::Hidden | Expect::Alive | Expect::Page, .. })
        );
        if !place.silent && !hidden {
            write(&mut bytes);
        }
        self.held += bytes.len() + size_of::<Place>();
        let arrived = Content::Arrived(Box::from(&*bytes));
        let Content::Waiting(remote) = std::mem::replace(&mut place.content, arrived) else {
            debug_assert!(false, "it has its reply");
            return None;
        };
        self.leave(&remote);
        self.flush(out);
        self.check_counts();
        Some(remote)
    }

    /// A request is not in flight any more.
    fn leave(&mut self, remote: &Remote) {
        debug_assert!(self.in_flight > 0, "a request in flight is not counted");
        self.in_flight -= 1;
        let bytes = remote.expect.held_bytes();
        debug_assert!(self.executed >= bytes, "a transaction that runs was not counted");
        self.executed = self.executed.saturating_sub(bytes);
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.places.iter().position(|place| match &place.content {
            Content::Waiting(remote) => remote.ticket == ticket,
            Content::Arrived(_) | Content::Cut => false,
        })
    }

    /// The tickets that wait for the server, oldest first.
    pub(super) fn waiting(&self) -> Vec<Ticket> {
        self.places
            .iter()
            .filter_map(|place| match &place.content {
                Content::Waiting(remote) => Some(remote.ticket),
                Content::Arrived(_) | Content::Cut => None,
            })
            .collect()
    }
}

/// A reply waits no longer.
fn uncount(held: &mut usize, bytes: &[u8]) {
    let size = bytes.len() + size_of::<Place>();
    debug_assert!(*held >= size, "a reply that waits was not counted");
    *held = held.saturating_sub(size);
}

#[cfg(test)]
mod tests;

//! One client and its conversation, without sockets.
//!
//! Owns: [`Client`]: what is asked, what waits, what flies. Never knows: the server.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use respgate::internals::config::{ClientLimits, OnOutage};
use respgate::internals::downstream::conversation::{Conversation, PendingStep, check_invariants};
use respgate::internals::session::{Auth, Route, Session};
use respgate::internals::traffic::{PoolKey, Ticket};
use respgate::internals::upstream::PinnedLine;

use super::model::Words;
use super::reference::Reference;

/// The number of a request that a session sends for itself.
pub const OWN: usize = usize::MAX;

/// A request in flight to the server.
#[derive(Debug)]
pub struct Flying {
    pub ticket: Ticket,
    /// Its number among the client's requests, or [`OWN`].
    pub number: usize,
    pub route: Route,
    /// The client does not receive the reply: its own one is the proxy's.
    pub hidden: bool,
    pub name: String,
}

/// A pinned connection.
#[derive(Debug)]
pub struct Lease {
    pub connection: usize,
    pub key: PoolKey,
    pub line: PinnedLine,
    /// Requests of which not all commands were sent.
    pub sending: VecDeque<Sending>,
    /// The beginning of a command.
    pub partial: BytesMut,
    /// Bytes that the connection still takes.
    pub takes: usize,
    /// The server has refused the UNWATCH that takes the place of DISCARD.
    pub keeps_watch: bool,
}

/// A request of which some commands are still to be put on a pinned connection.
#[derive(Debug)]
pub struct Sending {
    pub number: usize,
    pub hidden: bool,
    pub commands: usize,
}

pub struct Client {
    pub conversation: Conversation,
    pub reference: Reference,
    /// Requests that the conversation has not dealt with.
    pub pending: VecDeque<Words>,
    /// The first of them is sent, or some of it.
    pub sent: bool,
    /// Bytes that the client has written and the network has not taken.
    pub unsent: BytesMut,
    pub flying: VecDeque<Flying>,
    pub lease: Option<Lease>,
    /// The client has sent QUIT.
    pub disconnecting: bool,
    pub closed: bool,
    /// The server cannot be reached: the connection is closed in the place of this request.
    pub cut: Option<usize>,
    /// Whether the client had disconnected before that.
    pub disconnected: bool,
    /// The last of its requests that the server executed.
    pub last_executed: Option<usize>,
}

impl Client {
    pub fn new(
        id: u64,
        auth: &Auth,
        limits: &Arc<ClientLimits>,
        now: Instant,
        on_outage: OnOutage,
    ) -> Self {
        let session = Session::new(id, auth, now, on_outage);
        Self {
            conversation: Conversation::new(id, session, Arc::clone(limits), now),
            reference: Reference::new(id),
            pending: VecDeque::new(),
            sent: false,
            unsent: BytesMut::new(),
            flying: VecDeque::new(),
            lease: None,
            disconnecting: false,
            closed: false,
            cut: None,
            disconnected: false,
            last_executed: None,
        }
    }

    pub fn session(&self) -> &Session {
        self.conversation.session()
    }

    pub fn waiting(&self) -> PendingStep {
        self.conversation.pending_step()
    }

    /// The request that was sent is answered.
    pub fn pop(&mut self) -> Words {
        assert!(std::mem::replace(&mut self.sent, false), "a request that was not sent");
        self.pending.pop_front().unwrap()
    }

    /// The client sends nothing more.
    pub fn disconnect(&mut self) {
        self.pending.clear();
        self.unsent.clear();
        (self.sent, self.disconnecting) = (false, true);
    }

    /// Takes the request out of the air whose reply is complete.
    pub fn land(&mut self, ticket: Option<Ticket>) -> Flying {
        let at = match ticket {
            None => 0,
            Some(ticket) => self.flying.iter().position(|f| f.ticket == ticket).expect("it flies"),
        };
        self.flying.remove(at).expect("it flies")
    }

    /// Whether a reply to `ticket` is for the client.
    pub fn flies(&self, ticket: Ticket) -> bool {
        self.flying.iter().any(|flying| flying.ticket == ticket)
    }

    /// Nothing of request `number`, nor of any behind it, will be answered.
    pub fn cut(&mut self, number: usize) {
        self.flying.retain(|flying| flying.number < number && flying.number != OWN);
        self.disconnected |= self.disconnecting && self.cut.is_none();
        self.disconnect();
        self.cut = Some(number);
    }

    /// What it has read.
    pub fn read(&mut self) {
        let bytes = self.take_output();
        self.reference.receive(&bytes);
    }

    /// The socket takes everything.
    pub fn take_output(&mut self) -> Vec<u8> {
        let bytes = self.conversation.output().to_vec();
        self.conversation.advance_output(bytes.len());
        bytes
    }

    pub fn flies_pinned(&self) -> bool {
        self.flying.iter().any(|flying| flying.route == Route::Pinned)
    }

    /// What must hold after every step.
    pub fn check(&mut self) {
        if self.closed {
            return;
        }
        self.read();
        check_invariants(&self.conversation);
        assert_eq!(self.session().in_flight(), self.flying.len(), "requests in flight");
        if let Some(first) = self.flying.front() {
            assert!(
                self.flying.iter().all(|f| f.route == first.route),
                "two routes at once: {:?}",
                self.flying
            );
        }
    }

    pub fn finish(&self) {
        if self.closed {
            return;
        }
        assert_eq!(self.waiting(), PendingStep::No, "waits for ever");
        assert!(self.pending.is_empty() && self.flying.is_empty() && self.session().is_settled());
        assert!(self.unsent.is_empty() && self.conversation.is_consumed());
        self.reference.finish();
    }
}

//! One client and the shell around its session, without sockets.
//!
//! Owns: [`Client`]: what is asked, what waits, what flies. Never knows: the server.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use respgate::config::OnOutage;
use respgate::resp::ReplyScanner;
use respgate::session::{Auth, Cause, Route, Session};
use respgate::traffic::{PoolKey, Ticket};

use super::model::Words;
use super::reference::Reference;

/// What the request at the front of `pending` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    No,
    Reply,
    Lease(Cause),
    Open(PoolKey),
}

/// The number of what a session asks for itself.
pub const OWN: usize = usize::MAX;

/// A request on its way to the server.
#[derive(Debug)]
pub struct Flying {
    pub ticket: Ticket,
    /// Its number among the client's requests, or [`OWN`].
    pub number: usize,
    pub route: Route,
    /// The client hears nothing of it: its own reply is the proxy's.
    pub hidden: bool,
    pub name: String,
}

/// A pinned connection.
#[derive(Debug)]
pub struct Lease {
    pub connection: usize,
    pub key: PoolKey,
    pub scanner: ReplyScanner,
    /// A reply or message has arrived in part.
    pub begun: bool,
}

pub struct Client {
    pub session: Session,
    pub reference: Reference,
    pub pending: VecDeque<Words>,
    pub waiting: Waiting,
    pub flying: VecDeque<Flying>,
    pub lease: Option<Lease>,
    pub out: BytesMut,
    /// It said QUIT.
    pub leaving: bool,
    pub closed: bool,
    /// The server cannot be reached: the connection is closed in the place of this request.
    pub cut: Option<usize>,
    /// The last of its requests that the server executed.
    pub last_executed: Option<usize>,
}

impl Client {
    pub fn new(id: u64, auth: &Auth, now: Instant, on_outage: OnOutage) -> Self {
        Self {
            session: Session::new(id, auth, now, on_outage),
            reference: Reference::new(id),
            pending: VecDeque::new(),
            waiting: Waiting::No,
            flying: VecDeque::new(),
            lease: None,
            out: BytesMut::new(),
            leaving: false,
            closed: false,
            cut: None,
            last_executed: None,
        }
    }

    /// Takes the request out of the air whose reply is complete.
    pub fn land(&mut self, ticket: Option<Ticket>) -> Flying {
        let at = match ticket {
            None => 0,
            Some(ticket) => self.flying.iter().position(|f| f.ticket == ticket).expect("it flies"),
        };
        if self.waiting == Waiting::Reply {
            self.waiting = Waiting::No;
        }
        self.flying.remove(at).expect("it flies")
    }

    /// Whether a reply to `ticket` is for the client.
    pub fn flies(&self, ticket: Ticket) -> bool {
        self.flying.iter().any(|flying| flying.ticket == ticket)
    }

    /// Nothing of request `number`, nor of any behind it, will be answered.
    pub fn cut(&mut self, number: usize) {
        self.flying.retain(|flying| flying.number < number && flying.number != OWN);
        self.pending.clear();
        self.waiting = Waiting::No;
        self.leaving = true;
        self.cut = Some(number);
    }

    pub fn flies_pinned(&self) -> bool {
        self.flying.iter().any(|flying| flying.route == Route::Pinned)
    }

    /// What must hold after every step.
    pub fn check(&mut self) {
        if self.closed {
            return;
        }
        let bytes = self.out.split();
        self.reference.receive(&bytes);
        assert_eq!(self.session.in_flight(), self.flying.len(), "requests on their way");
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
        assert_eq!(self.waiting, Waiting::No, "waits for ever");
        assert!(self.pending.is_empty() && self.flying.is_empty() && self.session.is_settled());
        self.reference.finish();
    }
}

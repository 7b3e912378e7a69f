//! What a conversation of the simulation reaches: every call leaves an event, which the world takes up.
//!
//! Owns: [`Surroundings`], [`Event`]. Never knows: the server, other clients.

use std::time::Instant;

use bytes::BytesMut;
use respgate::internals::command::Spec;
use respgate::internals::downstream::conversation::{Host, LeaseEnd, Moment};
use respgate::internals::policy::Policy;
use respgate::internals::resp::Request;
use respgate::internals::session::{
    self, Auth, Completed, Context, Limiters, MultiPermission, RequestScratch, Route, Scripts,
    Session, Step,
};
use respgate::internals::traffic::{Facts, Loss, Outgoing, PoolKey, Ticket, Unavailable};
use respgate::internals::upstream::{FramePiece, PinnedLine, Reply};

use super::client::Lease;
use super::reference::show;

/// What a request waits for, or how it is dealt with.
#[derive(Debug)]
pub enum Judged {
    Again,
    Done,
    Close,
    Open,
    Ask { route: Route, ticket: Ticket, skip: u32 },
    Send { route: Route, ticket: Ticket, skip: u32 },
}

#[derive(Debug)]
pub enum Event {
    Judged(Judged),
    Sent {
        key: PoolKey,
        ticket: Ticket,
        bytes: Vec<u8>,
        skip: u32,
        retry: bool,
        refused: bool,
    },
    Pushed(Vec<u8>),
    /// The shared connection that was asked for is up.
    Known,
    Unavailable,
    LeaseEnded(LeaseEnd),
    LeaseLost,
    /// A request on the pinned connection is answered.
    Completed,
}

pub struct Surroundings<'a> {
    pub policy: &'a Policy,
    pub auth: &'a Auth,
    pub scripts: &'a mut Scripts,
    pub multi_permission: &'a mut MultiPermission,
    pub limiters: &'a Limiters,
    pub request_scratch: &'a mut RequestScratch,
    pub dedicated: bool,
    pub lends_at_once: bool,
    /// Shared connections that are up.
    pub up: Vec<PoolKey>,
    /// The way to shared connections is closed.
    pub refuse: bool,
    pub lease: Option<&'a mut Lease>,
    pub loud: Option<usize>,
    pub events: Vec<Event>,
}

impl Surroundings<'_> {
    /// The pinned connection takes what is in line for it, or some of it.
    pub fn write(&mut self) {
        let Some(lease) = &mut self.lease else { return };
        let unwritten = lease.line.unwritten();
        let bytes = unwritten[..unwritten.len().min(lease.takes)].to_vec();
        if !bytes.is_empty() {
            lease.line.wrote(bytes.len());
            lease.takes -= bytes.len();
            self.events.push(Event::Pushed(bytes));
        }
    }
}

impl Host for Surroundings<'_> {
    fn with_context<R>(
        &mut self,
        moment: &Moment<'_>,
        judge: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        assert_eq!(self.lease.is_some(), moment.has_lease, "it has what it thinks it has");
        let mut ctx = Context {
            policy: self.policy,
            auth: self.auth,
            limits: moment.limits,
            dedicated: self.dedicated,
            valkey: false,
            server: respgate::internals::traffic::Server::default(),
            has_lease: moment.has_lease,
            lends_at_once: self.lends_at_once,
            server_holds_writes: false,
            now: moment.now,
            unix_ms: 0,
            epoch: 0,
            globals: None,
            scripts: self.scripts,
            multi_permission: self.multi_permission,
            limiters: self.limiters,
            request_scratch: self.request_scratch,
        };
        judge(&mut ctx)
    }

    fn take_wire(&mut self) -> BytesMut {
        self.request_scratch.take_wire()
    }

    fn reuse(&mut self, wire: BytesMut) {
        self.request_scratch.reuse(wire);
    }

    fn with_scripts<R>(&mut self, learn: impl FnOnce(&mut Scripts) -> R) -> R {
        learn(self.scripts)
    }

    fn send(&mut self, route: Route, request: Outgoing<'_>) -> Result<(), Unavailable> {
        let Outgoing { ticket, bytes, skips, retry, companion, .. } = request;
        assert!(!companion, "nothing is completed here");
        let (Route::Shared(key) | Route::Stalled(key)) = route else { panic!("sent to {route:?}") };
        let (bytes, skip, refused) = (bytes.to_vec(), skips.count(), self.refuse);
        self.events.push(Event::Sent { key, ticket, bytes, skip, retry, refused });
        if refused { Err(Unavailable::Overloaded) } else { Ok(()) }
    }

    fn known(&mut self, key: PoolKey) -> Option<Facts> {
        let known = self.up.contains(&key).then(super::world::facts);
        self.events.extend(known.is_some().then_some(Event::Known));
        known
    }

    fn line(&mut self) -> Option<&mut PinnedLine> {
        self.lease.as_mut().map(|lease| &mut lease.line)
    }

    fn unwritten(&self) -> usize {
        self.lease.as_ref().map_or(0, |lease| lease.line.unwritten().len())
    }

    fn frame(&mut self, bytes: &[u8]) -> Option<FramePiece> {
        self.write();
        let lease = self.lease.as_mut().expect("a connection is pinned");
        Some(lease.line.frame(bytes).expect("the server sends RESP"))
    }

    fn match_reply(
        &mut self,
        piece: (&[u8], u8, bool),
        large_bytes: u64,
        now: Instant,
    ) -> Reply<'_> {
        let lease = self.lease.as_mut().expect("a connection is pinned");
        lease.line.match_reply(piece, large_bytes, now, |_| ())
    }

    fn end_lease(&mut self, end: LeaseEnd) {
        self.write();
        let lease = self.lease.take().expect("there is one");
        assert!(
            end != LeaseEnd::Returned || lease.line.is_clean(),
            "it was not left as it was lent"
        );
        self.events.push(Event::LeaseEnded(end));
    }

    fn lose_lease(&mut self, _: Loss, _: usize) {
        self.write();
        self.lease.take().expect("there is one");
        self.events.push(Event::LeaseLost);
    }

    fn is_dedicated(&self) -> bool {
        self.dedicated
    }

    fn judged(&mut self, _: &Session, request: &Request<'_>, judged: &session::Judged, _: Instant) {
        let step = &judged.step;
        if let Some(client) = self.loud {
            eprintln!("client {client} {:?}: {step:?}", show(request.raw()));
        }
        self.events.push(Event::Judged(match *step {
            Step::Wait | Step::Acquire(_) | Step::Collect => Judged::Again,
            Step::Pause(_) => panic!("nothing is limited"),
            Step::Done => Judged::Done,
            Step::Close => Judged::Close,
            Step::Open(_) => Judged::Open,
            Step::Ask { route, ticket, skips, .. } => {
                Judged::Ask { route, ticket, skip: skips.count() }
            }
            Step::Send { route, ticket, .. } => Judged::Send { route, ticket, skip: 0 },
            Step::SendWire { route, ticket, wire } => {
                Judged::Send { route, ticket, skip: wire.skips.count() }
            }
        }));
    }

    fn completed(&mut self, _: &Session, _: Completed, _: Instant, _: Instant) {
        self.events.push(Event::Completed);
    }

    fn unavailable(&mut self, _: Option<&'static Spec>) {
        self.events.push(Event::Unavailable);
    }
}

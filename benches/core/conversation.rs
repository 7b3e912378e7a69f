//! One command's way through the pure core, there and back: a conversation without sockets.
//!
//! Owns: [`Talk`]. Never knows: clocks, how often it runs, what is counted.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use respgate::internals::config::{
    ClientLimits, KeyMode, KeyRules, OnMissing, OnOutage, Rules, TtlRules,
};
use respgate::internals::downstream::conversation::{
    Arrivals, Conversation, Host, LeaseEnd, Moment,
};
use respgate::internals::policy::{Policy, compile};
use respgate::internals::resp::ReplyScanner;
use respgate::internals::session::{
    Auth, Context, Limiters, MultiPermission, RequestScratch, Route, Scripts, Session,
};
use respgate::internals::traffic::{Facts, Loss, Outgoing, PoolKey, Ticket, Unavailable};
use respgate::internals::upstream::{Buffers, Delivery, FramePiece, Mailbox, PinnedLine, Reply};

type Build = fn() -> Rules;

/// The rules of the example configuration, none, and those that change requests.
pub const RULES: [(&str, Build); 4] = [
    ("one prefix", || acl("+@all -@dangerous ~app1:*")),
    ("none", || acl("+@all ~* &*")),
    ("rewrite", || {
        let prefix = Some("app1:".to_owned());
        let keys = KeyRules { mode: KeyMode::Rewrite, prefix, ..KeyRules::default() };
        Rules { keys, ..acl("+@all -@dangerous ~* &*") }
    }),
    ("time to live", || {
        let default = Some(Duration::from_secs(3600));
        let ttl = TtlRules { default, on_missing: OnMissing::Inject, ..TtlRules::default() };
        Rules { ttl, ..acl("+@all -@dangerous ~app1:*") }
    }),
];

fn acl(acl: &str) -> Rules {
    Rules { acl: Some(acl.to_owned()), ..Rules::default() }
}

pub fn request(args: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", args.len());
    for arg in args {
        text += &format!("${}\r\n{arg}\r\n", arg.len());
    }
    text.into_bytes()
}

/// A conversation with everything around it.
pub struct Talk {
    conversation: Conversation,
    around: Around,
    replies: ReplyScanner,
    mailbox: Rc<Mailbox>,
}

/// What the conversation reaches: nothing but a buffer.
struct Around {
    policy: Policy,
    auth: Auth,
    request_scratch: RequestScratch,
    scripts: Scripts,
    multi_permission: MultiPermission,
    limiters: Limiters,
    wire: BytesMut,
    tickets: Tickets,
}

impl Talk {
    pub fn new(rules: &Rules, now: Instant) -> Self {
        let session = Session::new(1, &Auth::Off, now, OnOutage::Close);
        Self {
            conversation: Conversation::new(1, session, Arc::new(ClientLimits::default()), now),
            around: Around {
                policy: compile(rules).unwrap(),
                auth: Auth::Off,
                request_scratch: RequestScratch::default(),
                scripts: Scripts::default(),
                multi_permission: MultiPermission::default(),
                limiters: Limiters::default(),
                wire: BytesMut::new(),
                tickets: Tickets::default(),
            },
            replies: ReplyScanner::default(),
            mailbox: Mailbox::new(1 << 20, Buffers::new(1 << 20)),
        }
    }

    /// Takes every request in `bytes`, then every reply in `replies`; returns how many went through.
    pub fn turn(&mut self, bytes: &[u8], replies: &[u8]) -> usize {
        let Self { conversation, around, mailbox, .. } = self;
        conversation.advance_output(conversation.output().len());
        around.wire.clear();
        around.tickets.len = 0;
        conversation.handle_bytes(bytes, around);
        let now = conversation.now();
        let mut rest = replies;
        for &ticket in &around.tickets {
            let advance = self.replies.advance(rest).unwrap();
            assert!(advance.done, "the replies end too early");
            let (reply, behind) = rest.split_at(advance.used);
            rest = behind;
            mailbox.deliver(ticket, reply, self.replies.kind(), true, now);
        }
        let mut completed = 0;
        mailbox.drain(Waker::noop(), |items, bytes| {
            let mut arrivals = Arrivals::begin(conversation);
            for item in items {
                let Delivery::Piece { ticket, len, kind, done } = item else { return };
                let piece = (ticket, len, kind, done);
                let done = arrivals.take_piece(conversation, bytes, piece, around);
                completed += usize::from(done.is_some());
            }
            arrivals.end(conversation, bytes);
        });
        conversation.handle_delivered(completed > 0, None, around);
        completed
    }
}

impl Host for Around {
    fn with_context<R>(
        &mut self,
        moment: &Moment<'_>,
        judge: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        let mut ctx = Context {
            policy: &self.policy,
            auth: &self.auth,
            limits: moment.limits,
            dedicated: false,
            valkey: false,
            server: respgate::internals::traffic::Server::default(),
            has_lease: moment.has_lease,
            lends_at_once: true,
            server_holds_writes: false,
            now: moment.now,
            unix_ms: 1_700_000_000_000,
            epoch: 0,
            globals: None,
            scripts: &mut self.scripts,
            multi_permission: &mut self.multi_permission,
            limiters: &self.limiters,
            request_scratch: &mut self.request_scratch,
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
        learn(&mut self.scripts)
    }

    fn send(&mut self, route: Route, request: Outgoing<'_>) -> Result<(), Unavailable> {
        assert!(matches!(route, Route::Shared(_)), "sent to {route:?}");
        self.wire.extend_from_slice(request.bytes);
        self.tickets.push(request.ticket);
        Ok(())
    }

    fn known(&mut self, _: PoolKey) -> Option<Facts> {
        None
    }

    fn line(&mut self) -> Option<&mut PinnedLine> {
        None
    }

    fn unwritten(&self) -> usize {
        0
    }

    fn frame(&mut self, _: &[u8]) -> Option<FramePiece> {
        None
    }

    fn match_reply(&mut self, _: (&[u8], u8, bool), _: u64, _: Instant) -> Reply<'_> {
        Reply::Unexpected
    }

    fn end_lease(&mut self, _: LeaseEnd) {}

    fn lose_lease(&mut self, _: Loss, _: usize) {}

    fn is_dedicated(&self) -> bool {
        false
    }
}

/// The tickets of one turn, without an allocation.
#[derive(Default)]
struct Tickets {
    all: [Ticket; 32],
    len: usize,
}

impl Tickets {
    fn push(&mut self, ticket: Ticket) {
        self.all[self.len] = ticket;
        self.len += 1;
    }
}

impl<'a> IntoIterator for &'a Tickets {
    type Item = &'a Ticket;
    type IntoIter = std::slice::Iter<'a, Ticket>;

    fn into_iter(self) -> Self::IntoIter {
        self.all[..self.len].iter()
    }
}

//! One command's way through the pure core, there and back, as the shells walk it.
//!
//! Owns: [`Conversation`]. Never knows: clocks, how often it is walked, what is counted.

use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use respgate::config::{ClientLimits, KeyMode, KeyRules, OnMissing, OnOutage, Rules, TtlRules};
use respgate::policy::{Policy, compile};
use respgate::resp::{ReplyScanner, RequestLimits, RequestScanner, Scan};
use respgate::session::{
    Auth, Context, Limiters, MultiPermission, RequestScratch, Scripts, Session, Step,
};
use respgate::upstream::{Buffers, Delivery, Mailbox};

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

pub fn limits() -> RequestLimits {
    RequestLimits {
        max_args: 1 << 20,
        max_bulk_bytes: 64 << 20,
        max_inline_bytes: 64 << 10,
        large_bytes: 64 << 10,
        authenticated: true,
    }
}

pub fn request(args: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", args.len());
    for arg in args {
        text += &format!("${}\r\n{arg}\r\n", arg.len());
    }
    text.into_bytes()
}

/// A session with everything around it.
pub struct Conversation {
    session: Session,
    scanner: RequestScanner,
    replies: ReplyScanner,
    mailbox: Rc<Mailbox>,
    policy: Policy,
    auth: Auth,
    limits: ClientLimits,
    frame: RequestLimits,
    request_scratch: RequestScratch,
    scripts: Scripts,
    multi_permission: MultiPermission,
    limiters: Limiters,
    now: Instant,
    pub out: BytesMut,
    pub wire: BytesMut,
}

impl Conversation {
    pub fn new(rules: &Rules, now: Instant) -> Self {
        Self {
            session: Session::new(1, &Auth::Off, now, OnOutage::Close),
            scanner: RequestScanner::default(),
            replies: ReplyScanner::default(),
            mailbox: Mailbox::new(1 << 20, Buffers::new(1 << 20)),
            policy: compile(rules).unwrap(),
            auth: Auth::Off,
            limits: ClientLimits::default(),
            frame: limits(),
            request_scratch: RequestScratch::default(),
            scripts: Scripts::default(),
            multi_permission: MultiPermission::default(),
            limiters: Limiters::default(),
            now,
            out: BytesMut::new(),
            wire: BytesMut::new(),
        }
    }

    /// Takes every request in `bytes`, then every reply in `replies`; returns how many went through.
    pub fn turn(&mut self, bytes: &[u8], replies: &[u8]) -> usize {
        self.out.clear();
        self.wire.clear();
        let tickets = self.requests(bytes);
        let mut rest = replies;
        for &ticket in &tickets {
            let advance = self.replies.advance(rest).unwrap();
            assert!(advance.done, "the replies end too early");
            let (reply, behind) = rest.split_at(advance.used);
            rest = behind;
            self.mailbox.deliver(ticket, reply, self.replies.kind(), true);
        }
        let Self { mailbox, session, out, .. } = self;
        let mut completed = 0;
        mailbox.drain(Waker::noop(), |item, bytes| {
            let Delivery::Piece { ticket, kind, done, .. } = item else { return };
            completed +=
                usize::from(session.handle_reply(ticket, bytes, kind, done, out).is_some());
        });
        completed
    }

    fn requests(&mut self, mut rest: &[u8]) -> Tickets {
        let mut tickets = Tickets::default();
        let Self {
            session,
            scanner,
            policy,
            auth,
            limits,
            frame,
            request_scratch,
            scripts,
            multi_permission,
            limiters,
            now,
            out,
            wire,
            ..
        } = self;
        let mut ctx = Context {
            policy,
            auth,
            limits,
            dedicated: false,
            valkey: false,
            server: respgate::traffic::Server::default(),
            has_lease: false,
            lends_at_once: true,
            held: false,
            now: *now,
            unix_ms: 1_700_000_000_000,
            epoch: 0,
            scripts,
            multi_permission,
            limiters,
            request_scratch,
        };
        while let Ok(Scan::Request { used }) = scanner.scan(rest, frame) {
            let request = scanner.request(rest);
            let step = session.handle_request(&request, &mut ctx, out);
            match step {
                Step::Send { ticket, .. } => {
                    wire.extend_from_slice(request.raw());
                    tickets.push(ticket);
                }
                Step::SendWire { ticket, wire: how, .. } => {
                    let changed = ctx.request_scratch.take_wire();
                    wire.extend_from_slice(&changed);
                    ctx.request_scratch.reuse(changed);
                    tickets.push(ticket);
                    if how.companions > 0 {
                        tickets.push(ticket.next());
                    }
                }
                other @ (Step::Done
                | Step::Wait
                | Step::Pause(_)
                | Step::Ask { .. }
                | Step::Acquire(_)
                | Step::Open(_)
                | Step::Collect
                | Step::Close) => panic!("not sent: {other:?}"),
            }
            rest = &rest[used..];
        }
        tickets
    }
}

/// As many as one turn may have, without an allocation.
#[derive(Default)]
struct Tickets {
    all: [respgate::traffic::Ticket; 32],
    len: usize,
}

impl Tickets {
    fn push(&mut self, ticket: respgate::traffic::Ticket) {
        self.all[self.len] = ticket;
        self.len += 1;
    }
}

impl<'a> IntoIterator for &'a Tickets {
    type Item = &'a respgate::traffic::Ticket;
    type IntoIter = std::slice::Iter<'a, respgate::traffic::Ticket>;

    fn into_iter(self) -> Self::IntoIter {
        self.all[..self.len].iter()
    }
}

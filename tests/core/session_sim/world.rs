//! Sessions, their connections and a make-believe server, moved one small step at a time.
//!
//! Owns: [`World`] and the way of requests from clients to connections. Never knows: what is asked, what a
//! conversation decides.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use respgate::internals::config::{
    ClientLimits, KeyMode, KeyRules, OnOutage, Rules, ScriptMode, ScriptRules, TtlRules,
};
use respgate::internals::downstream::conversation::{
    Conversation, LeaseEnd, PendingStep, release_if_free,
};
use respgate::internals::policy::{Policy, compile};
use respgate::internals::resp::RequestBuf;
use respgate::internals::session::{
    Auth, Limiters, MultiPermission, RequestScratch, Route, Scripts,
};
use respgate::internals::telemetry::ClientDisconnect;
use respgate::internals::traffic::{Facts, Loss, OpenFailure, PoolKey, Ticket, Unavailable};
use respgate::internals::upstream::PinnedLine;

use super::client::{Client, Flying, Lease, OWN, Sending};
use super::model::{DATABASES, Model, Words};
use super::reference::{Fate, show};
use super::shared::{Entry, Shared};
use super::surroundings::{Event, Judged, Surroundings};

/// A command on a pinned connection that the server has not executed.
#[derive(Debug)]
pub struct Sent {
    pub number: usize,
    pub words: Words,
    /// The last of its request.
    pub last: bool,
    pub hidden: bool,
}

/// How a world differs from others.
#[derive(Clone, Debug)]
pub struct Shape {
    pub clients: usize,
    pub dedicated: bool,
    /// Dedicated, and what a client sets on its connection goes to the server, transactions too.
    pub transparent: bool,
    pub on_outage: OnOutage,
    pub max_in_flight: usize,
    pub large_bytes: u64,
    /// The prefix of every name at the server, which no client sees; it may be empty.
    pub prefix: &'static str,
    /// Reports on standard error what happens.
    pub loud: bool,
}

pub struct World {
    pub model: Model,
    pub clients: Vec<Client>,
    pub shared: Vec<Shared>,
    /// What pinned connections have received, by connection.
    pub inboxes: Vec<VecDeque<Sent>>,
    pub idle: Vec<(PoolKey, usize)>,
    pub shape: Shape,
    policy: Policy,
    auth: Auth,
    request_scratch: RequestScratch,
    scripts: Scripts,
    multi_permission: MultiPermission,
    limiters: Limiters,
    /// The loss that is reported when there can be no connection.
    denied: Option<Loss>,
}

impl World {
    pub fn new(shape: Shape, now: Instant) -> Self {
        let auth = Auth::Off;
        let limits = Arc::new(ClientLimits {
            max_in_flight: shape.max_in_flight,
            large_bytes: shape.large_bytes,
            ..ClientLimits::default()
        });
        let policy = match shape.prefix {
            "" if shape.dedicated && !shape.transparent => queued_here(),
            "" => Policy::open(),
            prefix => before(prefix),
        };
        // The permission is never requested here.
        let mut multi_permission = MultiPermission::default();
        multi_permission.note(true);
        Self {
            model: Model::default(),
            clients: (0..shape.clients)
                .map(|at| Client::new(at as u64 + 100, &auth, &limits, now, shape.on_outage))
                .collect(),
            shared: Vec::new(),
            inboxes: Vec::new(),
            idle: Vec::new(),
            shape,
            policy,
            auth,
            request_scratch: RequestScratch::default(),
            scripts: Scripts::default(),
            multi_permission,
            limiters: Limiters::default(),
            denied: None,
        }
    }

    /// A new connection to the server.
    pub fn connect(&mut self, key: PoolKey) -> usize {
        self.inboxes.push(VecDeque::new());
        self.model.connect(0, key.protocol, key.database)
    }

    pub fn hang_up(&mut self, connection: usize) {
        self.model.close(connection);
        self.inboxes[connection].clear();
    }

    /// Lets something happen to a client's conversation, and takes up what it does. `refuse`: the way to
    /// shared connections is closed.
    pub fn drive<R>(
        &mut self,
        at: usize,
        refuse: bool,
        act: impl FnOnce(&mut Conversation, &mut Surroundings<'_>) -> R,
    ) -> R {
        let up = self.shared.iter().filter(|shared| shared.connection.is_some());
        let up = up.map(|shared| shared.key).filter(|key| key.database < DATABASES).collect();
        let client = &mut self.clients[at];
        let mut surroundings = Surroundings {
            policy: &self.policy,
            auth: &self.auth,
            scripts: &mut self.scripts,
            multi_permission: &mut self.multi_permission,
            limiters: &self.limiters,
            request_scratch: &mut self.request_scratch,
            dedicated: self.shape.dedicated,
            lends_at_once: !client.pending.len().is_multiple_of(3),
            up,
            refuse,
            lease: client.lease.as_mut(),
            loud: self.shape.loud.then_some(at),
            events: Vec::new(),
        };
        let done = act(&mut client.conversation, &mut surroundings);
        surroundings.write();
        let events = surroundings.events;
        for event in events {
            self.take_up(at, event);
        }
        done
    }

    /// Sends up to `count` pieces of requests, then gives back what is not needed: one turn of a client's
    /// task.
    pub fn turn(&mut self, at: usize, count: usize, piece: usize, refuse: bool) {
        // What the replies have made of the pinned connection comes before the next request.
        self.settle(at);
        for _ in 0..count {
            let client = &mut self.clients[at];
            if client.closed || client.disconnecting {
                break;
            }
            if !client.conversation.is_consumed() {
                self.drive(at, refuse, |talk, around| talk.handle_pending(around));
            }
            let client = &mut self.clients[at];
            if client.waiting() != PendingStep::No {
                break;
            }
            if client.unsent.is_empty() {
                let Some(words) = client.pending.front().filter(|_| !client.sent) else { break };
                let request = RequestBuf::from_args(words);
                client.unsent.extend_from_slice(request.as_request().raw());
                client.sent = true;
            }
            let some = client.unsent.split_to(piece.min(client.unsent.len()));
            self.drive(at, refuse, |talk, around| talk.handle_bytes(&some, around));
        }
        self.settle(at);
    }

    /// What a conversation has done.
    fn take_up(&mut self, at: usize, event: Event) {
        match event {
            Event::Judged(judged) => self.take_judged(at, judged),
            Event::Sent { key, ticket, bytes, skip, retry, refused } => {
                let commands = split(&mut BytesMut::from(&*bytes));
                assert_eq!(commands.len(), skip as usize + 1, "replies that are to come");
                if refused {
                    return self.refuse(at, ticket);
                }
                let number = self.clients[at].flying.back().expect("it was judged").number;
                let shared = self.shared_for(key);
                self.shared[shared].line.push_back(Entry {
                    client: at,
                    ticket,
                    number,
                    skip,
                    commands,
                    written: 0,
                    executed: 0,
                    retry,
                    attempts: 0,
                    abandoned: false,
                });
            }
            Event::Pushed(bytes) => self.take_pushed(at, &bytes),
            Event::Known => {
                let client = &mut self.clients[at];
                let words = client.pop();
                client.reference.ask(&words, Fate::Executed);
            }
            Event::Unavailable => {
                let loss = self.denied.take().expect("it was denied");
                let client = &mut self.clients[at];
                let words = client.pop();
                if client.session().is_cut() {
                    return client.cut(client.reference.next_number());
                }
                client.reference.ask(&words, Fate::Refused(line_of(loss)));
            }
            Event::LeaseEnded(end) => self.take_back(at, end),
            Event::LeaseLost => {
                let lease = self.clients[at].lease.take().expect("it was lent");
                self.hang_up(lease.connection);
            }
            Event::Completed => _ = self.clients[at].land(None),
        }
    }

    fn take_judged(&mut self, at: usize, judged: Judged) {
        let client = &mut self.clients[at];
        match judged {
            Judged::Again | Judged::Open => {}
            Judged::Done => {
                let words = client.pop();
                client.reference.ask(&words, Fate::Executed);
            }
            Judged::Close => {
                let words = client.pop();
                client.reference.ask(&words, Fate::Executed);
                client.disconnect();
            }
            // A request of the session's own; the client's request comes again after the reply.
            Judged::Ask { route, ticket, skip } => {
                assert_eq!((route, skip), (Route::Pinned, 0), "MULTI is not to be asked for");
                let (number, hidden, name) = (OWN, true, String::new());
                client.flying.push_back(Flying { ticket, number, route, hidden, name });
                let lease = client.lease.as_mut().expect("a lease is at hand");
                lease.sending.push_back(Sending { number, hidden, commands: 1 });
            }
            Judged::Send { route, ticket, skip } => {
                let words = client.pop();
                let name = String::from_utf8(words[0].to_ascii_lowercase()).unwrap();
                let ends = matches!(name.as_str(), "exec" | "discard");
                let hidden = !self.shape.transparent && ends && skip == 0;
                let number = client.reference.ask(&words, Fate::Open);
                client.flying.push_back(Flying { ticket, number, route, hidden, name });
                if route == Route::Pinned {
                    let commands = skip as usize + 1;
                    let lease = client.lease.as_mut().expect("a lease is at hand");
                    lease.sending.push_back(Sending { number, hidden, commands });
                }
            }
        }
    }

    /// A request could not be sent.
    fn refuse(&mut self, at: usize, ticket: Ticket) {
        let client = &mut self.clients[at];
        if client.session().is_cut() {
            let number = client.flying.back().expect("it was judged").number;
            return client.cut(number);
        }
        let flying = client.land(Some(ticket));
        let loss = Loss::Unavailable(Unavailable::Overloaded);
        client.reference.lose(flying.number, &line_of(loss));
    }

    /// Bytes are put on a pinned connection: whole commands go to the server.
    fn take_pushed(&mut self, at: usize, bytes: &[u8]) {
        let lease = self.clients[at].lease.as_mut().expect("a lease is at hand");
        lease.partial.extend_from_slice(bytes);
        for words in split(&mut lease.partial) {
            let sending = lease.sending.front_mut().expect("a request in the line");
            sending.commands -= 1;
            let (number, hidden, last) = (sending.number, sending.hidden, sending.commands == 0);
            if last {
                lease.sending.pop_front();
            }
            self.inboxes[lease.connection].push_back(Sent { number, words, last, hidden });
        }
    }

    fn shared_for(&mut self, key: PoolKey) -> usize {
        assert!(key.database < DATABASES, "nothing is shared in a database that there is not");
        if let Some(at) = self.shared.iter().position(|shared| shared.key == key) {
            return at;
        }
        self.shared.push(Shared::new(key));
        self.shared.len() - 1
    }

    /// The shared connection that a client asked for is up, or is not.
    pub fn open(&mut self, at: usize, denied: Option<Loss>) {
        let PendingStep::Open(key) = self.clients[at].waiting() else { return };
        if self.clients[at].closed {
            return;
        }
        let missing = key.database >= DATABASES;
        if !missing && denied.is_none() {
            let shared = self.shared_for(key);
            if self.shared[shared].connection.is_none() {
                self.shared[shared].connection = Some(self.connect(key));
            }
        }
        let client = &mut self.clients[at];
        let words = client.pop();
        let number = client.reference.next_number();
        let (result, fate) = match denied {
            _ if missing => (
                Err(OpenFailure::Refused(b"ERR DB index is out of range".to_vec())),
                Fate::Executed,
            ),
            Some(loss) => (Err(OpenFailure::Loss(loss)), Fate::Lost(line_of(loss))),
            None => (Ok(facts()), Fate::Executed),
        };
        self.drive(at, false, |talk, around| talk.handle_opened(result, around));
        let client = &mut self.clients[at];
        if client.session().is_cut() {
            return client.cut(number);
        }
        client.reference.ask(&words, fate);
    }

    /// The pinned connection that a client asked for is there, or cannot be had.
    pub fn grant(&mut self, at: usize, denied: Option<Loss>) {
        let PendingStep::Lease(cause) = self.clients[at].waiting() else { return };
        if self.clients[at].closed {
            return;
        }
        if let Some(loss) = denied {
            self.denied = denied;
            let failure = OpenFailure::Loss(loss);
            return self
                .drive(at, false, |talk, around| talk.handle_lease_failed(&failure, around));
        }
        let key = self.clients[at].conversation.lease_key(cause);
        let connection = match self.idle.iter().position(|(idle, _)| *idle == key) {
            Some(found) => self.idle.remove(found).1,
            None => self.connect(key),
        };
        let client = &mut self.clients[at];
        if self.shape.transparent {
            // The client receives the number of its connection: here it is that of its reference.
            self.model.connections[connection].id = client.reference.model.connections[0].id;
        }
        client.lease = Some(Lease {
            connection,
            key,
            line: PinnedLine::new(client.conversation.now()),
            sending: VecDeque::new(),
            partial: BytesMut::new(),
            takes: usize::MAX,
            keeps_watch: false,
        });
        client.conversation.handle_lease();
    }

    /// A client's pinned connection takes only so many bytes more.
    pub fn hold_back(&mut self, at: usize, bytes: usize) {
        if let Some(lease) = &mut self.clients[at].lease {
            lease.takes = bytes;
        }
    }

    /// Lets a client's conversation look around: it gives the pinned connection back as soon as nothing of
    /// the client is on it.
    pub fn settle(&mut self, at: usize) {
        if !self.clients[at].closed {
            self.drive(at, false, |talk, around| {
                talk.notice_cut(around);
                release_if_free(talk, around);
            });
        }
    }

    /// A client's conversation has released its pinned connection.
    fn take_back(&mut self, at: usize, end: LeaseEnd) {
        let client = &mut self.clients[at];
        assert!(
            !client.flies_pinned(),
            "a pinned connection goes under its requests: {:?}",
            client.flying
        );
        let lease = client.lease.take().unwrap();
        if end != LeaseEnd::Returned {
            client.reference.lose_watch();
            return self.hang_up(lease.connection);
        }
        let connection = &self.model.connections[lease.connection];
        assert!(connection.is_clean(), "given back with state: {connection:?}");
        assert_eq!(
            (connection.protocol, connection.database),
            (lease.key.protocol, lease.key.database)
        );
        assert!(
            connection.output.is_empty() && lease.line.is_quiet(),
            "given back with replies in flight"
        );
        let sent = self.inboxes[lease.connection].is_empty();
        assert!(sent && lease.partial.is_empty(), "given back with requests in flight");
        self.idle.push((lease.key, lease.connection));
    }

    /// The time of a client's blocked command is up.
    pub fn time_out(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(lease) = &client.lease else { return };
        if self.model.connections[lease.connection].blocked.is_some() {
            self.model.time_out(lease.connection);
            client.reference.outside(|model| model.time_out(0));
        }
    }

    /// Lets everything come to an end that can.
    pub fn drain(&mut self) {
        for _ in 0..2000 {
            for at in 0..self.clients.len() {
                self.grant(at, None);
                self.open(at, None);
                self.hold_back(at, usize::MAX);
                self.turn(at, 10, usize::MAX, false);
                self.serve_pinned(at, false);
                self.time_out(at);
                self.deliver_pinned(at, usize::MAX);
            }
            for at in 0..self.shared.len() {
                self.write(at, usize::MAX);
                self.serve_shared(at);
                self.deliver_shared(at, usize::MAX);
            }
            self.check();
            if self.is_quiet() {
                (0..self.clients.len()).for_each(|at| self.settle(at));
                return;
            }
        }
    }

    /// No client keeps a connection without need.
    pub fn check_leases(&self) {
        if self.shape.dedicated || self.shape.large_bytes < 1 << 16 {
            return;
        }
        for client in self.clients.iter().filter(|client| !client.closed && client.lease.is_some())
        {
            let needs = !client.reference.model.connections[0].is_clean();
            assert!(needs, "a pinned connection is kept without need");
        }
    }

    fn is_quiet(&self) -> bool {
        let idle = |client: &Client| {
            client.closed
                || (client.pending.is_empty()
                    && client.flying.is_empty()
                    && client.unsent.is_empty()
                    && client.conversation.is_consumed()
                    && client.waiting() == PendingStep::No)
        };
        let silent = |lease: &Lease| self.model.connections[lease.connection].output.is_empty();
        self.clients.iter().all(|client| idle(client) && client.lease.as_ref().is_none_or(silent))
            && self.shared.iter().all(|shared| shared.line.is_empty())
    }

    /// What must hold after every step.
    pub fn check(&mut self) {
        self.clients.iter_mut().for_each(Client::check);
        for at in 0..self.clients.len() {
            if self.clients[at].closed {
                continue;
            }
            // A turn ends so: what the client waits for is given up.
            self.drive(at, false, |talk, around| talk.notice_cut(around));
            let client = &self.clients[at];
            if let Some(number) = client.cut.filter(|_| client.session().is_settled()) {
                client.reference.finish_before(number);
                let why = self.drive(at, false, |talk, around| talk.poll_end(true, around));
                // The first reason for its end stays.
                let lost = ClientDisconnect::UpstreamLost;
                let first =
                    if self.clients[at].disconnected { ClientDisconnect::Client } else { lost };
                assert_eq!(why, Some(first), "it stays");
                self.close(at);
            }
        }
        let prefix = self.shape.prefix.as_bytes();
        let names = self.model.names();
        names
            .for_each(|name| assert!(name.starts_with(prefix), "a name of others: {}", show(name)));
    }
}

/// Everything is allowed, behind this prefix.
fn before(prefix: &str) -> Policy {
    let (mode, prefix) = (KeyMode::Rewrite, Some(prefix.to_owned()));
    let keys = KeyRules { mode, prefix, ..KeyRules::default() };
    let scripts = ScriptRules { mode: Some(ScriptMode::DeclaredKeys), ..ScriptRules::default() };
    let acl = Some("+@all ~* &*".to_owned());
    let rules = Rules { acl, keys, scripts, ..Rules::default() };
    compile(&rules).expect("the rules are right")
}

/// Everything, with a rule about no key at all: transactions are queued here also in session mode.
fn queued_here() -> Policy {
    let ttl = TtlRules {
        max: Some(Duration::from_secs(1)),
        apply_to: vec!["no such key".to_owned()],
        ..TtlRules::default()
    };
    let acl = Some("+@all ~* &*".to_owned());
    compile(&Rules { acl, ttl, ..Rules::default() }).expect("the rules are right")
}

/// What a client receives when its request gets no reply.
pub fn line_of(loss: Loss) -> String {
    match loss {
        Loss::Unavailable(why) => {
            let code = if why == Unavailable::Exhausted { "ERR" } else { "LOADING" };
            format!("{code} respgate: upstream unavailable ({}); the command was not executed", why.label())
        }
        Loss::OutcomeUnknown | Loss::Truncated => "ERR respgate: upstream connection lost, outcome unknown; the command may have been executed".to_owned(),
        Loss::TimedOut => "ERR respgate: no reply within upstream.pool.command_timeout; the command may still run".to_owned(),
        Loss::MultiRefused => panic!("no MULTI is refused"),
        Loss::Abandoned => "ERR respgate: the request was aborted before all of it was sent: an argument exceeds limits.max_bulk or policy.values.max_bytes, its framing is invalid, or no more of it arrived, or an earlier command got no reply, within upstream.pool.command_timeout; it was not executed".to_owned(),
    }
}

pub fn facts() -> Facts {
    Facts {
        server: "redis".to_owned(),
        version: "7.0.15".to_owned(),
        mode: "standalone".to_owned(),
        role: "master".to_owned(),
        modules_resp2: b"*0\r\n".to_vec(),
        modules_resp3: b"*0\r\n".to_vec(),
        availability_zone: None,
    }
}

/// Takes whole commands off the front of a wire.
fn split(wire: &mut BytesMut) -> Vec<Words> {
    let limits = respgate::internals::resp::RequestLimits {
        max_args: 1 << 20,
        max_bulk_bytes: 1 << 20,
        // The beginning of a line counts as one.
        max_inline_bytes: 64,
        large_bytes: 1 << 20,
        authenticated: true,
    };
    let mut all = Vec::new();
    while !wire.is_empty() {
        let mut scanner = respgate::internals::resp::RequestScanner::default();
        match scanner.scan(wire, &limits) {
            Ok(respgate::internals::resp::Scan::Request { used }) => {
                all.push(scanner.request(wire).args().map(<[u8]>::to_vec).collect());
                _ = wire.split_to(used);
            }
            Ok(respgate::internals::resp::Scan::More) => break,
            _ => panic!("not a request: {:?}", show(wire)),
        }
    }
    all
}

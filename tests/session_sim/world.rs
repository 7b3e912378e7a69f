//! Sessions, their connections and a make-believe server, moved one small step at a time.
//!
//! Owns: [`World`] and the way of requests from clients to connections. Never knows: what is asked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use respgate::config::{
    ClientLimits, KeyMode, KeyRules, OnOutage, Rules, ScriptMode, ScriptRules, TtlRules,
};
use respgate::policy::{Policy, compile};
use respgate::resp::RequestBuf;
use respgate::session::{
    Auth, Context, LeaseFate, Limiters, MultiPermission, RequestScratch, Route, Scripts, Step,
};
use respgate::traffic::{Facts, Loss, OpenFailure, PoolKey, Ticket, Unavailable};

use super::client::{Client, Flying, Lease, OWN, Waiting};
use super::model::{DATABASES, Model, Words};
use super::reference::{Fate, show};
use super::shared::{Entry, Shared};

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
    /// Dedicated, and what a client says of its connection goes to the server, transactions too.
    pub transparent: bool,
    pub on_outage: OnOutage,
    pub max_in_flight: usize,
    pub large_bytes: u64,
    /// What stands before every name at the server, and no client sees; it may be nothing.
    pub prefix: &'static str,
    /// Says on standard error what happens.
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
    limits: ClientLimits,
    request_scratch: RequestScratch,
    scripts: Scripts,
    multi_permission: MultiPermission,
    limiters: Limiters,
    now: Instant,
}

impl World {
    pub fn new(shape: Shape, now: Instant) -> Self {
        let auth = Auth::Off;
        let limits = ClientLimits {
            max_in_flight: shape.max_in_flight,
            large_bytes: shape.large_bytes,
            ..ClientLimits::default()
        };
        let policy = match shape.prefix {
            "" if shape.dedicated && !shape.transparent => queued_here(),
            "" => Policy::open(),
            prefix => before(prefix),
        };
        // Nobody asks for it here.
        let multi_permission = MultiPermission::default();
        multi_permission.note(true);
        Self {
            model: Model::default(),
            clients: (0..shape.clients)
                .map(|at| Client::new(at as u64 + 100, &auth, now, shape.on_outage))
                .collect(),
            shared: Vec::new(),
            inboxes: Vec::new(),
            idle: Vec::new(),
            shape,
            policy,
            auth,
            limits,
            request_scratch: RequestScratch::default(),
            scripts: Scripts::default(),
            multi_permission,
            limiters: Limiters::default(),
            now,
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

    /// Presents up to `count` requests, then gives back what is not needed: one turn of a client's
    /// task. `refuse`: the way to the shared connection is closed.
    pub fn turn(&mut self, at: usize, count: usize, refuse: bool) {
        // What the replies have made of the pinned connection comes before the next request.
        self.drop_lease(at);
        for _ in 0..count {
            let client = &self.clients[at];
            if client.closed
                || client.waiting != Waiting::No
                || client.leaving
                || client.pending.is_empty()
            {
                break;
            }
            self.present(at, refuse);
        }
        self.settle(at);
    }

    fn present(&mut self, at: usize, refuse: bool) {
        let client = &mut self.clients[at];
        let words = client.pending.front().cloned().unwrap();
        let request = RequestBuf::from_args(&words);
        let mut context = Context {
            policy: &self.policy,
            auth: &self.auth,
            limits: &self.limits,
            dedicated: self.shape.dedicated,
            valkey: false,
            server: respgate::traffic::Server::default(),
            has_lease: client.lease.is_some(),
            lends_at_once: !client.pending.len().is_multiple_of(3),
            held: false,
            now: self.now,
            unix_ms: 0,
            epoch: 0,
            scripts: &self.scripts,
            multi_permission: &self.multi_permission,
            limiters: &self.limiters,
            request_scratch: &mut self.request_scratch,
        };
        let request = request.as_request();
        let step = client.session.handle_request(&request, &mut context, &mut client.out);
        if self.shape.loud {
            let (flying, shown) = (client.flying.len(), show(request.raw()));
            eprintln!("client {at} {flying} fly {shown:?}: {step:?}");
        }
        match step {
            Step::Wait => {
                assert!(!client.flying.is_empty(), "waits for a reply and none is due");
                client.waiting = Waiting::Reply;
                return;
            }
            Step::Ask { route, ticket, skip, .. } => {
                assert_eq!((route, skip), (Route::Pinned, 0), "MULTI is not to be asked for");
                return self.ask(at, ticket);
            }
            Step::Acquire(cause) => {
                assert!(client.lease.is_none(), "has what it asks for");
                client.waiting = Waiting::Lease(cause);
                return;
            }
            Step::Pause(_) => panic!("nothing is limited"),
            Step::Collect => panic!("every request is whole"),
            Step::Done => _ = client.reference.ask(&words, Fate::Executed),
            Step::Close => {
                client.reference.ask(&words, Fate::Executed);
                client.leaving = true;
                client.pending.clear();
                return;
            }
            Step::Open(key) => {
                client.waiting = Waiting::Open(key);
                return self.await_open(at, key);
            }
            Step::Send { route, ticket, retry } => {
                self.send(at, &words, vec![words.clone()], route, ticket, retry, refuse);
            }
            Step::SendWire { route, ticket, wire } => {
                let commands = split(&self.request_scratch.take_wire());
                assert_eq!(commands.len(), wire.skip as usize + 1, "replies that are to come");
                self.send(at, &words, commands, route, ticket, wire.retry, refuse);
            }
        }
        self.clients[at].pending.pop_front();
        self.drop_lease(at);
    }

    /// A shared connection that is up need not be waited for.
    fn await_open(&mut self, at: usize, key: PoolKey) {
        let is_up =
            self.shared.iter().any(|shared| shared.key == key && shared.connection.is_some());
        if key.database < DATABASES && is_up {
            self.open(at, None);
        }
        self.drop_lease(at);
    }

    /// Sends what the session asks for itself; the client's request comes again after the reply.
    fn ask(&mut self, at: usize, ticket: Ticket) {
        let client = &mut self.clients[at];
        let words = split(&self.request_scratch.take_wire()).pop().unwrap();
        let name = String::from_utf8(words[0].to_ascii_lowercase()).unwrap();
        let (number, route, hidden) = (OWN, Route::Pinned, true);
        client.flying.push_back(Flying { ticket, number, route, hidden, name });
        let connection = client.lease.as_ref().expect("a lease is at hand").connection;
        self.inboxes[connection].push_back(Sent { number, words, last: true, hidden });
        client.waiting = Waiting::Reply;
    }

    /// RESET and HELLO part with the pinned connection before the next request is presented.
    fn drop_lease(&mut self, at: usize) {
        if self.clients[at].session.lease_need(self.shape.dedicated) == LeaseFate::Drop {
            self.settle(at);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what a step says, and what the world adds")]
    fn send(
        &mut self,
        at: usize,
        words: &Words,
        commands: Vec<Words>,
        route: Route,
        ticket: Ticket,
        retry: bool,
        refuse: bool,
    ) {
        let client = &mut self.clients[at];
        let name = String::from_utf8(words[0].to_ascii_lowercase()).unwrap();
        let ends = matches!(name.as_str(), "exec" | "discard");
        let hidden = !self.shape.transparent && ends && commands.len() == 1;
        let number = client.reference.ask(words, Fate::Open);
        client.flying.push_back(Flying { ticket, number, route, hidden, name });
        match route {
            Route::Pinned => {
                let connection = client.lease.as_ref().expect("a lease is at hand").connection;
                let last = commands.len() - 1;
                self.inboxes[connection].extend(
                    commands.into_iter().enumerate().map(|(index, words)| Sent {
                        number,
                        words,
                        last: index == last,
                        hidden,
                    }),
                );
            }
            Route::Shared(_) | Route::Held(_) if refuse => {
                let loss = Loss::Unavailable(Unavailable::Overloaded);
                let client = &mut self.clients[at];
                client.session.handle_loss(ticket, loss, &mut client.out).expect("it waits");
                if client.session.is_cut() {
                    return client.cut(number);
                }
                let flying = client.land(Some(ticket));
                client.reference.lose(flying.number, &line_of(loss));
            }
            Route::Shared(key) | Route::Held(key) => {
                let shared = self.shared_for(key);
                self.shared[shared].line.push_back(Entry {
                    client: at,
                    ticket,
                    number,
                    skip: u32::try_from(commands.len() - 1).unwrap(),
                    commands,
                    written: 0,
                    executed: 0,
                    retry,
                    attempts: 0,
                    abandoned: false,
                });
            }
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
        let Waiting::Open(key) = self.clients[at].waiting else { return };
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
        client.waiting = Waiting::No;
        let words = client.pending.pop_front().unwrap();
        let number = client.reference.next_number();
        let (result, fate) = match denied {
            _ if missing => (
                Err(OpenFailure::Refused(b"ERR DB index is out of range".to_vec())),
                Fate::Executed,
            ),
            Some(loss) => (Err(OpenFailure::Loss(loss)), Fate::Lost(line_of(loss))),
            None => (Ok(facts()), Fate::Executed),
        };
        client.session.handle_opened(result, &mut client.out);
        if client.session.is_cut() {
            return client.cut(number);
        }
        client.reference.ask(&words, fate);
    }

    /// The pinned connection that a client asked for is there, or cannot be had.
    pub fn grant(&mut self, at: usize, denied: Option<Loss>) {
        if self.clients[at].closed || !matches!(self.clients[at].waiting, Waiting::Lease(_)) {
            return;
        }
        self.clients[at].waiting = Waiting::No;
        if let Some(loss) = denied {
            let client = &mut self.clients[at];
            let words = client.pending.pop_front().unwrap();
            client.session.handle_unavailable(loss, &mut client.out);
            if client.session.is_cut() {
                return client.cut(client.reference.next_number());
            }
            client.reference.ask(&words, Fate::Refused(line_of(loss)));
            return;
        }
        let key = self.clients[at].session.key();
        let connection = match self.idle.iter().position(|(idle, _)| *idle == key) {
            Some(found) => self.idle.remove(found).1,
            None => self.connect(key),
        };
        let client = &mut self.clients[at];
        if self.shape.transparent {
            // The client is told the number of its connection: here it is that of its reference.
            self.model.connections[connection].id = client.reference.model.connections[0].id;
        }
        client.lease = Some(Lease {
            connection,
            key,
            scanner: respgate::resp::ReplyScanner::default(),
            begun: false,
        });
    }

    /// Gives the pinned connection back as soon as nothing of the client is on it.
    pub fn settle(&mut self, at: usize) {
        let client = &mut self.clients[at];
        // A request that waits was presented; so long the connection stays.
        if client.closed
            || client.lease.is_none()
            || matches!(client.waiting, Waiting::Lease(_) | Waiting::Reply)
        {
            return;
        }
        let need = client.session.lease_need(self.shape.dedicated);
        if need == LeaseFate::Keep {
            return;
        }
        assert!(
            !client.flies_pinned(),
            "a pinned connection goes under its requests: {:?}",
            client.flying
        );
        let lease = client.lease.take().unwrap();
        client.session.handle_lease_gone();
        if need == LeaseFate::Drop {
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
            connection.output.is_empty() && !lease.begun,
            "given back with replies on their way"
        );
        assert!(self.inboxes[lease.connection].is_empty(), "given back with requests on their way");
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
                self.turn(at, 10, false);
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

    /// Nobody keeps a connection without need.
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
                    && client.waiting == Waiting::No)
        };
        let silent = |lease: &Lease| self.model.connections[lease.connection].output.is_empty();
        self.clients.iter().all(|client| idle(client) && client.lease.as_ref().is_none_or(silent))
            && self.shared.iter().all(|shared| shared.line.is_empty())
    }

    /// What must hold after every step.
    pub fn check(&mut self) {
        self.clients.iter_mut().for_each(Client::check);
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            if let Some(number) = client.cut.filter(|_| client.session.is_settled()) {
                if !client.closed {
                    client.reference.finish_before(number);
                }
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

/// What a client hears when its request gets no reply.
pub fn line_of(loss: Loss) -> String {
    match loss {
        Loss::Unavailable(why) => {
            let code = if why == Unavailable::Exhausted { "ERR" } else { "LOADING" };
            format!("{code} respgate: upstream unavailable ({}); the command was not executed", why.label())
        }
        Loss::OutcomeUnknown | Loss::Truncated => "ERR respgate: upstream connection lost, outcome unknown; the command may have been executed".to_owned(),
        Loss::TimedOut => "ERR respgate: no reply within upstream.pool.command_timeout; the command may still run".to_owned(),
        Loss::MultiRefused => panic!("no MULTI is refused"),
        Loss::Abandoned => panic!("no request is half sent"),
    }
}

fn facts() -> Facts {
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

/// The commands of a wire.
fn split(wire: &[u8]) -> Vec<Words> {
    let limits = respgate::resp::RequestLimits {
        max_args: 1 << 20,
        max_bulk_bytes: 1 << 20,
        max_inline_bytes: 0,
        large_bytes: 1 << 20,
        authenticated: true,
    };
    let mut scanner = respgate::resp::RequestScanner::default();
    let (mut all, mut rest) = (Vec::new(), wire);
    while !rest.is_empty() {
        let Ok(respgate::resp::Scan::Request { used }) = scanner.scan(rest, &limits) else {
            panic!("not a request: {:?}", rest.escape_ascii().to_string());
        };
        all.push(scanner.request(rest).args().map(<[u8]>::to_vec).collect());
        rest = &rest[used..];
    }
    all
}

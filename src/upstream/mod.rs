//! Connections to the server: dialed, shared, lent, replaced.
//!
//! Owns: [`Upstream`], through which all of them are reached. Never knows: sessions, which commands pass,
//! the meaning of a request.

mod addresses;
mod breaker;
mod buffers;
mod busy;
mod carrier;
mod condition;
mod connection;
mod connector;
mod context;
pub(crate) mod credentials;
#[doc(hidden)]
pub(crate) mod decisions;
mod delivery;
pub(crate) mod dial;
mod drive;
mod ended;
pub(crate) mod failure;
pub(crate) mod fault;
mod handshake;
mod handshake_limit;
mod holder;
mod idle;
mod lease;
mod line;
pub(crate) mod login_script;
mod lua;
mod lua_inquiry;
mod mailbox;
mod memory_budget;
mod metrics;
mod missing;
mod mux;
mod node;
mod not_primary;
mod outage;
mod owner;
pub(crate) mod phase;
mod pipeline;
mod pool;
mod pool_core;
mod race;
mod read_ahead;
mod registry;
mod remarks;
mod reply_buffer;
mod retry_budget;
mod server_connection;
mod shared;
mod shares;
mod sniff;
mod socket;
mod stall;
mod stream;
mod supervise;
pub(crate) mod target;
mod wait;
mod yield_to_io;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep_until;

pub use buffers::Buffers;
pub(crate) use condition::Condition;
pub use delivery::Delivery;
pub(crate) use holder::Holder;
pub(crate) use lease::Lease;
pub(crate) use mailbox::Holding;
pub use mailbox::Mailbox;
pub(crate) use memory_budget::MemoryBudget;
pub(crate) use pipeline::pinned::Companion;
pub use pipeline::pinned::{FramePiece, PinnedLine, Reply};
pub(crate) use read_ahead::ReadAhead;
pub(crate) use remarks::{Notable, Remark};
pub(crate) use shared::Shared;
pub(crate) use shares::{Use, most_for_one_use};
pub(crate) use yield_to_io::yield_to_io;

use crate::base::{clock, limits};
use crate::config;
use crate::policy::guard::{Globals, GlobalsSource, GuardFailure};
use crate::telemetry::Metrics;
use crate::traffic::{Facts, Loss, OpenFailure, PoolKey, Server, Unavailable};
use context::UpstreamContext;
use dial::Dialer;
use missing::{MissingDatabases, Selection};
use pool::Pool;
use registry::{Place, Registry};

/// The server, as the data plane sees it: shared connections by key, pinned ones on loan.
#[derive(Debug)]
pub(crate) struct Upstream {
    context: Rc<UpstreamContext>,
    registry: Rc<Registry<Shared>>,
    pool: Rc<Pool>,
    missing: RefCell<MissingDatabases>,
}

impl Upstream {
    /// Must be called on the data plane's own thread, inside its `LocalRuntime`.
    #[must_use]
    pub(crate) fn start(
        settings: config::Upstream,
        large_bytes: u64,
        dialer: Dialer,
        metrics: Arc<Metrics>,
        budget: Arc<MemoryBudget>,
        seed: u64,
    ) -> Rc<Self> {
        let buffers = Buffers::within(budget);
        let context = UpstreamContext::new(settings, large_bytes, dialer, metrics, buffers, seed);
        let pool = Pool::new(Rc::clone(&context));
        let kept = Rc::clone(&pool);
        supervise::keep("looks after idle connections", move || Rc::clone(&kept).keep());
        let asked = Rc::clone(&context);
        supervise::keep("examination of the server's Lua", move || lua::keep(Rc::clone(&asked)));
        let width = context.settings.pool.connections;
        let registry = Rc::new(Registry::new(width, limits::SHARED_CONNECTIONS_MAX));
        Rc::new(Self { context, registry, pool, missing: RefCell::default() })
    }

    /// The shared connection for a key; it is dialed when a request needs it. Beyond so many keys it is one that
    /// refuses whatever it is asked.
    #[must_use]
    pub(crate) fn shared(&self, key: PoolKey) -> Rc<Shared> {
        let first = match self.registry.place(key, clock::now()) {
            Place::Known(shared) => {
                debug_assert!(shared.key() == key, "another database, or another RESP");
                return shared;
            }
            Place::New { first } => first,
            Place::Full => return Shared::refusing(key, Rc::clone(&self.context)),
        };
        let shared = mux::spawn(key, first, &self.context, &self.registry);
        self.registry.insert(&shared);
        shared
    }

    /// Where requests wait that the server holds, while it serves others (`CLIENT PAUSE WRITE`).
    #[must_use]
    pub(crate) fn lane(&self, key: PoolKey) -> Option<Rc<Shared>> {
        self.registry.lane(key)
    }

    /// The shared connection with this number, if it has not ended.
    #[must_use]
    pub(crate) fn numbered(&self, number: u64) -> Option<Rc<Shared>> {
        self.registry.numbered(number)
    }

    /// The shared connection for a key, if there is one.
    #[must_use]
    pub(crate) fn known(&self, key: PoolKey) -> Option<Rc<Shared>> {
        let all = self.registry.of(key);
        all.iter().find(|shared| shared.is_up()).or_else(|| all.first()).map(Rc::clone)
    }

    /// How long a command may take.
    #[must_use]
    pub(crate) fn command_timeout(&self) -> std::time::Duration {
        self.context.settings.pool.command_timeout
    }

    /// How long a connection may be silent before the server is asked for a sign of life.
    #[must_use]
    pub(crate) fn health_check_interval(&self) -> std::time::Duration {
        self.context.settings.pool.health_check_interval
    }

    /// How long a pinned connection may outlive the identity or password it was made with.
    #[must_use]
    pub(crate) fn pinned_grace(&self) -> std::time::Duration {
        self.context.settings.pool.pinned_grace
    }

    /// Makes sure that the shared connection for a key works.
    ///
    /// # Errors
    ///
    /// Why it does not; with the server's own line when it has no such database.
    pub(crate) async fn open(&self, key: PoolKey) -> Result<Facts, OpenFailure> {
        if self.registry.is_empty(key) && !self.registry.has_place(clock::now()) {
            return Err(OpenFailure::Loss(Loss::Unavailable(Unavailable::Exhausted)));
        }
        let pause = self.pause_before(key)?;
        let opening = async {
            if let Some(until) = pause {
                sleep_until(until.into()).await;
            }
            self.shared(key).open().await
        };
        let usual = self.context.settings.pool.acquire_timeout;
        let result =
            self.context.bounded(usual, self.context.patience, opening).await.unwrap_or_else(
                || Err(OpenFailure::Loss(Loss::Unavailable(self.context.last_failure()))),
            );
        let mut missing = self.missing.borrow_mut();
        match &result {
            Ok(_) => missing.handle_found(key.database),
            Err(OpenFailure::Refused(line)) => {
                missing.handle_refused(key.database, line, clock::now());
                self.registry.remove(key);
            }
            Err(OpenFailure::Loss(_)) => {}
        }
        result
    }

    /// Until when a session waits before a connection for this key is made: the server has refused many databases.
    ///
    /// # Errors
    ///
    /// The server's own line where it has refused this one a moment ago.
    fn pause_before(&self, key: PoolKey) -> Result<Option<Instant>, OpenFailure> {
        if !self.registry.is_empty(key) {
            return Ok(None);
        }
        match self.missing.borrow().poll(key.database, clock::now()) {
            Selection::Dial => Ok(None),
            Selection::Refused(line) => Err(OpenFailure::Refused(line.to_vec())),
            Selection::Wait(until) => Ok(Some(until)),
        }
    }

    /// Lends a connection to one session.
    ///
    /// # Errors
    ///
    /// When none can be had in time.
    pub(crate) async fn lease(
        &self,
        key: PoolKey,
        purpose: Use,
        holder: Holder,
        eager: bool,
    ) -> Result<Lease, OpenFailure> {
        Lease::acquire(Rc::clone(&self.pool), key, purpose, holder, eager).await
    }

    /// Sends what completes a request that was answered, on behalf of no session: its reply is dropped. It waits
    /// for a connection however long there is none.
    pub(crate) fn complete(&self, companion: &Companion) {
        if let Err(why) = self.shared(companion.key).complete(companion, clock::now()) {
            self.context.note_not_completed(why.label());
        }
    }

    /// Clients come by so many listeners: no one of several takes all pinned connections.
    pub(crate) fn share_among(&self, listeners: usize) {
        self.pool.share_among(listeners);
    }

    /// Whether a connection could be lent without waiting for other sessions.
    #[must_use]
    pub(crate) fn lends_at_once(&self, purpose: Use) -> bool {
        self.pool.has_room_for(purpose)
    }

    /// Whether any session waits for a connection.
    #[must_use]
    pub(crate) fn lease_is_waited_for(&self) -> bool {
        self.pool.is_waited_for()
    }

    /// Moves everything to connections made with the identity and password now in force. Nothing in
    /// flight is lost.
    pub(crate) fn rotate(&self) {
        for shared in self.registry.all() {
            shared.retire();
        }
        self.pool.retire();
    }

    /// What all buffers may take together.
    #[must_use]
    pub(crate) fn buffers(&self) -> Rc<Buffers> {
        Rc::clone(&self.context.buffers)
    }

    /// Whether the server cannot be reached, as far as is known.
    #[must_use]
    pub(crate) fn is_out(&self) -> bool {
        self.context.outage_since().is_some()
    }

    /// Since when the server cannot be reached.
    #[must_use]
    pub(crate) fn out_since(&self) -> Option<Instant> {
        self.context.outage_since()
    }

    /// Whether the server is silent: then a late reply is not a slow one.
    #[must_use]
    pub(crate) fn is_silent(&self) -> bool {
        self.context.is_silent()
    }

    /// How long a command waits for a connection while the server cannot be reached.
    #[must_use]
    pub(crate) fn outage_wait(&self) -> std::time::Duration {
        self.context.patience.wait
    }

    /// Of which requests clients want to know more than the reply.
    pub(crate) fn note(&self, notable: Notable) {
        self.context.notable.set(notable);
    }

    /// What a client sees of an outage.
    #[must_use]
    pub(crate) fn on_outage(&self) -> config::OnOutage {
        self.context.patience.on_outage
    }

    /// A client was closed because the server cannot be reached.
    pub(crate) fn note_client_closed(&self) {
        self.context.note_client_closed();
    }

    /// Whether the server can be reached.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        self.registry.all().iter().any(|shared| shared.is_up())
    }

    /// What the server reports of itself, while any shared connection to it is up.
    #[must_use]
    pub(crate) fn facts(&self) -> Option<Facts> {
        self.registry.all().iter().find_map(|shared| shared.facts())
    }

    /// The kind and version of the server, as far as they are known yet.
    #[must_use]
    pub(crate) fn server(&self) -> Server {
        self.context.server.get()
    }

    /// Another number whenever a connection has come or gone: what was known of the server may not be
    /// true any more.
    #[must_use]
    pub(crate) fn epoch(&self) -> u64 {
        self.context.epoch.get()
    }

    /// Scripts are to be guarded.
    pub(crate) fn guard_scripts(&self) {
        if self.context.guarding.borrow_mut().want() {
            self.context.guarding_due.notify_one();
        }
    }

    /// Connects before the first client sends a command.
    pub(crate) async fn warm(&self) -> Result<Facts, OpenFailure> {
        self.open(connection::HOME).await
    }

    /// What an operator may want to know of the server and the way to it.
    #[must_use]
    pub(crate) fn condition(&self) -> Condition {
        debug_assert_eq!(self.is_up(), self.facts().is_some(), "a server that is up is known");
        Condition {
            up: self.is_up(),
            server: self.facts().map(|facts| format!("{} {}", facts.server, facts.version)),
            out_since: self.context.outage_since(),
            last_error: self.context.last_error(),
            breaker_open: self.context.is_open(),
        }
    }

    /// Closes each connection once its outstanding replies have arrived.
    pub(crate) fn close(&self) {
        for shared in self.registry.all() {
            shared.close();
        }
    }
}

impl GlobalsSource for Upstream {
    fn globals(&self) -> Option<Result<Arc<Globals>, GuardFailure>> {
        self.context.guarding.borrow().get()
    }
}

//! A name and a port into a connection that is encrypted, logged in and ready for commands.
//!
//! Owns: [`Dialer`]. Never knows: pools, retries, sessions.

mod connect;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};

use super::addresses::{Finding, Known, Lookup};
use super::connection::Freshness;
use super::credentials::{Credentials, Login, LoginCandidate};
use super::failure::DialError;
use super::fault::Fault;
use super::login_script::{LoginScript, OptionalCommands, Progress};
use super::not_primary::is_primary;
use super::phase::{Phase, Reached, Spent};
use super::reply_buffer::{InvalidReply, ReplyBuffer};
pub use super::server_connection::ServerConnection;
use super::socket::SocketOptions;
use super::stream::Stream;
use super::target::Target;
use super::{race, sniff};
use crate::base::clock;
use crate::config::{self, ServerEndpoint};
use crate::resp::Protocol;
use crate::tls::{self, Candidate, Identity, Offer, TlsStore};
use crate::traffic::{Facts, PoolKey, Unavailable};

/// Probes ask for what every server has.
const PROBE_KEY: PoolKey = PoolKey { protocol: Protocol::Resp2, database: 0 };
const EOF: ErrorKind = ErrorKind::UnexpectedEof;
const COMMAND: &[u8] = b"*1\r\n$7\r\ncOmMaNd\r\n";

/// Opens connections to one server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    target: Target,
    tls: Option<TlsStore>,
    credentials: Credentials,
    connect_timeout: Duration,
    options: SocketOptions,
    /// What was found behind the name so far.
    known: Mutex<Known>,
    /// What the server lets us send.
    optional: Mutex<OptionalCommands>,
}

/// A login to try when one was refused.
enum FallbackLogin {
    /// Published in the meantime.
    InForce(Arc<Login>),
    Candidate(LoginCandidate),
}

impl Dialer {
    #[must_use]
    pub fn new(
        target: Target,
        settings: &config::Upstream,
        tls: Option<TlsStore>,
        credentials: Credentials,
    ) -> Self {
        // In session mode a connection carries its client's name, or none.
        let named = settings.pool.mode == config::PoolMode::Shared;
        Self(Arc::new(Inner {
            target,
            tls,
            credentials,
            connect_timeout: settings.pool.connect_timeout,
            options: SocketOptions::of(&settings.pool),
            known: Mutex::default(),
            optional: Mutex::new(OptionalCommands {
                name: named,
                setinfo: named,
                ..OptionalCommands::default()
            }),
        }))
    }

    /// Looks up the name, connects, encrypts, logs in: with the identity and the credentials of this
    /// moment, and all within the connect timeout. When the login is refused, the password is read
    /// again at once, and another one gets one attempt of its own.
    ///
    /// # Errors
    ///
    /// What kept it from being, with its phase.
    pub async fn dial(&self, key: PoolKey) -> Result<ServerConnection, DialError> {
        let login = self.0.credentials.current();
        let refused = login.generation;
        match self.open(key, self.identity(), login).await {
            Err(error) if error.what == Unavailable::Auth => {
                match self.other_login(refused).await {
                    Some(other) => self.dial_with(key, other, refused).await,
                    None => Err(error),
                }
            }
            result => result,
        }
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.0.tls.as_ref().map(TlsStore::current)
    }

    /// Credentials other than those of a generation that the server has refused.
    async fn other_login(&self, refused: u64) -> Option<FallbackLogin> {
        let read = self.0.credentials.read_after(refused).await;
        let current = self.0.credentials.current();
        if current.generation != refused {
            return Some(FallbackLogin::InForce(current));
        }
        // A program that fails is reported by its next run ahead of time, and by a reload.
        read.ok().flatten().map(FallbackLogin::Candidate)
    }

    async fn dial_with(
        &self,
        key: PoolKey,
        other: FallbackLogin,
        refused: u64,
    ) -> Result<ServerConnection, DialError> {
        let candidate = match other {
            FallbackLogin::InForce(login) => return self.open(key, self.identity(), login).await,
            FallbackLogin::Candidate(candidate) => candidate,
        };
        let login = Arc::clone(candidate.login());
        let mut link = self.open(key, self.identity(), login).await?;
        let published = self.0.credentials.publish_after(refused, candidate);
        link.credentials_generation = published.unwrap_or_default();
        if let Some(generation) = published {
            tracing::info!(
                generation,
                "the server refused the password in use; the one read again is in force"
            );
        }
        Ok(link)
    }

    /// How what a connection was opened with relates to what is in force.
    #[must_use]
    pub(super) fn freshness(&self, link: &ServerConnection) -> Freshness {
        let identity = self.0.tls.as_ref().map_or(0, |tls| tls.current().generation);
        link.freshness(identity, &self.0.credentials.current())
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// Opens one connection with an identity or credentials (or both) that are not in use yet, sends
    /// for a sign of life, and closes it.
    ///
    /// # Errors
    ///
    /// Why the candidate must not be published.
    pub async fn probe(
        &self,
        identity: Option<&Candidate>,
        login: Option<&LoginCandidate>,
    ) -> Result<(), DialError> {
        let identity = identity.map(|c| Arc::clone(c.identity())).or_else(|| self.identity());
        let login = login.map_or_else(|| self.0.credentials.current(), |c| Arc::clone(c.login()));
        let mut link = self.open(PROBE_KEY, identity, login).await?;
        // The proof is complete; a server that does not answer close_notify changes nothing of it.
        let _ = link.stream.shutdown().await;
        Ok(())
    }

    /// Looks up the name and connects, and nothing more.
    ///
    /// # Errors
    ///
    /// What failed, the resolution of the name or the connection, and why.
    pub async fn reach(&self) -> Result<(), DialError> {
        let mut phase = Phase::Resolve;
        let attempt = async {
            if let ServerEndpoint::Unix(path) = &self.0.target.endpoint {
                phase = Phase::Connect;
                return self.0.connect_unix(path).await.map(|_| ());
            }
            let addresses = self.0.resolve().await?;
            phase = Phase::Connect;
            self.0.connect(&addresses).await.map(|_| ())
        };
        let wait = self.0.connect_timeout;
        let reached = timeout(wait, attempt).await;
        let late = |_| DialError::timed_out(&self.0.target.endpoint, wait, phase.silence());
        reached
            .unwrap_or_else(|error| Err(late(error)))
            .map_err(|error| DialError { phase, ..error })
    }

    /// Reads the server's commands, on a connection of its own. The reply may be an error.
    ///
    /// # Errors
    ///
    /// When there is no reply.
    pub async fn commands(&self) -> Result<BytesMut, DialError> {
        self.reply_to(COMMAND).await
    }

    /// Sends one question to the server, on a connection of its own: `request` is one request in RESP, and so is
    /// the reply (RESP2).
    ///
    /// # Errors
    ///
    /// When there is no reply.
    pub async fn reply_to(&self, request: &[u8]) -> Result<BytesMut, DialError> {
        let ServerConnection { mut stream, .. } = self.dial(PROBE_KEY).await?;
        let wait = self.0.connect_timeout;
        let late = |_| DialError::timed_out(&self.0.target.endpoint, wait, Fault::QuestionSilent);
        let reply = timeout(wait, self.0.ask(&mut stream, request)).await.map_err(late)??;
        let _ = stream.shutdown().await;
        Ok(reply)
    }

    /// Tries the addresses behind the name, all within the connect timeout.
    async fn open(
        &self,
        key: PoolKey,
        identity: Option<Arc<Identity>>,
        login: Arc<Login>,
    ) -> Result<ServerConnection, DialError> {
        if let Some(error) = &login.missing {
            return Err(DialError::from(&**error));
        }
        let begin = clock::now();
        let mut at = Reached::begin(begin);
        let lookup = Lookup::begin(self.0.connect_timeout, begin);
        let deadline = lookup.deadline();
        if let ServerEndpoint::Unix(_) = &self.0.target.endpoint {
            at.enter(Phase::Connect, clock::now());
            return self.0.attempt(None, key, identity, login, at, deadline).await;
        }
        tracing::debug!(server = %self.0.target, "name is looked up");
        let found = race::look_up(lookup, self.0.resolve()).await;
        let late = |at: &Reached| Err(self.0.late(at.phase()));
        let found = found.unwrap_or_else(|| late(&at)).map_err(|it| self.0.failed(it, &mut at))?;
        at.enter(Phase::Connect, clock::now());
        tracing::debug!(addresses = ?found, "connection is opened");
        let race = {
            let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            lookup.handle_found(found, &known, clock::now())
        };
        let attempt = |address| {
            let (identity, login) = (identity.clone(), Arc::clone(&login));
            self.0.attempt(Some(address), key, identity, login, at, deadline)
        };
        let primary = |link: &ServerConnection| is_primary(link.facts.role.as_bytes());
        race::run(race, attempt, primary).await
    }
}

impl Inner {
    /// One address, or the Unix socket, until the deadline.
    async fn attempt(
        &self,
        address: Option<SocketAddr>,
        key: PoolKey,
        identity: Option<Arc<Identity>>,
        login: Arc<Login>,
        mut at: Reached,
        deadline: Instant,
    ) -> Result<ServerConnection, DialError> {
        let (tls, begin) = (identity.is_some(), clock::now());
        let opening = Box::pin(self.open(address, key, identity, login, &mut at));
        let opened = match timeout_at(deadline.into(), opening).await {
            Ok(Ok(link)) => Ok(ServerConnection { spent: at.end(clock::now()), ..link }),
            Ok(Err(error)) => Err(self.look_closer(error, tls, &at).await),
            Err(_) => Err(self.late(at.phase())),
        };
        let finding = match &opened {
            Ok(link) if is_primary(link.facts.role.as_bytes()) => Finding::Primary,
            Ok(_) => Finding::Replica,
            Err(_) => Finding::Nothing,
        };
        if let Some(address) = address {
            let had = clock::now().saturating_duration_since(begin);
            self.known.lock().unwrap_or_else(PoisonError::into_inner).note(address, finding, had);
        }
        opened.map_err(|error| self.failed(error, &mut at))
    }

    fn late(&self, phase: Phase) -> DialError {
        DialError::timed_out(&self.target.endpoint, self.connect_timeout, phase.silence())
    }

    /// An attempt that ended so, with its step and its times.
    fn failed(&self, error: DialError, at: &mut Reached) -> DialError {
        // In TLS 1.3 a server refuses our certificate only when the handshake is over.
        let phase = if error.what == Unavailable::Tls { Phase::Tls } else { at.phase() };
        DialError { phase, spent: Box::new(at.end(clock::now())), ..error }
    }

    async fn open(
        &self,
        address: Option<SocketAddr>,
        key: PoolKey,
        identity: Option<Arc<Identity>>,
        login: Arc<Login>,
        at: &mut Reached,
    ) -> Result<ServerConnection, DialError> {
        let (mut stream, handshake) = self.reach_stream(address, identity.as_deref(), at).await?;
        at.enter(Phase::Login, clock::now());
        tracing::debug!(peer = ?at.peer, database = key.database, "login begins");
        let offer = identity.as_ref().map(|identity| &identity.offer);
        let (facts, client_id) = self.greet(&mut stream, key, &login, offer).await?;
        Ok(ServerConnection {
            stream,
            key,
            opened_at: clock::now(),
            generation: identity.map_or(0, |identity| identity.generation),
            credentials_generation: login.generation,
            username: login.username.clone(),
            facts,
            client_id,
            handshake,
            spent: Spent::default(),
        })
    }

    async fn greet(
        &self,
        stream: &mut Stream,
        key: PoolKey,
        login: &Arc<Login>,
        offer: Option<&Offer>,
    ) -> Result<(Facts, u64), DialError> {
        let optional = *self.optional.lock().unwrap_or_else(PoisonError::into_inner);
        let mut login_script = LoginScript::new(key, Arc::clone(login), optional);
        let mut replies = ReplyBuffer::default();
        let mut sent = send(stream, &login_script.begin()).await;
        let greeting = loop {
            let reply = match replies.take(key.protocol) {
                Err(InvalidReply)
                    if offer.is_none() && replies.first().is_some_and(sniff::is_alert) =>
                {
                    return Err(self.wants_tls());
                }
                Err(InvalidReply) => return Err(self.nonsense("does not answer in RESP")),
                Ok(Some(reply)) => reply,
                Ok(None) => {
                    // A server that refuses a connection sends the reason before it closes, and only then does a
                    // write fail: what can be read counts more.
                    match (stream.read_buf(replies.bytes_mut()).await, sent) {
                        (Ok(0), Ok(())) => return Err(self.broken(&EOF.into(), offer)),
                        (Ok(0), Err(e)) | (Err(e), _) => return Err(self.broken(&e, offer)),
                        (Ok(_), still) => sent = still,
                    }
                    continue;
                }
            };
            match login_script.handle_reply(&reply).map_err(|e| e.at(&self.target.endpoint))? {
                Progress::More => {}
                Progress::Send(bytes) => sent = send(stream, &bytes).await,
                Progress::Done { facts, client_id } => break (facts, client_id),
            }
        };
        if !replies.is_empty() {
            return Err(self.nonsense("answers more than it was asked"));
        }
        let learned = login_script.optional();
        *self.optional.lock().unwrap_or_else(PoisonError::into_inner) = learned;
        if optional.whoami && !learned.whoami {
            tracing::warn!(
                code = "CRD-W002",
                "the server does not report the user that it maps the client certificate to; grant +acl|whoami"
            );
        }
        Ok(greeting)
    }

    /// One request with one reply, on a connection that has no other use.
    async fn ask(&self, stream: &mut Stream, request: &[u8]) -> Result<BytesMut, DialError> {
        send(stream, request).await.map_err(|error| self.lost(&error))?;
        let mut replies = ReplyBuffer::default();
        loop {
            match replies.take_bytes() {
                Err(InvalidReply) => return Err(self.nonsense("gives an answer that is not read")),
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => match stream.read_buf(replies.bytes_mut()).await {
                    Ok(0) => return Err(self.lost(&EOF.into())),
                    Ok(_) => {}
                    Err(error) => return Err(self.lost(&error)),
                },
            }
        }
    }

    /// A connection that ended at the login without TLS: the port may expect TLS.
    async fn look_closer(&self, error: DialError, tls: bool, at: &Reached) -> DialError {
        let ended = error.what == Unavailable::Connect && at.phase() == Phase::Login;
        match at.peer.filter(|_| ended && !tls) {
            Some(peer) if sniff::is_tls(peer).await => self.wants_tls(),
            _ => error,
        }
    }

    fn wants_tls(&self) -> DialError {
        DialError::of(Fault::WantsTls).at(&self.target.endpoint)
    }

    fn nonsense(&self, what: &str) -> DialError {
        DialError::new(Fault::NotRedis, format!("the server {what}")).at(&self.target.endpoint)
    }

    /// The connection ended before a question was answered.
    fn lost(&self, error: &std::io::Error) -> DialError {
        let cause = format!("{} ({})", Fault::ClosedEarly.cause(), error.kind());
        DialError::new(Fault::ClosedEarly, cause).at(&self.target.endpoint)
    }

    /// The connection ended during the login.
    fn broken(&self, error: &std::io::Error, offer: Option<&Offer>) -> DialError {
        let guess = match offer {
            Some(offer) if error.kind() == ErrorKind::InvalidData => {
                return tls::explain(error, &self.target.to_string(), offer).into();
            }
            Some(_) => {
                "it may not accept our certificate, or have reached its maxclients; its log has the reason"
            }
            None => "it may be a TLS port, or have reached its maxclients",
        };
        let cause = format!("{} ({})", Fault::ClosedAtLogin.cause(), error.kind());
        DialError::new(Fault::ClosedAtLogin, cause).advise(guess).at(&self.target.endpoint)
    }
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

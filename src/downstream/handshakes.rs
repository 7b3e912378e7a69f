//! TLS handshakes of one listener: how many at once, how long each, what came of it.
//!
//! Owns: [`Handshakes`]. Never knows: accepting, requests, files.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::certificates::{Chain, Shown};
use super::encrypted::Encrypted;
use super::handshake_thread::HandshakeThread;
use super::worker::Worker;
use crate::base::limits;
use crate::session::{PeerCertificate, PeerIdentity};
use crate::telemetry::HandshakeResult;
use crate::tls::{self, ListenerStore, TlsError};
use crate::upstream::ReadAhead;

/// The handshakes in progress, the oldest first. An application completes its own within a few round trips: with too
/// many in progress, one that is not going to be completed makes room.
#[derive(Debug)]
pub(super) struct Handshakes {
    store: ListenerStore,
    thread: Rc<HandshakeThread>,
    next: Cell<u64>,
    in_progress: RefCell<BTreeMap<u64, Handshake>>,
}

#[derive(Debug)]
struct Handshake {
    address: Box<str>,
    /// `None` until its task is known.
    task: Option<AbortHandle>,
}

/// What came of a handshake that succeeded.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) stream: Encrypted,
    pub(super) identity: PeerIdentity,
    /// What is looked at again while the client is connected.
    pub(super) shown: Option<Shown<ListenerStore>>,
}

/// One of them; dropped, it is over, however it ended.
pub(super) struct InProgress {
    all: Rc<Handshakes>,
    number: u64,
    worker: Rc<Worker>,
}

impl Handshakes {
    pub(super) fn new(store: ListenerStore, thread: Rc<HandshakeThread>) -> Rc<Self> {
        Rc::new(Self { store, thread, next: Cell::new(0), in_progress: RefCell::default() })
    }

    /// Begins one; the second value is another that has to make room for it: its address, and why.
    pub(super) fn begin(
        self: &Rc<Self>,
        address: &str,
        worker: &Rc<Worker>,
    ) -> (InProgress, Option<(Box<str>, TlsError)>) {
        let most = self.store.settings().max_handshakes;
        let mut in_progress = self.in_progress.borrow_mut();
        let mut ended = None;
        if in_progress.len() >= most
            && let Some(number) = least_hopeful(&in_progress)
            && let Some(Handshake { address, task }) = in_progress.remove(&number)
        {
            if let Some(task) = task {
                task.abort();
            }
            let error = tls::crowded(most, &address);
            ended = Some((address, error));
        }
        let number = self.next.get();
        self.next.set(number + 1);
        in_progress.insert(number, Handshake { address: address.into(), task: None });
        worker.buffers.adjust(0, limits::HANDSHAKE_BYTES);
        worker.metrics.handshake_began();
        (InProgress { all: Rc::clone(self), number, worker: Rc::clone(worker) }, ended)
    }

    /// The task that a handshake runs in, by which it can be ended.
    pub(super) fn note_task(&self, number: u64, task: AbortHandle) {
        if let Some(own) = self.in_progress.borrow_mut().get_mut(&number) {
            own.task = Some(task);
        }
    }
}

/// The oldest of the address that has most in progress: no address takes the places of the others.
fn least_hopeful(in_progress: &BTreeMap<u64, Handshake>) -> Option<u64> {
    let mut addresses: BTreeMap<&str, (usize, Reverse<u64>)> = BTreeMap::new();
    for (number, handshake) in in_progress {
        let address = handshake.address.rsplit_once(':').map_or("", |(address, _)| address);
        addresses.entry(address).or_insert((0, Reverse(*number))).0 += 1;
    }
    addresses.into_values().max().map(|(_, Reverse(oldest))| oldest)
}

impl InProgress {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Completes the handshake, within its deadline.
    pub(super) async fn complete(
        self,
        socket: TcpStream,
        address: &str,
        listener: &Arc<str>,
    ) -> Result<Established, TlsError> {
        let identity = self.all.store.current();
        let limit = self.all.store.settings().handshake_timeout;
        let generation = identity.generation;
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.server_config));
        let accept = async move {
            let stream = timeout(limit, acceptor.accept(ReadAhead::new(socket))).await?;
            Ok::<_, Elapsed>(stream.map(|stream| {
                let chain = stream.get_ref().1.peer_certificates();
                let peer = identity.peer(chain);
                let chain: Chain = chain.unwrap_or_default().into();
                (stream, peer, chain)
            }))
        };
        let (stream, peer, chain) = self
            .all
            .thread
            .begin(accept)
            .end()
            .await
            .ok_or_else(|| tls::broken_off(address))?
            .map_err(|_| tls::too_slow(limit, address))?
            .map_err(|error| tls::refusal(&error, address))?;
        let peer = peer?;
        let (store, worker) = (&self.all.store, &self.worker);
        let current = store.current();
        if current.generation != generation {
            current.judge(&chain)?;
        }
        let not_after = peer.as_ref().map(|peer| peer.not_after);
        let certificate = peer.map(|peer| PeerCertificate::new(peer.names, &peer.fingerprint));
        if let Some(own) = certificate.as_ref().filter(|own| worker.roster.blocks_certificate(own))
        {
            return Err(tls::blocked(&own.name, address));
        }
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let result = if resumed { HandshakeResult::Resumed } else { HandshakeResult::Full };
        worker.metrics.handshake_ended(result);
        // The session of TLS has them, and what looks at them again.
        let kept = 2 * chain.iter().map(|one| one.len()).sum::<usize>();
        let shown = not_after
            .filter(|_| store.settings().recheck)
            .map(|not_after| Shown::new(Arc::clone(listener), chain, not_after, store.clone()));
        let identity = certificate
            .map_or(PeerIdentity::Anonymous, |own| PeerIdentity::Certificate(Arc::new(own)));
        let stream = Encrypted::new(stream, Rc::clone(&worker.buffers), kept);
        Ok(Established { stream, identity, shown })
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.all.in_progress.borrow_mut().remove(&self.number);
        self.worker.buffers.adjust(limits::HANDSHAKE_BYTES, 0);
        self.worker.metrics.handshake_is_over();
    }
}

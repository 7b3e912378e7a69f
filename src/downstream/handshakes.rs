//! TLS handshakes of one listener: how many at once, how long each, what came of it.
//!
//! Owns: [`Handshakes`]. Never knows: accepting, sessions, files.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::encrypted::Encrypted;
use super::handshake_thread::HandshakeThread;
use super::worker::Worker;
use crate::base::limits;
use crate::session::{PeerCertificate, PeerIdentity};
use crate::telemetry::HandshakeResult;
use crate::tls::{self, ListenerStore, TlsError};
use crate::upstream::ReadAhead;

/// Those in progress, the oldest first. An application completes its own within a few round trips: with too many
/// in progress, the oldest is one that is not going to.
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
            && let Some((_, Handshake { address, task })) = in_progress.pop_first()
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

impl InProgress {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Completes the handshake, within its deadline.
    pub(super) async fn complete(
        self,
        socket: TcpStream,
        address: &str,
    ) -> Result<(Encrypted, PeerIdentity), TlsError> {
        let identity = self.all.store.current();
        let limit = self.all.store.settings().handshake_timeout;
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.server_config));
        let accept = async move {
            let stream = timeout(limit, acceptor.accept(ReadAhead::new(socket))).await?;
            Ok::<_, Elapsed>(stream.map(|stream| {
                let peer = identity.peer(stream.get_ref().1.peer_certificates());
                (stream, peer)
            }))
        };
        let (stream, peer) = self
            .all
            .thread
            .begin(accept)
            .end()
            .await
            .ok_or_else(|| tls::broken_off(address))?
            .map_err(|_| tls::too_slow(limit, address))?
            .map_err(|error| tls::refusal(&error, address))?;
        let peer = peer?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let result = if resumed { HandshakeResult::Resumed } else { HandshakeResult::Full };
        self.worker.metrics.handshake_ended(result);
        let identity = peer.map_or(PeerIdentity::Anonymous, |peer| {
            let certificate = PeerCertificate::new(peer.names, &peer.fingerprint);
            PeerIdentity::Certificate(Arc::new(certificate))
        });
        Ok((Encrypted::new(stream, Rc::clone(&self.worker.buffers)), identity))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.all.in_progress.borrow_mut().remove(&self.number);
        self.worker.buffers.adjust(limits::HANDSHAKE_BYTES, 0);
        self.worker.metrics.handshake_is_over();
    }
}
